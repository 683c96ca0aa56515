"""Callbacks: throughput, sample reconstructions, the bundle of the best model, exact resume."""

from __future__ import annotations

import logging

import numpy as np
from lightning.pytorch import Callback, LightningModule, Trainer

from seqae.bundle.text_autoencoder import TextAutoencoder
from seqae.component import check_range
from seqae.terminal import visible
from seqae.training.loggers import table_loggers
from seqae.training.module import AutoencoderModule

log = logging.getLogger(__name__)

SHOWN_WIDTH = 60  # characters of a sample sentence on the terminal


class SampleReconstructions(Callback):
    """Show, after each validation, what the model writes back for a few sentences.

    The sentences are spread evenly over the validation set and stay the same, so that one can
    watch them come right. To the terminal, and to W&B as the table `reconstructions`.

    Args:
        count: how many sentences; 0 shows none.
    """

    def __init__(self, count: int = 4) -> None:
        check_range("count", count, 0, 1000)
        self.count = count

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write them back and show them."""
        if trainer.sanity_checking or not trainer.is_global_zero or not self.count:
            return
        rows = sample_reconstructions(pl_module, self.count)
        width = min(SHOWN_WIDTH, max(len(row["expected"]) for row in rows))
        for row in rows:
            same = "=" if row["expected"] == row["reconstruction"] else "≠"
            sides = ("expected", "reconstruction")
            text, written = (visible(row[side], SHOWN_WIDTH) for side in sides)
            log.info(f"  {text:{width}} {same} {written}")
        for logger in table_loggers(trainer):
            names = ["text", "expected", "reconstruction"]
            if all(row["text"] == row["expected"] for row in rows):
                names.remove("expected")
            cells = [[trainer.global_step, *(row[name] for name in names)] for row in rows]
            logger.log_table("reconstructions", ["step", *names], cells)


def sample_reconstructions(pl_module: LightningModule, count: int) -> list[dict[str, str]]:
    """Sentences spread over the validation set (or the training set), and what is written back.

    `expected` is the text itself, or for paired text what is to be written for it.
    """
    assert isinstance(pl_module, AutoencoderModule)
    datamodule = pl_module.datamodule
    corpus = datamodule.corpora["val" if len(datamodule.corpora["val"]) else "train"]
    chosen = np.unique(np.linspace(0, len(corpus) - 1, count, dtype=np.int64))
    sides = [
        datamodule.tokenizer.decode([side[int(index)].tolist() for index in chosen])
        for side in (corpus, corpus.target or corpus)
    ]
    model = TextAutoencoder(pl_module.unsharded.autoencoder, datamodule.tokenizer)
    written = model.reconstruct(sides[0], too_long="truncate")
    names = ("text", "expected", "reconstruction")
    return [dict(zip(names, row, strict=True)) for row in zip(*sides, written, strict=True)]
