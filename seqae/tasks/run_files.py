"""The small files of a run, read as if anybody may have written them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from seqae.bundle.io import MAX_JSON_BYTES


def read_config(path: Path, key: str) -> Any:
    """Read a run's config.yaml.

    Args:
        path: the file.
        key: what the user named it by; error messages begin with it.

    Raises:
        ValueError: if it is too large or no YAML, or holds what JSON cannot.
    """
    try:
        config = yaml.safe_load(_read_capped(path))
        _check_plain(config)
    except (ValueError, TypeError, yaml.YAMLError, RecursionError) as error:
        raise damaged(path, key, error) from error
    return config


def read_json(path: Path, key: str) -> dict[str, Any]:
    """Read a JSON file that holds an object.

    Args:
        path: the file.
        key: what the user named it by; error messages begin with it.

    Raises:
        ValueError: if it is too large or something else.
    """
    try:
        value = json.loads(_read_capped(path))
    except (ValueError, RecursionError) as error:
        raise damaged(path, key, error) from error
    if not isinstance(value, dict):
        raise damaged(path, key, "it holds no names")
    return value


def damaged(path: Path, key: str, reason: object) -> ValueError:
    """The error that a file is not what it should be."""
    return ValueError(
        f"`{key}` must be readable, but {path} is damaged: {reason}. Leave this run out, or put "
        f"the file right."
    )


def _read_capped(path: Path) -> str:
    _check_size(path.stat().st_size)
    return path.read_text(encoding="utf-8")


def _check_plain(value: Any) -> None:
    """Refuse dates, and parts that stand in themselves, or in one another until they are huge."""
    size = 0
    for part in json.JSONEncoder().iterencode(value):
        size += len(part)
        _check_size(size)


def _check_size(size: int) -> None:
    if size > MAX_JSON_BYTES:
        raise ValueError(f"it has {size:,} bytes, and may have {MAX_JSON_BYTES:,}")
