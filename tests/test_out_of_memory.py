"""A device without memory for a batch: parts of it, the same gradient, said once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from small import figures, numbered, run_seqae, write_recipe, write_text
from torch import Generator, Tensor

from seqae.batch import Batch
from seqae.objectives.reconstruction import Reconstruction
from seqae.training.micro_batches import MicroBatches, split


class Tight(Reconstruction):
    """Runs out of memory with more than so many positions.

    Args:
        room: positions.
        in_backward: it does so in the backward pass.
    """

    def __init__(self, room: int = 60, in_backward: bool = False) -> None:
        super().__init__()
        self.room, self.in_backward = room, in_backward

    def forward(self, model: Any, batch: Batch, step: int, generator: Generator) -> dict[str, Any]:
        too_much = model.training and batch.token_ids.numel() > self.room
        if too_much and not self.in_backward:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        values = super().forward(model, batch, step, generator)
        if too_much:
            values["loss"] = _Fails.apply(values["loss"])
        return values


class _Fails(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, loss: Tensor) -> Tensor:
        return loss.clone()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory.")


def options(folder: Path, objective: str, *more: object) -> list[object]:
    text = write_text(folder / "text.txt", numbered(60))
    found = ["-c", write_recipe(folder), "--data.train", text, "--data.val_percent", 20]
    return [*found, "--model.objective", objective, "--trainer.max_epochs", 2, *more]


@pytest.mark.parametrize("where", ["forward", "backward"])
@pytest.mark.parametrize("window", [1, 2])
def test_the_training_is_that_of_whole_batches(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], where: str, window: int
) -> None:
    more = ("--trainer.accumulate_grad_batches", window)
    plain = options(tmp_path, "Reconstruction", *more)
    assert run_seqae("fit", *plain, "--run_dir", tmp_path / "plain") == 0
    tight = options(tmp_path, "test_out_of_memory.Tight", *more)
    tight += ["--model.objective.in_backward", str(where == "backward").lower()]
    capsys.readouterr()
    assert run_seqae("fit", *tight, "--run_dir", tmp_path / "tight") == 0
    assert capsys.readouterr().out.count("out of memory on cpu: from now on") == 1
    ours, theirs = figures(tmp_path / "tight"), figures(tmp_path / "plain")
    assert len(ours) == len(theirs) > 7
    for one, other in zip(ours, theirs, strict=True):
        assert one.keys() == other.keys()
        for name in one:
            assert one[name] == pytest.approx(other[name], rel=2e-3), name


def test_in_the_middle_of_a_window_it_ends(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    more = ("--trainer.accumulate_grad_batches", 2, "--model.objective.in_backward", "true")
    more += ("--model.objective.room", 94)  # most batches fit, some do not
    status = run_seqae("fit", *options(tmp_path, "test_out_of_memory.Tight", *more))
    said = capsys.readouterr()
    if status:  # where the first that does not fit is the second of a window
        assert "since gradients of batches before are in the same window" in said.err
    assert "Traceback" not in said.err


def test_what_reads_a_batch_as_a_whole_ends(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Tight, "needs_whole_batch", True)
    assert run_seqae("fit", *options(tmp_path, "test_out_of_memory.Tight")) == 1
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "`data.batch_tokens` must be lower: a batch of" in line
    assert "since Tight reads a batch as a whole. Halve it, and double" in line


def test_one_sentence_is_too_much(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    tight = options(tmp_path, "test_out_of_memory.Tight", "--model.objective.room", 3)
    assert run_seqae("fit", *tight) == 1
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert "`data.max_length` must be lower: a single sentence of" in last


def test_parts_are_all_of_a_batch() -> None:
    ids = torch.arange(35).reshape(7, 5)
    batch = Batch(ids, torch.full((7,), 5), Batch(ids + 100, torch.full((7,), 5)))
    for count in range(1, 8):
        parts = [*split(batch, count)]
        assert len(parts) == count
        assert torch.equal(torch.cat([part.token_ids for part in parts]), ids)
        assert torch.equal(torch.cat([part.targets.token_ids for part in parts]), ids + 100)
        assert sum(part.num_targets for part in parts) == batch.num_targets
        assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_figures_are_means_over_what_they_say() -> None:
    """By hand: a sentence of 4 targets and one of 2, which are two parts."""
    weight = torch.tensor(2.0, requires_grad=True)
    batch = Batch(torch.ones(2, 5, dtype=torch.int64), torch.tensor([5, 3]))

    def forward(part: Batch, number: int) -> dict[str, Tensor]:
        if len(part) > 1:
            raise torch.OutOfMemoryError
        size = float(part.num_targets)
        return {"loss": weight**2 * size, "kl": torch.tensor(size)}

    values = MicroBatches(forward, [weight], frozenset({"kl"}), lambda: 8.0)(batch)
    assert float(values["kl"]) == 3.0  # (4 + 2) / 2
    assert float(values["loss"].detach()) == pytest.approx(4 * (4 * 4 + 2 * 2) / 6)
    (values["loss"] * 3).backward()
    assert float(weight.grad) == pytest.approx(3 * 2 * 2 * (4 * 4 + 2 * 2) / 6)


def test_what_must_stay_whole() -> None:
    from seqae.model.latents.gaussian import GaussianLatent
    from seqae.model.latents.vector_quantised import VectorQuantisedLatent
    from seqae.objectives.variational import Variational

    assert GaussianLatent(8, batch_norm=0.5).needs_whole_batch
    assert not GaussianLatent(8).needs_whole_batch
    assert VectorQuantisedLatent(8).needs_whole_batch
    assert Variational(free_bits=0.1).needs_whole_batch
    assert not Variational().needs_whole_batch
