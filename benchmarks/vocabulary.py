"""Compare the training speed of `seqae fit` at 10,000 and 50,000 words, plain and adaptive.

    python benchmarks/vocabulary.py --threads 1 --clock cpu [--output FILE]

The reference model (reference.py) with its linear head, `seqae fit` with all callbacks, on the
sentences of text.py, which have 55,000 different words. A token is a target that is not padding.
"""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path

import yaml
from driver import Program, format_ratio, interleaved_parser, ratios, report, run_in_turn
from reference import fit, write_config
from text import write_sentences

SIZES = {"10k": 10_000, "50k": 50_000}
PROGRAMS = ("10k", "10k adaptive", "50k", "50k adaptive")


def main() -> None:
    parser = interleaved_parser(__doc__, rounds=7)
    parser.add_argument("--sentences", type=int, default=200_000)
    parser.add_argument("--batch_tokens", type=int, default=3072, help="of the batches")
    parser.add_argument("--programs", nargs="+", choices=PROGRAMS, default=PROGRAMS)
    parser.add_argument("--cutoffs", type=int, nargs="+", help="of the clusters")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        text = write_sentences(folder / "sentences.txt", args.sentences)
        programs = {}
        for program in args.programs:
            path = folder / f"{program}.yaml"
            config = yaml.safe_load(
                write_config(path, text, "ReferenceDecoder", args.batch_tokens).read_text("utf-8")
            )
            size = SIZES[program.partition(" ")[0]]
            config["data"]["tokenizer"]["init_args"]["vocab_size"] = size
            if program.endswith("adaptive"):
                config["model"]["autoencoder"]["adaptive"] = {"cutoffs": args.cutoffs}
            path.write_text(yaml.safe_dump(config), encoding="utf-8")
            programs[program] = Program(fit, (str(path), str(folder / program), args.threads))
        speeds = run_in_turn(programs, args.seconds, args.rounds, args.clock)
    rows, result = [], {"threads": args.threads, "clock": args.clock, "programs": {}}
    first = args.programs[0]
    for program in args.programs:
        measured = {
            "tokens_per_second": statistics.median(speeds[program]),
            f"over_{first}": ratios(speeds[program], speeds[first]),
            "rounds": speeds[program],
        }
        result["programs"][program] = measured
        rows.append(
            {
                "program": program,
                "tokens/s": f"{measured['tokens_per_second']:,.0f}",
                f"against {first}": format_ratio(measured[f"over_{first}"]),
            }
        )
    report(rows, result | {"batch_tokens": args.batch_tokens}, args.output)
    print(f"\n{args.threads} threads, {args.clock} time")


if __name__ == "__main__":
    main()
