"""Sharding: each process keeps a part of every weight (FSDP2), and gathers whole ones at need.

A training step is one call of one module, so that the weights are gathered before it and their
gradients scattered behind it, whichever methods of the model the objective calls. Everything else
(validation, writing, the bundle) reads a plain copy with all weights: under FSDP a method that one
process calls alone, or more often than another does, waits for the others for ever.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import final

import torch
from torch import Generator, Tensor, nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from torch.distributed.tensor.experimental import implicit_replication

from seqae.batch import Batch
from seqae.model.autoencoder import SequenceAutoencoder
from seqae.objectives.objective import Objective


@final
class Trained(nn.Module):
    """A model and its objective, as one module whose call is all of a step that reads weights.

    Args:
        autoencoder: the model.
        objective: may have weights of its own.
    """

    def __init__(self, autoencoder: SequenceAutoencoder, objective: Objective) -> None:
        super().__init__()
        self.autoencoder, self.objective = autoencoder, objective

    def forward(self, batch: Batch, step: int, generator: Generator) -> dict[str, Tensor]:
        """What the objective makes of a batch; see Objective.forward."""
        values: dict[str, Tensor] = self.objective(self.autoencoder, batch, step, generator)
        return values


def shard(trained: Trained, mesh: DeviceMesh, device: torch.device) -> None:
    """Leave to each process its part of every weight; all begin with the first one's numbers.

    The layers of a stack are gathered one by one, when they run. The rest is gathered for the whole
    step, since embeddings stand at both ends of it.

    Args:
        trained: built, the same on all processes but for the numbers.
        mesh: the processes, in one dimension.
        device: of this process.
    """
    trained.to(device)
    for weight in trained.parameters():
        torch.distributed.broadcast(weight.data, src=0)
    for layer in _layers(trained):
        fully_shard(layer, mesh=mesh)
    fully_shard(trained, mesh=mesh)
    trained.register_forward_pre_hook(_share_buffers)


def whole(trained: Trained) -> Trained:
    """A plain copy with all weights, in float32 and evaluation mode; all processes must call this.

    It needs as much memory as the weights alone, which a training step gathers too.
    """
    model = trained.autoencoder
    assert model.vocabulary is not None
    with torch.device("meta"):
        copied = SequenceAutoencoder.from_config(model.config())
        copied.build(model.vocabulary, model.max_length)
        objective = Objective.from_config(trained.objective.config())
        objective.build(copied)
    found = Trained(copied, objective)
    state = get_model_state_dict(trained, options=StateDictOptions(full_state_dict=True))
    found.load_state_dict(state, assign=True)
    return found.float().eval()


def is_sharded(module: nn.Module) -> bool:
    """Whether any weight is."""
    return any(isinstance(weight, DTensor) for weight in module.parameters())


def local(weight: Tensor) -> Tensor:
    """This process's part of a weight, or all of it where it is not sharded; without gradient."""
    weight = weight.detach()
    return weight.to_local() if isinstance(weight, DTensor) else weight


def drawing_weights() -> AbstractContextManager[None]:
    """Where whole numbers, the same on all processes, are copied into sharded weights."""
    return implicit_replication()


def _share_buffers(trained: nn.Module, _: object) -> None:
    """Give all processes the first one's moving averages before a step, as DDP does.

    They are not sharded, and a checkpoint holds one of each.
    """
    for buffer in trained.buffers():
        torch.distributed.broadcast(buffer, src=0)


def _layers(module: nn.Module) -> Iterator[nn.Module]:
    """The layers of all stacks, what is within before what it is in, as fully_shard wants it."""
    for part in reversed([*module.modules()]):
        if isinstance(part, nn.ModuleList):
            yield from (layer for layer in part if not isinstance(layer, nn.ModuleList))
