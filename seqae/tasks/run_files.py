"""Read the small files of a run, which may come from a stranger."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from seqae.untrusted import load_json, load_yaml, mark_of, read_capped


def read_config(path: Path, key: str) -> Any:
    """Read a run's config.yaml.

    Args:
        path: the file.
        key: the option that named the run; error messages begin with it.

    Raises:
        ValueError: if the file is too large, no YAML, or holds values that JSON cannot express.
    """
    try:
        config = load_yaml(read_capped(path))
        json.dumps(config)
    except (ValueError, TypeError) as error:
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
        value = load_json(read_capped(path))
    except ValueError as error:
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


def check_own(run_dir: Path, keys: str, command: str) -> None:
    """Refuse to ask for data elsewhere that the folder of a run names, if it may be a stranger's.

    Args:
        run_dir: the folder.
        keys: the options that name data instead.
        command: an example of them.

    Raises:
        ValueError: unless this user has trained the run here, or has said to trust it.
    """
    if not mark_of(read_capped(run_dir / "config.yaml")).exists():
        raise ValueError(
            f"{keys} must be given, because {run_dir} names data elsewhere and may be a "
            f"stranger's. Write `{command}`; if it is yours, `seqae validate {run_dir} --trust` "
            f"once."
        )
