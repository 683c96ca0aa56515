"""Sharded checkpoints: a folder with one file per rank, renamed into place when all are complete.

torch.distributed.checkpoint writes `__RANK_0.distcp` and `.metadata`, which says where each part of
each weight is, so that any number of ranks can read them. The folder also holds `meta.pt`, the rest
of the training state, and `complete.json`, written last, with the hashes of the other files.

`.metadata` is a pickle, and torch unpickles it, which runs whatever code a stranger put there. Here
it is read with a list of the few classes that it may contain; the other files are read as plain
data and tensors (`weights_only`).
"""

from __future__ import annotations

import errno
import io
import json
import os
import pickle
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, TypeVar, cast

import torch
import torch.distributed
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.default_planner import DefaultLoadPlanner, DefaultSavePlanner
from torch.distributed.checkpoint.filesystem import FileSystemReader, FileSystemWriter
from torch.distributed.checkpoint.metadata import Metadata, StorageMeta, TensorStorageMetadata
from torch.distributed.checkpoint.planner import ReadItem
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save
from typing_extensions import override

from seqae.files import StorageError, cannot_write, sha256_of, sync_path
from seqae.training.checkpoints.integrity import SEAL, write_hashed
from seqae.training.checkpoints.plain_data import (
    CheckpointError,
    check_regular,
    read_plain,
    reporting_unreadable,
)
from seqae.training.lightning_internals import unflatten

TRAINER_STATE = "meta.pt"  # all but the weights and the optimizers' state; Lightning's name
METADATA = ".metadata"  # torch's name

# The names that a `.metadata` of torch 2.10 to 2.13 contains, apart from torch's dtypes.
_METADATA_MODULE = "torch.distributed.checkpoint.metadata"
ALLOWED = {
    (_METADATA_MODULE, "Metadata"),
    (_METADATA_MODULE, "MetadataIndex"),
    (_METADATA_MODULE, "StorageMeta"),
    (_METADATA_MODULE, "TensorStorageMetadata"),
    (_METADATA_MODULE, "BytesStorageMetadata"),
    (_METADATA_MODULE, "ChunkStorageMetadata"),
    (_METADATA_MODULE, "TensorProperties"),
    (_METADATA_MODULE, "_MEM_FORMAT_ENCODING"),
    ("torch.distributed.checkpoint.filesystem", "_StorageInfo"),
    ("torch.serialization", "_get_layout"),
    ("torch", "Size"),
    ("pathlib", "PosixPath"),
    ("pathlib._local", "PosixPath"),  # Python 3.13
    ("collections", "OrderedDict"),
}

T = TypeVar("T")


def write_shards(checkpoint: dict[str, Any], path: Path) -> None:
    """Write a training state, each rank its own part; all ranks must call this.

    Args:
        checkpoint: with sharded tensors in `state_dict` and `optimizer_states`.
        path: the folder, on a file system that all ranks share. It gets this name when all of its
            files are complete and on the disk.

    Raises:
        OSError: on all ranks, if any rank could not write.
    """
    unfinished = path.with_name(f".{path.name}.unfinished")
    rank = torch.distributed.get_rank()
    trainer_state = dict(checkpoint)
    sharded = {"state_dict": trainer_state.pop("state_dict")}
    for index, state in enumerate(trainer_state.pop("optimizer_states", [])):
        sharded[f"optimizer_{index}"] = state

    def make_folder() -> None:
        if rank == 0:
            remove_checkpoint(unfinished)
            unfinished.mkdir(parents=True)

    def write_own_shard() -> None:
        # Buffers that every rank has, such as moving averages, come from rank 0, as in a plain
        # checkpoint.
        planner = DefaultSavePlanner(dedup_save_to_lowest_rank=True)
        save(sharded, storage_writer=FileSystemWriter(unfinished), planner=planner)

    def hash_own_shard() -> dict[str, str]:
        return {file.name: _synced_hash(file) for file in unfinished.glob(f"__{rank}_*")}

    def seal_and_rename() -> None:
        if rank == 0:
            _seal(unfinished, trainer_state, hashes)
            remove_checkpoint(path)  # left by a run that was resumed from an earlier step
            os.replace(unfinished, path)
            sync_path(path.parent)

    _on_all_ranks(make_folder, path)
    _on_all_ranks(write_own_shard, path)
    hashes: dict[str, str] = {}
    for hashes_of_rank in _on_all_ranks(hash_own_shard, path):
        hashes |= hashes_of_rank
    _on_all_ranks(seal_and_rename, path)


def read_shards(state: dict[str, Any], folder: Path, is_alone: bool = False) -> None:
    """Read the parts that this rank needs into the tensors of `state`.

    Args:
        state: nested like the one that was written, with tensors that may be sharded differently.
        folder: a sharded checkpoint.
        is_alone: read on this rank only; otherwise all ranks must call this.

    Raises:
        ValueError: if the checkpoint is of another model.
    """
    try:
        with warnings.catch_warnings():
            # torch warns when one rank reads alone, but that is intended.
            warnings.filterwarnings("ignore", message="torch.distributed is disabled")
            load(
                state,
                storage_reader=PlainReader(folder),
                planner=PlainPlanner(),
                no_dist=is_alone,
            )
    except CheckpointException as error:
        failure, _ = next(iter(error.failures.values()))
        text = str(failure).splitlines() or [type(failure).__name__]
        raise ValueError(
            f"`ckpt_path` must be a checkpoint of the model that is configured, but {folder} "
            f"is not: {text[0][:300]}. Give it the configuration that it was trained with."
        ) from error


def read_trainer_state(folder: Path) -> dict[str, Any]:
    """Read everything but the weights and the optimizers' state."""
    return read_plain(folder / TRAINER_STATE)


def read_unsharded(folder: Path) -> dict[str, Any]:
    """Read a sharded checkpoint into main memory, as if one process had written it to one file.

    The optimizers' state is keyed by the names of the weights, where torch numbers them;
    `load_state_dict` takes both.
    """
    metadata = PlainReader(folder).read_metadata()
    flat: dict[str, Any] = {}
    with reporting_unreadable(folder):
        for name, entry in metadata.state_dict_metadata.items():
            flat[name] = None
            if isinstance(entry, TensorStorageMetadata):
                flat[name] = torch.empty(entry.size, dtype=entry.properties.dtype)
    read_shards(flat, folder, is_alone=True)
    checkpoint = read_trainer_state(folder)
    with reporting_unreadable(folder):
        nested = unflatten(flat, metadata.planner_data)
        checkpoint["state_dict"] = nested.pop("state_dict")
        if nested:
            names = (f"optimizer_{index}" for index in range(len(nested)))
            checkpoint["optimizer_states"] = [nested[name] for name in names]
    return checkpoint


def remove_checkpoint(path: Path) -> None:
    """Remove a checkpoint, a file or a folder of shards, if there is one."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


class PlainReader(FileSystemReader):
    """Read `.metadata` without running code that it may contain."""

    @override
    def read_metadata(self, *args: Any, **kwargs: Any) -> Metadata:
        """Unpickle the allowed classes only.

        Raises:
            CheckpointError: if the file is damaged, or names another class, a file outside of the
                folder or weights that are larger than all files.
        """
        path = Path(self.path) / METADATA
        with reporting_unreadable(path):
            check_regular(path)
            with open(path, "rb") as file:
                metadata = _MetadataUnpickler(file).load()
            if not isinstance(metadata, Metadata):
                raise CheckpointError(f"{path} must say where the weights are.")
            for info in metadata.storage_data.values():
                if Path(info.relative_path).name != info.relative_path:
                    raise CheckpointError(f"{path} names a file outside of its folder.")
                check_regular(path.with_name(info.relative_path))
            size = sum(
                entry.size.numel() * entry.properties.dtype.itemsize
                for entry in metadata.state_dict_metadata.values()
                if isinstance(entry, TensorStorageMetadata)
            )
            if size > sum(file.stat().st_size for file in path.parent.iterdir()):
                raise CheckpointError(f"{path} names weights that are larger than all its files.")
            metadata.storage_meta = metadata.storage_meta or StorageMeta()
            metadata.storage_meta.load_id = self.load_id
        return metadata


class PlainPlanner(DefaultLoadPlanner):
    """Read values that are no tensors as plain data; torch's own planner would run their code."""

    @override
    def load_bytes(self, read_item: ReadItem, value: io.BytesIO) -> None:
        torch.load(value, weights_only=True)  # refuses what is not plain data
        value.seek(0)
        super().load_bytes(read_item, value)


class _MetadataUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        is_dtype = module == "torch" and isinstance(getattr(torch, name, None), torch.dtype)
        if is_dtype or (module, name) in ALLOWED:
            return super().find_class(module, name)
        raise CheckpointError(
            f"`{METADATA}` of a checkpoint must say where the weights are, but it names "
            f"{module}.{name} instead. Choose a checkpoint of your own."
        )


def _seal(folder: Path, trainer_state: dict[str, Any], hashes: dict[str, str]) -> None:
    """Complete a folder of shards with the trainer's state and the hashes of all files.

    Args:
        folder: has a file of each rank.
        trainer_state: all but the weights and the optimizers' state.
        hashes: of the ranks' files, by name.
    """
    state_file = folder / TRAINER_STATE
    write_hashed(state_file, lambda file: torch.save(trainer_state, cast("BinaryIO", file)))
    for name in hashes:
        if not (folder / name).exists():
            raise OSError(errno.ENOENT, f"{name} of another process is not visible here")
    own = {name: _synced_hash(folder / name) for name in (TRAINER_STATE, METADATA)}
    text = json.dumps(hashes | own, indent=2).encode()
    write_hashed(folder / SEAL, lambda file: file.write(text))


def _synced_hash(file: Path) -> str:
    """Wait until a file is on the disk, and hash it."""
    sync_path(file)
    return sha256_of(file)


def _on_all_ranks(function: Callable[[], T], path: Path) -> list[T]:
    """Call a function on every rank, and raise the error of any rank on all of them.

    Args:
        function: called without arguments.
        path: named in the error.

    Returns:
        The results of all ranks.
    """
    result, problem = None, None
    try:
        result = function()
    except OSError as error:
        problem = error if isinstance(error, StorageError) else cannot_write(path, error)
    except (CheckpointException, RuntimeError) as error:  # torch wraps the disk's error
        problem = cannot_write(path, _disk_error_of(error))
    outcomes: list[Any] = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(outcomes, (result, problem))
    for _, problem_of_rank in outcomes:
        if problem_of_rank is not None:
            raise problem_of_rank
    return [result_of_rank for result_of_rank, _ in outcomes]


def _disk_error_of(error: BaseException) -> OSError:
    """Find the disk's error, which torch has wrapped in its own."""
    if isinstance(error, CheckpointException):
        error = next(iter(error.failures.values()))[0]
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError):
            return cause
        cause = cause.__cause__ or cause.__context__
    return OSError(str(error).splitlines()[0][:200])
