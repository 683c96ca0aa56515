"""Vectors of tokens from their neighbours, and trainings whose embedding begins with them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from seqae.batch import Batch
from seqae.model.cooccurrence import cooccurrence_vectors
from seqae.training.module import AutoencoderModule
from tests.small import run_seqae, write_recipe, write_text

# Tokens 4 and 5 stand in the same places, and so do 6 and 7; 8 occurs nowhere.
ROWS = [
    [2, subject, verb, 9, 3] for subject in (4, 5) for verb in (6, 7, 10) if subject + verb != 15
] + [[2, 9, 6, 11, 3], [2, 9, 7, 11, 3]]
SIZE = 12


def batches() -> list[Batch]:
    return [
        Batch(torch.tensor([[*row, 0, 0]]), torch.tensor([len(row)])) for row in ROWS
    ]  # padding must not count


def by_hand(dim: int) -> NDArray[np.float64]:
    """The same in dense numpy, with its exact SVD."""
    counts = np.zeros((SIZE, SIZE))
    for row in ROWS:
        for i, first in enumerate(row):
            for j, second in enumerate(row):
                if 0 < abs(i - j) <= 5:
                    counts[first, second] += 1 / abs(i - j)
    frequency = counts.sum(1)
    context = frequency**0.75 / (frequency**0.75).sum()
    with np.errstate(divide="ignore", invalid="ignore"):
        information = np.nan_to_num(np.log(counts / np.outer(frequency, context)), neginf=0.0)
    left, values, _ = np.linalg.svd(np.maximum(information, 0.0))
    vectors = left[:, :dim] * np.sqrt(values[:dim])
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors * (dim**0.5 / np.maximum(length, 1e-12)) * (length > 1e-6))


def test_the_vectors_are_those_of_an_exact_svd() -> None:
    vectors, is_learnt = cooccurrence_vectors(batches(), SIZE, 4)
    found, expected = vectors.numpy(), by_hand(4)
    # Singular vectors have no sign, their products do.
    np.testing.assert_allclose(found @ found.T, expected @ expected.T, atol=1e-3)
    assert is_learnt.tolist() == [row in {i for r in ROWS for i in r} for row in range(SIZE)]
    torch.testing.assert_close(vectors[is_learnt].norm(dim=1), torch.full((9,), 2.0))


def test_tokens_that_stand_in_the_same_places_are_alike() -> None:
    vectors, _ = cooccurrence_vectors(batches(), SIZE, 6)
    unit = torch.nn.functional.normalize(vectors, dim=1)
    others = unit @ unit[6]
    assert others[7] > others[[2, 3, 4, 5, 9, 10, 11]].max()


def test_batches_and_seed_alone_decide() -> None:
    first, _ = cooccurrence_vectors(batches(), SIZE, 4, seed=1)
    state = torch.get_rng_state()
    again, _ = cooccurrence_vectors(batches(), SIZE, 4, seed=1)
    assert torch.equal(first, again)
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize("dim", [4, 40])
def test_any_embedding_dim_and_no_text_at_all(dim: int) -> None:
    vectors, is_learnt = cooccurrence_vectors(batches(), SIZE, dim)
    assert vectors.shape == (SIZE, dim)
    assert vectors.isfinite().all()
    assert is_learnt.any()
    vectors, is_learnt = cooccurrence_vectors([], SIZE, dim)
    assert vectors.isfinite().all()
    assert not is_learnt.any()


def test_a_training_begins_with_them_and_a_resume_does_not(tmp_path: Path) -> None:
    recipe, text = write_recipe(tmp_path), write_text(tmp_path / "text.txt")
    options = ["--data.train", text, "--model.embedding_init", "cooccurrence"]
    options += ["--model.autoencoder.train_embedding", "false", "--run_dir", tmp_path / "run"]
    assert run_seqae("fit", "-c", recipe, *options, "--trainer.max_steps", 2) == 0
    found = newest(tmp_path / "run").autoencoder.embedding.weight
    # Random ones have that length on average only.
    is_learnt = (found.norm(dim=1) - 32**0.5).abs() < 1e-3
    assert 40 < is_learnt.sum() < len(found)

    assert run_seqae("fit", "--resume", tmp_path / "run", "--trainer.max_steps", 3) == 0
    assert torch.equal(found, newest(tmp_path / "run").autoencoder.embedding.weight)


def newest(run: Path) -> AutoencoderModule:
    files = sorted((run / "checkpoints").glob("*.ckpt"), key=lambda path: path.stat().st_mtime)
    return AutoencoderModule.load_from_checkpoint(files[-1])
