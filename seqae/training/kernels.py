"""Kernels: whether they can be compiled here, and how exactly they multiply."""

from __future__ import annotations

import os
import shutil
import sys
from importlib.util import find_spec

import torch

TF32_CAPABILITY = (8, 0)  # of the first GPUs that have it, Ampere


def check_compiler(device: torch.device) -> None:
    """Refuse to compile where nothing can.

    Raises:
        ValueError: in one line, with the way out.
    """
    compiler = os.environ.get("CXX", "clang++" if sys.platform == "darwin" else "g++")
    missing = None
    if shutil.which(compiler) is None:
        missing = f"the C++ compiler {compiler} is not there. Install it, name another one in $CXX"
    elif device.type == "cuda" and find_spec("triton") is None:
        missing = "Triton is not there. Install it (`pip install triton`)"
    if missing is not None:
        raise ValueError(
            f"`model.compiled` must be false where nothing can compile, but it is true and "
            f"{missing}, or set it to false."
        )


def set_tf32(is_on: bool, device: torch.device) -> None:
    """Let a GPU multiply float32 numbers in TF32, or not; by itself torch does in cuDNN's layers.

    Raises:
        ValueError: in one line, if this device has no TF32.
    """
    is_gpu = device.type == "cuda"
    if is_on and not (is_gpu and torch.cuda.get_device_capability(device) >= TF32_CAPABILITY):
        raise ValueError(
            f"`tf32` must be false on a device that has none, but it is true on {device} instead. "
            f"Write `--tf32 false`."
        )
    if is_gpu:
        torch.set_float32_matmul_precision("high" if is_on else "highest")
        torch.backends.cudnn.allow_tf32 = is_on
