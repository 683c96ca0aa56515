"""Reconstruction: write back what was read. Cross-entropy, or squared error on embeddings."""

from __future__ import annotations

from typing import final

import torch
from torch import Generator, Tensor

from seqae.batch import Batch
from seqae.component import check_range
from seqae.model.autoencoder import SequenceAutoencoder
from seqae.model.cross_entropy import linear_cross_entropy
from seqae.objectives.objective import Objective


@final
class Reconstruction(Objective):
    """Cross-entropy of each real token, given the latent and the tokens before it.

    Logs `reconstruction`, the cross-entropy without smoothing in nats per token, and
    `teacher_forced_accuracy`, the share of tokens that have the highest logit when the decoder
    reads the true tokens before them.

    Args:
        label_smoothing: share of each target's probability spread over the vocabulary (Szegedy et
            al. 2016).
        word_dropout: chance that a token the decoder reads becomes unk in training (Bowman et al.
            2016), so that it must look into the latent. bos is never dropped.
    """

    def __init__(self, label_smoothing: float = 0.0, word_dropout: float = 0.0) -> None:
        super().__init__()
        check_range("label_smoothing", label_smoothing, 0.0, 0.99)
        check_range("word_dropout", word_dropout, 0.0, 1.0)
        self.label_smoothing, self.word_dropout = label_smoothing, word_dropout

    def forward(  # noqa: D102
        self, model: SequenceAutoencoder, batch: Batch, step: int, generator: Generator
    ) -> dict[str, Tensor]:
        decoder_input = batch.decoder_input
        if model.training and self.word_dropout:
            decoder_input = drop_words(model, decoder_input, self.word_dropout, generator)
        features = model.decode(decoder_input, model.encode(batch).latent)
        mask = batch.target_mask
        target = batch.target[mask]
        loss, reconstruction, correct = linear_cross_entropy(
            *model.output_layer(features[mask]),
            target,
            self.label_smoothing if model.training else 0.0,
        )
        return {
            "loss": loss / len(target),
            "reconstruction": reconstruction / len(target),
            "teacher_forced_accuracy": correct / len(target),
        }


@final
class MeanSquaredError(Objective):
    """Squared distance between the written and the true embedding, as introductory articles do.

    Mean over the embedding's dimensions and over real tokens. Sentences are read out by the
    nearest embedding (`head: nearest`). The embedding is not trained by this loss: a loss between
    two things that it may both move is smallest when all embeddings are equal, so the model needs
    `train_embedding: false`.

    Logs `teacher_forced_accuracy`, the share of tokens whose embedding is the nearest one.
    """

    def check(self, model: SequenceAutoencoder) -> None:  # noqa: D102
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

    def forward(  # noqa: D102
        self, model: SequenceAutoencoder, batch: Batch, step: int, generator: Generator
    ) -> dict[str, Tensor]:
        features = model.decode(batch.decoder_input, model.encode(batch).latent)
        mask = batch.target_mask
        target = batch.target[mask]
        written = model.predict_embedding(features[mask])
        loss = torch.nn.functional.mse_loss(written, model.embed(target))
        with torch.no_grad():
            correct = (model.logits(features[mask]).argmax(dim=-1) == target).sum()
        return {"loss": loss, "teacher_forced_accuracy": correct / len(target)}


def drop_words(
    model: SequenceAutoencoder, decoder_input: Tensor, chance: float, generator: Generator
) -> Tensor:
    """Replace tokens by unk, each with the given chance; never bos, the first of each row."""
    assert model.vocabulary is not None
    dropped = torch.rand(decoder_input.shape, generator=generator) < chance
    dropped[:, 0] = False
    return decoder_input.masked_fill(dropped.to(decoder_input.device), model.vocabulary.unk_id)
