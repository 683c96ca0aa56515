"""AutoencoderModule: the LightningModule. It calls the objective, and has no layers of its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch.core.optimizer import LightningOptimizer
from torch import Generator, Tensor
from typing_extensions import override

from seqae.batch import Batch, Vocabulary, check_batch
from seqae.component import check_literal, check_part, check_range
from seqae.model.autoencoder import SequenceAutoencoder
from seqae.objectives.objective import Objective
from seqae.training.checkpoints.description import KEY, describe, rebuild
from seqae.training.checkpoints.resume import check_tokenizer, check_weights
from seqae.training.distributed.collectives import gather_ranks
from seqae.training.distributed.fsdp import LossModule, TrainedModel
from seqae.training.evaluated_module import EvaluatedModule
from seqae.training.evaluation import EvaluationMetrics
from seqae.training.lightning_internals import (
    forget_train_loader,
    replace_results_table,
    set_loop_progress,
)
from seqae.training.logs.results_table import show_results
from seqae.training.optimization.finite import LossCheck
from seqae.training.optimization.optimizer import (
    clip_gradients_apart,
    make_optimizer,
    reinitialize_weights,
)
from seqae.training.optimization.schedule import (
    Decay,
    Schedule,
    end_at,
    learning_rate_factor,
    plan_decay,
    warn_of_warmup,
)
from seqae.training.optimization.token_window import TokenWindow
from seqae.training.prepare_content import prepare_content
from seqae.training.rank_words import rank_words
from seqae.training.starting.embedding_start import EmbeddingStart
from seqae.training.starting.warm_start import WarmStart


class AutoencoderModule(EvaluatedModule):
    """Trains a SequenceAutoencoder with AdamW.

    Args:
        autoencoder: the model; it is built when the data module's tokenizer is known.
        objective: the loss that a step minimises.
        learning_rate: the highest learning rate, reached after the warm-up.
        warmup_steps: optimizer steps over which the learning rate rises from zero.
        schedule: how the learning rate falls to zero at the last step, `cosine` or `linear`; with
            `constant` it does not fall.
        weight_decay: of AdamW (Loshchilov and Hutter 2019), on matrices; not on biases, norms and
            position vectors.
        beta1: decay of AdamW's mean of gradients.
        beta2: decay of AdamW's mean of squared gradients.
        seed: of the objective's randomness.
        compiled: whether to compile the loss over the vocabulary and the blocks of a Transformer
            for training (torch.compile); this needs a C++ compiler.
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
        check_part("autoencoder", autoencoder, SequenceAutoencoder)
        check_part("objective", objective, Objective)
        check_range("model.learning_rate", learning_rate, 0.0, 10.0)
        check_range("model.warmup_steps", warmup_steps, 0, 10**9)
        check_literal("model.schedule", schedule, Schedule)
        check_range("model.weight_decay", weight_decay, 0.0, 10.0)
        check_range("model.beta1", beta1, 0.0, 1.0)
        check_range("model.beta2", beta2, 0.0, 1.0)
        check_range("model.seed", seed, 0, 2**63 - 1)
        self.autoencoder, self.objective = autoencoder, objective
        self.learning_rate, self.warmup_steps = learning_rate, warmup_steps
        self.schedule, self.weight_decay = schedule, weight_decay
        self.beta1, self.beta2, self.seed, self.compiled = beta1, beta2, seed, compiled
        objective.check(autoencoder)
        # No nn.Module, so that a checkpoint has the weights of the two modules above only once.
        self.trained = TrainedModel(LossModule(autoencoder, objective))
        self.evaluation = EvaluationMetrics(objective.sentence_means)
        self._losses = LossCheck()
        self._window = TokenWindow()
        self.awaits_last_step = False  # which a TimeBudget sets after the first steps
        self._decay: Decay | None = None
        self._saved_decay: tuple[Decay, int] | None = None  # with the step at which it was saved
        self._is_built = self._is_configured = False
        self._tokenizer_sha256: str | None = None  # of the checkpoint that it was loaded from
        self.warm_start: WarmStart | None = None
        self.embedding_start: EmbeddingStart | None = None
        self.started_from: dict[str, Any] | None = None  # for the bundle; no path

    @classmethod
    def load_from_checkpoint(  # type: ignore[override] # Lightning's other parameters mean nothing
        cls, checkpoint_path: str | Path, map_location: Any = "cpu", **changes: Any
    ) -> AutoencoderModule:
        """Build the module of a checkpoint, with its weights; nothing in the file is run.

        Args:
            checkpoint_path: a file or a folder of shards.
            map_location: device of the weights.
            changes: arguments of the constructor, instead of the saved ones.

        Raises:
            ValueError: if it is no checkpoint of this class, is damaged, or of another model.
        """
        module, fingerprint = rebuild(Path(checkpoint_path), cls, changes)
        module._tokenizer_sha256 = fingerprint
        return module.to(map_location)

    @override
    def setup(self, stage: str) -> None:
        """Have `validate` and `test` show their metrics with units."""
        replace_results_table(self.trainer, show_results)

    @override
    def configure_model(self) -> None:
        """Build the model for the tokenizer; Lightning calls this after preparing the data."""
        self._check_tokenizer()
        self.build(self.datamodule.vocabulary, self.datamodule.max_length)
        self.autoencoder.longest_target = self.datamodule.corpora["train"].longest_target
        if not self._is_configured:
            self._is_configured = True
            if self.trainer.world_size > 1:
                self.autoencoder.latent.set_all_gather(gather_ranks)
            if self.compiled:
                self.autoencoder.compile_parts()
            if self.trainer.state.fn == "fit" and self.trainer.ckpt_path is None:
                if self.warm_start is not None:
                    self.warm_start.load_into(self.autoencoder, self.trainer)
                    self.started_from = self.warm_start.record
                if self.embedding_start is not None:
                    words = self.datamodule.tokenizer
                    taken = self.embedding_start.load_into(self.autoencoder, words, self.trainer)
                    self.started_from = (self.started_from or {}) | taken
                prepare_content(self.autoencoder, self.datamodule, self.seed)
                if self.warm_start is None or not self.warm_start.takes("adaptive.ranked_ids"):
                    rank_words(self.autoencoder, self.datamodule, self.trainer)
            self.trained.configure(self.trainer)

    def build(self, vocabulary: Vocabulary, max_length: int) -> None:
        """Make the weights of model and objective, unless they are there.

        Args:
            vocabulary: the tokenizer's size and special ids.
            max_length: most tokens of a sentence, bos and eos counted.

        Raises:
            ValueError: if they are there, but made for another vocabulary or shorter sentences.
        """
        model = self.autoencoder
        if model.vocabulary is None:
            model.build(vocabulary, max_length)
        elif model.vocabulary != vocabulary or model.max_length < max_length:
            raise ValueError(
                f"`autoencoder` must be built for the data, {vocabulary} and sentences of "
                f"{max_length} tokens, but it was built for {model.vocabulary} and "
                f"{model.max_length} tokens instead. Give the data that it was trained on."
            )
        if not self._is_built:
            self._is_built = True
            self.objective.build(model)

    def _check_tokenizer(self) -> None:
        """Refuse data whose tokenizer is not that of the checkpoint that was loaded."""
        wanted = self._tokenizer_sha256
        if wanted is not None:
            check_tokenizer(wanted, self.datamodule.tokenizer.fingerprint)

    @override
    def forward(self, batch: Batch) -> Tensor:
        """Compute logits (B, T-1, V) under teacher forcing."""
        logits: Tensor = self.autoencoder(check_batch(batch))
        return logits

    @override
    def configure_optimizers(self) -> Any:
        """Make AdamW and its schedule, which advances with each optimizer step."""
        rates = self.learning_rate, self.weight_decay, (self.beta1, self.beta2)
        optimizer = make_optimizer(self.autoencoder, self.objective, *rates)
        self._decay = plan_decay(
            self.trainer,
            self.datamodule,
            self.schedule,
            self.warmup_steps,
            self._saved_decay,
            self.awaits_last_step,
        )
        factor = learning_rate_factor(self.schedule, self.warmup_steps, self._decay)
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
        scheduling = {"scheduler": scheduler, "interval": "step"}
        return {"optimizer": optimizer, "lr_scheduler": scheduling}

    def end_at(self, last_step: int) -> None:
        """Let the learning rate reach zero at another step; the trainer must end there."""
        assert self._decay is not None
        if self.trainer.is_global_zero:
            warn_of_warmup(self.warmup_steps, last_step)
        self._follow(end_at(self._decay, self.global_step, last_step))

    def keep_decay(self) -> None:
        """Follow the decay of the checkpoint that is resumed, whatever the configuration says."""
        assert self._saved_decay is not None
        self._follow(self._saved_decay[0])

    def _follow(self, decay: Decay) -> None:
        self._decay = decay
        scheduler = self.lr_schedulers()
        assert isinstance(scheduler, torch.optim.lr_scheduler.LambdaLR)
        factor = learning_rate_factor(self.schedule, self.warmup_steps, decay)
        scheduler.lr_lambdas = [factor for _ in scheduler.lr_lambdas]

    @override
    def on_train_start(self) -> None:
        """Set Lightning's loops to where the data continues after a resume."""
        if (start := self.datamodule.begin_training()) is not None:
            set_loop_progress(self.trainer, *start)

    @override
    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Compute the objective's loss, weighed so that all tokens of a step count the same."""
        check_batch(batch)
        self.trained.forget_copy()
        optimizer = self.trainer.optimizers[0]
        reinitialize_weights(self.objective, self.autoencoder, self.global_step, optimizer)
        generator = self._generator(batch_idx)
        values = self.trained.loss_module(batch, self.global_step, generator)
        for name, value in values.items():
            self.log(f"train/{name}", value.detach(), batch_size=len(batch))
        loss: Tensor = values["loss"]
        weighed, indicator = self._window.weigh(loss, batch.num_targets, batch_idx, self.trainer)
        self._losses.note(loss, batch_idx, indicator)
        return weighed

    @override
    def optimizer_step(
        self,
        epoch: int,
        batch_idx: int,
        optimizer: torch.optim.Optimizer | LightningOptimizer,
        optimizer_closure: Callable[[], Any] | None = None,
    ) -> None:
        """Step along the mean gradient of the window's tokens when its last batch is in."""
        assert optimizer_closure is not None

        def compute_gradients() -> Any:
            result = optimizer_closure()
            self._window.rescale(self.parameters(), self.trainer)
            return result

        super().optimizer_step(epoch, batch_idx, optimizer, compute_gradients)

    @override
    def _generator(self, batch_idx: int) -> Generator:
        """Seed a generator for this step, batch and rank, so that no state needs saving.

        The draws are the same whether one rank computes the batches of a step in turn or several
        ranks compute them at once.
        """
        index = batch_idx * self.trainer.world_size + self.global_rank
        entropy = [self.seed, self.global_step, index, 0]
        seed = int(np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0])
        return Generator().manual_seed(seed % 2**63)

    @override
    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Refuse a loss that is not finite, and drop the gradients of frozen weights."""
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
        """Clip the model's gradients alone: a discriminator's must not shrink the model's step."""
        with clip_gradients_apart(self.objective):
            self.clip_gradients(optimizer, gradient_clip_val, gradient_clip_algorithm)

    @override
    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Save how to build this, which tokenizer it belongs to, and how the rate decays."""
        assert self._decay is not None
        sizes = self.datamodule.vocabulary, self.autoencoder.max_length
        checkpoint[KEY] = describe(self, *sizes)
        checkpoint["tokenizer_sha256"] = self.datamodule.tokenizer.fingerprint
        checkpoint["learning_rate_decay"] = self._decay.state_dict()
        if self.started_from is not None:
            checkpoint["init"] = self.started_from

    @override
    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse weights that are not finite, and those of another tokenizer."""
        forget_train_loader(self.trainer)
        check_weights(checkpoint, self.datamodule.tokenizer.fingerprint)
        self._saved_decay = Decay(**checkpoint["learning_rate_decay"]), checkpoint["global_step"]
        self.started_from = checkpoint.get("init")
