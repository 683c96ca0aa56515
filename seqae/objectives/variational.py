"""Variational: the VAE and its remedies against posterior collapse."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar, final

import torch
from torch import Generator, Tensor, nn
from typing_extensions import override

from seqae.batch import Batch
from seqae.component import check_range
from seqae.model.autoencoder import SequenceAutoencoder
from seqae.objectives.annealing import annealing_steps, cyclical_annealing
from seqae.objectives.likelihood import LikelihoodObjective, check_stochastic


@final
class Variational(LikelihoodObjective):
    """The negative evidence lower bound (Kingma and Welling 2014; for text Bowman et al. 2016).

    loss = -log p(x|z) + kl_weight * KL(q(z|x) || p(z)), z drawn once from q(z|x). A `kl_weight`
    above 1 is the beta-VAE (Higgins et al. 2017).

    A decoder that reads the true previous words often ignores the latent: the KL term goes to zero.
    The remedies can be combined: annealing the weight once (`kl_warmup_steps`) or several times
    (`kl_cycles`, Fu et al. 2019), a floor of the KL term (`free_bits`), `word_dropout`, batch
    normalisation of the posterior (`GaussianLatent.batch_norm`), more steps for the encoder than
    for the decoder (`aggressive_steps`), and a start as a plain autoencoder (`pretraining_steps`).

    Logs, in addition to what all likelihood objectives log, `kl` in nats per sentence, unweighted
    and without floor; `kl_weight`; and in evaluation `negative_elbo` in nats per sentence: one draw
    of -log p(x|z) + KL, whatever the weight and the floor; on average an upper bound of -log p(x).

    Args:
        kl_weight: of the KL term, after the warm-up.
        kl_warmup_steps: optimizer steps over which the weight rises from 0; they begin after
            the pre-training.
        kl_cycles: number of rises; more than 1 is the cyclical schedule of Fu et al. 2019
            (arXiv:1903.10145, section 3), who take 4.
        kl_rising_share: share of a cycle over which the weight rises; Fu et al. take 0.5.
        free_bits: floor of the KL term in nats for each dimension (for each vector, if the
            posterior does not factorise). It clamps the mean over the batch, as in Kingma et al.
            2016 (arXiv:1606.04934, appendix C.8), not each sentence's own term; on several devices
            or under accumulation, the mean over each part of the batch.
        word_dropout: chance that a token the decoder reads becomes unk in training.
        label_smoothing: share of each target's probability spread over the vocabulary in training.
        aggressive_steps: optimizer steps, after the pre-training, in which encoder and decoder take
            turns (He et al. 2019, arXiv:1901.05534, algorithm 1). The paper trains the encoder
            until it stops improving, and takes turns until the mutual information falls; here both
            are fixed numbers.
        encoder_updates: steps of the encoder for each step of the decoder, in that time. The
            embedding, which both read, is trained with the decoder.
        pretraining_steps: optimizer steps as a plain autoencoder, with the mean as the latent and
            no KL term, after which the decoder and the output layer are initialised again (Li et
            al. 2019, arXiv:1909.00868, section 3). Tied embeddings, which the encoder shares, and
            the biases of tied logits stay.
    """

    monitored: ClassVar[str] = "val/negative_elbo"

    sentence_means: ClassVar[frozenset[str]] = LikelihoodObjective.sentence_means | {
        "kl",
        "kl_weight",
        "negative_elbo",
    }

    def __init__(
        self,
        kl_weight: float = 1.0,
        kl_warmup_steps: int = 0,
        kl_cycles: int = 1,
        kl_rising_share: float = 0.5,
        free_bits: float = 0.0,
        word_dropout: float = 0.0,
        label_smoothing: float = 0.0,
        aggressive_steps: int = 0,
        encoder_updates: int = 10,
        pretraining_steps: int = 0,
    ) -> None:
        super().__init__(label_smoothing, word_dropout)
        check_range("kl_weight", kl_weight, 0.0, 1e4)
        check_range("kl_warmup_steps", kl_warmup_steps, 0, 10**9)
        check_range("kl_cycles", kl_cycles, 1, 10**6)
        check_range("kl_rising_share", kl_rising_share, 0.01, 1.0)
        check_range("free_bits", free_bits, 0.0, 100.0)
        check_range("aggressive_steps", aggressive_steps, 0, 10**9)
        check_range("encoder_updates", encoder_updates, 1, 10**6)
        check_range("pretraining_steps", pretraining_steps, 0, 10**9)
        self.kl_weight, self.kl_warmup_steps = kl_weight, kl_warmup_steps
        self.kl_cycles, self.kl_rising_share, self.free_bits = kl_cycles, kl_rising_share, free_bits
        self.aggressive_steps, self.encoder_updates = aggressive_steps, encoder_updates
        self.pretraining_steps = pretraining_steps

    @override
    def check(self, model: SequenceAutoencoder, is_paired: bool = True) -> None:
        super().check(model, is_paired)
        if self.kl_cycles > 1 and not self.kl_warmup_steps:
            raise ValueError(
                f"`kl_warmup_steps` must be above 0 with `kl_cycles` {self.kl_cycles}, but it is 0 "
                f"instead. Set it, or leave out `kl_cycles`."
            )
        if check_stochastic(model, "Variational").has_constant_kl:
            for key, neutral in (("kl_weight", 1.0), ("kl_warmup_steps", 0), ("free_bits", 0.0)):
                if getattr(self, key) != neutral:
                    raise ValueError(
                        f"`{key}` must be {neutral:g} with {type(model.latent).__name__}, whose KL "
                        f"is a constant of its own settings, but it is {getattr(self, key)} "
                        f"instead. Leave it out, and set `model.autoencoder.latent.kappa`."
                    )

    @override
    def forward(
        self, model: SequenceAutoencoder, batch: Batch, step: int, generator: Generator
    ) -> dict[str, Tensor]:
        latent = check_stochastic(model, "Variational")
        is_pretraining = model.training and step < self.pretraining_steps
        latents = model.encode(batch, None if is_pretraining else generator)
        sums = self.token_sums(model, batch, latents.latent, generator)
        kl = latent.kl(latents)
        weight = self._kl_weight_at(step)
        floored = kl.mean(dim=0).clamp(min=self.free_bits).sum() * len(batch)
        # Even if the weight is zero, so that every parameter of the posterior gets a gradient.
        values = self.values(sums, batch, latents, weight * floored)
        values["kl"] = kl.detach().sum() / len(batch)
        values["kl_weight"] = torch.full((), weight, device=kl.device)
        if not model.training:
            values["negative_elbo"] = sums.nll / len(batch) + values["kl"]
        return values

    @override
    def is_schedule_finished(self, step: int) -> bool:
        annealing = annealing_steps(self.kl_warmup_steps, self.kl_cycles, self.kl_rising_share)
        return step >= self.pretraining_steps + annealing

    @override
    def frozen_parameters(self, model: SequenceAutoencoder, step: int) -> Iterable[nn.Parameter]:
        aggressive_step = step - self.pretraining_steps
        if not 0 <= aggressive_step < self.aggressive_steps:
            return ()
        encoder_weights = {*model.encoder.parameters(), *model.latent.parameters()}
        if aggressive_step % (self.encoder_updates + 1) == self.encoder_updates:
            return encoder_weights
        return [weight for weight in model.parameters() if weight not in encoder_weights]

    @override
    def reinitialized_parameters(
        self, model: SequenceAutoencoder, step: int
    ) -> Iterable[nn.Parameter]:
        if not self.pretraining_steps or step != self.pretraining_steps:
            return ()
        assert model.vocabulary is not None
        with torch.random.fork_rng(devices=[]):  # layers draw from the global generator
            torch.default_generator.manual_seed(step)  # the same weights on every device
            fresh = SequenceAutoencoder.from_config(model.config())
            fresh.build(model.vocabulary, model.max_length)
        weights = [*model.decoder.parameters(), *model.output.parameters()]
        fresh_weights = [*fresh.decoder.parameters(), *fresh.output.parameters()]
        if model.adaptive is not None and fresh.adaptive is not None:
            weights += model.adaptive.parameters()
            fresh_weights += fresh.adaptive.parameters()
        with torch.no_grad():
            for weight, fresh_weight in zip(weights, fresh_weights, strict=True):
                weight.copy_(fresh_weight)
        return weights

    def _kl_weight_at(self, step: int) -> float:
        if step < self.pretraining_steps:
            return 0.0
        return self.kl_weight * cyclical_annealing(
            step - self.pretraining_steps,
            self.kl_warmup_steps,
            self.kl_cycles,
            self.kl_rising_share,
        )
