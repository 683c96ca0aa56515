"""Vectors of tokens from which tokens stand near each other: where an embedding may begin.

A language model of a small corpus spends most of its training on finding out which words are alike.
An SVD of their positive pointwise mutual information (Levy, Goldberg and Dagan 2015, "Improving
distributional similarity with lessons learned from word embeddings") says it within seconds. On the
built-in corpus, one epoch from these vectors takes a GRU language model further than many from
random ones: docs/log.md has the figures.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Generator, Tensor

from seqae.batch import Batch

# Sentences from which vectors are learnt at most.
LEARNT_FROM = 200_000

WINDOW = 5  # tokens to each side; one at distance d counts 1/d, as in GloVe
SUMMED_AT_ONCE = 2**22  # pairs, of some 24 bytes each
SMOOTHING = 0.75  # exponent of the frequency of contexts, as Levy et al. recommend

OVERSAMPLING = 16  # further directions of the randomised SVD (Halko, Martinsson and Tropp 2011)
ITERATIONS = 4


def cooccurrence_vectors(
    batches: Iterable[Batch], vocab_size: int, embedding_dim: int, seed: int = 0
) -> tuple[Tensor, Tensor]:
    """Learn a vector for each token that occurs near another.

    Args:
        batches: training sentences; those after the first `LEARNT_FROM` are not read.
        vocab_size: V.
        embedding_dim: E.
        seed: of the randomised SVD.

    Returns:
        Vectors (V, E) float32, of length √E as random normal ones have on average, or zero; and
        which of them were learnt, (V,) bool.
    """
    information = _information(_counts(batches, vocab_size))
    dim = min(embedding_dim, vocab_size)
    left, values = _singular(information, dim, Generator().manual_seed(seed))
    vectors = torch.zeros(vocab_size, embedding_dim)
    vectors[:, :dim] = left * values.sqrt()
    is_learnt = torch.zeros(vocab_size, dtype=torch.bool)
    is_learnt[information.indices()[0]] = True
    vectors[~is_learnt] = 0.0  # but for rounding errors
    length = vectors.norm(dim=1, keepdim=True)
    return vectors * (embedding_dim**0.5 / length.clamp(min=1e-12)), is_learnt


def _counts(batches: Iterable[Batch], vocab_size: int) -> Tensor:
    """Count how often tokens stand near each other, both ways: sparse (V, V), coalesced."""
    total = _sparse(torch.zeros(2, 0, dtype=torch.int64), torch.zeros(0), vocab_size)
    pairs: list[Tensor] = []
    weights: list[Tensor] = []
    sentences = 0
    for batch in batches:
        token_ids, mask = batch.token_ids, batch.mask
        for distance in range(1, min(WINDOW, token_ids.shape[1] - 1) + 1):
            is_pair = mask[:, distance:] & mask[:, :-distance]
            near = torch.stack([token_ids[:, :-distance], token_ids[:, distance:]])
            pairs.append(near[:, is_pair])
            weights.append(torch.full(pairs[-1].shape[1:], 1 / distance))
        sentences += len(batch)
        if sum(map(len, weights)) > SUMMED_AT_ONCE:
            total = total + _sparse(torch.cat(pairs, dim=1), torch.cat(weights), vocab_size)
            pairs, weights = [], []
        if sentences >= LEARNT_FROM:
            break
    if pairs:
        total = total + _sparse(torch.cat(pairs, dim=1), torch.cat(weights), vocab_size)
    return (total + total.t()).coalesce()


def _sparse(indices: Tensor, values: Tensor, size: int) -> Tensor:
    """Sum values (N,) at indices (2, N) of a sparse matrix (size, size)."""
    matrix = torch.sparse_coo_tensor(indices, values, (size, size), check_invariants=True)
    return matrix.coalesce()


def _information(counts: Tensor) -> Tensor:
    """Compute the positive pointwise mutual information, sparse (V, V)."""
    (row, column), count = counts.indices(), counts.values().double()
    frequency = torch.zeros(len(counts), dtype=torch.float64).index_add(0, row, count)
    context = frequency**SMOOTHING
    context = context / context.sum().clamp(min=1e-12)
    information = (count / (frequency[row] * context[column])).log()
    kept = information > 0
    indices = torch.stack([row, column])[:, kept]
    return _sparse(indices, information[kept].float(), len(counts))


def _singular(matrix: Tensor, dim: int, generator: Generator) -> tuple[Tensor, Tensor]:
    """Find the first left singular vectors, (V, dim), and singular values, (dim,)."""
    size = min(dim + OVERSAMPLING, len(matrix))
    transposed = matrix.t().coalesce()
    basis = torch.randn(len(matrix), size, generator=generator)
    for _ in range(ITERATIONS):
        basis = torch.linalg.qr(torch.sparse.mm(matrix, basis)).Q
        basis = torch.linalg.qr(torch.sparse.mm(transposed, basis)).Q
    basis = torch.linalg.qr(torch.sparse.mm(matrix, basis)).Q
    small = torch.sparse.mm(transposed, basis).T  # (size, V)
    left, values, _ = torch.linalg.svd(small, full_matrices=False)
    return (basis @ left)[:, :dim], values[:dim]
