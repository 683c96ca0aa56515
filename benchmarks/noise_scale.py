"""Measure the gradient noise scale of a recipe: up to which size do larger batches save steps?

    python benchmarks/noise_scale.py configs/gru.yaml [--output benchmarks/results/noise_scale.json]

McCandlish et al. 2018 (arXiv 1812.06162), appendix A.1: from the squared norm of the gradient of a
batch of b tokens, and that of the mean gradient over many batches (B tokens in all),

    |G|^2 = (B |G_B|^2 - b |G_b|^2) / (B - b)        the true gradient
    S     = (|G_b|^2 - |G_B|^2) / (1 / b - 1 / B)    the trace of its covariance

and the noise scale is S / |G|^2, in tokens. A batch of that size needs twice the minimum of steps
and twice the minimum of sentences; far above it, more processes read more text for the same
progress. The scale grows as the loss falls, so it is measured at several steps of a training. Near
the end the gradient drowns in the noise of any number of batches, and only that is reported.
"""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path
from typing import Any

import torch
from driver import benchmark_parser, report
from reference import add_callback
from torch import Tensor


def main() -> None:
    parser = benchmark_parser(__doc__)
    parser.add_argument("config", nargs="?", default="configs/gru.yaml")
    parser.add_argument("--at", type=int, nargs="+", default=[200, 500, 1000, 2000, 4000])
    parser.add_argument("--batches", type=int, default=256, help="whose gradients are taken")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    from lightning.pytorch import Callback, Trainer

    from seqae.cli import main as seqae

    measurements: list[dict[str, Any]] = []

    class Measure(Callback):
        def on_train_batch_start(self, trainer: Trainer, pl_module: Any, *arguments: Any) -> None:
            if trainer.global_step in args.at and trainer.global_step not in [
                row["step"] for row in measurements
            ]:
                measurements.append(measure(pl_module, trainer.global_step, args.batches))

    add_callback(Measure())
    with tempfile.TemporaryDirectory() as folder:
        run = ["--run_dir", f"{folder}/run", "--threads", str(args.threads), "--samples", "0"]
        last = ["--trainer.max_steps", str(max(args.at) + 1), "--trainer.limit_val_batches", "0"]
        last += ["--checkpoint.every_n_steps", "0", "--prior_sentences", "0"]
        seqae(["fit", "-c", args.config, *run, *last])
    rows = [
        {
            "step": f"{row['step']:,}",
            "loss": f"{row['loss']:.2f}",
            "tokens a batch": f"{row['batch_tokens']:,.0f}",
            "noise scale, tokens": format_scale(row["noise_scale"]),
        }
        for row in measurements
    ]
    report(rows, {"config": Path(args.config).name, "rows": measurements}, args.output)


def measure(module: Any, step: int, count: int) -> dict[str, Any]:
    """Compare gradients of batches from all over the corpus; the model does not change."""
    weights = [w for w in module.autoencoder.parameters() if w.requires_grad]
    batches, total = [], [torch.zeros_like(weight) for weight in weights]
    loader = iter(module.datamodule.train_dataloader())
    state = torch.get_rng_state()
    for number in range(count):
        batch = next(loader)
        generator = torch.Generator().manual_seed(number)
        values = module.objective(module.autoencoder, batch, step, generator)
        # None: a weight that the loss does not reach.
        gradients = torch.autograd.grad(values["loss"], weights, allow_unused=True)
        gradients = [
            torch.zeros_like(w) if g is None else g for w, g in zip(weights, gradients, strict=True)
        ]
        loss = float(values["loss"].detach())
        batches.append((batch.num_targets, loss, squared_norm(gradients)))
        total = [t + g * batch.num_targets for t, g in zip(total, gradients, strict=True)]
    torch.set_rng_state(state)
    tokens = sum(n for n, _, _ in batches)
    small = statistics.harmonic_mean([n for n, _, _ in batches])
    norm_of_small = statistics.mean(norm for _, _, norm in batches)
    norm_of_all = squared_norm([t / tokens for t in total])
    gradient = (tokens * norm_of_all - small * norm_of_small) / (tokens - small)
    noise = (norm_of_small - norm_of_all) / (1 / small - 1 / tokens)
    return {
        "step": step,
        "loss": statistics.mean(loss for _, loss, _ in batches),
        "batch_tokens": small,
        # Not above zero: all these batches together cannot tell the gradient from noise.
        "noise_scale": noise / gradient if gradient > 0 else None,
        "tokens": tokens,
    }


def format_scale(scale: float | None) -> str:
    """Format a noise scale, or say that it was too large to be measured."""
    return "more than was measured" if scale is None else f"{scale:,.0f}"


def squared_norm(gradients: list[Tensor]) -> float:
    """Compute the squared norm of all gradients together."""
    return sum(float(g.detach().double().pow(2).sum()) for g in gradients)


if __name__ == "__main__":
    main()
