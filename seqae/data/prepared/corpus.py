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
| files.json | sizes and hashes of these files |
| target/ | for paired text, the same files for the texts to write |

A shard ends at the end of a sentence. Sentences that were dropped after they had been written
(repetitions) are missing from the index only.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from seqae.batch import Batch
from seqae.data.batches.padding import gather_rows
from seqae.data.prepared.sealed_files import damage_in

FORMAT = 3

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

    def with_rows(self, more: Rows) -> Rows:
        """Append other sentences; neither these nor those have targets."""
        return Rows(
            np.concatenate([self.ids, more.ids]),
            np.concatenate([self.lengths, more.lengths]),
            np.concatenate([self.hashes, more.hashes]),
        )


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
        self.max_id: int = index["max_id"]
        arrays: list[NDArray[Any]] = [self._starts, self.lengths, self.hashes, *self.shards]
        self._mapped: list[tuple[Any, int]] = [
            (array.base, array.nbytes) for array in arrays if len(array)
        ]
        self.target = TokenizedCorpus(folder / "target") if index["is_paired"] else None

    def check_unchanged(self) -> None:
        """Compare the files with their seal; quick, unless someone has written to them.

        Raises:
            ValueError: if one has changed.
        """
        if damage := damage_in(self.folder, is_mapped=True):
            raise self._changed(damage)
        if self.target is not None:
            self.target.check_unchanged()

    def _check_sizes(self) -> None:
        for mapped, size in self._mapped:  # to read beyond the end of a file kills a process
            if mapped.size() < size:
                raise self._changed(f"a file of {self.folder} has been shortened")

    def _changed(self, damage: str) -> ValueError:
        return ValueError(
            f"`data.cache_dir` must not be changed while it is in use, but {damage}. End what "
            f"writes there and run the same command again, which prepares the text anew."
        )

    def __len__(self) -> int:
        return len(self._starts)

    @property
    def num_tokens(self) -> int:
        """Number of tokens, bos and eos counted."""
        return int(self.lengths.sum(dtype=np.int64))

    @cached_property
    def key(self) -> str:
        """Eight hex digits that tell it from other corpora: the beginning of its fingerprint."""
        return self.fingerprint[:8]

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256, in hex digits, over up to a million of its sentences, spread evenly."""
        chosen = slice(None, None, max(1, len(self) // 1_000_000))
        digest = hashlib.sha256(str(len(self)).encode())
        digest.update(self.hashes[chosen].tobytes())
        digest.update(self.lengths[chosen].tobytes())
        return digest.hexdigest()

    @property
    def batch_lengths(self) -> NDArray[np.int32]:
        """(N,) int32, by which batches are planned: the tokens of a pair's longer side."""
        if self.target is None:
            return self.lengths
        longer: NDArray[np.int32] = np.maximum(self.lengths, self.target.lengths)
        return longer

    @property
    def longest_target(self) -> int:
        """Tokens of the longest text to write, bos and eos counted; 0 if there is none."""
        targets = self if self.target is None else self.target
        return int(targets.lengths.max(initial=0))

    def spread(self, count: int) -> NDArray[np.int64]:
        """Choose at most `count` sentences, spread evenly; return their indices, ascending."""
        count = min(count, len(self))
        return np.unique(np.linspace(0, len(self) - 1, count, dtype=np.int64))

    def __getitem__(self, index: int) -> NDArray[np.int64]:
        """Return one sentence, (length,) int64, bos and eos included."""
        if not 0 <= index < len(self):
            raise IndexError(index)
        self._check_sizes()
        start = self._starts[index]
        shard = np.searchsorted(self._bounds, start, side="right") - 1
        start -= self._bounds[shard]
        return np.asarray(self.shards[shard][start : start + self.lengths[index]], dtype=np.int64)

    def __getitems__(self, indices: Sequence[int]) -> Batch:
        """Gather sentences into a padded batch; a DataLoader calls this with its sampler's rows."""
        self._check_sizes()
        rows = np.asarray(indices, dtype=np.int64)
        starts, lengths = self._starts[rows], self.lengths[rows].astype(np.int64)
        width = int(lengths.max())
        if len(self.shards) == 1:  # takes half the time
            token_ids = gather_rows(self.shards[0], starts, lengths, width, self.pad_id)
        else:
            token_ids = np.empty((len(rows), width), dtype=np.int64)
            for ids, mine, begins in self._by_shard(starts):
                token_ids[mine] = gather_rows(ids, begins, lengths[mine], width, self.pad_id)
        if token_ids.max() > self.max_id:
            raise self._changed(f"a file of {self.folder} has been overwritten")
        target = None if self.target is None else self.target.__getitems__(indices)
        return Batch(torch.from_numpy(token_ids), torch.from_numpy(lengths), target)

    def flat_ids(self, start: int, stop: int) -> NDArray[Any]:
        """Return the ids of the sentences from `start` to (without) `stop` in one flat array."""
        self._check_sizes()
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


def shard_name(number: int) -> str:
    """Name the file of a shard."""
    return f"token_ids-{number:05}.bin"


def _map_array(path: Path, dtype: np.dtype[Any]) -> NDArray[Any]:
    if path.stat().st_size == 0:  # an empty file cannot be mapped
        return np.zeros(0, dtype=dtype)
    return np.memmap(path, dtype=dtype, mode="r")
