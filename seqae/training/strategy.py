"""ShardedStrategy: Lightning's ModelParallelStrategy for FSDP2, with checkpoints that are safe."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.strategies import (
    DeepSpeedStrategy,
    FSDPStrategy,
    ModelParallelStrategy,
    Strategy,
)
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_optimizer_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)
from torch.distributed.device_mesh import DeviceMesh
from torch.optim import Optimizer

from seqae.training.checkpoint_io import SafeCheckpointIO
from seqae.training.sharded_checkpoint import (
    damaged,
    is_undamaged,
    read_rest,
    read_shards,
    write_shards,
)


class ShardedStrategy(ModelParallelStrategy):
    """All processes share one model: each keeps a part of every weight (FSDP2).

    Args:
        save_distributed_checkpoint: each process saves its part, into a folder that any number of
            processes can read; false assembles one file on the first process.
        timeout_minutes: how long the processes wait for one another before they give up.
    """

    def __init__(
        self, save_distributed_checkpoint: bool = True, timeout_minutes: float = 30.0
    ) -> None:
        super().__init__(
            save_distributed_checkpoint=save_distributed_checkpoint,
            timeout=timedelta(minutes=timeout_minutes),
        )
        self.checkpoint_io = SafeCheckpointIO()
        self._shards: Path | None = None  # where the state of the optimizers is read from

    @property
    def saves_shards(self) -> bool:
        """Whether each process saves its part."""
        return self._save_distributed_checkpoint

    @property
    def restore_checkpoint_after_setup(self) -> bool:
        """Before it, as everywhere: the loop's steps are counted, and the data opened, in it."""
        return False

    @property
    def lightning_restore_optimizer(self) -> bool:
        """Ask `load_optimizer_state_dict`, when there are optimizers."""
        return True

    @property
    def mesh(self) -> DeviceMesh:
        """All processes, in one dimension."""
        return self.device_mesh["data_parallel"]

    def setup_environment(self) -> None:
        """Let all processes share the model, however many there are."""
        self._data_parallel_size = self.num_nodes * self.num_processes
        self._tensor_parallel_size = 1
        super().setup_environment()

    def save_checkpoint(
        self, checkpoint: dict[str, Any], filepath: str | Path, storage_options: Any | None = None
    ) -> None:
        """Save so that there is a whole checkpoint at every moment; all processes must call it."""
        if self.saves_shards:
            write_shards(checkpoint, Path(self.broadcast(filepath)))
        else:
            super().save_checkpoint(checkpoint, filepath, storage_options)

    def load_checkpoint(
        self, checkpoint_path: str | Path, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Read a checkpoint of any strategy and any number of processes; all must call it."""
        path = Path(self.broadcast(checkpoint_path))
        self._shards = path if path.is_dir() else None
        if self._shards is None:
            return self.checkpoint_io.load_checkpoint(path)
        # One process reads all of it for that.
        if not self.broadcast(not self.is_global_zero or is_undamaged(path)):
            raise damaged(path)
        assert self.model is not None
        state = {"state_dict": get_model_state_dict(self.model)}
        read_shards(state, path)
        return {**read_rest(path), **state, "optimizer_states": []}  # there is no optimizer yet

    def load_model_state_dict(self, checkpoint: Mapping[str, Any], strict: bool = True) -> None:
        """Take this process's part of the weights."""
        assert self.model is not None
        options = StateDictOptions(full_state_dict=self._shards is None, strict=strict)
        set_model_state_dict(self.model, checkpoint["state_dict"], options=options)

    def load_optimizer_state_dict(self, checkpoint: Mapping[str, Any]) -> None:
        """Take this process's part of the optimizers' state."""
        assert self.model is not None
        options = StateDictOptions(full_state_dict=self._shards is None)
        for index, optimizer in enumerate(self.optimizers):
            if self._shards is None:
                saved = checkpoint["optimizer_states"][index]
                state = by_name(saved, optimizer, self.model.named_parameters())
            else:
                name = f"optimizer_{index}"
                states = {name: get_optimizer_state_dict(self.model, optimizer)}
                read_shards(states, self._shards)
                state = states[name]
            set_optimizer_state_dict(self.model, optimizer, state, options=options)


def by_name(
    state: dict[str, Any], optimizer: Optimizer, weights: Iterable[tuple[str, torch.Tensor]]
) -> dict[str, Any]:
    """An optimizer's saved state by the names of the weights, where it has numbers.

    Numbers are given in the order of the optimizer's groups, which need not be the model's.
    """
    known = {weight: name for name, weight in weights}
    names = [known[weight] for group in optimizer.param_groups for weight in group["params"]]
    numbers = [number for group in state["param_groups"] for number in group["params"]]
    name_of = dict(zip(numbers, names, strict=True))
    groups = [
        {**group, "params": [name_of[number] for number in group["params"]]}
        for group in state["param_groups"]
    ]
    values = {name_of[number]: value for number, value in state["state"].items()}
    return {"state": values, "param_groups": groups}


def check_shards_precision(precision: str, strategy: str) -> None:
    """Refuse a precision that shards cannot be trained in.

    Args:
        precision: Lightning's name of it.
        strategy: the strategy's class, or Lightning's name of it.

    Raises:
        ValueError: in one line, with the way out.
    """
    if precision == "16-mixed" and strategy.rpartition(".")[2] == ShardedStrategy.__name__:
        raise ValueError(
            "`trainer.precision` must not be 16-mixed under ShardedStrategy, but it is "
            "16-mixed instead: Lightning does not scale the loss of shards. Choose bf16-mixed."
        )


def check_strategy(strategy: Strategy, is_asynchronous: bool = False) -> None:
    """Refuse what shards a model in a way that this package does not serve.

    Args:
        strategy: of the trainer.
        is_asynchronous: whether checkpoints are to be written while the training goes on.

    Raises:
        ValueError: in one line, with the way out.
    """
    others = (FSDPStrategy, DeepSpeedStrategy, ModelParallelStrategy)
    if isinstance(strategy, others) and not isinstance(strategy, ShardedStrategy):
        raise ValueError(
            f"`trainer.strategy` must be auto, ddp or ShardedStrategy, but it is "
            f"{type(strategy).__name__} instead. Write `-c configs/overlays/fsdp.yaml`."
        )
    if is_asynchronous and isinstance(strategy, ShardedStrategy) and strategy.saves_shards:
        raise ValueError(
            "`checkpoint.asynchronous` must be false for sharded checkpoints, which all processes "
            "write together, but it is true instead. Leave it out, or set "
            "`trainer.strategy.save_distributed_checkpoint: false`."
        )
