"""Cross-entropy of a softmax in clusters, whose rare words are computed only where they are due.

The probability of a frequent word is a softmax over these words and one entry for each cluster of
rare ones; that of a rare word is its cluster's, times a softmax within the cluster (Goodman 2001;
Grave et al. 2017, arXiv:1609.04309). So a token costs the frequent words, and only the rare tokens
cost their cluster. It is a distribution over the whole vocabulary: nothing is sampled, and the
cross-entropy is exact. As in cross_entropy.py, the logits of a few hundred tokens exist at a time.

Shapes: N tokens, F features, V words, S words of the shortlist, C clusters.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from seqae.model.compiled import compiled
from seqae.model.cross_entropy import HALF, chunk_rows, compare, is_plain, product, wide


class ClusteredSums(NamedTuple):
    """What `clustered_cross_entropy` computes.

    Attributes:
        loss: (), the sum over tokens in nats; it has a gradient.
        nll: (N,) the cross-entropy of each token, without gradient.
        correct: () int64, how many targets are the most likely word, alone.
    """

    loss: Tensor
    nll: Tensor
    correct: Tensor


def clustered_cross_entropy(
    features: Tensor,
    weight: Tensor,
    bias: Tensor,
    cluster_weight: Tensor,
    cluster_bias: Tensor,
    target: Tensor,
    cutoffs: Sequence[int],
    is_compiled: bool = False,
) -> ClusteredSums:
    """Sum the cross-entropy of tokens.

    Args:
        features: (N, F) float.
        weight: (V, F) float, a row for each word: first the shortlist, then cluster after cluster.
        bias: (V,) float.
        cluster_weight: (C, F) float, a row for each cluster's entry in the shortlist.
        cluster_bias: (C,) float.
        target: (N,) int64, rows of `weight`.
        cutoffs: the first row of each cluster, and V.
        is_compiled: whether training processes a chunk by compiled kernels.

    Returns:
        The sums; see there.
    """
    sums: tuple[Tensor, Tensor, Tensor] = _ClusteredCrossEntropy.apply(  # type: ignore[no-untyped-call]
        features,
        weight,
        bias,
        cluster_weight,
        cluster_bias,
        target,
        tuple(cutoffs),
        is_compiled,
        torch.is_grad_enabled(),
    )
    return ClusteredSums(*sums)


class _Chunk(NamedTuple):
    """A softmax over words and clusters for n tokens, as log-probabilities, and its gradient."""

    gold: Tensor  # (n, 1)
    best: Tensor  # (n, 1), the highest of the words
    is_best: Tensor  # (n, 1) bool, whether that is the target
    clusters: Tensor  # (n, C)
    slope: Tensor  # (n, words + C), d loss / d logits in the type of the products
    slope_sum: Tensor  # (words + C,) in float32 or wider


def _read_chunk(
    chunk: Tensor,
    weight: Tensor,
    bias: Tensor,
    gold: Tensor,
    words: int,
    learns: bool,
    buffer: Tensor | None,
) -> _Chunk:
    """Compute the softmax of (n, F) features with (n, 1) targets; clusters follow the words."""
    logits = product(chunk, weight, bias, buffer)
    product_dtype = logits.dtype
    if product_dtype in HALF:
        logits = logits.float()
    gold_logits, best, is_best = compare(logits, gold, words, product_dtype in HALF)
    clusters = logits[:, words:].clone()
    highest = best
    if clusters.shape[1]:
        highest = torch.maximum(best, clusters.amax(dim=1, keepdim=True))
    logits -= highest
    total = logits.exp_().sum(dim=1, keepdim=True)
    log_total = total.log() + highest
    found = gold_logits - log_total, best - log_total, is_best, clusters - log_total
    if not learns:
        return _Chunk(*found, logits[:0], logits[0])
    slope = logits.div_(total)
    slope.scatter_add_(1, gold, torch.full_like(total, -1.0))
    return _Chunk(*found, slope.to(product_dtype), slope.sum(dim=0))


class _Grads:
    """Gradients of the loss, which sum over chunks of tokens.

    Args:
        features: (N, F).
        weights: weight, bias, cluster_weight and cluster_bias.
    """

    def __init__(self, features: Tensor, weights: Sequence[Tensor]) -> None:
        self._dtypes = [part.dtype for part in (features, *weights)]
        self.features = torch.zeros_like(features)
        # Sums over chunks: in half precision they would lose the later ones.
        self.weights = [torch.zeros_like(part, dtype=wide(part)) for part in weights]

    def add(
        self, chunk: Tensor, part: _Chunk, head: Tensor, rows: slice | Tensor, words: slice
    ) -> None:
        """Add a chunk of tokens.

        Args:
            chunk: (n, F), their features.
            part: their softmax.
            head: (words + C, F), the layer that gave it.
            rows: which of the N tokens they are.
            words: which rows of the weight they had to choose from; the clusters' rows follow.
        """
        weight, bias, cluster_weight, cluster_bias = self.weights
        count, slope = words.stop - words.start, part.slope
        by_features = (slope @ head.to(slope.dtype)).to(self.features.dtype)
        if isinstance(rows, slice):
            self.features[rows] += by_features
        else:
            self.features.index_add_(0, rows, by_features)
        _add_product(weight[words], slope[:, :count], chunk)
        bias[words] += part.slope_sum[:count]
        if slope.shape[1] > count:
            _add_product(cluster_weight, slope[:, count:], chunk)
            cluster_bias += part.slope_sum[count:]

    def cast(self) -> list[Tensor]:
        """Return them all, each in the type of what it is the gradient of."""
        grads = [self.features, *self.weights]
        return [grad.to(dtype) for grad, dtype in zip(grads, self._dtypes, strict=True)]


class _ClusteredCrossEntropy(torch.autograd.Function):
    """Computes the gradient in the forward pass, where the softmax is at hand."""

    @staticmethod
    def forward(
        ctx: Any,
        features: Tensor,
        weight: Tensor,
        bias: Tensor,
        cluster_weight: Tensor,
        cluster_bias: Tensor,
        target: Tensor,
        cutoffs: tuple[int, ...],
        is_compiled: bool,
        grad_enabled: bool,  # in here it is always off, and needs_input_grad ignores it
    ) -> tuple[Tensor, Tensor, Tensor]:
        learns = grad_enabled and any(ctx.needs_input_grad)
        weights = weight, bias, cluster_weight, cluster_bias
        grads = _Grads(features, weights) if learns else None
        size, clusters = cutoffs[0], [slice(*bounds) for bounds in pairwise(cutoffs)]
        dtype = torch.promote_types(features.dtype, torch.float32)
        best = torch.empty(len(features), 1, dtype=dtype, device=features.device)
        nll, is_best = torch.empty_like(best), torch.empty_like(best, dtype=torch.bool)
        masses = best.new_empty(len(features), len(clusters))  # log-probability of each cluster

        # Autocast would cast them again for every chunk.
        factor, kind = weight.detach(), features.device.type
        is_half = torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind)
        if is_half and weight.dtype == torch.float32:
            half = torch.get_autocast_dtype(kind)
            factor, cluster_weight = factor.to(half), cluster_weight.to(half)
        head = torch.cat([factor[:size], cluster_weight])
        head_bias = torch.cat([bias[:size], cluster_bias])
        bounds = torch.tensor(cutoffs[:-1], device=target.device)
        cluster_of = torch.bucketize(target, bounds, right=True)  # 0 is the shortlist
        gold = target.where(cluster_of == 0, size - 1 + cluster_of)[:, None]
        widths = [len(head), *(words.stop - words.start for words in clusters)]
        read = _Reader(features, widths, learns, is_compiled)
        for rows in _chunks(len(features), features, len(head)):
            chunk = features[rows]
            part = read(chunk, head, head_bias, gold[rows], size)
            nll[rows], best[rows], is_best[rows] = -part.gold, part.best, part.is_best
            masses[rows] = part.clusters
            if grads is not None:
                grads.add(chunk, part, head, rows, slice(0, size))

        order = cluster_of.argsort(stable=True)
        counts = torch.bincount(cluster_of, minlength=len(cutoffs)).tolist()
        starts = [sum(counts[:index]) for index in range(1, len(counts))]
        for index, (words, start, count) in enumerate(
            zip(clusters, starts, counts[1:], strict=True)
        ):
            for piece in _chunks(count, features, words.stop - words.start):
                own = order[start + piece.start : start + piece.stop]
                chunk, own_weight = features[own], factor[words]
                own_gold = target[own, None] - words.start
                part = read(chunk, own_weight, bias[words], own_gold, len(own_weight))
                nll[own] -= part.gold
                own_best = masses[own, index, None] + part.best
                is_best[own] = part.is_best & (own_best > best[own])
                best[own] = torch.maximum(own_best, best[own])
                if grads is not None:
                    grads.add(chunk, part, own_weight, own, words)

        # A target that is the best of what was computed may be beaten by a word of another cluster,
        # if that cluster as a whole is likelier than the target.
        for index, words in enumerate(clusters):
            may_lose = is_best[:, 0] & (masses[:, index] >= best[:, 0]) & (cluster_of != index + 1)
            doubtful = may_lose.nonzero()[:, 0]
            for piece in _chunks(len(doubtful), features, words.stop - words.start):
                some = doubtful[piece]
                highest = _best_in_cluster(features[some], factor[words], bias[words])
                is_best[some] &= masses[some, index, None] + highest < best[some]

        ctx.save_for_backward(*([] if grads is None else grads.cast()))
        loss, nll = nll.sum(), nll[:, 0]
        ctx.mark_non_differentiable(nll, correct := is_best.sum())
        return loss, nll, correct

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_loss: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        # In place: a second copy of the weights' gradients takes longer to make than to fill.
        grads = (grad.mul_(grad_loss) for grad in ctx.saved_tensors)
        return (*grads, None, None, None, None)


def _chunks(count: int, features: Tensor, words: int) -> list[slice]:
    """Cut a number of tokens into pieces whose logits fit the cache."""
    rows = chunk_rows(features.device, words)
    return [slice(start, min(start + rows, count)) for start in range(0, count, rows)]


class _Reader:
    """Calls `_read_chunk`, compiled or with memory for its logits.

    Args:
        features: (N, F) of all tokens.
        widths: how many logits a token may have.
        learns: whether slopes are needed.
        is_compiled: whether it is compiled then.
    """

    def __init__(
        self, features: Tensor, widths: Sequence[int], learns: bool, is_compiled: bool
    ) -> None:
        self._learns, self._is_compiled = learns, is_compiled and learns
        self._buffer: Tensor | None = None
        if is_plain(features):
            sizes = [min(chunk_rows(features.device, w), len(features)) * w for w in widths]
            self._buffer = features.new_empty(max(sizes))

    def __call__(
        self, chunk: Tensor, weight: Tensor, bias: Tensor, gold: Tensor, words: int
    ) -> _Chunk:
        given = chunk, weight, bias, gold, words, self._learns
        if self._is_compiled and len(chunk) > 1:  # one token would have a graph of its own
            part: _Chunk = compiled(_read_chunk)(*given, None)
            return part
        if self._buffer is None:
            return _read_chunk(*given, None)
        shape = len(chunk), len(weight)
        return _read_chunk(*given, self._buffer[: shape[0] * shape[1]].view(shape))


def _best_in_cluster(features: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Compute the highest log-probability within a cluster, (n, 1), at most 0."""
    logits = torch.nn.functional.linear(features, weight, bias)
    logits = logits.to(wide(logits))
    return logits.amax(dim=1, keepdim=True) - logits.logsumexp(dim=1, keepdim=True)


def _add_product(total: Tensor, slope: Tensor, chunk: Tensor) -> None:
    """Add `slope.T @ chunk` to a sum in place."""
    if slope.dtype == total.dtype == chunk.dtype:
        total.addmm_(slope.t(), chunk)
    else:
        total += slope.t() @ chunk.to(slope.dtype)
