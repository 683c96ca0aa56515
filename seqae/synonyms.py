"""Other names for commands and options: what people know from elsewhere means the same here."""

from __future__ import annotations

import re
from collections.abc import Sequence

COMMANDS = {
    "train": "fit",
    "generate": "sample",
    "embed": "encode",
    "eval": "evaluate",
    "neighbors": "neighbours",
    "density": "prior",
}

# Options that had another name. Those of `fit` still work, also in a run's configuration.
RENAMED = {"source": "prior", "density_sentences": "prior_sentences"}

# Of `fit` and its like. Each is one key of the configuration.
OPTIONS = {
    "train": "data.train",
    "val": "data.val",
    "test": "data.test",
    "batch_tokens": "data.batch_tokens",
    "max_length": "data.max_length",
    "too_long": "data.too_long",
    "vocab_size": "data.tokenizer.vocab_size",
    "lr": "model.learning_rate",
    "learning_rate": "model.learning_rate",
    "weight_decay": "model.weight_decay",
    "epochs": "trainer.max_epochs",
    "max_epochs": "trainer.max_epochs",
    "max_steps": "trainer.max_steps",
    "max_time": "trainer.max_time",
    "accelerator": "trainer.accelerator",
    "devices": "trainer.devices",
    "precision": "trainer.precision",
    "output_dir": "run_dir",
    "licence": "card.licence",
    "license": "card.licence",
    "language": "card.language",
    "no_examples": "card.examples",
}

# Of these, flags whose key says the opposite.
OPPOSITES = ("no_examples",)

# What is given without an option: names that it has elsewhere, by that of the argument.
POSITIONALS = {"files": ("train", "input", "data.train"), "file": ("input", "test")}

# What has no single key: the way out, after "`NAME` is not known."
ADVICE = {
    "batch_size": "A batch is measured in tokens: write `--batch_tokens N`, about the number of "
    "sentences times the tokens of one.",
    "seed": "Write `--seed_everything N` for weights and dropout, `--data.seed N` for the order of "
    "batches, or `--model.seed N` for the objective.",
    "gpus": "Write `--devices N`, or `-c overlays/gpu` for all.",
    "fp16": "Write `--precision 16-mixed`.",
    "bf16": "Write `--precision bf16-mixed`.",
}


def expand(args: Sequence[str]) -> list[str]:
    """Replace the short and the older options of `fit` by the keys that they stand for.

    `--max_steps N` means N steps, also where a recipe has fewer epochs, as users of Hugging Face's
    `Trainer` expect; with `--max_epochs` beside it the training ends with what comes first.

    Args:
        args: what follows the command.
    """
    other_names = OPTIONS | RENAMED
    names = [arg.partition("=")[0].removeprefix("--") for arg in args]
    has_epochs = any(other_names.get(name, name) == "trainer.max_epochs" for name in names)
    expanded = []
    for name, arg in zip(names, args, strict=True):
        is_other = arg.startswith("--") and name in other_names
        if is_other and name in OPPOSITES:
            value = arg.partition("=")[2] or "true"
            expanded.append(f"--{other_names[name]}={str(value != 'true').lower()}")
            continue
        if is_other and name == "max_steps" and not has_epochs:
            expanded.append("--trainer.max_epochs=-1")
        expanded.append(arg.replace(name, other_names[name], 1) if is_other else arg)
    return expanded


def with_new_names(text: str) -> str:
    """Rename the options of an older configuration that have another name now.

    Args:
        text: a YAML file.
    """
    for old, new in RENAMED.items():
        text = re.sub(rf"^{old}:", f"{new}:", text, flags=re.MULTILINE)
    return text
