"""Denoising: encode a noisy sentence, decode the clean one."""

from __future__ import annotations

from typing import ClassVar, final

from torch import Generator, Tensor
from typing_extensions import override

from seqae.batch import Batch
from seqae.model.autoencoder import SequenceAutoencoder
from seqae.objectives.likelihood import LikelihoodObjective, check_not_stochastic
from seqae.objectives.noise import NoiseRates, corrupt


class NoisyObjective(LikelihoodObjective):
    """An objective whose encoder may read noisy sentences in training.

    Args:
        noise: the rates; each is also an attribute of its own, which `config()` reads.
        label_smoothing: see LikelihoodObjective.
        word_dropout: see LikelihoodObjective.
    """

    def __init__(self, noise: NoiseRates, label_smoothing: float, word_dropout: float) -> None:
        super().__init__(label_smoothing, word_dropout)
        self.noise = noise
        self.delete, self.blank = noise.delete, noise.blank
        self.substitute, self.shuffle_distance = noise.substitute, noise.shuffle_distance

    def add_noise(self, model: SequenceAutoencoder, batch: Batch, generator: Generator) -> Batch:
        """Corrupt the sentences to encode in training; evaluation encodes clean ones."""
        if not model.training or self.noise == NoiseRates():
            return batch
        assert model.vocabulary is not None
        return corrupt(batch, self.noise, model.vocabulary, generator, model.max_length)


@final
class Denoising(NoisyObjective):
    """Decode the clean sentence from the latent of a noisy one (Vincent et al. 2008; DAE).

    loss = -log p(x | z(noisy(x))), the DAE of Shen et al. 2020 (arXiv:1905.12777). Evaluation adds
    no noise.

    Noise that inserts words of other sentences teaches to leave words out: such a model shortens
    what it reads (Févry and Phang 2018, arXiv:1809.02669). The cross-entropy of clean sentences,
    `val/reconstruction`, then chooses the bundle, because how many of their words a free-running
    reconstruction keeps says little.

    Args:
        delete: chance of deleting a token that the encoder reads in training; Shen et al. take 0.3.
        blank: chance of replacing such a token with unk.
        substitute: chance of replacing such a token with a random one.
        shuffle_distance: most positions that such a token moves, counted in runs of `span` tokens;
            Lample et al. 2018 take 3. From the length of the longest sentence on, any token may
            come anywhere.
        insert: tokens of two other sentences of the batch that are inserted at random places, as a
            share of the sentence's own; each sentence's share is drawn between 0.8 and 1.2 times
            this one. Févry and Phang take 0.5; the model then learns to write two thirds of what it
            reads.
        span: tokens that are inserted, and shuffled, together; 2 are the bigrams of Févry and
            Phang.
        label_smoothing: share of each target's probability spread over the vocabulary in training
            (Szegedy et al. 2016).
        word_dropout: chance that a token the decoder reads becomes unk in training (Bowman et al.
            2016). bos is never dropped.
    """

    passes_memory: ClassVar[bool] = True

    def __init__(
        self,
        delete: float = 0.3,
        blank: float = 0.0,
        substitute: float = 0.0,
        shuffle_distance: int = 0,
        insert: float = 0.0,
        span: int = 1,
        label_smoothing: float = 0.0,
        word_dropout: float = 0.0,
    ) -> None:
        noise = NoiseRates(delete, blank, substitute, shuffle_distance, insert, span)
        super().__init__(noise, label_smoothing, word_dropout)
        self.insert, self.span = insert, span

    @override
    def monitored_for(self, model: SequenceAutoencoder) -> str:
        return "val/reconstruction" if self.insert else super().monitored_for(model)

    @override
    def check(self, model: SequenceAutoencoder, is_paired: bool = True) -> None:
        super().check(model, is_paired)
        check_not_stochastic(model, "Denoising")

    @override
    def forward(
        self, model: SequenceAutoencoder, batch: Batch, step: int, generator: Generator
    ) -> dict[str, Tensor]:
        batch = self.add_noise(model, batch, generator)
        latents = model.encode(batch, generator)
        sums = self.token_sums(model, batch, latents.latent, generator, latents.memory)
        return self.values(sums, batch, latents)
