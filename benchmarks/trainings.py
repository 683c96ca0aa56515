"""Train and evaluate in bulk: each run in a process of its own, its results kept as JSON.

Each run takes one thread. Finished runs are not repeated: a program that was stopped continues when
it is started again, and a run that was stopped resumes from its last checkpoint.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from driver import ROOT

SEQAE = (sys.executable, "-c", "import sys; from seqae.cli import main; sys.exit(main())")


@dataclass(frozen=True)
class Plan:
    """A run to train and to evaluate.

    Attributes:
        name: of the run, a file name.
        config: the recipe.
        options: more options of `seqae fit`.
        metrics: groups of metrics of `seqae evaluate`.
        limit: sentences to evaluate on; 0 takes all.
    """

    name: str
    config: str
    options: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ("reconstruction", "likelihood", "latent")
    limit: int = 1000


def carry_out(
    plans: Sequence[Plan], folder: Path, jobs: int
) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """Train and evaluate.

    Args:
        plans: the runs, in this order.
        folder: where runs and results are kept.
        jobs: number of runs at a time.

    Returns:
        The results by name, and the names of runs that failed; their output is in `NAME.log`.

    Raises:
        ValueError: if the folder has a run of the same name with other settings.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for plan in plans:  # before hours of work
        check_kept(plan, folder)
    with ThreadPoolExecutor(jobs) as pool:
        outcomes = list(pool.map(lambda plan: _carry_out(plan, folder), plans))
    pairs = zip(plans, outcomes, strict=True)
    results = {plan.name: result for plan, result in pairs if result is not None}
    return results, [plan.name for plan in plans if plan.name not in results]


def _carry_out(plan: Plan, folder: Path) -> dict[str, Any] | None:
    done = folder / f"{plan.name}.json"
    planned = plain(plan)
    if done.exists():
        kept: dict[str, Any] = json.loads(done.read_text(encoding="utf-8"))
        return kept
    run, log = folder / plan.name, folder / f"{plan.name}.log"
    evaluation = run / "evaluation.json"
    fit = ["fit", "-c", plan.config, *plan.options, "--run_dir", str(run), "--threads", "1"]
    fit += ["--trainer.enable_progress_bar", "false", "--samples", "0"]
    sessions = folder / f"{plan.name}.sessions"
    if (run / "checkpoints" / "last.ckpt").exists():
        fit = ["fit", "--resume", str(run)]
        with sessions.open("a", encoding="utf-8") as file:
            file.write(f"{began(run)}\n")
    else:  # new, or stopped before its first checkpoint
        shutil.rmtree(run, ignore_errors=True)
        sessions.write_text("", encoding="utf-8")
    (folder / f"{plan.name}.plan").write_text(json.dumps(planned), encoding="utf-8")
    measure = ["evaluate", str(run), "--metrics", *plan.metrics, "--examples", "0"]
    measure += ["--limit", str(plan.limit), "--output", str(evaluation)]
    print(f"{plan.name} ...", file=sys.stderr, flush=True)
    if not (_call(fit, log) and _call(measure, log)):
        lines = log.read_text(encoding="utf-8").strip().splitlines()
        print(f"{plan.name} failed: {lines[-1] if lines else log}", file=sys.stderr, flush=True)
        return None
    measured = json.loads(evaluation.read_text(encoding="utf-8"))
    training = json.loads((run / "bundle" / "training.json").read_text(encoding="utf-8"))
    lines = (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    starts = {*map(float, sessions.read_text(encoding="utf-8").split()), began(run)}
    result = {
        "plan": planned,
        "scores": measured["scores"],
        "by_length": measured["by_length"],
        # Of the best model, in the bundle; below, of the whole run with its validations.
        "training": {key: training[key] for key in ("optimizer_steps", "tokens", "seconds")},
        "steps": max(row["step"] for row in rows),
        "seconds": round(seconds_of(rows, starts), 1),
    }
    unfinished = done.with_suffix(".unfinished")
    unfinished.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    os.replace(unfinished, done)
    return result


def plain(plan: Plan) -> dict[str, Any]:
    """Convert a plan to plain data; the path of a shipped recipe is relative to the repository."""
    data: dict[str, Any] = json.loads(json.dumps(asdict(plan)))
    config = Path(plan.config).resolve()
    if config.is_relative_to(ROOT.resolve()):
        data["config"] = str(config.relative_to(ROOT.resolve()))
    return data


def check_kept(plan: Plan, folder: Path) -> None:
    """Refuse a folder that has a run of this name with other settings, finished or begun.

    Raises:
        ValueError: if there is one.
    """
    done, begun = folder / f"{plan.name}.json", folder / f"{plan.name}.plan"
    kept = None
    if done.exists():
        kept = json.loads(done.read_text(encoding="utf-8"))["plan"]
    elif begun.exists() and (folder / plan.name).exists():
        kept = json.loads(begun.read_text(encoding="utf-8"))
    if kept is not None and kept != plain(plan):
        raise ValueError(
            f"`folder` must be of the same settings, but {folder / plan.name} was made under "
            f"others. Name another one with `--folder`, or delete {plan.name}* there."
        )


def began(run: Path) -> float:
    """Return when the latest session of a run began: it writes `config.yaml` then."""
    return (run / "config.yaml").stat().st_mtime


def seconds_of(rows: Sequence[dict[str, Any]], sessions: Iterable[float]) -> float:
    """Compute how long a run trained, without the time between its sessions.

    Args:
        rows: of its `metrics.jsonl`, which lacks the steps that were lost with a stop.
        sessions: when each session began.
    """
    starts = [*sorted(sessions), float("inf")]
    total = 0.0
    for start, end in zip(starts[:-1], starts[1:], strict=True):
        times = [row["time"] for row in rows if start <= row["time"] < end]
        total += max(times, default=start) - start
    return total


def _call(arguments: Sequence[str], log: Path) -> bool:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    with log.open("a", encoding="utf-8") as file:
        file.write(f"$ seqae {' '.join(arguments)}\n")
        file.flush()
        done = subprocess.run([*SEQAE, *arguments], stdout=file, stderr=file, env=environment)
    return done.returncode == 0


def budget(steps: int | None, epochs: int | None) -> tuple[str, ...]:
    """Return the options for a number of steps or epochs; by default a recipe keeps its own."""
    if steps is not None:
        every = max(1, steps // 4)
        return (
            *("--trainer.max_steps", str(steps), "--trainer.max_epochs", "-1"),
            *("--trainer.val_check_interval", str(every)),
            *("--trainer.check_val_every_n_epoch", "null"),
        )
    return () if epochs is None else ("--trainer.max_epochs", str(epochs))


def seconds_per_step(plan: Plan, folder: Path, steps: int = 60) -> float:
    """Measure the seconds of a recipe's step here, in the later half of a short run.

    A budget in seconds is converted to steps before training, so that the learning rate still falls
    to zero at the end.
    """
    run = folder / f"{plan.name}.probe"
    shutil.rmtree(run, ignore_errors=True)
    options = ["--trainer.max_steps", str(steps), "--trainer.log_every_n_steps", str(steps // 2)]
    options += ["--trainer.limit_val_batches", "0", "--checkpoint.every_n_steps", "0"]
    options += ["--threads", "1", "--samples", "0", "--trainer.enable_progress_bar", "false"]
    fit = ["fit", "-c", plan.config, *plan.options, "--run_dir", str(run), *options]
    log = folder / f"{plan.name}.log"
    if not _call(fit, log):
        raise ValueError(f"`config` must be a recipe that trains, but {plan.config} failed: {log}")
    rows = (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    times = [json.loads(line)["time"] for line in rows]
    shutil.rmtree(run)
    return float((times[-1] - times[0]) / (steps - steps // 2))


Column = Callable[[dict[str, Any]], str]


def markdown(results: dict[str, dict[str, Any]], columns: dict[str, Column]) -> str:
    """Format a Markdown table, one row for each result, with right-aligned numbers."""
    lines = [
        "| recipe | " + " | ".join(columns) + " |",
        "|---|" + "---:|" * len(columns),
    ]
    for name, result in results.items():
        lines.append(f"| {name} | " + " | ".join(show(result) for show in columns.values()) + " |")
    return "\n".join(lines) + "\n"
