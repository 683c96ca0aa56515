"""Cross-entropy of words that are written or copied, without ever holding all the logits.

As cross_entropy.py, for a decoder that may also point at a token of its source: the probability of
a word is that of its being written plus that of its being copied.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from seqae.model.cross_entropy import chunk_rows


def mixture_cross_entropy(
    features: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    target: Tensor,
    log_written: Tensor,
    log_copied: Tensor,
    copied: Tensor,
    source_ids: Tensor,
    label_smoothing: float = 0.0,
) -> tuple[Tensor, Tensor, Tensor]:
    """Sum `-log(p_written softmax(features @ weight.T + bias)[target] + p_copied)` over tokens.

    Args:
        features: (N, F) float.
        weight: (V, F) float.
        bias: (V,) float, or None.
        target: (N,) int64, each in 0 ... V - 1.
        log_written: (N,) log-probability that a token is written rather than copied.
        log_copied: (N,) log-probability that the target itself is copied.
        copied: (N, S) probability that each token of the source is copied; without gradient, for
            the count alone.
        source_ids: (N, S) int64, the tokens of the source.
        label_smoothing: share of the target's probability that is spread over the vocabulary, in
            the distribution of the words that are written.

    Returns:
        The smoothed loss, which has a gradient; the loss without smoothing; and how many targets
        are the most likely token. Each a scalar sum over the N tokens, losses in nats.
    """
    sums: tuple[Tensor, Tensor, Tensor] = _MixtureCrossEntropy.apply(  # type: ignore[no-untyped-call]
        features,
        weight,
        bias,
        log_written,
        log_copied,
        target,
        copied,
        source_ids,
        label_smoothing,
        torch.is_grad_enabled(),
    )
    return sums


class _MixtureCrossEntropy(torch.autograd.Function):
    """Computes the gradient in the forward pass, where the softmax is at hand."""

    @staticmethod
    def forward(
        ctx: Any,
        features: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        log_written: Tensor,
        log_copied: Tensor,
        target: Tensor,
        copied: Tensor,
        source_ids: Tensor,
        label_smoothing: float,
        grad_enabled: bool,  # in here it is always off, and needs_input_grad ignores it
    ) -> tuple[Tensor, Tensor, Tensor]:
        learns = grad_enabled and any(ctx.needs_input_grad)
        vocab_size, kept = weight.shape[0], 1.0 - label_smoothing
        smoothed_sum = torch.zeros((), device=features.device)
        plain_sum = torch.zeros_like(smoothed_sum)
        correct = torch.zeros((), dtype=torch.int64, device=features.device)
        grads = [torch.zeros_like(part, dtype=torch.float32) for part in (features, weight)]
        grad_bias = None if bias is None else torch.zeros_like(bias, dtype=torch.float32)
        share = torch.zeros_like(log_written)  # of the target's probability: what is written
        rows = chunk_rows(features.device, vocab_size)
        for start in range(0, len(features), rows):
            part = slice(start, start + rows)
            chunk, gold = features[part], target[part, None]
            logits = torch.nn.functional.linear(chunk, weight, bias).float()
            log_probs = logits.log_softmax(dim=1)
            written = log_probs.gather(1, gold)[:, 0] + log_written[part]
            both = torch.logaddexp(written, log_copied[part])
            plain_sum -= both.sum()
            smoothed_sum -= kept * both.sum() + label_smoothing * log_probs.mean(dim=1).sum()
            probs = log_probs.exp_()
            mixture = probs * log_written[part, None].exp()
            mixture.scatter_add_(1, source_ids[part], copied[part])
            correct += (mixture.argmax(dim=1) == gold[:, 0]).sum()
            if not learns:
                continue
            share[part] = (written - both).exp()
            # d loss / d logits: that of the written words, by their share of the probability.
            slope = probs.mul_(kept * share[part, None] + label_smoothing)
            slope -= label_smoothing / vocab_size
            slope.scatter_add_(1, gold, -kept * share[part, None])
            grads[0][part] = slope @ weight.float()
            grads[1].addmm_(slope.t(), chunk.float())
            if grad_bias is not None:
                grad_bias += slope.sum(dim=0)
        ctx.save_for_backward(
            grads[0].to(features.dtype),
            grads[1].to(weight.dtype),
            None if grad_bias is None or bias is None else grad_bias.to(bias.dtype),
            -kept * share,
            -kept * (1.0 - share),
        )
        ctx.mark_non_differentiable(plain_sum, correct)
        return smoothed_sum, plain_sum, correct

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, grad_smoothed: Tensor, grad_plain: Tensor, grad_correct: Tensor
    ) -> tuple[Tensor | None, ...]:
        grads = (None if g is None else g * grad_smoothed for g in ctx.saved_tensors)
        return (*grads, None, None, None, None, None)
