"""Layers that encoders and decoders share: dense and recurrent stacks, position binding."""

from __future__ import annotations

from itertools import pairwise
from typing import Literal, final

import torch
from torch import Tensor, nn

# The names are those of torch.nn.functional; these are all of torch's activations that map each
# number by itself and need no argument (so no GLU, Softmax and the like, no Threshold).
Activation = Literal[
    "relu",
    "gelu",
    "silu",
    "elu",
    "tanh",
    "sigmoid",
    "identity",
    "celu",
    "hardshrink",
    "hardsigmoid",
    "hardswish",
    "hardtanh",
    "leaky_relu",
    "logsigmoid",
    "mish",
    "prelu",
    "relu6",
    "rrelu",
    "selu",
    "softplus",
    "softshrink",
    "softsign",
    "tanhshrink",
]
ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "elu": nn.ELU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "identity": nn.Identity,
    "celu": nn.CELU,
    "hardshrink": nn.Hardshrink,
    "hardsigmoid": nn.Hardsigmoid,
    "hardswish": nn.Hardswish,
    "hardtanh": nn.Hardtanh,
    "leaky_relu": nn.LeakyReLU,
    "logsigmoid": nn.LogSigmoid,
    "mish": nn.Mish,
    "prelu": nn.PReLU,
    "relu6": nn.ReLU6,
    "rrelu": nn.RReLU,
    "selu": nn.SELU,
    "softplus": nn.Softplus,
    "softshrink": nn.Softshrink,
    "softsign": nn.Softsign,
    "tanhshrink": nn.Tanhshrink,
}


@final
class RMSNorm(nn.RMSNorm):
    """Root mean square normalisation (Zhang and Sennrich 2019), in full precision under autocast.

    Autocast takes care of layer normalisation in the same way, but not of this one.
    """

    def forward(self, inputs: Tensor) -> Tensor:
        """(..., D) to (..., D)."""
        return super().forward(inputs.to(self.weight.dtype))


# No batch normalisation: a batch may be one sentence, and its figures differ between devices.
Norm = Literal["none", "layer", "rms"]
NORMS: dict[str, type[nn.Module]] = {
    "none": nn.Identity,
    "layer": nn.LayerNorm,
    "rms": RMSNorm,
}


def dense_layers(
    sizes: list[int], activation: Activation, dropout: float, norm: Norm = "none"
) -> nn.Sequential:
    """Linear layers of the given sizes; between them normalisation, activation and dropout."""
    layers: list[nn.Module] = []
    for size_in, size_out in pairwise(sizes):
        layers.append(nn.Linear(size_in, size_out))
        if norm != "none":
            layers.append(NORMS[norm](size_out))
        layers += [ACTIVATIONS[activation](), nn.Dropout(dropout)]
    return nn.Sequential(*layers[: -2 if norm == "none" else -3])


def in_float32(values: Tensor) -> Tensor:
    """Half precision in float32; what is wider stays."""
    return values.to(torch.promote_types(values.dtype, torch.float32))
