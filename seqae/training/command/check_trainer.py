"""Check options of Lightning's Trainer that mean nothing here, or something else."""

from __future__ import annotations

import itertools
from typing import Any

import torch
from lightning.fabric.accelerators.cuda import num_cuda_devices

from seqae.component import check_choice, check_range
from seqae.data.config import CorpusConfig
from seqae.training.distributed.fsdp import check_shards_precision
from seqae.training.distributed.launchers import check_processes
from seqae.training.optimization.precision import PRECISIONS


def check_trainer(options: Any) -> None:
    """Refuse what Lightning accepts, but what means nothing, or something else, here.

    Args:
        options: those of the Trainer.
    """
    precision, strategy = str(options.precision), options.strategy
    is_none = num_cuda_devices() == 0 and not torch.backends.mps.is_available()
    if options.accelerator in ("gpu", "cuda") and is_none:
        raise ValueError(
            f"`trainer.accelerator` must be a device of this machine, but it is "
            f"{options.accelerator} instead, and torch finds no GPU. Leave out `-c overlays/gpu`, "
            f"or add `--accelerator cpu --precision 32`; `nvidia-smi` shows whether there is one."
        )
    check_choice("trainer.precision", precision, PRECISIONS)
    check_shards_precision(precision, str(getattr(strategy, "class_path", strategy)))
    check_processes(options.accelerator, options.devices)
    check_range("trainer.accumulate_grad_batches", options.accumulate_grad_batches, 1, 10**9)
    for name in ("val_check_interval", "limit_train_batches"):
        # No number: a time between validations, which Lightning checks.
        if isinstance(options[name], int | float) and options[name] <= 0:
            raise ValueError(
                f"`trainer.{name}` must be above 0, but it is {options[name]} instead. Leave it "
                f"out, or give batches (10) or a share of an epoch (0.5)."
            )
    if options.logger is True:
        raise ValueError(
            "`trainer.logger` must be a logger's class or false, but it is true instead. "
            "metrics.jsonl is always written; `-c overlays/wandb` adds W&B."
        )


def check_sources(trainer: Any, data: CorpusConfig) -> None:
    """Refuse text that can be read only once if several processes must read it.

    Args:
        trainer: of Lightning.
        data: names the text.

    Raises:
        ValueError: naming the source.
    """
    if trainer.world_size == 1 or trainer.local_rank != 0:
        return
    for source in itertools.chain(*data.open_sources().values()):
        if not source.can_reread:
            raise ValueError(
                f"`{source.keys.source}` must be files where {trainer.world_size} processes read "
                f"it, but {source.name} can be read only once. Save it to a file and name that."
            )
