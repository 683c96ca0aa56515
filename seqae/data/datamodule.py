"""TextDataModule: sentences from files to padded batches of token ids."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader
from typing_extensions import override

from seqae.batch import Batch, Vocabulary
from seqae.component import check_part
from seqae.data.batches.batching import batches_of_rank, plan_batches
from seqae.data.batches.epoch_resume import EpochResume, epoch_state
from seqae.data.batches.sampler import TokenBudgetBatchSampler, make_loader, make_planned_loader
from seqae.data.config import DataConfig, revisions_of
from seqae.data.prepared.cache import PreparedData, is_intact, open_prepared, prepare
from seqae.data.prepared.corpus import TokenizedCorpus
from seqae.data.prepared.prepare import REPORT, REPORT_TEXT
from seqae.data.report.render import log_report
from seqae.data.sentences.preprocessing import Pipeline
from seqae.data.sentences.split import Split
from seqae.data.streaming.checks import check_division, check_limits, check_streamable
from seqae.data.streaming.stream import StreamBatch, StreamLoader, TokenStream, summarize
from seqae.data.tokenizers import BPETokenizer, Tokenizer
from seqae.extras import extra

with extra("train"):
    from lightning.pytorch import LightningDataModule, Trainer


@dataclass(eq=False, repr=False)
class TextDataModule(DataConfig, LightningDataModule):
    """Serves sentences as batches of like length, filled to a token budget.

    The text is tokenised once, to memory-mapped files in a cache. Validation and test sentences are
    held out from the training sources, unless they have sources of their own, by a hash of each
    sentence, so that a sentence that occurs twice is never on both sides.

    The other arguments are the options of `data`, see DataConfig. In Python `train`, `val` and
    `test` may also be sentences, or pairs of a sentence and what to write instead: in a list, a
    Series, an array, a column of `datasets` or an iterator; or a table, of which
    `reading.column` and `reading.target_column` name the columns.

    Args:
        tokenizer: text to token ids; `setup` replaces it by a copy that was trained on the training
            sentences, unless it is trained already.

    Attributes:
        allows_another_order: whether a resume may change the order of the sentences.
    """

    tokenizer: Tokenizer = field(default_factory=BPETokenizer)

    if TYPE_CHECKING:  # for the command, these have the types of DataConfig
        train: Any = field(default="wordnet-examples", kw_only=True)
        val: Any = field(default=None, kw_only=True)
        test: Any = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        LightningDataModule.__init__(self)
        check_part("tokenizer", self.tokenizer, Tokenizer)
        self._sentences = self.hold_sentences()
        self.check()
        self.allows_another_order = False
        self._folder: Path | None = None
        self._prepared: PreparedData | None = None
        self._resume: EpochResume | None = None
        self._train_sampler: TokenBudgetBatchSampler | None = None
        self._eval_samplers: dict[Split, TokenBudgetBatchSampler] = {}
        self._stream: TokenStream | None = None
        self._stream_state: dict[str, Any] | None = None  # from a checkpoint

    @property
    def vocabulary(self) -> Vocabulary:
        """Size and special ids of the tokenizer, after `setup`."""
        return self._ready.tokenizer.vocabulary

    @property
    def corpora(self) -> dict[Split, TokenizedCorpus]:
        """The tokenised corpora by split, after `setup`."""
        return self._ready.corpora

    @property
    def report(self) -> dict[str, Any]:
        """What was read, kept and dropped, and what is in the corpora, after `setup`."""
        return self._ready.report

    @property
    def report_files(self) -> tuple[Path, Path]:
        """The report as JSON and as text, after `prepare_data`."""
        assert self._folder is not None
        return self._folder / REPORT, self._folder / REPORT_TEXT

    @property
    def _ready(self) -> PreparedData:
        if self._prepared is None:
            raise ValueError("the data must be prepared first. Call `prepare_data` and `setup`.")
        return self._prepared

    @override
    def prepare_data(self) -> None:
        """Train the tokenizer and tokenise, in one process per machine; the others wait."""
        if self._folder is None:
            self._folder = prepare(
                self.corpus_config, self.tokenizer, self.cache_folder, self.prepare_workers
            )

    @override
    def setup(self, stage: str) -> None:
        """Open the tokenised corpora, in every process.

        Raises:
            ValueError: if the text of this machine differs from that of the first process.
        """
        if self.trainer is not None and self.trainer.world_size > 1:
            self._share_folder()
        if self._prepared is not None:
            return
        self.prepare_data()
        assert self._folder is not None
        self._prepared = open_prepared(self._folder, self.tokenizer.config())
        self.tokenizer = self._prepared.tokenizer
        self.pin_revisions(self.report)
        if self.trainer is None or self.trainer.is_global_zero:
            log_report(self.report)

    def _share_folder(self) -> None:
        """Use what the first process has prepared: the others open no source."""
        assert self.trainer is not None
        own = None if self._folder is None else (self._folder.name, self._commits())
        shared: Any = self.trainer.strategy.broadcast(own)
        key, commits = shared
        if self._folder is not None and self._folder.name != key and commits:
            # A data set of the hub has just changed: all read what the first process has read.
            self._folder, self.revisions = None, commits
        if self._folder is None and is_intact(self.cache_folder / key):
            self._folder = self.cache_folder / key
        elif self._folder is None:  # this machine has its own cache
            self.prepare_data()
        assert self._folder is not None
        if self._folder.name != key:
            raise ValueError(
                "`data` must be the same for all processes, but it comes out different on process "
                f"{self.trainer.global_rank}: files or versions differ between the machines. Make "
                "them the same."
            )

    def _commits(self) -> dict[str, str]:
        """Return the commits of the hub's data sets that were prepared, by the sources' names."""
        report = json.loads(self.report_files[0].read_text(encoding="utf-8"))
        return revisions_of(report)

    @override
    def train_dataloader(self) -> DataLoader[Any]:
        """Load this process's batches, in the order of the epoch or of the stream."""
        if self.streaming:
            return self._open_stream()
        sampler = self._sampler("train", self.batch_tokens, shuffle=True)
        if self.trainer is not None:
            sampler.set_epoch(self.trainer.current_epoch)
            if self._resume is not None:
                self._resume.apply(sampler, self.trainer)
        self._train_sampler = sampler
        return self._loader("train", sampler)

    @property
    def epoch_progress(self) -> tuple[int, int, int]:
        """Batches of a rank in a whole epoch, those left in this epoch, and its number.

        Zeros if the training does not count epochs. Valid until training starts, once there is a
        loader.
        """
        assert self.trainer is not None
        if self.streaming or self.trainer.max_epochs == -1:
            return 0, 0, 0
        counted = int(self.trainer.num_training_batches)
        if self._resume is None:
            return counted, counted, 0
        whole, left = self._resume.count_batches(counted, self.trainer.limit_train_batches)
        return whole, left, self._resume.epoch

    def begin_training(self) -> tuple[int, int] | None:
        """Return where Lightning's loops must start after a resume: the epoch and its steps so far.

        The module calls this in `on_train_start`, and sets the loops. It is None unless a
        checkpoint was loaded since the last call.
        """
        if self._resume is None or self._resume.has_begun:
            return None
        self._resume.has_begun = True
        return self._resume.epoch, self._resume.steps

    def check_trainer(self, trainer: Trainer) -> None:
        """Refuse a stream that this trainer cannot divide, or would read forever.

        Raises:
            ValueError: if `max_steps` is not given, or the shards cannot be divided.
            OSError: if a source cannot be read.
        """
        if self.streaming:
            check_limits(trainer)
            check_division(self.stream_shards, trainer.world_size, self.num_workers)
            for source in self.open_sources()["train"]:
                check_streamable(source)

    def _open_stream(self) -> StreamLoader:
        if self._stream is None:
            sources = self.open_sources()["train"]
            pipeline = Pipeline(self.corpus_config, self.tokenizer)
            self._stream = TokenStream(sources, pipeline, self.stream_options)
            if self._stream_state is not None:
                self._stream.load_state_dict(self._stream_state)
        return self._stream.loader(*self._rank(), self.num_workers, self._pins_memory)

    @override
    def on_before_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Mark a stream's batch as consumed when it is about to be trained, not when fetched."""
        if isinstance(batch, StreamBatch):
            assert self._stream is not None
            return self._stream.consumed(batch)
        return batch

    @override
    def transfer_batch_to_device(
        self, batch: Any, device: torch.device, dataloader_idx: int
    ) -> Any:
        """Copy a batch without waiting, as Lightning does for tensors only."""
        if isinstance(batch, Batch):
            return batch.to(device, non_blocking=device.type == "cuda")
        return super().transfer_batch_to_device(batch, device, dataloader_idx)

    def stream_summary(self) -> dict[str, Any] | None:
        """Count what a stream has read, and in how many passes; every process must call this."""
        return None if self._stream is None else summarize(self._stream.gather(self.trainer))

    @override
    def val_dataloader(self) -> DataLoader[Batch] | list[Any]:
        return self._eval_loader("val")

    @override
    def test_dataloader(self) -> DataLoader[Batch] | list[Any]:
        return self._eval_loader("test")

    def has_own(self, split: Split, batch_idx: int) -> bool:
        """Tell whether a batch of an evaluation is this process's own.

        Otherwise the batch only keeps ranks in lockstep, and must not enter a metric.
        """
        sampler = self._eval_samplers.get(split)  # none if a subclass has a loader of its own
        return sampler is None or batch_idx < sampler.num_own

    @override
    def predict_dataloader(self) -> DataLoader[Batch]:
        """Load the test sentences; `predict_rows` tells which sentences a batch holds."""
        return make_planned_loader(self.corpora["test"], self.predict_rows(), self.rounding)

    def predict_rows(self) -> Sequence[NDArray[np.int64]]:
        """Return the indices in the corpus of the sentences of each prediction batch."""
        corpus = self.corpora["test"]
        if not len(corpus):
            raise ValueError("`data.test` must have sentences to predict, but it has none.")
        plan = plan_batches(
            corpus.batch_lengths, self.eval_batch_tokens, 0, 0, False, self.rounding
        )
        return list(batches_of_rank(plan, *self._rank()))

    def _eval_loader(self, split: Split) -> DataLoader[Batch] | list[Any]:
        """Load this process's batches; none if nothing is held out."""
        if not len(self.corpora[split]):
            if self.trainer is not None and self.trainer.state.fn in ("validate", "test"):
                raise ValueError(
                    f"`data.{split}` must have sentences to measure, but it has none. Name a file, "
                    f"or set `data.{split}_percent` above 0."
                )
            return []
        sampler = self._sampler(split, self.eval_batch_tokens, shuffle=False)
        self._eval_samplers[split] = sampler
        return self._loader(split, sampler)

    def _sampler(self, split: Split, batch_tokens: int, shuffle: bool) -> TokenBudgetBatchSampler:
        lengths = self.corpora[split].batch_lengths
        return TokenBudgetBatchSampler(
            lengths, batch_tokens, self.seed, shuffle, *self._rank(), self.rounding
        )

    def _loader(self, split: Split, sampler: TokenBudgetBatchSampler) -> DataLoader[Batch]:
        return make_loader(self.corpora[split], sampler, self.num_workers, self._pins_memory)

    def _rank(self) -> tuple[int, int]:
        """Return this process's number and how many there are."""
        if self.trainer is None:
            return 0, 1
        return self.trainer.global_rank, self.trainer.world_size

    @property
    def _pins_memory(self) -> bool:
        is_on_gpu = self.trainer is not None and self.trainer.strategy.root_device.type == "cuda"
        return self.pin_memory and is_on_gpu

    @override
    def state_dict(self) -> dict[str, Any]:
        """Return where the order of the training data stands: `epoch_state` or `merge_states`.

        Every process must call this, as Lightning does.
        """
        assert self.trainer is not None
        if self._stream is not None:
            return {"stream": self._stream.gather(self.trainer)}
        if self.streaming:  # saved before the first step; Lightning does not store an empty state
            return {"stream": self._stream_state} if self._stream_state else {}
        return epoch_state(self.trainer, self._train_sampler) | {"order": self._order()}

    @override
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Keep a state, so that the next training loader continues there on any number of ranks.

        Raises:
            ValueError: if the order of the sentences has changed, and must not.
        """
        if self.streaming != ("stream" in state_dict):
            raise ValueError(
                f"`data.streaming` must be {not self.streaming}, as in the resumed run, but "
                f"it is {self.streaming} instead. Put it back, or start a new training."
            )
        if self.streaming:
            self._stream, self._stream_state = None, state_dict["stream"]
            return
        self._resume = EpochResume.from_state(state_dict, self._order(), self.allows_another_order)

    def _order(self) -> dict[str, Any]:
        """Return what decides the order of the training sentences, by configuration key."""
        return {
            "data.train": f"text with key {self.corpora['train'].key}",
            "data.batch_tokens": self.batch_tokens,
            "data.seed": self.seed,
            "data.round_length": self.round_length,
            "data.round_rows": self.round_rows,
            "data.min_rows": self.min_rows,
        }
