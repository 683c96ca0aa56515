"""`seqae compare`: runs side by side, their different settings and their metrics."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from seqae.bundle.find_bundle import find_folder
from seqae.bundle.sharing.address import find_checked_bundle, is_address
from seqae.files import check_output, write_output
from seqae.metrics.definitions import GROUPS, METRICS, unit_of
from seqae.tasks.run_files import damaged, read_config, read_json
from seqae.terminal import progress_bar, table_console, visible
from seqae.units import format_value, without_nan

# Settings of how a run was watched and stored, not of what was trained.
IGNORED = (
    "samples",
    "report",
    "monitor",
    "name",
    "checkpoint",
    "card",
    "threads",
    "data.cache_dir",
)

EVALUATION = "evaluation.json"  # in a run or a bundle, if `seqae evaluate` wrote it there


def compare(runs: list[str], output: str | None = None) -> None:
    """Show runs side by side: the settings in which they differ, and their metrics.

    The metrics of a run or a bundle are the validation of the bundled model, the cost of its
    training, and those of an `evaluation.json` in the folder; the metrics of a .json file are those
    that `seqae evaluate` wrote there.

    Args:
        runs: folders of runs or bundles, or .json files of `evaluate`.
        output: a .json file for the comparison.
    """
    read = [run for run in runs if run.endswith(".json")]
    check_output(output, (".json",), [*read, *(f"{run}/{EVALUATION}" for run in runs)])
    columns = []
    with progress_bar("reading", len(runs)) as advance:
        for run in runs:
            is_far = is_address(run)
            folder = find_checked_bundle(run, "runs").folder if is_far else find_folder(run)
            columns.append(_read(folder))
            advance(1)
    settings = _different([flat for flat, _ in columns])
    known = {key for _, metrics in columns for key in metrics}
    order = [key for key in METRICS if key in known] + sorted(known - {*METRICS})
    metrics = {key: [own.get(key) for _, own in columns] for key in order}
    if output is not None:
        result = {"runs": runs, "settings": settings, "figures": metrics}
        text = json.dumps(without_nan(result), indent=2, ensure_ascii=False) + "\n"
        write_output(output, text)
    _show(runs, settings, metrics)


def _different(settings: Sequence[dict[str, Any]]) -> dict[str, list[Any]]:
    """Select the settings that differ between runs, with the value of each run."""
    keys = sorted({key for flat in settings for key in flat})
    rows = {key: [flat.get(key) for flat in settings] for key in keys}
    return {
        key: values
        for key, values in rows.items()
        if any(value != values[0] for value in values)
        and not any(f"{key}.".startswith(f"{ignored}.") for ignored in IGNORED)
    }


def flatten(config: Any, prefix: str = "") -> dict[str, Any]:
    """Flatten `{"model": {"seed": 0}}` to `{"model.seed": 0}`; a part's key has its class."""
    if isinstance(config, dict) and "class_path" in config:
        parts = flatten(config.get("init_args") or {}, prefix)
        return {prefix: str(config["class_path"]).rpartition(".")[2], **parts}
    if not isinstance(config, dict):
        return {prefix: config}
    flat: dict[str, Any] = {}
    for key, value in config.items():
        flat |= flatten(value, f"{prefix}.{key}" if prefix else str(key))
    return flat


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Read the settings and the metrics of one run.

    Raises:
        ValueError: if the path is no run, or a file of it is damaged.
    """
    if path.is_file():
        return {}, _read_evaluation(path)
    bundle = path if (path / "training.json").is_file() else path / "bundle"
    if not (bundle / "training.json").is_file():
        raise ValueError(
            f"`runs` must be folders of runs or bundles, or .json files of `seqae evaluate`, but "
            f"{path} is none. Choose a folder that `seqae fit` made."
        )
    training = read_json(bundle / "training.json", "runs")
    config = path / "config.yaml"
    settings = training.get("config", {})
    if config.is_file() and bundle != path:  # inside a bundle, the file is a stranger's
        settings = read_config(config, "runs")
    metrics = _check_numbers(bundle / "metrics.json", read_json(bundle / "metrics.json", "runs"))
    keys = [key for key in ("optimizer_steps", "tokens", "seconds", "threads") if key in training]
    costs = {f"training/{key}": training[key] for key in keys}
    metrics |= _check_numbers(bundle / "training.json", costs)
    for evaluation in (path / EVALUATION, bundle / EVALUATION):
        if evaluation.is_file():
            metrics |= _read_evaluation(evaluation)
    try:
        return flatten(settings), metrics
    except RecursionError as error:
        raise damaged(bundle, "runs", "its settings contain themselves") from error


def _read_evaluation(path: Path) -> dict[str, Any]:
    scores = read_json(path, "runs").get("scores")
    if not isinstance(scores, dict) or not isinstance(scores.get("model"), dict):
        raise ValueError(
            f"`runs` must be folders of runs or .json files of `seqae evaluate`, but {path} holds "
            f"no scores of a model. Write it with `seqae evaluate MODEL --output FILE.json`."
        )
    return _check_numbers(path, scores["model"])


def _check_numbers(path: Path, metrics: dict[str, Any]) -> dict[str, float | None]:
    """Return the metrics of a file if each is a number or None.

    Raises:
        ValueError: if one is anything else.
    """
    for key, value in metrics.items():
        is_number = type(value) is float or (type(value) is int and abs(value) < 2**63)
        if value is not None and not is_number:
            shown = visible(str(value), 40)
            raise damaged(path, "runs", f"{visible(key, 40)} is no number, but {shown}")
    return dict(metrics)


def _show(runs: list[str], settings: dict[str, list[Any]], metrics: dict[str, list[Any]]) -> None:
    console = table_console()
    numbers = [f"[{number}]" for number in range(1, len(runs) + 1)]
    for number, run in zip(numbers, runs, strict=True):
        console.print(Text(f"{number} {visible(run)}"))
    table = Table(show_header=False)
    table.add_column(overflow="fold")
    table.add_column(no_wrap=True)
    for _ in runs:
        table.add_column(justify="right", overflow="fold")
    if settings:
        table.add_row("settings that differ", "", *map(Text, numbers), style="bold")
        for key, values in settings.items():
            table.add_row(Text(f"  {visible(key)}"), "", *(Text(_plain(value)) for value in values))
    parts: dict[str, list[str]] = {
        group: [k for k in metrics if k in METRICS and METRICS[k].group == group]
        for group in GROUPS
    }
    parts["validation and training"] = [key for key in metrics if key not in METRICS]
    for name, keys in parts.items():
        if keys:
            table.add_section()
            table.add_row(name, "unit", *map(Text, numbers), style="bold")
        for key in keys:
            label = METRICS[key].label if key in METRICS else visible(key)
            unit = unit_of(key)
            cells = [Text(format_value(value, unit)) for value in metrics[key]]
            table.add_row(Text(f"  {label}"), unit, *cells)
    console.print(table)


def _plain(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.4g}"
    return f"{value:,}" if type(value) is int else visible(str(value), 40)
