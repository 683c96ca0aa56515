"""What reads or sets private parts of Lightning: each in one function, each with a test.

tests/test_lightning_internals.py fails when an upgrade moves what a function here relies on.
"""

from __future__ import annotations

from typing import Any

from lightning.pytorch import Trainer


def forget_train_loader(trainer: Trainer) -> None:
    """Have Lightning ask for another training loader.

    A sharded training makes its optimizer before it reads the checkpoint, and for that asks for the
    number of batches. The loader that it got then begins at the beginning of the epoch.
    """
    loop: Any = trainer.fit_loop
    loop._combined_loader = None


def set_loop_progress(trainer: Trainer, epoch: int, steps: int) -> None:
    """Start the training loops within an epoch.

    Otherwise they take an interrupted epoch for a finished one, and with `max_steps` they count an
    epoch twice that had ended when it was saved (Lightning 2.6).

    Args:
        trainer: at the start of its training.
        epoch: number of the epoch, from 0.
        steps: batches that were trained in it.
    """
    is_within = steps > 0
    loop: Any = trainer.fit_loop
    for count in (loop.epoch_progress.total, loop.epoch_progress.current):
        count.ready = count.started = epoch + is_within
        count.processed = count.completed = epoch
    loop.restarting = is_within
    loop.epoch_loop.restarting = is_within  # with `max_steps`, `loop` takes no False
    loop.update_restart_stage()
    loop._last_train_dl_reload_epoch = epoch
