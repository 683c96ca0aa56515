"""Fully sharded training (FSDP2): each process holds a share of weights, gradients, AdamW's state.

The parts of the model are called by many methods, and `fully_shard` gathers the weights of a module
when its `forward` is called. So what is sharded is one module around model and objective, whose
`forward` is a training step; in it all weights are there, as if nothing were sharded. Outside of it
they are not: what reads the model between the steps gets a copy, see whole.py.

Zhao et al. 2023, arXiv:2304.11277; the idea of sharding is that of ZeRO (Rajbhandari et al. 2020,
arXiv:1910.02054).
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

from lightning.pytorch.strategies import ModelParallelStrategy
from torch import Generator, Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor

from seqae.batch import Batch
from seqae.model.attention import TransformerBlock
from seqae.model.autoencoder import SequenceAutoencoder
from seqae.objectives.objective import Objective
from seqae.objectives.variational import Variational
from seqae.training.shards import check_shards


class ShardedStrategy(ModelParallelStrategy):
    """Shares out over all processes what a training keeps of each weight.

    Args:
        save_distributed_checkpoint: a checkpoint is a folder with a file of each process; otherwise
            one file, which the first process gathers in its main memory.
        process_group_backend: by default gloo on CPUs, nccl on GPUs.
        timeout_seconds: how long a process waits for the others.
    """

    def __init__(
        self,
        save_distributed_checkpoint: bool = True,
        process_group_backend: str | None = None,
        timeout_seconds: float = 1800.0,
    ) -> None:
        super().__init__(
            data_parallel_size=1,  # as many as there are, once that is known
            tensor_parallel_size=1,
            save_distributed_checkpoint=save_distributed_checkpoint,
            process_group_backend=process_group_backend,
            timeout=timedelta(seconds=timeout_seconds),
        )

    def setup_environment(self) -> None:
        """Make the mesh of all processes."""
        self._data_parallel_size = self.num_nodes * self.num_processes
        super().setup_environment()

    def load_checkpoint(
        self, checkpoint_path: str | Path, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Read a checkpoint, sharded over any number of processes or whole, as plain data only."""
        if Path(checkpoint_path).is_dir():
            check_shards(Path(checkpoint_path))
        found: dict[str, Any] = super().load_checkpoint(checkpoint_path, weights_only=True)
        return found


class ShardedStep(nn.Module):
    """The objective of a model, as the one module whose weights are shared out.

    The blocks of a Transformer are groups of their own, gathered one after the other; all other
    weights are one group, which stays whole from the forward pass to the end of the backward pass.

    Args:
        autoencoder: built; its weights become DTensors.
        objective: the same.
        mesh: of the processes that share them.
    """

    def __init__(
        self, autoencoder: SequenceAutoencoder, objective: Objective, mesh: DeviceMesh
    ) -> None:
        super().__init__()
        self.autoencoder, self.objective = autoencoder, objective
        for part in autoencoder.modules():
            if isinstance(part, TransformerBlock):
                fully_shard(part, mesh=mesh)
        fully_shard(self, mesh=mesh)

    def forward(self, batch: Batch, step: int, generator: Generator) -> dict[str, Tensor]:
        """What the objective gives for a batch."""
        values: dict[str, Tensor] = self.objective(self.autoencoder, batch, step, generator)
        return values


def check_shardable(objective: Objective) -> None:
    """Refuse what draws weights anew in the middle of a training.

    Raises:
        ValueError: in one line, with the way out.
    """
    if isinstance(objective, Variational) and objective.pretraining_steps:
        raise ValueError(
            "`model.objective.pretraining_steps` must be 0 where the weights are sharded, but it "
            f"is {objective.pretraining_steps:,} instead. Train with `trainer.strategy: ddp`."
        )


def local(weight: Tensor) -> Tensor:
    """The share of a weight that this process holds; all of one that is not sharded."""
    return weight.to_local() if isinstance(weight, DTensor) else weight
