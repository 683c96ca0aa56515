"""A tokenizer that was given and not trained: how it is named, and how a run keeps it.

A run keeps it as `tokenizer.json`, so that it goes on without the file or the bundle that had it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jsonargparse import Namespace

from seqae.data.tokenizers import ByteTokenizer, Tokenizer
from seqae.data.tokenizers.imported.tokenizer_file import TokenizerFile

KEPT = "tokenizer.json"
OPTION = "--data.tokenizer"


def name_tokenizer_files(args: Sequence[str]) -> list[str]:
    """Write `--data.tokenizer FILE` as the part that it means.

    Args:
        args: what follows a command.
    """
    named = list(args)
    for index, arg in enumerate(named):
        is_apart = index > 0 and named[index - 1] == OPTION
        value = arg if is_apart else arg.removeprefix(f"{OPTION}=")
        if (is_apart or value != arg) and _is_file_name(value):
            part = {"class_path": TokenizerFile.__name__, "init_args": {"path": value}}
            named[index] = arg.removesuffix(value) + json.dumps(part)
    return named


def _is_file_name(value: str) -> bool:
    if value.lstrip().startswith("{"):
        return False
    is_like_one = os.sep in value or value.endswith((".json", ".model", ".txt", ".vocab"))
    return is_like_one or os.path.isfile(value)


def kept_by_run(tokenizer: Tokenizer) -> Tokenizer | None:
    """Return a tokenizer that the run must keep, since nothing would make it again."""
    is_given = tokenizer.is_trained and not isinstance(tokenizer, ByteTokenizer)
    return tokenizer if is_given else None


def use_kept_tokenizer(options: Any, run_dir: Path) -> None:
    """Have a command use the tokenizer that a run keeps, if it keeps one.

    Args:
        options: all of the command's.
        run_dir: the run's folder.
    """
    if (kept := run_dir / KEPT).is_file():
        part = Namespace(path=str(kept), normalization="none")  # type: ignore[no-untyped-call]
        options.data.tokenizer = part
