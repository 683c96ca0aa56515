"""Two processes are one that accumulates two batches: losses, weights, figures, for each objective.

The batches of a step are the same, hold as many tokens, and draw the same noise, so that what is
different is the processes alone.
"""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from lightning.pytorch import Callback, LightningModule, Trainer
from ranks import FORKS, run_on_ranks
from small import (
    RECIPE,
    figures,
    numbered,
    read_rows,
    run_seqae,
    with_callback,
    write_recipe,
    write_text,
)
from torch import Tensor

SENTENCES = [f"it is number {i:03d} {'abcdefgh'[i % 8] * 4}" for i in range(64)]
HELD_OUT = [f"it is number {i:03d} {'hgfedcba'[i % 8] * 4}" for i in range(64, 80)]

Recipe = tuple[dict[str, Any], dict[str, Any]]
LATENT = {"latent_dim": 16}
GAUSSIAN = {"class_path": "GaussianLatent", "init_args": LATENT}
WITH_NORM = {"class_path": "GaussianLatent", "init_args": {**LATENT, "batch_norm": 0.3}}
PLAIN = {"class_path": "DeterministicLatent", "init_args": LATENT}
QUANTISED = {
    "class_path": "VectorQuantisedLatent",
    "init_args": {**LATENT, "num_groups": 2, "num_codes": 8},
}


def objective(name: str, **options: Any) -> dict[str, Any]:
    return {"class_path": name, "init_args": {**options, "word_dropout": 0.1}}


KL = {"kl_warmup_steps": 4, "free_bits": 0.1}
RECIPES: dict[str, Recipe] = {
    "reconstruction": (PLAIN, objective("Reconstruction")),
    "variational": (GAUSSIAN, objective("Variational", **KL)),
    "batch norm": (WITH_NORM, objective("Variational", kl_warmup_steps=4)),
    "MMD": (PLAIN, objective("WassersteinMMD")),
    "adversarial": (PLAIN, objective("Adversarial", hidden_dim=16)),
    "vector-quantised": (QUANTISED, objective("Reconstruction")),
}


class Losses(Callback):
    """Write down the loss of each batch of each rank, and what its buffers add up to then."""

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, *rest: object
    ) -> None:
        row = {
            "loss": float(trainer.callback_metrics["train/loss"]),
            "buffers": sum(float(buffer.double().sum()) for buffer in pl_module.buffers()),
        }
        with (self.folder / f"losses{trainer.global_rank}.jsonl").open("a") as file:
            file.write(json.dumps(row) + "\n")


class Run:
    """A run: its losses in the order of the batches, its figures and its checkpoints."""

    def __init__(self, folder: Path, ranks: int) -> None:
        self.rows = [read_rows(folder / f"losses{rank}.jsonl") for rank in range(ranks)]
        self.losses = [row["loss"] for step in zip(*self.rows, strict=True) for row in step]
        self.folder = folder / "run"
        self.measured = [row for row in figures(self.folder) if "val/loss" in row]

    def weights(self, step: int) -> dict[str, Tensor]:
        path = self.folder / "checkpoints" / f"step={step}.ckpt"
        found: dict[str, Tensor] = torch.load(path, weights_only=True)["state_dict"]
        return found


def both(folder: Path, name: str, *options: object) -> tuple[Run, Run]:
    """The same training by one process and by two."""
    latent, objective = RECIPES[name]
    recipe = copy.deepcopy(RECIPE)
    recipe["model"]["objective"] = objective
    recipe["model"]["autoencoder"]["latent"] = latent
    recipe["data"]["tokenizer"] = {"class_path": "ByteTokenizer"}
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe), encoding="utf-8")
    write_text(folder / "train.txt", SENTENCES)
    write_text(folder / "val.txt", HELD_OUT)
    arguments = ["fit", "-c", folder / "recipe.yaml", "--data.train", folder / "train.txt"]
    arguments += ["--data.val", folder / "val.txt", "--data.test_percent", 0]
    arguments += ["--data.batch_tokens", 8 * 24, "--data.eval_batch_tokens", 4 * 24]
    arguments += ["--trainer.max_epochs", 2, "--prior_sentences", 0]
    arguments += ["--checkpoint.every_n_steps", 1, "--checkpoint.keep", 100, *options]
    runs = []
    for ranks in (1, 2):
        own = folder / f"{ranks}"
        own.mkdir()
        more = ["--run_dir", own / "run", *with_callback("test_ranks.Losses", folder=f"{own}")]
        if ranks == 1:
            assert run_seqae(*arguments, *more, "--trainer.accumulate_grad_batches", 2) == 0
        else:
            assert run_on_ranks(own, *arguments, *more) == [0, 0]
        runs.append(Run(own, ranks))
    return runs[0], runs[1]


def apart(first: dict[str, Tensor], second: dict[str, Tensor]) -> float:
    """How far the farthest number of two models is apart."""
    return max(float((first[name] - second[name]).abs().max()) for name in first)


@FORKS
@pytest.mark.parametrize(
    "name",
    [
        "variational",
        "adversarial",
        pytest.param("reconstruction", marks=pytest.mark.slow),
        pytest.param("MMD", marks=pytest.mark.slow),
    ],
)
def test_two_processes_learn_what_one_learns(tmp_path: Path, name: str) -> None:
    """To the last bit where they add in the same order, as they do on a CPU with two ranks."""
    one, two = both(tmp_path, name)
    assert len(one.losses) == 16
    assert two.losses == pytest.approx(one.losses, rel=1e-6)
    assert apart(one.weights(8), two.weights(8)) < 1e-5
    assert len(one.measured) == 2
    for alone, shared in zip(one.measured, two.measured, strict=True):
        assert shared == pytest.approx(alone, rel=1e-5)
    has_posterior = name == "variational"  # the figures of collapse
    assert has_posterior == ("val/shuffle_gap" in two.measured[-1])


@FORKS
@pytest.mark.slow
def test_batch_norm_has_moving_averages_over_fewer_batches(tmp_path: Path) -> None:
    """Each process normalises by its own batch, as one that accumulates does.

    Only the moving averages, which an evaluation takes, are means over both processes of half as
    many batches each: after 16 batches with a momentum of 0.1 they are 0.57 of the way, not 0.81.
    """
    one, two = both(tmp_path, "batch norm")
    assert two.losses == pytest.approx(one.losses, rel=1e-6)
    first, second = one.weights(8), two.weights(8)
    moving = [name for name in first if ".normalize." in name]
    assert len(moving) == 3
    for name in moving:
        del first[name], second[name]
    assert apart(first, second) < 1e-5
    assert two.measured[-1]["val/loss"] == pytest.approx(one.measured[-1]["val/loss"], abs=0.01)


@FORKS
def test_a_codebook_is_one_for_both_processes(tmp_path: Path) -> None:
    """It moves once a step by the sentences of both, where one process would move it twice.

    So the runs are alike but not equal: their losses are up to 0.2 nats apart.
    """
    one, two = both(tmp_path, "vector-quantised")
    assert two.losses == pytest.approx(one.losses, abs=0.3)
    codebooks = [[row["buffers"] for row in rows] for rows in two.rows]
    assert codebooks[0] == codebooks[1]
    assert len(set(codebooks[0])) == 8  # they move
    assert two.measured[-1]["val/codebook_usage"] > 0.5
    # Both measured together what is in the checkpoint that follows.
    latent = two.weights(8)["autoencoder.latent.frequency"].double()
    share = latent / latent.sum(dim=1, keepdim=True)
    perplexity = torch.special.entr(share).sum(dim=1).exp().mean()
    assert two.measured[-1]["val/codebook_perplexity"] == pytest.approx(float(perplexity))


# Unequal data: nothing is lost, nothing is counted twice


def measured(folder: Path, ranks: int, *options: object) -> dict[str, Any]:
    """The figures of a model that is not trained, so that only the processes differ."""
    still = ["--model.learning_rate", 0.0, "--trainer.max_epochs", 1, *options]
    still += ["--data.train", folder / "train.txt", "--data.val", folder / "val.txt"]
    still += ["--data.test", folder / "val.txt", "--run_dir", folder / f"run{ranks}"]
    arguments = ["fit", "-c", write_recipe(folder), *still]
    if ranks == 1:
        assert run_seqae(*arguments) == 0
    else:
        assert run_on_ranks(folder / "said", *arguments, ranks=ranks) == [0] * ranks
    (row,) = [row for row in figures(folder / f"run{ranks}") if "val/loss" in row]
    del row["step"]
    return row


@FORKS
@pytest.mark.parametrize(
    ("sentences", "ranks", "batch_tokens"),
    [
        pytest.param(1, 2, 512, id="one has none"),
        pytest.param(3, 2, 1, id="an odd number of batches"),
        pytest.param(2, 3, 1, id="two of three"),
        pytest.param(7, 2, 512, id="odd", marks=pytest.mark.slow),
        pytest.param(33, 2, 100, id="many", marks=pytest.mark.slow),
    ],
)
def test_unequal_data(tmp_path: Path, sentences: int, ranks: int, batch_tokens: int) -> None:
    write_text(tmp_path / "train.txt", numbered(41))
    write_text(tmp_path / "val.txt", [f"{s}!" for s in numbered(33)[:sentences]])
    options = ["--data.eval_batch_tokens", batch_tokens]
    alone = measured(tmp_path, 1, *options)
    shared = measured(tmp_path, ranks, *options)
    exact = ("val/token_accuracy", "val/exact_match", "val/bleu")
    assert {name: shared[name] for name in exact} == {name: alone[name] for name in exact}
    assert shared == pytest.approx(alone, rel=1e-6)


@FORKS
def test_too_few_sentences_to_train_on_are_refused_by_all(tmp_path: Path) -> None:
    text = write_text(tmp_path / "train.txt", numbered(5))
    arguments = ["fit", "-c", write_recipe(tmp_path), "--data.train", text]
    arguments += ["--data.val_percent", 0, "--data.test_percent", 0, "--data.batch_tokens", 1]
    arguments += ["--run_dir", tmp_path / "run"]
    assert run_on_ranks(tmp_path / "said", *arguments) == [1, 1]
    for rank in (0, 1):
        said = (tmp_path / "said" / f"rank{rank}.txt").read_text()
        assert said.count("`trainer.devices` must be at most the number of sentences") == 1, said
        assert "Traceback" not in said
