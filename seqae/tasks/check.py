"""Check a bundle before trusting it."""

from __future__ import annotations

import seqae


def check(model: str) -> None:
    """Check that a bundle is whole and writes today what it wrote when it was made.

    Args:
        model: a bundle, or the folder of a run.

    Raises:
        ValueError: if a file is missing, changed or not what it should be, or a sentence of the
            self-test comes out in another way.
    """
    loaded = seqae.load(model)
    rows = loaded.details["selftest"]
    written = loaded.reconstruct([row["text"] for row in rows], too_long="truncate")
    for row, now in zip(rows, written, strict=True):
        if now != row["reconstruction"]:
            raise ValueError(
                f"`selftest` must come out as when the bundle was made, but {row['text']!r} gives "
                f"{now!r} instead of {row['reconstruction']!r}. Compare `environment.json` with "
                f"your versions."
            )
    print(f"{model}: whole; {len(rows)} sentences of the self-test come out as they did.")
