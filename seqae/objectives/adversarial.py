"""Adversarial: a discriminator tells latents from draws of the prior, and the encoder fools it."""

from __future__ import annotations

from typing import ClassVar, final

import torch
from torch import Generator, Tensor
from torch.nn.functional import softplus
from typing_extensions import override

from seqae.batch import Batch
from seqae.component import check_range
from seqae.model.autoencoder import SequenceAutoencoder
from seqae.model.latents.gaussian import GaussianLatent
from seqae.model.layers import dense_layers
from seqae.objectives.denoising import NoisyObjective
from seqae.objectives.likelihood import check_prior, sample_prior
from seqae.objectives.noise import NoiseRates


@final
class Adversarial(NoisyObjective):
    """The adversarial autoencoder and its kin: AAE, LAAE, DAAE.

    loss = -log p(x|z) - adversarial_weight * log D(z) + logvar_weight * sum |logvar|, and for the
    discriminator D: -log D(z') - log(1 - D(z)) with z' drawn from the prior.

    AAE: Makhzani et al. 2015 (arXiv:1511.05644, section 2), for text Shen et al. 2020
    (arXiv:1905.12777, section 3), whose discriminator, loss and beta1 these are. LAAE: a
    GaussianLatent and a `logvar_weight`, which keeps the posterior from becoming a point
    (Rubenstein et al. 2018, arXiv:1802.03761). DAAE: `delete` 0.3 (Shen et al.) or another noise.

    One backward pass serves both players: the encoder's term goes through the discriminator with
    its weights detached, the discriminator's term reads the detached latent. So neither adds to the
    other's gradient; and AdamW keeps its state for each weight, so that the discriminator's group
    is a second optimizer, with a learning rate and a beta1 of its own, that steps at the same
    moment. Several devices, mixed precision and accumulation need nothing special. The module clips
    the model's gradients alone, without the discriminator's.

    Logs, in addition to what all likelihood objectives log, `adversarial` and `discriminator`, what
    each player minimises, in nats per sentence, and `discriminator_accuracy`, the share of latents
    and draws that it classifies correctly: near 0.5 the encoder wins, at 1 the discriminator.
    `loss` holds the terms of both players.

    Args:
        adversarial_weight: of the encoder's term, relative to a sentence's cross-entropy in nats.
        logvar_weight: of the sum of |logvar| over dimensions; with GaussianLatent only.
        hidden_dim: units of each layer of the discriminator.
        num_layers: hidden layers of the discriminator.
        learning_rate_factor: scales the model's learning rate for the discriminator.
        beta1: decay of AdamW's mean of gradients for the discriminator.
        delete: chance of deleting a token that the encoder reads in training.
        blank: chance of replacing such a token with unk.
        substitute: chance of replacing such a token with a random one.
        shuffle_distance: most positions that such a token moves.
        label_smoothing: share of each target's probability spread over the vocabulary in training
            (Szegedy et al. 2016).
        word_dropout: chance that a token the decoder reads becomes unk in training (Bowman et al.
            2016). bos is never dropped.
    """

    sentence_means: ClassVar[frozenset[str]] = NoisyObjective.sentence_means | {
        "adversarial",
        "discriminator",
        "discriminator_accuracy",
        "absolute_logvar",
    }

    def __init__(
        self,
        adversarial_weight: float = 10.0,
        logvar_weight: float = 0.0,
        hidden_dim: int = 512,
        num_layers: int = 1,
        learning_rate_factor: float = 1.0,
        beta1: float = 0.5,
        delete: float = 0.0,
        blank: float = 0.0,
        substitute: float = 0.0,
        shuffle_distance: int = 0,
        label_smoothing: float = 0.0,
        word_dropout: float = 0.0,
    ) -> None:
        noise = NoiseRates(delete, blank, substitute, shuffle_distance)
        super().__init__(noise, label_smoothing, word_dropout)
        check_range("adversarial_weight", adversarial_weight, 0.0, 1e6)
        check_range("logvar_weight", logvar_weight, 0.0, 1e6)
        check_range("hidden_dim", hidden_dim, 1, 2**16)
        check_range("num_layers", num_layers, 1, 64)
        check_range("learning_rate_factor", learning_rate_factor, 0.0, 1e3)
        check_range("beta1", beta1, 0.0, 1.0)
        self.adversarial_weight, self.logvar_weight = adversarial_weight, logvar_weight
        self.hidden_dim, self.num_layers = hidden_dim, num_layers
        self.learning_rate_factor, self.beta1 = learning_rate_factor, beta1

    @override
    def check(self, model: SequenceAutoencoder, is_paired: bool = True) -> None:
        super().check(model, is_paired)
        check_prior(model, "Adversarial")
        if self.logvar_weight and not isinstance(model.latent, GaussianLatent):
            raise ValueError(
                f"`logvar_weight` must be 0 without a GaussianLatent, but it is "
                f"{self.logvar_weight} with {type(model.latent).__name__} instead. Leave it out, "
                f"or set `model.autoencoder.latent: GaussianLatent`."
            )

    @override
    def build(self, model: SequenceAutoencoder) -> None:
        sizes = [model.latent_dim] + [self.hidden_dim] * self.num_layers + [1]
        self.discriminator = dense_layers(sizes, "relu", 0.0)

    @override
    def forward(
        self, model: SequenceAutoencoder, batch: Batch, step: int, generator: Generator
    ) -> dict[str, Tensor]:
        batch = self.add_noise(model, batch, generator)
        latents = model.encode(batch, generator)
        sums = self.token_sums(model, batch, latents.latent, generator)
        # -log D(z) is softplus(-logit), -log(1 - D(z)) is softplus(logit).
        adversarial = softplus(-self._discriminate_frozen(latents.latent)).sum()
        encoded = self._discriminate(latents.latent.detach())
        drawn = self._discriminate(sample_prior(model, latents.latent, generator))
        discriminator = softplus(encoded).sum() + softplus(-drawn).sum()
        penalty = self.adversarial_weight * adversarial + discriminator
        logged = {
            "adversarial": adversarial,
            "discriminator": discriminator,
            "discriminator_accuracy": 0.5 * ((encoded < 0).sum() + (drawn > 0).sum()),
        }
        if self.logvar_weight:
            assert latents.logvar is not None
            logged["absolute_logvar"] = latents.logvar.abs().sum()
            penalty = penalty + self.logvar_weight * logged["absolute_logvar"]
        values = self.values(sums, batch, latents, penalty)
        return values | {name: value.detach() / len(batch) for name, value in logged.items()}

    def _discriminate(self, latent: Tensor) -> Tensor:
        """Map latents (B, Z) to the logits of "drawn from the prior", (B,)."""
        logits: Tensor = self.discriminator(self._match_dtype(latent))[:, 0]
        return logits.float()

    def _discriminate_frozen(self, latent: Tensor) -> Tensor:
        """Compute the same logits without a gradient to the discriminator's weights."""
        frozen = {name: w.detach() for name, w in self.discriminator.named_parameters()}
        latent = self._match_dtype(latent)
        logits: Tensor = torch.func.functional_call(self.discriminator, frozen, (latent,))[:, 0]
        return logits.float()

    def _match_dtype(self, latent: Tensor) -> Tensor:
        """Cast latents, which are float32, to the weights' type, which may be half precision."""
        return latent.to(next(self.discriminator.parameters()).dtype)
