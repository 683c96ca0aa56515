"""The collapse monitor: does the decoder read the latent? A warning in words if it does not."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from lightning.pytorch import Callback, LightningModule, Trainer
from numpy.typing import NDArray
from torch import Tensor

from seqae.batch import Batch
from seqae.component import Component, check_range
from seqae.generation import greedy
from seqae.metrics.geometry import duplicates
from seqae.metrics.posterior import Posterior, posterior_of
from seqae.model.autoencoder import SequenceAutoencoder
from seqae.model.latents import StochasticLatent
from seqae.training.module import AutoencoderModule

# Share of the loss that the gap is below. Of a plain VAE on the built-in corpus, whose latent holds
# 0.3 to 0.5 nats, it is 0.006 to 0.015; where a remedy keeps 1.2 nats or more, 0.03 and above
# (docs/log.md).
COLLAPSED = 0.02

BATCH = 64  # sentences that are encoded at once

# What to try, in this order, where the setting is still 0: its place, value, and what it does.
REMEDIES = (
    ("latent.batch_norm", "0.3", "means that keep their spread (Zhu et al. 2020)"),
    ("objective.free_bits", "0.1", "a floor of the KL term (Kingma et al. 2016)"),
    ("objective.kl_warmup_steps", "a third of the steps", "a rising weight (Bowman et al. 2016)"),
    ("objective.word_dropout", "0.3", "a decoder that must look into the latent (the same)"),
)
OF_THE_KL = ("objective.free_bits", "objective.kl_warmup_steps")

log = logging.getLogger(__name__)


class CollapseMonitor(Callback):
    """Measure, at each validation, how much the latent holds; warn once in words if it is unused.

    Logs of a sample of the validation set, for a latent with a posterior:

    - `val/kl`, nats per sentence, where the objective does not log it for the whole set;
    - `val/mutual_information`, nats, at most the logarithm of the number of sentences;
    - `val/active_units`, dimensions of the posterior mean that move;
    - `val/duplicates`, share of reconstructions that repeat another sentence's;
    - `val/shuffle_gap`, nats per token lost with the latent of another sentence of the batch.

    A run has collapsed when the gap is below a fiftieth of the loss at two validations in a row,
    or at its last one: early in training the decoder is a language model first. Every rank measures
    the same sentences with the same draws: they are too few to be worth an agreement.

    Args:
        sentences: how many; 0 measures nothing.
    """

    FIGURES: ClassVar[tuple[str, ...]] = ("mutual_information", "active_units", "shuffle_gap")

    def __init__(self, sentences: int = 256) -> None:
        check_range("collapse_sentences", sentences, 0, 100_000)
        if sentences == 1:
            raise ValueError(
                "`collapse_sentences` must be 0 or at least 2, but it is 1 instead. Leave it out."
            )
        self.sentences = sentences
        self._measured_step: int | None = None
        self._figures: dict[str, float] = {}
        self.is_collapsed, self.has_warned = False, False

    def state_dict(self) -> dict[str, Any]:
        """What the last validation found, and whether a warning was given."""
        return {"is_collapsed": self.is_collapsed, "has_warned": self.has_warned}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from it."""
        self.is_collapsed = state_dict["is_collapsed"]
        self.has_warned = state_dict["has_warned"]

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Measure, log and judge."""
        assert isinstance(pl_module, AutoencoderModule)
        model = pl_module.unsharded.autoencoder
        corpus = pl_module.datamodule.corpora["val"]
        count = min(self.sentences, len(corpus))
        if trainer.sanity_checking or count < 2 or not isinstance(model.latent, StochasticLatent):
            return
        chosen = np.unique(np.linspace(0, len(corpus) - 1, count, dtype=np.int64))
        batches = [
            corpus.__getitems__(rows.tolist()).to(pl_module.device)
            for rows in _by_length(chosen, corpus.lengths[chosen])
        ]
        posterior = posterior_of(model, batches, pl_module.seed)
        figures = posterior.figures(model.latent)
        figures["duplicates"] = _repeated(model, batches, posterior.output.latent)
        figures["shuffle_gap"] = posterior.shuffle_gap
        del figures["mutual_information_limit"]
        self._figures, self._measured_step = dict(figures), trainer.global_step
        if "kl" in pl_module.objective.sentence_means:  # logged of the whole validation set
            del figures["kl"]
        values = {f"val/{name}": float(value) for name, value in figures.items()}
        # They are equal on all ranks already; sync_dist keeps Lightning from doubting it.
        pl_module.log_dict(values, sync_dist=True)
        was_collapsed, self.is_collapsed = self.is_collapsed, _is_collapsed(posterior)
        if was_collapsed and self.is_collapsed:
            self._warn(trainer, pl_module)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Warn of what only the last validation showed, that of the command after the training."""
        is_last = self._measured_step == trainer.global_step
        if stage in ("fit", "validate") and self.is_collapsed and is_last:
            self._warn(trainer, pl_module)

    def _warn(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.has_warned:
            return
        self.has_warned = True
        assert isinstance(pl_module, AutoencoderModule)
        if trainer.is_global_zero:
            names = ("kl", "shuffle_gap", "active_units", "duplicates")
            kl, gap, active, repeated = (float(self._figures[name]) for name in names)
            log.warning(
                f"the latent has collapsed: the decoder writes about as well from the latent of "
                f"another sentence (a gap of {gap:.3f} nats per token; KL {kl:.2f} nats per "
                f"sentence, {active:.0f} active units, {repeated:.0%} duplicates). "
                f"{remedy(pl_module)}"
            )


def remedy(pl_module: AutoencoderModule) -> str:
    """What to try against collapse, as keys to set: the first that would do anything."""
    model, objective = pl_module.autoencoder, pl_module.objective
    parts: dict[str, Component] = {"objective": objective, "latent": model.latent}
    assert isinstance(model.latent, StochasticLatent)
    useless: set[str] = set(OF_THE_KL) if model.latent.has_constant_kl else set()
    if not model.decoder.autoregressive:
        useless.add("objective.word_dropout")
    found = []
    for key, value, why in REMEDIES:
        part, _, name = key.partition(".")
        if key not in useless and vars(parts[part]).get(name) == 0:
            place = "model.autoencoder" if part == "latent" else "model"
            found.append(f"`{place}.{key}: {value}`, {why}")
    if "kappa" in vars(model.latent):
        found.append("a higher `model.autoencoder.latent.kappa`")
    elif "kl_weight" in vars(objective):
        found.append("a lower `model.objective.kl_weight`")
    found.append("more steps")
    return f"Try {'; or '.join(found[:2])}."


def _is_collapsed(posterior: Posterior) -> bool:
    return posterior.shuffle_gap < COLLAPSED * posterior.nll / posterior.tokens


def _by_length(rows: NDArray[Any], lengths: NDArray[Any]) -> Sequence[NDArray[Any]]:
    """Rows in batches of like length."""
    ordered = rows[np.argsort(lengths, kind="stable")]
    return np.array_split(ordered, -(-len(ordered) // BATCH))


def _repeated(model: SequenceAutoencoder, batches: Sequence[Batch], latents: Tensor) -> float:
    """The share of reconstructions that repeat another's, among sentences that differ."""
    written: dict[tuple[int, ...], tuple[int, ...]] = {}
    start = 0
    for batch in batches:
        rows = greedy(model, latents[start : start + len(batch)])
        start += len(batch)
        sides = zip(batch.token_ids.tolist(), batch.lengths.tolist(), rows, strict=True)
        written |= {tuple(ids[:length]): tuple(row) for ids, length, row in sides}
    return duplicates(list(written.values()))
