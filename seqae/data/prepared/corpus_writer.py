"""CorpusWriter: write a tokenised corpus in steps that survive an interruption."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from seqae.data.prepared.corpus import FORMAT, INDEX, Rows, TokenizedCorpus, shard_name
from seqae.data.prepared.sealed_files import seal
from seqae.data.prepared.sketch_files import SketchFiles, open_at
from seqae.data.sentences.duplicates import PairHashes
from seqae.data.sentences.near_duplicates import Similarity, Sketches
from seqae.files import write_synced

BLOCK = 1 << 20  # sentences of the index that are copied at a time
SHARD_TOKENS = 1 << 30  # tokens at which a shard is closed: 2 GiB of two-byte ids


class CorpusWriter:
    """Write a tokenised corpus, so that an interrupted writer can be continued by another.

    What was written counts only once `commit` has returned a state. A writer that starts from this
    state truncates everything after it.

    Args:
        folder: made if it does not exist.
        dtype: number type of the ids.
        pad_id: fills the rows of batches.
        is_paired: whether there are targets.
        state: from `commit`, to continue there; None starts from nothing.
        similarity: that is to be found among the sentences, if any.
    """

    def __init__(
        self,
        folder: Path,
        dtype: np.dtype[Any],
        pad_id: int,
        is_paired: bool = False,
        state: Mapping[str, Any] | None = None,
        similarity: Similarity | None = None,
    ) -> None:
        self.folder, self.dtype, self.pad_id = folder, dtype, pad_id
        folder.mkdir(parents=True, exist_ok=True)
        self.sentences: int = state["sentences"] if state else 0
        self.max_id: int = state["max_id"] if state else pad_id
        self.shards: list[int] = list(state["shards"]) if state else [0]
        self._index = {
            name: open_at(folder / working_name(name), self.sentences * dtype.itemsize)
            for name, dtype in INDEX.items()
        }
        self._ids = self._open_shard()
        self.target: CorpusWriter | None = None
        if is_paired:
            target_state = state["target"] if state else None
            self.target = CorpusWriter(folder / "target", dtype, pad_id, state=target_state)
        self.sketches: SketchFiles | None = None
        if similarity is not None:
            sketch_state = state["sketches"] if state else None
            self.sketches = SketchFiles(folder / "sketches", similarity, sketch_state)

    def append(self, rows: Rows, sketches: Sketches | None = None) -> None:
        """Write some sentences."""
        if self.sketches is not None and sketches is not None:
            self.sketches.append(sketches)
        if self.shards[-1] >= SHARD_TOKENS:
            self._ids.close()
            self.shards.append(0)
            self._ids = self._open_shard()
        starts = sum(self.shards) + rows.lengths.cumsum() - rows.lengths
        arrays = {"starts": starts, "lengths": rows.lengths, "hashes": rows.hashes}
        for name, array in arrays.items():
            self._index[name].write(array.astype(INDEX[name], copy=False).tobytes())
        self._ids.write(rows.ids.astype(self.dtype, copy=False).tobytes())
        self.sentences += len(rows.lengths)
        self.max_id = max(self.max_id, int(rows.ids.max(initial=0)))
        self.shards[-1] += len(rows.ids)
        if self.target is not None and rows.target is not None:
            self.target.append(rows.target)

    def commit(self) -> dict[str, Any]:
        """Wait until all of it is on the disk; return the state as plain data."""
        for file in self._files():
            file.flush()
            os.fsync(file.fileno())
        return {
            "sentences": self.sentences,
            "shards": self.shards.copy(),
            "max_id": self.max_id,
            "target": self.target.commit() if self.target else None,
            "sketches": self.sketches.commit() if self.sketches else None,
        }

    def finish(self, keep: NDArray[np.bool_] | None = None) -> TokenizedCorpus:
        """Close the corpus, and open it for reading.

        Args:
            keep: (N,) bool, False for rows to leave out of the index.
        """
        self.commit()
        if self.target is not None:
            self.target.finish(keep)
        self.close()
        self._write_index(keep)
        index = {
            "format": FORMAT,
            "dtype": self.dtype.name,
            "pad_id": self.pad_id,
            "max_id": self.max_id,
            "sentences": self.sentences,
            "shards": self.shards,
            "is_paired": self.target is not None,
        }
        write_synced(self.folder / "corpus.json", json.dumps(index))
        shards = [shard_name(number) for number in range(len(self.shards))]
        seal(self.folder, ["corpus.json", *(f"{name}.bin" for name in INDEX), *shards])
        return TokenizedCorpus(self.folder)

    def read_hashes(self) -> NDArray[np.uint64]:
        """Return the hashes of all sentences written so far, (N,) uint64; one hash for a pair."""
        self._index["hashes"].flush()
        hashes: NDArray[np.uint64] = np.fromfile(self.folder / working_name("hashes"), np.uint64)
        if self.target is None:
            return hashes
        return PairHashes(hashes, self.target.read_hashes())[:]

    def close(self) -> None:
        """Close the files; without `finish`, only another writer can use their content."""
        for file in self._files():
            file.close()
        if self.target is not None:
            self.target.close()
        if self.sketches is not None:
            self.sketches.close()

    def clear(self) -> None:
        """Remove the files that only another writer would need."""
        for name in INDEX:
            (self.folder / working_name(name)).unlink(missing_ok=True)
        if self.target is not None:
            self.target.clear()
        if self.sketches is not None:
            self.sketches.clear()

    def _files(self) -> Iterator[IO[bytes]]:
        yield self._ids  # first, so that no index points beyond the ids
        yield from self._index.values()

    def _open_shard(self) -> IO[bytes]:
        path = self.folder / shard_name(len(self.shards) - 1)
        return open_at(path, self.shards[-1] * self.dtype.itemsize)

    def _write_index(self, keep: NDArray[np.bool_] | None) -> None:
        """Write the index for readers; that of the commits stays as it is until the end."""
        for name, dtype in INDEX.items():
            write_synced(self.folder / f"{name}.bin", self._kept(name, dtype, keep))
        if keep is not None:
            self.sentences = int(keep.sum())

    def _kept(
        self, name: str, dtype: np.dtype[Any], keep: NDArray[np.bool_] | None
    ) -> Iterator[bytes]:
        """Read a part of the index a block at a time, without what is left out."""
        with (self.folder / working_name(name)).open("rb") as source:
            for start in range(0, self.sentences, BLOCK):
                array = np.fromfile(source, dtype, BLOCK)
                yield (array if keep is None else array[keep[start : start + BLOCK]]).tobytes()


def working_name(name: str) -> str:
    """Name the file of a part of the index while sentences are being written."""
    return f"{name}.unfinished.bin"
