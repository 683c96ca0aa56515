"""Reconstruction: decode what was encoded. Cross-entropy, or squared error on embeddings."""

from __future__ import annotations

from typing import ClassVar, final

import torch
from torch import Generator, Tensor
from typing_extensions import override

from seqae.batch import Batch
from seqae.component import check_range
from seqae.model.autoencoder import SequenceAutoencoder
from seqae.objectives.likelihood import LikelihoodObjective, check_not_stochastic
from seqae.objectives.objective import Objective


@final
class Reconstruction(LikelihoodObjective):
    """The cross-entropy of each token, given the latent and the tokens before it.

    For paired text it can also pull the latents of the two texts together (`alignment_weight`). It
    then logs `alignment`, their mean squared difference.

    Args:
        label_smoothing: share of each target's probability spread over the vocabulary in training
            (Szegedy et al. 2016).
        word_dropout: chance that a token the decoder reads becomes unk in training (Bowman et al.
            2016), so that the decoder must use the latent. bos is never dropped.
        alignment_weight: of the mean squared error between the latents of the text that is encoded
            and of its target; for paired text only. The mean is over the latent's dimensions; the
            weight is relative to a sentence's cross-entropy in nats.
    """

    sentence_means: ClassVar[frozenset[str]] = LikelihoodObjective.sentence_means | {"alignment"}
    passes_memory: ClassVar[bool] = True

    def __init__(
        self,
        label_smoothing: float = 0.0,
        word_dropout: float = 0.0,
        alignment_weight: float = 0.0,
    ) -> None:
        super().__init__(label_smoothing, word_dropout)
        check_range("alignment_weight", alignment_weight, 0.0, 1e6)
        self.alignment_weight = alignment_weight

    @override
    def check(self, model: SequenceAutoencoder, is_paired: bool = True) -> None:
        super().check(model, is_paired)
        check_not_stochastic(model, "Reconstruction")
        if model.reads_memory and not is_paired:
            raise ValueError(
                "`data.reading.target_column` must name what to write for a decoder that looks "
                "back at the text, but there are no pairs: it would learn to copy, and its latent "
                "nothing. Train on pairs, leave out attention and `copying`, or set "
                "`model.objective: Denoising`."
            )
        if self.alignment_weight and not is_paired:
            raise ValueError(
                f"`alignment_weight` must be 0 for text without pairs, but it is "
                f"{self.alignment_weight} instead. Train on pairs (`data.reading.target_column`), "
                f"or leave it out."
            )

    @override
    def forward(
        self, model: SequenceAutoencoder, batch: Batch, step: int, generator: Generator
    ) -> dict[str, Tensor]:
        latents = model.encode(batch, generator)
        sums = self.token_sums(model, batch, latents.latent, generator, latents.memory)
        if not self.alignment_weight:
            return self.values(sums, batch, latents)
        assert batch.targets is not None
        target_latents = model.encode(batch.targets, generator)
        if latents.loss is not None and target_latents.loss is not None:
            latents.loss = latents.loss + target_latents.loss
        alignment = torch.nn.functional.mse_loss(latents.latent, target_latents.latent)
        penalty = self.alignment_weight * len(batch) * alignment
        values = self.values(sums, batch, latents, penalty)
        return {**values, "alignment": alignment.detach()}


@final
class MeanSquaredError(Objective):
    """The squared distance of predicted and true embeddings, as introductory articles train.

    It is a mean over the embedding's dimensions and over real tokens. The decoder writes the token
    whose embedding is nearest to its prediction (`head: nearest`). The embedding must not be
    trained by this loss (`train_embedding: false`): a loss that can move both its sides is smallest
    when all embeddings are equal.

    Logs `teacher_forced_accuracy`, the share of tokens whose embedding is the nearest one, and
    `latent_loss`, in nats per sentence, if the latent layer adds a term of its own.
    """

    sentence_means: ClassVar[frozenset[str]] = frozenset({"latent_loss"})

    @override
    def check(self, model: SequenceAutoencoder, is_paired: bool = True) -> None:
        super().check(model, is_paired)
        if model.train_embedding:
            raise ValueError(
                "`train_embedding` must be false under MeanSquaredError, but it is true instead: "
                "all embeddings would become equal. Set `model.autoencoder.train_embedding: false`."
            )
        if model.head != "nearest":
            raise ValueError(
                f"`head` must be nearest under MeanSquaredError, but it is {model.head} instead. "
                f"Set `model.autoencoder.head: nearest`."
            )
        check_not_stochastic(model, "MeanSquaredError")
        if model.latent_noise is not None:
            raise ValueError(
                "`latent_noise` must be null under MeanSquaredError, whose optimum for a noisy "
                "latent is a mean of embeddings, but it is set instead. Leave it out, or set "
                "`model.objective: Reconstruction`."
            )

    @override
    def forward(
        self, model: SequenceAutoencoder, batch: Batch, step: int, generator: Generator
    ) -> dict[str, Tensor]:
        latents = model.encode(batch, generator)
        features = model.decode(batch.decoder_input, latents.latent)
        target = batch.real_targets(batch.target)
        features = batch.real_targets(features)
        predicted = model.predict_embedding(features)
        loss = torch.nn.functional.mse_loss(predicted, model.embed(target))
        with torch.no_grad():
            correct = (model.logits(features).argmax(dim=-1) == target).sum()
        values = {"teacher_forced_accuracy": correct / len(target)}
        if latents.loss is not None:
            loss = loss + latents.loss * len(batch) / len(target)
            values["latent_loss"] = latents.loss.detach()
        return {"loss": loss, **values}
