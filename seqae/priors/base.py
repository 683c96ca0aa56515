"""Prior: what every prior does. A prior never changes the model whose latents it is fitted to.

A bundle keeps a prior as one safetensors file: its tensors, and beside them as JSON how it was
built and what else fitting has found. All three may come from a stranger, so that a prior says what
it expects before any of it is read.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar, final

import torch
from torch import Generator, Tensor

from seqae.batch import MAX_LENGTH
from seqae.component import Component, check_range, check_seed, check_whole
from seqae.model.latents import Latent
from seqae.model.latents.latent_noise import MAX_NOISE

MAX_DIM = 2**11  # of a latent: a matrix for it then takes 16 MiB
MIN_SENTENCES = 2

# σ at which draws are decoded: the lowest at which at most a tenth of the samples of `fluent` were
# copies of training sentences (docs/results.md).
DEFAULT_NOISE = 2.5


@dataclass(frozen=True)
class Drawing:
    """How latents are drawn; a prior refuses what it does not know.

    Args:
        prior_temperature: factor of the standard deviation of what is drawn at random: below 1
            draws are likelier and more alike. (That of decoding is another.) Of codes, the
            temperature of each.
        length: of the sentences, in tokens, bos and eos counted; null draws of all.
        label: of the sentences, one of those that the prior was fitted with; null draws of all.
        guidance: how much more than is likely the draws show `length` and `label` (classifier-free
            guidance, Ho and Salimans 2022, arXiv:2207.12598); 1 is as likely.
        noise: the σ at which the draws are decoded, and which those of `neighbourhood` and `flow`
            have; null for a model that is not told.
    """

    prior_temperature: float = 1.0
    length: int | None = None
    label: str | None = None
    guidance: float = 1.0
    noise: float | None = None

    def __post_init__(self) -> None:
        check_range("prior_temperature", self.prior_temperature, 0.0, 10.0)
        if self.length is not None:
            object.__setattr__(self, "length", check_whole("length", self.length, 2, MAX_LENGTH))
        if self.label is not None and not isinstance(self.label, str):
            raise ValueError(f"`label` must be a text, but it is {self.label!r} instead. Quote it.")
        check_range("guidance", self.guidance, 0.0, 100.0)
        if self.noise is not None:
            check_noise(self.noise)

    def check_known(self, kind: str, known: Sequence[str]) -> None:
        """Refuse options that a prior does not know.

        Args:
            kind: of the prior.
            known: the options that it knows, beside `noise`.

        Raises:
            ValueError: if another option is given.
        """
        for option in fields(self):
            value = getattr(self, option.name)
            if value != option.default and option.name not in (*known, "noise"):
                raise ValueError(
                    f"`{option.name}` must be left out for the prior {kind}, which cannot follow "
                    f"it, but it is {value} instead. Fit one that can: `seqae prior MODEL --kind "
                    f"flow`, or codes of a model that has codes."
                )


DRAWING = Drawing()


class Prior(Component):
    """A distribution of latents that is fitted to those of training sentences.

    Attributes:
        kind: its name in a bundle and on the command line.
        options: the fields of `Drawing` that it follows, beside `noise`.
        needs_noise: whether its draws are of use only to a decoder that is told their noise.
        noise: the σ at which its draws are decoded by a model that is trained with `latent_noise`.
    """

    kind: ClassVar[str]
    options: ClassVar[tuple[str, ...]] = ()
    needs_noise: ClassVar[bool] = False
    noise: float

    def prepare(self, layer: Latent) -> None:  # noqa: B027 - optional
        """Look at the layer that makes the latents, before `fit`; by default it does not matter.

        Args:
            layer: of the model, built.

        Raises:
            ValueError: if there is no such prior of its latents.
        """

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

    def report(self) -> str:
        """Say in a few words what fitting has measured; empty where nothing was."""
        return ""

    @final
    def sample(self, count: int, generator: Generator, drawing: Drawing = DRAWING) -> Tensor:
        """Draw latents: (count, Z) float32 on the CPU.

        Args:
            count: number of latents.
            generator: on the CPU.
            drawing: how.

        Raises:
            ValueError: if the prior does not know an option, or is damaged.
        """
        drawing.check_known(self.kind, self.options)
        drawn = self._draw(count, generator, drawing)
        if not drawn.isfinite().all():
            raise ValueError(
                f"`prior` must draw numbers, but {self.kind} draws NaN or infinity instead: what "
                f"it was fitted to, or its file, is damaged. Fit it again: `seqae prior MODEL "
                f"--kind {self.kind}`."
            )
        return drawn

    @abstractmethod
    def _draw(self, count: int, generator: Generator, drawing: Drawing) -> Tensor:
        """Draw latents; the options are known to be followed."""

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


def noise_of(count: int, noise: float) -> Tensor:
    """Repeat a σ for each of `count` latents."""
    return torch.full((count,), noise)


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
