"""Every private part of Lightning and torch that this package uses, one function for each.

No library promises these names, so an upgrade may move them; tests/test_lightning_internals.py then
fails before a training does. The private parts of jsonargparse are in parser.py, those of
lightning_utilities in lean_torchmetrics.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from subprocess import Popen
from typing import Any

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.strategies import ModelParallelStrategy
from lightning.pytorch.strategies.launchers import _SubprocessScriptLauncher
from torch.distributed.checkpoint._nested_dict import unflatten_state_dict
from torch.utils._pytree import tree_map


def multiplies_bfloat16() -> bool:
    """Say whether this x86 processor has instructions for products of bfloat16."""
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def multiplies_float16() -> bool:
    """Say whether this x86 processor has instructions for products of float16."""
    return bool(torch.cpu._is_amx_fp16_supported())


def leave_unscaling_to_scaler(optimizer: torch.optim.Optimizer) -> None:
    """Keep a fused optimizer from unscaling the gradients in its step.

    Lightning refuses to clip gradients if the optimizer would unscale them after the clipping.
    """
    optimizer._step_supports_amp_scaling = False  # type: ignore[attr-defined]


def map_tree(function: Callable[[Any], Any], tree: Any) -> Any:
    """Apply a function to every leaf of nested dictionaries, lists and tuples."""
    return tree_map(function, tree)


def unflatten(flat: dict[str, Any], paths: Any) -> dict[str, Any]:
    """Rebuild a nested state from flat names, with the paths that a sharded checkpoint recorded."""
    nested: dict[str, Any] = unflatten_state_dict(flat, paths)
    return nested


def replace_results_table(
    trainer: Trainer, show: Callable[[Sequence[Mapping[str, Any]], str], None]
) -> None:
    """Have Lightning show the results of `validate` and `test` with another function.

    Args:
        trainer: it calls the function on its first process, unless `verbose` is false.
        show: takes the metrics of each loader by log key, and the stage.
    """
    loops: list[Any] = [trainer.validate_loop, trainer.test_loop]
    for loop in loops:
        loop._print_results = show


def child_processes(trainer: Trainer) -> list[Popen[bytes]]:
    """List the processes of this training that Lightning started from this one, by local rank."""
    launcher = trainer.strategy.launcher
    return list(launcher.procs) if isinstance(launcher, _SubprocessScriptLauncher) else []


def is_restoring(trainer: Trainer) -> bool:
    """Say whether the trainer has read a checkpoint and not yet restored all of it."""
    return bool(trainer._checkpoint_connector._loaded_checkpoint)


def share_one_model(strategy: ModelParallelStrategy) -> None:
    """Let all processes shard one model; Lightning would keep a copy of it on each host.

    Call this before the strategy sets up its environment.
    """
    strategy._data_parallel_size = strategy.num_nodes * strategy.num_processes
    strategy._tensor_parallel_size = 1


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


def set_max_steps(trainer: Trainer, max_steps: int) -> None:
    """Change the last optimizer step of a training that has begun."""
    loop: Any = trainer.fit_loop
    loop.epoch_loop.max_steps = max_steps


def rewind_stepped_batches(fit_loop: dict[str, Any], batches: int) -> None:
    """Count fewer batches as stepped, in the state of the training loop that a checkpoint holds."""
    fit_loop["epoch_loop.state_dict"]["_batches_that_stepped"] -= batches


def validate_now(trainer: Trainer) -> None:
    """Validate in the middle of `fit`, as the training loop does after some of its steps."""
    if not trainer.enable_validation:
        return
    connector: Any = trainer._logger_connector
    first_iteration = connector._first_loop_iter
    loop: Any = trainer.fit_loop.epoch_loop
    trainer.validating = True
    loop.val_loop.run()
    trainer.training = True
    connector._first_loop_iter = first_iteration
