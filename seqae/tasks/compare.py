"""Compare: runs side by side, with the settings that differ and every figure that is known."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from seqae.files import check_output
from seqae.tasks.evaluate.run import without_nan
from seqae.tasks.evaluate.table import FIGURES, GROUPS, console_of_width
from seqae.tasks.run_files import damaged, read_config, read_json
from seqae.terminal import visible

# Settings that say where and how a run was watched, not what was trained.
LEFT_OUT = ("samples", "monitor", "name", "checkpoint", "threads", "data.cache_dir")

EVALUATION = "evaluation.json"  # beside a bundle or in a run's folder, from `seqae evaluate`


def compare(runs: list[str], output: str | None = None) -> None:
    """Set runs side by side: the settings in which they differ, and their figures.

    Of a run's folder or a bundle the figures are those that validation found for the bundled model,
    what training took, and those of an `evaluation.json` beside it; of a .json file those that
    `seqae evaluate` wrote there.

    Args:
        runs: folders of runs or bundles, or .json files of `evaluate`.
        output: a .json file for the same.
    """
    check_output(output, (".json",))
    found = [_read(Path(run)) for run in runs]
    settings = {key: [flat.get(key) for flat, _ in found] for flat, _ in found for key in flat}
    settings = {
        key: values
        for key, values in sorted(settings.items())
        if any(value != values[0] for value in values)
        and not any(f"{key}.".startswith(f"{left}.") for left in LEFT_OUT)
    }
    known = {key for _, figures in found for key in figures}
    order = [key for key in FIGURES if key in known] + sorted(known - {*FIGURES})
    figures = {key: [own.get(key) for _, own in found] for key in order}
    if output is not None:
        result = {"runs": runs, "settings": settings, "figures": figures}
        text = json.dumps(without_nan(result), indent=2, ensure_ascii=False) + "\n"
        Path(output).write_text(text, encoding="utf-8")
    _show(runs, settings, figures)


def flatten(config: Any, prefix: str = "") -> dict[str, Any]:
    """`{"model": {"seed": 0}}` to `{"model.seed": 0}`; a part's class stands under its own key."""
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
    """Settings and figures of one run.

    Raises:
        ValueError: if it is none.
    """
    if path.is_file():
        return {}, _evaluated(path)
    bundle = path if (path / "training.json").is_file() else path / "bundle"
    if not (bundle / "training.json").is_file():
        raise ValueError(
            f"`runs` must be folders of runs or bundles, or .json files of `seqae evaluate`, but "
            f"{path} is none. Choose a folder that `seqae fit` made."
        )
    training = read_json(bundle / "training.json", "runs")
    config = path / "config.yaml"
    settings = training.get("config", {})
    if config.is_file() and bundle != path:  # else it is a stranger's
        settings = read_config(config, "runs")
    figures = _numbers(bundle / "metrics.json", read_json(bundle / "metrics.json", "runs"))
    costs = [key for key in ("optimizer_steps", "tokens", "seconds", "threads") if key in training]
    took = {f"training/{key}": training[key] for key in costs}
    figures |= _numbers(bundle / "training.json", took)
    for place in (path / EVALUATION, bundle / EVALUATION):
        if place.is_file():
            figures |= _evaluated(place)
    try:
        return flatten(settings), figures
    except RecursionError as error:
        raise damaged(bundle, "runs", "its settings hold one another without end") from error


def _evaluated(path: Path) -> dict[str, Any]:
    scores = read_json(path, "runs").get("scores")
    if not isinstance(scores, dict) or not isinstance(scores.get("model"), dict):
        raise ValueError(
            f"`runs` must be folders of runs or .json files of `seqae evaluate`, but {path} holds "
            f"no scores of a model. Write it with `seqae evaluate MODEL --output FILE.json`."
        )
    return _numbers(path, scores["model"])


def _numbers(path: Path, figures: dict[str, Any]) -> dict[str, float | None]:
    """Figures as they are, if each is a number or None.

    Raises:
        ValueError: if one is not.
    """
    for key, value in figures.items():
        is_number = type(value) is float or (type(value) is int and abs(value) < 2**63)
        if value is not None and not is_number:
            found = visible(str(value), 40)
            raise damaged(path, "runs", f"{visible(key, 40)} is no number, but {found}")
    return dict(figures)


def _show(runs: list[str], settings: dict[str, list[Any]], figures: dict[str, list[Any]]) -> None:
    console = console_of_width()
    numbers = [f"[{number}]" for number in range(1, len(runs) + 1)]
    for number, run in zip(numbers, runs, strict=True):
        console.print(Text(f"{number} {visible(run)}"))
    table = Table(show_header=False)
    table.add_column(overflow="fold")
    for _ in runs:
        table.add_column(justify="right", overflow="fold")
    if settings:
        table.add_row("settings that differ", *map(Text, numbers), style="bold")
        for key, values in settings.items():
            table.add_row(Text(f"  {visible(key)}"), *(Text(_plain(value)) for value in values))
    parts: dict[str, list[str]] = {
        group: [k for k in figures if k in FIGURES and FIGURES[k].group == group]
        for group in GROUPS
    }
    parts["validation and training"] = [key for key in figures if key not in FIGURES]
    for name, keys in parts.items():
        if keys:
            table.add_section()
            table.add_row(name, *map(Text, numbers), style="bold")
        for key in keys:
            label = FIGURES[key].label if key in FIGURES else visible(key)
            cells = [
                FIGURES[key].show(value) if key in FIGURES else _plain(value)
                for value in figures[key]
            ]
            table.add_row(Text(f"  {label}"), *map(Text, cells))
    console.print(table)


def _plain(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.4g}"
    return f"{value:,}" if type(value) is int else visible(str(value), 40)
