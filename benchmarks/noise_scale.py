"""The gradient noise scale of a recipe: up to which batch do larger ones save steps?

    python benchmarks/noise_scale.py configs/gru.yaml [--output benchmarks/results/noise_scale.json]

McCandlish et al. 2018 (arXiv 1812.06162), appendix A.1: with the squared norm of the gradient of a
batch of b tokens, and of the mean over many of them (B tokens),

    |G|^2 = (B |G_B|^2 - b |G_b|^2) / (B - b)        the true gradient
    S     = (|G_b|^2 - |G_B|^2) / (1 / b - 1 / B)    the trace of its covariance

and the noise scale is S / |G|^2, in tokens. A batch of that size needs twice the fewest steps and
twice the fewest sentences; far above it, more processes read more text for the same progress. It
grows as the loss falls, so it is measured at several moments of a training. Near the end the
gradient drowns in the noise of any number of batches; then only that is said.
"""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path
from typing import Any

import torch
from driver import parser, report
from torch import Tensor


def main() -> None:
    options = parser(__doc__)
    options.add_argument("config", nargs="?", default="configs/gru.yaml")
    options.add_argument("--at", type=int, nargs="+", default=[200, 500, 1000, 2000, 4000])
    options.add_argument("--batches", type=int, default=256, help="whose gradients are taken")
    options.add_argument("--threads", type=int, default=1)
    given = options.parse_args()
    from lightning.pytorch import Callback, Trainer

    from seqae.cli import main as seqae
    from seqae.training.lightning_cli import TrainingCLI

    found: list[dict[str, Any]] = []

    class Measure(Callback):
        def on_train_batch_start(self, trainer: Trainer, pl_module: Any, *arguments: Any) -> None:
            if trainer.global_step in given.at and trainer.global_step not in [
                row["step"] for row in found
            ]:
                found.append(measure(pl_module, trainer.global_step, given.batches))

    own = TrainingCLI._callbacks
    TrainingCLI._callbacks = lambda self, more: [*own(self, more), Measure()]  # type: ignore[method-assign]
    with tempfile.TemporaryDirectory() as folder:
        run = ["--run_dir", f"{folder}/run", "--threads", str(given.threads), "--samples", "0"]
        last = ["--trainer.max_steps", str(max(given.at) + 1), "--trainer.limit_val_batches", "0"]
        last += ["--checkpoint.every_n_steps", "0", "--density_sentences", "0"]
        seqae(["fit", "-c", given.config, *run, *last])
    rows = [
        {
            "step": f"{row['step']:,}",
            "loss": f"{row['loss']:.2f}",
            "tokens a batch": f"{row['batch_tokens']:,.0f}",
            "noise scale, tokens": shown(row["noise_scale"]),
        }
        for row in found
    ]
    report(rows, {"config": Path(given.config).name, "rows": found}, given.output)


def measure(module: Any, step: int, count: int) -> dict[str, Any]:
    """Gradients of batches from all over the corpus; the model is left as it is."""
    weights = [w for w in module.autoencoder.parameters() if w.requires_grad]
    batches, total = [], [torch.zeros_like(weight) for weight in weights]
    loader = iter(module.datamodule.train_dataloader())
    state = torch.get_rng_state()
    for number in range(count):
        batch = next(loader)
        generator = torch.Generator().manual_seed(number)
        values = module.objective(module.autoencoder, batch, step, generator)
        # None: what the loss does not reach.
        gradients = torch.autograd.grad(values["loss"], weights, allow_unused=True)
        own = [
            torch.zeros_like(w) if g is None else g for w, g in zip(weights, gradients, strict=True)
        ]
        batches.append((batch.num_targets, float(values["loss"].detach()), squared(own)))
        total = [t + g * batch.num_targets for t, g in zip(total, own, strict=True)]
    torch.set_rng_state(state)
    tokens = sum(n for n, _, _ in batches)
    small = statistics.harmonic_mean([n for n, _, _ in batches])
    of_small = statistics.mean(norm for _, _, norm in batches)
    of_all = squared([t / tokens for t in total])
    gradient = (tokens * of_all - small * of_small) / (tokens - small)
    noise = (of_small - of_all) / (1 / small - 1 / tokens)
    return {
        "step": step,
        "loss": statistics.mean(loss for _, loss, _ in batches),
        "batch_tokens": small,
        # Not above zero: all these batches together do not tell the gradient from noise.
        "noise_scale": noise / gradient if gradient > 0 else None,
        "tokens": tokens,
    }


def shown(scale: float | None) -> str:
    """Thousands, or that it was too large to be measured."""
    return "more than was measured" if scale is None else f"{scale:,.0f}"


def squared(gradients: list[Tensor]) -> float:
    """The squared norm."""
    return sum(float(g.detach().double().pow(2).sum()) for g in gradients)


if __name__ == "__main__":
    main()
