"""Say in a checkpoint how its module was built, and build that module again from a file."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, get_type_hints

import torch
from torch import Tensor, nn

from seqae.batch import Vocabulary
from seqae.bundle.weights import WithoutInit
from seqae.component import Component, from_plain
from seqae.training.checkpoints.integrity import check_intact, is_sealed
from seqae.training.checkpoints.plain_data import read_plain
from seqae.training.checkpoints.sharded import read_unsharded
from seqae.training.optimization.finite import first_non_finite

M = TypeVar("M", bound=nn.Module)

KEY = "seqae_module"  # of a checkpoint


class Description(NamedTuple):
    """What a checkpoint says of its module.

    Attributes:
        arguments: of the constructor.
        vocabulary: that the weights were made for.
        max_length: the same.
        tokenizer_sha256: fingerprint of the tokenizer.
        weights: by name.
    """

    arguments: dict[str, Any]
    vocabulary: Vocabulary
    max_length: int
    tokenizer_sha256: str
    weights: dict[str, Tensor]


def describe(module: nn.Module, vocabulary: Vocabulary, max_length: int) -> dict[str, Any]:
    """Describe a module by plain data: the arguments of its constructor, and sizes.

    Args:
        module: keeps each argument under its own name.
        vocabulary: that it was built for.
        max_length: the same.
    """
    values = {name: getattr(module, name) for name in inspect.signature(type(module)).parameters}
    arguments = {
        name: value.config() if isinstance(value, Component) else value
        for name, value in values.items()
    }
    sizes = {"vocabulary": asdict(vocabulary), "max_length": max_length}
    return {"arguments": arguments, **sizes}


def read_description(
    path: Path, module_class: type[Any], changes: Mapping[str, Any]
) -> Description:
    """Read what a checkpoint says of its module; nothing in it is run or imported.

    Args:
        path: a checkpoint file, or a folder of shards.
        module_class: of the module.
        changes: arguments of the constructor that replace the saved ones.

    Raises:
        ValueError: if it is no checkpoint, is damaged, or does not say how to build the module.
    """
    if not path.exists():
        raise ValueError(f"`checkpoint_path` must be a checkpoint, but there is no {path}.")
    if path.is_dir() or is_sealed(path):
        check_intact(path)
    content = read_unsharded(path) if path.is_dir() else read_plain(path)
    saved = content.get(KEY)
    if not isinstance(saved, Mapping) or not isinstance(saved.get("arguments"), Mapping):
        raise ValueError(
            f"`checkpoint_path` must be a checkpoint that says how its model was built, but {path} "
            f"does not: it is older. Use the bundle of its run, `seqae.load(RUN)`, or continue the "
            f"run with `seqae fit --resume RUN`."
        )
    hints = get_type_hints(module_class.__init__)
    given = {name: value for name, value in saved["arguments"].items() if name not in changes}
    if unknown := [name for name in given if name not in hints]:
        raise ValueError(f"`{unknown[0]}` in {path} is not known. Use the version that wrote it.")
    arguments = {name: from_plain(value, hints[name], name) for name, value in given.items()}
    weights = content.get("state_dict")
    if not isinstance(weights, Mapping) or not all(
        isinstance(name, str) and isinstance(weight, Tensor) for name, weight in weights.items()
    ):
        raise ValueError(
            f"`state_dict` in {path} must be weights by name, but it is not. Choose another "
            f"checkpoint."
        )
    if (name := first_non_finite(weights.items())) is not None:
        raise ValueError(f"`{name}` in {path} must be finite, but it has NaN or infinity.")
    return Description(
        {**arguments, **changes},
        from_plain(saved.get("vocabulary"), Vocabulary, "vocabulary"),
        from_plain(saved.get("max_length"), int, "max_length"),
        str(content.get("tokenizer_sha256")),
        dict(weights),
    )


def rebuild(path: Path, module_class: type[M], changes: Mapping[str, Any]) -> tuple[M, str]:
    """Build the module of a checkpoint, with its weights, on the CPU.

    Args:
        path: as `read_description`.
        module_class: has a method `build`, which makes the weights.
        changes: as `read_description`.

    Returns:
        The module and the fingerprint of its tokenizer.

    Raises:
        ValueError: as `read_description`, or if the weights are of another model.
    """
    saved = read_description(path, module_class, changes)
    module = module_class(**saved.arguments)
    # Shapes only: a file that asks for huge sizes must get no memory.
    with torch.device("meta"), WithoutInit():
        module.build(saved.vocabulary, saved.max_length)  # type: ignore[operator]
    expected = module.state_dict()
    check_shapes(path, saved.weights, expected)
    weights = {name: w.to(expected[name].dtype) for name, w in saved.weights.items()}
    module.load_state_dict(weights, assign=True)
    return module, saved.tokenizer_sha256


def check_shapes(path: Path, weights: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    """Refuse weights of other names or shapes than the module has.

    Args:
        path: of the checkpoint.
        weights: of the checkpoint.
        expected: of the module, on any device.

    Raises:
        ValueError: naming the first.
    """
    for name in sorted({*weights, *expected}):
        found, wanted = (
            tuple(tensors[name].shape) if name in tensors else "missing"
            for tensors in (weights, expected)
        )
        if found != wanted:
            raise ValueError(
                f"`{name}` in {path} must be of the shape that the model has, {wanted}, but it is "
                f"{found} instead. Leave out what changes the model."
            )
