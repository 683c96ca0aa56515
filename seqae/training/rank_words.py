"""Rank the words of an adaptive output by the text that a model is about to train on."""

from __future__ import annotations

import torch
from lightning.pytorch import Trainer

from seqae.data.datamodule import TextDataModule
from seqae.model.autoencoder import SequenceAutoencoder
from seqae.model.content.content_learning import LEARNT_FROM
from seqae.training.prepare_content import training_batches

MUCH_WORSE = 1.5  # times as many tokens in clusters as there need be


def rank_words(model: SequenceAutoencoder, data: TextDataModule, trainer: Trainer) -> None:
    """Count the tokens that a model is to write, rank them if it asks for that, and say the share.

    Every process counts the same.

    Args:
        model: built, on the CPU.
        data: set up.
        trainer: of the training; its first process prints.
    """
    adaptive = model.adaptive
    if adaptive is None:
        return
    assert model.vocabulary is not None
    counts = torch.zeros(model.vocabulary.size, dtype=torch.int64)
    sentences = 0
    for batch in training_batches(data):
        target = batch.target[batch.target_mask]
        counts += torch.bincount(target, minlength=len(counts))
        sentences += len(batch)
        if sentences >= LEARNT_FROM:  # a stream does not end
            break
    if adaptive.order == "counts":
        adaptive.rank(counts)
    if not trainer.is_global_zero or not counts.sum():
        return
    share = adaptive.share_in_clusters(counts)
    size = adaptive.bounds[0]
    best = float(counts.sort(descending=True).values[size:].sum() / counts.sum())
    line = f"adaptive: {100 * (1 - share):.1f} % of the tokens are of the shortlist of {size:,}"
    if share > MUCH_WORSE * best:
        line += (
            f"; the most frequent ones would hold {100 * (1 - best):.1f} %: set "
            f"`model.autoencoder.adaptive.order: counts`"
        )
    print(line, flush=True)
