"""A device without memory for a batch: one line that says what to set, and the last checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from small import numbered, run_seqae, write_recipe, write_text
from torch import Generator, Tensor

from seqae.batch import Batch
from seqae.objectives.reconstruction import Reconstruction
from seqae.training.checkpoints.callback import newest_checkpoint


class Tight(Reconstruction):
    """Runs out of memory at a step.

    Args:
        fails_at: the number of optimizer steps before it.
        in_backward: it does so in the backward pass.
        in_training: it does so in training, and not in validation.
    """

    def __init__(
        self, fails_at: int = 3, in_backward: bool = False, in_training: bool = True
    ) -> None:
        super().__init__()
        self.fails_at, self.in_backward, self.in_training = fails_at, in_backward, in_training

    def forward(self, model: Any, batch: Batch, step: int, generator: Generator) -> dict[str, Any]:
        is_full = step >= self.fails_at and model.training == self.in_training
        if is_full and not self.in_backward:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        values = super().forward(model, batch, step, generator)
        if is_full:
            values["loss"] = _Fails.apply(values["loss"])
        return values


class _Fails(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, loss: Tensor) -> Tensor:
        return loss.clone()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory.")


WHERE = {
    "forward": [],
    "backward": ["--model.objective.in_backward", "true"],
    "validation": ["--model.objective.in_training", "false"],
}


@pytest.mark.parametrize("where", WHERE)
def test_one_line_says_what_to_set(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], where: str
) -> None:
    text, run = write_text(tmp_path / "text.txt", numbered(60)), tmp_path / "run"
    options = ["-c", write_recipe(tmp_path), "--data.train", text, "--data.val_percent", 20]
    options += ["--model.objective", "test_out_of_memory.Tight", *WHERE[where]]
    options += ["--checkpoint.every_n_steps", 1, "--run_dir", run]
    assert run_seqae("fit", *options) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("seqae: error: `data.batch_tokens` must be lower: ")
    assert "does not fit the memory of cpu. Halve it" in line
    assert "double `trainer.accumulate_grad_batches`; the last checkpoint is intact." in line
    newest = newest_checkpoint(run / "checkpoints")
    assert newest is not None
    capsys.readouterr()
    more = ["--model.objective.fails_at", 1000, "--data.batch_tokens", 64, "--resume_changed=true"]
    assert run_seqae("fit", "--resume", run, *more) == 0
