"""TokenizedCorpus: sentences as one flat, memory-mapped array of token ids and an array of offsets.

Tokenised once, read by any number of processes: the operating system shares the pages, a loader
worker holds no Python object per sentence, and resident memory does not grow with the corpus. Ids
take two bytes where the vocabulary allows. A corpus is a folder that appears whole or not at all.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from seqae.batch import Batch, Vocabulary
from seqae.data.tokenizers import Tokenizer

FORMAT = 1
TooLong = Literal["error", "truncate", "drop"]


class TokenizedCorpus:
    """A tokenised corpus on disk, opened for reading.

    Args:
        folder: what `CorpusWriter` wrote.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        meta = json.loads((folder / "corpus.json").read_text(encoding="utf-8"))
        self.counts: dict[str, int] = meta["counts"]
        self.pad_id: int = meta["pad_id"]
        self._dtype = np.dtype(meta["dtype"])
        self._offsets = _map_array(folder / "offsets.bin", np.dtype(np.int64))
        self._token_ids = _map_array(folder / "token_ids.bin", self._dtype)
        if len(self._offsets) - 1 != meta["sentences"] or self._offsets[-1] != len(self._token_ids):
            raise ValueError(f"the tokenised corpus in {folder} is damaged. Delete that folder.")

    def __len__(self) -> int:
        return len(self._offsets) - 1

    @property
    def lengths(self) -> NDArray[np.int32]:
        """(N,) int32, tokens of each sentence, bos and eos counted."""
        return np.diff(self._offsets).astype(np.int32)

    @property
    def num_tokens(self) -> int:
        """Tokens in all, bos and eos counted."""
        return len(self._token_ids)

    def __getitem__(self, index: int) -> NDArray[np.int64]:
        """(length,) int64: one sentence's ids, bos and eos included."""
        if not 0 <= index < len(self):
            raise IndexError(index)
        ids = self._token_ids[self._offsets[index] : self._offsets[index + 1]]
        return np.asarray(ids, dtype=np.int64)

    def __getitems__(self, indices: Sequence[int]) -> Batch:
        """Gather rows into a padded batch; a DataLoader calls this with what its sampler gave."""
        rows = np.asarray(indices, dtype=np.int64)
        starts = self._offsets[rows]
        lengths = self._offsets[rows + 1] - starts
        columns = np.arange(lengths.max())
        real = columns < lengths[:, None]
        # A padded position reads the row's first token, so that no index leaves the array.
        token_ids = self._token_ids[starts[:, None] + np.where(real, columns, 0)].astype(np.int64)
        token_ids[~real] = self.pad_id
        return Batch(torch.from_numpy(token_ids), torch.from_numpy(lengths))

    def __getstate__(self) -> dict[str, Any]:
        return {"folder": self.folder}  # a spawned worker maps the files again, copying nothing

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["folder"])  # type: ignore[misc]


class CorpusWriter:
    """Tokenise sentences into a folder that `TokenizedCorpus` reads.

    Use as a context manager: the folder takes its name when the block ends without an error, and
    nothing is left of it otherwise.

    Args:
        folder: the folder to make; it must not exist.
        tokenizer: a trained tokenizer.
        max_length: most tokens a sentence may have, bos and eos counted.
        too_long: what happens to a longer one: `error`, `truncate` (its last token becomes eos) or
            `drop`; the last two are counted.
        key: the option that named the source, for the error message.
    """

    def __init__(
        self, folder: Path, tokenizer: Tokenizer, max_length: int, too_long: TooLong, key: str
    ) -> None:
        self.folder, self.tokenizer, self.key = folder, tokenizer, key
        self.max_length, self.too_long = max_length, too_long
        self.counts = {"sentences": 0, "tokens": 0, "truncated": 0, "too_long": 0, "unk": 0}
        self._unfinished = folder.with_name(f"{folder.name}.{os.getpid()}.unfinished")
        self._dtype = np.dtype(np.uint16 if tokenizer.vocab_size <= 2**16 else np.uint32)

    def __enter__(self) -> CorpusWriter:
        self._unfinished.mkdir(parents=True)
        self._ids_file = (self._unfinished / "token_ids.bin").open("wb")
        self._offsets_file = (self._unfinished / "offsets.bin").open("wb")
        self._offsets_file.write(np.zeros(1, dtype=np.int64).tobytes())
        return self

    def append(self, sentences: Sequence[str], places: Sequence[str]) -> None:
        """Tokenise some sentences and write them.

        Args:
            sentences: the text.
            places: where each came from (`file:line`), for the error message.

        Raises:
            ValueError: a sentence is longer than `max_length` and `too_long` is `error`.
        """
        ids, lengths = self.tokenizer.encode_to_arrays(sentences)
        if len(lengths) and int(lengths.max()) > self.max_length:
            ids, lengths = self._shorten(ids, lengths, places)
        self.counts["unk"] += int((ids == self.tokenizer.unk_id).sum())
        ends = self.counts["tokens"] + np.cumsum(lengths, dtype=np.int64)
        self._ids_file.write(ids.astype(self._dtype, copy=False).tobytes())
        self._offsets_file.write(ends.tobytes())
        self.counts["sentences"] += len(lengths)
        self.counts["tokens"] += int(lengths.sum())

    def _shorten(
        self, ids: NDArray[Any], lengths: NDArray[Any], places: Sequence[str]
    ) -> tuple[NDArray[Any], NDArray[Any]]:
        first = int(np.argmax(lengths > self.max_length))
        if self.too_long == "error":
            raise ValueError(
                f"`data.max_length` must be at least the length of every sentence, but it is "
                f"{self.max_length} and the sentence at {places[first]} ({self.key}) has "
                f"{int(lengths[first])} tokens. Set `data.max_length: {int(lengths.max())}` or "
                f"more, or `data.too_long: truncate` or `drop`."
            )
        rows = np.split(ids, np.cumsum(lengths)[:-1])
        if self.too_long == "drop":
            rows = [row for row in rows if len(row) <= self.max_length]
            self.counts["too_long"] += len(lengths) - len(rows)
        else:
            eos = np.asarray([self.tokenizer.eos_id], dtype=ids.dtype)
            self.counts["truncated"] += int((lengths > self.max_length).sum())
            rows = [
                row if len(row) <= self.max_length else np.append(row[: self.max_length - 1], eos)
                for row in rows
            ]
        kept = np.asarray([len(row) for row in rows], dtype=np.int64)
        return (np.concatenate(rows) if rows else ids[:0]), kept

    def __exit__(self, error: type[BaseException] | None, *_: object) -> None:
        try:
            self._ids_file.close()
            self._offsets_file.close()
            if error is None:
                meta = {
                    "format": FORMAT,
                    "dtype": self._dtype.name,
                    "pad_id": self.tokenizer.pad_id,
                    "sentences": self.counts["sentences"],
                    "counts": self.counts,
                }
                (self._unfinished / "corpus.json").write_text(json.dumps(meta), encoding="utf-8")
                os.replace(self._unfinished, self.folder)
        finally:
            shutil.rmtree(self._unfinished, ignore_errors=True)


def write_corpus(
    folder: Path,
    sentences: Iterable[str],
    tokenizer: Tokenizer,
    max_length: int = 128,
    too_long: TooLong = "error",
) -> TokenizedCorpus:
    """Tokenise sentences that are already in hand; the data module does the same from files."""
    with CorpusWriter(folder, tokenizer, max_length, too_long, "sentences") as writer:
        texts = list(sentences)
        writer.append(texts, [f"index {index}" for index in range(len(texts))])
    return TokenizedCorpus(folder)


def collate(sentences: Sequence[Sequence[int]], vocabulary: Vocabulary) -> Batch:
    """Pad rows of ids, bos and eos included, to a batch."""
    lengths = torch.tensor([len(row) for row in sentences])
    token_ids = torch.full((len(sentences), int(lengths.max())), vocabulary.pad_id)
    for row, ids in zip(token_ids, sentences, strict=True):
        row[: len(ids)] = torch.as_tensor(ids)
    return Batch(token_ids, lengths)


def _map_array(path: Path, dtype: np.dtype[Any]) -> NDArray[Any]:
    if path.stat().st_size == 0:  # an empty file cannot be mapped
        return np.zeros(0, dtype=dtype)
    return np.memmap(path, dtype=dtype, mode="r")
