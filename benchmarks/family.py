"""Train and evaluate every recipe, and make the table of docs/results.md.

    python benchmarks/family.py --folder runs/family --jobs 2
    python benchmarks/family.py --folder runs/short --steps 2000 --recipes gru vae vq

By default each recipe trains for as long as it says; `--steps`, `--epochs` or `--seconds` give all
recipes the same budget. A short run of each recipe, alone, converts seconds to steps, so that every
schedule ends where it should. All are evaluated on 1,000 sentences of the test split, drawn with
seed 0.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from driver import ROOT, benchmark_parser, report
from trainings import Column, Plan, budget, carry_out, markdown, seconds_per_step

from seqae.metrics.definitions import METRICS
from seqae.units import format_value, with_unit

# Metrics of the table.
KEYS = (
    "exact_match",
    "bleu",
    "unigram_bleu",
    "bits_per_byte",
    "kl",
    "mutual_information",
    "duplicates",
    "shuffle_gap",
    "isotropy",
    "detour",
    "largest_step",
)
GENERATION = (
    "judge_perplexity",
    "reverse_judge_perplexity",
    "unknown_words",
    "distinct_2",
    "midpoint_judge_perplexity",
    "midpoint_both_ends",
)


def main() -> int:
    args = make_parser().parse_args()
    configs = sorted((ROOT / "configs").glob("*.yaml"))
    chosen = [c for c in configs if args.recipes is None or c.stem in args.recipes]
    unknown = set(args.recipes or ()) - {config.stem for config in configs}
    if unknown or not chosen:
        sys.exit(f"`recipes` must be of configs/, but there is no {', '.join(sorted(unknown))}")
    metrics: tuple[str, ...] = ("reconstruction", "likelihood", "latent")
    metrics += ("generation",) if args.generation else ()
    seed = ("--seed_everything", str(args.seed), "--model.seed", str(args.seed))
    plans = [
        Plan(config.stem, str(config), (*seed, *args.option), metrics, args.limit)
        for config in chosen
    ]
    try:
        plans = [with_budget(plan, args) for plan in plans]
        results, failed = carry_out(plans, args.folder, args.jobs)
    except ValueError as error:
        sys.exit(str(error))
    if not results:
        return 1
    columns = table_columns(args.generation)
    table = markdown(results, columns)
    (args.folder / "family.md").write_text(table, encoding="utf-8")
    rows = [
        {"recipe": name, **{heading: show(result) for heading, show in columns.items()}}
        for name, result in results.items()
    ]
    report(rows, {"seed": args.seed, "runs": results, "failed": failed}, args.output)
    print(f"\nas Markdown: {args.folder / 'family.md'}")
    return 1 if failed else 0


def make_parser() -> argparse.ArgumentParser:
    parser = benchmark_parser(__doc__)
    parser.add_argument(
        "--folder", type=Path, required=True, help="where runs and results are kept"
    )
    parser.add_argument("--recipes", nargs="+", help="names of configs/; by default all")
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--steps", type=int, help="optimizer steps of each run")
    length.add_argument("--epochs", type=int, help="epochs of each run")
    length.add_argument("--seconds", type=float, help="time of each run, measured beforehand")
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time, one thread each")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--limit", type=int, default=1000, help="sentences that are measured")
    parser.add_argument("--generation", action="store_true", help="samples and midpoints, too")
    parser.add_argument(
        "--option",
        action="append",
        default=[],
        help="one more option of `seqae fit`, --option=--a.b=c",
    )
    return parser


def with_budget(plan: Plan, args: argparse.Namespace) -> Plan:
    steps = args.steps
    if args.seconds is not None:
        measured = (
            args.folder / f"{plan.name}.seconds_per_step"
        )  # kept for the next run of the same plan
        if not measured.exists():
            args.folder.mkdir(parents=True, exist_ok=True)
            measured.write_text(str(seconds_per_step(plan, args.folder)))
        steps = max(100, round(args.seconds / float(measured.read_text())))
    options = (*plan.options, *budget(steps, args.epochs))
    return Plan(plan.name, plan.config, options, plan.metrics, plan.limit)


def table_columns(with_generation: bool) -> dict[str, Column]:
    def column(key: str) -> Column:
        def show(result: dict[str, Any]) -> str:
            value, unit = result["scores"]["model"].get(key), METRICS[key].unit
            return with_unit(value, unit) if unit == "%" else format_value(value, unit)

        return show

    keys = KEYS + (GENERATION if with_generation else ())
    columns = {heading(key): column(key) for key in keys}
    columns["active units"] = active_units
    columns["training"] = lambda result: f"{result['seconds']:,.0f} s, {result['steps']:,} steps"
    return columns


def heading(key: str) -> str:
    """Name a metric with its unit, which stands in the cells of a share; a range needs none."""
    metric = METRICS[key]
    is_named = metric.unit == "%" or " to " in metric.unit
    return metric.label if is_named else f"{metric.label}, {metric.unit}"


def active_units(result: dict[str, Any]) -> str:
    scores = result["scores"]["model"]
    return f"{scores['active_units']:.0f} of {scores['latent_dim']}" if "kl" in scores else "–"


if __name__ == "__main__":
    sys.exit(main())
