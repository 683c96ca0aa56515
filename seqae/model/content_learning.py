"""Learn a content encoder's vectors from token ids, before the training proper.

A feature's vector has a random direction, so that two features have almost nothing in common, and
the length log((n + 1) / (m + 1)) if m of n sentences have it: the inverse document frequency of TF-
IDF (Spärck Jones 1972). Their sum is a random projection of a TF-IDF vector over words and pieces
of words (Johnson and Lindenstrauss 1984), whose cosines it keeps up to 1/√C. An SVD of the same
size keeps the frequent words and forgets the rare ones, which say most.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Generator

from seqae.batch import Batch
from seqae.model.content_encoder import ContentEncoder

# Sentences from which vectors are learnt at most; more change the frequencies little.
LEARNT_FROM = 200_000


def learn_content(content: ContentEncoder, batches: Iterable[Batch], seed: int = 0) -> None:
    """Fill the table of a content encoder that has read its tokens.

    The same batches and seed give the same table on every device.

    Args:
        content: built, on the CPU.
        batches: training sentences; those after the first `LEARNT_FROM` are not read.
        seed: of the directions.
    """
    size = content.table_size
    count, frequency = 0, torch.zeros(size + 1)
    for batch in batches:
        count += len(batch)
        # Sorted, the first of equal features is counted.
        found = content.features(batch.token_ids, batch.mask).sort(dim=1).values
        is_first = torch.ones_like(found, dtype=torch.bool)
        is_first[:, 1:] = found[:, 1:] != found[:, :-1]
        frequency += torch.bincount(found[is_first], minlength=size + 1)
        if count >= LEARNT_FROM:
            break
    rarity = ((count + 1) / (frequency[:size] + 1)).log()
    directions = torch.randn(size, content.content_dim, generator=Generator().manual_seed(seed))
    with torch.no_grad():
        content.table[:size] = directions * (rarity / content.content_dim**0.5)[:, None]
        content.table[size] = 0.0
