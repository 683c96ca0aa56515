"""What a model writes of a text at which it looks back, and where it pointed while it wrote."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from seqae.batch import Batch
from seqae.bundle.codec import cut_rows, evaluating
from seqae.data.batches.padding import collate
from seqae.generation import Decoding, generate
from seqae.generation.subsequence import Word
from seqae.model.autoencoder import SequenceAutoencoder


@torch.inference_mode()
def rewrite_pointing(
    model: SequenceAutoencoder,
    sentences: Sequence[Word],
    decoding: Decoding,
    seed: int,
    tokenize_word: Callable[[str], list[list[int]]],
    kept: Callable[[list[int]], int] = len,
) -> tuple[list[int], NDArray[np.float32]]:
    """Write what a model makes of a text.

    Args:
        model: one that `reads_memory`.
        sentences: n, each as token ids at the beginning of a text and after another sentence.
        decoding: how.
        seed: of sampled tokens.
        tokenize_word: as `generate`.
        kept: how many first tokens of what is written count; by default all.

    Returns:
        The token ids, and how many that count are copied from each sentence that the model read,
        (m,) with m ≤ n: the sum of the probabilities with which the pointer took one of its tokens.
        Zeros without a pointer.
    """
    assert model.vocabulary is not None
    device = next(model.parameters()).device
    pieces = [forms[min(index, 1)] for index, forms in enumerate(sentences)]
    owners = np.repeat(np.arange(len(pieces)), [len(piece) for piece in pieces])
    bos_id, eos_id = model.vocabulary.bos_id, model.vocabulary.eos_id
    row = [bos_id, *(token_id for piece in pieces for token_id in piece), eos_id]
    with evaluating(model, 1):
        (row,) = cut_rows([row], model.max_length, eos_id)
        batch = collate([row], model.vocabulary).to(device)
        encoded = model.encode(batch)
        ((best, *_),) = generate(
            model,
            encoded.latent,
            decoding,
            memory=encoded.memory,
            tokenize_word=tokenize_word,
            generator=torch.Generator().manual_seed(seed),
        )
        owners = owners[: len(row) - 2]
        points = np.zeros(len(np.unique(owners)), dtype=np.float32)
        if model.copying is None or not best.token_ids:
            return best.token_ids, points
        assert encoded.memory is not None
        targets = collate([[bos_id, *best.token_ids, eos_id]], model.vocabulary).to(device)
        batch = Batch(batch.token_ids, batch.lengths, targets)
        features = model.decode(batch.decoder_input, encoded.latent, memory=encoded.memory)
        pointed = model.copying.read(encoded.memory, batch.decoder_input)
        gate, places = model.copying.point(features, *pointed)
        # Of the tokens before eos, whose place in the text means nothing.
        copied = (gate.sigmoid()[..., None] * places)[0, :-1, 1:-1]
        np.add.at(points, owners, copied[: kept(best.token_ids)].sum(dim=0).cpu().numpy())
        return best.token_ids, points
