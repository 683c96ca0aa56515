"""LatentSpaceTables: W&B tables of samples, interpolations and neighbours."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from lightning.pytorch import Callback, LightningModule, Trainer
from typing_extensions import override

from seqae.bundle.operations.text_operations import Neighbour
from seqae.bundle.prior_draws import fit_priors, usual_priors
from seqae.bundle.text_autoencoder import TextAutoencoder
from seqae.component import check_range
from seqae.data.datamodule import TextDataModule
from seqae.priors.base import can_fit
from seqae.training.logs.loggers import table_loggers
from seqae.training.module import AutoencoderModule

TABLE_SENTENCES = 1024  # training sentences to encode: a second on a CPU
TABLE_STEPS = 5  # texts of an interpolation
TABLE_NEIGHBOURS = 3


class LatentSpaceTables(Callback):
    """Log tables to W&B, after each validation, that show what the latent space holds.

    The tables are `samples` (from the model's own prior, or one that is fitted to some training
    latents), `interpolations` (between consecutive sentences of a list from the validation set)
    and `neighbours` (of these sentences among some training sentences). Without a W&B logger this
    does nothing.

    Args:
        count: number of samples, and of sentences in the other tables; 0 logs none.
    """

    def __init__(self, count: int = 4) -> None:
        check_range("count", count, 0, 1000)
        self.count = count

    @override
    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
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
    """Make the rows of each table, keyed by its name."""
    datamodule = pl_module.datamodule
    model = TextAutoencoder(pl_module.unsharded.autoencoder, datamodule.tokenizer)
    train = spread(datamodule, "train", TABLE_SENTENCES)
    texts = spread(datamodule, "val" if len(datamodule.corpora["val"]) else "train", count)
    latents = model.encode(train, "truncate")
    is_decodable = not model.autoencoder.reads_memory
    if is_decodable and can_fit(latents):  # the last is the one that `sample` takes
        model.priors = fit_priors(usual_priors(model.autoencoder)[-1:], latents)
    samples = model.sample(count) if model.priors else []
    interpolations = [
        {"start": start, "end": end, "position": position, "text": text}
        for start, end in zip(texts, texts[1:] if is_decodable else [], strict=False)
        for position, text in enumerate(
            model.interpolate(start, end, TABLE_STEPS, too_long="truncate")
        )
    ]
    neighbours: list[list[Neighbour]] = [[] for _ in texts]
    if train:
        neighbours = model.neighbours(texts, train, TABLE_NEIGHBOURS, too_long="truncate")
    return {
        "samples": [{"text": text} for text in samples],
        "interpolations": interpolations,
        "neighbours": [
            {"text": text, "neighbour": neighbour.text, "similarity": neighbour.similarity}
            for text, nearest in zip(texts, neighbours, strict=True)
            for neighbour in nearest
        ],
    }


def spread(datamodule: TextDataModule, split: Literal["train", "val"], count: int) -> Sequence[str]:
    """Decode sentences spread evenly over a split; none if it is empty, as training on a stream."""
    corpus = datamodule.corpora[split]
    chosen = corpus.spread(count)
    return datamodule.tokenizer.decode([corpus[int(index)].tolist() for index in chosen])
