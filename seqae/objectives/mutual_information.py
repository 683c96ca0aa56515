"""MutualInformationMachine: sentence and latent share much information, by construction."""

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

    It rewards draws that are likely under the prior and, where the VAE's bound rewards a wide
    posterior, a *narrow* one. So the posterior does not collapse; the latent's own limit keeps it
    from becoming a point (in GaussianLatent that of the logvar, -10 as in SentenceMIM).

    Logs, in addition to what all likelihood objectives log, `log_posterior`, `log_prior` and `kl`,
    in nats per sentence.
    """

    sentence_means: ClassVar[frozenset[str]] = LikelihoodObjective.sentence_means | {
        "log_posterior",
        "log_prior",
        "kl",
    }

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
