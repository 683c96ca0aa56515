"""Activations, normalisations and dense layers that encoders and decoders share."""

from __future__ import annotations

from itertools import pairwise
from typing import Literal, final, get_args

import torch
from torch import Tensor, nn
from typing_extensions import override

# Names as in torch.nn.functional: all of torch's activations that map each number separately and
# need no argument (so no GLU, no Softmax and the like, no Threshold).
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
_CLASSES = {
    name.lower(): getattr(nn, name) for name in (*nn.modules.activation.__all__, "Identity")
}
ACTIVATIONS: dict[str, type[nn.Module]] = {
    name: _CLASSES[name.replace("_", "")] for name in get_args(Activation)
}


@final
class RMSNorm(nn.RMSNorm):
    """Root mean square normalisation (Zhang and Sennrich 2019), in full precision under autocast.

    Autocast runs layer normalisation in full precision, but not this one.
    """

    @override
    def forward(self, inputs: Tensor) -> Tensor:
        return super().forward(inputs.to(self.weight.dtype))


# No batch normalisation: a batch may be one sentence, and its statistics differ between devices.
Norm = Literal["none", "layer", "rms"]
NORMS: dict[str, type[nn.Module]] = {
    "none": nn.Identity,
    "layer": nn.LayerNorm,
    "rms": RMSNorm,
}


def dense_layers(
    sizes: list[int], activation: Activation, dropout: float, norm: Norm = "none"
) -> nn.Sequential:
    """Stack linear layers of these sizes, with norm, activation and dropout between them."""
    layers: list[nn.Module] = []
    for size_in, size_out in pairwise(sizes):
        layers.append(nn.Linear(size_in, size_out))
        if norm != "none":
            layers.append(NORMS[norm](size_out))
        layers += [ACTIVATIONS[activation](), nn.Dropout(dropout)]
    return nn.Sequential(*layers[: -2 if norm == "none" else -3])


def in_float32(values: Tensor) -> Tensor:
    """Cast half precision to float32, and leave wider types as they are."""
    return values.to(torch.promote_types(values.dtype, torch.float32))
