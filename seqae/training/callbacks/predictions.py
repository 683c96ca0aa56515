"""PredictionWriter: write what `seqae predict` computes as JSON lines."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import BasePredictionWriter
from typing_extensions import override

from seqae.files import output_file
from seqae.training.module import AutoencoderModule


def new_predictions(checkpoint: str) -> str:
    """Name the file in a run's folder for the predictions of its checkpoint.

    Args:
        checkpoint: in the folder `checkpoints` of the run; for any other it is a file of the
            working folder.

    Raises:
        ValueError: if there are predictions already: those are replaced only if they are named.
    """
    run = Path(checkpoint).parent.parent
    folder = run if (run / "config.yaml").is_file() else Path()
    path = folder / "predictions.jsonl"
    if older := sorted(folder.glob(f"{path.name}*")):
        raise ValueError(
            f"`output` must be given to replace older predictions, but it is not, and there is "
            f"{older[0]}. Name it or another file: `--output {path}`."
        )
    return str(path)


class PredictionWriter(BasePredictionWriter):
    """Write predictions as JSON lines, in the order of the corpus.

    Args:
        path: the file; with several ranks each writes its own, `NAME.RANK`.
    """

    def __init__(self, path: str) -> None:
        super().__init__("epoch")
        self.path = Path(path)

    @override
    def write_on_epoch_end(
        self, trainer: Trainer, pl_module: LightningModule, predictions: Any, batch_indices: Any
    ) -> None:
        assert isinstance(pl_module, AutoencoderModule)
        # `trainer.limit_predict_batches` may have ended it early.
        batches = zip(pl_module.datamodule.predict_rows(), predictions, strict=False)
        rows = [
            {"index": int(index), **row}
            for indices, batch in batches
            for index, row in zip(indices, batch, strict=True)
        ]
        rows.sort(key=lambda row: row["index"])
        path = self.path
        if trainer.world_size > 1:
            path = path.with_name(f"{path.name}.{trainer.global_rank}")
        with output_file(path) as file:
            file.writelines(f"{json.dumps(row, ensure_ascii=False)}\n".encode() for row in rows)
        if trainer.is_global_zero:
            print(f"{len(rows):,} predictions: {path}")
