"""Sharding: each process keeps a part of every weight (FSDP2), and gathers full ones at need.

A training step is one call of one module, AutoencoderModule. FSDP gathers the weights before it and
scatters their gradients after it, whichever methods of the model the objective calls. Everything
else (validation, generation, the bundle) reads a plain copy with all weights: under FSDP a method
that one process calls alone, or more often than another does, waits for the others forever.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, final

import torch
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
from torch.optim import Optimizer
from typing_extensions import override

from seqae.batch import Batch
from seqae.lightning_internals import share_one_model
from seqae.model.autoencoder import SequenceAutoencoder
from seqae.objectives.objective import Objective
from seqae.training.checkpoints.checkpoint_io import SafeCheckpointIO
from seqae.training.checkpoints.integrity import damaged_checkpoint, is_intact
from seqae.training.checkpoints.sharded import read_rest, read_shards, write_shards


@final
class LossModule(nn.Module):
    """A model and its objective, named as AutoencoderModule names them.

    Args:
        autoencoder: the model.
        objective: may have weights of its own.
    """

    def __init__(self, autoencoder: SequenceAutoencoder, objective: Objective) -> None:
        super().__init__()
        self.autoencoder, self.objective = autoencoder, objective

    @override
    def forward(self, batch: Batch, step: int, generator: Generator) -> dict[str, Tensor]:
        values: dict[str, Tensor] = self.objective(self.autoencoder, batch, step, generator)
        return values


def shard(module: nn.Module, mesh: DeviceMesh, device: torch.device) -> None:
    """Leave to each process its part of every weight; all begin with the first one's numbers.

    The layers of a stack are gathered one by one, when they run. The rest is gathered for the whole
    step, since it begins and ends with embeddings.

    Args:
        module: built, the same on all processes except for the numbers; a step must call it.
        mesh: the processes, in one dimension.
        device: of this process.
    """
    module.to(device)
    for weight in module.parameters():
        torch.distributed.broadcast(weight.data, src=0)
    for layer in _layers(module):
        fully_shard(layer, mesh=mesh)
    fully_shard(module, mesh=mesh)
    module.register_forward_pre_hook(_share_buffers)


def unshard(
    module: nn.Module, autoencoder: SequenceAutoencoder, objective: Objective
) -> LossModule:
    """Copy all weights, in float32 and evaluation mode; all processes must call this.

    The copy needs as much memory as the weights alone, which a training step gathers, too.

    Args:
        module: what was sharded.
        autoencoder: its model.
        objective: its objective.
    """
    assert autoencoder.vocabulary is not None
    with torch.device("meta"):
        model = SequenceAutoencoder.from_config(autoencoder.config())
        model.build(autoencoder.vocabulary, autoencoder.max_length)
        copied = LossModule(model, Objective.from_config(objective.config()))
        copied.objective.build(model)
    state = get_model_state_dict(module, options=StateDictOptions(full_state_dict=True))
    copied.load_state_dict(state, assign=True)
    return copied.float().eval()


def is_sharded(module: nn.Module) -> bool:
    """Say whether any weight of a module is sharded."""
    return any(isinstance(weight, DTensor) for weight in module.parameters())


def local(weight: Tensor) -> Tensor:
    """Give this process's part of a weight, all of it if it is not sharded; without gradient."""
    weight = weight.detach()
    return weight.to_local() if isinstance(weight, DTensor) else weight


def _share_buffers(module: nn.Module, _: object) -> None:
    """Give all processes the first one's moving averages before a step, as DDP does.

    They are not sharded, and a checkpoint holds one of each.
    """
    for buffer in module.buffers():
        torch.distributed.broadcast(buffer, src=0)


def _layers(module: nn.Module) -> Iterator[nn.Module]:
    """Give the layers of all stacks, inner ones first, as fully_shard requires."""
    for part in reversed([*module.modules()]):
        if isinstance(part, nn.ModuleList):
            yield from (layer for layer in part if not isinstance(layer, nn.ModuleList))


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
        self.saves_shards = save_distributed_checkpoint
        self.checkpoint_io = SafeCheckpointIO()
        self._shards: Path | None = None  # where the state of the optimizers is read from

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
        share_one_model(self)
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
        if not self.broadcast(not self.is_global_zero or is_intact(path)):
            raise damaged_checkpoint(path)
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
