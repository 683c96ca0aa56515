"""Latent layers as graphs: what each gives where nothing is drawn."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from seqae.interchange.onnx.graph import Value, writer_of
from seqae.interchange.onnx.layer_graphs import apply, layer_norm, unit_length
from seqae.model.latents import (
    DeterministicLatent,
    GaussianLatent,
    Latent,
    VectorQuantisedLatent,
    VonMisesFisherLatent,
)


def make_latent(latent: Latent, hidden: Value, num_latents: int) -> Value:
    """Write what a latent layer makes of (B, H) or, for K > 1, of (B, K, H): (B, Z).

    Raises:
        ValueError: if it is of a class that is not in `LATENTS`.
    """
    return writer_of(LATENTS, latent, "latent")(latent, hidden, num_latents)


def _deterministic(latent: DeterministicLatent, hidden: Value, num_latents: int) -> Value:
    made = apply(latent.projection, hidden)
    if latent.normalize == "layer":
        made = layer_norm(made, latent.output_dim // num_latents)
    elif latent.normalize == "sphere":
        made = unit_length(made)
    return made.reshape(0, -1)


def _gaussian(latent: GaussianLatent, hidden: Value, num_latents: int) -> Value:
    mean = apply(latent.mean, hidden).reshape(0, -1)
    if not latent.batch_norm:
        return mean
    layer: Any = latent.normalize
    scale: Tensor = latent.batch_norm / torch.sqrt(layer.running_var + layer.eps)
    made: Value = (mean - layer.running_mean) * scale + latent.shift
    return made


def _sphere(latent: VonMisesFisherLatent, hidden: Value, num_latents: int) -> Value:
    return unit_length(apply(latent.mean, hidden)).reshape(0, -1)


def _codes(latent: VectorQuantisedLatent, hidden: Value, num_latents: int) -> Value:
    graph, codebook = hidden.graph, latent.codebook
    groups, _, size = codebook.shape
    # (B K, G, D) to (G, B K, D), as each group has a codebook of its own.
    parts = apply(latent.projection, hidden).reshape(-1, groups, size).permute(1, 0, 2)
    # |p - c|^2 without |p|^2, which is the same for every code.
    distance = codebook.square().sum(dim=2)[:, None] - 2.0 * (parts @ codebook.transpose(1, 2))
    codes = graph.call("ArgMin", distance, axis=2, keepdims=1)
    chosen = graph.call("GatherND", codebook, codes, batch_dims=1)
    return chosen.permute(1, 0, 2).reshape(-1, latent.output_dim)


LATENTS: Mapping[type[Latent], Callable[[Any, Value, int], Value]] = MappingProxyType(
    {
        DeterministicLatent: _deterministic,
        GaussianLatent: _gaussian,
        VectorQuantisedLatent: _codes,
        VonMisesFisherLatent: _sphere,
    }
)
