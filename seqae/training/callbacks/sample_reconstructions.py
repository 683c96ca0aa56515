"""SampleReconstructions: show reconstructions of a few sentences after each validation."""

from __future__ import annotations

import logging

from lightning.pytorch import Callback, LightningModule, Trainer
from typing_extensions import override

from seqae.bundle.text_autoencoder import TextAutoencoder
from seqae.component import check_range
from seqae.terminal import visible
from seqae.training.logs.loggers import table_loggers
from seqae.training.module import AutoencoderModule

log = logging.getLogger(__name__)

SHOWN_WIDTH = 60  # characters of a sample sentence on the terminal


class SampleReconstructions(Callback):
    """Show, after each validation, how the model reconstructs a few sentences.

    The sentences are spread evenly over the validation set and stay the same, so that one can watch
    the model learn them. They go to the terminal, and to W&B as the table `reconstructions`.

    Args:
        count: number of sentences; 0 shows none.
    """

    def __init__(self, count: int = 4) -> None:
        check_range("count", count, 0, 1000)
        self.count = count

    @override
    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.sanity_checking or not trainer.is_global_zero or not self.count:
            return
        rows = sample_reconstructions(pl_module, self.count)
        width = min(SHOWN_WIDTH, max(len(row["expected"]) for row in rows))
        for row in rows:
            same = "=" if row["expected"] == row["reconstruction"] else "≠"
            sides = ("expected", "reconstruction")
            reference, prediction = (visible(row[side], SHOWN_WIDTH) for side in sides)
            log.info(f"  {reference:{width}} {same} {prediction}")
        for logger in table_loggers(trainer):
            names = ["text", "expected", "reconstruction"]
            if all(row["text"] == row["expected"] for row in rows):
                names.remove("expected")
            cells = [[trainer.global_step, *(row[name] for name in names)] for row in rows]
            logger.log_table("reconstructions", ["step", *names], cells)


def sample_reconstructions(pl_module: LightningModule, count: int) -> list[dict[str, str]]:
    """Reconstruct sentences spread over the validation set, or the training set if it is empty.

    Returns:
        A row for each sentence: `text`, the `expected` text (the target of a pair, otherwise the
        text itself) and its `reconstruction`.
    """
    assert isinstance(pl_module, AutoencoderModule)
    datamodule = pl_module.datamodule
    corpus = datamodule.corpora["val" if len(datamodule.corpora["val"]) else "train"]
    chosen = corpus.spread(count)
    sides = [
        datamodule.tokenizer.decode([side[int(index)].tolist() for index in chosen])
        for side in (corpus, corpus.target or corpus)
    ]
    # As the bundle will know it, so that `seqae check` writes the same.
    known = {"training": {"is_paired": corpus.target is not None}}
    model = TextAutoencoder(pl_module.unsharded.autoencoder, datamodule.tokenizer, known)
    predictions = model.reconstruct(sides[0], too_long="truncate")
    names = ("text", "expected", "reconstruction")
    return [dict(zip(names, row, strict=True)) for row in zip(*sides, predictions, strict=True)]
