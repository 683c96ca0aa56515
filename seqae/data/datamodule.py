"""TextDataModule: sentences from files to padded batches of token ids."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader, Dataset

from seqae.batch import Batch, Vocabulary
from seqae.component import check_choice, check_range
from seqae.data.batching import TokenBudgetBatchSampler, plan_batches, share_of_rank
from seqae.data.builtin import Split
from seqae.data.corpus import TokenizedCorpus, TooLong
from seqae.data.prepare import (
    DataSettings,
    PreparedData,
    default_cache_dir,
    open_prepared,
    prepare,
)
from seqae.data.sources import OnInvalid
from seqae.data.tokenizers import Tokenizer
from seqae.model.autoencoder import MAX_LENGTH

UNKNOWN_SHARE_WARNED = 0.05

log = logging.getLogger(__name__)


class TextDataModule(LightningDataModule):
    """Sentences, one a line, to batches of like length, filled to a token budget.

    The text is tokenised once, to memory-mapped files in a cache. Without sources of their own,
    validation and test are held out from the training sources by a hash of each sentence, so that
    a sentence that occurs twice never stands on both sides.

    Args:
        tokenizer: text to token ids; trained on the training sentences.
        train: a text file (.gz, .bz2, .xz too), a folder of .txt files, `-` for standard input, or
            a built-in corpus (wordnet-examples, speeches, hsk); or a list of these.
        val: the same for validation; by default `val_percent` of the training sentences.
        test: the same for the test; by default `test_percent` of the training sentences.
        batch_tokens: tokens of a training batch, padding counted, on each process.
        eval_batch_tokens: the same for validation, test and prediction.
        max_length: most tokens of a sentence, bos and eos counted.
        too_long: what to do with a longer one: `error`, `truncate` or `drop`.
        errors: what to do with a line that is not UTF-8: `strict` stops, `replace` writes U+FFFD,
            `skip` drops it.
        val_percent: share of the training sources held out for validation, in percent.
        test_percent: share held out for the test, in percent.
        split_seed: another number, another split.
        seed: of the order of batches.
        num_workers: processes that gather batches beside the training; 0 gathers in between,
            which costs under one percent of the time on a CPU.
        cache_dir: where tokenised text is kept; by default $SEQAE_CACHE or ~/.cache/seqae.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        train: str | list[str] = "wordnet-examples",
        val: str | list[str] | None = None,
        test: str | list[str] | None = None,
        batch_tokens: int = 1024,
        eval_batch_tokens: int = 8192,
        max_length: int = 128,
        too_long: TooLong = "error",
        errors: OnInvalid = "strict",
        val_percent: int = 5,
        test_percent: int = 5,
        split_seed: int = 0,
        seed: int = 0,
        num_workers: int = 0,
        cache_dir: str | None = None,
    ) -> None:
        super().__init__()
        check_range("data.batch_tokens", batch_tokens, 1, 2**31)
        check_range("data.eval_batch_tokens", eval_batch_tokens, 1, 2**31)
        check_range("data.max_length", max_length, 3, MAX_LENGTH)
        check_choice("data.too_long", too_long, ("error", "truncate", "drop"))
        check_range("data.val_percent", val_percent, 0, 99)
        check_range("data.test_percent", test_percent, 0, 99 - val_percent)
        check_range("data.num_workers", num_workers, 0, 1024)
        self.settings = DataSettings(
            train=_as_tuple(train),
            val=_as_tuple(val),
            test=_as_tuple(test),
            errors=errors,
            max_length=max_length,
            too_long=too_long,
            val_percent=val_percent,
            test_percent=test_percent,
            split_seed=split_seed,
        )
        self.batch_tokens, self.eval_batch_tokens = batch_tokens, eval_batch_tokens
        self.seed, self.num_workers = seed, num_workers
        self.cache_dir = Path(cache_dir).expanduser() if cache_dir else default_cache_dir()
        self._untrained = tokenizer
        self._folder: Path | None = None
        self._prepared: PreparedData | None = None
        self._resume: tuple[int, int] | None = None

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
        """Lines read, kept and dropped by source, and counts by split; `setup` has run."""
        return self._ready.report

    @property
    def _ready(self) -> PreparedData:
        if self._prepared is None:
            raise ValueError("the data must be prepared first. Call `prepare_data` and `setup`.")
        return self._prepared

    def prepare_data(self) -> None:
        """Train the tokenizer and tokenise, in one process per machine; the others wait."""
        if self._folder is None:
            self._folder = prepare(self.settings, self._untrained, self.cache_dir)

    def setup(self, stage: str) -> None:
        """Open the tokenised corpora, in every process."""
        if self._prepared is not None:
            return
        # A process that did not prepare finds the folder by the same key; nothing is read again.
        folder = self._folder or prepare(self.settings, self._untrained, self.cache_dir)
        self._prepared = open_prepared(folder, self._untrained.config())
        if self.trainer is None or self.trainer.is_global_zero:
            self._tell(self._prepared.report["splits"])

    def _tell(self, counts: dict[str, dict[str, int]]) -> None:
        sizes = ", ".join(f"{counts[split]['sentences']:,} {split}" for split in counts)
        log.info(
            f"data: {sizes} sentences; {counts['train']['tokens']:,} training tokens; "
            f"vocabulary of {self.vocabulary.size:,}"
        )
        if not counts["val"]["sentences"]:
            log.warning(
                "There are no sentences for validation, so nothing will be measured and the last "
                "model is kept. Set `data.val`, or `data.val_percent` above 0."
            )
        for split, count in counts.items():
            if count["truncated"] or count["too_long"]:
                log.info(
                    f"data: of {split}, {count['truncated']:,} sentences were truncated and "
                    f"{count['too_long']:,} dropped (`data.max_length`: {self.max_length})"
                )
            if count["unk"] > UNKNOWN_SHARE_WARNED * count["tokens"]:
                log.warning(
                    f"{count['unk'] / count['tokens']:.0%} of the {split} tokens are unknown to "
                    f"the tokenizer. Use a larger vocabulary, or a byte-level tokenizer "
                    f"(`data.tokenizer: BPETokenizer`), which knows every text."
                )

    def train_dataloader(self) -> DataLoader[Batch]:
        """Batches of this process, in the order of the epoch."""
        sampler = self._sampler("train", self.batch_tokens, shuffle=True)
        if self._resume is not None:
            sampler.resume(*self._resume)
        return self._loader("train", sampler)

    def val_dataloader(self) -> DataLoader[Batch] | list[Any]:
        """Batches of this process; none where nothing is held out."""
        return self._eval_loader("val")

    def test_dataloader(self) -> DataLoader[Batch] | list[Any]:
        """Batches of this process; none where nothing is held out."""
        return self._eval_loader("test")

    def predict_dataloader(self) -> DataLoader[Batch]:
        """The test sentences; `predict_rows` says which ones a batch holds."""
        # Lightning insists on rebuilding a batch sampler for prediction, so there is none here.
        return DataLoader(
            _PlannedBatches(self.corpora["test"], self.predict_rows()), batch_size=None
        )

    def predict_rows(self) -> list[np.ndarray[Any, np.dtype[np.int64]]]:
        """For each prediction batch of this process, where its sentences stand in the corpus."""
        corpus = self.corpora["test"]
        if not len(corpus):
            raise ValueError("`data.test` must have sentences to predict, but it has none.")
        plan = plan_batches(corpus.lengths, self.eval_batch_tokens, 0, 0, shuffle=False)
        return share_of_rank(plan, *self._place())

    def state_dict(self) -> dict[str, Any]:
        """The epoch, the steps taken in it, and by how many processes."""
        assert self.trainer is not None
        loop = self.trainer.fit_loop
        epoch = loop.epoch_progress.current.started - 1  # type: ignore[attr-defined]
        steps = loop.epoch_loop.batch_progress.current.processed  # type: ignore[attr-defined]
        if steps >= self.trainer.num_training_batches:
            epoch, steps = epoch + 1, 0
        return {"epoch": epoch, "steps": steps, "world_size": self.trainer.world_size}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on after those steps, on any number of workers.

        Raises:
            ValueError: if an epoch was begun by another number of processes: Lightning fixes the
                number of its steps once.
        """
        assert self.trainer is not None
        before, now = state_dict["world_size"], self.trainer.world_size
        if state_dict["steps"] and before != now:
            raise ValueError(
                f"`trainer.devices` must give {before} processes, as before, to go on within an "
                f"epoch, but it gives {now} instead. Resume from the end of an epoch, or with as "
                f"many."
            )
        self._resume = (state_dict["epoch"], state_dict["steps"])

    def _eval_loader(self, split: Split) -> DataLoader[Batch] | list[Any]:
        if not len(self.corpora[split]):
            if self.trainer is not None and self.trainer.state.fn in ("validate", "test"):
                raise ValueError(
                    f"`data.{split}` must have sentences to measure, but it has none. Name a file, "
                    f"or set `data.{split}_percent` above 0."
                )
            return []
        return self._loader(split, self._sampler(split, self.eval_batch_tokens, shuffle=False))

    def _sampler(self, split: Split, batch_tokens: int, shuffle: bool) -> TokenBudgetBatchSampler:
        return TokenBudgetBatchSampler(
            self.corpora[split].lengths, batch_tokens, self.seed, shuffle, *self._place()
        )

    def _place(self) -> tuple[int, int]:
        if self.trainer is None:
            return 0, 1
        return self.trainer.global_rank, self.trainer.world_size

    def _loader(self, split: Split, sampler: TokenBudgetBatchSampler) -> DataLoader[Batch]:
        return DataLoader(
            self.corpora[split],  # type: ignore[arg-type]
            batch_sampler=sampler,
            collate_fn=_already_a_batch,  # type: ignore[arg-type]
            # Its own, so that starting an epoch draws nothing from the generator of dropout.
            generator=torch.Generator(),
            num_workers=self.num_workers,
            persistent_workers=self.num_workers > 0,
            pin_memory=self.trainer is not None
            and self.trainer.strategy.root_device.type == "cuda",
        )


class _PlannedBatches(Dataset[Batch]):
    """A corpus cut into batches beforehand."""

    def __init__(self, corpus: TokenizedCorpus, rows: list[np.ndarray[Any, Any]]) -> None:
        self.corpus, self.rows = corpus, rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Batch:
        return self.corpus.__getitems__(self.rows[index].tolist())


def _already_a_batch(batch: Batch) -> Batch:
    return batch


def _as_tuple(sources: str | list[str] | None) -> tuple[str, ...]:
    if sources is None:
        return ()
    return (sources,) if isinstance(sources, str) else tuple(sources)
