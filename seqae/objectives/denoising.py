"""Noise on sentences, and the denoising autoencoder: read a damaged sentence, write the whole one.

The four kinds of noise are those of Shen et al. 2020 (arXiv:1905.12777) and Lample et al. 2018
(arXiv:1711.00043, section 2.3). They work on token ids; bos, eos and padding are never touched.
"""

from __future__ import annotations

from typing import final

from torch import Generator, Tensor
from typing_extensions import override

from seqae.batch import Batch
from seqae.model.autoencoder import SequenceAutoencoder
from seqae.objectives.likelihood import LikelihoodObjective, check_not_stochastic
from seqae.objectives.noise import NoiseRates, corrupt


@final
class Denoising(LikelihoodObjective):
    """Write the clean sentence, given the latent of a damaged one (Vincent et al. 2008; DAE).

    loss = -log p(x | z(noisy(x))), the DAE of Shen et al. 2020 (arXiv:1905.12777). In evaluation
    nothing is damaged.

    Args:
        delete: chance that a token of what is read is left out; 0.3 is what Shen et al. take.
        blank: chance that it becomes unk.
        substitute: chance that it becomes a random token.
        shuffle_distance: how many places it moves at most (Lample et al. 2018 take 3).
        label_smoothing: share of each target's probability spread over the vocabulary in training
            (Szegedy et al. 2016).
        word_dropout: chance that a token the decoder reads becomes unk in training (Bowman et al.
            2016). bos is never dropped.
    """

    def __init__(
        self,
        delete: float = 0.3,
        blank: float = 0.0,
        substitute: float = 0.0,
        shuffle_distance: int = 0,
        label_smoothing: float = 0.0,
        word_dropout: float = 0.0,
    ) -> None:
        super().__init__(label_smoothing, word_dropout)
        self.rates = NoiseRates(delete, blank, substitute, shuffle_distance)
        self.delete, self.blank, self.substitute = delete, blank, substitute
        self.shuffle_distance = shuffle_distance

    @override
    def check(self, model: SequenceAutoencoder, is_paired: bool = True) -> None:
        super().check(model, is_paired)
        check_not_stochastic(model, "Denoising")

    @override
    def forward(
        self, model: SequenceAutoencoder, batch: Batch, step: int, generator: Generator
    ) -> dict[str, Tensor]:
        if model.training:
            assert model.vocabulary is not None
            batch = corrupt(batch, self.rates, model.vocabulary, generator)
        latents = model.encode(batch, generator)
        sums = self.token_sums(model, batch, latents.latent, generator)
        return self.values(sums, batch, latents)
