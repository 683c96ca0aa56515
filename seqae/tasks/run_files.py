"""Read the small files of a run, which may come from a stranger."""

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
        key: the option that named the run; error messages begin with it.

    Raises:
        ValueError: if the file is too large, no YAML, or holds values that JSON cannot express.
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
        key: the option that named the run; error messages begin with it.

    Raises:
        ValueError: if the file is too large, or holds no JSON object.
    """
    try:
        value = json.loads(_read_capped(path))
    except (ValueError, RecursionError) as error:
        raise damaged(path, key, error) from error
    if not isinstance(value, dict):
        raise damaged(path, key, "it holds no object")
    return value


def damaged(path: Path, key: str, reason: object) -> ValueError:
    """Make the error for a file that is not what it should be."""
    return ValueError(
        f"`{key}` must be readable, but {path} is damaged: {reason}. Leave this run out, or repair "
        f"the file."
    )


def _read_capped(path: Path) -> str:
    _check_size(path.stat().st_size)
    return path.read_text(encoding="utf-8")


def _check_plain(value: Any) -> None:
    """Refuse dates, values that contain themselves, and aliases that multiply to a huge size."""
    size = 0
    for part in json.JSONEncoder().iterencode(value):
        size += len(part)
        _check_size(size)


def _check_size(size: int) -> None:
    if size > MAX_JSON_BYTES:
        raise ValueError(f"it has {size:,} bytes, and may have {MAX_JSON_BYTES:,}")
