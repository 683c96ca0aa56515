"""The training loop of a recipe, without Lightning: for benchmarks/gpu_scale.py."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from recipe_counts import Counts, build, count, work_per_target
from torch import Generator, Tensor

from seqae.batch import Batch
from seqae.training.optimization.optimizer import make_optimizer


def autocast(kind: str, dtype: torch.dtype | None) -> AbstractContextManager[Any]:
    """Multiply in a type; None changes nothing."""
    return nullcontext() if dtype is None else torch.autocast(kind, dtype)


class RecipeLoop:
    """The training loop of a recipe, without Lightning, over random sentences.

    Args:
        kind: `cuda` or `cpu`.
        dtype: type of products, by autocast; None leaves autocast out.
        recipe: what to train.
        compiled: whether to use compiled kernels.
        rows: of a batch; by default as many as the recipe's budget holds.
        is_full: whether the sentences of a batch have one length; else they have several.
    """

    def __init__(
        self,
        kind: str,
        dtype: torch.dtype | None,
        recipe: Mapping[str, Any],
        compiled: bool,
        rows: int | None = None,
        is_full: bool = True,
    ) -> None:
        torch.manual_seed(0)
        self.kind, self.dtype, self.counts = kind, dtype, count(recipe)
        self.model, self.objective = build(recipe, "cpu")
        self.model.to(kind)
        if compiled:
            self.model.compile_parts()
        rates = recipe["model"]
        self.optimizer = make_optimizer(
            self.model,
            self.objective,
            rates["learning_rate"],
            rates["weight_decay"],
            (0.9, rates["beta2"]),
        )
        widths = [self.counts.width, self.counts.width * 3 // 4]
        self.batches = [
            random_batch(self.counts, width, rows or self.counts.batch_tokens // width, is_full)
            for width in widths
        ]
        self.targets = sum(batch.num_targets for batch in self.batches) / len(widths)
        model, objective = build(recipe, "meta")
        work = [
            work_per_target(model, objective, width)[0] * batch.num_targets
            for width, batch in zip(widths, self.batches, strict=True)
        ]
        self.flops = sum(work) / len(widths)
        if kind == "cuda":
            self.batches = [batch.pin_memory() for batch in self.batches]
        self.taken = 0

    def step(self) -> Tensor:
        """Take a step, without waiting for the device; return its loss, a scalar."""
        batch = self.batches[self.taken % len(self.batches)]
        batch = batch.to(self.kind, non_blocking=True)
        self.taken += 1
        self.optimizer.zero_grad()
        with autocast(self.kind, self.dtype):
            generator = Generator().manual_seed(self.taken)
            loss: Tensor = self.objective(self.model, batch, 0, generator)["loss"]
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        return loss.detach()


def random_batch(counts: Counts, width: int, rows: int, is_full: bool) -> Batch:
    """Draw sentences of `width` tokens, or of up to so many."""
    token_ids = torch.randint(4, counts.vocab_size, (rows, width))
    lengths = torch.full((rows,), width)
    if not is_full:
        lengths = torch.randint(width // 2, width + 1, (rows,))
        token_ids.masked_fill_(torch.arange(width) >= lengths[:, None], 0)
    return Batch(token_ids, lengths)


def gru_of(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """Put GRUs of about as many weights in the place of the Transformers."""
    parts = recipe["model"]["autoencoder"]
    hidden = parts["encoder"]["init_args"]["hidden_dim"]
    each, vectors = parts["latent"]["init_args"], parts["encoder"]["init_args"]["num_latents"]
    latent = vectors * each["latent_dim"]  # as many numbers as the K vectors have together
    gru = {
        "encoder": {
            "class_path": "GRUEncoder",
            "init_args": {"hidden_dim": hidden, "num_layers": 2, "position_dim": hidden},
        },
        "latent": {"class_path": "DeterministicLatent", "init_args": {"latent_dim": latent}},
        "decoder": {
            "class_path": "GRUDecoder",
            "init_args": {"hidden_dim": 2 * hidden, "position_dim": hidden},
        },
    }
    return {**recipe, "model": {**recipe["model"], "autoencoder": {**parts, **gru}}}
