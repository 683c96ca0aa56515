"""Fault injection: file system calls that fail, each in its turn."""

from __future__ import annotations

import builtins
import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest


class Faults:
    """Makes the n-th of a process's file system calls fail.

    Args:
        number: errno of the failure.
        at: which call fails, from 0; None only counts.
    """

    def __init__(self, number: int = errno.ENOSPC, at: int | None = None) -> None:
        self.number, self.at, self.count = number, at, 0
        self.failed: str | None = None

    def _tick(self, name: str) -> None:
        self.count += 1
        if self.at is not None and self.count - 1 == self.at:
            self.failed = name
            raise OSError(self.number, os.strerror(self.number))

    def _wrapped(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*arguments: Any, **options: Any) -> Any:
            self._tick(name)
            return call(*arguments, **options)

        return wrapped

    def _opened(self, real: Callable[..., Any]) -> Callable[..., Any]:
        """`open` for writing counts, and so does each write to what it gives."""

        def opened(file: Any, mode: str = "r", *arguments: Any, **options: Any) -> Any:
            if not set(mode) & set("wxa+"):
                return real(file, mode, *arguments, **options)
            self._tick("open")
            return _File(real(file, mode, *arguments, **options), self)

        return opened

    @contextmanager
    def active(self) -> Iterator[Faults]:
        """Patch the calls."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(builtins, "open", self._opened(builtins.open))
            for name in ("fsync", "replace", "symlink"):
                patch.setattr(os, name, self._wrapped(name, getattr(os, name)))
            yield self


class _File:
    """A file whose writes may fail."""

    def __init__(self, file: Any, faults: Faults) -> None:
        self._file, self._faults = file, faults

    def write(self, data: Any) -> int:
        self._faults._tick("write")
        return self._file.write(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def __enter__(self) -> _File:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()
