"""TextDataModule: sentences from files to padded batches of token ids."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import LightningDataModule, Trainer
from numpy.typing import NDArray
from torch.utils.data import DataLoader

from seqae.batch import Batch, Vocabulary
from seqae.component import check_range
from seqae.data.batching import Rounding, batches_of_rank, plan_batches
from seqae.data.cache import PreparedData, is_whole, open_prepared, prepare
from seqae.data.cleaning import CleanOptions
from seqae.data.config import DataConfig, LengthPolicy, default_cache_dir
from seqae.data.corpus import TokenizedCorpus
from seqae.data.epoch_resume import ResumedOrder, order_state
from seqae.data.prepare import REPORT, REPORT_TEXT
from seqae.data.preprocessing import Pipeline
from seqae.data.report.findings import find
from seqae.data.sampler import PlannedBatches, RoundedPadding, TokenBudgetBatchSampler
from seqae.data.sources.records import ReadOptions
from seqae.data.split import Split
from seqae.data.streaming.shard import StreamOptions
from seqae.data.streaming.stream import (
    StreamBatch,
    StreamLoader,
    TokenStream,
    check_division,
    check_streamable,
    merge_states,
    summarize,
)
from seqae.data.tokenizers import Tokenizer
from seqae.lightning_internals import forget_train_loader
from seqae.processes import ignore_group_signals

log = logging.getLogger(__name__)


class TextDataModule(LightningDataModule):
    """Sentences, one a line, to batches of like length, filled to a token budget.

    The text is tokenised once, to memory-mapped files in a cache. Without sources of their own,
    validation and test are held out from the training sources by a hash of each sentence, so that
    a sentence that occurs twice never stands on both sides.

    Args:
        tokenizer: text to token ids; trained on the training sentences.
        train: a file of text, JSON lines, CSV, TSV, Parquet or Arrow (packed as .gz, .bz2, .xz or
            .zst too), a folder or a pattern (`*.txt`) of these, `-` for standard input,
            `hf:OWNER/NAME` for a data set of the Hugging Face hub, `nltk:CORPUS`, or a built-in
            corpus (wordnet-examples, speeches, hsk); or a list of these. docs/data.md has more.
        val: the same for validation; by default `val_percent` of the training sentences.
        test: the same for the test; by default `test_percent` of the training sentences.
        reading: formats, columns, and what happens to what cannot be read.
        cleaning: normalisation, sentence splitting, what is left out.
        batch_tokens: tokens of a training batch, padding counted, on each process.
        eval_batch_tokens: the same for validation, test and prediction.
        round_length: a batch is padded to a multiple of this many tokens, never beyond
            `max_length`; with 8 and `round_rows` 8 batches come in few sizes, for kernels that are
            compiled or tuned for each. It costs padding: 19 % on sentences of 10 words.
        round_rows: a batch has a multiple of this many sentences, wherever there are enough of them
            and the budget allows.
        max_length: most tokens of a sentence, bos and eos counted.
        too_long: what to do with a longer one: `error`, `truncate`, `drop`, or `split` it into
            pieces that are sentences of their own.
        val_percent: share of the training sources held out for validation, in percent.
        test_percent: share held out for the test, in percent.
        split_seed: another number, another split.
        tokenizer_sentences: how many training sentences train the tokenizer, at most.
        streaming: tokenise while training, for text that does not fit a disk, in place of once
            before; the tokenizer, and what is held out, are made of the first
            `tokenizer_sentences`. A stream has no end: `trainer.max_steps` says when to stop.
        stream_shards: streams that a stream is made of; a multiple of processes times workers.
        shuffle_buffer: sentences that each shard of a stream shuffles together.
        seed: of the order of batches.
        num_workers: processes that gather batches beside the training; 0 gathers in between,
            which costs under one percent of the time on a CPU.
        pin_memory: copy batches to a GPU from page-locked memory, which needs no waiting.
        prepare_workers: processes that tokenise; by default one for each core.
        cache_dir: where tokenised text is kept; by default $SEQAE_CACHE or ~/.cache/seqae.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        train: str | list[str] = "wordnet-examples",
        val: str | list[str] | None = None,
        test: str | list[str] | None = None,
        reading: ReadOptions = ReadOptions(),  # noqa: B008 - it is frozen
        cleaning: CleanOptions = CleanOptions(),  # noqa: B008 - it is frozen
        batch_tokens: int = 1024,
        eval_batch_tokens: int = 8192,
        round_length: int = 1,
        round_rows: int = 1,
        max_length: int = 128,
        too_long: LengthPolicy = "error",
        val_percent: int = 5,
        test_percent: int = 5,
        split_seed: int = 0,
        tokenizer_sentences: int = 1_000_000,
        streaming: bool = False,
        stream_shards: int = 16,
        shuffle_buffer: int = 10_000,
        seed: int = 0,
        num_workers: int = 0,
        pin_memory: bool = True,
        prepare_workers: int | None = None,
        cache_dir: str | None = None,
    ) -> None:
        super().__init__()
        check_range("data.batch_tokens", batch_tokens, 1, 2**31)
        check_range("data.eval_batch_tokens", eval_batch_tokens, 1, 2**31)
        check_range("data.num_workers", num_workers, 0, 1024)
        if prepare_workers is not None:
            check_range("data.prepare_workers", prepare_workers, 1, 1024)
        self.settings = DataConfig(
            train=_as_tuple(train),
            val=_as_tuple(val),
            test=_as_tuple(test),
            reading=reading,
            cleaning=cleaning,
            max_length=max_length,
            too_long=too_long,
            val_percent=val_percent,
            test_percent=test_percent,
            split_seed=split_seed,
            tokenizer_sentences=tokenizer_sentences,
            streaming=streaming,
        )
        self.settings.check()
        self.batch_tokens, self.eval_batch_tokens = batch_tokens, eval_batch_tokens
        self.rounding = Rounding(round_length, round_rows, max_length)
        self.seed, self.num_workers, self.pin_memory = seed, num_workers, pin_memory
        self.stream_options = StreamOptions(
            batch_tokens, seed, stream_shards, shuffle_buffer, self.rounding
        )
        self.prepare_workers = prepare_workers
        self.cache_dir = Path(cache_dir).expanduser() if cache_dir else default_cache_dir()
        self._untrained = tokenizer
        self._folder: Path | None = None
        self._prepared: PreparedData | None = None
        self.allows_another_order = False  # on a resume, because the user asked for it
        self._resumed: ResumedOrder | None = None
        self._train_sampler: TokenBudgetBatchSampler | None = None
        self._eval_samplers: dict[Split, TokenBudgetBatchSampler] = {}
        self._stream: TokenStream | None = None
        self._stream_state: dict[str, Any] | None = None  # of the run that goes on

    @property
    def train_sources(self) -> tuple[str, ...]:
        """The training sources, as the user named them."""
        return self.settings.train

    @property
    def max_length(self) -> int:
        """Most tokens of a sentence, bos and eos counted."""
        return self.settings.max_length

    @property
    def tokenizer(self) -> Tokenizer:
        """The trained tokenizer; `setup` has run."""
        return self._ready.tokenizer

    @property
    def vocabulary(self) -> Vocabulary:
        """Its size and special ids; `setup` has run."""
        return self._ready.tokenizer.vocabulary

    @property
    def corpora(self) -> dict[Split, TokenizedCorpus]:
        """The tokenised corpora by split; `setup` has run."""
        return self._ready.corpora

    @property
    def report(self) -> dict[str, Any]:
        """What was read, kept and dropped, and what is in the corpora; `setup` has run."""
        return self._ready.report

    @property
    def report_files(self) -> tuple[Path, Path]:
        """The report as JSON and as text; `prepare_data` has run."""
        assert self._folder is not None
        return self._folder / REPORT, self._folder / REPORT_TEXT

    @property
    def _ready(self) -> PreparedData:
        if self._prepared is None:
            raise ValueError("the data must be prepared first. Call `prepare_data` and `setup`.")
        return self._prepared

    def prepare_data(self) -> None:
        """Train the tokenizer and tokenise, in one process per machine; the others wait."""
        if self._folder is None:
            self._folder = prepare(
                self.settings, self._untrained, self.cache_dir, self.prepare_workers
            )

    def setup(self, stage: str) -> None:
        """Open the tokenised corpora, in every process.

        Raises:
            ValueError: if the text of this machine is another one than the first process's.
        """
        if self.trainer is not None and self.trainer.world_size > 1:
            self._take_the_same()
        if self._prepared is not None:
            return
        self.prepare_data()
        assert self._folder is not None
        self._prepared = open_prepared(self._folder, self._untrained.config())
        self.pin_revisions(self.report)
        if self.trainer is None or self.trainer.is_global_zero:
            self._tell()

    def _take_the_same(self) -> None:
        """Take what the first process has prepared: no source is opened by any of the others."""
        assert self.trainer is not None
        own = None if self._folder is None else self._folder.name
        key = str(self.trainer.strategy.broadcast(own))
        if self._folder is None and is_whole(self.cache_dir / key):
            self._folder = self.cache_dir / key
        elif self._folder is None:  # a cache of this machine's own
            self.prepare_data()
        assert self._folder is not None
        if self._folder.name != key:
            raise ValueError(
                "`data` must be the same for all processes, but it comes out different on process "
                f"{self.trainer.global_rank}: files differ between the machines, or a data set of "
                "the hub has just changed. Start again; `hf:OWNER/NAME@COMMIT` names a commit."
            )

    def pin_revisions(self, report: Mapping[str, Any]) -> None:
        """From now on, read those commits of the hub's data sets that a data report tells of.

        Args:
            report: this run's, or that of the run that goes on.
        """
        revisions = {
            source["name"]: source["record"]["revision"]
            for source in report["sources"]
            if source["name"].startswith("hf:")
        }
        self.settings = replace(self.settings, revisions=revisions)

    def _tell(self) -> None:
        """Say how much data there is, and what stands out in it."""
        sizes = ", ".join(f"{len(corpus):,} {split}" for split, corpus in self.corpora.items())
        tokens = f"{self.corpora['train'].num_tokens:,} training tokens"
        if self.settings.streaming:
            sizes = ", ".join(f"{len(self.corpora[split]):,} {split}" for split in ("val", "test"))
            tokens = f"a stream of {', '.join(self.settings.train)} to train on"
        log.info(f"data: {sizes} sentences; {tokens}; vocabulary of {self.vocabulary.size:,}")
        if not len(self.corpora["val"]):
            log.warning(
                "There are no sentences for validation, so nothing will be measured and the last "
                "model is kept. Set `data.val`, or `data.val_percent` above 0."
            )
        for finding, _ in find(self.report):
            log.warning(f"data: {finding}")

    def check_trainer(self, trainer: Trainer) -> None:
        """Refuse a stream that this trainer cannot read, or would read without an end.

        Raises:
            ValueError: in one line, with the way out.
            OSError: if a source cannot be read.
        """
        if not self.settings.streaming:
            return
        if trainer.max_steps < 0:
            raise ValueError(
                "`trainer.max_steps` must be given for a stream, which has no end, but it is -1 "
                "instead. Set it, and `trainer.val_check_interval` to the steps between "
                "validations; or leave out `data.streaming`."
            )
        if trainer.val_check_interval == 1.0 and not isinstance(trainer.limit_train_batches, int):
            log.warning(
                "data: a stream has no epochs, so that only the last model will be measured. Set "
                "`trainer.val_check_interval` to a number of steps."
            )
        check_division(self.stream_options.shards, trainer.world_size, self.num_workers)
        for source in self.settings.open_sources()["train"]:
            check_streamable(source)

    def train_dataloader(self) -> DataLoader[Any]:
        """Batches of this process, in the order of the epoch or of the stream."""
        if self.settings.streaming:
            return self._open_stream()
        sampler = self._sampler("train", self.batch_tokens, shuffle=True)
        if self.trainer is not None:
            sampler.set_epoch(self.trainer.current_epoch)
            if self._resumed is not None:
                self._resumed.apply(sampler, self.trainer)
        self._train_sampler = sampler
        return self._loader("train", sampler)

    @property
    def place(self) -> tuple[int, int, int]:
        """Batches of a rank in a whole epoch and in what is left of this one, and its number.

        Zeros where the epochs are not counted. Good until training starts, once there is a loader.
        """
        assert self.trainer is not None
        if self.settings.streaming or self.trainer.max_epochs == -1:
            return 0, 0, 0
        here = int(self.trainer.num_training_batches)
        if self._resumed is None:
            return here, here, 0
        limit = self.trainer.limit_train_batches
        whole = self._resumed.epoch_batches
        whole = min(whole, limit) if isinstance(limit, int) else int(whole * limit)
        return whole, here - self._resumed.steps, self._resumed.epoch

    def _open_stream(self) -> StreamLoader:
        if self._stream is None:
            sources = self.settings.open_sources()["train"]
            pipeline = Pipeline(self.settings, self.tokenizer)
            self._stream = TokenStream(sources, pipeline, self.stream_options)
            if self._stream_state is not None:
                self._stream.load_state_dict(self._stream_state)
        return self._stream.loader(*self._place(), self.num_workers, self._pins_memory)

    def on_before_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Take note of a stream's batch when it is about to be trained, not when it is fetched."""
        if isinstance(batch, StreamBatch):
            assert self._stream is not None
            return self._stream.consumed(batch)
        return batch

    def transfer_batch_to_device(
        self, batch: Any, device: torch.device, dataloader_idx: int
    ) -> Any:
        """Copy without waiting; Lightning does so for tensors only."""
        if isinstance(batch, Batch):
            return batch.to(device, non_blocking=device.type == "cuda")
        return super().transfer_batch_to_device(batch, device, dataloader_idx)

    def stream_summary(self) -> dict[str, Any] | None:
        """What a stream has read by now, and in how many passes; every process must call this."""
        return None if self._stream is None else summarize(self._gather_stream(self._stream))

    def _gather_stream(self, stream: TokenStream) -> dict[str, Any]:
        """The state of all processes, without a batch whose training is not complete."""
        assert self.trainer is not None
        loop: Any = self.trainer.fit_loop
        progress = loop.epoch_loop.batch_progress.current
        states: list[Any] = [stream.rank_state(progress.ready > progress.processed)]
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            states *= torch.distributed.get_world_size()
            torch.distributed.all_gather_object(states, states[0])
        return merge_states(states)

    def val_dataloader(self) -> DataLoader[Batch] | list[Any]:
        """Batches of this process; none where nothing is held out."""
        return self._eval_loader("val")

    def test_dataloader(self) -> DataLoader[Batch] | list[Any]:
        """Batches of this process; none where nothing is held out."""
        return self._eval_loader("test")

    def has_own(self, split: Split, batch_idx: int) -> bool:
        """Whether a batch of an evaluation is this process's own.

        Else it only keeps step with processes that have one more, and counts for nothing.
        """
        return batch_idx < self._eval_samplers[split].num_own

    def predict_dataloader(self) -> DataLoader[Batch]:
        """The test sentences; `predict_rows` says which ones a batch holds."""
        # Lightning insists on rebuilding a batch sampler for prediction, so there is none here.
        corpus = self.corpora["test"]
        batches = PlannedBatches(corpus, self.predict_rows(), self._padding(corpus))
        return DataLoader(batches, batch_size=None)

    def predict_rows(self) -> Sequence[NDArray[np.int64]]:
        """For each prediction batch of this process, where its sentences stand in the corpus."""
        corpus = self.corpora["test"]
        if not len(corpus):
            raise ValueError("`data.test` must have sentences to predict, but it has none.")
        plan = plan_batches(
            corpus.batch_lengths, self.eval_batch_tokens, 0, 0, False, self.rounding
        )
        return list(batches_of_rank(plan, *self._place()))

    def state_dict(self) -> dict[str, Any]:
        """Where the order of the training data stands; see `order_state` and `merge_states`.

        Every process must call this, as Lightning does.
        """
        assert self.trainer is not None
        if self._stream is not None:
            return {"stream": self._gather_stream(self._stream)}
        if self.settings.streaming:  # saved before the first step; an empty state is not stored
            return {"stream": self._stream_state} if self._stream_state else {}
        return order_state(self.trainer, self._train_sampler) | {"order": self._order()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on there, on any number of processes and workers."""
        assert self.trainer is not None
        if self.settings.streaming != ("stream" in state_dict):
            raise ValueError(
                f"`data.streaming` must be {not self.settings.streaming}, as in the run that goes "
                f"on, but it is {self.settings.streaming} instead. Put it back, or train anew."
            )
        # A sharded training makes its optimizer before it reads a checkpoint, and asks for the
        # number of batches: what it got then has the order from the start.
        forget_train_loader(self.trainer)
        self._stream = None
        if self.settings.streaming:
            self._stream_state = state_dict["stream"]
            return
        order = state_dict["order"]
        place = {name: value for name, value in state_dict.items() if name != "order"}
        for key, now in self._order().items():
            if order[key] == now:
                continue
            if not self.allows_another_order:
                raise ValueError(
                    f"`{key}` must be {order[key]}, as in the run that goes on, but it is {now} "
                    f"instead: the order of the sentences would be another. Put it back, train "
                    f"anew, or write `--resume_changed true`."
                )
            log.warning(f"data: `{key}` has changed, so that the epoch begins anew in its order")
            place |= {"steps": 0, "consumed": 0}
        self._resumed = ResumedOrder(**place)
        self.trainer.callbacks.append(self._resumed)  # type: ignore[attr-defined]

    def _order(self) -> dict[str, Any]:
        """What decides the order of the training sentences, by configuration key."""
        return {
            "data.train": f"text with key {self.corpora['train'].key}",
            "data.batch_tokens": self.batch_tokens,
            "data.seed": self.seed,
            "data.round_length": self.rounding.length,
            "data.round_rows": self.rounding.rows,
        }

    def _eval_loader(self, split: Split) -> DataLoader[Batch] | list[Any]:
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
        return TokenBudgetBatchSampler(
            self.corpora[split].batch_lengths,
            batch_tokens,
            self.seed,
            shuffle,
            *self._place(),
            self.rounding,
        )

    def _padding(self, corpus: TokenizedCorpus) -> RoundedPadding:
        return RoundedPadding(self.rounding, corpus.pad_id)

    def _place(self) -> tuple[int, int]:
        if self.trainer is None:
            return 0, 1
        return self.trainer.global_rank, self.trainer.world_size

    def _loader(self, split: Split, sampler: TokenBudgetBatchSampler) -> DataLoader[Batch]:
        return DataLoader(
            self.corpora[split],  # type: ignore[arg-type]
            batch_sampler=sampler,
            collate_fn=self._padding(self.corpora[split]),  # type: ignore[arg-type]
            # Its own, so that starting an epoch draws nothing from the generator of dropout.
            generator=torch.Generator(),
            num_workers=self.num_workers,
            worker_init_fn=ignore_group_signals,
            persistent_workers=self.num_workers > 0,
            pin_memory=self._pins_memory,
        )

    @property
    def _pins_memory(self) -> bool:
        is_on_gpu = self.trainer is not None and self.trainer.strategy.root_device.type == "cuda"
        return self.pin_memory and is_on_gpu


def _as_tuple(sources: str | list[str] | None) -> tuple[str, ...]:
    if sources is None:
        return ()
    return (sources,) if isinstance(sources, str) else tuple(sources)
