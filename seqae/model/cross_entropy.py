"""Cross-entropy of a linear output layer, without ever holding all the logits.

At the reference setting (10 k words) the output layer and its loss are two thirds of a training
step. Computing the logits of a few hundred tokens at a time, and their gradient while they are
still in the cache, is as fast as a compiled projection + cross-entropy, compiles nothing and needs
memory for one chunk only. The idea is that of Cut Cross-Entropy (Wijmans et al. 2024,
arXiv:2411.09009) and Liger-Kernel's fused linear cross-entropy, in plain torch.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from seqae.model.compiled import compiled

# Elements of one chunk of logits: 2**22 floats are 16 MiB, 419 tokens at 10 k words. There this
# loss and its gradients take 1.04 times as long as their three bare products, like the compiled
# loss; 1.08 times with half the elements, 1.20 times with all logits at once (docs/log.md).
CHUNK_ELEMENTS = 2**22

# A GPU has no such cache, and each chunk costs it the launch of a dozen kernels; 2**26 floats are
# 256 MiB. Chosen by that reasoning, not measured yet (docs/gpu.md).
GPU_CHUNK_ELEMENTS = 2**26

HALF = torch.float16, torch.bfloat16


def linear_cross_entropy(
    features: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    target: Tensor,
    label_smoothing: float = 0.0,
    is_compiled: bool = False,
) -> tuple[Tensor, Tensor, Tensor]:
    """Sum the cross-entropy of `softmax(features @ weight.T + bias)` over tokens.

    Args:
        features: (N, F) float.
        weight: (V, F) float.
        bias: (V,) float, or None.
        target: (N,) int64, each in 0 ... V - 1.
        label_smoothing: share of the target's probability that is spread over the vocabulary, as
            in torch.nn.functional.cross_entropy.
        is_compiled: whether training processes a chunk by compiled kernels. One graph serves all
            sizes but one, which would have its own and is left out.

    Returns:
        The smoothed loss, which has a gradient; the loss without smoothing; and how many targets
        alone have the highest logit. Each a scalar sum over the N tokens, losses in nats.
    """
    sums: tuple[Tensor, Tensor, Tensor] = _LinearCrossEntropy.apply(  # type: ignore[no-untyped-call]
        features, weight, bias, target, label_smoothing, is_compiled, torch.is_grad_enabled()
    )
    return sums


def chunk_rows(device: torch.device, vocab_size: int) -> int:
    """Choose of how many tokens the logits are computed at once."""
    elements = CHUNK_ELEMENTS if device.type == "cpu" else GPU_CHUNK_ELEMENTS
    return max(1, elements // vocab_size)


class _Chunk(NamedTuple):
    """Contribution of n tokens: sums over them, and the gradient of the loss by their logits."""

    smoothed: Tensor
    plain: Tensor
    correct: Tensor
    slope: Tensor  # (n, V), in the type of the products
    slope_sum: Tensor  # (V,) float32 or wider; meaningless without a bias


def _read_chunk(
    chunk: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    gold: Tensor,
    label_smoothing: float,
    learns: bool,
    buffer: Tensor | None,
) -> _Chunk:
    """Compute loss and slope of (n, F) features with (n, 1) targets; the slope in the buffer."""
    logits = product(chunk, weight, bias, buffer)
    product_dtype = logits.dtype
    if product_dtype in HALF:  # autocast is for the products; the softmax is taken in float32
        logits = logits.float()
    standing = compare(logits, gold, logits.shape[1], product_dtype in HALF)
    logits -= standing.highest
    gold_logits = standing.gold - standing.highest
    mean_logits = logits.mean(dim=1, keepdim=True) if label_smoothing else gold_logits
    total = logits.exp_().sum(dim=1, keepdim=True)
    log_total = total.log()
    plain = log_total - gold_logits
    smoothed = torch.lerp(plain, log_total - mean_logits, label_smoothing)
    if not learns:
        return _Chunk(smoothed.sum(), plain.sum(), standing.is_highest.sum(), logits[:0], logits[0])
    # d loss / d logits = softmax - smoothed one-hot, written over the logits.
    slope = logits.div_(total)
    if label_smoothing:
        slope -= label_smoothing / weight.shape[0]
    slope.scatter_add_(1, gold, torch.full_like(total, label_smoothing - 1.0))
    slope_sum = slope[0] if bias is None else slope.sum(dim=0)
    correct = standing.is_highest.sum()
    return _Chunk(smoothed.sum(), plain.sum(), correct, slope.to(product_dtype), slope_sum)


def is_plain(features: Tensor) -> bool:
    """Say whether products run on a CPU in the features' own, full precision."""
    on_cpu = features.device.type == "cpu" and not torch.is_autocast_enabled("cpu")
    return on_cpu and features.dtype in (torch.float32, torch.float64)


def product(chunk: Tensor, weight: Tensor, bias: Tensor | None, buffer: Tensor | None) -> Tensor:
    """Compute logits (n, V) of features (n, F), in a buffer of n rows or more if it is given."""
    if not is_plain(chunk):
        return torch.nn.functional.linear(chunk, weight, bias)
    # Given a bias, torch writes it first, and a product that adds to it is a tenth slower than a
    # bare one. Fresh memory for each chunk would cost the system as much time again.
    if buffer is None:
        logits = torch.mm(chunk, weight.t())
    else:
        logits = torch.mm(chunk, weight.t(), out=buffer[: len(chunk)])
    return logits if bias is None else logits.add_(bias)


class Standing(NamedTuple):
    """How the targets of n tokens compare with the other words.

    Attributes:
        gold: (n, 1), their logits.
        highest: (n, 1), the highest logit of the words.
        is_highest: (n, 1) bool, whether that is the target's, alone.
    """

    gold: Tensor
    highest: Tensor
    is_highest: Tensor


def compare(logits: Tensor, gold: Tensor, words: int, is_half: bool) -> Standing:
    """Compare (n, 1) targets with the first `words` logits of (n, V), which come out as they were.

    Args:
        logits: float32 or wider.
        gold: int64; one beyond the words is none of them.
        words: how many logits are of words.
        is_half: whether the logits were rounded to half precision, whose few digits often make two
            of them equal: the first one then counts as the highest.
    """
    if is_half:
        highest, word = logits[:, :words].max(dim=1, keepdim=True)
        return Standing(logits.gather(1, gold), highest, word == gold)
    # Without the index, the maximum takes a tenth of the time on a CPU. A target that is only as
    # high as another word is not the highest: else a zero output would be always right.
    gold_logits, is_word = logits.gather(1, gold), gold < words
    rival = highest_other(logits, gold, words)
    highest = torch.maximum(rival, gold_logits.where(is_word, rival))
    return Standing(gold_logits, highest, (gold_logits > rival) & is_word)


def highest_other(logits: Tensor, gold: Tensor, words: int) -> Tensor:
    """Find the highest of the first `words` logits (n, V) that is not of the target (n, 1).

    Returns:
        (n, 1).
    """
    if torch.compiler.is_compiling():  # one pass, and no copy
        is_gold = torch.arange(logits.shape[1], device=logits.device) == gold
        return logits.masked_fill(is_gold, -torch.inf)[:, :words].amax(dim=1, keepdim=True)
    kept = logits.gather(1, gold)
    logits.scatter_(1, gold, -torch.inf)
    highest = logits[:, :words].amax(dim=1, keepdim=True)
    logits.scatter_(1, gold, kept)
    return highest


class _LinearCrossEntropy(torch.autograd.Function):
    """Computes the gradient in the forward pass, where the softmax is at hand."""

    @staticmethod
    def forward(
        ctx: Any,
        features: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        target: Tensor,
        label_smoothing: float,
        is_compiled: bool,
        grad_enabled: bool,  # in here it is always off, and needs_input_grad ignores it
    ) -> tuple[Tensor, Tensor, Tensor]:
        learns = grad_enabled and any(ctx.needs_input_grad)
        dtype = torch.promote_types(features.dtype, torch.float32)
        smoothed_sum = torch.zeros((), dtype=dtype, device=features.device)
        plain_sum = torch.zeros_like(smoothed_sum)
        correct = torch.zeros((), dtype=torch.int64, device=features.device)
        grad_features = torch.empty_like(features) if learns else None
        # Sums over chunks: in half precision they would lose the later ones.
        grad_weight = torch.zeros_like(weight, dtype=wide(weight)) if learns else None
        grad_bias = None
        if learns and bias is not None:
            grad_bias = torch.zeros_like(bias, dtype=wide(bias))
        # Autocast would cast the weight again for every chunk.
        kind, factor = features.device.type, weight.detach()
        is_half = torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind)
        if is_half and weight.dtype == torch.float32:
            factor = factor.to(torch.get_autocast_dtype(kind))
        rows = chunk_rows(features.device, weight.shape[0])
        buffer = None
        if is_plain(features):
            buffer = features.new_empty(min(rows, len(features)), weight.shape[0])
        for start in range(0, len(features), rows):
            chunk, gold = features[start : start + rows], target[start : start + rows, None]
            use_compiled = is_compiled and learns and len(chunk) > 1
            read_chunk = compiled(_read_chunk) if use_compiled else _read_chunk
            own = None if use_compiled else buffer
            part = read_chunk(chunk, factor, bias, gold, label_smoothing, learns, own)
            smoothed_sum += part.smoothed
            plain_sum += part.plain
            correct += part.correct
            if grad_features is None or grad_weight is None:
                continue
            slope, product_dtype = part.slope, part.slope.dtype
            if grad_bias is not None:
                grad_bias += part.slope_sum
            grad_features[start : start + rows] = slope @ factor.to(product_dtype)
            if product_dtype == grad_weight.dtype == chunk.dtype:
                grad_weight.addmm_(slope.t(), chunk)
            else:
                grad_weight += slope.t() @ chunk.to(product_dtype)
        ctx.save_for_backward(
            grad_features,
            None if grad_weight is None else grad_weight.to(weight.dtype),
            None if grad_bias is None or bias is None else grad_bias.to(bias.dtype),
        )
        ctx.mark_non_differentiable(plain_sum, correct)
        return smoothed_sum, plain_sum, correct

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, grad_smoothed: Tensor, grad_plain: Tensor, grad_correct: Tensor
    ) -> tuple[Tensor | None, ...]:
        grads = (None if g is None else g * grad_smoothed for g in ctx.saved_tensors)
        return (*grads, None, None, None, None)


def wide(values: Tensor) -> torch.dtype:
    """Return the type of sums over many such values: float32, or their own if that is wider."""
    return torch.promote_types(values.dtype, torch.float32)
