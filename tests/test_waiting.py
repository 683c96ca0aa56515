"""No step asks its device for a number, which on a GPU is to wait for all that it has to do."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any, ClassVar

import contracts
import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from small import numbered, run_seqae, write_recipe, write_text
from test_objectives import batch_for, make
from torch import Generator, Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from seqae.batch import Batch
from seqae.data.datamodule import TextDataModule
from seqae.data.tokenizers import ByteTokenizer
from seqae.objectives import Objective
from seqae.training.optimization.finite import LossCheck

# What gives a number, or a size that depends on numbers, to this process.
WAITING = {
    "aten._local_scalar_dense",
    "aten.nonzero",
    "aten.masked_select",
    "aten.equal",
    "aten._unique2",
    "aten.repeat_interleave",
}


class Watch(TorchDispatchMode):
    """Count the operations that wait for a GPU."""

    def __init__(self) -> None:
        super().__init__()
        self.found: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = str(func.overloadpacket)
        is_mask = name == "aten.index" and any(
            index is not None and index.dtype == torch.bool for index in args[1]
        )
        if name in WAITING or is_mask:
            self.found[name] += 1
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(("cls", "arguments"), contracts.each(Objective))
def test_no_objective_waits(cls: type[Objective], arguments: dict[str, Any]) -> None:
    objective, model = make(cls, arguments)
    model.train()
    batch = batch_for(objective, contracts.random_batch())
    assert batch.num_targets  # known since it was read
    with Watch() as watch:
        values = objective(model, batch, 10, Generator().manual_seed(0))
        values["loss"].backward()
    assert not watch.found


class Steps(Callback):
    """Watch whole steps, from the batch on the device to the weights after the update."""

    found: ClassVar[list[Counter[str]]] = []

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        self.watch = Watch().__enter__()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self.watch.__exit__(None, None, None)
        self.found.append(self.watch.found)


@pytest.mark.parametrize("parts", [(), ("Transformer",), ("LSTM",)])
def test_a_step_looks_at_its_loss_and_at_nothing_else(
    tmp_path: Path, parts: tuple[str, ...]
) -> None:
    text = write_text(tmp_path / "text.txt", numbered(60))
    arguments = ["-c", write_recipe(tmp_path), "--data.train", text, "--run_dir", tmp_path / "run"]
    arguments += ["--trainer.max_epochs", 2, "--data.val_percent", 0, "--threads", 1]
    arguments += ["--trainer.log_every_n_steps", 1000, "--model.objective.word_dropout", 0.2]
    arguments += ["--checkpoint.every_n_steps", 0, "--trainer.callbacks", "test_waiting.Steps"]
    for part in parts:
        for side in ("encoder", "decoder"):
            arguments += [f"--model.autoencoder.{side}", f"{part}{side.capitalize()}"]
    Steps.found.clear()
    assert run_seqae("fit", *arguments) == 0
    assert len(Steps.found) > 5
    assert set(map(str, Steps.found)) == {str(Counter({"aten._local_scalar_dense": 1}))}


def test_a_loss_is_looked_at_before_the_update_only() -> None:
    losses = LossCheck()
    with Watch() as watch:
        losses.note(torch.tensor(1.0), 0)
        losses.note(torch.tensor(torch.nan), 1)
    assert not watch.found
    with pytest.raises(ValueError, match="it is nan at step 7, batch 1 of epoch 2, on process 0"):
        losses.check(7, 2, 0, lambda loss: loss[None])
    losses.check(7, 2, 0, lambda loss: loss[None])  # and no second time


def test_the_loss_of_another_process_is_named() -> None:
    losses = LossCheck()
    losses.note(torch.tensor(1.0), 0, torch.tensor(torch.nan))
    with pytest.raises(ValueError, match="it is inf at step 7, batch 0 of epoch 2, on process 1"):
        losses.check(7, 2, 0, lambda loss: torch.stack([loss, loss * torch.inf]))


# Copies


class Copies(TorchDispatchMode):
    """Write down how tensors are copied to a device."""

    def __init__(self) -> None:
        super().__init__()
        self.waited: list[bool] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if str(func.overloadpacket) == "aten._to_copy":
            self.waited.append(not (kwargs or {}).get("non_blocking", False))
        return func(*args, **(kwargs or {}))


def test_a_batch_is_copied_to_a_gpu_without_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[str, bool]] = []

    def to(self: Tensor, device: torch.device, non_blocking: bool = False) -> Tensor:
        seen.append((torch.device(device).type, non_blocking))
        return self

    monkeypatch.setattr(Tensor, "to", to)
    data = TextDataModule(ByteTokenizer())
    side = contracts.random_batch()
    batch = Batch(side.token_ids, side.lengths, side)
    for kind, is_asynchronous in (("cuda", True), ("mps", False)):
        seen.clear()
        moved = data.transfer_batch_to_device(batch, torch.device(kind), 0)
        assert seen == [(kind, is_asynchronous)] * 4
        assert moved._num_targets == batch.num_targets  # counted before it went


def test_draws_are_copied_without_waiting() -> None:
    drawn = torch.zeros(3, dtype=torch.float64)
    with Copies() as copies:
        from seqae.batch import to_device_of

        found = to_device_of(torch.empty(2, device="meta"), drawn)
    assert found.device.type == "meta"
    assert copies.waited == [False]


@pytest.mark.parametrize(
    ("device", "option", "expected"),
    [("cuda", True, True), ("cuda", False, False), ("cpu", True, False)],
)
def test_memory_is_pinned_for_a_gpu(device: str, option: bool, expected: bool) -> None:
    class Strategy:
        root_device = torch.device(device)

    class Stub:
        strategy = Strategy()

    data = TextDataModule(ByteTokenizer(), pin_memory=option)
    data.trainer = Stub()  # type: ignore[assignment]
    assert data._pins_memory == expected
