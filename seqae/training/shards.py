"""Whether a sharded checkpoint is plain data: torch.distributed.checkpoint unpickles what it reads.

Its `.metadata` is a pickle, and what is no tensor lies as a pickle in the files of the processes,
which it loads with `weights_only=False`. So both are looked at before: the first with an unpickler
that knows the few classes which belong there, the others as weights only.
"""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any

import torch
from torch.distributed.checkpoint.metadata import BytesStorageMetadata, Metadata

METADATA = ".metadata"

KNOWN = {
    "torch.distributed.checkpoint.metadata": {
        "BytesStorageMetadata",
        "ChunkStorageMetadata",
        "Metadata",
        "MetadataIndex",
        "StorageMeta",
        "TensorProperties",
        "TensorStorageMetadata",
        "_MEM_FORMAT_ENCODING",
    },
    "torch.distributed.checkpoint.filesystem": {"_StorageInfo"},
    "torch.serialization": {"_get_layout"},
    "torch": {"Size"},
    "pathlib": {"Path", "PosixPath", "WindowsPath"},
    "pathlib._local": {"Path", "PosixPath", "WindowsPath"},  # Python 3.13
}


class _Unpickler(pickle.Unpickler):
    """Finds the known classes, and no others."""

    def find_class(self, module: str, name: str) -> Any:
        is_dtype = module == "torch" and isinstance(getattr(torch, name, None), torch.dtype)
        if is_dtype or name in KNOWN.get(module, ()):
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"{module}.{name} does not belong there")


def check_shards(folder: Path) -> None:
    """Refuse a sharded checkpoint in which something would run.

    Args:
        folder: of the checkpoint.

    Raises:
        ValueError: if it holds more than plain data and tensors, or is damaged.
        OSError: if it cannot be read.
    """
    try:
        metadata = _Unpickler(io.BytesIO((folder / METADATA).read_bytes())).load()
        if not isinstance(metadata, Metadata) or metadata.storage_data is None:
            raise pickle.UnpicklingError(f"{METADATA} holds something else")
        for index, place in metadata.storage_data.items():
            if Path(place.relative_path).name != place.relative_path:
                raise pickle.UnpicklingError(f"{place.relative_path} is no file of it")
            if not isinstance(metadata.state_dict_metadata[index.fqn], BytesStorageMetadata):
                continue
            with open(folder / place.relative_path, "rb") as file:
                file.seek(place.offset)
                torch.load(io.BytesIO(file.read(place.length)), weights_only=True)
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, ImportError) as error:
        raise _refusal(folder, error) from error
    except (pickle.UnpicklingError, EOFError, RuntimeError) as error:
        raise _refusal(folder, error) from error


def _refusal(folder: Path, error: Exception) -> ValueError:
    reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
    return ValueError(
        f"`ckpt_path` must hold weights and plain data only, but {folder} does not: {reason}. "
        f"Choose another checkpoint."
    )
