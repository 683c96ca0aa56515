"""Precision: what Lightning does otherwise than one would think, put right.

Under `bf16-true` Lightning changes torch's default type while the model is built and run, so that
random numbers, too, come in steps of a 256th; here only the weights are in bfloat16, made of the
same numbers as in other precisions. For `16-mixed` on a CPU it takes bfloat16 without a scaler;
here it is float16 with one, as on a GPU.
"""

from __future__ import annotations

import logging
import os
import platform
import shutil
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from importlib.util import find_spec

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.plugins.precision import HalfPrecision, MixedPrecision, Precision
from torch import nn

from seqae.model.autoencoder import SequenceAutoencoder
from seqae.model.decoders import LSTMDecoder
from seqae.model.encoders import LSTMEncoder

# The last four in half precision: products only, or the weights too.
PRECISIONS = ("None", "32", "32-true", "16-mixed", "bf16-mixed", "bf16-true")

LSTMS = (LSTMEncoder, LSTMDecoder)

log = logging.getLogger(__name__)


class Bfloat16Weights(HalfPrecision):
    """Weights, gradients and the optimizer's figures in bfloat16; moving figures in float32.

    A loss, and what is summed up over a batch, is in float32. A step of less than a 256th of a
    weight is lost, so that training ends earlier than with other precisions.
    """

    def __init__(self) -> None:
        super().__init__("bf16-true")

    def convert_module(self, module: nn.Module) -> nn.Module:
        """Round the weights."""
        for weight in module.parameters():
            weight.data = weight.data.to(torch.bfloat16)
        return module

    def tensor_init_context(self) -> AbstractContextManager[None]:
        """Draw weights as in other precisions."""
        return nullcontext()

    def module_init_context(self) -> AbstractContextManager[None]:
        """Draw weights as in other precisions."""
        return nullcontext()

    @contextmanager
    def forward_context(self) -> Iterator[None]:
        """Leave torch's default type alone."""
        yield


def precision_plugin(precision: str, is_on_cpu: bool) -> Precision | None:
    """What to give the Trainer in place of a precision's name, if anything.

    Args:
        precision: one of PRECISIONS.
        is_on_cpu: whether the training is to run on a CPU.
    """
    if precision == "bf16-true":
        return Bfloat16Weights()
    if precision == "16-mixed" and is_on_cpu:
        return MixedPrecision("16-mixed", "cpu")
    return None


def check_precision(trainer: Trainer, model: SequenceAutoencoder) -> None:
    """Warn where a precision costs more than it brings; refuse what does not go together.

    Args:
        trainer: knows precision and device.
        model: what is trained; it need not be built.

    Raises:
        ValueError: in one line, with the way out.
    """
    precision, device = str(trainer.precision), trainer.strategy.root_device
    if precision in ("32-true", "64-true"):
        return
    if device.type == "cpu" and not has_half_precision(precision):
        recurrent = [part for part in (model.encoder, model.decoder) if type(part) in LSTMS]
        if precision == "16-mixed" and recurrent:
            raise ValueError(
                f"`trainer.precision` must not be 16-mixed for {type(recurrent[0]).__name__} on "
                f"this CPU, for which torch has no such kernel. Set 32-true."
            )
        log.warning(
            f"This CPU has no instructions for `trainer.precision: {precision}`, which is several "
            f"times slower than 32-true here."
        )
    elif device.type == "cuda" and precision.startswith("bf16"):
        with torch.cuda.device(device):
            if not torch.cuda.is_bf16_supported(including_emulation=False):
                log.warning(
                    f"{torch.cuda.get_device_name(device)} has no instructions for bfloat16, which "
                    f"is slow there. Set `trainer.precision: 16-mixed`."
                )


def has_half_precision(precision: str) -> bool:
    """Whether this CPU multiplies in the precision itself; true where that is not known."""
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return True
    if precision.startswith("bf16"):
        return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
    return bool(torch.cpu._is_amx_fp16_supported())


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
