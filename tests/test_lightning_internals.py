"""Private parts of Lightning that this package relies on: an upgrade that moves them fails here."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from torch.utils.data import DataLoader

from seqae.training.lightning_internals import forget_train_loader, set_loop_progress

ADVICE = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")
QUIET: dict[str, Any] = dict.fromkeys(
    ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False
)
BATCHES = 5


class Counted(LightningModule):
    """Five batches an epoch: writes down (epoch, batch) of each, and counts loaders."""

    def __init__(self, start: tuple[int, int] | None = None) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.start, self.seen, self.loaders = start, [], 0  # type: ignore[var-annotated]

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1)

    def train_dataloader(self) -> Any:
        self.loaders += 1
        return DataLoader(list(torch.arange(float(BATCHES))), batch_size=1)

    def on_train_start(self) -> None:
        if self.start is not None:
            set_loop_progress(self.trainer, *self.start)

    def training_step(self, batch: torch.Tensor, batch_idx: int) -> torch.Tensor:
        self.seen.append((self.trainer.current_epoch, batch_idx))
        return self.weight.sum()


def train(module: Counted, **options: Any) -> None:
    Trainer(accelerator="cpu", devices=1, **QUIET, **options).fit(module)


@ADVICE
@pytest.mark.parametrize(
    ("start", "epochs"), [((1, 0), [1] * 5 + [2] * 5), ((2, 0), [2] * 5), ((0, 0), None)]
)
def test_loops_start_at_an_epoch(start: tuple[int, int], epochs: list[int] | None) -> None:
    module = Counted(start)
    train(module, max_epochs=3)
    expected = [0] * 5 + [1] * 5 + [2] * 5 if epochs is None else epochs
    assert [epoch for epoch, _ in module.seen] == expected


@ADVICE
def test_loops_start_within_an_epoch() -> None:
    loop: Any = Trainer(accelerator="cpu", devices=1, **QUIET).fit_loop
    assert {"_combined_loader", "_last_train_dl_reload_epoch", "epoch_loop"} <= vars(loop).keys()
    set_loop_progress(loop.trainer, 1, 3)
    assert (loop.epoch_progress.current.ready, loop.epoch_progress.current.completed) == (2, 1)
    assert loop.restarting
    assert loop.epoch_loop.restarting
    assert loop.restarted_mid_epoch  # what `update_restart_stage` finds


@ADVICE
def test_a_forgotten_loader_is_asked_for_again() -> None:
    class Forgetful(Counted):
        def on_fit_start(self) -> None:
            assert self.trainer.estimated_stepping_batches  # asks for the loader before the loops
            assert self.loaders == 1
            forget_train_loader(self.trainer)

    module = Forgetful()
    train(module, max_epochs=1)
    assert module.loaders == 2
    assert len(module.seen) == BATCHES
