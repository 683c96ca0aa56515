"""Precisions: what each device can, and float32 for what is measured."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import torch

log = logging.getLogger(__name__)

# A bundle holds float32, whatever its training was in.
PRECISIONS = ("None", "32", "32-true", "16-mixed", "bf16-mixed", "bf16-true")


def check_precision(precision: str, device: torch.device) -> None:
    """Refuse what this device would do in another precision, and warn of what it does slowly.

    Raises:
        ValueError: in one line, with the way out.
    """
    if device.type != "cpu":
        return
    if precision == "16-mixed":
        raise ValueError(
            "`trainer.precision` must be 32-true, bf16-mixed or bf16-true on a CPU, but it is "
            "16-mixed instead, which would be bf16-mixed by another name. Choose one of these."
        )
    if "bf16" in precision and not torch.cpu._is_avx512_bf16_supported():
        log.warning(
            f"`trainer.precision` is {precision}, but this CPU has no instructions for bfloat16: "
            f"several times slower than 32-true."
        )


@contextmanager
def float32_by_default() -> Iterator[None]:
    """New tensors are float32, whatever the training's precision is."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    try:
        yield
    finally:
        torch.set_default_dtype(before)
