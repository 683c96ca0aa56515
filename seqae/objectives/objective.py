"""Objective: the contract of what a training step minimises."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from typing import ClassVar

from torch import Generator, Tensor, nn

from seqae.batch import Batch
from seqae.component import Component
from seqae.model.autoencoder import SequenceAutoencoder


class Objective(Component, nn.Module):
    """Map a model and a batch to the loss and to whatever else is worth logging.

    An objective may have weights of its own (a discriminator). They are trained with the model's
    and stay out of the bundle.

    Attributes:
        learning_rate_factor: scales the model's learning rate for the objective's own weights.
        beta1: decay of AdamW's mean of gradients for its own weights; None takes the model's.
    """

    # Keys of `forward` that are means over sentences; all others are means over target tokens.
    sentence_means: ClassVar[frozenset[str]] = frozenset()

    # The validation metric that picks the best model, unless the user names another, or
    # `monitored_for` a better one.
    monitored: ClassVar[str] = "val/token_accuracy"

    # Whether it gives the memory to a decoder that looks back at the text.
    passes_memory: ClassVar[bool] = False

    learning_rate_factor: float = 1.0
    beta1: float | None = None

    def __init__(self) -> None:
        super().__init__()

    def check(self, model: SequenceAutoencoder, is_paired: bool = True) -> None:
        """Refuse a model or data that this objective cannot train on.

        Args:
            model: only its settings are read, so that it need not be built.
            is_paired: whether batches have `targets`.

        Raises:
            ValueError: if the objective does not fit the model or the data.
        """
        if model.reads_memory and not self.passes_memory:
            raise ValueError(
                f"`model.objective` must be Reconstruction or Denoising for a decoder that looks "
                f"back at the text, but it is {type(self).__name__} instead. Choose one of these, "
                f"or leave out attention and `copying`."
            )

    def monitored_for(self, model: SequenceAutoencoder) -> str:
        """Name the validation metric that picks the best model, unless the user names another."""
        return self.monitored

    def build(self, model: SequenceAutoencoder) -> None:
        """Create the objective's own weights, if it has any, for a model that is built."""

    @abstractmethod
    def forward(
        self, model: SequenceAutoencoder, batch: Batch, step: int, generator: Generator
    ) -> dict[str, Tensor]:
        """Compute the loss of a batch.

        Every weight of the model must get a gradient at every step, if need be a zero: otherwise
        training on several devices would wait for it.

        Args:
            model: in training mode for a training step, in evaluation mode otherwise.
            batch: sentences.
            step: optimizer steps taken so far, for schedules.
            generator: the only source of randomness, on the CPU.

        Returns:
            Scalars by name: `loss` is minimised, all others are logged. Each is a mean over the
            batch's target tokens, or over its sentences if the name is in `sentence_means`.
        """

    def is_schedule_finished(self, step: int) -> bool:
        """Whether the loss has reached its final form, so that models can be compared by it."""
        return True

    def frozen_parameters(self, model: SequenceAutoencoder, step: int) -> Iterable[nn.Parameter]:
        """List the weights that this optimizer step must not change."""
        return ()

    def reinitialized_parameters(
        self, model: SequenceAutoencoder, step: int
    ) -> Iterable[nn.Parameter]:
        """Draw weights again before an optimizer step, equally on every device, and list them.

        This is called for each batch: under gradient accumulation several times before one step,
        which must all draw the same.
        """
        return ()
