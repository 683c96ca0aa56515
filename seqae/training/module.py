"""AutoencoderModule: the LightningModule. Optimizer, schedule and logged means, no layers."""

from __future__ import annotations

import logging
import math
from typing import Any

import numpy as np
import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.core.optimizer import LightningOptimizer
from torch import Generator, Tensor
from torchmetrics import SumMetric

from seqae.batch import Batch, Vocabulary
from seqae.component import check_choice, check_range
from seqae.data.datamodule import TextDataModule
from seqae.data.split import Split
from seqae.generation import greedy
from seqae.metrics.accuracy import ReconstructionMetric
from seqae.model.autoencoder import SequenceAutoencoder
from seqae.objectives.objective import Objective
from seqae.training.distributed.fsdp import ShardedStrategy, Trained, drawing_weights, shard, whole
from seqae.training.finite import LossCheck, not_finite
from seqae.training.lightning_internals import (
    forget_train_loader,
    leave_unscaling_to_scaler,
    set_loop_progress,
)
from seqae.training.micro_batches import MicroBatches
from seqae.training.schedule import Decay, Schedule, learning_rate_factor, resume_decay

# Beside the objective's keys.
TOKENS = "number of target tokens"
SENTENCES = "number of sentences"

# Bytes of a checkpoint beside its tensors: names, counts, random states; 51 kB were measured.
OVERHEAD = 2**16

log = logging.getLogger(__name__)


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
        # In tuples, so that a checkpoint has only the weights of the two modules above.
        self._trained = (Trained(autoencoder, objective),)
        self._gathered: tuple[Trained, ...] = ()
        self._saved_decay: tuple[Decay, int] | None = None  # with the step at which it was saved
        self._losses = LossCheck()
        self._micro_batches: MicroBatches | None = None
        self._in_hand: tuple[Batch, int] | None = None  # the batch that is trained, and its number
        self.sums: dict[str, SumMetric] = {}
        self.reconstruction = ReconstructionMetric()

    @property
    def datamodule(self) -> TextDataModule:
        """The data module that this training uses."""
        datamodule = self.trainer.datamodule  # type: ignore[attr-defined]
        if not isinstance(datamodule, TextDataModule):
            raise ValueError(
                f"`datamodule` must be a TextDataModule, but it is {type(datamodule).__name__} "
                f"instead. Call `trainer.fit(module, datamodule=TextDataModule(...))`."
            )
        return datamodule

    def configure_model(self) -> None:
        """Build the model for the tokenizer; Lightning calls this once the data is prepared."""
        if self.autoencoder.vocabulary is None:
            self.autoencoder.build(self.datamodule.vocabulary, self.datamodule.max_length)
            if self.trainer.world_size > 1:
                self.autoencoder.latent.set_all_gather(over_ranks)
            self.objective.build(self.autoencoder)
            if self.compiled:
                self.autoencoder.compile_parts()
            strategy = self.trainer.strategy
            if isinstance(strategy, ShardedStrategy):
                # Lightning rounds the weights of other strategies' models, later.
                self.trainer.precision_plugin.convert_module(self._trained[0])
                shard(self._trained[0], strategy.mesh, strategy.root_device)

    @property
    def whole(self) -> Trained:
        """The model and the objective for all but a training step; see sharding.py.

        Themselves, or the copy that `gather` made: all weights here, in float32.
        """
        if not self._is_copied:
            return self._trained[0]
        assert self._gathered, "`gather` must run before"
        return self._gathered[0]

    def gather(self) -> None:
        """Make `whole` of the weights as they are; all processes must call this."""
        self._gathered = ()  # there is no room for two
        if self._is_copied:
            self._gathered = (whole(self._trained[0]),)

    @property
    def _is_copied(self) -> bool:
        if isinstance(self.trainer.strategy, ShardedStrategy):
            return True
        return next(self.autoencoder.parameters()).dtype != torch.float32

    def check_sizes(self, vocabulary: Vocabulary, max_length: int) -> int:
        """Build a model without numbers, to refuse parts that do not fit together.

        Returns:
            The bytes of a checkpoint, about: the weights and two figures of AdamW's for each.

        Args:
            vocabulary: the tokenizer's size and special ids.
            max_length: most tokens of a sentence, bos and eos counted.

        Raises:
            ValueError: in one line, with the way out.
        """
        with torch.device("meta"):
            model = SequenceAutoencoder.from_config(self.autoencoder.config())
            model.build(vocabulary, max_length)
            objective = Objective.from_config(self.objective.config())
            objective.build(model)
        weights = [*model.state_dict().values(), *objective.state_dict().values()]
        return 3 * sum(int(weight.nbytes) for weight in weights) + OVERHEAD

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Say which tokenizer the weights belong to, and how the learning rate decays."""
        checkpoint["tokenizer_sha256"] = self.datamodule.tokenizer.fingerprint
        checkpoint["learning_rate_decay"] = self._decay.state_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse weights of no use, and those of another tokenizer: their ids mean other tokens."""
        forget_train_loader(self.trainer)
        if (name := not_finite(checkpoint.get("state_dict", {}).items())) is not None:
            raise ValueError(
                f"`{name}` must be finite to be loaded, but it has NaN or infinity in the "
                f"checkpoint. Go on from an earlier one with `--ckpt_path`."
            )
        if checkpoint.get("tokenizer_sha256") != self.datamodule.tokenizer.fingerprint:
            raise ValueError(
                "`data` must be what the checkpoint was trained on, but its tokenizer comes out "
                "another one: the training text, the split or `data.tokenizer` has changed. Put "
                "it back, or train anew."
            )
        self._saved_decay = Decay(**checkpoint["learning_rate_decay"]), checkpoint["global_step"]

    def on_train_start(self) -> None:
        """Start Lightning's loops where the data continues after a resume."""
        if (start := self.datamodule.begin_training()) is not None:
            set_loop_progress(self.trainer, *start)

    def configure_optimizers(self) -> Any:
        """AdamW and the schedule, stepped once per optimizer step."""
        trained = [(n, p) for n, p in self.autoencoder.named_parameters() if p.requires_grad]
        matrices = [p for n, p in trained if p.ndim >= 2 and "positions" not in n]
        others = [p for n, p in trained if p.ndim < 2 or "positions" in n]
        optimizer = torch.optim.AdamW(
            [
                {"params": matrices, "weight_decay": self.weight_decay},
                {"params": others, "weight_decay": 0.0},
                *self._own_weights_of_objective(),
            ],
            lr=self.learning_rate,
            betas=(self.beta1, self.beta2),
            fused=True,
        )
        # Lightning refuses to clip under mixed precision, since a fused optimizer can take the
        # scale off by itself. This one is not to: the scaler does it before the clipping.
        leave_unscaling_to_scaler(optimizer)
        self._decay = self._find_decay()
        factor = learning_rate_factor(self.schedule, self.warmup_steps, self._decay)
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": scheduler, "interval": "step"},
        }

    def _find_decay(self) -> Decay:
        """How the learning rate decays; after a resume on other processes, the rest of it."""
        trainer, window = self.trainer, self.trainer.accumulate_grad_batches
        end = trainer.estimated_stepping_batches
        if self.schedule != "constant" and not math.isfinite(end):
            raise ValueError(
                f"`model.schedule` must be constant when training has no last step, but it is "
                f"{self.schedule} instead. Set `trainer.max_steps` or `trainer.max_epochs`."
            )
        whole_epoch, left_of_epoch, epoch = self.datamodule.epoch_progress
        max_epochs = -1 if trainer.max_epochs is None else trainer.max_epochs
        epoch_steps = math.ceil(whole_epoch / window)
        now = Decay(end, self.warmup_steps, 0.0, epoch_steps, max_epochs, trainer.max_steps)
        if self._saved_decay is not None:
            left: float = math.inf
            if max_epochs != -1:
                left = math.ceil(left_of_epoch / window) + (max_epochs - epoch - 1) * epoch_steps
            return resume_decay(self._saved_decay[0], now, self._saved_decay[1], max(0, left))
        if self.warmup_steps > end / 2 and trainer.is_global_zero:
            log.warning(
                f"`model.warmup_steps` is {self.warmup_steps:,} of {end:,} steps in all, so that "
                f"the learning rate hardly gets up. Lower it, or train longer."
            )
        return now

    def _own_weights_of_objective(self) -> list[dict[str, Any]]:
        """A group of the optimizer; AdamW keeps each weight's state apart, as two would."""
        own = list(self.objective.parameters())
        if not own:
            return []
        rate = self.learning_rate * self.objective.learning_rate_factor
        beta1 = self.beta1 if self.objective.beta1 is None else self.objective.beta1
        return [{"params": own, "weight_decay": 0.0, "lr": rate, "betas": (beta1, self.beta2)}]

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Refuse a loss that is not finite; leave alone weights that are not trained now."""
        self._losses.check(self.global_step, self.current_epoch, self.global_rank, over_ranks)
        for weight in self.objective.frozen_parameters(self.autoencoder, self.global_step):
            weight.grad = None

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: int | float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip the model's gradients by themselves: a discriminator's must not shrink its step."""
        own = [(weight, weight.grad) for weight in self.objective.parameters()]
        for weight, _ in own:
            weight.grad = None
        self.clip_gradients(optimizer, gradient_clip_val, gradient_clip_algorithm)
        for weight, gradient in own:
            weight.grad = gradient

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The objective's loss, weighted so that every token counts the same on all ranks."""
        self._gathered = ()  # it is about to be another one
        with drawing_weights():
            drawn = list(
                self.objective.reinitialized_parameters(self.autoencoder, self.global_step)
            )
        for weight in drawn:
            optimizer = self.optimizers()
            assert isinstance(optimizer, LightningOptimizer)
            optimizer.optimizer.state.pop(weight, None)
        values = self._computed(batch, batch_idx)
        for name, value in values.items():
            self.log(f"train/{name}", value.detach(), batch_size=len(batch))
        return values["loss"] * self._rank_weight(batch, values["loss"], batch_idx)

    def _computed(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """What the objective gives; in parts where the device has no memory for all at once."""
        self._in_hand = (batch, batch_idx)
        if self._micro_batches is None:
            weights = [w for w in self.parameters() if w.requires_grad]
            self._micro_batches = MicroBatches(
                self._part, weights, self.objective.sentence_means, self._scale
            )
            self._micro_batches.obstacle = self._obstacle()
        return self._micro_batches(batch)

    def _part(self, batch: Batch, number: int) -> dict[str, Tensor]:
        assert self._in_hand is not None
        return self._objective(batch, self._in_hand[1], number)

    def _scale(self) -> float:
        """Of the gradient scaler, where there is one."""
        scaler = getattr(self.trainer.precision_plugin, "scaler", None)
        return 1.0 if scaler is None else float(scaler.get_scale())

    def _obstacle(self) -> str | None:
        """Why batches must be trained whole here."""
        latent = self.autoencoder.latent
        if self.objective.needs_whole_batch:
            return f"{type(self.objective).__name__} reads a batch as a whole"
        if latent.needs_whole_batch:
            return f"{type(latent).__name__} reads a batch as a whole"
        is_sharded = isinstance(self.trainer.strategy, ShardedStrategy)
        return "the weights are sharded" if is_sharded else None

    def backward(self, loss: Tensor, *args: Any, **kwargs: Any) -> None:
        """Backpropagate; where memory runs out only here, compute the batch again in parts."""
        clean = all(weight.grad is None for weight in self.parameters())
        try:
            torch.autograd.backward(loss, *args, **kwargs)
            return
        except torch.OutOfMemoryError:
            pass  # on this side of the block: the exception holds the failed attempt's tensors
        assert self._micro_batches is not None
        assert self._in_hand is not None
        batch, batch_idx = self._in_hand
        if self.trainer.world_size > 1:  # DDP has begun to exchange what is not complete
            self._micro_batches.obstacle = "an exchange of gradients has begun"
        elif not clean:
            self._micro_batches.obstacle = "gradients of batches before are in the same window"
        self._micro_batches.halve(batch)
        self.zero_grad(set_to_none=True)
        factor = self._scale() / self.trainer.accumulate_grad_batches
        torch.autograd.backward(self._computed(batch, batch_idx)["loss"] * factor)

    def _rank_weight(self, batch: Batch, loss: Tensor, batch_idx: int) -> Tensor | float:
        """DDP takes the plain mean over ranks; this makes it the mean over all their tokens."""
        if self.trainer.world_size == 1:
            self._losses.note(loss, batch_idx)
            return 1.0
        # A NaN or an infinity anywhere becomes a NaN of the mean, and so is known on all ranks.
        tokens = torch.full((), batch.num_targets, dtype=loss.dtype, device=loss.device)
        told = torch.stack([tokens, loss.detach() * 0])
        mean = self.trainer.strategy.reduce(told, reduce_op="mean")
        assert isinstance(mean, Tensor)
        self._losses.note(loss, batch_idx, mean[1])
        return tokens / mean[0]

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Count the objective's values and the free-running reconstruction."""
        self._evaluate(batch, batch_idx, "val")

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """As validation, under the name `test`."""
        self._evaluate(batch, batch_idx, "test")

    def on_validation_epoch_start(self) -> None:
        """Start counting anew, with one model: each rank has moving averages of its own."""
        if self.trainer.world_size > 1:
            for buffer in self.autoencoder.buffers():
                if buffer.is_floating_point():
                    buffer.copy_(over_ranks(buffer).mean(dim=0))
        self.gather()
        self._reset()

    def on_test_epoch_start(self) -> None:
        """Start counting anew."""
        self.gather()
        self._reset()

    def on_predict_epoch_start(self) -> None:
        """Have the whole model at hand."""
        self.gather()

    def on_validation_epoch_end(self) -> None:
        """Log the means over all sentences of all ranks."""
        self._log_scores("val")

    def on_test_epoch_end(self) -> None:
        """Log the means over all sentences of all ranks."""
        self._log_scores("test")

    def predict_step(self, batch: Batch, batch_idx: int) -> list[dict[str, str]]:
        """The text of each sentence and what the model writes back."""
        texts = map(self.datamodule.tokenizer.decode, reversed(self._reconstruct(batch)))
        return [
            {"text": text, "reconstruction": reconstruction}
            for text, reconstruction in zip(*texts, strict=True)
        ]

    def _objective(self, batch: Batch, batch_idx: int, part: int = 0) -> dict[str, Tensor]:
        # A seed for each step and batch: no state of it needs saving. Where the batches of a step
        # are the same, so are the draws, whether one process has them in turn or several at once.
        index = batch_idx * self.trainer.world_size + self.global_rank
        place = [self.seed, self.global_step, index, part]
        seed = int(np.random.SeedSequence(place).generate_state(1, np.uint64)[0])
        generator = Generator().manual_seed(seed % 2**63)
        trained = self._trained[0] if self.trainer.training else self.whole
        values: dict[str, Tensor] = trained(batch, self.global_step, generator)
        return values

    def _evaluate(self, batch: Batch, batch_idx: int, split: Split) -> None:
        weights = {TOKENS: batch.num_targets, SENTENCES: len(batch)}
        values = self._objective(batch, batch_idx)
        predictions, references = self._reconstruct(batch)
        if not self.datamodule.has_own(split, batch_idx):  # it was to keep step with the others
            for name in (*values, *weights):
                self._sum(name).update(0.0)
            self.reconstruction.update([], [], [], [])
            return
        for name, value in values.items():
            self._sum(name).update(value.double() * weights[self._weight_of(name)])
        for name, weight in weights.items():
            self._sum(name).update(weight)
        tokenizer = self.datamodule.tokenizer
        self.reconstruction.update(
            predictions,
            references,
            tokenizer.decode(predictions),
            tokenizer.decode(references),
            is_lossless=[tokenizer.unk_id not in row for row in references],
        )

    def _weight_of(self, name: str) -> str:
        """What a figure of the objective's is a mean over."""
        return SENTENCES if name in self.objective.sentence_means else TOKENS

    def _sum(self, name: str) -> SumMetric:
        # Sums, because MeanMetric drops a NaN, or with nan_strategy="disable" the weights.
        if name not in self.sums:
            self.sums[name] = SumMetric(nan_strategy="disable").to(self.device)
            self.sums[name].set_dtype(torch.float64)
        return self.sums[name]

    def _reconstruct(self, batch: Batch) -> tuple[list[list[int]], list[list[int]]]:
        """Reconstruct a batch: predictions and references as ids without bos and eos."""
        model = self.whole.autoencoder
        predictions = greedy(model, model.encode(batch).latent)
        targets = batch.target_batch
        rows = zip(targets.token_ids.tolist(), targets.lengths.tolist(), strict=True)
        return predictions, [row[1 : length - 1] for row, length in rows]

    def _reset(self) -> None:
        self.reconstruction.reset()
        for total in self.sums.values():
            total.reset()

    def _log_scores(self, stage: str) -> None:
        sums = {name: total.compute() for name, total in self.sums.items()}
        weights = {name: sums.pop(name) for name in (TOKENS, SENTENCES)}
        scores = {name: total / weights[self._weight_of(name)] for name, total in sums.items()}
        scores |= self.reconstruction.compute()._asdict() | self.whole.autoencoder.latent.metrics()
        # They are equal on all ranks already; sync_dist keeps Lightning from doubting it.
        values = {f"{stage}/{name}": float(value) for name, value in scores.items()}
        self.log_dict(values, sync_dist=True)


def over_ranks(values: Tensor) -> Tensor:
    """Gather (...) of each rank, on all ranks: (ranks, ...)."""
    gathered = [torch.empty_like(values) for _ in range(torch.distributed.get_world_size())]
    torch.distributed.all_gather(gathered, values.contiguous())
    return torch.stack(gathered)
