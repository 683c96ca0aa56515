"""Generation: latents to token ids, for every decoder, through `init_state` and `step`.

Rows that have written eos leave the batch at once, so that a step costs what the unfinished rows
cost.
"""

from __future__ import annotations

import torch
from torch import Tensor

from seqae.component import check_range
from seqae.model.autoencoder import SequenceAutoencoder


@torch.inference_mode()
def greedy(
    model: SequenceAutoencoder, latent: Tensor, max_length: int | None = None
) -> list[list[int]]:
    """Write the most likely token, step by step, reading only what was written before.

    Args:
        model: in evaluation mode.
        latent: (B, Z).
        max_length: most tokens to write, bos and eos counted; by default the model's own.

    Returns:
        For each row the tokens written, without bos, up to and without eos.
    """
    assert model.vocabulary is not None
    limit = model.max_length if max_length is None else max_length
    check_range("max_length", limit, 2, model.max_length)
    rows = torch.arange(latent.shape[0], device=latent.device)
    token = torch.full_like(rows, model.vocabulary.bos_id)
    state = model.init_state(latent)
    written = torch.full((len(rows), limit - 1), model.vocabulary.eos_id, device=latent.device)
    for position in range(limit - 1):
        logits, state = model.step(token, state)
        token = logits.argmax(dim=-1)
        written[rows, position] = token
        unfinished = token != model.vocabulary.eos_id
        if not unfinished.all():
            rows, token = rows[unfinished], token[unfinished]
            state = tuple(part[unfinished] for part in state)
        if len(rows) == 0:
            break
    eos = model.vocabulary.eos_id
    return [ids[: ids.index(eos)] if eos in ids else ids for ids in written.tolist()]
