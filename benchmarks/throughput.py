"""Training speed of `seqae fit` at the reference setting, against a plain training loop.

    python benchmarks/throughput.py [--output benchmarks/results/throughput.json]
    python benchmarks/throughput.py --threads 1 --clock cpu     # while the machine is busy

In tokens a second, where a token is a target that is not padding. The programs (reference.py):

- plain: what most people write; random batches of 128, padded; the model is the reference model.
- fit: the command line, with the same model from the package's parts.
- bare: fit's model, batches, loss and optimizer without Lightning.
- fit, GRUDecoder: the command line with the package's own decoder at the same sizes, which maps
  its 512 states to 256 features before the output layer: fewer operations a token, another model.
- product: a float32 product of two 2048 x 2048 matrices, the speed that the machine has.
"""

from __future__ import annotations

import os
import statistics
import tempfile
from pathlib import Path

from driver import CLOCKS, Program, parser, ratios, report, run_in_turn, shown
from reference import bare_loop, fit, flops_per_token, plain, product, write_config
from text import write_sentences


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--threads", type=int, default=os.cpu_count(), help="of each program")
    options.add_argument("--rounds", type=int, default=7)
    options.add_argument("--seconds", type=float, default=3.0, help="of a turn")
    options.add_argument("--clock", choices=CLOCKS, default="wall", help="cpu: busy, one thread")
    options.add_argument("--sentences", type=int, default=200_000)
    options.add_argument("--batch_tokens", type=int, default=3072, help="of seqae's batches")
    given = options.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder, threads = Path(name), given.threads
        text = write_sentences(folder / "sentences.txt", given.sentences)
        configs = {
            decoder: write_config(folder / f"{decoder}.yaml", text, decoder, given.batch_tokens)
            for decoder in ("ReferenceDecoder", "GRUDecoder")
        }
        reference, own = (str(config) for config in configs.values())
        programs = {
            "plain": Program(plain, (str(text), threads)),
            "fit": Program(fit, (reference, str(folder / "fit"), threads)),
            "bare": Program(bare_loop, (reference, threads)),
            "fit, GRUDecoder": Program(fit, (own, str(folder / "own"), threads)),
            "product": Program(product, (threads,)),
        }
        speeds = run_in_turn(programs, given.seconds, given.rounds, given.clock)
    rows, result = [], {"threads": threads, "clock": given.clock, "programs": {}}
    result["batch_tokens"] = given.batch_tokens
    for program in ("plain", "fit", "bare", "fit, GRUDecoder"):
        flops = flops_per_token("GRUDecoder" if "GRU" in program else "ReferenceDecoder")
        found = {
            "tokens_per_second": statistics.median(speeds[program]),
            "over_plain": ratios(speeds[program], speeds["plain"]),
            "flops_per_token": flops,
            "share_of_product": ratios([s * flops for s in speeds[program]], speeds["product"]),
            "rounds": speeds[program],
        }
        result["programs"][program] = found
        rows.append(
            {
                "program": program,
                "tokens/s": f"{found['tokens_per_second']:,.0f}",
                "against plain": shown(found["over_plain"]),
                "MFLOP/token": f"{flops / 1e6:.1f}",
                "share of the product's speed": shown(found["share_of_product"]),
            }
        )
    result["product_gflops"] = statistics.median(speeds["product"]) / 1e9
    result["bare_over_fit"] = ratios(speeds["bare"], speeds["fit"])
    report(rows, result, given.output)
    print(
        f"\n{threads} threads, {given.clock} time; product: {result['product_gflops']:.0f} GFLOP/s"
    )
    print(f"bare over fit, what Lightning's loop costs: {shown(result['bare_over_fit'])}")


if __name__ == "__main__":
    main()
