"""What a step would take on 1 to 512 GPUs: the arithmetic of docs/scaling.md.

    python benchmarks/scaling.py
    python benchmarks/scaling.py --tokens_per_second 800000 --noise_scale 60000   # your own figures

Nothing is run: the formulas are evaluated. The speed of one GPU is best taken from
`scripts/gpu_selftest`, the noise scale from benchmarks/noise_scale.py.
"""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass
from typing import Any

from driver import parser, report

GPUS = (1, 8, 64, 512)


@dataclass(frozen=True)
class Network:
    """Links, in bytes a second each way.

    Attributes:
        within: between the GPUs of a node, for each.
        between: of a node to the others, all its adapters together.
        latency: seconds of a message between nodes, software included.
        per_node: GPUs of a node.
    """

    within: float
    between: float
    latency: float
    per_node: int = 8


# Data sheets: NVLink 4 gives 450 GB/s each way; a node has eight adapters of 400 Gb/s InfiniBand,
# or as rented machines one of 100 or 25 Gb/s Ethernet. The share of it that collectives reach (0.8)
# and the latencies are assumptions.
NETWORKS = {
    "8 x 400 Gb/s": Network(0.8 * 450e9, 0.8 * 400e9, 10e-6),
    "1 x 100 Gb/s": Network(0.8 * 450e9, 0.8 * 12.5e9, 20e-6),
    "1 x 25 Gb/s": Network(0.8 * 450e9, 0.8 * 3.125e9, 30e-6),
}


def exchange_seconds(size: float, gpus: int, network: Network) -> float:
    """An all-reduce of `size` bytes: within the nodes, between them, and back.

    Within a node of k GPUs a ring moves 2 (k - 1) / k of the bytes; between m nodes, in pieces over
    all adapters, 2 (m - 1) / m of them, in 2 log2(m) messages that wait for each other (a tree).
    """
    k, m = min(gpus, network.per_node), max(1, gpus // network.per_node)
    within = 2 * (k - 1) / k * size / network.within
    between = 2 * (m - 1) / m * size / network.between + 2 * math.log2(m) * network.latency
    return within + between


def step_seconds(given: argparse.Namespace, gpus: int, network: Network) -> dict[str, float]:
    """The host's share, compute, and what of the exchange the backward pass does not hide."""
    compute = given.batch_tokens / given.tokens_per_second
    exchange = exchange_seconds(4.0 * given.parameters, gpus, network)
    hidden = given.overlap * compute * 2 / 3  # the backward pass takes two thirds of a step
    exposed = max(0.0, exchange - hidden)
    # A loader process works while the GPU computes: it shows only where it is slower.
    data = max(0.0, given.batch_tokens / given.loader_tokens_per_second - compute)
    return {
        "exchange": exchange,
        "exposed": exposed,
        "step": given.host_seconds + compute + exposed + data,
    }


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--parameters", type=float, default=10.2e6, help="the reference model's")
    options.add_argument("--batch_tokens", type=float, default=16_384, help="of a GPU")
    options.add_argument(
        "--tokens_per_second", type=float, default=2.2e6, help="of one GPU, without the host's part"
    )
    options.add_argument("--host_seconds", type=float, default=0.0045, help="Lightning, launches")
    options.add_argument("--loader_tokens_per_second", type=float, default=45e6)
    options.add_argument("--overlap", type=float, default=0.5, help="of the backward pass")
    options.add_argument("--noise_scale", type=float, default=5e4, help="in tokens")
    given = options.parse_args()
    rows: list[dict[str, Any]] = []
    result = []
    for name, network in NETWORKS.items():
        alone = step_seconds(given, 1, network)["step"]
        for gpus in GPUS:
            found = step_seconds(given, gpus, network)
            speed = gpus * given.batch_tokens / found["step"]
            efficiency = alone / found["step"]
            # McCandlish et al. 2018: steps = fewest steps x (1 + noise scale / batch).
            steps = 1 + given.noise_scale / (gpus * given.batch_tokens)
            sooner = alone * (1 + given.noise_scale / given.batch_tokens) / found["step"] / steps
            result.append({"network": name, "gpus": gpus, **found, "sooner": sooner})
            rows.append(
                {
                    "between nodes": name,
                    "GPUs": gpus,
                    "exchange": f"{found['exchange'] * 1e3:.2f} ms",
                    "of it not hidden": f"{found['exposed'] * 1e3:.2f} ms",
                    "step": f"{found['step'] * 1e3:.1f} ms",
                    "M tokens/s": f"{speed / 1e6:,.1f}",
                    "efficiency": f"{efficiency:.0%}",
                    "same loss sooner by": f"{sooner:.1f}",
                }
            )
    told = {name: value for name, value in vars(given).items() if name != "output"}
    report(rows, {"options": told, "rows": result}, given.output)


if __name__ == "__main__":
    main()
