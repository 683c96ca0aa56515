"""The contract of an objective."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from typing import ClassVar

from torch import Generator, Tensor, nn

from seqae.batch import Batch
from seqae.component import Component
from seqae.model.autoencoder import SequenceAutoencoder


class Objective(Component, nn.Module):
    """A batch and a model to the loss and whatever else is worth logging.

    An objective may have weights of its own (a discriminator), which are trained with the model's
    and stay out of the bundle.

    Attributes:
        learning_rate_factor: times the model's learning rate is that of its own weights.
        beta1: decay of AdamW's mean of gradients for its own weights; None takes the model's.
    """

    # Names of what `forward` gives that is a mean over sentences, not over target tokens.
    sentence_means: ClassVar[frozenset[str]] = frozenset()

    # The figure of validation whose best model is kept, where the user asks for no other.
    monitored: ClassVar[str] = "val/token_accuracy"

    learning_rate_factor: float = 1.0
    beta1: float | None = None

    def __init__(self) -> None:
        super().__init__()

    def check(self, model: SequenceAutoencoder, is_paired: bool = True) -> None:
        """Refuse a model or data that this objective cannot train with; it reads settings only.

        Args:
            model: it need not be built.
            is_paired: whether batches have another side.

        Raises:
            ValueError: in one line, with the way out.
        """

    def build(self, model: SequenceAutoencoder) -> None:
        """Make weights of its own, for a model that is built."""

    @abstractmethod
    def forward(
        self, model: SequenceAutoencoder, batch: Batch, step: int, generator: Generator
    ) -> dict[str, Tensor]:
        """Compute the loss of a batch.

        Every weight of the model gets a gradient at every step, if need be a zero: else training
        on several devices would wait for it.

        Args:
            model: in training mode for a training step, in evaluation mode otherwise.
            batch: sentences.
            step: optimizer steps taken so far, for schedules.
            generator: the source of all randomness of the objective, on the CPU.

        Returns:
            Scalars. `loss` is minimised, and every other key is logged under its own name. Each is
            a mean over the batch's target tokens, or over its sentences if `sentence_means` has it.
        """

    @property
    def needs_whole_batch(self) -> bool:
        """Whether the loss of a batch is more than the mean of its sentences' or tokens'."""
        return False

    def is_schedule_finished(self, step: int) -> bool:
        """Whether the loss is that of the end: models of before are not to be compared with it."""
        return True

    def frozen_parameters(self, model: SequenceAutoencoder, step: int) -> Iterable[nn.Parameter]:
        """Weights that this optimizer step leaves as they are."""
        return ()

    def reinitialized_parameters(
        self, model: SequenceAutoencoder, step: int
    ) -> Iterable[nn.Parameter]:
        """Draw weights anew before an optimizer step, and say which; the same on every device.

        It is asked at each batch, so under accumulation several times before one step.
        """
        return ()
