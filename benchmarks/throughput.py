"""Compare the training speed of `seqae fit` with a plain training loop, at the reference setting.

    python benchmarks/throughput.py [--output benchmarks/results/throughput.json]
    python benchmarks/throughput.py --threads 1 --clock cpu     # while the machine is busy
    python benchmarks/throughput.py --peer vae-lagging-encoder=CHECKOUT   # peers.py says how

The unit is tokens per second, where a token is a target that is not padding. The programs
(reference.py):

- plain: what most people write; random batches of 128, padded; the model is the reference model.
- fit: the command line, with the same model from the package's parts.
- bare: fit's model, batches, loss and optimizer without Lightning.
- fit, GRUDecoder: the command line with the package's own decoder at the same sizes, which maps
  its 512 states to 256 features before the output layer: fewer operations per token, another model.
- fit, bf16: fit with `trainer.precision: bf16-mixed`, for processors that multiply bfloat16; left
  out unless it is named.
- a peer: other people's code at these sizes, with LSTMs (peers.py).
- product: a float32 product of two 2048 x 2048 matrices, the machine's own speed.
"""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path

from driver import Program, format_ratio, interleaved_parser, ratios, report, run_in_turn
from peers import FLOPS_PER_TOKEN, PEERS
from reference import bare_loop, fit, flops_per_token, plain, product, write_config
from text import write_sentences

PROGRAMS = ("plain", "fit", "bare", "fit, GRUDecoder", "fit, bf16")


def main() -> None:
    parser = interleaved_parser(__doc__, rounds=7)
    parser.add_argument("--sentences", type=int, default=200_000)
    parser.add_argument("--batch_tokens", type=int, default=3072, help="of seqae's batches")
    parser.add_argument(
        "--programs",
        nargs="+",
        choices=PROGRAMS,
        default=PROGRAMS[:-1],
        help="only these, and peers",
    )
    parser.add_argument(
        "--peer", action="append", default=[], help=f"NAME=CHECKOUT, of {', '.join(PEERS)}"
    )
    args = parser.parse_args()
    peers = dict(peer.split("=", 1) for peer in args.peer)
    with tempfile.TemporaryDirectory() as name:
        folder, threads = Path(name), args.threads
        text = write_sentences(folder / "sentences.txt", args.sentences)
        configs = {
            decoder: write_config(folder / f"{decoder}.yaml", text, decoder, args.batch_tokens)
            for decoder in ("ReferenceDecoder", "GRUDecoder")
        }
        reference, own = (str(config) for config in configs.values())
        own_programs = {
            "plain": Program(plain, (str(text), threads)),
            "fit": Program(fit, (reference, str(folder / "fit"), threads)),
            "bare": Program(bare_loop, (reference, threads)),
            "fit, bf16": Program(
                fit,
                (
                    reference,
                    str(folder / "bf16"),
                    threads,
                    ("--trainer.precision", "bf16-mixed"),
                ),
            ),
            "fit, GRUDecoder": Program(fit, (own, str(folder / "own"), threads)),
        }
        programs = {name: own_programs[name] for name in args.programs}
        for name, checkout in peers.items():
            arguments = (checkout, str(text), threads, args.batch_tokens)
            programs[name] = Program(PEERS[name], arguments)
        programs["product"] = Program(product, (threads,))
        speeds = run_in_turn(programs, args.seconds, args.rounds, args.clock)
    rows, result = [], {"threads": threads, "clock": args.clock, "programs": {}}
    result["batch_tokens"] = args.batch_tokens
    first = args.programs[0]
    for program in (*args.programs, *peers):
        if program in peers:
            flops = float(FLOPS_PER_TOKEN[program])
        else:
            flops = flops_per_token("GRUDecoder" if "GRU" in program else "ReferenceDecoder")
        measured = {
            "tokens_per_second": statistics.median(speeds[program]),
            f"over_{first}": ratios(speeds[program], speeds[first]),
            "flops_per_token": flops,
            "share_of_product": ratios([s * flops for s in speeds[program]], speeds["product"]),
            "rounds": speeds[program],
        }
        result["programs"][program] = measured
        rows.append(
            {
                "program": program,
                "tokens/s": f"{measured['tokens_per_second']:,.0f}",
                f"against {first}": format_ratio(measured[f"over_{first}"]),
                "MFLOP/token": f"{flops / 1e6:.1f}",
                "share of the product's speed": format_ratio(measured["share_of_product"]),
            }
        )
    result["product_gflops"] = statistics.median(speeds["product"]) / 1e9
    if {"bare", "fit"} <= set(args.programs):
        result["bare_over_fit"] = ratios(speeds["bare"], speeds["fit"])
    if "fit" in args.programs:
        result["fit_over"] = {name: ratios(speeds["fit"], speeds[name]) for name in peers}
    report(rows, result, args.output)
    print(
        f"\n{threads} threads, {args.clock} time; product: {result['product_gflops']:.0f} GFLOP/s"
    )
    if "bare_over_fit" in result:
        print(
            f"bare over fit, the cost of Lightning's loop: {format_ratio(result['bare_over_fit'])}"
        )
    for name, ratio in result.get("fit_over", {}).items():
        print(f"fit over {name}: {format_ratio(ratio)}")


if __name__ == "__main__":
    main()
