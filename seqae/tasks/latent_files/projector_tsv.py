r"""The two files of TensorFlow's embedding projector, https://projector.tensorflow.org.

`vectors.tsv` has a latent on each line, its numbers between tabs and no header. `metadata.tsv` has
the text of each line; as there is but one column, it has no header either. The projector skips
blank lines, and a tab or the end of a line in a text would begin another column or text, so these
are escaped as in Python: `\t`, `\n`, `\u2028`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from seqae.bundle.operations.latent_ops import Latents
from seqae.files import output_file

# The backslash, all that ends a line or a column for some program, and other control characters.
SPECIAL = re.compile(r"[\\\x00-\x1f\x7f-\x9f\u2028\u2029]")
BLANK = "(blank)"


def metadata_path(output: str) -> Path:
    """Return the file of the texts beside that of the vectors: `metadata.tsv` by `vectors.tsv`."""
    path = Path(output)
    if "vectors" in path.name:
        return path.with_name("metadata".join(path.name.rsplit("vectors", 1)))
    return path.with_name(f"{path.stem}.metadata.tsv")


def write_projector_files(output: str, texts: Sequence[str], latents: Latents) -> None:
    """Write both files.

    Args:
        output: the file of the vectors; that of the texts is `metadata_path` of it.
        texts: n of them.
        latents: (n, Z).
    """
    with output_file(metadata_path(output)) as file:
        file.writelines(f"{to_cell(text)}\n".encode() for text in texts)
    with output_file(output) as file:
        # Nine digits are enough to give a float32 back exactly.
        np.savetxt(file, latents, fmt="%.9g", delimiter="\t")


def read_vectors(path: Path) -> Latents:
    """Read the vectors.

    Raises:
        ValueError: if they are no numbers, or not as many on each line.
    """
    with path.open(encoding="utf-8") as file:
        rows = [line.split("\t") for line in file if line.strip()]
    return np.array(rows, dtype=np.float32)


def to_cell(text: str) -> str:
    """Write a text as one cell, on one line."""
    if not text.strip():
        return BLANK
    return SPECIAL.sub(lambda found: _escape(found[0]), text)


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode()
