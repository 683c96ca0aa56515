"""What only a person can say of a bundle: its licence, its language, and where it is found.

It stands in the front matter of the card, where the Hub reads it, and nowhere else: whoever edits
the card by hand changes it too. Nothing of it is guessed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from seqae.untrusted import load_yaml, read_capped

FENCE = "---"
HERE = "path/to/this/folder"

_FRONT_MATTER = re.compile(r"\A---\n(.*?)\n---\n", re.DOTALL)
ADDRESS = re.compile(r'^model = seqae\.load\("([^"\\\s]{1,200})"\)$', re.MULTILINE)
_LICENCE = re.compile(r"[a-z0-9][a-z0-9.+-]{0,63}")
_LANGUAGE = re.compile(r"[a-z]{2,3}(-[A-Za-z0-9]{2,8}){0,3}|multilingual|code")


@dataclass(frozen=True)
class Given:
    """What a person says of a bundle.

    Attributes:
        licence: by its name on the Hub, such as `apache-2.0`.
        language: by their codes, such as `en`.
        address: where the bundle is found, for the line that loads it.
    """

    licence: str | None = None
    language: tuple[str, ...] = ()
    address: str = HERE

    def over(self, other: Given) -> Given:
        """Return what this says, and what the other one says where this says nothing."""
        return Given(
            self.licence or other.licence,
            self.language or other.language,
            other.address if self.address == HERE else self.address,
        )

    def to_plain(self) -> dict[str, Any]:
        """Return the licence and the language, where they are given, for `training.json`."""
        plain = {"licence": self.licence, "language": list(self.language)}
        return {name: value for name, value in plain.items() if value}


def make_given(licence: str | None, language: str | None, prefix: str = "") -> Given:
    """Take what a person has said.

    Args:
        licence: by its name on the Hub.
        language: codes with commas between them.
        prefix: of the keys in error messages.

    Raises:
        ValueError: if it is no name or code that the Hub would take.
    """
    if licence is not None and not _LICENCE.fullmatch(licence):
        raise ValueError(
            f"`{prefix}licence` must be a name as the Hub writes it, such as apache-2.0, mit, "
            f"cc-by-4.0 or other, but it is {licence[:80]!r} instead. Write it in small letters."
        )
    codes = tuple(code.strip() for code in (language or "").split(",") if code.strip())
    for code in codes:
        if not _LANGUAGE.fullmatch(code):
            raise ValueError(
                f"`{prefix}language` must be codes such as en, or en,de for several, but it is "
                f"{code[:80]!r} instead. Write those of ISO 639."
            )
    return Given(licence, codes)


def given_in_training(training: Mapping[str, Any]) -> Given:
    """Return what `training.json` keeps of what was given at `seqae fit`."""
    told = training.get("card")
    return _from_plain(told, "licence") if isinstance(told, Mapping) else Given()


def split_front_matter(text: str) -> tuple[str, str]:
    """Split a card into the YAML between its fences, which may be none, and the rest."""
    text = text.replace("\r\n", "\n")
    match = _FRONT_MATTER.match(text)
    return (match[1], text[match.end() :]) if match else ("", text)


def given_in_card(text: str) -> Given:
    """Return what the front matter and the example of a card say; nothing if they are damaged."""
    try:
        told = load_yaml(split_front_matter(text)[0].encode())
    except ValueError:
        told = {}
    address = ADDRESS.search(text)
    given = _from_plain(told, "license") if isinstance(told, Mapping) else Given()
    return replace(given, address=address[1]) if address else given


def given_in_folder(path: Path) -> Given:
    """Return what a card says, if there is one.

    Args:
        path: of the card.
    """
    try:
        return given_in_card(read_capped(path).decode())
    except (OSError, ValueError):
        return Given()


def _from_plain(told: Mapping[str, Any], key: str) -> Given:
    licence, language = told.get(key), told.get("language", [])
    codes = [language] if isinstance(language, str) else language
    codes = codes if isinstance(codes, list) else []
    return Given(
        licence if isinstance(licence, str) and _LICENCE.fullmatch(licence) else None,
        tuple(c for c in codes if isinstance(c, str) and _LANGUAGE.fullmatch(c)),
    )
