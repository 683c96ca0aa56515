"""EmbeddingStart: word vectors that others have trained, as the embedding to start from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from seqae.data.sources.discovery import without_path
from seqae.data.tokenizers import Tokenizer
from seqae.model.autoencoder import SequenceAutoencoder
from seqae.training.starting.vector_files import check_vectors, read_vectors

if TYPE_CHECKING:
    from lightning.pytorch import Trainer


@dataclass(frozen=True)
class EmbeddingStart:
    """A file of word vectors for the rows of an embedding.

    A token has a vector if it is a whole word: each of a WordTokenizer, and of the subword kinds
    those that begin with a blank and are a word of the file.

    Attributes:
        path: of the file.
    """

    path: str

    def check(self, model: SequenceAutoencoder) -> None:
        """Refuse a file that is none, or whose vectors have another size, before anything is made.

        Raises:
            ValueError: if so.
        """
        check_vectors(self.path, model.embedding_dim)

    def load_into(
        self, model: SequenceAutoencoder, tokenizer: Tokenizer, trainer: Trainer
    ) -> dict[str, Any]:
        """Give the embedding the vectors; rows of other tokens stay as they are.

        All vectors are scaled by one number, so that they have the unit variance with which the
        model's own embeddings begin, and to which its output layer is made.

        Args:
            model: built, on the CPU.
            tokenizer: of the data.
            trainer: of the training.

        Returns:
            What the bundle keeps: plain data, and no path.

        Raises:
            ValueError: if no token has a vector.
        """
        rows = whole_words(tokenizer)
        found = read_vectors(self.path, rows, model.embedding_dim) if rows else {}
        if not found:
            raise ValueError(
                f"`word_vectors` must have vectors of the tokenizer's words, but none of the "
                f"{tokenizer.vocab_size:,} tokens of a {type(tokenizer).__name__} is a word of "
                f"{self.path}. Use a WordTokenizer, or leave the vectors out."
            )
        vectors = np.stack(list(found.values()))
        scale = float(np.sqrt(np.mean(vectors.astype(np.float64) ** 2)))
        scaled = torch.from_numpy(vectors / max(scale, 1e-12)).to(model.embedding.weight.dtype)
        with torch.no_grad():
            model.embedding.weight[list(found)] = scaled
        if trainer.is_global_zero:
            share = len(found) / tokenizer.vocab_size
            print(
                f"embedding from {without_path(self.path)}: {len(found):,} of "
                f"{tokenizer.vocab_size:,} tokens ({share:.0%}) have its vectors",
                flush=True,
            )
        return {"word_vectors": without_path(self.path), "tokens": len(found)}


def whole_words(tokenizer: Tokenizer) -> dict[str, int]:
    """Return the id of each token that is a word of its own: it adds a blank and text."""
    words: dict[str, int] = {}
    for token_id, added in enumerate(tokenizer.token_bytes()):
        word = added.removeprefix(b" ").decode("utf-8", "replace")
        if added.startswith(b" ") and word and " " not in word:
            words.setdefault(word, token_id)
    return words
