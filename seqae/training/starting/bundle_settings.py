"""Read a bundle as the options of `fit`: `--init BUNDLE` means them, before all that is given.

Parts and settings are built and checked by their own classes first, and only then become options,
so nothing that a stranger's file names is imported.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Literal, get_args, get_type_hints

from seqae.bundle.io import load
from seqae.bundle.sharing.address import find_bundle
from seqae.bundle.text_autoencoder import TextAutoencoder
from seqae.component import Component
from seqae.objectives.objective import Objective

# The part of a model that each of its arguments belongs to.
PART_OF = {
    "encoder": "encoder",
    "embedding_dim": "embedding",
    "latent": "latent",
    "decoder": "decoder",
    "head": "head",
    "content": "content",
    "copying": "copying",
    "adaptive": "adaptive",
    "latent_noise": "decoder",  # which is told of it
}
# What a bundle's training may say beyond that, if it is a number or a word.
TRAINING = {
    "model": ("learning_rate", "warmup_steps", "schedule", "weight_decay", "beta1", "beta2"),
    "data": ("too_long", "batch_tokens"),
    "trainer": ("max_epochs", "log_every_n_steps"),
}


def init_arguments(args: list[str]) -> list[str]:
    """Put the options that `--init BUNDLE` means among those that are given.

    A whole model comes first, so that what a recipe says otherwise is found, and refused. Parts
    come after the recipes, whose own such parts they replace. `--init_parts` may have several words
    behind it.

    Args:
        args: what follows `fit` on the command line.

    Raises:
        ValueError: if the bundle cannot be read, or a run is resumed, which has weights.
    """
    args = _join_parts(args)
    given = {name: value for name in ("init", "init_parts") if (value := _value_of(args, name))}
    if "init" not in given:
        return args
    resumed = _value_of(args, "ckpt_path") or _value_of(args, "resume")
    if resumed not in (None, "auto"):
        raise ValueError(
            f"`init` must not be given for a run that is resumed, which has weights of its own, "
            f"but it is {given['init']} instead. Leave it out, or start a new run."
        )
    parts = _parse_parts(given.get("init_parts", "[]"))
    bundle = load(find_bundle(given["init"], "init").folder, with_priors=False)
    check_parts(bundle, parts)
    settings = bundle_settings(bundle, parts)
    recipes = [i + 2 for i, arg in enumerate(args) if arg in ("-c", "--config")]
    place = max(recipes, default=0) if parts else 0
    return [*args[:place], "-c", json.dumps(settings), *args[place:]]


def part_of_weight(name: str) -> str:
    """Name the part of a model that a weight belongs to."""
    first = name.partition(".")[0]
    return "head" if first in ("output", "output_bias") else first


def check_parts(bundle: TextAutoencoder, parts: Sequence[str]) -> None:
    """Refuse parts that a model does not have.

    Args:
        bundle: has the model.
        parts: named by the user.

    Raises:
        ValueError: naming the first, and those that there are.
    """
    known = {part_of_weight(name) for name in bundle.autoencoder.state_dict()}
    for part in parts:
        if part not in known:
            raise ValueError(
                f"`init_parts` must be among {', '.join(sorted(known))}, which the bundle has, but "
                f"{part} is given instead. Leave it out."
            )


def bundle_settings(bundle: TextAutoencoder, parts: list[str]) -> dict[str, Any]:
    """Return what a bundle says of a training that starts from it, as a configuration.

    Args:
        bundle: loaded, and so checked.
        parts: of the model that are taken; none means all, and then the objective and the settings
            of the optimiser, too.
    """
    model = _settings_of(bundle.autoencoder)
    data: dict[str, Any] = {
        "tokenizer": bundle.tokenizer.config(),
        "cleaning": asdict(bundle.normalization),
    }
    if parts:
        taken = {name: value for name, value in model.items() if PART_OF.get(name) in parts}
        return {"data": data, "model": {"autoencoder": taken}}
    data["max_length"] = bundle.autoencoder.max_length
    settings: dict[str, Any] = {"data": data, "model": {"autoencoder": model}, "trainer": {}}
    trained = bundle.details["training"].get("config")
    for section, names in TRAINING.items():
        said = trained.get(section) if isinstance(trained, Mapping) else None
        if not isinstance(said, Mapping):
            continue
        plain = {name: said[name] for name in names if type(said.get(name)) in (int, float, str)}
        settings[section] |= plain
        if section == "model" and (objective := _read_objective(said.get("objective"))):
            settings["model"]["objective"] = objective
    return settings


def _read_objective(config: Any) -> dict[str, Any] | None:
    """Rebuild an objective of this version; None if it is of another."""
    try:
        return Objective.from_config(config).config()
    except ValueError:
        return None


def _settings_of(part: Component) -> dict[str, Any]:
    """Write a part's arguments as a configuration has them: a class that is final has no name."""
    hints = get_type_hints(type(part).__init__)
    settings: dict[str, Any] = {}
    for name, plain in part.config()["init_args"].items():
        value = getattr(part, name)
        if not isinstance(value, Component):
            settings[name] = plain
        elif type(value) in (hints[name], *get_args(hints[name])):
            settings[name] = _settings_of(value)
        else:
            settings[name] = {"class_path": type(value).__name__, "init_args": _settings_of(value)}
    return settings


def _parse_parts(text: str) -> list[str]:
    return [name for word in text.strip("[]").split(",") if (name := word.strip(" \"'"))]


def _join_parts(args: list[str]) -> list[str]:
    """Write `--init_parts a b` as one argument, a list in JSON."""
    args = [
        f"--init_parts={json.dumps(_parse_parts(arg.partition('=')[2]))}"
        if arg.startswith("--init_parts=")
        else arg
        for arg in args
    ]
    if "--init_parts" not in args:
        return args
    start = args.index("--init_parts")
    end = start + 1
    while end < len(args) and not args[end].startswith("-"):
        end += 1
    names = [name for arg in args[start + 1 : end] for name in _parse_parts(arg)]
    return [*args[:start], f"--init_parts={json.dumps(names)}", *args[end:]]


def _value_of(args: list[str], name: Literal["init", "init_parts", "resume", "ckpt_path"]) -> Any:
    """Return the last value that an option is given, or None."""
    value = None
    for index, arg in enumerate(args):
        if arg == f"--{name}" and index + 1 < len(args):
            value = args[index + 1]
        elif arg.startswith(f"--{name}="):
            value = arg.partition("=")[2]
    return value
