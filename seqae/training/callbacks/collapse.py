"""CollapseMonitor: measure whether the decoder uses the latent, and warn if it does not."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from lightning.pytorch import Callback, LightningModule, Trainer
from numpy.typing import NDArray
from torch import Tensor
from typing_extensions import override

from seqae.batch import Batch
from seqae.component import Component, check_range
from seqae.generation import greedy
from seqae.metrics.geometry import duplicates
from seqae.metrics.posterior import Posterior, posterior_of
from seqae.model.autoencoder import SequenceAutoencoder
from seqae.model.latents import StochasticLatent
from seqae.training.module import AutoencoderModule
from seqae.units import with_unit

# A run has collapsed if its shuffle gap is below this share of the loss. For a plain VAE on the
# built-in corpus, whose latent holds 0.3 to 0.5 nats, the share is 0.006 to 0.015; when a remedy
# keeps 1.2 nats or more, it is 0.03 and above (docs/log.md).
COLLAPSED = 0.02

BATCH = 64  # sentences that are encoded at once

# Settings to suggest, in this order, if they are still 0: the key, a value, and what it does.
REMEDIES = (
    ("latent.batch_norm", "0.3", "means that keep their spread (Zhu et al. 2020)"),
    ("objective.free_bits", "0.1", "a floor for the KL term (Kingma et al. 2016)"),
    ("objective.kl_warmup_steps", "a third of the steps", "a rising weight (Bowman et al. 2016)"),
    ("objective.word_dropout", "0.3", "a decoder that must use the latent (Bowman et al. 2016)"),
)
KL_REMEDIES = ("objective.free_bits", "objective.kl_warmup_steps")

log = logging.getLogger(__name__)


class CollapseMonitor(Callback):
    """Measure at each validation how much the latent holds, and warn once if it is unused.

    For a latent with a posterior, these are logged for a sample of the validation set:

    - `val/kl`, nats per sentence, unless the objective logs it for the whole set;
    - `val/mutual_information`, nats, at most the logarithm of the number of sentences;
    - `val/active_units`, dimensions of the posterior mean that vary;
    - `val/duplicates`, share of reconstructions that repeat another sentence's;
    - `val/shuffle_gap`, nats per token lost with the latent of another sentence of the batch.

    A run has collapsed when the gap is below a fiftieth of the loss at two validations in a row, or
    at its last one; early in training, every decoder is a language model first. All ranks measure
    the same sentences with the same draws, because they are too few to be worth sharing out.

    Args:
        sentences: number of sentences to measure; 0 measures nothing.
    """

    METRICS: ClassVar[tuple[str, ...]] = ("mutual_information", "active_units", "shuffle_gap")

    def __init__(self, sentences: int = 256) -> None:
        check_range("collapse_sentences", sentences, 0, 100_000)
        if sentences == 1:
            raise ValueError(
                "`collapse_sentences` must be 0 or at least 2, but it is 1 instead. Leave it out."
            )
        self.sentences = sentences
        self._measured_step: int | None = None
        self._metrics: dict[str, float] = {}
        self.is_collapsed, self.has_warned = False, False

    @override
    def state_dict(self) -> dict[str, Any]:
        return {"is_collapsed": self.is_collapsed, "has_warned": self.has_warned}

    @override
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.is_collapsed = state_dict["is_collapsed"]
        self.has_warned = state_dict["has_warned"]

    @override
    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert isinstance(pl_module, AutoencoderModule)
        model = pl_module.unsharded.autoencoder
        corpus = pl_module.datamodule.corpora["val"]
        count = min(self.sentences, len(corpus))
        if trainer.sanity_checking or count < 2 or not isinstance(model.latent, StochasticLatent):
            return
        chosen = corpus.spread(count)
        batches = [
            corpus.__getitems__(rows.tolist()).to(pl_module.device)
            for rows in _by_length(chosen, corpus.lengths[chosen])
        ]
        posterior = posterior_of(model, batches, pl_module.seed)
        metrics = posterior.metrics(model.latent)
        metrics["duplicates"] = _duplicate_share(model, batches, posterior.output.latent)
        metrics["shuffle_gap"] = posterior.shuffle_gap
        del metrics["mutual_information_limit"]
        self._metrics, self._measured_step = dict(metrics), trainer.global_step
        if "kl" in pl_module.objective.sentence_means:  # logged for the whole validation set
            del metrics["kl"]
        values = {f"val/{name}": float(value) for name, value in metrics.items()}
        # All ranks have the same values; sync_dist only keeps Lightning from warning.
        pl_module.log_dict(values, sync_dist=True)
        was_collapsed, self.is_collapsed = self.is_collapsed, _is_collapsed(posterior)
        if was_collapsed and self.is_collapsed:
            self._warn(trainer, pl_module)

    @override
    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Warn if only the last validation found a collapse, which may follow training."""
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
            kl, gap, active, repeated = (float(self._metrics[name]) for name in names)
            log.warning(
                f"the latent has collapsed: the decoder writes about as well from the latent of "
                f"another sentence (a gap of {with_unit(gap, 'nats/token')}; KL "
                f"{with_unit(kl, 'nats/sentence')}, {active:.0f} active units, "
                f"{with_unit(repeated, '%')} duplicates). "
                f"{remedy(pl_module)}"
            )


def remedy(pl_module: AutoencoderModule) -> str:
    """Suggest settings against collapse: the first two that would have an effect."""
    model, objective = pl_module.autoencoder, pl_module.objective
    parts: dict[str, Component] = {"objective": objective, "latent": model.latent}
    assert isinstance(model.latent, StochasticLatent)
    useless: set[str] = set(KL_REMEDIES) if model.latent.has_constant_kl else set()
    if not model.decoder.autoregressive:
        useless.add("objective.word_dropout")
    suggestions = []
    for key, value, why in REMEDIES:
        part, _, name = key.partition(".")
        if key not in useless and vars(parts[part]).get(name) == 0:
            parent = "model.autoencoder" if part == "latent" else "model"
            suggestions.append(f"`{parent}.{key}: {value}`, {why}")
    if "kappa" in vars(model.latent):
        suggestions.append("a higher `model.autoencoder.latent.kappa`")
    elif "kl_weight" in vars(objective):
        suggestions.append("a lower `model.objective.kl_weight`")
    suggestions.append("more steps")
    return f"Try {'; or '.join(suggestions[:2])}."


def _is_collapsed(posterior: Posterior) -> bool:
    return posterior.shuffle_gap < COLLAPSED * posterior.nll / posterior.tokens


def _by_length(rows: NDArray[Any], lengths: NDArray[Any]) -> Sequence[NDArray[Any]]:
    """Rows in batches of like length."""
    ordered = rows[np.argsort(lengths, kind="stable")]
    return np.array_split(ordered, -(-len(ordered) // BATCH))


def _duplicate_share(
    model: SequenceAutoencoder, batches: Sequence[Batch], latents: Tensor
) -> float:
    """Return the share of reconstructions that repeat another one, among distinct sentences."""
    predictions: dict[tuple[int, ...], tuple[int, ...]] = {}
    start = 0
    for batch in batches:
        rows = greedy(model, latents[start : start + len(batch)])
        start += len(batch)
        sides = zip(batch.token_ids.tolist(), batch.lengths.tolist(), rows, strict=True)
        predictions |= {tuple(ids[:length]): tuple(row) for ids, length, row in sides}
    return duplicates(list(predictions.values()))
