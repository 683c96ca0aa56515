"""Sharded checkpoints: a folder with a file of each process, put in its place when all are whole.

torch.distributed.checkpoint writes `__RANK_0.distcp` and `.metadata`, which says where each part of
each weight stands, so that any number of processes can read them. Beside these stand `meta.pt`, the
rest of the training's state, and `complete.json`, written last: what the other files must be.

`.metadata` is a pickle, and torch reads it as one, which runs whatever a stranger put there. It is
read here with a list of the few classes that it consists of; all else holds plain data and tensors
(`weights_only`).
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

from seqae.files import StorageError, cannot_write, sha256_of, sync_path
from seqae.lightning_internals import unflatten
from seqae.training.checkpoints.integrity import SEAL, check_intact, write_hashed

REST = "meta.pt"  # what is no weight and no state of an optimizer; Lightning's name
METADATA = ".metadata"  # torch's name

# All that a `.metadata` of torch 2.10 to 2.13 names, beside torch's dtypes.
PLACES = "torch.distributed.checkpoint.metadata"
ALLOWED = {
    (PLACES, "Metadata"),
    (PLACES, "MetadataIndex"),
    (PLACES, "StorageMeta"),
    (PLACES, "TensorStorageMetadata"),
    (PLACES, "BytesStorageMetadata"),
    (PLACES, "ChunkStorageMetadata"),
    (PLACES, "TensorProperties"),
    (PLACES, "_MEM_FORMAT_ENCODING"),
    ("torch.distributed.checkpoint.filesystem", "_StorageInfo"),
    ("torch.serialization", "_get_layout"),
    ("torch", "Size"),
    ("pathlib", "PosixPath"),
    ("pathlib._local", "PosixPath"),  # of Python 3.13
    ("collections", "OrderedDict"),
}

T = TypeVar("T")


def write_shards(checkpoint: dict[str, Any], path: Path) -> None:
    """Write a training's state, each process its part; all must call this.

    Args:
        checkpoint: with sharded tensors in `state_dict` and `optimizer_states`.
        path: the folder; it gets its name when all files are in it and on the disk. It must be on a
            file system that all processes share.

    Raises:
        OSError: on all processes, if any could not write.
    """
    unfinished = path.with_name(f".{path.name}.unfinished")
    is_first = torch.distributed.get_rank() == 0
    rest = dict(checkpoint)
    parts = {"state_dict": rest.pop("state_dict")}
    for index, state in enumerate(rest.pop("optimizer_states", [])):
        parts[f"optimizer_{index}"] = state

    def synced_hash(file: Path) -> str:
        sync_path(file)
        return sha256_of(file)

    def begin() -> None:
        if is_first:
            remove(unfinished)
            unfinished.mkdir(parents=True)

    def seal_own() -> dict[str, str]:
        own = f"__{torch.distributed.get_rank()}_"
        return {file.name: synced_hash(file) for file in unfinished.glob(f"{own}*")}

    def finish() -> None:
        if not is_first:
            return
        write_hashed(unfinished / REST, lambda file: torch.save(rest, cast("BinaryIO", file)))
        for name in hashes:
            if not (unfinished / name).exists():
                raise OSError(errno.ENOENT, f"{name} of another process is not seen here")
        for name in (REST, METADATA):
            hashes[name] = synced_hash(unfinished / name)
        text = json.dumps(hashes, indent=2).encode()
        write_hashed(unfinished / SEAL, lambda file: file.write(text))
        remove(path)  # of a run that has gone on from an earlier step
        os.replace(unfinished, path)
        sync_path(path.parent)

    writer = FileSystemWriter(unfinished)
    # What all have, moving averages, is that of the first process, as in a plain checkpoint.
    planner = DefaultSavePlanner(dedup_save_to_lowest_rank=True)
    _on_all(begin, path)
    _on_all(lambda: save(parts, storage_writer=writer, planner=planner), path)
    hashes = {name: digest for own in _on_all(seal_own, path) for name, digest in own.items()}
    _on_all(finish, path)


def read_shards(state: dict[str, Any], folder: Path, is_alone: bool = False) -> None:
    """Read the parts that this process needs into the tensors of `state`.

    Args:
        state: as it was written; nested, with tensors that may be sharded in another way.
        folder: a sharded checkpoint.
        is_alone: whether other processes do not call this.

    Raises:
        ValueError: if the checkpoint is of another model.
    """
    try:
        with warnings.catch_warnings():
            # That it reads alone, which was asked for.
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


def read_rest(folder: Path) -> dict[str, Any]:
    """What is no weight and no state of an optimizer."""
    rest: dict[str, Any] = torch.load(folder / REST, map_location="cpu", weights_only=True)
    return rest


def read_whole(folder: Path) -> dict[str, Any]:
    """A sharded checkpoint as if it had been written by one process, in main memory.

    Each optimizer's state goes by the weights' names, where torch has numbers; `load_state_dict`
    takes both.
    """
    metadata = PlainReader(folder).read_metadata()
    state: dict[str, Any] = {}
    for name, place in metadata.state_dict_metadata.items():
        state[name] = None
        if isinstance(place, TensorStorageMetadata):
            state[name] = torch.empty(place.size, dtype=place.properties.dtype)
    read_shards(state, folder, is_alone=True)
    found = unflatten(state, metadata.planner_data)
    checkpoint = {**read_rest(folder), "state_dict": found.pop("state_dict")}
    if found:
        names = (f"optimizer_{index}" for index in range(len(found)))
        checkpoint["optimizer_states"] = [found[name] for name in names]
    return checkpoint


def to_plain(folder: Path, path: Path) -> None:
    """Write a sharded checkpoint as one file, as a run without sharding writes it.

    Raises:
        ValueError: if it is damaged.
        OSError: if the file cannot be written.
    """
    check_intact(folder)
    whole = read_whole(folder)
    write_hashed(path, lambda file: torch.save(whole, cast("BinaryIO", file)))


def remove(path: Path) -> None:
    """Remove a checkpoint if it is there, of one file or of shards."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


class PlainReader(FileSystemReader):
    """Reads `.metadata` without running what it may hold."""

    def read_metadata(self, *args: Any, **kwargs: Any) -> Metadata:
        """As torch's own, with the classes that there must be and no others.

        Raises:
            ValueError: if it names another one.
        """
        with open(Path(self.path) / METADATA, "rb") as file:
            metadata = _MetadataUnpickler(file).load()
        if not isinstance(metadata, Metadata):
            raise ValueError(f"{self.path}/{METADATA} must say where the weights are.")
        for info in metadata.storage_data.values():
            if Path(info.relative_path).name != info.relative_path:
                raise ValueError(f"{self.path}/{METADATA} names a file outside of its folder.")
        metadata.storage_meta = metadata.storage_meta or StorageMeta()
        metadata.storage_meta.load_id = self.load_id
        return metadata


class PlainPlanner(DefaultLoadPlanner):
    """Reads what is no tensor as plain data only; torch's own would run what it may hold."""

    def load_bytes(self, read_item: ReadItem, value: io.BytesIO) -> None:
        """Refuse what is not plain, before torch's planner reads it."""
        torch.load(value, weights_only=True)
        value.seek(0)
        super().load_bytes(read_item, value)


class _MetadataUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        is_dtype = module == "torch" and isinstance(getattr(torch, name, None), torch.dtype)
        if is_dtype or (module, name) in ALLOWED:
            return super().find_class(module, name)
        raise ValueError(
            f"`{METADATA}` of a checkpoint must say where the weights are, but it names "
            f"{module}.{name} instead. Choose a checkpoint of your own."
        )


def _on_all(do: Callable[[], T], path: Path) -> list[T]:
    """Do something on all processes; what goes wrong on one is raised on each."""
    problem: OSError | None = None
    result: Any = None
    try:
        result = do()
    except OSError as error:
        problem = error if isinstance(error, StorageError) else cannot_write(path, error)
    except (CheckpointException, RuntimeError) as error:  # torch wraps what the disk said
        problem = cannot_write(path, _said_by_disk(error))
    told: list[Any] = [(result, problem)] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(told, told[0])
    for _, found in told:
        if found is not None:
            raise found
    return [found for found, _ in told]


def _said_by_disk(error: BaseException) -> OSError:
    """What the disk said, under what torch has wrapped it in."""
    if isinstance(error, CheckpointException):
        error = next(iter(error.failures.values()))[0]
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError):
            return cause
        cause = cause.__cause__ or cause.__context__
    return OSError(str(error).splitlines()[0][:200])
