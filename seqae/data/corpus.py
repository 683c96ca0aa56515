"""TokenizedCorpus: sentences as flat, memory-mapped arrays of token ids, with an index.

Tokenised once, read by any number of processes: the operating system shares the pages, a loader
worker holds no Python object per sentence, and resident memory does not grow with the corpus.

| file | what it holds |
|---|---|
| token_ids-00000.bin ... | the ids, one sentence after the other; two bytes each where V allows |
| starts.bin | (N,) int64, where each sentence begins, counted over all shards |
| lengths.bin | (N,) int32, its tokens, bos and eos counted |
| hashes.bin | (N,) uint64, the first 8 bytes of its SHA-256: finds repetitions |
| corpus.json | the index: number type, sizes of the shards |
| target/ | for paired text, the same again for what is to be written |

A shard ends at a sentence. Sentences that were dropped after they were written (repetitions) are
missing from the index only.
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
from seqae.data.duplicates import PairHashes
from seqae.files import write_synced

FORMAT = 2
SHARD_TOKENS = 1 << 30  # a shard is closed when it has as many: 2 GiB of two-byte ids

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
        lengths: (n,) int64, tokens of each, bos and eos counted.
        hashes: (n,) uint64, the first 8 bytes of the SHA-256 of each one's text.
        target: what is to be written for each, for paired text.
    """

    ids: NDArray[np.integer]
    lengths: NDArray[np.int64]
    hashes: NDArray[np.uint64]
    target: Rows | None = None

    def select(self, keep: NDArray[np.bool_]) -> Rows:
        """Those sentences for which `keep`, (n,), is True."""
        if keep.all():
            return self
        ids = self.ids[np.repeat(keep, self.lengths)]
        target = None if self.target is None else self.target.select(keep)
        return Rows(ids, self.lengths[keep], self.hashes[keep], target)


class TokenizedCorpus:
    """A tokenised corpus on disk, opened for reading.

    Args:
        folder: what a CorpusWriter wrote.

    Attributes:
        lengths: (N,) int32, tokens of each sentence, bos and eos counted; memory-mapped.
        hashes: (N,) uint64, the first 8 bytes of the SHA-256 of each sentence; memory-mapped.
        target: for paired text, what is to be written for each sentence.

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
        """Tokens in all, bos and eos counted."""
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
        """(N,) int32: what batches are planned by; of a pair, the longer side."""
        if self.target is None:
            return self.lengths
        longer: NDArray[np.int32] = np.maximum(self.lengths, self.target.lengths)
        return longer

    def spread(self, count: int) -> NDArray[np.int64]:
        """Choose at most `count` sentences, spread evenly; return their indices, ascending."""
        return np.unique(np.linspace(0, len(self) - 1, count, dtype=np.int64))

    def __getitem__(self, index: int) -> NDArray[np.int64]:
        """(length,) int64: one sentence's ids, bos and eos included."""
        if not 0 <= index < len(self):
            raise IndexError(index)
        start = int(self._starts[index])
        shard = self._shard_of(start)
        start -= int(self._bounds[shard])
        ids = self.shards[shard][start : start + int(self.lengths[index])]
        return np.asarray(ids, dtype=np.int64)

    def __getitems__(self, indices: Sequence[int]) -> Batch:
        """Gather rows into a padded batch; a DataLoader calls this with what its sampler gave."""
        rows = np.asarray(indices, dtype=np.int64)
        starts, lengths = self._starts[rows], self.lengths[rows].astype(np.int64)
        columns = np.arange(lengths.max())
        real = columns < lengths[:, None]
        # A padded position reads the row's first token, so that no index leaves the array.
        token_ids = self._gather(starts, np.where(real, columns, 0))
        token_ids[~real] = self.pad_id
        target = None if self.target is None else self.target.__getitems__(indices)
        return Batch(torch.from_numpy(token_ids), torch.from_numpy(lengths), target)

    def flat_ids(self, start: int, stop: int) -> NDArray[Any]:
        """The ids of the sentences `start` to (without) `stop`, one after the other."""
        starts, lengths = self._starts[start:stop], self.lengths[start:stop].astype(np.int64)
        pieces = []
        shards = np.searchsorted(self._bounds, starts, side="right") - 1
        for shard in np.unique(shards):
            mine = shards == shard
            begins, sizes = starts[mine] - self._bounds[shard], lengths[mine]
            ids = self.shards[shard]
            if begins[-1] + sizes[-1] - begins[0] == sizes.sum():  # none was left out between them
                pieces.append(ids[begins[0] : begins[-1] + sizes[-1]])
            else:
                before = sizes.cumsum() - sizes
                pieces.append(ids[np.repeat(begins - before, sizes) + np.arange(sizes.sum())])
        return np.concatenate(pieces)

    def _gather(self, starts: NDArray[np.int64], columns: NDArray[np.int64]) -> NDArray[np.int64]:
        """(B,) starts and (B, T) places behind them to (B, T) ids."""
        if len(self.shards) == 1:
            return np.asarray(self.shards[0][starts[:, None] + columns], dtype=np.int64)
        token_ids = np.empty(columns.shape, dtype=np.int64)
        shards = np.searchsorted(self._bounds, starts, side="right") - 1
        for shard in np.unique(shards):
            mine = shards == shard
            places = (starts[mine] - self._bounds[shard])[:, None] + columns[mine]
            token_ids[mine] = self.shards[shard][places]
        return token_ids

    def _shard_of(self, start: int) -> int:
        return int(np.searchsorted(self._bounds, start, side="right")) - 1

    def __getstate__(self) -> dict[str, Any]:
        return {"folder": self.folder}  # a spawned worker maps the files again, copying nothing

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["folder"])  # type: ignore[misc]


class CorpusWriter:
    """Write a tokenised corpus, in a way that an interrupted one can be gone on with.

    What was written counts only once `commit` has said so: its state, given to another writer
    later, makes that one forget everything after it.

    Args:
        folder: where; made if it is not there.
        dtype: the ids' number type.
        pad_id: what fills a row of a batch.
        is_paired: whether there are targets.
        state: what `commit` gave, to go on from there; None begins anew.
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
            before = state["target"] if state else None
            self.target = CorpusWriter(folder / "target", dtype, pad_id, state=before)

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
        """Make sure that all of it is on the disk; say where that was, as plain data."""
        for file in self._files():
            file.flush()
            os.fsync(file.fileno())
        state: dict[str, Any] = {"sentences": self.sentences, "shards": self.shards.copy()}
        return state | {"target": self.target.commit() if self.target else None}

    def finish(self, keep: NDArray[np.bool_] | None = None) -> TokenizedCorpus:
        """Close it, and open it for reading.

        Args:
            keep: (N,) bool, False for sentences that are to be left out of the index.
        """
        self.commit()
        if self.target is not None:
            self.target.finish(keep)
        self.close()
        self._write_index(keep)
        told = {
            "format": FORMAT,
            "dtype": self.dtype.name,
            "pad_id": self.pad_id,
            "sentences": self.sentences,
            "shards": self.shards,
            "is_paired": self.target is not None,
        }
        write_synced(self.folder / "corpus.json", json.dumps(told))
        return TokenizedCorpus(self.folder)

    def read_hashes(self) -> NDArray[np.uint64]:
        """(N,) uint64, those of all sentences written so far; of a pair, both sides' in one."""
        self._index["hashes"].flush()
        hashes: NDArray[np.uint64] = np.fromfile(self.folder / working_name("hashes"), np.uint64)
        if self.target is None:
            return hashes
        return PairHashes(hashes, self.target.read_hashes())[:]

    def close(self) -> None:
        """Close the files; without `finish`, what is in them is for a later writer."""
        for file in self._files():
            file.close()
        if self.target is not None:
            self.target.close()

    def _files(self) -> Iterator[IO[bytes]]:
        yield self._ids  # first, so that no index says more than there is
        yield from self._index.values()

    def _open_shard(self) -> IO[bytes]:
        path = self.folder / shard_name(len(self.shards) - 1)
        return _open_at(path, self.shards[-1] * self.dtype.itemsize)

    def _write_index(self, keep: NDArray[np.bool_] | None) -> None:
        """Write the index for readers; the one that commits count stays as it is until the end."""
        for name, dtype in INDEX.items():
            array = np.fromfile(self.folder / working_name(name), dtype)
            data = (array if keep is None else array[keep]).tobytes()
            write_synced(self.folder / f"{name}.bin", data)
        if keep is not None:
            self.sentences = int(keep.sum())

    def clear(self) -> None:
        """Remove what only an interrupted preparation would need."""
        for name in INDEX:
            (self.folder / working_name(name)).unlink(missing_ok=True)
        if self.target is not None:
            self.target.clear()


def shard_name(number: int) -> str:
    """The file name of a shard."""
    return f"token_ids-{number:05}.bin"


def working_name(name: str) -> str:
    """The file name of a part of the index while sentences are being written."""
    return f"{name}.unfinished.bin"


def _open_at(path: Path, size: int) -> IO[bytes]:
    """Open a file for writing behind its first `size` bytes; what is after them goes."""
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
