"""The table of `seqae summarize-eval` and its examples, for Weights & Biases."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from seqae.extras import extra


def log_summaries(
    project: str,
    info: Mapping[str, Any],
    results: Mapping[str, Mapping[str, Any]],
    examples: list[dict[str, Any]],
) -> None:
    """Log the table and the examples to Weights & Biases."""
    with extra("wandb"):
        import wandb

    metrics = list(dict.fromkeys(name for row in results.values() for name in row))
    table = wandb.Table(columns=["method", *metrics])
    for row, found in results.items():
        table.add_data(row, *(found[name]["mean"] if name in found else None for name in metrics))
    texts = wandb.Table(columns=["document", "references", "method", "summary"])
    for example in examples:
        for row, summary in example["summaries"].items():
            texts.add_data(example["document"], "\n".join(example["references"]), row, summary)
    with wandb.init(project=project, job_type="summarize-eval", config=dict(info)) as run:
        run.log({"summaries/scores": table, "summaries/examples": texts})
