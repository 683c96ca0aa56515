"""The table of `seqae summarize-eval` and its examples, for Weights & Biases."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from seqae.extras import extra

BESIDE_MEAN = ("low", "high", "p")  # of F1


def check_wandb() -> None:
    """Refuse to compute what could not be logged in the end, because wandb is not installed."""
    with extra("wandb"):
        import wandb  # noqa: F401 - what is checked


def log_summaries(
    project: str,
    info: Mapping[str, Any],
    results: Mapping[str, Mapping[str, Any]],
    examples: list[dict[str, Any]],
) -> None:
    """Log the table and the examples to Weights & Biases.

    Of F1 the table also has the interval, and p against the baseline.

    Args:
        project: their name there.
        info: the configuration of the run.
        results: of each row and metric `mean`, `low`, `high`, and `p` if it is tested.
        examples: `document`, `references` and `summaries` by row.
    """
    with extra("wandb"):
        import wandb

    columns = list(dict.fromkeys(column for row in results.values() for column in _cells(row)))
    table = wandb.Table(columns=["method", *columns])
    for name, row in results.items():
        cells = _cells(row)
        table.add_data(name, *(cells.get(column) for column in columns))
    texts = wandb.Table(columns=["document", "references", "method", "summary"])
    for example in examples:
        for name, summary in example["summaries"].items():
            texts.add_data(example["document"], "\n".join(example["references"]), name, summary)
    with wandb.init(project=project, job_type="summarize-eval", config=dict(info)) as run:
        run.log({"summaries/scores": table, "summaries/examples": texts})


def _cells(row: Mapping[str, Any]) -> dict[str, float]:
    """List the numbers of a row by column."""
    cells: dict[str, float] = {}
    for metric, entry in row.items():
        cells[metric] = entry["mean"]
        if metric.endswith("_f1"):
            cells |= {f"{metric}_{key}": entry[key] for key in BESIDE_MEAN if key in entry}
    return cells
