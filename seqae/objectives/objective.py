"""The contract of an objective."""

from __future__ import annotations

from abc import abstractmethod

from torch import Generator, Tensor

from seqae.batch import Batch
from seqae.component import Component
from seqae.model.autoencoder import SequenceAutoencoder


class Objective(Component):
    """A batch and a model to the loss and whatever else is worth logging."""

    @abstractmethod
    def __call__(
        self, model: SequenceAutoencoder, batch: Batch, step: int, generator: Generator
    ) -> dict[str, Tensor]:
        """Compute the loss of a batch.

        Args:
            model: in training mode for a training step, in evaluation mode otherwise.
            batch: sentences.
            step: optimizer steps taken so far, for schedules.
            generator: the source of all randomness of the objective, on the CPU.

        Returns:
            Scalars, each a mean over the batch's target tokens. `loss` is minimised; every other
            key is logged under its own name.
        """
