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
from small import RECIPE, figures, read_rows, run_seqae, write_text
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
    """Write down the loss of each batch of each rank."""

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, *rest: object
    ) -> None:
        loss = float(trainer.callback_metrics["train/loss"])
        with (self.folder / f"losses{trainer.global_rank}.jsonl").open("a") as file:
            file.write(json.dumps({"loss": loss}) + "\n")


class Run:
    """A run: its losses in the order of the batches, its figures and its checkpoints."""

    def __init__(self, folder: Path, ranks: int) -> None:
        rows = [read_rows(folder / f"losses{rank}.jsonl") for rank in range(ranks)]
        self.losses = [row["loss"] for step in zip(*rows, strict=True) for row in step]
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
    arguments += ["--trainer.max_epochs", 2, "--density_sentences", 0]
    arguments += ["--checkpoint.every_n_steps", 1, "--checkpoint.keep", 100, *options]
    runs = []
    for ranks in (1, 2):
        own = folder / f"{ranks}"
        own.mkdir()
        callback = {"class_path": "test_ranks.Losses", "init_args": {"folder": f"{own}"}}
        more = ["--run_dir", own / "run", "--trainer.callbacks", json.dumps([callback])]
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
@pytest.mark.parametrize("name", RECIPES)
def test_two_processes_learn_what_one_learns(tmp_path: Path, name: str) -> None:
    one, two = both(tmp_path, name)
    print(name, len(one.losses), [apart(one.weights(s), two.weights(s)) for s in (1, 4, 8)])
    print([abs(a - b) for a, b in zip(one.losses, two.losses, strict=True)])
    print(one.measured, two.measured)
    assert 0
