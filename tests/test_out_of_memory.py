"""A device without memory for a batch: one line that says what to change, nothing lost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from small import numbered, run_seqae, write_recipe, write_text
from torch import Generator, Tensor

from seqae.batch import Batch
from seqae.objectives.reconstruction import Reconstruction
from seqae.training.checkpoints.callback import checkpoints
from seqae.training.checkpoints.integrity import is_intact


class Tight(Reconstruction):
    """Runs out of memory from a step on.

    Args:
        step: the first step that fails.
        in_backward: whether it fails in the backward pass.
    """

    def __init__(self, step: int = 0, in_backward: bool = False) -> None:
        super().__init__()
        self.step, self.in_backward = step, in_backward

    def forward(self, model: Any, batch: Batch, step: int, generator: Generator) -> dict[str, Any]:
        fails = model.training and step >= self.step
        if fails and not self.in_backward:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        values = super().forward(model, batch, step, generator)
        if fails:
            values["loss"] = _Fails.apply(values["loss"])
        return values


class _Fails(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, loss: Tensor) -> Tensor:
        return loss.clone()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory.")


@pytest.mark.parametrize("in_backward", [False, True])
def test_one_line_says_what_to_change(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    in_backward: bool,
) -> None:
    text = write_text(tmp_path / "text.txt", numbered(60))
    options = ["-c", write_recipe(tmp_path), "--data.train", text, "--run_dir", tmp_path / "run"]
    options += ["--model.objective", "test_out_of_memory.Tight", "--model.objective.step", 3]
    options += ["--model.objective.in_backward", str(in_backward).lower()]
    options += ["--checkpoint.every_n_steps", 1, "--trainer.enable_progress_bar", "false"]
    assert run_seqae("fit", *options) == 1
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line == (
        "seqae: error: `data.batch_tokens` must be lower: a batch does not fit the memory of cpu. "
        "Halve it and double `trainer.accumulate_grad_batches`; the last checkpoint is intact."
    )
    saved = checkpoints(tmp_path / "run" / "checkpoints")
    assert saved
    assert all(map(is_intact, saved))
