"""One optimizer step has the gradient of one large batch, for each objective, however it is cut.

The large batch has all sentences of the step's window and of all ranks. Objectives that draw get
the same numbers for each sentence, so that what is different is the cut alone.
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
from small import RECIPE, read_rows, run_seqae, with_callback, write_text
from torch import Generator, Tensor

from seqae.batch import Batch
from seqae.data.batches.padding import collate

# In eight batches of 31 to 130 target tokens: windows of three leave two, on two ranks one each.
SENTENCES = ["ab", *(f"number {i:02d}" for i in range(20)), *(f"{i} and on" for i in range(9))]
SENTENCES += [f"{i:02d} the longest sentence of all" for i in range(17)]

GAUSSIAN = {"class_path": "GaussianLatent", "init_args": {"latent_dim": 16}}
PLAIN = {"class_path": "DeterministicLatent", "init_args": {"latent_dim": 16}}
SQUARED = {"head": "nearest", "train_embedding": False}

# By name: the objective's options, and what it needs of the model. MMD, free bits and a codebook
# measure each batch as a whole, so no sum over batches is theirs.
OBJECTIVES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "Reconstruction": ({"label_smoothing": 0.1}, {"latent": PLAIN}),
    "Denoising": ({"delete": 0.0, "label_smoothing": 0.1}, {"latent": PLAIN}),
    "MeanSquaredError": ({}, {"latent": PLAIN, **SQUARED}),
    "Variational": ({"kl_warmup_steps": 3}, {"latent": GAUSSIAN}),
    "MutualInformationMachine": ({}, {"latent": GAUSSIAN}),
    "Adversarial": ({"hidden_dim": 16, "logvar_weight": 0.1}, {"latent": GAUSSIAN}),
    "MeanSum": ({"cycle_weight": 0.0}, {"latent": PLAIN}),
    "WassersteinMMD": ({"mmd_weight": 0.0}, {"latent": PLAIN}),
}


@pytest.fixture(autouse=True)
def same_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw the same row of normal numbers for each sentence of each batch."""
    draw = torch.randn

    def draw_one_row(*size: Any, generator: Generator | None = None, **options: Any) -> Tensor:
        if generator is None:
            return draw(*size, **options)
        shape = torch.Size(size[0] if isinstance(size[0], tuple | torch.Size) else size)
        row = draw(shape[1:], generator=Generator().manual_seed(5), **options)
        return row.expand(shape).clone()

    monkeypatch.setattr(torch, "randn", draw_one_row)


class CompareGradients(Callback):
    """Write down how far each step's gradient is from that of one large batch, as a share of it."""

    def __init__(self, file: str) -> None:
        self.file = Path(file)
        self.rows: list[list[int]] = []
        self.batches = 0

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Batch, batch_idx: int
    ) -> None:
        lengths = batch.lengths.tolist()
        self.rows += [r[:n] for r, n in zip(batch.token_ids.tolist(), lengths, strict=True)]
        self.batches += 1

    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        rows, step, batches = self.rows, trainer.global_step, self.batches
        self.rows, self.batches = [], 0
        if trainer.world_size > 1:
            gathered: list[list[list[int]]] = [[]] * trainer.world_size
            torch.distributed.all_gather_object(gathered, rows)
            rows = sum(gathered, [])
        large = collate(rows, pl_module.datamodule.vocabulary)
        named = [(n, w) for n, w in pl_module.named_parameters() if w.grad is not None]
        with trainer.precision_plugin.forward_context():
            model, objective = pl_module.autoencoder, pl_module.objective
            loss = objective(model, large, step, Generator())["loss"]
        expected = torch.autograd.grad(loss, [weight for _, weight in named])
        pairs = [(weight.grad, other) for (_, weight), other in zip(named, expected, strict=True)]
        apart = sum(float((own - other).pow(2).sum()) for own, other in pairs) ** 0.5
        size = sum(float(other.pow(2).sum()) for _, other in pairs) ** 0.5
        if trainer.is_global_zero:
            with self.file.open("a") as file:
                file.write(json.dumps({"batches": batches, "apart": apart / size}) + "\n")


def compare(folder: Path, name: str, window: int, *options: object, ranks: int = 1) -> list[float]:
    """Train for one epoch: how far each step's gradient is from that of one large batch."""
    settings, parts = OBJECTIVES[name]
    recipe = copy.deepcopy(RECIPE)
    recipe["model"]["objective"] = {"class_path": name, "init_args": settings}
    recipe["model"]["autoencoder"].update(parts)
    recipe["data"]["tokenizer"] = {"class_path": "ByteTokenizer"}
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe), encoding="utf-8")
    text = write_text(folder / "train.txt", SENTENCES)
    said = folder / "gradients.jsonl"
    arguments = ["fit", "-c", folder / "recipe.yaml", "--data.train", text, *options]
    arguments += ["--data.val_percent", 0, "--data.test_percent", 0, "--data.batch_tokens", 150]
    arguments += ["--trainer.max_epochs", 1, "--trainer.accumulate_grad_batches", window]
    arguments += ["--run_dir", folder / "run", "--prior_sentences", 0]
    arguments += with_callback("test_token_window.CompareGradients", file=str(said))
    if ranks == 1:
        assert run_seqae(*arguments) == 0
    else:
        assert run_on_ranks(folder / "said", *arguments, ranks=ranks) == [0] * ranks
    rows = read_rows(said)
    assert rows[0]["batches"] == window
    assert 0 < rows[-1]["batches"] < window or window == 1  # the epoch ends within a window
    return [row["apart"] for row in rows]


@pytest.mark.parametrize("name", OBJECTIVES)
def test_a_window_of_batches(tmp_path: Path, name: str) -> None:
    assert max(compare(tmp_path, name, 3)) < 1e-5


@pytest.mark.parametrize(("precision", "rounding"), [("bf16-mixed", 0.02), ("16-mixed", 0.004)])
def test_mixed_precision(tmp_path: Path, precision: str, rounding: float) -> None:
    """Up to the rounding of the products; a mean of means is more than 0.1 off here."""
    options = ["--trainer.precision", precision, "--trainer.gradient_clip_val", 0]
    assert max(compare(tmp_path, "Reconstruction", 3, *options)) < rounding


@FORKS
@pytest.mark.parametrize(
    ("name", "window"),
    [
        ("Adversarial", 3),
        *(pytest.param(name, 1, marks=pytest.mark.slow) for name in OBJECTIVES),
        *(pytest.param(name, 3, marks=pytest.mark.slow) for name in OBJECTIVES),
    ],
)
def test_two_ranks(tmp_path: Path, name: str, window: int) -> None:
    assert max(compare(tmp_path, name, window, ranks=2)) < 1e-5
