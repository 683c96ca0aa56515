"""Cross-entropy of a linear output layer, without ever holding all the logits.

At the reference setting (10 k words) the output layer and its loss are two thirds of a training
step. Computing the logits of a few hundred tokens at a time, and their gradient at once while they
are still in the cache, gives what a compiled projection + cross-entropy gives, compiles nothing and
needs memory for one chunk only. The idea is that of Cut Cross-Entropy (Wijmans et al. 2024,
arXiv:2411.09009) and Liger-Kernel's fused linear cross-entropy, in plain torch.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

# Elements of one chunk of logits: 2**22 floats are 16 MiB, 419 tokens at 10 k words. There this
# loss and its gradients take 1.04 times as long as their three bare products, like the compiled
# loss; 1.08 times with half the elements, 1.20 times with all logits at once (docs/log.md).
CHUNK_ELEMENTS = 2**22


def linear_cross_entropy(
    features: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    target: Tensor,
    label_smoothing: float = 0.0,
) -> tuple[Tensor, Tensor, Tensor]:
    """Sum the cross-entropy of `softmax(features @ weight.T + bias)` over tokens.

    Args:
        features: (N, F) float.
        weight: (V, F) float.
        bias: (V,) float, or None.
        target: (N,) int64, each in 0 ... V - 1.
        label_smoothing: share of the target's probability that is spread over the vocabulary, as
            in torch.nn.functional.cross_entropy.

    Returns:
        The smoothed loss, which has a gradient; the loss without smoothing; and how many targets
        have the highest logit. Each a scalar sum over the N tokens, losses in nats.
    """
    sums: tuple[Tensor, Tensor, Tensor] = _LinearCrossEntropy.apply(  # type: ignore[no-untyped-call]
        features, weight, bias, target, label_smoothing, torch.is_grad_enabled()
    )
    return sums


class _LinearCrossEntropy(torch.autograd.Function):
    """The gradient is computed in the forward pass, where the softmax is at hand."""

    @staticmethod
    def forward(
        ctx: Any,
        features: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        target: Tensor,
        label_smoothing: float,
        grad_enabled: bool,  # in here it is always off, and needs_input_grad ignores it
    ) -> tuple[Tensor, Tensor, Tensor]:
        learns = grad_enabled and any(ctx.needs_input_grad)
        vocab_size = weight.shape[0]
        dtype = torch.promote_types(features.dtype, torch.float32)
        smoothed_sum = torch.zeros((), dtype=dtype, device=features.device)
        plain_sum = torch.zeros_like(smoothed_sum)
        correct = torch.zeros((), dtype=torch.int64, device=features.device)
        grad_features = torch.empty_like(features) if learns else None
        grad_weight = torch.zeros_like(weight) if learns else None
        grad_bias = torch.zeros_like(bias) if learns and bias is not None else None
        rows = max(1, CHUNK_ELEMENTS // vocab_size)
        for start in range(0, len(features), rows):
            chunk, gold = features[start : start + rows], target[start : start + rows, None]
            # Half precision (autocast) serves the products; the softmax is taken in float32.
            logits = torch.nn.functional.linear(chunk, weight, bias)
            product_dtype = logits.dtype
            if product_dtype in (torch.float16, torch.bfloat16):
                logits = logits.float()
            highest, best = logits.max(dim=1, keepdim=True)
            correct += (best == gold).sum()
            logits -= highest
            gold_logits = logits.gather(1, gold)
            mean_logits = logits.mean(dim=1, keepdim=True) if label_smoothing else gold_logits
            total = logits.exp_().sum(dim=1, keepdim=True)
            log_total = total.log()
            plain = log_total - gold_logits
            smoothed = torch.lerp(plain, log_total - mean_logits, label_smoothing)
            smoothed_sum += smoothed.sum()
            plain_sum += plain.sum()
            if grad_features is None or grad_weight is None:
                continue
            # d loss / d logits = softmax - smoothed one-hot, written over the logits.
            slope = logits.div_(total)
            if label_smoothing:
                slope -= label_smoothing / vocab_size
            slope.scatter_add_(1, gold, torch.full_like(total, label_smoothing - 1.0))
            if grad_bias is not None:
                grad_bias += slope.sum(dim=0)
            slope = slope.to(product_dtype)
            grad_features[start : start + rows] = slope @ weight.to(product_dtype)
            if product_dtype == grad_weight.dtype == chunk.dtype:
                grad_weight.addmm_(slope.t(), chunk)
            else:
                grad_weight += slope.t() @ chunk.to(product_dtype)
        ctx.save_for_backward(grad_features, grad_weight, grad_bias)
        ctx.mark_non_differentiable(plain_sum, correct)
        return smoothed_sum, plain_sum, correct

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, grad_smoothed: Tensor, grad_plain: Tensor, grad_correct: Tensor
    ) -> tuple[Tensor | None, ...]:
        grads = (None if g is None else g * grad_smoothed for g in ctx.saved_tensors)
        return (*grads, None, None, None)
