"""Fault injection: make any one file system call fail."""

from __future__ import annotations

import builtins
import errno
import io
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

CALLS = ("fsync", "replace", "rename", "symlink", "mkdir", "unlink")


class Faults:
    """Make the n-th file system call of this process fail: CALLS, an open to write, or a write.

    Args:
        number: errno of the failure.
        at: the call to fail, from 0; None only counts.
        within: count only calls on paths in this folder.

    Attributes:
        calls: the name and path of each call.
        failed: the one that failed.
    """

    def __init__(
        self, number: int = errno.ENOSPC, at: int | None = None, within: Path | None = None
    ) -> None:
        self.number, self.at = number, at
        self.calls: list[str] = []
        self.within = None if within is None else str(within)
        self.failed: str | None = None

    def _tick(self, name: str, path: Any) -> None:
        if isinstance(path, int):
            path = os.readlink(f"/proc/self/fd/{path}")
        if self.within is not None and not str(path).startswith(self.within):
            return
        self.calls.append(f"{name} {path}")
        if len(self.calls) - 1 == self.at:
            self.failed = self.calls[-1]
            raise OSError(self.number, os.strerror(self.number))

    @property
    def count(self) -> int:
        """The number of calls so far."""
        return len(self.calls)

    def _wrapped(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*arguments: Any, **options: Any) -> Any:
            path = arguments[1] if name in ("replace", "rename", "symlink") else arguments[0]
            self._tick(name, path)
            return call(*arguments, **options)

        return wrapped

    def _opened(self, real: Callable[..., Any]) -> Callable[..., Any]:
        """Wrap `open`, so that opening to write counts, and so does each write to the file."""

        def opened(file: Any, mode: str = "r", *arguments: Any, **options: Any) -> Any:
            if not set(mode) & set("wxa+"):
                return real(file, mode, *arguments, **options)
            self._tick("open", file)
            return _File(real(file, mode, *arguments, **options), self, file)

        return opened

    @contextmanager
    def active(self) -> Iterator[Faults]:
        """Patch the calls while the block runs."""
        with pytest.MonkeyPatch.context() as patch:
            for module in (builtins, io):  # Path.open is io.open
                patch.setattr(module, "open", self._opened(module.open))
            for name in CALLS:
                patch.setattr(os, name, self._wrapped(name, getattr(os, name)))
            yield self


class _File:
    """A file whose writes may fail."""

    def __init__(self, file: Any, faults: Faults, path: Any) -> None:
        self._file, self._faults, self._path = file, faults, path

    def write(self, data: Any) -> int:
        self._faults._tick("write", self._path)
        return self._file.write(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def __enter__(self) -> _File:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()
