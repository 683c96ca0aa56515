"""AutoencoderModule: the LightningModule. Steps, optimizer and logged means, no layers."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.core.optimizer import LightningOptimizer
from torch import Generator, Tensor
from torch.distributed.tensor.experimental import implicit_replication
from typing_extensions import override

from seqae.batch import Batch
from seqae.component import check_choice, check_range
from seqae.data.datamodule import TextDataModule
from seqae.data.split import Split
from seqae.model.autoencoder import SequenceAutoencoder
from seqae.objectives.objective import Objective
from seqae.training.distributed.collectives import average_buffers, gather_ranks, rank_weight
from seqae.training.distributed.fsdp import LossModule, ShardedStrategy, is_plain, shard, unshard
from seqae.training.evaluation import Evaluation, reconstruct
from seqae.training.finite import LossCheck, check_loaded
from seqae.training.lightning_internals import forget_train_loader, set_loop_progress
from seqae.training.optimizer import make_optimizer, without_gradients
from seqae.training.schedule import Decay, Schedule, learning_rate_factor, plan_decay


class AutoencoderModule(LightningModule):
    """Trains a SequenceAutoencoder with AdamW.

    Args:
        autoencoder: the model; it is built when the data module's tokenizer is known.
        objective: what a step minimises.
        learning_rate: the highest learning rate, reached after the warm-up.
        warmup_steps: optimizer steps over which the learning rate rises from zero.
        schedule: how it falls after that, to zero at the last step: `cosine`, `linear`, or not at
            all: `constant`.
        weight_decay: of AdamW (Loshchilov and Hutter 2019), on the matrices; not on biases, norms
            and the vectors of positions.
        beta1: decay of AdamW's mean of gradients.
        beta2: decay of AdamW's mean of squared gradients.
        seed: of the objective's randomness.
        compiled: whether the loss over the vocabulary, and the blocks of a Transformer, run as
            compiled kernels (torch.compile) in training; needs a C++ compiler.
    """

    def __init__(
        self,
        autoencoder: SequenceAutoencoder,
        objective: Objective,
        learning_rate: float = 1e-3,
        warmup_steps: int = 200,
        schedule: Schedule = "cosine",
        weight_decay: float = 0.01,
        beta1: float = 0.9,
        beta2: float = 0.98,
        seed: int = 0,
        compiled: bool = False,
    ) -> None:
        super().__init__()
        check_range("model.learning_rate", learning_rate, 0.0, 10.0)
        check_range("model.warmup_steps", warmup_steps, 0, 10**9)
        check_choice("model.schedule", schedule, ("cosine", "linear", "constant"))
        check_range("model.weight_decay", weight_decay, 0.0, 10.0)
        check_range("model.beta1", beta1, 0.0, 1.0)
        check_range("model.beta2", beta2, 0.0, 1.0)
        self.autoencoder, self.objective = autoencoder, objective
        self.learning_rate, self.warmup_steps = learning_rate, warmup_steps
        self.schedule, self.weight_decay = schedule, weight_decay
        self.beta1, self.beta2, self.seed, self.compiled = beta1, beta2, seed, compiled
        objective.check(autoencoder)
        self._losses = LossCheck()
        self._gathered: list[LossModule] = []  # in a list: a checkpoint must not have it
        self._saved_decay: tuple[Decay, int] | None = None  # with the step at which it was saved

    @property
    def datamodule(self) -> TextDataModule:
        """The data module of this training."""
        datamodule = self.trainer.datamodule  # type: ignore[attr-defined]
        if not isinstance(datamodule, TextDataModule):
            raise ValueError(
                f"`datamodule` must be a TextDataModule, but it is {type(datamodule).__name__} "
                f"instead. Call `trainer.fit(module, datamodule=TextDataModule(...))`."
            )
        return datamodule

    @override
    def configure_model(self) -> None:
        if self.autoencoder.vocabulary is not None:
            return  # Lightning calls this again for each command
        self.autoencoder.build(self.datamodule.vocabulary, self.datamodule.max_length)
        if self.trainer.world_size > 1:
            self.autoencoder.latent.set_all_gather(gather_ranks)
        self.objective.build(self.autoencoder)
        if self.compiled:
            self.autoencoder.compile_parts()
        strategy = self.trainer.strategy
        if isinstance(strategy, ShardedStrategy):
            # Lightning rounds the weights of other strategies' models, later.
            self.trainer.precision_plugin.convert_module(self)
            shard(self, strategy.mesh, strategy.root_device)

    # Training

    @override
    def on_train_start(self) -> None:
        if (start := self.datamodule.begin_training()) is not None:
            set_loop_progress(self.trainer, *start)

    @override
    def forward(self, batch: Batch, step: int, generator: Generator) -> dict[str, Tensor]:
        values: dict[str, Tensor] = self.objective(self.autoencoder, batch, step, generator)
        return values

    @override
    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        self._gathered.clear()  # the weights are about to change
        self._reinitialize()
        values: dict[str, Tensor] = self(batch, self.global_step, self._generator(batch_idx))
        for name, value in values.items():
            self.log(f"train/{name}", value.detach(), batch_size=len(batch))
        weight, sign = rank_weight(values["loss"], batch.num_targets, self.trainer)
        self._losses.note(values["loss"], batch_idx, sign)
        return values["loss"] * weight

    def _reinitialize(self) -> None:
        """Draw the weights anew that the objective wants to be drawn, without their old moments."""
        with implicit_replication():  # the same numbers on all ranks go into sharded weights, too
            drawn = [*self.objective.reinitialized_parameters(self.autoencoder, self.global_step)]
        for weight in drawn:
            optimizer = self.optimizers()
            assert isinstance(optimizer, LightningOptimizer)
            optimizer.optimizer.state.pop(weight, None)

    def _generator(self, batch_idx: int) -> Generator:
        """Seed by step and batch, so that no state of it needs saving.

        The batches of a step draw the same whether one process has them in turn or several at once.
        """
        index = batch_idx * self.trainer.world_size + self.global_rank
        sequence = np.random.SeedSequence([self.seed, self.global_step, index])
        return Generator().manual_seed(int(sequence.generate_state(1, np.uint64)[0]) % 2**63)

    @override
    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        self._losses.check(self.global_step, self.current_epoch, self.global_rank, gather_ranks)
        for weight in self.objective.frozen_parameters(self.autoencoder, self.global_step):
            weight.grad = None

    @override
    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: int | float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        with without_gradients(self.objective):  # a discriminator must not shrink the step
            self.clip_gradients(optimizer, gradient_clip_val, gradient_clip_algorithm)

    @override
    def configure_optimizers(self) -> Any:
        betas = (self.beta1, self.beta2)
        optimizer = make_optimizer(
            self.autoencoder, self.objective, self.learning_rate, self.weight_decay, betas
        )
        self._decay = plan_decay(
            self.schedule, self.warmup_steps, self.trainer, self.datamodule, self._saved_decay
        )
        factor = learning_rate_factor(self.schedule, self.warmup_steps, self._decay)
        rate = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": rate, "interval": "step"}}

    # Evaluation, on a copy of the weights if they are sharded or rounded

    @property
    def unsharded(self) -> AutoencoderModule | LossModule:
        """All weights in float32, for everything but a training step: this module, or a copy."""
        assert self._gathered or is_plain(self), "`gather_weights` must run before"
        return self._gathered[0] if self._gathered else self

    def gather_weights(self) -> None:
        """Bring `unsharded` up to date with the weights; all processes must call this."""
        self._gathered.clear()  # there is no room for two copies
        if not is_plain(self):
            self._gathered.append(unshard(self, self.autoencoder, self.objective))

    on_predict_epoch_start = gather_weights

    @override
    def on_validation_epoch_start(self) -> None:
        if self.trainer.world_size > 1:
            average_buffers(self.autoencoder)
        self.on_test_epoch_start()

    @override
    def on_test_epoch_start(self) -> None:
        self.gather_weights()
        self._evaluation = Evaluation(self.objective.sentence_means, self.device)

    @override
    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        self._evaluate(batch, batch_idx, "val")

    @override
    def test_step(self, batch: Batch, batch_idx: int) -> None:
        self._evaluate(batch, batch_idx, "test")

    @override
    def predict_step(self, batch: Batch, batch_idx: int) -> list[dict[str, str]]:
        decode = self.datamodule.tokenizer.decode
        predictions, references = map(decode, reconstruct(self.unsharded.autoencoder, batch))
        pairs = zip(references, predictions, strict=True)
        return [{"text": text, "reconstruction": prediction} for text, prediction in pairs]

    def _evaluate(self, batch: Batch, batch_idx: int, split: Split) -> None:
        values = self.unsharded(batch, self.global_step, self._generator(batch_idx))
        rows = reconstruct(self.unsharded.autoencoder, batch)
        if self.datamodule.has_own(split, batch_idx):
            self._evaluation.update(values, batch, *rows, self.datamodule.tokenizer)
        else:
            self._evaluation.skip(values)

    @override
    def on_validation_epoch_end(self) -> None:
        self._log_evaluation("val")

    @override
    def on_test_epoch_end(self) -> None:
        self._log_evaluation("test")

    def _log_evaluation(self, stage: str) -> None:
        latent = self.unsharded.autoencoder.latent.metrics()
        scores = self._evaluation.compute() | {name: float(v) for name, v in latent.items()}
        # They are equal on all ranks already; sync_dist keeps Lightning from doubting it.
        self.log_dict({f"{stage}/{name}": v for name, v in scores.items()}, sync_dist=True)

    # Checkpoints

    @override
    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["tokenizer_sha256"] = self.datamodule.tokenizer.fingerprint
        checkpoint["learning_rate_decay"] = self._decay.state_dict()

    @override
    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        forget_train_loader(self.trainer)
        check_loaded(checkpoint.get("state_dict", {}))
        if checkpoint.get("tokenizer_sha256") != self.datamodule.tokenizer.fingerprint:
            raise ValueError(
                "`data` must be what the checkpoint was trained on, but its tokenizer comes out "
                "another one: the training text, the split or `data.tokenizer` has changed. Put "
                "it back, or train anew."
            )
        self._saved_decay = Decay(**checkpoint["learning_rate_decay"]), checkpoint["global_step"]
