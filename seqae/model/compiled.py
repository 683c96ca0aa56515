"""Compile functions that run at every training step: one graph for all sizes of a batch.

Dynamo (torch.compile) does not look into nn.GRU and nn.LSTM, whose kernels are one call already.
Compiling pays for many small kernels between products: the blocks of a Transformer, and the softmax
over the vocabulary. Only these are compiled, as functions, so that no module is wrapped and weights
keep their names. `nn.Module.compile` makes as few graphs (torch 2.13), but then compiles every call
of the module, also in evaluation and generation, where each length would cost a graph.

Sizes of a batch share a graph; encoder and decoder, training with and without label smoothing, and
each precision have their own. After `torch.compiler.config.recompile_limit` graphs of a function,
8 by default, Dynamo stops compiling it and runs it as it is written.
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
    """Return the function as compiled kernels, which its first call compiles."""
    # torch (2.13) caches kernels on disk by their graph alone. Without this, kernels for a CPU
    # with AVX-512 are taken for one with AVX2, where they silently compute other numbers.
    capability, config = torch.backends.cpu.get_cpu_capability(), torch.compiler.config
    if not config.cache_key_tag.endswith(capability):
        config.cache_key_tag += capability
    return torch.compile(function, dynamic=True)
