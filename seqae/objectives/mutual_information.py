"""MutualInformationMachine: sentence and latent say much about each other, by construction."""

from __future__ import annotations

from typing import ClassVar, final

from torch import Generator, Tensor
from typing_extensions import override

from seqae.batch import Batch
from seqae.model.autoencoder import SequenceAutoencoder
from seqae.objectives.likelihood import LikelihoodObjective, check_stochastic


@final
class MutualInformationMachine(LikelihoodObjective):
    """A-MIM as SentenceMIM trains it (Livne et al. 2020, arXiv:2003.02645; its train.py).

    loss = -log p(x|z) - (log q(z|x) + log p(z)) / 2, z drawn once from q(z|x).

    The prior is rewarded, and a *narrow* posterior too, where the VAE's bound rewards a wide one.
    So it does not collapse; what keeps the posterior from becoming a point is the latent's own
    limit (in GaussianLatent, of the logvar; -10 as there).

    Logs, beside what all likelihood objectives log, `log_posterior`, `log_prior` and `kl`, in nats
    per sentence.

    Args:
        label_smoothing: share of each target's probability spread over the vocabulary in training
            (Szegedy et al. 2016).
        word_dropout: chance that a token the decoder reads becomes unk in training (Bowman et al.
            2016). bos is never dropped.
    """

    sentence_means: ClassVar[frozenset[str]] = LikelihoodObjective.sentence_means | {
        "log_posterior",
        "log_prior",
        "kl",
    }

    def __init__(self, label_smoothing: float = 0.0, word_dropout: float = 0.0) -> None:
        super().__init__(label_smoothing, word_dropout)

    @override
    def check(self, model: SequenceAutoencoder, is_paired: bool = True) -> None:
        super().check(model, is_paired)
        check_stochastic(model, "MutualInformationMachine")

    @override
    def forward(
        self, model: SequenceAutoencoder, batch: Batch, step: int, generator: Generator
    ) -> dict[str, Tensor]:
        latent = check_stochastic(model, "MutualInformationMachine")
        latents = model.encode(batch, generator)
        sums = self.token_sums(model, batch, latents.latent, generator)
        log_posterior = latent.log_posterior(latents, latents.latent).sum()
        log_prior = latent.log_prior(latents.latent).sum()
        values = self.values(sums, batch, latents, -0.5 * (log_posterior + log_prior))
        values["log_posterior"] = log_posterior.detach() / len(batch)
        values["log_prior"] = log_prior.detach() / len(batch)
        values["kl"] = latent.kl(latents).detach().sum() / len(batch)
        return values
