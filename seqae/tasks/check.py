"""`seqae check`: verify a bundle before trusting it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import seqae
from seqae.bundle.card import model_card
from seqae.bundle.find_bundle import bundle_folder
from seqae.bundle.manifest import CARD
from seqae.untrusted import load_json, read_capped


def check(model: str) -> None:
    """Check that a bundle is intact and still gives the reconstructions stored in it.

    Args:
        model: a bundle, the folder of a run, or `demo`.

    Raises:
        ValueError: if a file is missing, changed or invalid, or a reconstruction differs. The model
            card may be edited, which is only noted.
    """
    loaded = seqae.load(model)
    rows = loaded.details["selftest"]
    reconstructions = loaded.reconstruct([row["text"] for row in rows], too_long="truncate")
    for row, reconstruction in zip(rows, reconstructions, strict=True):
        if reconstruction != row["reconstruction"]:
            raise ValueError(
                f"`selftest` must give the reconstructions that the bundle stores, but "
                f"{row['text']!r} gives {reconstruction!r} instead of {row['reconstruction']!r}. "
                f"Compare `environment.json` with your versions."
            )
    if (note := _note_on_card(bundle_folder(model), loaded.details)) is not None:
        print(f"note: {note}")
    print(f"{model}: intact; {len(rows)} sentences of the self-test are reconstructed as before.")


def _note_on_card(folder: Path, details: dict[str, Any]) -> str | None:
    """Say whether the model card is another than the one that was written; None if it is not."""
    try:
        config = load_json(read_capped(folder / "config.json"))
        parts = (details[name] for name in ("metrics", "training", "selftest"))
        is_as_written = read_capped(folder / CARD).decode() == model_card(config, *parts)
    except FileNotFoundError:
        return f"there is no {CARD}, the model card"
    except (OSError, ValueError, TypeError, LookupError, AttributeError):
        is_as_written = False
    if is_as_written:
        return None
    return f"{CARD}, the model card, has been edited, or another version has written it"
