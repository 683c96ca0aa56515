"""Prior: what every prior does. A prior never changes the model whose latents it is fitted to.

A bundle keeps a prior as one safetensors file: its tensors, and beside them as JSON how it was
built and what else fitting has found. All three may come from a stranger, so that a prior says what
it expects before any of it is read.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Generator, Tensor

from seqae.component import Component, check_range, check_seed
from seqae.model.latent_noise import MAX_NOISE

MAX_DIM = 2**11  # of a latent: a matrix for it then takes 16 MiB
MIN_SENTENCES = 2


class Prior(Component):
    """A distribution of latents that is fitted to those of training sentences.

    Attributes:
        kind: its name in a bundle and on the command line.
        noise: the σ at which its draws are decoded by a model that is trained with `latent_noise`.
    """

    kind: ClassVar[str]
    noise: float

    @abstractmethod
    def fit(
        self,
        latents: Tensor,
        lengths: Tensor | None = None,
        labels: Sequence[str] | None = None,
        seed: int = 0,
    ) -> None:
        """Fit the prior, on the device of the latents.

        Args:
            latents: (n, Z) float32, of training sentences; `can_fit` must hold for them.
            lengths: (n,) int64, tokens of each sentence, bos and eos counted.
            labels: one of each sentence.
            seed: of all randomness.

        Raises:
            ValueError: if there are too few latents, or they are too large.
        """

    @abstractmethod
    def sample(self, count: int, generator: Generator) -> Tensor:
        """Draw latents: (count, Z) float32 on the CPU.

        Args:
            count: number of latents.
            generator: on the CPU.
        """

    @abstractmethod
    def tensors(self) -> dict[str, Tensor]:
        """Return what fitting has found, as tensors by name."""

    def found(self) -> dict[str, Any]:
        """Return what else fitting has found, as plain data by name."""
        return {}

    @abstractmethod
    def expected_tensors(self, latent_dim: int, found: Mapping[str, Any]) -> dict[str, Tensor]:
        """Say which tensors a file must have, of which shapes and types, on the meta device.

        Args:
            latent_dim: Z.
            found: as `found` returned it, or what a stranger wrote.

        Raises:
            ValueError: if `found` is not of this prior's form.
        """

    @abstractmethod
    def restore(self, tensors: Mapping[str, Tensor], found: Mapping[str, Any]) -> None:
        """Take over what was fitted.

        Args:
            tensors: those that `expected_tensors` describes, with finite values.
            found: as there.

        Raises:
            ValueError: if the values cannot be those of such a prior.
        """


def can_fit(latents: Any) -> bool:
    """Whether latents (n, Z) are enough, and not too large, to fit a prior."""
    return len(latents) >= MIN_SENTENCES and latents.shape[1] <= MAX_DIM


def check_fit(latents: Tensor, seed: int) -> None:
    """Check what every prior is fitted with.

    Raises:
        ValueError: if the seed, or the number of latents or of their dimensions, is out of range.
    """
    check_seed(seed)
    if not can_fit(latents):
        raise ValueError(
            f"`latents` must be at least {MIN_SENTENCES}, of at most {MAX_DIM:,} dimensions, but "
            f"their shape is {tuple(latents.shape)} instead. Give more sentences, or train a model "
            f"with a smaller latent."
        )


def check_noise(noise: float) -> None:
    """Check the σ at which draws are decoded.

    Raises:
        ValueError: if it is out of range.
    """
    check_range("noise", noise, 0.0, MAX_NOISE)


def check_found(found: Mapping[str, Any], names: Sequence[str]) -> None:
    """Check the names of what fitting has found.

    Raises:
        ValueError: if they are others.
    """
    if sorted(found) != sorted(names):
        raise ValueError(
            f"`found` must have {', '.join(names) or 'nothing'}, but it has "
            f"{', '.join(sorted(map(str, found)))[:80] or 'nothing'} instead."
        )


def shaped(*sizes: int) -> Tensor:
    """Describe a float32 tensor: on the meta device it takes no memory."""
    return torch.empty(sizes, device="meta")
