"""Compiling what runs at every training step: one graph for all sizes of a batch.

Dynamo (torch.compile) does not read nn.GRU and nn.LSTM, whose kernels are one call already. What
gains is what consists of many small kernels between products: the blocks of a Transformer, and the
softmax over the vocabulary. Only these are compiled, as functions, so that no module is wrapped and
the names of the weights stay.

Sizes of a batch share a graph; encoder and decoder, training with and without label smoothing, and
each precision have their own. Above `torch.compiler.config.recompile_limit` graphs of a function,
8 by default, Dynamo compiles no more of it, and runs it as it is written.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import torch
import torch.compiler.config

P = ParamSpec("P")
R = TypeVar("R")


@functools.cache
def compiled(function: Callable[P, R]) -> Callable[P, R]:
    """The function as compiled kernels, compiled when it is first called."""
    # torch (2.13) caches kernels on disk by their graph alone: without this, those of a processor
    # with AVX-512 are taken for one with AVX2, where they silently compute other numbers.
    capability, config = torch.backends.cpu.get_cpu_capability(), torch.compiler.config
    if not config.cache_key_tag.endswith(capability):
        config.cache_key_tag += capability
    return torch.compile(function, dynamic=True)
