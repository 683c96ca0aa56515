"""EvaluatedModule: the half of AutoencoderModule that measures and predicts."""

from __future__ import annotations

from abc import ABC, abstractmethod

from lightning.pytorch import LightningModule
from torch import Generator
from typing_extensions import override

from seqae.batch import Batch, check_batch
from seqae.data.datamodule import TextDataModule
from seqae.data.sentences.split import Split
from seqae.generation import greedy
from seqae.generation.limits import are_cut, limits_of
from seqae.model.autoencoder import SequenceAutoencoder
from seqae.training.distributed.collectives import average_buffers
from seqae.training.distributed.fsdp import LossModule, TrainedModel
from seqae.training.evaluation import EvaluationMetrics


class EvaluatedModule(LightningModule, ABC):
    """Measures a model on validation and test sentences, and predicts."""

    autoencoder: SequenceAutoencoder
    trained: TrainedModel
    evaluation: EvaluationMetrics

    @abstractmethod
    def _generator(self, batch_idx: int) -> Generator:
        """Return the source of all randomness of a batch."""

    @property
    def datamodule(self) -> TextDataModule:
        """The data module of this training."""
        datamodule = self.trainer.datamodule  # type: ignore[attr-defined]
        if not isinstance(datamodule, TextDataModule):
            given = "a DataLoader" if datamodule is None else f"a {type(datamodule).__name__}"
            raise ValueError(
                f"`datamodule` must be a TextDataModule, which has the tokenizer and plans the "
                f"batches, but the trainer was given {given} instead. Call `trainer.fit(module, "
                f"datamodule=TextDataModule(train=sentences))`."
            )
        return datamodule

    @property
    def unsharded(self) -> LossModule:
        """The model and objective with all weights in float32, for all but a training step."""
        return self.trained.unsharded

    @property
    def measured(self) -> dict[str, float]:
        """What the trainer has measured last on validation and test sentences, by log key."""
        if self._trainer is None:
            return {}
        metrics = self.trainer.callback_metrics.items()
        return {name: float(value) for name, value in metrics if not name.startswith("train/")}

    @override
    def on_validation_epoch_start(self) -> None:
        """Start counting, with one model on all ranks, which have moving averages of their own."""
        if self.trainer.world_size > 1:
            average_buffers(self.autoencoder)
        self.trained.copy_weights()
        self.evaluation.reset()

    @override
    def on_test_epoch_start(self) -> None:
        self.trained.copy_weights()
        self.evaluation.reset()

    @override
    def on_predict_epoch_start(self) -> None:
        self.trained.copy_weights()

    @override
    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        self._evaluate(batch, batch_idx, "val")

    @override
    def test_step(self, batch: Batch, batch_idx: int) -> None:
        self._evaluate(batch, batch_idx, "test")

    @override
    def predict_step(self, batch: Batch, batch_idx: int) -> list[dict[str, str]]:
        """Return the text of each sentence and its reconstruction."""
        check_batch(batch)
        decode, (written, read, _) = self.datamodule.tokenizer.decode, self._reconstruct(batch)
        predictions, references = decode(written), decode(read)
        return [
            {"text": text, "reconstruction": reconstruction}
            for text, reconstruction in zip(references, predictions, strict=True)
        ]

    @override
    def on_validation_epoch_end(self) -> None:
        self._log_metrics("val")

    @override
    def on_test_epoch_end(self) -> None:
        self._log_metrics("test")

    def _evaluate(self, batch: Batch, batch_idx: int, split: Split) -> None:
        """Count the objective's values and the free-running reconstruction of a batch."""
        check_batch(batch)
        values = self.unsharded(batch, self.global_step, self._generator(batch_idx))
        predictions, references, is_cut = self._reconstruct(batch)
        if self.datamodule.has_own(split, batch_idx):
            tokenizer = self.datamodule.tokenizer
            texts = predictions, references, is_cut
            self.evaluation.update(values, batch, *texts, tokenizer)
        else:
            self.evaluation.update_with_nothing(values)

    def _reconstruct(self, batch: Batch) -> tuple[list[list[int]], list[list[int]], list[bool]]:
        """Reconstruct a batch.

        Returns:
            Predictions and references as ids without bos and eos, and whether the prediction had
            not ended at twice the length of the reference, where it was cut.
        """
        model = self.unsharded.autoencoder
        encoded, targets = model.encode(batch), batch.target_batch
        lengths = targets.lengths.tolist()
        limits = limits_of(lengths, model.max_length)
        predictions = greedy(model, encoded.latent, None, encoded.memory, limits)
        rows = zip(targets.token_ids.tolist(), lengths, strict=True)
        references = [row[1 : length - 1] for row, length in rows]
        return predictions, references, are_cut(predictions, limits)

    def _log_metrics(self, stage: str) -> None:
        metrics = self.evaluation.compute() | self.unsharded.autoencoder.latent.metrics()
        # They are equal on all ranks already; sync_dist keeps Lightning from doubting it.
        named = {f"{stage}/{name}": float(value) for name, value in metrics.items()}
        self.log_dict(named, sync_dist=True)
