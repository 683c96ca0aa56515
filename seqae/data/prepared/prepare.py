"""Preparation: train the tokenizer and tokenise all sources into a folder, in durable steps.

Every few seconds a commit waits until the data is on the disk, and state.json records where reading
was. After an interruption (Ctrl-C, a kill, a full disk), another preparation continues from there.
"""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from seqae.data.batches.workers import map_in_order
from seqae.data.config import CorpusConfig
from seqae.data.prepared.corpus_writer import CorpusWriter
from seqae.data.prepared.repetitions import choose_sentences
from seqae.data.prepared.sealed_files import seal
from seqae.data.report.measure import measure
from seqae.data.report.render import to_text
from seqae.data.sentences.preprocessing import Encoded, Pipeline, Remark, clean_and_split
from seqae.data.sentences.split import SPLITS, Split
from seqae.data.sources.base import Source
from seqae.data.sources.records import Block, Counts, Position
from seqae.data.tokenizers.base import Tokenizer
from seqae.files import replacing, write_synced
from seqae.terminal import progress_bar

SECONDS_BETWEEN_COMMITS = 10.0

TOKENIZER = "tokenizer.json"
REPORT = "report.json"
REPORT_TEXT = "report.txt"


@dataclass(frozen=True)
class Item:
    """A block, and its origin: the split and number of its source, and the number of the part."""

    split: Split
    source: int
    part: int
    block: Block


@dataclass
class PreparationProgress:
    """How far a preparation has come.

    Attributes:
        records, sentences: what became of the records of each source, and of their sentences.
        altered: for each source, sentences that the length policy changed, by what it did.
        remarks: for each source, sentences that seem to have been read wrongly, by why.
        source, part, position: where to continue reading.
        writers: the state of each split's writer.
    """

    records: list[Counts]
    sentences: list[Counts]
    altered: list[dict[str, int]]
    remarks: list[dict[str, Remark]]
    source: int = 0
    part: int = 0
    position: Position | None = None
    writers: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def at_start(cls, sources: int) -> PreparationProgress:
        """Start with nothing done."""
        numbers = range(sources)
        return cls(
            [Counts() for _ in numbers],
            [Counts() for _ in numbers],
            [{} for _ in numbers],
            [{} for _ in numbers],
        )

    def add(self, item: Item, encoded: Encoded) -> None:
        """Count a block that was written."""
        self.records[item.source].add(encoded.records)
        self.sentences[item.source].add(encoded.sentences)
        altered = self.altered[item.source]
        for word, count in encoded.altered.items():
            altered[word] = altered.get(word, 0) + count
        for odd, remark in encoded.remarks.items():
            self.remarks[item.source].setdefault(odd, Remark()).add(remark)
        self.source, self.part, self.position = item.source, item.part, encoded.end

    def write(self, path: Path) -> None:
        """Write it to a file, completely or not at all."""
        state = vars(self) | {
            name: [counts.to_dict() for counts in vars(self)[name]]
            for name in ("records", "sentences")
        }
        state["remarks"] = self.remarks_to_dicts()
        with replacing(path) as unfinished:
            write_synced(unfinished, json.dumps(state))

    @classmethod
    def read(cls, path: Path) -> PreparationProgress:
        """Read a file of `write`."""
        state = json.loads(path.read_text(encoding="utf-8"))
        for name in ("records", "sentences"):
            state[name] = [Counts.from_dict(counts) for counts in state[name]]
        state["remarks"] = [
            {odd: Remark(**remark) for odd, remark in remarks.items()}
            for remarks in state["remarks"]
        ]
        return cls(**state)

    def remarks_to_dicts(self) -> list[dict[str, Any]]:
        """Return the remarks as plain data."""
        return [
            {odd: asdict(remark) for odd, remark in remarks.items()} for remarks in self.remarks
        ]


class Preparation:
    """Tokenises sources into a folder.

    Args:
        folder: for the result; an interrupted preparation there is continued.
        config: says what to do.
        sources: by split, opened; all of them can be read again.
        processes: how many may tokenise at the same time.
    """

    def __init__(
        self,
        folder: Path,
        config: CorpusConfig,
        sources: dict[Split, list[Source]],
        processes: int,
    ) -> None:
        self.folder, self.config, self.processes = folder, config, processes
        self.sources = [(split, source) for split in SPLITS for source in sources[split]]
        self.train_sources = sources["train"]

    def run(self, tokenizer: Tokenizer) -> None:
        """Do all of it, or the rest after an interruption.

        Args:
            tokenizer: a copy is trained here, unless it is trained already.

        Raises:
            ValueError: if a source is unusable, or a sentence too long.
            OSError: if a source or the folder cannot be read or written.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        tokenizer = self._train(tokenizer)
        state = self.folder / "state.json"
        progress = PreparationProgress.at_start(len(self.sources))
        if state.exists():
            progress = PreparationProgress.read(state)
        dtype = np.dtype(np.uint16 if tokenizer.vocab_size <= 2**16 else np.uint32)
        writers = {
            split: CorpusWriter(
                self.folder / split,
                dtype,
                tokenizer.pad_id,
                self.config.is_paired,
                progress.writers.get(split),
                self.config.cleaning.similarity,
            )
            for split in SPLITS
        }
        try:
            self._write(writers, Pipeline(self.config, tokenizer), progress, state)
            self._finish(writers, tokenizer, progress)
        finally:
            for writer in writers.values():
                writer.close()
        state.unlink(missing_ok=True)
        for writer in writers.values():
            writer.clear()

    def _train(self, tokenizer: Tokenizer) -> Tokenizer:
        """Train a copy, so that the caller's tokenizer, and the cache's key, stay as they were."""
        path = self.folder / TOKENIZER
        if path.exists():
            return Tokenizer.load(path, tokenizer.config())
        if not tokenizer.is_trained:
            tokenizer = Tokenizer.from_config(tokenizer.config())
            texts = self._training_texts()
            with progress_bar("reading for the tokenizer", None) as advance:
                tokenizer.train(_advancing(texts, advance))
        with replacing(path) as unfinished:
            tokenizer.save(unfinished)
        return tokenizer

    def _training_texts(self) -> Iterator[str]:
        blocks = (block for source in self.train_sources for block in source.blocks())
        texts = (
            text
            for block in blocks
            for text in clean_and_split(block, "train", self.config).select("train").texts
        )
        return itertools.islice(texts, self.config.tokenizer_sentences)

    def _write(
        self,
        writers: dict[Split, CorpusWriter],
        pipeline: Pipeline,
        progress: PreparationProgress,
        state: Path,
    ) -> None:
        sizes = [source.size for _, source in self.sources]
        known = [size for size in sizes if size is not None]
        total = sum(known) if len(known) == len(sizes) and not self.config.streaming else None
        committed = time.monotonic()
        results = map_in_order(Encode(pipeline), self._items(progress), self.processes)
        with progress_bar("tokenising", total) as advance, closing(results):
            for item, encoded in results:
                if item.source != progress.source:
                    self._check_usable(progress, item.source)
                progress.add(item, encoded)
                for split, rows in encoded.rows.items():
                    if split != "train" or not self.config.streaming:
                        writers[split].append(rows, encoded.sketches.get(split))
                advance(encoded.weight if total else encoded.records.read)
                if time.monotonic() - committed > SECONDS_BETWEEN_COMMITS:
                    progress.writers = {split: w.commit() for split, w in writers.items()}
                    progress.write(state)
                    committed = time.monotonic()
        self._check_usable(progress, len(self.sources))

    def _items(self, progress: PreparationProgress) -> Iterator[Item]:
        """Read the blocks that have not been written yet."""
        resumed, position = (progress.source, progress.part), progress.position
        counts = {split: 0 for split in SPLITS}
        for number, (split, _) in enumerate(self.sources):
            counts[split] += progress.records[number].kept
        for number, (split, source) in enumerate(self.sources):
            for part_number, part in enumerate(source.parts() if number >= resumed[0] else []):
                current = (number, part_number)
                if current < resumed:
                    continue
                for block in part.blocks(position if current == resumed else None):
                    is_enough = counts[split] >= self.config.tokenizer_sentences
                    if self._reads_only_head(split) and is_enough:
                        break
                    counts[split] += len(block.texts)
                    yield Item(split, number, part_number, block)

    def _reads_only_head(self, split: Split) -> bool:
        """Tell whether to read only the first `tokenizer_sentences` of a split's sources."""
        return split == "train" and self.config.streaming

    def _check_usable(self, progress: PreparationProgress, before: int) -> None:
        """Refuse a source that was read to its end without giving a sentence."""
        for number in range(progress.source, before):
            split, source = self.sources[number]
            if not self._reads_only_head(split):
                source.check_usable(progress.records[number])

    def _finish(
        self,
        writers: dict[Split, CorpusWriter],
        tokenizer: Tokenizer,
        progress: PreparationProgress,
    ) -> None:
        """Leave out repetitions if the options say so, and write the indices and the report."""
        keep, left_out = choose_sentences(writers, self.config.cleaning)
        corpora = {split: writer.finish(keep.get(split)) for split, writer in writers.items()}
        if not len(corpora["train"]) and not self.config.streaming:
            names = ", ".join(self.config.source_names["train"])
            raise ValueError(
                f"`data.train` must have sentences for training, but none of {names} is left after "
                f"the split, `data.cleaning` and `data.too_long`. Give more text, or set "
                f"`data.val_percent` and `data.test_percent` to 0."
            )
        remarks = progress.remarks_to_dicts()
        report: dict[str, Any] = {
            "sources": [
                {
                    "name": source.name,
                    "split": split,
                    "records": progress.records[number].to_dict(),
                    "sentences": progress.sentences[number].to_dict(),
                    "altered": progress.altered[number],
                    "remarks": remarks[number],
                    "left_out": source.left_out,
                    "record": source.record,
                }
                for number, (split, source) in enumerate(self.sources)
            ],
            **measure(corpora, tokenizer),
            **left_out,
            "settings": self.config.to_dict(),
        }
        write_synced(self.folder / REPORT_TEXT, to_text(report))
        write_synced(self.folder / REPORT, json.dumps(report, indent=2))
        seal(self.folder, [TOKENIZER, REPORT, REPORT_TEXT])


@dataclass
class Encode:
    """Applies a pipeline to one item; a function that can be sent to another process."""

    pipeline: Pipeline

    def __call__(self, item: Item) -> Encoded:
        """Tokenise the block of an item."""
        return self.pipeline(item.block, item.split)


def _advancing(texts: Iterator[str], advance: Callable[[int], None]) -> Iterator[str]:
    for text in texts:
        advance(1)
        yield text
