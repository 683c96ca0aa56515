"""Count what a recipe's model is made of, and what a training step of it does, without running it.

The model is built from the YAML files themselves, on the meta device, where tensors have shapes but
no numbers. So a table that is made of these counts cannot drift from the recipe.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import yaml
from torch import Generator, Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

import seqae.objectives  # noqa: F401 - registers them
from seqae.batch import Batch, Vocabulary
from seqae.model.autoencoder import SequenceAutoencoder
from seqae.model.transformer import TransformerBlock
from seqae.objectives.objective import Objective
from seqae.recipes import find_config

SPECIAL_IDS = 0, 1, 2, 3  # pad, unk, bos, eos


def read_recipe(names: Sequence[str]) -> dict[str, Any]:
    """Merge recipes and overlays as `seqae fit -c A -c B` does: later values win.

    Args:
        names: names of recipes, or paths of YAML files.
    """
    merged: dict[str, Any] = {}
    for name in names:
        with open(find_config(name), encoding="utf-8") as file:
            _merge(merged, yaml.safe_load(file))
    return merged


def _merge(onto: dict[str, Any], values: Mapping[str, Any]) -> None:
    for key, value in values.items():
        if isinstance(value, Mapping) and isinstance(onto.get(key), dict):
            _merge(onto[key], value)
        else:
            onto[key] = value


def build(recipe: Mapping[str, Any], device: str) -> tuple[SequenceAutoencoder, Objective]:
    """Build the model and the objective of a recipe, in training mode."""
    parts = {"class_path": "SequenceAutoencoder", "init_args": recipe["model"]["autoencoder"]}
    vocab_size = recipe["data"]["tokenizer"]["init_args"]["vocab_size"]
    with torch.device(device):
        model = SequenceAutoencoder.from_config(parts)
        model.build(Vocabulary(vocab_size, *SPECIAL_IDS), recipe["data"]["max_length"])
        objective = Objective.from_config(recipe["model"]["objective"])
        objective.build(model)
    return model.train(), objective.train()


@dataclass(frozen=True)
class Counts:
    """What a recipe's arithmetic needs to know.

    Attributes:
        weights: parameters of the model, by part: `embedding`, `encoder`, `latent`, `decoder`.
        flops: of products, forward and backward, a target token.
        hidden_dim: H of the Transformer's blocks; 0 if there are none.
        feedforward_dim: hidden units of their feed-forward nets.
        block_tokens: tokens that all blocks together read, a target token; the latent's vectors
            before bos count.
        vocab_size: V.
        batch_tokens: of a process, padding counted.
        steps: optimizer steps.
        width: tokens of a row, bos and eos counted, for which the FLOPs are counted.
    """

    weights: Mapping[str, int]
    flops: float
    hidden_dim: int
    feedforward_dim: int
    block_tokens: float
    vocab_size: int
    batch_tokens: int
    steps: int
    width: int

    @property
    def parameters(self) -> int:
        """All weights, each counted once."""
        return sum(self.weights.values())

    @property
    def targets(self) -> int:
        """Target tokens of a full batch: every token of a row but bos."""
        return self.batch_tokens // self.width * (self.width - 1)


def count(recipe: Mapping[str, Any]) -> Counts:
    """Count a recipe's weights and FLOPs, on rows of `max_length` tokens."""
    model, objective = build(recipe, "meta")
    weights = {"embedding": 0, "encoder": 0, "latent": 0, "decoder": 0}
    for name, weight in model.named_parameters():
        part_name = name.partition(".")[0]
        weights[part_name if part_name in weights else "embedding"] += weight.numel()
    width = recipe["data"]["max_length"]
    hidden = feedforward = 0
    for part in model.modules():
        if isinstance(part, TransformerBlock):
            hidden = part.attention.output.in_features
            feedforward = part.feedforward[0].out_features
    flops, block_tokens = work_per_target(model, objective, width)
    assert model.vocabulary is not None
    return Counts(
        weights=weights,
        flops=flops,
        hidden_dim=hidden,
        feedforward_dim=feedforward,
        block_tokens=block_tokens,
        vocab_size=model.vocabulary.size,
        batch_tokens=recipe["data"]["batch_tokens"],
        steps=recipe["trainer"].get("max_steps", 0),
        width=width,
    )


def work_per_target(
    model: SequenceAutoencoder, objective: Objective, width: int
) -> tuple[float, float]:
    """Count the FLOPs of products, forward and backward, and the tokens that blocks read.

    Returns:
        Both a target token, on full rows of `width` tokens.
    """
    rows, block_tokens = 8, 0

    def note(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        nonlocal block_tokens
        block_tokens += inputs[0].shape[0] * inputs[0].shape[1]

    for part in model.modules():
        if isinstance(part, TransformerBlock):
            part.register_forward_pre_hook(note)
    device = next(model.parameters()).device
    token_ids = torch.zeros(rows, width, dtype=torch.int64, device=device)
    lengths = torch.full((rows,), width, device=device)
    batch = Batch(token_ids, lengths, None, rows * (width - 1), True)
    counter = FlopCounterMode(display=False)
    with counter:
        loss: Tensor = objective(model, batch, 0, Generator().manual_seed(0))["loss"]
        loss.backward()
    return counter.get_total_flops() / batch.num_targets, block_tokens / batch.num_targets
