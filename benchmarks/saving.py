"""What saving the state of training costs the training, at a checkpoint every hundred steps.

    python benchmarks/saving.py [--output benchmarks/results/saving.json]

Three trainings take turns of a hundred steps, over the same batches in the same order: one saves
nothing, one saves and waits for it, one saves while the training goes on. In each turn is one save,
from its first step on, so that what is written meanwhile falls into it. At the main recipe, whose
steps are short, and at the reference setting (reference.py), whose model is large.
"""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path
from typing import Any

import yaml
from driver import ROOT, Program, parser, ratios, report, run_in_turn, shown
from reference import fit, write_config
from text import write_sentences

STEPS = 100
MODES = {
    "no checkpoint": ("--checkpoint.every_n_steps", "0"),
    "waited for": ("--checkpoint.every_n_steps", str(STEPS)),
    "asynchronous": ("--checkpoint.every_n_steps", str(STEPS), "--checkpoint.asynchronous", "true"),
}


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--rounds", type=int, default=7)
    options.add_argument("--threads", type=int, default=2)
    options.add_argument("--settings", nargs="+", default=["gru", "reference"])
    options.add_argument("--sentences", type=int, default=200_000, help="of the reference setting")
    given = options.parse_args()
    rows, result = [], {"threads": given.threads, "every_n_steps": STEPS, "settings": {}}
    for setting in given.settings:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            config = configuration(setting, folder, given.sentences)
            programs = {
                mode: Program(
                    fit, (config, str(folder / mode), given.threads, options, None, STEPS)
                )
                for mode, options in MODES.items()
            }
            speeds = run_in_turn(programs, 0.0, given.rounds)
            found = [*(folder / "waited for" / "checkpoints").glob("step=*.ckpt")]
            size = max(path.stat().st_size for path in found)
        result["settings"][setting] = {"checkpoint_bytes": size}
        for mode, rounds in speeds.items():
            # More seconds for the same work: the inverse of the speeds' ratio.
            slower = ratios(speeds["no checkpoint"], rounds)
            result["settings"][setting][mode] = {
                "tokens_per_second": statistics.median(rounds),
                "time_over_none": slower,
                "rounds": rounds,
            }
            rows.append(
                {
                    "setting": f"{setting}, {size / 2**20:.0f} MiB",
                    "checkpoints": mode,
                    "tokens/s": f"{statistics.median(rounds):,.0f}",
                    "time of a step": shown(slower),
                }
            )
    report(rows, result, given.output)


def configuration(setting: str, folder: Path, sentences: int) -> str:
    """The reference setting, or a recipe without end."""
    if setting == "reference":
        text = write_sentences(folder / "sentences.txt", sentences)
        return str(write_config(folder / "reference.yaml", text, "ReferenceDecoder", 3072))
    config: dict[str, Any] = yaml.safe_load((ROOT / "configs" / f"{setting}.yaml").read_text())
    config["data"] |= {"cache_dir": str(folder / "cache"), "val_percent": 0}
    config["trainer"]["max_epochs"] = 1000
    path = folder / f"{setting}.yaml"
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    return str(path)


if __name__ == "__main__":
    main()
