"""Estimate the time of a step on 1 to 512 GPUs: the arithmetic of docs/scaling.md.

    python benchmarks/scaling.py
    python benchmarks/scaling.py --tokens_per_second 800000 --noise_scale 60000   # your own figures

Nothing is trained, only formulas are evaluated. Take the speed of one GPU from
`scripts/gpu_selftest`, and the noise scale from benchmarks/noise_scale.py.
"""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass
from typing import Any

from driver import benchmark_parser, report

GPUS = (1, 8, 64, 512)


@dataclass(frozen=True)
class Network:
    """Bandwidths in bytes per second each way, and latency.

    Attributes:
        within: of each GPU to the others of its node.
        between: of a node to the others, over all its adapters.
        latency: seconds of a message between nodes, software included.
        per_node: GPUs of a node.
    """

    within: float
    between: float
    latency: float
    per_node: int = 8


# From data sheets: NVLink 4 gives 450 GB/s each way; a node has eight adapters of 400 Gb/s
# InfiniBand or, if rented, one of 100 or 25 Gb/s Ethernet. The share that collectives reach (0.8)
# and the latencies are assumptions.
NETWORKS = {
    "8 x 400 Gb/s": Network(0.8 * 450e9, 0.8 * 400e9, 10e-6),
    "1 x 100 Gb/s": Network(0.8 * 450e9, 0.8 * 12.5e9, 20e-6),
    "1 x 25 Gb/s": Network(0.8 * 450e9, 0.8 * 3.125e9, 30e-6),
}


def exchange_seconds(size: float, gpus: int, network: Network) -> float:
    """Estimate an all-reduce of `size` bytes: within the nodes, between them, and back.

    Within a node of k GPUs a ring moves 2 (k - 1) / k of the bytes. Between m nodes a tree moves
    2 (m - 1) / m of them in pieces over all adapters, in 2 log2(m) messages one after the other.
    """
    k, m = min(gpus, network.per_node), max(1, gpus // network.per_node)
    within = 2 * (k - 1) / k * size / network.within
    between = 2 * (m - 1) / m * size / network.between + 2 * math.log2(m) * network.latency
    return within + between


def step_seconds(args: argparse.Namespace, gpus: int, network: Network) -> dict[str, float]:
    """Add up host, compute, and the part of the exchange that the backward pass does not hide."""
    compute = args.batch_tokens / args.tokens_per_second
    exchange = exchange_seconds(4.0 * args.parameters, gpus, network)
    hidden = args.overlap * compute * 2 / 3  # the backward pass takes two thirds of a step
    exposed = max(0.0, exchange - hidden)
    # A loader process works while the GPU computes: it only matters if it is slower.
    data = max(0.0, args.batch_tokens / args.loader_tokens_per_second - compute)
    return {
        "exchange": exchange,
        "exposed": exposed,
        "step": args.host_seconds + compute + exposed + data,
    }


def main() -> None:
    parser = benchmark_parser(__doc__)
    parser.add_argument("--parameters", type=float, default=10.2e6, help="the reference model's")
    parser.add_argument("--batch_tokens", type=float, default=16_384, help="of a GPU")
    parser.add_argument(
        "--tokens_per_second", type=float, default=2.2e6, help="of one GPU, without the host's part"
    )
    parser.add_argument("--host_seconds", type=float, default=0.0045, help="Lightning, launches")
    parser.add_argument("--loader_tokens_per_second", type=float, default=45e6)
    parser.add_argument("--overlap", type=float, default=0.5, help="of the backward pass")
    parser.add_argument("--noise_scale", type=float, default=5e4, help="in tokens")
    args = parser.parse_args()
    rows: list[dict[str, Any]] = []
    result = []
    for name, network in NETWORKS.items():
        alone = step_seconds(args, 1, network)["step"]
        for gpus in GPUS:
            times = step_seconds(args, gpus, network)
            speed = gpus * args.batch_tokens / times["step"]
            efficiency = alone / times["step"]
            # McCandlish et al. 2018: steps = fewest steps x (1 + noise scale / batch).
            steps = 1 + args.noise_scale / (gpus * args.batch_tokens)
            sooner = alone * (1 + args.noise_scale / args.batch_tokens) / times["step"] / steps
            result.append({"network": name, "gpus": gpus, **times, "sooner": sooner})
            rows.append(
                {
                    "between nodes": name,
                    "GPUs": gpus,
                    "exchange": f"{times['exchange'] * 1e3:.2f} ms",
                    "of it not hidden": f"{times['exposed'] * 1e3:.2f} ms",
                    "step": f"{times['step'] * 1e3:.1f} ms",
                    "M tokens/s": f"{speed / 1e6:,.1f}",
                    "efficiency": f"{efficiency:.0%}",
                    "same loss sooner by": f"{sooner:.1f}",
                }
            )
    options = {name: value for name, value in vars(args).items() if name != "output"}
    report(rows, {"options": options, "rows": result}, args.output)


if __name__ == "__main__":
    main()
