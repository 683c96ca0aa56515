"""FlowPrior: a rectified flow on frozen latents.

See Liu et al. 2022 (arXiv:2209.03003) and Lipman et al. 2022 (arXiv:2210.02747). A network learns
the velocity on straight lines from noise, at time 0, to latents, at time 1; a draw follows it. All
dimensions share one scale, so that on the way the noise is the same in each: a draw that ends
before time 1 is a latent with just the noise that the decoder knows from its training.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, final

import torch
from torch import Generator, Tensor
from typing_extensions import override

from seqae.component import check_range
from seqae.priors.base import (
    DEFAULT_NOISE,
    Drawing,
    Prior,
    check_fit,
    check_found,
    check_noise,
    shaped,
)
from seqae.priors.conditions import DROPOUT, Conditions, check_labels
from seqae.priors.descent import Descent
from seqae.priors.flow_network import Weights, initial, shapes, velocity
from seqae.terminal import progress_bar

WARMUP, DECAY = 100, 0.999  # steps; of the running mean of weights
QUANTILES = 64  # of the lengths, from which one is drawn where none is asked for


@final
class FlowPrior(Prior):
    """A flow from noise to latents, which can follow a length and a label.

    Args:
        noise: σ: how much noise a draw keeps, and at which σ it is decoded, by a model that is
            trained with `latent_noise`.
        hidden_dim: H of the network.
        num_blocks: its residual blocks.
        steps: of its training; 1,500 take 70 seconds of one core for 384 dimensions.
        batch_size: latents in a step.
        learning_rate: the highest; it rises for 100 steps and then falls as a cosine.
        draw_steps: steps of a draw (Heun's method, two evaluations each).
    """

    kind: ClassVar[str] = "flow"
    options: ClassVar[tuple[str, ...]] = ("prior_temperature", "length", "label", "guidance")

    weights: Weights
    mean: Tensor  # (Z,)
    scale: Tensor  # (1,), of all dimensions
    lengths: Tensor  # (QUANTILES,), logarithms, or zeros
    conditions: Conditions

    def __init__(
        self,
        noise: float = DEFAULT_NOISE,
        hidden_dim: int = 384,
        num_blocks: int = 2,
        steps: int = 1500,
        batch_size: int = 256,
        learning_rate: float = 1e-3,
        draw_steps: int = 12,
    ) -> None:
        check_noise(noise)
        check_range("hidden_dim", hidden_dim, 1, 2**12)
        check_range("num_blocks", num_blocks, 1, 32)
        check_range("steps", steps, 1, 10**7)
        check_range("batch_size", batch_size, 1, 2**16)
        check_range("learning_rate", learning_rate, 1e-7, 1.0)
        check_range("draw_steps", draw_steps, 1, 1000)
        self.noise, self.hidden_dim, self.num_blocks = noise, hidden_dim, num_blocks
        self.steps, self.batch_size, self.learning_rate = steps, batch_size, learning_rate
        self.draw_steps = draw_steps

    @override
    def fit(
        self,
        latents: Tensor,
        lengths: Tensor | None = None,
        labels: Sequence[str] | None = None,
        seed: int = 0,
    ) -> None:
        check_fit(latents, seed)
        rows = latents.detach().float()
        device, generator = rows.device, Generator().manual_seed(seed)
        self.mean = rows.mean(dim=0).cpu()
        self.scale = rows.var(dim=0).mean().sqrt().clamp(min=1e-6).cpu()[None]
        rows = (rows - self.mean.to(device)) / self.scale.to(device)
        self.conditions = Conditions.of(lengths, labels)
        known_lengths, of_row = (
            known.to(device) for known in self.conditions.of_sentences(len(rows), lengths, labels)
        )
        self.lengths, num_labels = torch.zeros(QUANTILES), len(self.conditions.labels)
        if lengths is not None:
            logs = lengths.float().log().cpu()
            self.lengths = logs.quantile(torch.linspace(0, 1, QUANTILES))
        sizes = shapes(rows.shape[1], self.hidden_dim, self.num_blocks, num_labels)
        weights = {
            name: weight.to(device).requires_grad_()
            for name, weight in initial(sizes, generator).items()
        }
        averages = [weight.detach().clone() for weight in weights.values()]
        sides = weights.values(), averages
        descent = Descent(*sides, self.learning_rate, self.steps, WARMUP, DECAY)
        with progress_bar("flow", self.steps) as advance:
            for _ in range(self.steps):
                # All is drawn on the CPU, so that a device changes no draw.
                chosen = torch.randint(len(rows), (self.batch_size,), generator=generator)
                noise = torch.randn(self.batch_size, rows.shape[1], generator=generator).to(device)
                time = torch.randn(self.batch_size, generator=generator).sigmoid().to(device)
                keep = torch.rand(2, self.batch_size, generator=generator).to(device) >= DROPOUT
                chosen = chosen.to(device)
                end = rows[chosen]
                length = known_lengths[chosen] * keep[0, :, None]
                label = of_row[chosen].where(keep[1], num_labels)
                place = torch.lerp(noise, end, time[:, None])
                error = velocity(weights, place, time, length, label) - (end - noise)
                descent.step(error.square().mean())
                advance(1)
        self.weights = dict(zip(weights, (weight.cpu() for weight in averages), strict=True))

    @override
    @torch.inference_mode()
    def _draw(self, count: int, generator: Generator, drawing: Drawing) -> Tensor:
        length, label = self._known(count, generator, drawing)
        nothing = torch.zeros_like(length), torch.full_like(label, len(self.conditions.labels))

        def speed(place: Tensor, time: float) -> Tensor:
            times = torch.full((count,), time)
            guided = velocity(self.weights, place, times, length, label)
            if drawing.guidance == 1:
                return guided
            return torch.lerp(
                velocity(self.weights, place, times, *nothing), guided, drawing.guidance
            )

        noise = 0.0 if drawing.noise is None else drawing.noise
        scale = float(self.scale)
        end = scale / (scale + noise)  # where noise of σ is left
        place = torch.randn(count, len(self.mean), generator=generator) * drawing.prior_temperature
        times = torch.linspace(0, end, self.draw_steps + 1).tolist()
        for time, following in zip(times, times[1:], strict=False):
            step = following - time
            first = speed(place, time)
            second = speed(place + step * first, following)
            place = place + step * (first + second) / 2
        return (self.mean + scale * place / end) / math.sqrt(1 + noise**2)

    def _known(self, count: int, generator: Generator, drawing: Drawing) -> tuple[Tensor, Tensor]:
        """Return the features of the lengths, and the labels, of a draw."""
        conditions = self.conditions
        length, label = conditions.asked(count, drawing, self.kind)
        if conditions.has_lengths and drawing.length is None and drawing.label is None:
            chosen = torch.randint(QUANTILES, (count,), generator=generator)
            length = conditions.features(self.lengths[chosen])
        return length, label

    @override
    def tensors(self) -> dict[str, Tensor]:
        own = {
            "mean": self.mean,
            "scale": self.scale,
            "lengths": self.lengths,
            "length_scale": self.conditions.length_scale,
        }
        return self.weights | own

    @override
    def found(self) -> dict[str, Any]:
        return {"labels": self.conditions.labels}

    @override
    def expected_tensors(self, latent_dim: int, found: Mapping[str, Any]) -> dict[str, Tensor]:
        check_found(found, ("labels",))
        labels = found["labels"]
        check_labels(labels)
        sizes = shapes(latent_dim, self.hidden_dim, self.num_blocks, len(labels))
        own = {"mean": (latent_dim,), "scale": (1,), "lengths": (QUANTILES,), "length_scale": (2,)}
        return {name: shaped(*size) for name, size in (sizes | own).items()}

    @override
    def restore(self, tensors: Mapping[str, Tensor], found: Mapping[str, Any]) -> None:
        if not 0 < float(tensors["scale"]) < 1e6:
            scale = float(tensors["scale"])
            raise ValueError(f"`scale` must be from 0 to a million, but it is {scale:g} instead.")
        self.mean, self.scale = tensors["mean"], tensors["scale"]
        self.lengths = tensors["lengths"]
        self.conditions = Conditions(list(found["labels"]), tensors["length_scale"])
        own = ("mean", "scale", "lengths", "length_scale")
        self.weights = {name: tensor for name, tensor in tensors.items() if name not in own}
