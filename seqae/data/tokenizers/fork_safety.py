"""Importing this module keeps the `tokenizers` library single-threaded in forked processes.

A DataLoader forks the process to start its workers. The library warns in each such child once it
has used threads, unless TOKENIZERS_PARALLELISM is set, because a child that used them again would
hang. So this module sets the variable to `false` in every forked child, unless the user has set it;
the parent's own environment stays as it was.
"""

from __future__ import annotations

import os
import sys

_VARIABLE = "TOKENIZERS_PARALLELISM"
_set_for_fork: list[bool] = []


def _before_fork() -> None:
    _set_for_fork.append(_VARIABLE not in os.environ)
    os.environ.setdefault(_VARIABLE, "false")


def _after_fork_in_parent() -> None:
    if _set_for_fork.pop():
        del os.environ[_VARIABLE]


if sys.platform != "win32":
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent)
