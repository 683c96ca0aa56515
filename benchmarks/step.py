"""Time a training step of a recipe, and compare it with that of other checkouts.

    python benchmarks/step.py --threads 1 --clock cpu
    python benchmarks/step.py --threads 1 --clock cpu --against ../before
    python benchmarks/step.py --threads 1 --clock cpu --batch_tokens 768 1536 3072

The recipe's whole `seqae fit`, with all its callbacks and without validation, trains in turn with
others: with the same command of other checkouts, with other token budgets, and with a product of
two 2048 x 2048 matrices, the machine's own speed. The unit is target tokens per second. How many
operations a token costs is counted from the products of the recipe's weights alone (`flops`).
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from driver import (
    ROOT,
    Program,
    Turns,
    format_ratio,
    interleaved_parser,
    ratios,
    report,
    run_in_turn,
)

HERE = "this checkout"


def main() -> None:
    parser = interleaved_parser(__doc__, rounds=9)
    parser.add_argument("--recipe", default="gru")
    parser.add_argument("--against", type=Path, nargs="+", default=[], help="other checkouts")
    parser.add_argument("--batch_tokens", type=int, nargs="+", default=[], help="also with these")
    parser.add_argument("--options", nargs="*", default=[], help="more options of `seqae fit`")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)

        def fit(title: str, tree: Path, options: list[str]) -> Program:
            options = [*options, *args.options]
            return Program(
                train, (str(tree), args.recipe, str(folder / title), args.threads, options)
            )

        programs = {HERE: fit("here", ROOT, [])}
        for tree in args.against:
            programs[str(tree)] = fit(tree.name, tree.resolve(), [])
        for tokens in args.batch_tokens:
            option = ["--data.batch_tokens", str(tokens)]
            programs[f"batch_tokens {tokens}"] = fit(str(tokens), ROOT, option)
        programs["product"] = Program(product, (args.threads,))
        speeds = run_in_turn(programs, args.seconds, args.rounds, args.clock)
        counts = json.loads((folder / "here.json").read_text(encoding="utf-8"))
    flops = counts["flops_per_token"]
    rows, result = (
        [],
        {"recipe": args.recipe, "threads": args.threads, "clock": args.clock, **counts},
    )
    result["programs"] = {}
    for program in [name for name in programs if name != "product"]:
        measured: dict[str, Any] = {
            "tokens_per_second": statistics.median(speeds[program]),
            "this_over_it": ratios(speeds[HERE], speeds[program]),
            "share_of_product": ratios([s * flops for s in speeds[program]], speeds["product"]),
            "rounds": speeds[program],
        }
        result["programs"][program] = measured
        rows.append(
            {
                "program": program,
                "tokens/s": f"{measured['tokens_per_second']:,.0f}",
                f"{HERE} over it": format_ratio(measured["this_over_it"]),
                "share of the product's speed": format_ratio(measured["share_of_product"]),
            }
        )
    report(rows, result, args.output)
    print(f"\n{flops / 1e6:.2f} MFLOP a token; a step has {counts['tokens_per_step']:.0f} tokens")


def train(turns: Turns, tree: str, recipe: str, run_dir: str, threads: int, options: Any) -> None:
    """Run `seqae fit` of the checkout `tree`; also write RUN_DIR.json, what a token costs."""
    sys.path.insert(0, tree)  # before anything of the package is imported
    from lightning.pytorch import Callback, LightningModule, Trainer
    from reference import add_callback, fit

    import seqae

    assert Path(seqae.__file__).is_relative_to(tree), f"{seqae.__file__} is not of {tree}"

    class Count(Callback):
        def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
            batches = []
            for batch in pl_module.datamodule.train_dataloader():  # type: ignore[operator, union-attr]
                batches.append((len(batch), batch.num_targets))
            sentences, tokens = (sum(column) for column in zip(*batches, strict=True))
            counts = {
                "flops_per_token": flops_per_token(pl_module.autoencoder, tokens / sentences),
                "tokens_per_step": tokens / len(batches),
                "sentences_per_step": sentences / len(batches),
            }
            Path(f"{run_dir}.json").write_text(json.dumps(counts), encoding="utf-8")

    add_callback(Count())
    quiet = ["--trainer.limit_val_batches", "0", "--trainer.max_epochs", "1000", "--samples", "0"]
    config = str(ROOT / "configs" / f"{recipe}.yaml")
    fit(turns, config, run_dir, threads, [*quiet, *options])


def flops_per_token(model: Any, tokens_per_sentence: float) -> float:
    """Count the products of a training step, two operations each, forward and two gradients.

    Matrices that make or read the latent are multiplied once a sentence; the others, and the tied
    output layer, once a token. Tables that are looked up are not multiplied at all.
    """
    once_a_sentence = ("latent.", "decoder.initial", "decoder.context", "decoder.bound")
    total = 0.0
    for name, weight in model.named_parameters():
        is_table = "positions" in name or (name == "embedding.weight" and model.head != "tied")
        if weight.ndim == 2 and not is_table:
            share = 1 / tokens_per_sentence if name.startswith(once_a_sentence) else 1.0
            total += 6 * weight.numel() * share
    return total


def product(turns: Turns, threads: int) -> None:
    """Measure the machine's own speed in FLOP."""
    from reference import product as multiply

    multiply(turns, threads)


if __name__ == "__main__":
    main()
