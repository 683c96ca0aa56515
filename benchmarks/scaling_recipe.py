"""Predict the memory and the speed of a recipe's training on H100s, from counts and constants.

    python benchmarks/scaling_recipe.py                        # the tables of docs/scaling.md
    python benchmarks/scaling_recipe.py --recipe my.yaml --product_share 0.6

The recipe is read and its model built without numbers (recipe_counts.py); nothing is trained. The
constants are those of data sheets, or assumptions; `scripts/gpu_selftest` measures them, and its
JSON file is taken with `--measured FILE`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from driver import benchmark_parser
from recipe_counts import Counts, count, read_recipe
from scaling import NETWORKS, exchange_seconds

GPUS = (1, 8, 64)
RECIPE = ["scale/transformer"]

# Tokens a second of one core that reads, tokenises and batches a stream of documents; measured by
# `scripts/gpu_selftest --device cpu --small --only loader` (docs/results.md).
LOADER_TOKENS = 0.78e6


@dataclass(frozen=True)
class Device:
    """Constants of a GPU.

    Attributes:
        name: what they belong to.
        peak: FLOP/s of bf16 products, dense.
        bandwidth: bytes a second of its memory.
        memory: bytes.
        product_share: share of the peak that large products reach.
        traffic_share: share of the bandwidth that small operators reach.
        host_seconds: of a step in which the GPU waits for Python.
    """

    name: str = "H100 SXM"
    peak: float = 989e12
    bandwidth: float = 3.35e12
    memory: float = 80e9
    product_share: float = 0.7
    traffic_share: float = 0.8
    host_seconds: float = 0.0045


def block_bytes(hidden: int, feedforward: int) -> tuple[int, int]:
    """Count what the small operators of a compiled block move, in bytes a token: forward, backward.

    In bf16, each fused kernel reading its inputs and writing its outputs once. Products are left
    out: they wait for arithmetic, not for memory.
    """
    norms, rotation, attention, residuals, activation = 8, 8, 8, 10, 4
    forward = (norms + rotation + attention + residuals) * hidden + activation * feedforward
    norms, rotation, attention, activation = 16, 8, 16, 6
    backward = (norms + rotation + attention) * hidden + activation * feedforward
    return forward, backward


def saved_bytes(hidden: int, feedforward: int) -> int:
    """Count what a block keeps for its backward pass, in bytes a token.

    In bf16: its input, two norms, query, key and value, what was attended to, the sum in between,
    and both sides of the activation.
    """
    return 16 * hidden + 4 * feedforward


LOGIT_BYTES = 12  # written, read for the maximum, the sum and the slope, which is written and read
WEIGHT_BYTES = 52  # a step: AdamW 28, clipping 12, the cast for products 6, its gradient's 6
STATE_BYTES = {"weights, float32": 4, "gradients": 4, "AdamW": 8, "weights, bf16": 2, "buckets": 4}
LOSS_BYTES = 2**26 * (2 + 4 + 2)  # a chunk of logits in bf16, float32, and its slope in bf16


def memory(counts: Counts) -> dict[str, float]:
    """Estimate what training needs on each GPU, in bytes by purpose."""
    states = sum(STATE_BYTES.values()) * counts.parameters
    saved = saved_bytes(counts.hidden_dim, counts.feedforward_dim) * counts.block_tokens
    features = 6 * 4 * counts.hidden_dim  # embedded twice, unbound, features and their gradient
    tokens = counts.targets * (saved + features)
    loss = LOSS_BYTES + 4 * counts.weights["embedding"]
    return {"weights and optimizer": states, "activations": tokens, "loss": loss}


def step_parts(counts: Counts, device: Device) -> dict[str, float]:
    """Estimate where the time of a step on one GPU goes, in seconds by purpose."""
    moved = device.bandwidth * device.traffic_share
    block = sum(block_bytes(counts.hidden_dim, counts.feedforward_dim)) * counts.block_tokens
    return {
        "products": counts.targets * counts.flops / (device.peak * device.product_share),
        "small operators of the blocks": counts.targets * block / moved,
        "softmax and loss": counts.targets * counts.vocab_size * LOGIT_BYTES / moved,
        "optimizer": WEIGHT_BYTES * counts.parameters / moved,
        "host": device.host_seconds,
    }


def cluster(
    counts: Counts, device: Device, overlap: float, loader_tokens: float
) -> list[dict[str, Any]]:
    """Predict each number of GPUs on each network."""
    parts = step_parts(counts, device)
    alone = sum(parts.values())
    backward = (alone - parts["host"] - parts["optimizer"]) * 2 / 3
    found = []
    for name in ("8 x 400 Gb/s", "1 x 100 Gb/s"):
        for gpus in GPUS:
            exchange = exchange_seconds(4.0 * counts.parameters, gpus, NETWORKS[name])
            exposed = max(0.0, exchange - overlap * backward)
            step = alone + exposed
            speed = gpus * counts.targets / step
            found.append(
                {
                    "network": name,
                    "gpus": gpus,
                    "exchange": exchange,
                    "exposed": exposed,
                    "step": step,
                    "tokens_per_second": speed,
                    "share_of_peak": speed * counts.flops / device.peak / gpus,
                    "hours": counts.steps * step / 3600,
                    "tokens": counts.steps * gpus * counts.targets,
                    "loader_cores": math.ceil(speed / gpus / loader_tokens),
                }
            )
    return found


def budget_rows(counts: Counts, device: Device) -> list[dict[str, str]]:
    """Format what the recipe is made of."""
    rows = [
        {"what": f"weights, {name}", "how much": f"{number / 1e6:.1f} M"}
        for name, number in [*counts.weights.items(), ("all", counts.parameters)]
    ]
    rows += [
        {"what": "products of a token, forward and backward", "how much": mega(counts.flops)},
        {"what": "target tokens of a step, a GPU", "how much": f"{counts.targets:,}"},
    ]
    used = memory(counts)
    rows += [
        {"what": f"memory: {name}", "how much": f"{size / 1e9:.1f} GB"}
        for name, size in used.items()
    ]
    share = sum(used.values()) / device.memory
    total = f"{sum(used.values()) / 1e9:.1f} GB, {share:.0%} of {device.memory / 1e9:.0f}"
    return [*rows, {"what": "memory of a GPU", "how much": total}]


def mega(flops: float) -> str:
    """Format FLOPs."""
    return f"{flops / 1e6:,.0f} MFLOP"


def step_rows(counts: Counts, device: Device) -> list[dict[str, str]]:
    """Format where the time of a step goes."""
    parts = step_parts(counts, device)
    total = sum(parts.values())
    rows = [
        {"part of a step": name, "time": f"{1e3 * value:.1f} ms", "share": f"{value / total:.0%}"}
        for name, value in parts.items()
    ]
    return [*rows, {"part of a step": "all", "time": f"{1e3 * total:.1f} ms", "share": "100%"}]


def cluster_rows(found: list[dict[str, Any]]) -> list[dict[str, str]]:
    """Format the prediction for each cluster."""
    return [
        {
            "between nodes": row["network"],
            "GPUs": str(row["gpus"]),
            "exchange": f"{1e3 * row['exchange']:.1f} ms",
            "of it not hidden": f"{1e3 * row['exposed']:.1f} ms",
            "step": f"{1e3 * row['step']:.0f} ms",
            "M tokens/s": f"{row['tokens_per_second'] / 1e6:.2f}",
            "of peak": f"{row['share_of_peak']:.0%}",
            "hours": f"{row['hours']:.1f}",
            "G tokens": f"{row['tokens'] / 1e9:.1f}",
            "loader cores a GPU": f"{row['loader_cores']}",
        }
        for row in found
    ]


def markdown(rows: list[dict[str, str]]) -> list[str]:
    """Format rows as the lines of a table."""
    lines = [[*rows[0]], ["---"] * len(rows[0]), *([*row.values()] for row in rows)]
    return [f"| {' | '.join(cells)} |" for cells in lines]


def read_constants(path: str) -> dict[str, Any]:
    """Read what a self-test has measured."""
    with open(path, encoding="utf-8") as file:
        found: dict[str, Any] = json.load(file)["constants"]
    return found


def measured_device(constants: Mapping[str, Any], device: Device) -> Device:
    """Take the constants that were measured in place of the assumed ones."""
    known = {key: constants[key] for key in vars(device) if constants.get(key) is not None}
    return replace(device, **known)


def main() -> None:
    parser = benchmark_parser(__doc__)
    parser.add_argument("--recipe", nargs="+", default=RECIPE, help="recipe and overlays")
    parser.add_argument("--measured", help="JSON file of scripts/gpu_selftest")
    for name, value in vars(Device()).items():
        if name != "name":
            parser.add_argument(f"--{name}", type=float, help=f"of {Device.name}: {value:g}")
    parser.add_argument("--overlap", type=float, default=0.5, help="of the backward pass")
    parser.add_argument("--loader_tokens_per_second", type=float, help="of one core")
    args = parser.parse_args()
    given = {key: getattr(args, key, None) for key in vars(Device())}
    measured = read_constants(args.measured) if args.measured else {}
    device = measured_device(measured, Device())
    device = replace(device, **{key: value for key, value in given.items() if value is not None})
    counts = count(read_recipe(args.recipe))
    loader = args.loader_tokens_per_second or measured.get("loader_tokens_per_second")
    found = cluster(counts, device, args.overlap, loader or LOADER_TOKENS)
    print(f"{' + '.join(args.recipe)} on {device.name}\n")
    tables = budget_rows(counts, device), step_rows(counts, device), cluster_rows(found)
    print("\n\n".join("\n".join(markdown(rows)) for rows in tables))
    if args.output is not None:
        result = {"device": vars(device), "memory": memory(counts), "rows": found}
        result |= {"step": step_parts(counts, device)}
        args.output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
