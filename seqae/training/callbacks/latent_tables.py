"""What training adds about the latent space: tables in W&B, and a density in the bundle."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from lightning.pytorch import Callback, LightningModule, Trainer

from seqae.bundle.density import can_fit, fit_density
from seqae.bundle.io import add_density
from seqae.bundle.text_autoencoder import TextAutoencoder, load
from seqae.component import check_range
from seqae.data.datamodule import TextDataModule
from seqae.files import reporting
from seqae.training.loggers import table_loggers
from seqae.training.module import AutoencoderModule

TABLE_SENTENCES = 1024  # training sentences that the tables look at: a second on a CPU
TABLE_STEPS = 5  # of an interpolation
TABLE_NEIGHBOURS = 3


class LatentSpaceTables(Callback):
    """Show in W&B, after each validation, what the latent space holds.

    The tables `samples` (from the prior, or else from a Gaussian of some training latents),
    `interpolations` (between neighbours in a list of validation sentences) and `neighbours` (of
    these among some training sentences). Without a W&B logger nothing is done.

    Args:
        count: samples, and sentences of the other tables; 0 shows none.
    """

    def __init__(self, count: int = 4) -> None:
        check_range("count", count, 0, 1000)
        self.count = count

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Make the tables and log them."""
        loggers = table_loggers(trainer)
        if trainer.sanity_checking or not trainer.is_global_zero or not self.count or not loggers:
            return
        assert isinstance(pl_module, AutoencoderModule)
        for name, rows in latent_space_tables(pl_module, self.count).items():
            for logger in loggers:
                cells = [[trainer.global_step, *row.values()] for row in rows]
                if rows:
                    logger.log_table(name, ["step", *rows[0]], cells)


def latent_space_tables(
    pl_module: AutoencoderModule, count: int
) -> dict[str, list[dict[str, Any]]]:
    """The rows of each table."""
    datamodule = pl_module.datamodule
    model = TextAutoencoder(pl_module.unsharded.autoencoder, datamodule.tokenizer)
    train = spread(datamodule, "train", TABLE_SENTENCES)
    texts = spread(datamodule, "val" if len(datamodule.corpora["val"]) else "train", count)
    latents = model.encode(train, "truncate")
    model.density = fit_density(latents) if can_fit(latents) else None
    samples = model.sample(count) if model.density is not None else []
    interpolations = [
        {"start": start, "end": end, "position": place, "text": text}
        for start, end in zip(texts, texts[1:], strict=False)
        for place, text in enumerate(
            model.interpolate(start, end, TABLE_STEPS, too_long="truncate")
        )
    ]
    near = model.neighbours(texts, train, TABLE_NEIGHBOURS, too_long="truncate")
    return {
        "samples": [{"text": text} for text in samples],
        "interpolations": interpolations,
        "neighbours": [
            {"text": text, "neighbour": neighbour.text, "similarity": neighbour.similarity}
            for text, found in zip(texts, near, strict=True)
            for neighbour in found
        ],
    }


def fit_bundle_density(
    folder: Path, datamodule: TextDataModule, limit: int, device: str = "cpu"
) -> None:
    """Put a density of training latents into the bundle of the best model, if there is one.

    Args:
        folder: the bundle.
        datamodule: knows the training sentences.
        limit: how many of them are encoded at most, spread evenly; 0 fits none.
        device: where they are encoded.
    """
    if not limit or not folder.exists():
        return
    model = load(folder, device, with_density=False)  # that of a run which was killed may be half
    latents = model.encode(spread(datamodule, "train", limit), "truncate")
    if not can_fit(latents):
        return
    density = fit_density(latents)
    with reporting(folder):
        add_density(folder, density)


def spread(datamodule: TextDataModule, split: Literal["train", "val"], count: int) -> Sequence[str]:
    """Sentences spread evenly over a split."""
    corpus = datamodule.corpora[split]
    chosen = np.unique(np.linspace(0, len(corpus) - 1, count, dtype=np.int64))
    return datamodule.tokenizer.decode([corpus[int(index)].tolist() for index in chosen])
