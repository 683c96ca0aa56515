"""Train one recipe over latent sizes: how much of a sentence fits in how many dimensions.

    scripts/rate_distortion --folder runs/rates --steps 1500 --picture docs/rate_distortion.svg

Everything but the size is the same: recipe, steps, seed, sentences. The picture shows BLEU by size,
and for each size BLEU by the length of the sentences. `--output` gets all metrics.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from driver import ROOT, benchmark_parser, report
from trainings import Plan, budget, carry_out

from seqae.tasks.charts import Line, Panel, draw, shades
from seqae.units import format_value, with_unit

SIZES = (16, 32, 64, 128, 256, 384)
LENGTHS = {"to_5": "1–5", "to_10": "6–10", "to_20": "11–20", "above_20": "21+"}


def main() -> int:
    parser = benchmark_parser(__doc__)
    parser.add_argument(
        "--folder", type=Path, required=True, help="where runs and results are kept"
    )
    parser.add_argument("--config", type=Path, default=ROOT / "configs" / "gru.yaml")
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES))
    parser.add_argument("--key", default="model.autoencoder.latent.latent_dim", help="of the size")
    parser.add_argument("--steps", type=int, default=1500, help="optimizer steps of each run")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time, one thread each")
    parser.add_argument("--limit", type=int, default=1000, help="sentences that are measured")
    parser.add_argument("--picture", type=Path, help="write the picture to this .svg file")
    args = parser.parse_args()
    plans = [
        Plan(
            f"{args.config.stem}_z{size}",
            str(args.config),
            (
                *(f"--{args.key}", str(size), "--seed_everything", str(args.seed)),
                *("--model.seed", str(args.seed), *budget(args.steps, None)),
            ),
            ("reconstruction",),
            args.limit,
        )
        for size in args.sizes
    ]
    try:
        results, failed = carry_out(plans, args.folder, args.jobs)
    except ValueError as error:
        sys.exit(str(error))
    sizes = [z for z, plan in zip(args.sizes, plans, strict=True) if plan.name in results]
    if not sizes:
        return 1
    measured = dict(zip(sizes, results.values(), strict=True))
    rows = [{"latent_dim": size, **row_of(result)} for size, result in measured.items()]
    report(rows, {"seed": args.seed, "steps": args.steps, "runs": results}, args.output)
    if args.picture is not None:
        caption = (
            f"{args.config.name}, {args.steps:,} steps, seed {args.seed}; {args.limit:,} "
            f"unseen sentences; sacreBLEU of greedy reconstructions"
        )
        args.picture.write_text(picture(measured, caption), encoding="utf-8")
        print(f"\npicture: {args.picture}")
    return 1 if failed else 0


def row_of(result: dict[str, Any]) -> dict[str, str]:
    scores = result["scores"]["model"]
    return {
        "exact match": with_unit(scores["exact_match"], "%"),
        "BLEU": format_value(scores["bleu"], "0 to 100"),
        **{
            f"{name} words": format_value(result["by_length"][key]["bleu"], "0 to 100")
            for key, name in LENGTHS.items()
            if key in result["by_length"]
        },
        "seconds": format_value(result["seconds"], "seconds"),
    }


def picture(measured: dict[int, dict[str, Any]], caption: str) -> str:
    colors = shades(len(measured))
    bleu = [result["scores"]["model"]["bleu"] for result in measured.values()]
    by_length = [
        Line(
            f"z {size}",
            [result["by_length"].get(key, {}).get("bleu") for key in LENGTHS],
            color,
        )
        for (size, result), color in zip(measured.items(), colors, strict=True)
    ]
    panels = [
        Panel(
            "BLEU by size of the latent",
            "latent_dim",
            [str(size) for size in measured],
            [Line("", bleu, colors[-1])],
            show_values=True,
        ),
        Panel("BLEU by length", "words of the sentence", list(LENGTHS.values()), by_length),
    ]
    return draw(panels, caption)


if __name__ == "__main__":
    sys.exit(main())
