"""`seqae check`: verify a bundle before trusting it."""

from __future__ import annotations

import seqae


def check(model: str) -> None:
    """Check that a bundle is intact and still gives the reconstructions stored in it.

    Args:
        model: a bundle, or the folder of a run.

    Raises:
        ValueError: if a file is missing, changed or invalid, or a reconstruction differs.
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
    print(f"{model}: intact; {len(rows)} sentences of the self-test are reconstructed as before.")
