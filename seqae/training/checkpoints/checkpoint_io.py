"""SafeCheckpointIO: how Lightning's strategies write and read a checkpoint."""

from __future__ import annotations

import copy
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, BinaryIO, cast

import torch
from lightning.fabric.plugins import CheckpointIO

from seqae.files import reporting
from seqae.lightning_internals import map_tree
from seqae.training.checkpoints.integrity import check_intact, is_sealed, write_hashed
from seqae.training.checkpoints.sharded import read_whole, remove


class SafeCheckpointIO(CheckpointIO):
    """Writes each checkpoint beside its place and syncs it; reads none that is not whole.

    Args:
        is_asynchronous: write in a thread while the training goes on, from a copy in main memory.
            What goes wrong there is raised at the next save, or at the end. Shards are not written
            by this class, and always waited for.
        on_written: called with the path, in that thread, when a checkpoint is in its place.
    """

    def __init__(
        self, is_asynchronous: bool = False, on_written: Callable[[Path], None] | None = None
    ) -> None:
        self._pool = ThreadPoolExecutor(1, "checkpoint") if is_asynchronous else None
        self._on_written = on_written
        self._underway: Future[None] | None = None

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None
    ) -> None:
        """Write it, or begin to; one at a time."""
        self.wait()
        if self._pool is None:
            self._write(checkpoint, Path(path))
        else:
            self._underway = self._pool.submit(self._write, _copied(checkpoint), Path(path))

    def load_checkpoint(
        self, path: str | Path, map_location: Any = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Read a checkpoint, of a file or of shards: plain data and tensors, nothing that runs.

        Raises:
            ValueError: if it is damaged.
        """
        path = Path(path)
        check_intact(path)
        if path.is_dir():
            return read_whole(path)
        loaded: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        return loaded

    def remove_checkpoint(self, path: str | Path) -> None:
        """Remove a file, or the folder of a sharded one."""
        remove(Path(path))

    def wait(self) -> None:
        """Wait for what is being written, and raise what went wrong there."""
        underway, self._underway = self._underway, None
        if underway is not None:
            underway.result()

    def teardown(self) -> None:
        """Wait; the thread ends with the process."""
        self.wait()

    def _write(self, checkpoint: dict[str, Any], path: Path) -> None:
        with reporting(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            if is_sealed(path):  # shards of a run that has gone on from an earlier step
                remove(path)
        write_hashed(path, lambda file: torch.save(checkpoint, cast("BinaryIO", file)))
        if self._on_written is not None:
            self._on_written(path)


def _copied(checkpoint: dict[str, Any]) -> dict[str, Any]:
    """A copy in main memory that the training does not change."""

    def copied(value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            return value.detach().to("cpu", copy=True)
        return copy.deepcopy(value)

    found: dict[str, Any] = map_tree(copied, checkpoint)
    return found
