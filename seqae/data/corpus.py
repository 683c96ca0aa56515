"""TokenizedCorpus: sentences as flat, memory-mapped arrays of token ids, with an index.

The text is tokenised once, and any number of processes read it: the operating system shares the
pages, a loader worker holds no Python object per sentence, and resident memory does not grow with
the corpus.

| file | content |
|---|---|
| token_ids-00000.bin ... | the ids, one sentence after the other; two bytes each if V allows it |
| starts.bin | (N,) int64, where each sentence begins, counted over all shards |
| lengths.bin | (N,) int32, its tokens, bos and eos counted |
| hashes.bin | (N,) uint64, the first 8 bytes of its SHA-256, which find repetitions |
| corpus.json | number type of the ids, sizes of the shards |
| target/ | for paired text, the same files for the texts to write |

A shard ends at the end of a sentence. Sentences that were dropped after they had been written
(repetitions) are missing from the index only.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from numpy.typing import NDArray

from seqae.batch import Batch
from seqae.data.batching import gather_rows
from seqae.data.duplicates import PairHashes
from seqae.files import write_synced

FORMAT = 2
SHARD_TOKENS = 1 << 30  # tokens at which a shard is closed: 2 GiB of two-byte ids

INDEX: dict[str, np.dtype[Any]] = {
    "starts": np.dtype(np.int64),
    "lengths": np.dtype(np.int32),
    "hashes": np.dtype(np.uint64),
}


@dataclass
class Rows:
    """Tokenised sentences.

    Attributes:
        ids: (sum of lengths,) uint16 or int32, `bos ... eos` of one sentence after the other.
        lengths: (n,) int64, tokens of each sentence, bos and eos counted.
        hashes: (n,) uint64, the first 8 bytes of the SHA-256 of each text.
        target: for paired text, the n sentences to write instead.
    """

    ids: NDArray[np.integer]
    lengths: NDArray[np.int64]
    hashes: NDArray[np.uint64]
    target: Rows | None = None

    def select(self, keep: NDArray[np.bool_]) -> Rows:
        """Keep the sentences for which `keep`, (n,), is True."""
        if keep.all():
            return self
        ids = self.ids[np.repeat(keep, self.lengths)]
        target = None if self.target is None else self.target.select(keep)
        return Rows(ids, self.lengths[keep], self.hashes[keep], target)


class TokenizedCorpus:
    """A tokenised corpus on disk, opened for reading.

    Args:
        folder: written by a CorpusWriter.

    Attributes:
        lengths: (N,) int32, tokens of each sentence, bos and eos counted; memory-mapped.
        hashes: (N,) uint64, the first 8 bytes of the SHA-256 of each sentence; memory-mapped.
        target: for paired text, the N sentences to write instead.

    Raises:
        ValueError: if the files do not fit together.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        index = json.loads((folder / "corpus.json").read_text(encoding="utf-8"))
        self.pad_id: int = index["pad_id"]
        self._starts: NDArray[np.int64]
        self.lengths: NDArray[np.int32]
        self.hashes: NDArray[np.uint64]
        self._starts, self.lengths, self.hashes = (
            _map_array(folder / f"{name}.bin", dtype) for name, dtype in INDEX.items()
        )
        dtype = np.dtype(index["dtype"])
        self.shards = [
            _map_array(folder / shard_name(number), dtype) for number in range(len(index["shards"]))
        ]
        # (shards + 1,) int64, the tokens before each shard
        self._bounds = np.cumsum([0, *index["shards"]])
        sizes = {len(array) for array in (self._starts, self.lengths, self.hashes)}
        if sizes != {index["sentences"]} or [*map(len, self.shards)] != index["shards"]:
            raise ValueError(f"the tokenised corpus in {folder} is damaged. Delete that folder.")
        self.target = TokenizedCorpus(folder / "target") if index["is_paired"] else None

    def __len__(self) -> int:
        return len(self._starts)

    @property
    def num_tokens(self) -> int:
        """Number of tokens, bos and eos counted."""
        return int(self.lengths.sum(dtype=np.int64))

    @cached_property
    def key(self) -> str:
        """Eight hex digits that tell it from other corpora, by up to a million sentences."""
        chosen = slice(None, None, max(1, len(self) // 1_000_000))
        digest = hashlib.sha256(str(len(self)).encode())
        digest.update(self.hashes[chosen].tobytes())
        digest.update(self.lengths[chosen].tobytes())
        return digest.hexdigest()[:8]

    @property
    def batch_lengths(self) -> NDArray[np.int32]:
        """(N,) int32, by which batches are planned: the tokens of a pair's longer side."""
        if self.target is None:
            return self.lengths
        longer: NDArray[np.int32] = np.maximum(self.lengths, self.target.lengths)
        return longer

    def spread(self, count: int) -> NDArray[np.int64]:
        """Choose at most `count` sentences, spread evenly; return their indices, ascending."""
        count = min(count, len(self))
        return np.unique(np.linspace(0, len(self) - 1, count, dtype=np.int64))

    def __getitem__(self, index: int) -> NDArray[np.int64]:
        """Return one sentence, (length,) int64, bos and eos included."""
        if not 0 <= index < len(self):
            raise IndexError(index)
        start = self._starts[index]
        shard = np.searchsorted(self._bounds, start, side="right") - 1
        start -= self._bounds[shard]
        return np.asarray(self.shards[shard][start : start + self.lengths[index]], dtype=np.int64)

    def __getitems__(self, indices: Sequence[int]) -> Batch:
        """Gather sentences into a padded batch; a DataLoader calls this with its sampler's rows."""
        rows = np.asarray(indices, dtype=np.int64)
        starts, lengths = self._starts[rows], self.lengths[rows].astype(np.int64)
        width = int(lengths.max())
        if len(self.shards) == 1:  # takes half the time
            token_ids = gather_rows(self.shards[0], starts, lengths, width, self.pad_id)
        else:
            token_ids = np.empty((len(rows), width), dtype=np.int64)
            for ids, mine, begins in self._by_shard(starts):
                token_ids[mine] = gather_rows(ids, begins, lengths[mine], width, self.pad_id)
        target = None if self.target is None else self.target.__getitems__(indices)
        return Batch(torch.from_numpy(token_ids), torch.from_numpy(lengths), target)

    def flat_ids(self, start: int, stop: int) -> NDArray[Any]:
        """Return the ids of the sentences from `start` to (without) `stop` in one flat array."""
        starts, lengths = self._starts[start:stop], self.lengths[start:stop].astype(np.int64)
        pieces = []
        for ids, mine, begins in self._by_shard(starts):
            sizes = lengths[mine]
            if begins[-1] + sizes[-1] - begins[0] == sizes.sum():  # none was dropped between them
                pieces.append(ids[begins[0] : begins[-1] + sizes[-1]])
            else:
                before = sizes.cumsum() - sizes
                pieces.append(ids[np.repeat(begins - before, sizes) + np.arange(sizes.sum())])
        return np.concatenate(pieces)

    def _by_shard(
        self, starts: NDArray[np.int64]
    ) -> Iterator[tuple[NDArray[Any], NDArray[np.bool_], NDArray[np.int64]]]:
        """Group sentences by shard.

        Args:
            starts: (n,), where they begin.

        Yields:
            The ids of a shard, (n,) which sentences are in it, and where these begin in it.
        """
        shards = np.searchsorted(self._bounds, starts, side="right") - 1
        for shard in np.unique(shards):
            mine = shards == shard
            yield self.shards[shard], mine, starts[mine] - self._bounds[shard]

    def __getstate__(self) -> dict[str, Any]:
        return {"folder": self.folder}  # a spawned worker maps the files again and copies nothing

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["folder"])  # type: ignore[misc]


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
    """

    def __init__(
        self,
        folder: Path,
        dtype: np.dtype[Any],
        pad_id: int,
        is_paired: bool = False,
        state: Mapping[str, Any] | None = None,
    ) -> None:
        self.folder, self.dtype, self.pad_id = folder, dtype, pad_id
        folder.mkdir(parents=True, exist_ok=True)
        self.sentences: int = state["sentences"] if state else 0
        self.shards: list[int] = list(state["shards"]) if state else [0]
        self._index = {
            name: _open_at(folder / working_name(name), self.sentences * dtype.itemsize)
            for name, dtype in INDEX.items()
        }
        self._ids = self._open_shard()
        self.target: CorpusWriter | None = None
        if is_paired:
            target_state = state["target"] if state else None
            self.target = CorpusWriter(folder / "target", dtype, pad_id, state=target_state)

    def append(self, rows: Rows) -> None:
        """Write some sentences."""
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
        self.shards[-1] += len(rows.ids)
        if self.target is not None and rows.target is not None:
            self.target.append(rows.target)

    def commit(self) -> dict[str, Any]:
        """Wait until all of it is on the disk; return the state as plain data."""
        for file in self._files():
            file.flush()
            os.fsync(file.fileno())
        state: dict[str, Any] = {"sentences": self.sentences, "shards": self.shards.copy()}
        return state | {"target": self.target.commit() if self.target else None}

    def finish(self, keep: NDArray[np.bool_] | None = None) -> TokenizedCorpus:
        """Close the corpus, and open it for reading.

        Args:
            keep: (N,) bool, False for sentences to leave out of the index.
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
            "sentences": self.sentences,
            "shards": self.shards,
            "is_paired": self.target is not None,
        }
        write_synced(self.folder / "corpus.json", json.dumps(index))
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

    def clear(self) -> None:
        """Remove the files that only another writer would need."""
        for name in INDEX:
            (self.folder / working_name(name)).unlink(missing_ok=True)
        if self.target is not None:
            self.target.clear()

    def _files(self) -> Iterator[IO[bytes]]:
        yield self._ids  # first, so that no index points beyond the ids
        yield from self._index.values()

    def _open_shard(self) -> IO[bytes]:
        path = self.folder / shard_name(len(self.shards) - 1)
        return _open_at(path, self.shards[-1] * self.dtype.itemsize)

    def _write_index(self, keep: NDArray[np.bool_] | None) -> None:
        """Write the index for readers; that of the commits stays as it is until the end."""
        for name, dtype in INDEX.items():
            array = np.fromfile(self.folder / working_name(name), dtype)
            data = (array if keep is None else array[keep]).tobytes()
            write_synced(self.folder / f"{name}.bin", data)
        if keep is not None:
            self.sentences = int(keep.sum())


def shard_name(number: int) -> str:
    """Name the file of a shard."""
    return f"token_ids-{number:05}.bin"


def working_name(name: str) -> str:
    """Name the file of a part of the index while sentences are being written."""
    return f"{name}.unfinished.bin"


def _open_at(path: Path, size: int) -> IO[bytes]:
    """Open a file to write after its first `size` bytes, and remove the rest."""
    file = path.open("r+b" if path.exists() else "w+b")
    if path.stat().st_size < size:
        file.close()
        raise ValueError(f"{path} was shortened from outside. Run the same command again.")
    file.truncate(size)
    file.seek(size)
    return file


def _map_array(path: Path, dtype: np.dtype[Any]) -> NDArray[Any]:
    if path.stat().st_size == 0:  # an empty file cannot be mapped
        return np.zeros(0, dtype=dtype)
    return np.memmap(path, dtype=dtype, mode="r")
