"""The network of FlowPrior: a velocity for each latent, at a time, for a length and a label.

A residual MLP whose layers are normalised, shifted, scaled and gated by what is known (adaptive
layer norm with zero gates, Peebles and Xie 2023, arXiv:2212.09748). Its weights are a dictionary of
tensors, so that a file's shapes are known without a module. Shapes: B batch, Z latent, H hidden, C
condition.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Generator, Tensor
from torch.nn.functional import embedding, layer_norm, linear, silu

from seqae.priors.conditions import LENGTH_FEATURES

CONDITION = 128  # C
FREQUENCIES = 16  # of the time's features, from 1 to 30 radians

Weights = dict[str, Tensor]
Shapes = dict[str, tuple[int, ...]]


def shapes(latent_dim: int, hidden_dim: int, num_blocks: int, num_labels: int) -> Shapes:
    """Return the shape of each weight.

    Args:
        latent_dim: Z.
        hidden_dim: H.
        num_blocks: residual blocks.
        num_labels: labels; one row more stands for none.
    """
    z, h, c = latent_dim, hidden_dim, CONDITION
    found: Shapes = {
        "time.weight": (c, 2 * FREQUENCIES),
        "time.bias": (c,),
        "length.weight": (c, LENGTH_FEATURES),
        "label.weight": (num_labels + 1, c),
        "condition.weight": (c, c),
        "condition.bias": (c,),
        "input.weight": (h, z),
        "input.bias": (h,),
    }
    for block in range(num_blocks):
        found |= {
            f"blocks.{block}.adaptive.weight": (3 * h, c),
            f"blocks.{block}.adaptive.bias": (3 * h,),
            f"blocks.{block}.up.weight": (2 * h, h),
            f"blocks.{block}.up.bias": (2 * h,),
            f"blocks.{block}.down.weight": (h, 2 * h),
            f"blocks.{block}.down.bias": (h,),
        }
    return found | {
        "adaptive.weight": (2 * h, c),
        "adaptive.bias": (2 * h,),
        "output.weight": (z, h),
        "output.bias": (z,),
    }


def initial(sizes: Mapping[str, tuple[int, ...]], generator: Generator) -> Weights:
    """Draw weights of variance 1 / inputs; what adapts, and the output, begin at zero."""
    weights = {}
    for name, shape in sizes.items():
        drawn = torch.randn(shape, generator=generator) * shape[-1] ** -0.5
        begins_at_zero = name.startswith(("output", "label")) or "adaptive" in name
        is_zero = begins_at_zero or name.endswith("bias")
        weights[name] = torch.zeros(shape) if is_zero else drawn
    return weights


def velocity(
    weights: Weights, latent: Tensor, time: Tensor, length: Tensor, label: Tensor
) -> Tensor:
    """Compute the velocity from noise (time 0) to latents (time 1), (B, Z).

    It is that of latents that are normally distributed, with zero mean and unit variance, and what
    the network adds: so the noise need not pass through H dimensions.

    Args:
        weights: as `shapes` has them.
        latent: (B, Z), on the line between noise and a latent.
        time: (B,), from 0 to 1.
        length: (B, LENGTH_FEATURES), zeros where it is not known.
        label: (B,) int64; the last row stands for none.
    """
    time = time[:, None]
    frequencies = torch.logspace(0, 1.5, FREQUENCIES, device=latent.device)
    angles = time * frequencies
    known = _linear(weights, "time", torch.cat([angles.sin(), angles.cos()], dim=1))
    known = known + linear(length, weights["length.weight"])
    known = known + embedding(label, weights["label.weight"])
    known = silu(_linear(weights, "condition", silu(known)))
    variance = time**2 + (1 - time) ** 2
    hidden = _linear(weights, "input", latent / variance.sqrt())
    blocks = sum(name.endswith("up.bias") for name in weights)
    size = hidden.shape[-1:]
    for block in range(blocks):
        name = f"blocks.{block}"
        shift, scale, gate = _linear(weights, f"{name}.adaptive", known).chunk(3, dim=1)
        inner = layer_norm(hidden, size) * (1 + scale) + shift
        inner = _linear(weights, f"{name}.down", silu(_linear(weights, f"{name}.up", inner)))
        hidden = hidden + gate * inner
    shift, scale = _linear(weights, "adaptive", known).chunk(2, dim=1)
    added = _linear(weights, "output", layer_norm(hidden, size) * (1 + scale) + shift)
    return latent * (2 * time - 1) / variance + added


def _linear(weights: Weights, name: str, values: Tensor) -> Tensor:
    return linear(values, weights[f"{name}.weight"], weights[f"{name}.bias"])
