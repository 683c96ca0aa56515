"""Import torchmetrics, which Lightning imports, without what it imports in its turn.

For plots and for metrics of sound and of language models, torchmetrics (1.9) imports whichever of
`OPTIONAL` is installed. Beside Hugging Face's libraries that is half of the time that Lightning
takes to import. No command needs these metrics, but a callback of somebody else's may: so all is
imported wherever their code may be named, unless `SEQAE_LEAN_IMPORTS=1` says that it does not.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from seqae.remote.url import is_url
from seqae.untrusted import read_capped

OPTIONAL = frozenset({"matplotlib", "scipy", "transformers"})

MAX_CONFIG_BYTES = 2**16  # a larger file is data
SEPARATORS = re.compile(r"[\s=:,'\"\[\]{}]+")  # between the words of arguments and of YAML
DOTTED = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)+")
KNOWN = ("seqae", "lightning", "torch")


def import_torchmetrics(command: str, arguments: Sequence[str]) -> None:
    """Import torchmetrics, whole only if the command may run somebody else's code.

    What is missing then stays so: call this in a process that runs nothing but the command.

    Args:
        command: its name. Trainings take classes by name, `evaluate` does not.
        arguments: what follows the name.
    """
    if command != "evaluate" and may_run_foreign_code(arguments):
        return
    try:
        with _taken_for_missing():
            import_module("torchmetrics")  # without `extra`: whoever needs it names what is missing
    except Exception:  # another version, or none: whoever needs it imports it whole, or says so
        for name in [name for name in sys.modules if name.partition(".")[0] == "torchmetrics"]:
            del sys.modules[name]


def may_run_foreign_code(arguments: Sequence[str]) -> bool:
    """Look for what leads to code that is neither ours nor Lightning's; when in doubt, say yes.

    That is a dotted name of another package in the arguments, in a configuration or a run folder
    among them, or in a file that is named there; and what this cannot read beforehand. The variable
    `SEQAE_LEAN_IMPORTS`, set to 1, says no.
    """
    if os.environ.get("SEQAE_LEAN_IMPORTS") == "1":
        return False
    if os.environ.get("JSONARGPARSE_DEFAULT_ENV"):
        return True
    if entry_points(group="lightning.pytorch.callbacks_factory"):
        return True
    attached = [argument[2:] for argument in arguments if argument.startswith("-c")]
    values = [argument.partition("=")[2] for argument in arguments]
    words = {*arguments, *attached, *values}
    words |= {word for argument in words for word in SEPARATORS.split(argument)}
    seen: set[str] = set()
    while words:
        seen |= words
        if any(map(is_url, words)) or any(map(_is_foreign_name, words)):
            return True
        found: set[str] = set()
        for path in map(_config_path, words):
            if path is None:
                continue
            if not path.is_file():  # a pipe, which can be read only once
                return True
            found.update(SEPARATORS.split(_text(path)))
        words = found - seen
    return False


def _config_path(word: str) -> Path | None:
    """Return the path of a configuration if a word names one, or a folder that has one."""
    try:
        path = Path(word).expanduser()
        path = path / "config.yaml" if path.is_dir() else path
        return path if word and path.exists() else None
    except (OSError, ValueError, RuntimeError):  # too long, a NUL, no such user: not a path
        return None


def _text(path: Path) -> str:
    try:
        text = read_capped(path, MAX_CONFIG_BYTES).decode()
    except (OSError, ValueError):  # data, or told by whoever reads it
        return ""
    return re.sub(r"(^|\s)#.*", "", text)


def _is_foreign_name(word: str) -> bool:
    if not DOTTED.fullmatch(word):
        return False
    package = word.partition(".")[0]
    return package not in KNOWN and _is_installed(package)


@cache
def _is_installed(package: str) -> bool:
    try:
        return find_spec(package) is not None
    except (ImportError, ValueError):
        return True


@contextmanager
def _taken_for_missing() -> Iterator[None]:
    """Have lightning_utilities, which torchmetrics asks, take `OPTIONAL` for not installed."""
    imports: Any = import_module("lightning_utilities.core.imports")
    check, find = imports.RequirementCache._check_requirement, imports.package_available

    def checked(self: Any) -> None:
        if re.split(r"[^\w-]", self.requirement, maxsplit=1)[0] in OPTIONAL:
            self.available, self.message = False, f"{self.requirement} is left out for speed"
        else:
            check(self)

    def found(package_name: str) -> bool:
        return package_name not in OPTIONAL and bool(find(package_name))

    imports.RequirementCache._check_requirement = checked
    imports.package_available = found
    try:
        yield
    finally:
        imports.RequirementCache._check_requirement = check
        imports.package_available = find
