"""SafeCheckpointIO: how Lightning's strategies write, read and remove a checkpoint."""

from __future__ import annotations

import copy
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, BinaryIO, cast

import torch
from lightning.fabric.plugins import CheckpointIO
from typing_extensions import override

from seqae.files import reporting
from seqae.training.checkpoints.integrity import (
    check_intact,
    is_intact,
    is_sealed,
    write_hashed,
)
from seqae.training.checkpoints.plain_data import check_state, read_plain
from seqae.training.checkpoints.sharded import read_unsharded, remove_checkpoint
from seqae.training.lightning_internals import map_tree


class SafeCheckpointIO(CheckpointIO):
    """Write each checkpoint beside its place, sync it and rename it; read intact ones only.

    Lightning's AsyncCheckpointIO (2.6) around this class was tried, and is worse in four ways: it
    raises an error again at every later save, even when that one succeeds; it cannot wait without
    closing its thread; it queues any number of copies when the disk is slow; and it copies tensors
    on their own device and other state not at all, so that training changes what is saved.

    Args:
        is_asynchronous: write in a thread while training continues, from a copy in main memory.
            An error there is raised at the next save, or at the end. Training always waits for
            shards, which this class does not write.

    Attributes:
        on_written: called with the path, in that thread, when a checkpoint is in its place.
    """

    def __init__(self, is_asynchronous: bool = False) -> None:
        self.on_written: Callable[[Path], None] | None = None
        self._pool = ThreadPoolExecutor(1, "checkpoint") if is_asynchronous else None
        self._pending: Future[None] | None = None

    @override
    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None
    ) -> None:
        """Write a checkpoint, or start to; one at a time."""
        self.wait()
        if self._pool is None:
            self._write(checkpoint, Path(path))
        else:
            self._pending = self._pool.submit(self._write, _copy_to_cpu(checkpoint), Path(path))

    @override
    def load_checkpoint(
        self, path: str | Path, map_location: Any = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Read a checkpoint from a file or from shards: plain data and tensors, no code.

        Raises:
            ValueError: if it is damaged, or holds anything else.
        """
        path = Path(path)
        check_intact(path)
        state = read_unsharded(path) if path.is_dir() else read_plain(path)
        check_state(path, state)
        return state

    @override
    def remove_checkpoint(self, path: str | Path) -> None:
        """Remove a checkpoint, and nothing else.

        Lightning's ModelCheckpoint takes the names of what it removes from the checkpoint that is
        resumed, which may be a stranger's.
        """
        if is_sealed(Path(path)):
            remove_checkpoint(Path(path))

    def wait(self) -> None:
        """Wait for the checkpoint that is being written, and raise its error if it failed."""
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.result()

    @override
    def teardown(self) -> None:
        """Wait; the thread ends with the process."""
        self.wait()

    def _write(self, checkpoint: dict[str, Any], path: Path) -> None:
        with reporting(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            # Shards of the same step, left by a run that was resumed from an earlier one.
            if path.is_dir() and is_intact(path):
                remove_checkpoint(path)
        write_hashed(path, lambda file: torch.save(checkpoint, cast("BinaryIO", file)))
        if self.on_written is not None:
            self.on_written(path)


def _copy_to_cpu(checkpoint: dict[str, Any]) -> dict[str, Any]:
    """Copy a checkpoint into main memory, where training does not change it."""

    def copied(value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            return value.detach().to("cpu", copy=True)
        return copy.deepcopy(value)

    result: dict[str, Any] = map_tree(copied, checkpoint)
    return result
