"""Train one recipe over latent sizes: how much of a sentence fits in how many dimensions.

    scripts/rate_distortion --folder runs/rates --steps 1500 --picture docs/rate_distortion.svg

Everything but the size is the same: recipe, steps, seed, sentences. The picture shows BLEU against
the size, and for each size BLEU against the length of the sentences. All figures go to `--output`.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from charts import Line, Panel, draw, shades
from driver import ROOT, parser, report
from trainings import Plan, budget, carry_out

SIZES = (16, 32, 64, 128, 256, 384)
LENGTHS = {"to_5": "1–5", "to_10": "6–10", "to_20": "11–20", "above_20": "21+"}


def main() -> int:
    found = parser(__doc__)
    found.add_argument("--folder", type=Path, required=True, help="where runs and results are kept")
    found.add_argument("--config", type=Path, default=ROOT / "configs" / "gru.yaml")
    found.add_argument("--sizes", type=int, nargs="+", default=list(SIZES))
    found.add_argument("--key", default="model.autoencoder.latent.latent_dim", help="the size's")
    found.add_argument("--steps", type=int, default=1500, help="optimizer steps of each run")
    found.add_argument("--seed", type=int, default=0)
    found.add_argument("--jobs", type=int, default=1, help="runs at a time, one thread each")
    found.add_argument("--limit", type=int, default=1000, help="sentences that are measured")
    found.add_argument("--picture", type=Path, help="write the picture to this .svg file")
    given = found.parse_args()
    plans = [
        Plan(
            f"{given.config.stem}_z{size}",
            str(given.config),
            (
                *(f"--{given.key}", str(size), "--seed_everything", str(given.seed)),
                *("--model.seed", str(given.seed), *budget(given.steps, None)),
            ),
            ("reconstruction",),
            given.limit,
        )
        for size in given.sizes
    ]
    try:
        results, failed = carry_out(plans, given.folder, given.jobs)
    except ValueError as error:
        sys.exit(str(error))
    sizes = [z for z, plan in zip(given.sizes, plans, strict=True) if plan.name in results]
    if not sizes:
        return 1
    measured = dict(zip(sizes, results.values(), strict=True))
    rows = [{"latent_dim": size, **row_of(result)} for size, result in measured.items()]
    report(rows, {"seed": given.seed, "steps": given.steps, "runs": results}, given.output)
    if given.picture is not None:
        caption = (
            f"{given.config.name}, {given.steps:,} steps, seed {given.seed}; {given.limit:,} "
            f"unseen sentences; sacreBLEU of greedy reconstructions"
        )
        given.picture.write_text(picture(measured, caption), encoding="utf-8")
        print(f"\npicture: {given.picture}")
    return 1 if failed else 0


def row_of(result: dict[str, Any]) -> dict[str, str]:
    scores = result["scores"]["model"]
    return {
        "exact match": f"{scores['exact_match']:.1%}",
        "BLEU": f"{scores['bleu']:.1f}",
        **{
            f"{name} words": f"{result['by_length'][key]['bleu']:.1f}"
            for key, name in LENGTHS.items()
            if key in result["by_length"]
        },
        "seconds": f"{result['seconds']:,.0f}",
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
