"""Weights in a safetensors file: written as bytes, read only after the header was checked.

A header can promise anything. It is parsed here first, up to a maximal size, and must name exactly
the tensors that the configuration leads to; only then is memory allocated for them.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from seqae.untrusted import load_json, shown

MAX_HEADER_BYTES = 2**24
DTYPE_NAMES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
}
# In a file, weights of 32 bits may be stored in 16.
HALVES = {"F32": ("F16", "BF16")}


def weights_to_bytes(
    tensors: Mapping[str, Tensor],
    float_dtype: torch.dtype = torch.float32,
    metadata: Mapping[str, str] | None = None,
) -> bytes:
    """Serialise tensors as safetensors.

    Args:
        tensors: by name.
        float_dtype: in which those of float32 are stored: float32, or float16 or bfloat16 for a
            file of half the size.
        metadata: texts by name, for the header.

    Raises:
        ValueError: if a weight is not finite: such a model must not replace a good one.
    """
    stored = {
        name: tensor.to(float_dtype) if tensor.dtype == torch.float32 else tensor
        for name, tensor in tensors.items()
    }
    for name, tensor in stored.items():
        if not _is_finite(tensor):
            raise ValueError(
                f"`{name}` of the model must be finite, but it holds NaN or infinity instead. "
                f"Go back to an earlier checkpoint, or train with a lower `model.learning_rate`."
            )
    return safetensors.torch.save(
        {name: tensor.detach().cpu().contiguous() for name, tensor in stored.items()},
        None if metadata is None else dict(metadata),
    )


def read_weights(path: Path, expected: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Read exactly the tensors that `expected` describes.

    Args:
        path: a safetensors file.
        expected: tensors of the right names, shapes and types, on any device; `meta` is enough.
            The file may hold those of float32 in 16 bits.

    Returns:
        Tensors of the expected types, on the CPU.

    Raises:
        ValueError: if the file is damaged, or holds other names, shapes or types, or a value that
            is not finite.
    """
    header = _read_header(path)
    names = sorted(set(header) ^ set(expected))
    if names:
        where = "missing from" if names[0] in expected else "unknown to the model but in"
        raise ValueError(
            f"`{shown(names[0])[1:-1]}` is {where} {path}. The file belongs to another model."
        )
    for name, tensor in expected.items():
        shape, dtype = list(tensor.shape), DTYPE_NAMES[tensor.dtype]
        entry = header[name]
        is_right_type = entry.get("dtype") in (dtype, *HALVES.get(dtype, ()))
        wanted = " or ".join((dtype, *HALVES.get(dtype, ())))
        if entry.get("shape") != shape or not is_right_type:
            raise ValueError(
                f"`{name}` in {path} must be {wanted} of shape {shape}, but it is "
                f"{_short(entry.get('dtype'))} of shape {_short(entry.get('shape'))} instead. The "
                f"file belongs to another model."
            )
    try:
        mapped = safetensors.torch.load_file(path)
        # Copies: a product of weights at odd addresses, as in a mapped file, may be rounded
        # otherwise than before they were saved; and a file that changes must not change a model.
        weights = {
            name: tensor.to(expected[name].dtype, copy=True) for name, tensor in mapped.items()
        }
    except (safetensors.SafetensorError, OSError) as error:
        raise ValueError(f"{path} is damaged: {_short(str(error))}. Get the file again.") from error
    for name, tensor in weights.items():
        if not _is_finite(tensor):
            raise ValueError(
                f"`{name}` of {path} must be finite, but it holds NaN or infinity instead. "
                f"Get the file again."
            )
    return weights


def stored_dtypes(path: Path) -> list[str]:
    """List the types of the tensors in a file, by their names in torch: `float16`, `float32`.

    Raises:
        ValueError: if the header is damaged.
    """
    names = {short: str(dtype).removeprefix("torch.") for dtype, short in DTYPE_NAMES.items()}
    found = {str(entry.get("dtype")) for entry in _read_header(path).values()}
    return sorted(names.get(short, short) for short in found)


def read_metadata(path: Path) -> dict[str, str]:
    """Read the texts in the header of a safetensors file.

    Raises:
        ValueError: if the header is damaged.
    """
    texts = _read_header(path, with_metadata=True).get("__metadata__", {})
    return {name: text for name, text in texts.items() if isinstance(text, str)}


class WithoutInit(TorchFunctionMode):
    """Skip the initialisation of weights that are about to be read.

    Drawing normal numbers on the meta device imports torch's compiler, which takes 1.4 seconds.
    """

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if getattr(func, "__module__", None) == "torch.nn.init":
            return kwargs["tensor"]
        return func(*args, **kwargs)


def _read_header(path: Path, with_metadata: bool = False) -> dict[str, dict[str, object]]:
    size = path.stat().st_size
    with path.open("rb") as file:
        prefix = file.read(8)
        length = struct.unpack("<Q", prefix)[0] if len(prefix) == 8 else math.inf
        if length > min(size - 8, MAX_HEADER_BYTES):
            raise ValueError(f"{path} is damaged: its header does not fit. Get the file again.")
        try:
            header = load_json(file.read(int(length)))
        except ValueError as error:
            raise ValueError(f"{path} is damaged: its header is no JSON. Get it again.") from error
    if not isinstance(header, dict) or not all(isinstance(e, dict) for e in header.values()):
        raise ValueError(f"{path} is damaged: its header is no list of tensors. Get it again.")
    if not with_metadata:
        header.pop("__metadata__", None)
    return header


def _short(value: object) -> str:
    """Show a part of a header without quotes."""
    return shown(value, 200).strip("'\"")


def _is_finite(tensor: Tensor) -> bool:
    return bool(torch.isfinite(tensor).all())
