"""TrainingCLI: LightningCLI with a run folder, one-line errors and our callbacks.

LightningCLI makes the options from the signatures of the constructors.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
import yaml
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import Checkpoint, Timer
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from typing_extensions import override

from seqae.files import check_free_space
from seqae.parser import show_help
from seqae.training.callbacks.best_bundle import BundleWriter
from seqae.training.callbacks.predictions import PredictionWriter, new_predictions
from seqae.training.callbacks.time_budget import TimeBudget
from seqae.training.checkpoints.callback import checkpoint_bytes, checkpoints
from seqae.training.checkpoints.checkpoint_io import SafeCheckpointIO
from seqae.training.checkpoints.resume import check_checkpoint, unusable_checkpoint
from seqae.training.command.check_trainer import check_sources
from seqae.training.command.choose_run import choose_run, print_once
from seqae.training.command.cli_options import (
    Command,
    TrainingParser,
    add_options,
    check_monitor,
    check_options,
    make_parser,
    monitored,
)
from seqae.training.command.configured_data import ConfiguredData
from seqae.training.command.part_errors import explain
from seqae.training.command.trust import remember_own
from seqae.training.distributed.failures import out_of_memory, report_dead_process
from seqae.training.distributed.fsdp import ShardedStrategy, check_strategy
from seqae.training.distributed.launchers import set_processes
from seqae.training.lightning_internals import is_restoring, set_loop_progress
from seqae.training.logs.loggers import GuardedLogger, MetricsFile, use_run_folder
from seqae.training.logs.wandb_options import WandbOptions
from seqae.training.module import AutoencoderModule
from seqae.training.optimization.precision import (
    check_compiler,
    check_precision,
    precision_plugin,
    set_tf32,
)
from seqae.training.run.remote_run import run_url
from seqae.training.run.run_callbacks import callbacks_of_every_command, callbacks_of_fit
from seqae.training.run.run_folder import RunFolder, pin_revisions, shorten_class_paths
from seqae.training.run.run_mirror import RunMirror, mirror_of
from seqae.training.run.run_report import report_at_end
from seqae.training.starting.embedding_start import EmbeddingStart
from seqae.training.starting.given_tokenizer import kept_by_run, use_kept_tokenizer
from seqae.training.starting.warm_start import WarmStart


class TrainingCLI(LightningCLI):
    """LightningCLI for an AutoencoderModule and a TextDataModule.

    Args:
        command: the one subcommand to run.
        args: its arguments.
        topic: a part of the help to show, instead of running anything.
    """

    def __init__(self, command: Command, args: list[str], topic: str | None = None) -> None:
        self.command, self.topic = command, topic
        self.mirror: RunMirror | None = None
        sys.argv = [sys.argv[0], command, *args]  # DDP starts the other processes from these
        super().__init__(
            AutoencoderModule,
            ConfiguredData,
            save_config_callback=None,
            seed_everything_default=0,
            trainer_defaults={
                # Validation sums are in float64, which Apple's GPUs do not have.
                "accelerator": "cpu" if torch.backends.mps.is_available() else "auto",
                "num_sanity_val_steps": 0,
                "use_distributed_sampler": False,
                "enable_model_summary": False,
                "gradient_clip_val": 1.0,
                "logger": False,
            },
            auto_configure_optimizers=False,
        )

    @override
    def subcommands(self) -> dict[str, set[str]]:  # type: ignore[override] # static, for all four
        """Make the options of the one command; those of all four take four times as long."""
        return {self.command: super().subcommands()[self.command]}

    @override
    def init_parser(self, **kwargs: Any) -> LightningArgumentParser:
        return make_parser(**kwargs)

    @override
    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        add_options(parser, self.command)

    @override
    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        if self.topic is not None:
            own = self._subcommand_parsers[self.command]
            assert isinstance(own, TrainingParser)
            own.usage = f"seqae {self.command} [options]"  # the list of all would fill two screens
            show_help(own, self.topic)
            raise SystemExit(0)
        super().parse_arguments(parser, args)
        path = self.options.ckpt_path
        if path is not None:
            check_checkpoint(Path(path))
        elif self.command != "fit":
            raise ValueError(
                f"`ckpt_path` must be given, or an untrained model would be measured. Write "
                f"`seqae {self.command} RUN`, or name one with `-c` and `--ckpt_path`."
            )

    @override
    def _parse_ckpt_path(self) -> None:
        """Take no settings from the checkpoint; LightningCLI would.

        It would import every class that `hyper_parameters` of the file name, and so run the code of
        a stranger, although it reads the file with `weights_only`.
        """

    @property
    def options(self) -> Any:
        """All options of the command."""
        return self.config[self.command]

    # Before anything is built: the options

    @override
    def before_instantiate_classes(self) -> None:
        check_options(self.command, self.options)
        if self.command == "predict":
            self.output = self.options.output or new_predictions(self.options.ckpt_path)
        if self.command == "fit":
            self.resolved = self.resolved_config()  # before the run's own paths are put in
            self.run_dir, self.is_resumed = choose_run(self.options, self.resolved)
            self.mirror = mirror_of(self.options.run_dir, self.run_dir)
            self.options.trainer.default_root_dir = str(self.run_dir)
            use_run_folder(self.options.trainer.logger, self.run_dir, self.is_resumed)
        else:
            self.run_dir = Path(self.options.ckpt_path).absolute().parents[1]
        use_kept_tokenizer(self.options, self.run_dir)

    def resolved_config(self) -> dict[str, Any]:
        """Return all options with their defaults, except those that name this one run."""
        text = self.parser.dump(self.config, skip_none=False, skip_check=True)
        resolved: dict[str, Any] = yaml.safe_load(text)[self.command]
        of_one_run = ("config", "run_dir", "resume", "resume_changed", "ckpt_path", "weights_only")
        for key in (*of_one_run, "trust"):
            resolved.pop(key, None)
        resolved["trainer"].pop("default_root_dir", None)
        shorten_class_paths(resolved)
        return resolved

    @override
    def instantiate_classes(self) -> None:
        with self._naming_keys():
            super().instantiate_classes()

    @contextmanager
    def _naming_keys(self) -> Iterator[None]:
        """Say in an error of a part which option of the configuration it is about."""
        try:
            yield
        except ValueError as error:
            if (explained := explain(error, self.options.as_dict())) is error:
                raise
            raise explained from error

    # The trainer

    def _instantiate_trainer(self, config: dict[str, Any], callbacks: list[Callback]) -> Trainer:
        config = set_processes(dict(config))
        plugins = _as_list(config.get("plugins"))
        on_cpu = config.get("accelerator") == "cpu" or not torch.cuda.is_available()
        if precision := precision_plugin(str(config.get("precision")), on_cpu):
            config["precision"] = None
            plugins.append(precision)
        if not isinstance(config.get("strategy"), ShardedStrategy):  # which brings its own
            plugins.append(SafeCheckpointIO())
        config["plugins"] = plugins
        given = _as_list(config.get("callbacks"))
        callbacks = [*callbacks, *callbacks_of_every_command(self.options, given)]
        if self.command == "predict":
            callbacks.append(PredictionWriter(self.output))
        if self.command == "fit":
            # Lightning's own Timer would count the unfinished epoch as a whole one.
            max_time = config.pop("max_time", None)
            seconds = None if max_time is None else Timer(max_time).time_remaining()
            url = run_url(self.options.run_dir)
            self.run_folder = RunFolder(self.run_dir, self.resolved, self.is_resumed, url)
            monitor = monitored(self.options, self.model)
            callbacks += callbacks_of_fit(self.options, self.run_folder, monitor, seconds)
            minutes = self.options.budget_minutes
            self.time_budget = None if minutes is None else TimeBudget(minutes)
            callbacks += _as_list(self.time_budget)
            guarded = [GuardedLogger(logger) for logger in _as_list(config.get("logger"))]
            config["logger"] = [MetricsFile(self.run_dir / "metrics.jsonl"), *guarded]
            if config.get("enable_checkpointing") is None:
                # Ours is among the callbacks; Lightning's own default would be a second one.
                config["enable_checkpointing"] = any(
                    isinstance(callback, Checkpoint) for callback in [*callbacks, *given]
                )
        trainer: Trainer = super()._instantiate_trainer(config, callbacks)
        return trainer

    # The command

    def _run_subcommand(self, subcommand: str) -> None:
        try:
            sent = nullcontext() if self.mirror is None else self.mirror.until_sent()
            with self._naming_keys(), sent, report_dead_process(self.trainer):
                super()._run_subcommand(subcommand)
        except torch.OutOfMemoryError as error:
            raise out_of_memory(self.trainer.strategy.root_device) from error
        except (OSError, ValueError, MisconfigurationException):
            raise
        except Exception as error:  # what is missing or wrong there may raise almost anything
            if is_restoring(self.trainer):
                raise unusable_checkpoint(self.options.ckpt_path, error) from error
            raise
        finally:
            if self.command == "fit":
                self.run_folder.release()

    def before_fit(self) -> None:
        """Check and prepare all before other processes start, so that errors appear once."""
        self._check_device()
        self._pin_revisions()
        check_sources(self.trainer, self.datamodule)
        if self.command == "fit":
            self._check_model_and_data()
        # All processes come here and wait for the one that prepares. If Lightning let them wait, in
        # a collective, they would give up after half an hour.
        self.datamodule.prepare_data()
        if self.command == "fit" and self.trainer.is_global_zero:
            self._make_run_folder()

    def _check_device(self) -> None:
        """Check that the strategy, precision and compiler work with this model on this device."""
        device = self.trainer.strategy.root_device
        is_asynchronous = self.command == "fit" and self.options.checkpoint.asynchronous
        check_strategy(self.trainer.strategy, is_asynchronous)
        check_precision(self.trainer, self.model.autoencoder)
        set_tf32(self.options.tf32, device)
        if self.model.compiled and self.command == "fit":
            check_compiler(device)

    def _pin_revisions(self) -> None:
        """Read the same commits of the hub's data sets as when the run began."""
        if self.command != "fit":
            pin_revisions(self.datamodule, self.run_dir)
        elif self.is_resumed or not self.trainer.is_global_zero:
            # Processes that Lightning starts read what the first process has written.
            pin_revisions(self.datamodule, self.run_dir)

    def _check_model_and_data(self) -> None:
        """Check that the objective, the monitor and the data fit the model and the trainer."""
        if self.options.init is not None and self.options.ckpt_path is None:
            start = WarmStart.read(self.options.init, self.options.init_parts or ())
            start.check(self.model.autoencoder, self.datamodule)
            self.model.warm_start = start
        if self.options.word_vectors is not None and self.options.ckpt_path is None:
            self.model.embedding_start = EmbeddingStart(self.options.word_vectors)
            self.model.embedding_start.check(self.model.autoencoder)
        self.kept_tokenizer = kept_by_run(self.datamodule.tokenizer)
        self.datamodule.allows_another_order = self.options.resume_changed
        self.datamodule.check_trainer(self.trainer)
        self.model.objective.check(self.model.autoencoder, self.datamodule.is_paired)
        check_monitor(self.options, self.model)

    def _make_run_folder(self) -> None:
        """Make the run's folder, unless sizes do not fit together or the disk is too small."""
        self.datamodule.setup("fit")
        size = checkpoint_bytes(
            self.model.autoencoder,
            self.model.objective,
            self.datamodule.vocabulary,
            self.datamodule.max_length,
        )
        keep = self.options.checkpoint.keep
        existing = len(checkpoints(self.run_dir / "checkpoints")) if self.is_resumed else 0
        more = keep + 1 - min(keep, existing)
        check_free_space(self.run_dir, more * size, f"{more} checkpoint{'s' * (more > 1)}")
        self.run_folder.make(self.datamodule.report_files, self.kept_tokenizer)
        if self.datamodule.tokenizer_note is not None:
            print(self.datamodule.tokenizer_note)
        remember_own(self.run_dir)
        if self.mirror is not None:
            self.mirror.start(self.trainer.callbacks)  # type: ignore[attr-defined]

    before_validate = before_test = before_predict = before_fit

    def after_fit(self) -> None:
        """Validate the last model if that has not been done, and publish the bundle."""
        callbacks: list[Callback] = self.trainer.callbacks  # type: ignore[attr-defined]
        bundle = next(c for c in callbacks if isinstance(c, BundleWriter))
        if self.is_resumed and not self.run_folder.has_trained:
            print_once(
                f"nothing left to do: the training had ended at step "
                f"{self.trainer.global_step:,}. Train longer with `seqae fit --resume "
                f"{self.run_folder.name} --max_epochs N`, or `--max_steps N`."
            )
            # Lightning did not enter its loop, at whose end it counts the epoch of the last step.
            epoch, steps = self.datamodule.begin_training() or (0, 1)  # a stream is one epoch
            set_loop_progress(self.trainer, epoch + (steps > 0), steps=0)
        if bundle.validated_step != self.trainer.global_step and len(
            self.datamodule.corpora["val"]
        ):
            self.run_folder.forget_validation(self.trainer)
            self.trainer.validate(self.model, datamodule=self.datamodule, verbose=False)
        if self.trainer.is_global_zero:
            if self.run_folder.has_trained:
                bundle.record_run(self.trainer)
            bundle.attach_priors(self.trainer, self.datamodule, self.options.prior_sentences)
        bundle.log_artifact(self.trainer, self.datamodule, WandbOptions(**self.options.wandb))
        if (read := self.datamodule.stream_summary()) is not None:
            self.run_folder.write_stream(read)
        if self.time_budget is not None:
            print_once(self.time_budget.summary(self.run_dir))
        if self.options.report and self.trainer.is_global_zero and bundle.folder.exists():
            report_at_end(self.run_dir)
        model = bundle.folder if self.mirror is None else self.mirror.url
        print_once(
            f'bundle: {bundle.folder}\ntry it: seqae reconstruct {model} "a sentence of your own"'
        )


def _as_list(value: Any) -> list[Any]:
    """Return what Trainer takes as one, several or none as a list."""
    if isinstance(value, list):
        return [*value]
    return [value] if value else []
