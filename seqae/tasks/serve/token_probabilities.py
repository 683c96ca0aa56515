"""How sure a model was of each token that it wrote."""

from __future__ import annotations

from collections.abc import Sequence
from os.path import commonprefix

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from seqae.bundle.codec import cut_rows, evaluating
from seqae.bundle.operations.latent_ops import Latents
from seqae.bundle.text_autoencoder import TextAutoencoder
from seqae.data.batches.padding import collate
from seqae.data.tokenizers import Tokenizer
from seqae.model.memory.cross_attention import Memory
from seqae.tasks.serve.api_shapes import Token

DIGITS = 5
BLOCK_TOKENS = 1024  # whose logits are in memory at a time: 40 MB with 10,000 tokens to choose from


@torch.inference_mode()
def token_probabilities(
    model: TextAutoencoder,
    rows: Sequence[Sequence[int]],
    latents: Latents,
    noise: NDArray[np.float32] | None = None,
    texts: Sequence[str] | None = None,
) -> list[list[Token]]:
    """Compute the probability of each token after those before it, by teacher forcing.

    Args:
        model: that wrote them.
        rows: n rows of token ids, without bos and eos.
        latents: (n, Z), of which they were written.
        noise: (n,) σ at which they were; None for zero.
        texts: n, at which the model looked back, if it does.

    Returns:
        For each row its tokens as they stand in its text, with their probabilities.
    """
    longest = max(map(len, rows), default=0)
    if longest == 0:
        return [[] for _ in rows]
    step = max(1, BLOCK_TOKENS // longest)
    found: list[list[float]] = []
    with evaluating(model.autoencoder, len(rows)):
        for start in range(0, len(rows), step):
            block = slice(start, start + step)
            sigma = None if noise is None else torch.from_numpy(noise[block])
            looked_at = None if texts is None else texts[block]
            found += _probabilities(model, rows[block], latents[block], sigma, looked_at)
    return [
        [
            {"token": token, "probability": round(probability, DIGITS)}
            for token, probability in zip(spelled(model.tokenizer, row), own, strict=True)
        ]
        for row, own in zip(rows, found, strict=True)
    ]


def spelled(tokenizer: Tokenizer, row: Sequence[int]) -> list[str]:
    """Cut the text of token ids where its tokens end; joined they are the text.

    A character of several tokens belongs to the last of them; the others are empty.

    Args:
        tokenizer: of the ids.
        row: of token ids, without bos and eos.
    """
    if not row:
        return []
    *beginnings, text = tokenizer.decode([list(row[:end]) for end in range(1, len(row) + 1)])
    ends = [0]
    for beginning in beginnings:
        ends.append(max(ends[-1], len(commonprefix([beginning, text]))))
    ends.append(len(text))
    return [text[first:last] for first, last in zip(ends, ends[1:], strict=False)]


def _probabilities(
    model: TextAutoencoder,
    rows: Sequence[Sequence[int]],
    latents: Latents,
    noise: Tensor | None,
    texts: Sequence[str] | None,
) -> list[list[float]]:
    autoencoder = model.autoencoder
    vocabulary = autoencoder.vocabulary
    assert vocabulary is not None
    if not any(rows):
        return [[] for _ in rows]
    batch = collate([[vocabulary.bos_id, *row] for row in rows], vocabulary).to(model.device)
    inputs, targets = batch.token_ids[:, :-1], batch.token_ids[:, 1:]
    memory: Memory | None = None
    if autoencoder.reads_memory and texts is not None:
        read = model.tokenizer.encode([model.normalization(text) for text in texts])
        read = cut_rows(read, autoencoder.max_length, vocabulary.eos_id)
        memory = autoencoder.encode(collate(read, vocabulary).to(model.device)).memory
    told = None if noise is None or autoencoder.latent_noise is None else noise.to(model.device)
    latent = torch.from_numpy(np.ascontiguousarray(latents)).to(model.device)
    features = autoencoder.decode(inputs, latent, told, memory)
    logits = autoencoder.logits(features, memory, inputs).float()
    chosen = logits.softmax(dim=-1).gather(2, targets[..., None])[..., 0].tolist()
    return [own[: len(row)] for own, row in zip(chosen, rows, strict=True)]
