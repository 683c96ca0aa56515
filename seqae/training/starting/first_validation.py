"""FirstValidation: measure what a training starts from, before its first step."""

from __future__ import annotations

from lightning.pytorch import Callback, LightningModule, Trainer
from typing_extensions import override

from seqae.training.lightning_internals import validate_now


class FirstValidation(Callback):
    """Validate a model that starts from a bundle, as step 0.

    These are the bundle's own figures on this data; and the run's bundle is never worse.
    """

    @override
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.ckpt_path is None:
            validate_now(trainer)
