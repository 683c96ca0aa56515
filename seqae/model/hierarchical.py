"""HierarchicalEncoder: a long text read stretch by stretch, then as a sequence of their vectors.

A recurrence over 2,000 tokens is 2,000 steps that wait for each other. Here all stretches are read
at once, so that 2,000 tokens take as many steps as a stretch has tokens, and one more for each
stretch.
"""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor, nn
from typing_extensions import override

from seqae.component import check_range
from seqae.model.encoders import Encoder
from seqae.model.pooling import MeanMaxPooling
from seqae.model.recurrent import GRUStack


@final
class HierarchicalEncoder(Encoder):
    """A GRU reads each stretch of a text, and another one the vectors of the stretches.

    Both read in both directions, and the mean and maximum of their states are the vector of a
    stretch and that of the text (a document model over parts: Yang et al. 2016, N16-1174; for
    summaries Nallapati et al. 2016, arXiv:1602.06023, section 2.3). A decoder that looks back reads
    of each token its own state beside that of its stretch, which knows the rest of the text.

    Args:
        hidden_dim: units of each direction.
        stretch_length: tokens of a stretch, at least 2; the last one may be shorter.
        dropout: chance that a feature of the states is zeroed in training.
    """

    def __init__(
        self, hidden_dim: int = 256, stretch_length: int = 64, dropout: float = 0.0
    ) -> None:
        super().__init__()
        check_range("hidden_dim", hidden_dim, 1, 2**16)
        check_range("stretch_length", stretch_length, 2, 2**16)
        check_range("dropout", dropout, 0.0, 0.99)
        self.hidden_dim, self.stretch_length, self.dropout = hidden_dim, stretch_length, dropout

    @override
    def build(self, embedding_dim: int, max_length: int) -> None:
        self.within = GRUStack(embedding_dim, self.hidden_dim, bidirectional=True)
        self.across = GRUStack(2 * self.within.output_dim, self.hidden_dim, bidirectional=True)
        self.drop = nn.Dropout(self.dropout)
        self.pool = MeanMaxPooling()
        self.output_dim = 2 * self.across.output_dim
        self.states_dim = self.within.output_dim + self.across.output_dim

    @override
    def forward(self, embedded: Tensor, mask: Tensor) -> Tensor:
        return self.read(embedded, mask)[0]

    @override
    def read(self, embedded: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        rows, width = mask.shape
        size = min(self.stretch_length, width)
        count = -(-width // size)
        missing = count * size - width
        tokens = nn.functional.pad(embedded, (0, 0, 0, missing)).reshape(rows * count, size, -1)
        is_token = nn.functional.pad(mask, (0, missing)).reshape(rows * count, size)
        # A stretch of padding alone is not read; there are fewer of them under bucketed batches.
        real = is_token[:, 0].nonzero()[:, 0]
        tokens, is_token = tokens[real], is_token[real]
        states, _ = self.within(tokens, is_token.sum(dim=1))
        states = self.drop(states)
        vectors = self.pool(tokens, states, is_token)
        is_stretch = nn.functional.pad(mask, (0, missing))[:, ::size]
        stretches = vectors.new_zeros(rows * count, vectors.shape[1]).index_copy(0, real, vectors)
        stretches = stretches.reshape(rows, count, -1)
        above, _ = self.across(stretches, is_stretch.sum(dim=1))
        above = self.drop(above)
        hidden = self.pool(stretches, above, is_stretch)
        own = states.new_zeros(rows * count, size, states.shape[2]).index_copy(0, real, states)
        beside = above.reshape(rows * count, 1, -1).expand(-1, size, -1)
        both = torch.cat([own, beside], dim=2).reshape(rows, count * size, -1)
        return hidden, both[:, :width]
