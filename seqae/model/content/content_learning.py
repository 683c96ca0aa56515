"""Learn a content encoder's vectors from token ids, before the training proper.

A feature's vector has a random direction, so that two features have almost nothing in common, and
the length log((n + 1) / (m + 1)) if m of n sentences have it: the inverse document frequency of TF-
IDF (Spärck Jones 1972). Their sum is a random projection of a TF-IDF vector over words and pieces
of words (Johnson and Lindenstrauss 1984), whose cosines it keeps up to 1/√C. An SVD of the same
size keeps the frequent words and forgets the rare ones, which say most.

What 1/√C hides are neighbours, whose cosines are small. So the directions can then be learnt, such
that of each sentence the same others are near as by the TF-IDF vectors themselves: stochastic
neighbour embedding (Hinton and Roweis 2002), with a linear map and within random batches.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Generator, Tensor, nn

from seqae.batch import Batch
from seqae.model.content.content_encoder import ContentEncoder

# Sentences from which vectors are learnt at most; more change the frequencies little.
LEARNT_FROM = 200_000

# Chosen on validation sentences of wordnet-examples, by another encoder's neighbours.
BATCH = 1024  # sentences
LEARNING_RATE = 0.08  # of Adam, on directions of unit variance
TEMPERATURE = 0.05  # of cosines


def learn_content(
    content: ContentEncoder,
    batches: Iterable[Batch],
    seed: int = 0,
    advance: Callable[[int], None] = lambda sentences: None,
) -> None:
    """Fill the table of a content encoder that has read its tokens.

    The same batches and seed give the same table on every device.

    Args:
        content: built, on the CPU.
        batches: training sentences; those after the first `LEARNT_FROM` are not read.
        seed: of the directions.
        advance: called with the number of sentences that have been learnt from since the last call.
    """
    size = content.table_size
    count, frequency = 0, torch.zeros(size + 1)
    bags = _Bags()
    for batch in batches:
        count += len(batch)
        # Sorted, the first of equal features is counted.
        found = content.features(batch.token_ids, batch.mask).sort(dim=1).values
        is_first = torch.ones_like(found, dtype=torch.bool)
        is_first[:, 1:] = found[:, 1:] != found[:, :-1]
        frequency += torch.bincount(found[is_first], minlength=size + 1)
        if content.neighbour_epochs:
            bags.add(found, found < size)
        if count >= LEARNT_FROM:
            break
    rarity = ((count + 1) / (frequency[:size] + 1)).log()
    generator = Generator().manual_seed(seed)
    directions = torch.randn(size, content.content_dim, generator=generator)
    if content.neighbour_epochs:
        epochs = content.neighbour_epochs
        directions = _keep_neighbours(directions, rarity, bags, epochs, generator, advance)
    with torch.no_grad():
        content.table[:size] = directions * (rarity / content.content_dim**0.5)[:, None]
        content.table[size] = 0.0


class _Bags:
    """The features of sentences, without padding."""

    def __init__(self) -> None:
        self._added: list[Tensor] = []
        self._sizes: list[Tensor] = []

    def __len__(self) -> int:
        return sum(map(len, self._sizes))

    def add(self, features: Tensor, mask: Tensor) -> None:
        """Add sentences: features (B, N), and where there are any."""
        self._added.append(features[mask].int())
        self._sizes.append(mask.sum(dim=1))

    def close(self) -> None:
        """Join what was added; then sentences can be taken."""
        self._features = torch.cat(self._added)
        self._size = torch.cat(self._sizes)
        self._start = self._size.cumsum(dim=0) - self._size

    def take(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Return the features of B sentences one after the other, (M,), and whose each is, (M,)."""
        size = self._size[rows]
        bag = torch.repeat_interleave(torch.arange(len(rows)), size)
        skipped = self._start[rows] - (size.cumsum(dim=0) - size)
        return self._features[torch.arange(len(bag)) + skipped[bag]].long(), bag


def _keep_neighbours(
    directions: Tensor,
    rarity: Tensor,
    bags: _Bags,
    epochs: int,
    generator: Generator,
    advance: Callable[[int], None],
) -> Tensor:
    """Learn directions that keep the neighbours which sentences have by all their features."""
    count = len(bags)
    if count < 3:  # no choice of neighbours
        return directions
    bags.close()
    learnt = nn.Parameter(directions.clone())
    optimizer = torch.optim.Adam([learnt], LEARNING_RATE, betas=(0.9, 0.99))
    size = min(BATCH, count)
    steps = count // size
    itself = torch.eye(size, dtype=torch.bool)

    def to_neighbours(cosines: Tensor) -> Tensor:
        return (cosines / TEMPERATURE).masked_fill(itself, -torch.inf).log_softmax(dim=1)

    for epoch in range(epochs):
        order = torch.randperm(count, generator=generator)
        for step in range(steps):
            optimizer.param_groups[0]["lr"] = LEARNING_RATE * (1 - (epoch + step / steps) / epochs)
            features, bag = bags.take(order[step * size : (step + 1) * size])
            weights = rarity[features]
            expected = to_neighbours(_cosines(features, bag, weights, size))
            starts = torch.searchsorted(bag, torch.arange(size))
            summed = nn.functional.embedding_bag(
                features, learnt, starts, mode="sum", per_sample_weights=weights
            )
            unit = nn.functional.normalize(summed, dim=1)
            found = to_neighbours(unit @ unit.T).masked_fill(itself, 0.0)
            loss = -(expected.exp() * found).sum(dim=1).mean()
            (learnt.grad,) = torch.autograd.grad(loss, learnt)
            optimizer.step()
            advance(size)
    return learnt.detach()


def _cosines(features: Tensor, bag: Tensor, weights: Tensor, count: int) -> Tensor:
    """Compute the cosines of sentences by all their features: (count, count)."""
    used, columns = torch.unique(features, return_inverse=True)
    rows = weights.new_zeros(count, len(used))
    rows.index_put_((bag, columns), weights, accumulate=True)
    starts = torch.searchsorted(bag, torch.arange(count))
    products = nn.functional.embedding_bag(
        columns, rows.T.contiguous(), starts, mode="sum", per_sample_weights=weights
    )
    length = products.diagonal().sqrt().clamp_min(1e-12)
    return products / length / length[:, None]
