"""A copy of a model for what looks at it between the steps: all weights, in float32, here.

A model that is trained sharded has none of its weights whole on a process, and one that is trained
in bfloat16 is not what its bundle will hold. What is measured and shared is this copy.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch.distributed.tensor import DTensor

from seqae.model.autoencoder import SequenceAutoencoder
from seqae.objectives.objective import Objective


class WholeCopy:
    """A copy of a model and its objective that no process needs the others for.

    Args:
        autoencoder: built; its weights may be sharded, or in half precision.
        objective: built for it.
    """

    def __init__(self, autoencoder: SequenceAutoencoder, objective: Objective) -> None:
        assert autoencoder.vocabulary is not None
        with torch.random.fork_rng(devices=[]), float32_by_default():
            # The numbers that are drawn here are written over.
            self.autoencoder = SequenceAutoencoder.from_config(autoencoder.config())
            self.autoencoder.build(autoencoder.vocabulary, autoencoder.max_length)
            self.objective = Objective.from_config(objective.config())
            self.objective.build(self.autoencoder)
        device = next(autoencoder.parameters()).device
        self._pairs = ((autoencoder, self.autoencoder), (objective, self.objective))
        for _, new in self._pairs:
            new.to(device).requires_grad_(False)

    @torch.no_grad()
    def update(self) -> None:
        """Bring it up to date; all processes must call this at the same time."""
        for old, new in self._pairs:
            for weight, whole in zip(old.parameters(), new.parameters(), strict=True):
                whole.copy_(weight.full_tensor() if isinstance(weight, DTensor) else weight)
            for buffer, copied in zip(old.buffers(), new.buffers(), strict=True):
                copied.copy_(buffer)
            new.train(old.training)


@contextmanager
def float32_by_default() -> Iterator[None]:
    """New tensors are float32, whatever the training's precision is."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    try:
        yield
    finally:
        torch.set_default_dtype(before)
