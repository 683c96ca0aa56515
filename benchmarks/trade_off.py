"""Measure what noise takes from a latent: copies, content, and the language of what is written.

    python benchmarks/trade_off.py runs/fluent runs/fluent_z128 --picture docs/trade_off.svg

For each model that is told noise, and each σ: latents of unseen sentences are perturbed and decoded
at σ, and so are those of training sentences (samples) and points half way between two. Exact
match and content words say what is left of the sentence, the judge's perplexity whether it is
language. Examples are printed.
"""

from __future__ import annotations

import random
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from driver import benchmark_parser, report

import seqae
from seqae.bundle.operations.latent_ops import at_unit_scale
from seqae.bundle.text_autoencoder import TextAutoencoder
from seqae.metrics.judge.ngram_judge import NgramJudge
from seqae.metrics.text import content_kept, copies, distinct
from seqae.model.latents.latent_noise import perturbed
from seqae.tasks.charts import Line, Panel, draw, shades
from seqae.tasks.evaluate.texts import read_split

NOISE = (0.0, 0.3, 0.5, 0.7, 1.0, 1.5, 2.0, 3.0, 5.0)


def main() -> int:
    parser = benchmark_parser(__doc__)
    parser.add_argument("models", nargs="+", help="runs or bundles, trained with latent_noise")
    parser.add_argument("--limit", type=int, default=500, help="sentences of each kind")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--examples", type=int, default=4, help="sentences to show at each noise")
    parser.add_argument("--picture", type=Path, help="write the picture to this .svg file")
    args = parser.parse_args()
    torch.set_num_threads(1)
    rows: list[dict[str, str]] = []
    results: dict[str, Any] = {}
    for where in args.models:
        model = seqae.load(where)
        if model.autoencoder.latent_noise is None:
            sys.exit(f"{where} must be trained with latent_noise, but it is not.")
        name = f"z {model.latent_dim}"
        if name in results:
            name = Path(where).name
        results[name] = measure(model, where, args.limit, args.seed, args.examples)
        rows += [{"model": name, **row_of(values)} for values in results[name]["by_noise"]]
    report(rows, {"seed": args.seed, "limit": args.limit, "models": results}, args.output)
    for name, result in results.items():
        real = result["real"]
        print(
            f"\n{name}, real text: perplexity {real['perplexity']:.1f}, unknown words "
            f"{100 * real['unknown_words']:.1f} %, distinct-2 {real['distinct_2']:.3f}"
        )
        show_examples(result["examples"])
    if args.picture is not None:
        caption = f"{args.limit:,} unseen sentences, seed {args.seed}, greedy decoding at σ"
        args.picture.write_text(picture(results, caption), encoding="utf-8")
        print(f"\npicture: {args.picture}")
    return 0


def measure(
    model: TextAutoencoder, where: str, limit: int, seed: int, examples: int
) -> dict[str, Any]:
    """Measure a model at each noise, beside real text."""
    splits = [read_split(model, Path(where), split) for split in ("train", "test")]
    train, test = ([model.normalization(text) for text in split.inputs] for split in splits)
    judge = NgramJudge(train)
    rng = random.Random(seed)
    count = min(limit, len(test) // 2)
    drawn = rng.sample(test, 2 * count)
    own, others, read = drawn[:count], drawn[count:], rng.sample(train, min(limit, len(train)))
    latents, ends, known = (model.encode(texts, "truncate") for texts in (own, others, read))
    middle = at_unit_scale(latents + ends)
    real = judge.perplexity(own)
    common = judge.common()
    pairs = list(zip(own, others, strict=True))
    by_noise, shown = [], []
    for sigma in NOISE:
        generator = torch.Generator().manual_seed(seed + 1)
        noisy = noised(latents, sigma, generator)
        written = model.decode(noisy, noise=sigma)
        samples = model.decode(noised(known, sigma, generator), noise=sigma)
        midpoints = model.decode(middle, noise=sigma)
        kept = content_kept(written, [(text, text) for text in own], common)
        both = content_kept(midpoints, pairs, common)
        by_noise.append(
            {
                "noise": sigma,
                "exact_match": float(np.mean([a == b for a, b in zip(written, own, strict=True)])),
                "content_kept": kept.share,
                "sample_perplexity": judge.perplexity(samples) / real,
                "sample_unknown_words": judge.unknown(samples),
                "sample_distinct_2": distinct(samples, 2),
                "sample_copies": copies(samples, train),
                "midpoint_perplexity": judge.perplexity(midpoints) / real,
                "midpoint_both_ends": both.both,
            }
        )
        shown.append({"noise": sigma, "written": written[:examples], "samples": samples[:examples]})
        shown[-1]["midpoints"] = midpoints[:examples]
    examples_of = {"texts": own[:examples], "others": others[:examples], "at": shown}
    real_text = {
        "perplexity": real,
        "unknown_words": judge.unknown(own),
        "distinct_2": distinct(own, 2),
    }
    return {"real": real_text, "by_noise": by_noise, "examples": examples_of}


def noised(latents: np.ndarray, sigma: float, generator: torch.Generator) -> np.ndarray:
    """Perturb latents as training does."""
    noise = torch.full((len(latents),), sigma)
    return perturbed(torch.from_numpy(latents), noise, generator).numpy()


def row_of(values: dict[str, float]) -> dict[str, str]:
    def percent(key: str) -> str:
        return f"{100 * values[key]:.1f} %"

    def times(key: str) -> str:
        return f"{values[key]:.2f} x"

    return {
        "noise": f"{values['noise']:g}",
        "exact": percent("exact_match"),
        "content kept": percent("content_kept"),
        "samples: perplexity": times("sample_perplexity"),
        "unknown words": percent("sample_unknown_words"),
        "distinct-2": f"{values['sample_distinct_2']:.3f}",
        "copies": percent("sample_copies"),
        "midpoints: perplexity": times("midpoint_perplexity"),
        "both ends": percent("midpoint_both_ends"),
    }


def show_examples(examples: dict[str, Any]) -> None:
    print("\nsamples: training sentences, perturbed")
    for at in examples["at"]:
        for text in at["samples"]:
            print(f"  {at['noise']:>4g}  {text}")
    print("\nbetween two sentences")
    for index, (first, last) in enumerate(zip(examples["texts"], examples["others"], strict=True)):
        print(f"  {first}  |  {last}")
        for at in examples["at"]:
            print(f"  {at['noise']:>4g}  {at['midpoints'][index]}")


def picture(results: dict[str, Any], caption: str) -> str:
    """Draw copies and content, samples, and midpoints over noise: a line for each model."""
    ticks = [f"{sigma:g}" for sigma in NOISE]
    colors = shades(max(2, len(results)))[-len(results) :]

    def lines(key: str, scale: float, top: float = 1e9) -> list[Line]:
        return [
            Line(name, [min(scale * at[key], top) for at in result["by_noise"]], color)
            for (name, result), color in zip(results.items(), colors, strict=True)
        ]

    of_noise = "σ, noise of the latent"
    panels = [
        Panel("Exact copies of unseen sentences, %", of_noise, ticks, lines("exact_match", 100)),
        Panel("Content words kept, %", of_noise, ticks, lines("content_kept", 100)),
        Panel(
            "Perplexity of samples, × real text",
            of_noise,
            ticks,
            lines("sample_perplexity", 1, 4),
            top=4,
        ),
        Panel(
            "Perplexity of midpoints, × real text",
            of_noise,
            ticks,
            lines("midpoint_perplexity", 1, 8),
            top=8,
        ),
    ]
    return draw(panels, caption)


if __name__ == "__main__":
    sys.exit(main())
