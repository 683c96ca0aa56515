"""Whether torch can train a recurrent layer on this processor is tried, not guessed."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
import torch
from torch import nn

from seqae.model.half_precision import trains_in_half_precision
from seqae.model.recurrent import GRUStack, LSTMStack, RecurrentStack

HALVES = [torch.bfloat16, torch.float16]


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("stack_type", [GRUStack, LSTMStack])
def test_a_larger_stack_does_what_the_small_one_did(
    stack_type: type[RecurrentStack], dtype: torch.dtype
) -> None:
    """Two layers, other sizes, under autocast."""
    stack = stack_type(7, 33, num_layers=2, bidirectional=True)
    try:
        with torch.autocast("cpu", dtype):
            outputs, _ = stack(torch.randn(5, 19, 7), torch.tensor([19, 3, 1, 8, 2]))
        outputs.float().sum().backward()
        runs = True
    except RuntimeError:
        runs = False
    assert trains_in_half_precision(stack_type, dtype, autocast=True) == runs


@pytest.mark.parametrize("dtype", HALVES)
def test_torch_has_a_gru_for_every_processor(dtype: torch.dtype) -> None:
    assert trains_in_half_precision(GRUStack, dtype, autocast=True)
    assert trains_in_half_precision(GRUStack, dtype, autocast=False)


def test_trying_draws_no_numbers() -> None:
    trains_in_half_precision.cache_clear()
    torch.manual_seed(1)
    trains_in_half_precision(LSTMStack, torch.bfloat16, autocast=True)
    drawn = torch.rand(3)
    torch.manual_seed(1)
    assert torch.equal(drawn, torch.rand(3))


def test_what_torch_cannot_run_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object) -> None:
        raise RuntimeError("could not create a primitive descriptor")

    monkeypatch.setattr(nn.LSTM, "forward", fail)
    trains_in_half_precision.cache_clear()
    assert not trains_in_half_precision(LSTMStack, torch.bfloat16, autocast=True)
    trains_in_half_precision.cache_clear()


PROBE = """
import json, torch
from seqae.model.half_precision import trains_in_half_precision
from seqae.model.recurrent import LSTMStack
print(json.dumps(trains_in_half_precision(LSTMStack, torch.bfloat16, autocast=True)))
"""


@pytest.mark.skipif(
    torch.backends.cpu.get_cpu_capability() not in ("AVX2", "AVX512"),
    reason="of x86 only",
)
def test_a_processor_without_avx512() -> None:
    """oneDNN takes this processor for an older one: it has no LSTM in bfloat16 for it."""
    limited = dict(os.environ, ONEDNN_MAX_CPU_ISA="AVX2")
    done = subprocess.run(
        [sys.executable, "-c", PROBE], env=limited, capture_output=True, text=True, timeout=120
    )
    assert json.loads(done.stdout) is False, done.stderr
