"""ContentEncoder: the part of a latent that says what is said, whatever the order of the words.

    token_ids (B, T) -> bytes -> features of words (B, N) -> the sum of their vectors (B, C)

The features are like those of fastText (Bojanowski et al. 2017, arXiv:1607.04606): words, and their
pieces of three and four bytes, hashed to the rows of a table; letters of ASCII in lower case. They
are read from the bytes of the tokens, so that a word is the same word however the tokenizer cuts
it, at the start of a sentence and inside, and two forms of a word share most of their pieces. How
often a feature says something is in the length of its vector.

The vectors are learnt before the training proper, from its token ids (content_learning.py), and
then frozen.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor, nn
from typing_extensions import override

from seqae.batch import Vocabulary
from seqae.component import Component, check_range
from seqae.model.layers import in_float32

PIECES = (3, 4)  # bytes of a piece of a word, its ends counted
MAX_TOKEN_BYTES = 32  # the rest of a longer token is not read
NOTHING, END = 0, 1  # beside the bytes: no byte, and what ends a word
PRIME, FACTOR = 2**31 - 1, 1_000_003  # of a polynomial hash; products fit 64 bits


@final
class ContentEncoder(Component, nn.Module):
    """Token ids to the content part of the latent, without positions.

    Args:
        content_dim: numbers of the content part, C.
        table_size: rows of the table; words and pieces of words that hash to one row share its
            vector. The bundle grows with it.
        neighbour_epochs: passes over training sentences in which vectors learn to keep the
            neighbours that sentences have by their words; 0 leaves their directions to chance.
    """

    def __init__(
        self, content_dim: int = 384, table_size: int = 16_384, neighbour_epochs: int = 0
    ) -> None:
        super().__init__()
        check_range("content_dim", content_dim, 1, 2**14)
        check_range("table_size", table_size, 1, 2**24)
        check_range("neighbour_epochs", neighbour_epochs, 0, 1000)
        self.content_dim, self.table_size = content_dim, table_size
        self.neighbour_epochs = neighbour_epochs

    @property
    def is_learnt(self) -> bool:
        """Whether it has read its tokens: from training data, or with its weights from a file."""
        return bool(self.token_bytes.any())

    def build(self, vocabulary: Vocabulary) -> None:
        """Make the weights: a table of zeros, and no token has bytes.

        Args:
            vocabulary: the tokenizer's size.
        """
        # The last row is that of no feature.
        self.table = nn.Parameter(
            torch.zeros(self.table_size + 1, self.content_dim), requires_grad=False
        )
        self.token_bytes: Tensor
        empty = torch.zeros(vocabulary.size, MAX_TOKEN_BYTES, dtype=torch.int64)
        self.register_buffer("token_bytes", empty)

    def read_tokens(self, tokens: Sequence[bytes]) -> None:
        """Note what each token looks like.

        Args:
            tokens: the bytes of each of the V tokens; none for a token that is no text.
        """
        rows = [[_letter(byte) for byte in token[:MAX_TOKEN_BYTES]] for token in tokens]
        padded = [row + [NOTHING] * (MAX_TOKEN_BYTES - len(row)) for row in rows]
        self.token_bytes.copy_(torch.tensor(padded, dtype=torch.int64))

    def features(self, token_ids: Tensor, mask: Tensor) -> Tensor:
        """Find the words of sentences, and the pieces of words.

        Args:
            token_ids: (B, T) int64.
            mask: (B, T) bool, True at real tokens.

        Returns:
            (B, N) int64 rows of the table; `table_size` where there is no feature.
        """
        letters = _join(self.token_bytes[token_ids].masked_fill(~mask[..., None], NOTHING))
        found = [_hash_words(letters), *(_hash_pieces(letters, size) for size in PIECES)]
        hashes = torch.cat(found, dim=1)
        return torch.where(hashes < 0, self.table_size, hashes % self.table_size)

    @override
    def forward(self, token_ids: Tensor, mask: Tensor) -> Tensor:
        """Encode token ids (B, T) to content (B, C), of unit variance over its dimensions.

        A sentence without a word has a content of zeros.
        """
        return self.pool(self.features(token_ids, mask))

    def pool(self, features: Tensor) -> Tensor:
        """Sum the vectors of features (B, N), and scale the sum to unit variance: (B, C)."""
        summed = nn.functional.embedding_bag(
            features, self.table, mode="sum", padding_idx=self.table_size
        )
        unit = nn.functional.normalize(in_float32(summed), dim=1)
        scaled: Tensor = unit * self.content_dim**0.5
        return scaled.to(summed.dtype)


def _letter(byte: int) -> int:
    """Lower an ASCII letter; digits and all bytes beyond ASCII are letters, the others END."""
    character = bytes([byte])
    return character.lower()[0] if byte >= 0x80 or character.isalnum() else END


def _join(token_bytes: Tensor) -> Tensor:
    """Join the bytes of tokens (B, T, L) to rows (B, W), with an END before, after and between."""
    flat = token_bytes.flatten(1)
    is_letter = flat != NOTHING
    places = is_letter.cumsum(dim=1)
    width = int(places[:, -1].max()) + 2 if flat.numel() else 2
    joined = flat.new_full((len(flat), width), END)
    # What is nothing writes to the last place, which is an END anyway.
    places = places.masked_fill(~is_letter, width - 1)
    joined.scatter_(1, places, flat.masked_fill(~is_letter, END))
    return joined


def _hash_pieces(letters: Tensor, size: int) -> Tensor:
    """Hash all pieces of a size in rows (B, W), their ends counted: (B, W - size + 1), or -1."""
    windows = letters.unfold(1, size, 1) if letters.shape[1] >= size else letters[:, :0, None]
    hashes = windows.new_full(windows.shape[:2], size)
    for place in range(windows.shape[2]):
        hashes = (hashes * FACTOR + windows[..., place]) % PRIME
    is_inside = (windows[..., 1:-1] != END).all(dim=2)
    return hashes.masked_fill(~is_inside, -1)


def _hash_words(letters: Tensor) -> Tensor:
    """Hash all words in rows (B, W): (B, W), at the END after each word, or -1."""
    is_end = letters == END
    columns = torch.arange(letters.shape[1], device=letters.device)
    begins = columns.where(is_end, 0).cummax(dim=1).values  # the END before each letter
    powers = [1]
    for _ in range(letters.shape[1]):
        powers.append(powers[-1] * FACTOR % PRIME)
    power = torch.tensor(powers, device=letters.device)[columns - begins]
    terms = (letters * power % PRIME).masked_fill(is_end, 0)
    sums = terms.cumsum(dim=1)
    previous = nn.functional.pad(begins[:, :-1], (1, 0))  # the END before the word that ends here
    words = sums - sums.gather(1, previous)
    is_word = is_end & (columns - previous > 1)
    return (words % PRIME).masked_fill(~is_word, -1)
