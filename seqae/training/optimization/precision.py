"""Precision: mend what Lightning does under two of its names, and refuse what a device cannot do.

Under `bf16-true` Lightning changes torch's default type while the model is built and run, so random
numbers come in steps of 1/256, too. Here only the weights are in bfloat16, rounded from the numbers
that other precisions draw. For `16-mixed` on a CPU Lightning takes bfloat16 without a scaler; here
it is float16 with a scaler, as on a GPU.
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
from typing_extensions import override

from seqae.model.autoencoder import SequenceAutoencoder
from seqae.model.decoders.recurrent_decoder import RecurrentDecoder
from seqae.model.encoders import RecurrentEncoder
from seqae.model.half_precision import trains_in_half_precision
from seqae.training.lightning_internals import multiplies_bfloat16, multiplies_float16

# In half precision, the last four: only the products (mixed), or the weights too (true).
PRECISIONS = ("None", "32", "32-true", "16-mixed", "bf16-mixed", "bf16-true")

TF32_CAPABILITY = (8, 0)  # of Ampere, the first GPUs that multiply in TF32

log = logging.getLogger(__name__)


class Bfloat16Weights(HalfPrecision):
    """Keep weights, gradients and the optimizer's state in bfloat16, moving averages in float32.

    A loss, like everything that is summed over a batch, is in float32. A step smaller than 1/256 of
    a weight is lost, so training stops improving earlier than in other precisions.
    """

    def __init__(self) -> None:
        super().__init__("bf16-true")

    @override
    def convert_module(self, module: nn.Module) -> nn.Module:
        for weight in module.parameters():
            weight.data = weight.data.to(torch.bfloat16)
        return module

    @override
    def tensor_init_context(self) -> AbstractContextManager[None]:
        return nullcontext()  # weights are drawn as in other precisions

    @override
    def module_init_context(self) -> AbstractContextManager[None]:
        return nullcontext()

    @override
    @contextmanager
    def forward_context(self) -> Iterator[None]:
        yield  # torch's default type stays as it is


def precision_plugin(precision: str, on_cpu: bool) -> Precision | None:
    """Choose the plugin to give to the Trainer instead of a precision's name, if it needs one.

    Args:
        precision: one of PRECISIONS.
        on_cpu: whether the training will run on a CPU.
    """
    if precision == "bf16-true":
        return Bfloat16Weights()
    if precision == "16-mixed" and on_cpu:
        return MixedPrecision("16-mixed", "cpu")
    return None


def check_precision(trainer: Trainer, model: SequenceAutoencoder) -> None:
    """Refuse a precision that the model cannot be trained in here; warn of one that is slow here.

    Args:
        trainer: knows precision and device.
        model: the model to train; it need not be built.

    Raises:
        ValueError: if torch lacks the kernels for a part of the model on this CPU.
    """
    precision, device = str(trainer.precision), trainer.strategy.root_device
    if precision in ("32-true", "64-true"):
        return
    if device.type == "cpu":
        _check_kernels(precision, model)
        if not has_half_precision(precision):
            log.warning(
                f"This CPU has no instructions for `trainer.precision: {precision}`, which is "
                f"several times slower than 32-true here."
            )
    elif device.type == "cuda" and precision.startswith("bf16"):
        with torch.cuda.device(device):
            if not torch.cuda.is_bf16_supported(including_emulation=False):
                log.warning(
                    f"{torch.cuda.get_device_name(device)} has no instructions for bfloat16, which "
                    f"is slow there. Set `trainer.precision: 16-mixed`."
                )


def _check_kernels(precision: str, model: SequenceAutoencoder) -> None:
    dtype = torch.bfloat16 if precision.startswith("bf16") else torch.float16
    for part in (model.encoder, model.decoder):
        if isinstance(part, (RecurrentEncoder, RecurrentDecoder)) and not trains_in_half_precision(
            part.stack_type, dtype, autocast=precision.endswith("mixed")
        ):
            raise ValueError(
                f"`trainer.precision` must not be {precision} for {type(part).__name__} on this "
                f"CPU, for which torch has no such kernel. Set 32-true."
            )


def has_half_precision(precision: str) -> bool:
    """Say whether this CPU multiplies in a precision itself; true if that is not known."""
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return True
    return multiplies_bfloat16() if precision.startswith("bf16") else multiplies_float16()


def check_compiler(device: torch.device) -> None:
    """Refuse `model.compiled` if there is nothing to compile with.

    Raises:
        ValueError: if the C++ compiler, or Triton on a GPU, is missing.
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
    """Let a GPU multiply float32 numbers in TF32, or not; torch's default does in cuDNN's layers.

    Raises:
        ValueError: if TF32 is asked for on a device that has none.
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
