"""RandomState: keep the random number generators of every rank in the checkpoint."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch
import torch.distributed
from lightning.pytorch import Callback, LightningModule, Trainer
from typing_extensions import override


class RandomState(Callback):
    """Save the state of every rank's random number generators, and restore it on resume.

    Lightning's checkpoints hold none, so dropout would differ after a resume.
    """

    def __init__(self) -> None:
        self._restored: list[dict[str, Any]] = []

    @override
    def state_dict(self) -> dict[str, Any]:
        """Gather the states of all ranks; every rank must call this, as Lightning does."""
        numpy = np.random.get_state()
        state = {
            "torch": torch.get_rng_state(),
            "python": random.getstate(),
            "numpy": [part.tolist() if isinstance(part, np.ndarray) else part for part in numpy],
            "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        }
        states: list[Any] = [state]
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            states = [None] * torch.distributed.get_world_size()
            torch.distributed.all_gather_object(states, state)
        return {"ranks": states}

    @override
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Keep the states until the first step: setup draws numbers before it.

        Generators that nothing uses take them first, so that a damaged state is found here.
        """
        for state in state_dict["ranks"]:
            torch.Generator().set_state(state["torch"])
            random.Random().setstate(_as_tuple(state["python"]))
            np.random.RandomState().set_state(_numpy_state(state))
        self._restored = state_dict["ranks"]

    @override
    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Restore this rank's state, once and only if the number of ranks is the same."""
        if len(self._restored) == trainer.world_size:
            state = self._restored[trainer.global_rank]
            torch.set_rng_state(state["torch"])
            random.setstate(_as_tuple(state["python"]))
            np.random.set_state(_numpy_state(state))
            if state["cuda"] and torch.cuda.is_available():
                torch.cuda.set_rng_state_all(state["cuda"])
        self._restored = []


def _numpy_state(state: dict[str, Any]) -> tuple[Any, ...]:
    name, key, *rest = state["numpy"]
    return name, np.asarray(key, np.uint32), *rest


def _as_tuple(value: Any) -> Any:
    return tuple(_as_tuple(item) for item in value) if isinstance(value, (list, tuple)) else value
