"""Sharding with FSDP2: each rank keeps a part of every weight, and gathers whole ones when needed.

A training step is one call of one module, so that its weights are gathered before the call and
their gradients scattered after it, whichever methods of the model the objective calls. Everything
else (validation, generation, the bundle) reads a plain copy with all weights: under FSDP, a method
that one rank calls alone, or more often than another does, waits for the others forever.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from datetime import timedelta
from pathlib import Path
from typing import Any, final

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.strategies import (
    DeepSpeedStrategy,
    FSDPStrategy,
    ModelParallelStrategy,
    Strategy,
)
from torch import Generator, Tensor, nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_optimizer_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from torch.distributed.tensor.experimental import implicit_replication
from torch.optim import Optimizer
from typing_extensions import override

from seqae.batch import Batch
from seqae.model.autoencoder import SequenceAutoencoder
from seqae.objectives.objective import Objective
from seqae.training.checkpoints.checkpoint_io import SafeCheckpointIO
from seqae.training.checkpoints.integrity import damaged_checkpoint, is_intact
from seqae.training.checkpoints.plain_data import check_state
from seqae.training.checkpoints.sharded import read_shards, read_trainer_state, write_shards
from seqae.training.lightning_internals import share_one_model


@final
class LossModule(nn.Module):
    """A model and its objective as one module, whose call is all of a step that reads weights.

    Args:
        autoencoder: the model.
        objective: may have weights of its own.
    """

    def __init__(self, autoencoder: SequenceAutoencoder, objective: Objective) -> None:
        super().__init__()
        self.autoencoder, self.objective = autoencoder, objective

    @override
    def forward(self, batch: Batch, step: int, generator: Generator) -> dict[str, Tensor]:
        """Compute the objective on a batch; see Objective.forward."""
        values: dict[str, Tensor] = self.objective(self.autoencoder, batch, step, generator)
        return values


class TrainedModel:
    """The module that training steps call, and the weights that everything else reads.

    These are the same module, unless the weights are sharded or not in float32: then everything
    else reads a copy of them.

    Args:
        loss_module: what trains.
    """

    def __init__(self, loss_module: LossModule) -> None:
        self.loss_module = loss_module
        self._copy: LossModule | None = None

    def configure(self, trainer: Trainer) -> None:
        """Shard the weights if the strategy says so; call this when the model has been built."""
        strategy = trainer.strategy
        if isinstance(strategy, ShardedStrategy):
            # Lightning rounds the weights of other strategies' models, later.
            trainer.precision_plugin.convert_module(self.loss_module)
            shard(self.loss_module, strategy.mesh, strategy.root_device)

    @property
    def unsharded(self) -> LossModule:
        """The module with all weights in float32, as they were when `copy_weights` ran."""
        if not self._is_copied:
            return self.loss_module
        assert self._copy is not None, "`copy_weights` must run before"
        return self._copy

    def copy_weights(self) -> None:
        """Bring `unsharded` up to date; all ranks must call this."""
        self.forget_copy()  # there is no room for two
        if self._is_copied:
            self._copy = unsharded_copy(self.loss_module)

    def forget_copy(self) -> None:
        """Free the memory of a copy that is about to be outdated."""
        self._copy = None

    @property
    def _is_copied(self) -> bool:
        weights = self.loss_module.autoencoder.parameters()
        return is_sharded(self.loss_module) or next(weights).dtype != torch.float32


def shard(module: LossModule, mesh: DeviceMesh, device: torch.device) -> None:
    """Shard a module in place; all ranks start from the weights of rank 0.

    The layers of a stack are gathered one by one, when they run. The rest is gathered for the whole
    step, since embeddings are used at both ends of the model.

    Args:
        module: built, the same on all ranks except for the values of the weights.
        mesh: the ranks, in one dimension.
        device: of this rank.
    """
    module.to(device)
    for weight in module.parameters():
        torch.distributed.broadcast(weight.data, src=0)
    for layer in _layers(module):
        fully_shard(layer, mesh=mesh)
    fully_shard(module, mesh=mesh)
    module.register_forward_pre_hook(_share_buffers)


def unsharded_copy(module: LossModule) -> LossModule:
    """Copy all weights to a plain module, in float32 and evaluation mode; all ranks must call this.

    The copy takes as much memory as the weights, as a training step does when it gathers them.
    """
    model = module.autoencoder
    assert model.vocabulary is not None
    with torch.device("meta"):
        autoencoder = SequenceAutoencoder.from_config(model.config())
        autoencoder.build(model.vocabulary, model.max_length)
        objective = Objective.from_config(module.objective.config())
        objective.build(autoencoder)
    copy = LossModule(autoencoder, objective)
    state = get_model_state_dict(module, options=StateDictOptions(full_state_dict=True))
    copy.load_state_dict(state, assign=True)
    return copy.float().eval()


def is_sharded(module: nn.Module) -> bool:
    """Say whether any weight of a module is sharded."""
    return any(isinstance(weight, DTensor) for weight in module.parameters())


def local(weight: Tensor) -> Tensor:
    """Return this rank's part of a weight, or the whole weight if it is not sharded, detached."""
    weight = weight.detach()
    return weight.to_local() if isinstance(weight, DTensor) else weight


def drawing_weights() -> AbstractContextManager[None]:
    """Allow copying plain tensors, the same on all ranks, into sharded weights."""
    return implicit_replication()


def _share_buffers(module: nn.Module, _: object) -> None:
    """Copy the moving averages of rank 0 to all ranks before a step, as DDP does.

    Buffers are not sharded, and a checkpoint holds one copy of each.
    """
    for buffer in module.buffers():
        torch.distributed.broadcast(buffer, src=0)


def _layers(module: nn.Module) -> Iterator[nn.Module]:
    """Yield the layers of all stacks, inner ones before outer ones, as fully_shard requires."""
    for part in reversed([*module.modules()]):
        if isinstance(part, nn.ModuleList):
            yield from (layer for layer in part if not isinstance(layer, nn.ModuleList))


class ShardedStrategy(ModelParallelStrategy):
    """Shard one model over all processes: each keeps a part of every weight (FSDP2).

    Args:
        save_distributed_checkpoint: save a folder to which each process writes its part, and that
            any number of processes can read; false assembles one file on the first process.
        timeout_minutes: how long processes wait for one another before they give up.
    """

    def __init__(
        self, save_distributed_checkpoint: bool = True, timeout_minutes: float = 30.0
    ) -> None:
        super().__init__(
            save_distributed_checkpoint=save_distributed_checkpoint,
            timeout=timedelta(minutes=timeout_minutes),
        )
        self.saves_shards = save_distributed_checkpoint
        self.checkpoint_io = SafeCheckpointIO()
        self._shards: Path | None = None  # the folder to read the optimizers' state from

    @property
    @override
    def restore_checkpoint_after_setup(self) -> bool:
        """Restore before setup, as other strategies do: setup opens the data and counts steps."""
        return False

    @property
    @override
    def lightning_restore_optimizer(self) -> bool:
        """Have Lightning call `load_optimizer_state_dict` when the optimizers exist."""
        return True

    @property
    def mesh(self) -> DeviceMesh:
        """All ranks, in one dimension."""
        return self.device_mesh["data_parallel"]

    @override
    def setup_environment(self) -> None:
        """Shard over all processes, whatever their number."""
        share_one_model(self)
        super().setup_environment()

    @override
    def save_checkpoint(
        self, checkpoint: dict[str, Any], filepath: str | Path, storage_options: Any | None = None
    ) -> None:
        """Save, so that a complete checkpoint exists at every moment; all ranks must call this."""
        if self.saves_shards:
            write_shards(checkpoint, Path(self.broadcast(filepath)))
        else:
            super().save_checkpoint(checkpoint, filepath, storage_options)

    @override
    def load_checkpoint(
        self, checkpoint_path: str | Path, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Read a checkpoint of any strategy and number of processes; all ranks must call this."""
        path = Path(self.broadcast(checkpoint_path))
        self._shards = path if path.is_dir() else None
        if self._shards is None:
            return self.checkpoint_io.load_checkpoint(path)
        # Rank 0 reads every file for this check.
        if not self.broadcast(not self.is_global_zero or is_intact(path)):
            raise damaged_checkpoint(path)
        assert self.model is not None
        state = {"state_dict": get_model_state_dict(self.model)}
        read_shards(state, path)
        trainer_state = read_trainer_state(path)
        check_state(path, trainer_state)
        return {**trainer_state, **state, "optimizer_states": []}  # no optimizer yet

    @override
    def load_model_state_dict(self, checkpoint: Mapping[str, Any], strict: bool = True) -> None:
        """Load this rank's part of the weights."""
        assert self.model is not None
        options = StateDictOptions(full_state_dict=self._shards is None, strict=strict)
        set_model_state_dict(self.model, checkpoint["state_dict"], options=options)

    @override
    def load_optimizer_state_dict(self, checkpoint: Mapping[str, Any]) -> None:
        """Load this rank's part of the optimizers' state."""
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
    """Key an optimizer's saved state by the names of the weights, which torch numbers.

    torch numbers the weights in the order of the optimizer's groups, which may not be the model's.

    Args:
        state: an optimizer's state dict.
        optimizer: has the same groups.
        weights: the model's weights and their names.
    """
    name_of_weight = {weight: name for name, weight in weights}
    names = [name_of_weight[w] for group in optimizer.param_groups for w in group["params"]]
    numbers = [number for group in state["param_groups"] for number in group["params"]]
    name_of = dict(zip(numbers, names, strict=True))
    groups = [
        {**group, "params": [name_of[number] for number in group["params"]]}
        for group in state["param_groups"]
    ]
    values = {name_of[number]: value for number, value in state["state"].items()}
    return {"state": values, "param_groups": groups}


def check_shards_precision(precision: str, strategy: str) -> None:
    """Refuse a precision in which shards cannot be trained.

    Args:
        precision: Lightning's name for the precision.
        strategy: the strategy's class path, or Lightning's name for it.

    Raises:
        ValueError: if the precision is 16-mixed and the strategy shards.
    """
    if precision == "16-mixed" and strategy.rpartition(".")[2] == ShardedStrategy.__name__:
        raise ValueError(
            "`trainer.precision` must not be 16-mixed under ShardedStrategy, but it is "
            "16-mixed instead: Lightning does not scale the loss of shards. Choose bf16-mixed."
        )


def check_strategy(strategy: Strategy, is_asynchronous: bool = False) -> None:
    """Refuse a strategy that shards the model in a way that this package does not support.

    Args:
        strategy: of the trainer.
        is_asynchronous: whether checkpoints are written while training continues.

    Raises:
        ValueError: if the strategy shards without ShardedStrategy, or asynchronous checkpoints are
            asked for and ranks write their own shards.
    """
    others = (FSDPStrategy, DeepSpeedStrategy, ModelParallelStrategy)
    if isinstance(strategy, others) and not isinstance(strategy, ShardedStrategy):
        raise ValueError(
            f"`trainer.strategy` must be auto, ddp or ShardedStrategy, but it is "
            f"{type(strategy).__name__} instead. Write `-c overlays/fsdp`."
        )
    if is_asynchronous and isinstance(strategy, ShardedStrategy) and strategy.saves_shards:
        raise ValueError(
            "`checkpoint.asynchronous` must be false for sharded checkpoints, which all processes "
            "write together, but it is true instead. Leave it out, or set "
            "`trainer.strategy.save_distributed_checkpoint: false`."
        )
