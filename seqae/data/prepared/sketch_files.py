"""SketchFiles: what near-duplicates are found by, on a disk until all sentences are written.

A sentence takes 4 bytes for each band of its signature (104 at a threshold of 0.8), its text and
16 bytes more. The files are removed when the preparation is complete.

| file | content |
|---|---|
| band-00.bin ... | (N,) uint32, a hash of that band of each signature |
| texts.bin | the texts as they are compared, UTF-8, one after the other |
| ends.bin | (N,) int64, where each of them ends |
| pieces.bin | (N,) int64, the rows of the corpus that each sentence became |
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from seqae.data.sentences.near_duplicates import Similarity, Sketches


class SketchFiles:
    """Write sketches of sentences, and read them when all are written.

    Args:
        folder: made if it does not exist.
        similarity: decides how many bands there are.
        state: from `commit`, to continue there; None starts from nothing.
    """

    def __init__(
        self, folder: Path, similarity: Similarity, state: Mapping[str, int] | None = None
    ) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.sentences: int = state["sentences"] if state else 0
        self.text_bytes: int = state["text_bytes"] if state else 0
        bands, _ = similarity.shape
        self._bands = [
            open_at(folder / f"band-{number:02}.bin", 4 * self.sentences) for number in range(bands)
        ]
        self._texts = open_at(folder / "texts.bin", self.text_bytes)
        self._ends = open_at(folder / "ends.bin", 8 * self.sentences)
        self._pieces = open_at(folder / "pieces.bin", 8 * self.sentences)

    def append(self, sketches: Sketches) -> None:
        """Write some sketches."""
        for file, hashes in zip(self._bands, sketches.bands, strict=True):
            file.write(hashes.tobytes())
        encoded = [text.encode("utf-8", "surrogatepass") for text in sketches.texts]
        ends = self.text_bytes + np.cumsum([len(text) for text in encoded], dtype=np.int64)
        self._texts.write(b"".join(encoded))
        self._ends.write(ends.tobytes())
        self._pieces.write(sketches.pieces.astype(np.int64, copy=False).tobytes())
        self.sentences += len(encoded)
        self.text_bytes = int(ends[-1]) if len(ends) else self.text_bytes

    def commit(self) -> dict[str, int]:
        """Wait until all of it is on the disk; return the state as plain data."""
        for file in self._files:
            file.flush()
            os.fsync(file.fileno())
        return {"sentences": self.sentences, "text_bytes": self.text_bytes}

    def close(self) -> None:
        """Close the files."""
        for file in self._files:
            file.close()

    def clear(self) -> None:
        """Remove the files."""
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def bands(self) -> list[NDArray[np.uint32]]:
        """For each band, the hashes of all sentences, (N,); memory-mapped."""
        return [self._mapped(file, np.dtype(np.uint32)) for file in self._bands]

    @property
    def pieces(self) -> NDArray[np.int64]:
        """The rows that each sentence became, (N,) int64; memory-mapped."""
        return self._mapped(self._pieces, np.dtype(np.int64))

    def reader(self) -> Callable[[int], str]:
        """Return a function that gives the text of a sentence by its index."""
        ends = self._mapped(self._ends, np.dtype(np.int64))
        texts = self._mapped(self._texts, np.dtype(np.uint8))

        def text_of(index: int) -> str:
            start = ends[index - 1] if index else 0
            return str(texts[start : ends[index]].tobytes(), "utf-8", "surrogatepass")

        return text_of

    @property
    def _files(self) -> Sequence[IO[bytes]]:
        return [self._texts, self._ends, self._pieces, *self._bands]

    def _mapped(self, file: IO[bytes], dtype: np.dtype[Any]) -> NDArray[Any]:
        file.flush()
        if not os.fstat(file.fileno()).st_size:  # an empty file cannot be mapped
            return np.zeros(0, dtype)
        return np.memmap(file.name, dtype, mode="r")


def open_at(path: Path, size: int) -> IO[bytes]:
    """Open a file to write after its first `size` bytes, and remove the rest."""
    file = path.open("r+b" if path.exists() else "w+b")
    if path.stat().st_size < size:
        file.close()
        raise ValueError(f"{path} was shortened from outside. Run the same command again.")
    file.truncate(size)
    file.seek(size)
    return file
