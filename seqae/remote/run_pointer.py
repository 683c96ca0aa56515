"""The file of a run elsewhere that says what of it is complete: `run.json`, which is sent last.

    config.yaml, metrics.jsonl, ...   records, each sent whole
    checkpoints/step=N.ckpt           a file, or a folder of shards
    bundle-HASH/                      the bundle, by the hash of its manifest
    run.json                          names the checkpoint and the bundle that are complete

A store cannot rename a folder, nor replace several files at once. So nothing that `run.json` names
is changed: what is newer has another name, and is named when all of it has arrived. Whatever is
cut, the run that `run.json` describes can be gone on with. Only a step that is trained again, after
a resume from an older checkpoint, replaces its file.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from seqae.remote.transfer import read_if_there, send_bytes
from seqae.untrusted import MAX_BYTES, load_json

POINTER = "run.json"
FORMAT = 1

_CHECKPOINT = re.compile(r"step=[0-9]{1,18}\.ckpt")
_BUNDLE = re.compile(r"bundle-[0-9a-f]{16}")
_WRITER = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True)
class RunPointer:
    """What of a run elsewhere is complete.

    Attributes:
        writer: a token of the process that writes there; another one takes it over by its own.
        checkpoint: name of the newest complete one; None before the first.
        files: of the checkpoint, by their paths in the run's folder, with their sizes.
        bundle: name of its folder; None before the first.
        records: the other files, by their paths, with their sizes.
    """

    writer: str
    checkpoint: str | None = None
    files: Mapping[str, int] = field(default_factory=dict)
    bundle: str | None = None
    records: Mapping[str, int] = field(default_factory=dict)

    def to_bytes(self) -> bytes:
        """Write it as JSON."""
        return (json.dumps({"format": FORMAT, **vars(self)}, indent=2) + "\n").encode()

    @classmethod
    def parse(cls, data: bytes, key: str, url: str) -> RunPointer:
        """Parse it; it may be a stranger's.

        Raises:
            ValueError: if it is damaged, or names what no run has.
        """
        try:
            fields = load_json(data)
            if fields["format"] != FORMAT:
                raise ValueError(f"it has format {fields['format']!r}, of another version")
            pointer = cls(**{name: fields[name] for name in cls.__dataclass_fields__})
            pointer._check()
        except (ValueError, TypeError, LookupError, AttributeError) as error:
            raise ValueError(
                f"`{key}` must be the folder of a run, but {url}/{POINTER} is damaged ({error}). "
                f"Choose another one."
            ) from error
        return pointer

    def _check(self) -> None:
        for name, form in (("checkpoint", _CHECKPOINT), ("bundle", _BUNDLE), ("writer", _WRITER)):
            value = getattr(self, name)
            if (value is not None or name == "writer") and not form.fullmatch(value):
                raise ValueError(f"{name} is {value!r}")
        for path, size in [*self.files.items(), *self.records.items()]:
            parts = PurePosixPath(path).parts
            is_plain = path == "/".join(parts) and ".." not in parts and not path.startswith("/")
            if not is_plain or "\\" in path or not path.isprintable() or not _is_count(size):
                raise ValueError(f"it names the file {path!r}")
        if any("/" in path or path.startswith(".") for path in self.records):
            raise ValueError("it names records that no run has")
        if self.checkpoint is None and self.files:
            raise ValueError("it names files of no checkpoint")
        if self.checkpoint is not None:
            own = f"checkpoints/{self.checkpoint}"
            if not self.files or not all(f"{path}/".startswith(f"{own}/") for path in self.files):
                raise ValueError("it names files that are not of its checkpoint")


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63


def read_pointer(url: str, key: str) -> RunPointer | None:
    """Read the pointer of a run's folder; None if there is none.

    Args:
        url: of the folder, from `check_url`.
        key: what it was given as, for messages.
    """
    data = read_if_there(f"{url}/{POINTER}", key, MAX_BYTES)
    return None if data is None else RunPointer.parse(data, key, url)


def write_pointer(url: str, pointer: RunPointer, key: str) -> None:
    """Send the pointer of a run's folder."""
    send_bytes(pointer.to_bytes(), f"{url}/{POINTER}", key)
