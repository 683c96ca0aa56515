"""From the folders of runs and bundles, and the files of `seqae evaluate`, to what is drawn."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeGuard

from seqae.bundle.find_bundle import bundle_folder, find_folder
from seqae.metrics.definitions import LENGTHS
from seqae.tasks.compare import EVALUATION
from seqae.tasks.evaluate.noise_levels import TOLD
from seqae.tasks.plot.line_figures import Rate
from seqae.tasks.run_files import damaged, read_json
from seqae.untrusted import check_size
from seqae.web.payload import Curve, LengthGroup, RunCurves, Series

METRICS_FILE = "metrics.jsonl"
MAX_METRICS = 2**28  # bytes: a million lines
NOT_DRAWN = ("step", "time", "epoch")
# The last two of LENGTHS are parts of `above_20`, which sentences of short texts have alone.
SHORT = ("to_5", "to_10", "to_20", "above_20")
LONG = ("to_5", "to_10", "to_20", "to_35", "to_60", "above_60")


def read_curves(run: str | Path, name: str = "") -> RunCurves:
    """Read what a run has logged, from its metrics.jsonl.

    Args:
        run: its folder.
        name: for the legend; by default that of the folder.

    Raises:
        ValueError: if it is no run, or the file is damaged.
    """
    folder = find_folder(run)
    path = folder / METRICS_FILE
    if not path.is_file():
        raise ValueError(
            f"`runs` must be folders of runs for `curves`, but {run} has no {METRICS_FILE}. "
            f"Choose a folder that `seqae fit` made."
        )
    series: dict[str, Series] = {}
    try:
        check_size(path, MAX_METRICS)
        with path.open(encoding="utf-8") as file:
            for line in file:
                _add(series, json.loads(line))
    except (ValueError, TypeError, AttributeError, LookupError, RecursionError) as error:
        raise damaged(path, "runs", error) from error
    return {"name": name or folder.resolve().name, "series": series}


def _add(series: dict[str, Series], row: Mapping[str, Any]) -> None:
    step = float(row["step"])
    for key, value in row.items():
        if key in NOT_DRAWN or not isinstance(value, (int, float)) or not math.isfinite(value):
            continue
        own = series.setdefault(key, {"steps": [], "values": []})
        own["steps"].append(step)
        own["values"].append(float(value))


def read_robustness(runs: Sequence[str], names: Sequence[str] = ()) -> list[Curve]:
    """Read how models fare when noise is added to their latents: exact match, and BLEU.

    A single model that is trained with `latent_noise` has a second line, of a decoder that is told
    how much noise there is; of several models, that line stands for those that have it.

    Args:
        runs: folders of runs or bundles with an evaluation.json, or .json files of `evaluate`.
        names: for the legend; by default `names_of(runs)`.

    Raises:
        ValueError: if one was not measured, or its file is damaged.
    """
    found: dict[str, Mapping[str, Any]] = {}
    noises: dict[str, list[float]] = {}
    for run, name in zip(runs, names or names_of(runs), strict=True):
        path, evaluation = _evaluation(run, "robustness")
        try:
            told = evaluation["robustness"]
            lines = {key: own for key, own in told.items() if key != "noise"}
            best = {name: lines[TOLD if TOLD in lines else "model"]}
            if len(runs) == 1 and TOLD in lines:
                best = {"noise unknown to the decoder": lines["model"], "noise told": lines[TOLD]}
            found |= best
            noises |= dict.fromkeys(best, [float(value) for value in told["noise"]])
        except (LookupError, TypeError, AttributeError) as error:
            raise _not_measured(run, path, "robustness") from error
    measures = (("exact match (%)", "exact_match", 100.0), ("BLEU", "bleu", 1.0))
    return [
        {
            "title": "Robustness",
            "x_label": "noise of the latent (standard deviations)",
            "y_label": label,
            "lines": {
                name: {
                    "steps": noises[name],
                    "values": [scale * float(value) for value in own[key]],
                }
                for name, own in found.items()
            },
            "meaning": "",
        }
        for label, key, scale in measures
    ]


def read_lengths(run: str | Path) -> list[LengthGroup]:
    """Read how well sentences of each length come back.

    Args:
        run: a folder of a run or a bundle, or a .json file of `evaluate`. Without an
            evaluation.json these are the metrics of the training's own test, which has no counts.

    Raises:
        ValueError: if they were not measured, or a file is damaged.
    """
    path = _evaluation_file(run)
    rows: dict[str, tuple[int, float, float]] = {}
    if path is not None:
        by_length = read_json(path, "runs").get("by_length")
        for key, own in (by_length if isinstance(by_length, dict) else {}).items():
            values = own if isinstance(own, dict) else {}
            if key in LENGTHS and _is_number(values.get("exact_match")):
                count, accuracy = values.get("sentences"), values.get("token_accuracy")
                rows[key] = (
                    count if type(count) is int else 0,
                    values["exact_match"],
                    accuracy if _is_number(accuracy) else math.nan,
                )
    elif (file := bundle_folder(run) / "metrics.json").is_file():
        metrics = read_json(file, "runs")
        for key in LENGTHS:
            value = metrics.get(f"test/exact_match_{key}", metrics.get(f"val/exact_match_{key}"))
            if _is_number(value):
                rows[key] = (0, value, math.nan)
    if not rows:
        raise _not_measured(str(run), path, "reconstruction")
    chosen = LONG if "to_60" in rows or "above_60" in rows else SHORT
    return [
        {
            "low": LENGTHS[key][0],
            "high": LENGTHS[key][1],
            "count": rows[key][0],
            "exact_match": rows[key][1],
            "token_accuracy": rows[key][2],
        }
        for key in chosen
        if key in rows
    ]


def read_rates(runs: Sequence[str], names: Sequence[str] = ()) -> list[Rate]:
    """Read the size and the cost of the latents of models, and what comes back.

    Args:
        runs: folders of runs or bundles, with an evaluation.json for more than BLEU and exact match
            of the training's own test or validation.
        names: for the figure; by default `names_of(runs)`.

    Raises:
        ValueError: if one is no bundle, was not measured, or a file is damaged.
    """
    rates = []
    for run, name in zip(runs, names or names_of(runs), strict=True):
        folder = bundle_folder(run)
        if not (folder / "config.json").is_file():
            raise ValueError(
                f"`runs` must be folders of runs or bundles for `rate`, but {run} is none instead. "
                f"Put what `seqae evaluate` wrote into the folder, as {EVALUATION}."
            )
        try:
            latent = read_json(folder / "config.json", "runs")["autoencoder"]["init_args"]["latent"]
            size = int(latent["init_args"]["latent_dim"])
        except (LookupError, TypeError, ValueError) as error:
            raise damaged(folder / "config.json", "runs", "it names no latent_dim") from error
        scores = _scores(run, folder)
        elbo, kl = scores.get("negative_elbo"), scores.get("kl")
        distortion = None if elbo is None or kl is None else elbo - kl
        exact_match, bleu = scores.get("exact_match"), scores.get("bleu")
        if exact_match is None and bleu is None and distortion is None:
            raise _not_measured(run, None, "reconstruction")
        rates.append(Rate(name, size, exact_match, bleu, kl, distortion))
    return rates


def _scores(run: str, bundle: Path) -> dict[str, float]:
    """Read the metrics of a model under their own names, those of `seqae evaluate` last."""
    path = bundle / "metrics.json"
    found: dict[str, float] = {}
    if path.is_file():
        metrics = read_json(path, "runs")
        for stage in ("val/", "test/"):
            found |= {
                key.removeprefix(stage): value
                for key, value in metrics.items()
                if key.startswith(stage) and _is_number(value)
            }
    # A training's own `kl` may be weighted; only that of an evaluation goes with its ELBO.
    found = {key: value for key, value in found.items() if key in ("exact_match", "bleu")}
    if evaluation := _evaluation_file(run):
        scores = read_json(evaluation, "runs").get("scores")
        own = scores.get("model") if isinstance(scores, dict) else None
        if isinstance(own, dict):
            found |= {key: value for key, value in own.items() if _is_number(value)}
    return found


def names_of(runs: Sequence[str]) -> list[str]:
    """Name runs by the parts of their paths in which they differ.

    Args:
        runs: paths; `runs/a/1` and `runs/b/1` are a and b. Equal ones are numbered from the second
            on.
    """
    names = _differing_parts(runs)
    earlier = Counter[str]()
    for place, name in enumerate(names):
        earlier[name] += 1
        if earlier[name] > 1:
            names[place] = f"{name} ({earlier[name]})"
    return names


def _differing_parts(runs: Sequence[str]) -> list[str]:
    parts = [
        Path(run).with_suffix("" if run.endswith(".json") else Path(run).suffix).parts
        for run in runs
    ]
    if len(set(parts)) < 2:
        return [own[-1] if own else run for own, run in zip(parts, runs, strict=True)]
    first = 0
    while len({own[first : first + 1] for own in parts}) == 1:
        first += 1
    last = 0
    while len({own[len(own) - 1 - last : len(own) - last] for own in parts}) == 1:
        last += 1
    return [
        "/".join(own[first : len(own) - last]) or run for own, run in zip(parts, runs, strict=True)
    ]


def _evaluation_file(run: str | Path) -> Path | None:
    folder = find_folder(run)
    if folder.suffix == ".json" and folder.is_file():
        return folder
    places = (folder / EVALUATION, bundle_folder(run) / EVALUATION)
    return next((path for path in places if path.is_file()), None)


def _evaluation(run: str, group: str) -> tuple[Path, dict[str, Any]]:
    path = _evaluation_file(run)
    if path is None:
        raise _not_measured(run, None, group)
    return path, read_json(path, "runs")


def _not_measured(run: str, path: Path | None, group: str) -> ValueError:
    is_folder = find_folder(run) == Path(run) and Path(run).is_dir()
    output = path or (f"{run}/{EVALUATION}" if is_folder else EVALUATION)
    return ValueError(
        f"`runs` must have been measured, but {run} has no figures of {group}. Measure it: `seqae "
        f"evaluate {run} --metrics {group} --output {output}`."
    )


def _is_number(value: Any) -> TypeGuard[float]:
    return type(value) in (int, float) and math.isfinite(value)
