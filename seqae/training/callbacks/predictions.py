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
        batches = zip(pl_module.datamodule.predict_rows(), predictions, strict=True)
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
