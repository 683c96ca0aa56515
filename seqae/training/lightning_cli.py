"""TrainingCLI: LightningCLI with a run folder, one-line errors and the callbacks of every training.

LightningCLI makes the options from the constructors' signatures.
"""

from __future__ import annotations

import itertools
import json
import logging
import os
import sys
import time
from pathlib import Path
from typing import Any

import torch
import yaml
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import Checkpoint, ProgressBar, Timer
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_only

from seqae.component import check_choice, check_range
from seqae.data.datamodule import TextDataModule
from seqae.files import check_free_space, check_output
from seqae.model.latents import StochasticLatent
from seqae.training.callbacks.best_bundle import BundleWriter
from seqae.training.callbacks.collapse import CollapseMonitor
from seqae.training.callbacks.latent_tables import LatentSpaceTables
from seqae.training.callbacks.predictions import PredictionWriter
from seqae.training.callbacks.preemption import Preemption
from seqae.training.callbacks.progress import TrainingProgress
from seqae.training.callbacks.random_state import RandomState
from seqae.training.callbacks.sample_reconstructions import SampleReconstructions
from seqae.training.callbacks.threads import ThreadTuner
from seqae.training.callbacks.throughput import Throughput
from seqae.training.checkpoints.callback import CheckpointWriter, checkpoints
from seqae.training.checkpoints.checkpoint_io import SafeCheckpointIO
from seqae.training.checkpoints.resume import (
    check_changes,
    check_checkpoint,
    find_run,
    read_config,
    run_of_folder,
)
from seqae.training.cli_options import MONITORED, Command, add_options, check_trainer, make_parser
from seqae.training.distributed.failures import report_dead_process
from seqae.training.distributed.fsdp import check_shards_precision, check_strategy
from seqae.training.distributed.launchers import find_launcher, follow_launcher
from seqae.training.loggers import GuardedLogger, MetricsFile, remembered_run
from seqae.training.module import AutoencoderModule
from seqae.training.precision import (
    PRECISIONS,
    check_compiler,
    check_precision,
    precision_plugin,
    set_tf32,
)
from seqae.training.run_folder import RunFolder, check_run_dir

log = logging.getLogger(__name__)


class TrainingCLI(LightningCLI):
    """LightningCLI for an AutoencoderModule and a TextDataModule.

    Args:
        command: the one subcommand to run.
        args: its arguments.
    """

    def __init__(self, command: Command, args: list[str]) -> None:
        self.command = command
        sys.argv = [sys.argv[0], command, *args]  # DDP starts the other processes from these
        super().__init__(
            AutoencoderModule,
            TextDataModule,
            save_config_callback=None,
            seed_everything_default=0,
            trainer_defaults={
                # Apple's GPUs have no float64, which sums over a validation are kept in.
                "accelerator": "cpu" if torch.backends.mps.is_available() else "auto",
                "num_sanity_val_steps": 0,
                "use_distributed_sampler": False,
                "enable_model_summary": False,
                "gradient_clip_val": 1.0,
                "logger": False,
            },
            auto_configure_optimizers=False,
        )

    def init_parser(self, **kwargs: Any) -> LightningArgumentParser:
        """Parse with one-line errors."""
        return make_parser(**kwargs)

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """The options that are not of Trainer, module or data module."""
        add_options(parser, self.command)

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parse; refuse a bad checkpoint before LightningCLI looks for settings in it."""
        super().parse_arguments(parser, args)
        path = self.config[self.command].ckpt_path
        if path is not None:
            check_checkpoint(Path(path))
        elif self.command != "fit":
            raise ValueError(
                f"`ckpt_path` must be given, or an untrained model would be measured. Write "
                f"`seqae {self.command} RUN`, or name one with `-c` and `--ckpt_path`."
            )

    def before_instantiate_classes(self) -> None:
        """Choose the run folder, and send the loggers' own files there."""
        config = self.config[self.command]
        precision, strategy = str(config.trainer.precision), config.trainer.strategy
        check_choice("trainer.precision", precision, PRECISIONS)
        check_trainer(config.trainer)
        check_shards_precision(precision, str(getattr(strategy, "class_path", strategy)))
        if config.trainer.logger is True:
            raise ValueError(
                "`trainer.logger` must be a logger's class or false, but it is true instead. "
                "metrics.jsonl is always written; `-c overlays/wandb` adds W&B."
            )
        if self.command == "predict":
            check_output(config.output, (".jsonl",))
        if self.command == "fit":
            self.resolved = self.resolved_config()  # before the run's own paths are put in
            if config.monitor is not None:
                check_choice("monitor", config.monitor, tuple(MONITORED))
            launcher = find_launcher()
            is_alone = launcher is None or launcher.world_size == 1
            if not is_alone and config.run_dir is None and "SEQAE_RUN_TIME" not in os.environ:
                raise ValueError(
                    "`run_dir` must be given where torchrun or SLURM starts the processes, since "
                    "each would name another one. Write `--run_dir runs/NAME`."
                )
            stamp = os.environ.setdefault("SEQAE_RUN_TIME", time.strftime("%Y-%m-%dT%H-%M-%S"))
            self.run_dir = Path(config.run_dir or Path("runs") / config.name / stamp)
            self._check_resume()
            is_begun = config.resume == "auto" and self._find_newest()
            self.is_resumed = is_begun or (
                config.ckpt_path is not None
                and Path(config.ckpt_path).resolve().is_relative_to(self.run_dir.resolve())
            )
            # The other ranks start when the folder has been made.
            if rank_zero_only.rank == 0:  # type: ignore[attr-defined]
                check_run_dir(self.run_dir, self.is_resumed)
                if self.is_resumed:
                    before = read_config(self.run_dir)
                    check_changes(before, self.resolved, config.resume_changed)
            if config.trainer.default_root_dir is not None:
                raise ValueError(
                    f"`trainer.default_root_dir` must not be given, but it is "
                    f"{config.trainer.default_root_dir}. Name the run's folder with `--run_dir`."
                )
            config.trainer.default_root_dir = str(self.run_dir)
            loggers = config.trainer.logger
            for logger in loggers if isinstance(loggers, list) else [loggers]:
                arguments = getattr(logger, "init_args", None)
                if arguments is None:
                    continue
                if "save_dir" in arguments and arguments["save_dir"] in (None, "."):
                    arguments["save_dir"] = str(self.run_dir)
                if self.is_resumed and logger.class_path.endswith(".WandbLogger"):
                    given = arguments.get("id") or arguments.get("version")
                    arguments["id"] = given or remembered_run(self.run_dir)

    def _check_resume(self) -> None:
        """Refuse what would not be heeded."""
        config = self.config["fit"]
        if config.resume not in (None, "auto"):  # a run's name becomes other options
            raise ValueError(
                f"`resume` must be given on the command line, or be auto, but a file has it as "
                f"{config.resume} instead. Write `seqae fit --resume {config.resume}`."
            )
        if config.resume is not None and config.ckpt_path is not None:
            raise ValueError(
                "`ckpt_path` must not be given beside `--resume auto`, which finds the newest "
                "checkpoint itself. Leave one of them out."
            )
        if config.trainer.enable_checkpointing is False and config.trainer.max_time is not None:
            raise ValueError(
                "`trainer.max_time` must not be given where nothing is saved when the time is up, "
                "but `trainer.enable_checkpointing` is false. Leave one of them out."
            )

    def _find_newest(self) -> bool:
        """Go on with the run of `run_dir`, or the newest of this configuration, if there is one."""
        config = self.config["fit"]
        if config.run_dir is None:
            found = find_run(self.resolved, sorted((Path("runs") / config.name).glob("*/")))
        else:
            found = run_of_folder(self.run_dir)
        if found is None:
            return False
        self.run_dir, newest = found
        config.run_dir = str(self.run_dir)
        if newest is not None:
            config.ckpt_path = str(newest)
            tell_first(f"going on with {self.run_dir} from {newest.name}")
        else:
            tell_first(f"{self.run_dir} has no checkpoint yet: it begins anew")
        return True

    def _instantiate_trainer(self, config: dict[str, Any], callbacks: list[Callback]) -> Trainer:
        config = dict(config)
        if (launcher := find_launcher()) is not None:
            config = follow_launcher(config, launcher)
        on_cpu = config.get("accelerator") == "cpu" or not torch.cuda.is_available()
        if plugin := precision_plugin(str(config.get("precision")), on_cpu):
            plugins = config.get("plugins") or []
            config["precision"] = None
            config["plugins"] = [*(plugins if isinstance(plugins, list) else [plugins]), plugin]
        self.seconds = None  # that it may train for
        if self.command == "fit" and config.get("max_time") is not None:
            # Lightning's own Timer would count the unfinished epoch as a whole one.
            self.seconds = Timer(config.pop("max_time")).time_remaining()
        given = config.get("callbacks") or []
        given = given if isinstance(given, list) else [given]
        callbacks = [*callbacks, *self._callbacks(given)]
        if self.command == "fit":
            loggers = config.get("logger") or []
            loggers = loggers if isinstance(loggers, list) else [loggers]
            guarded = [GuardedLogger(logger) for logger in loggers if isinstance(logger, Logger)]
            config["logger"] = [MetricsFile(self.run_dir / "metrics.jsonl"), *guarded]
            if config.get("enable_checkpointing") is None:
                # Ours is among the callbacks; Lightning's own default would be a second one.
                config["enable_checkpointing"] = any(
                    isinstance(callback, Checkpoint) for callback in [*callbacks, *given]
                )
        trainer: Trainer = super()._instantiate_trainer(config, callbacks)
        return trainer

    def _run_subcommand(self, subcommand: str) -> None:
        try:
            with report_dead_process(self.trainer):
                super()._run_subcommand(subcommand)
        finally:
            if self.command == "fit":
                self.run_folder.release()

    def _callbacks(self, given: list[Callback]) -> list[Callback]:
        options = self.config[self.command]
        callbacks: list[Callback] = [ThreadTuner(options.threads)]
        if options.trainer.enable_progress_bar is not False and not any(
            isinstance(callback, ProgressBar) for callback in given
        ):
            callbacks.append(TrainingProgress())
        if self.command == "predict":
            callbacks.append(PredictionWriter(options.output))
        if self.command != "fit":
            return callbacks
        check_range("samples", options.samples, 0, 1000)
        check_range("density_sentences", options.density_sentences, 0, 10**7)
        monitor = options.monitor or self.model.objective.monitored
        self.run_folder = RunFolder(self.run_dir, self.resolved, self.is_resumed)
        callbacks += [
            self.run_folder,
            Throughput(),
            CollapseMonitor(options.collapse_sentences),
            SampleReconstructions(options.samples),
            LatentSpaceTables(options.samples),
            BundleWriter(self.run_dir / "bundle", self.resolved, monitor, MONITORED[monitor]),
            RandomState(),
        ]
        if options.trainer.enable_checkpointing is not False:
            writer = CheckpointWriter(
                self.run_dir / "checkpoints",
                options.checkpoint.every_n_steps,
                options.checkpoint.keep,
                options.checkpoint.asynchronous,
            )
            callbacks += [writer, Preemption(writer, self.seconds)]
        return callbacks

    def resolved_config(self) -> dict[str, Any]:
        """All options as they are in force, less those that name this one run."""
        text = self.parser.dump(self.config, skip_none=False, skip_check=True)
        resolved: dict[str, Any] = yaml.safe_load(text)[self.command]
        for key in ("config", "run_dir", "resume", "resume_changed", "ckpt_path", "weights_only"):
            resolved.pop(key, None)
        resolved["trainer"].pop("default_root_dir", None)
        _shorten_class_paths(resolved)
        return resolved

    def before_fit(self) -> None:
        """Prepare the data before other processes start: what is wrong with it is told once."""
        is_asynchronous = self.command == "fit" and self.config["fit"].checkpoint.asynchronous
        check_strategy(self.trainer.strategy, is_asynchronous)
        self.trainer.strategy.checkpoint_io = SafeCheckpointIO()
        device = self.trainer.strategy.root_device
        check_precision(self.trainer, self.model.autoencoder)
        set_tf32(self.config[self.command].tf32, device)
        if self.model.compiled and self.command == "fit":
            check_compiler(device)
        self._pin_revisions()
        if self.trainer.world_size > 1 and self.trainer.local_rank == 0:
            for source in itertools.chain(*self.datamodule.open_sources().values()):
                if not source.can_reread:
                    raise ValueError(
                        f"`{source.keys.source}` must be files where {self.trainer.world_size} "
                        f"processes read it, but {source.name} can be read only once. Save it to a "
                        f"file and name that."
                    )
        if self.command == "fit":
            self.datamodule.allows_another_order = self.config["fit"].resume_changed
            self.datamodule.check_trainer(self.trainer)
            self.model.objective.check(self.model.autoencoder, self.datamodule.is_paired)
            self._check_monitor()
        # All processes come here, and wait for the one that prepares: in the exchange, where
        # Lightning would let them wait, they would give up after half an hour.
        self.datamodule.prepare_data()
        if self.command == "fit" and self.trainer.is_global_zero:
            self.datamodule.setup("fit")
            # Sizes that do not go together are told before the folder is made.
            size = self.model.check_sizes(self.datamodule.vocabulary, self.datamodule.max_length)
            keep = self.config["fit"].checkpoint.keep
            there = len(checkpoints(self.run_dir / "checkpoints")) if self.is_resumed else 0
            more = keep + 1 - min(keep, there)
            check_free_space(self.run_dir, more * size, f"{more} checkpoint{'s' * (more > 1)}")
            self.run_folder.make(self.datamodule.report_files)

    def _pin_revisions(self) -> None:
        """Read the commits of the hub's data sets that the run has begun with."""
        if self.command == "fit":
            # Processes that Lightning starts find what the first has put there.
            is_there = self.is_resumed or not self.trainer.is_global_zero
            run_dir = self.run_dir if is_there else None
        else:
            run_dir = Path(self.config[self.command].ckpt_path).absolute().parents[1]
        report = run_dir / "data_report.json" if run_dir else None
        if report is not None and report.is_file():
            self.datamodule.pin_revisions(json.loads(report.read_text(encoding="utf-8")))

    def _check_monitor(self) -> None:
        """Refuse a figure that this model has not."""
        options = self.config["fit"]
        name = (options.monitor or self.model.objective.monitored).removeprefix("val/")
        of_posterior = name in CollapseMonitor.METRICS
        if name == "negative_elbo" and name not in self.model.objective.sentence_means:
            missing = f"under {type(self.model.objective).__name__}"
        elif of_posterior and not isinstance(self.model.autoencoder.latent, StochasticLatent):
            missing = f"for a {type(self.model.autoencoder.latent).__name__}"
        elif of_posterior and not options.collapse_sentences:
            missing = "with `collapse_sentences` at 0"
        else:
            return
        raise ValueError(
            f"`monitor` must be a figure that is measured, but there is no val/{name} "
            f"{missing}. Choose another one, such as val/token_accuracy."
        )

    before_validate = before_test = before_predict = before_fit

    def after_fit(self) -> None:
        """Measure the last model where it has not been, hand over the bundle, say what is next."""
        callbacks: list[Callback] = self.trainer.callbacks  # type: ignore[attr-defined]
        bundle = next(c for c in callbacks if isinstance(c, BundleWriter))
        if bundle.validated_step != self.trainer.global_step and len(
            self.datamodule.corpora["val"]
        ):
            self.run_folder.forget_validation(self.trainer)
            self.trainer.validate(self.model, datamodule=self.datamodule, verbose=False)
        if self.trainer.is_global_zero:
            bundle.attach_density(self.datamodule, self.config["fit"].density_sentences)
        bundle.log_artifact(self.trainer)
        if (read := self.datamodule.stream_summary()) is not None:
            self.run_folder.write_stream(read)
        say_what_is_next(self.run_dir)


class PrepareCLI(TrainingCLI):
    """What `fit` does before it trains, with the same options: the data, and no more.

    Args:
        args: as of `fit`.
    """

    def __init__(self, args: list[str]) -> None:
        super().__init__("fit", args)

    def instantiate_classes(self) -> None:
        """Make the data module only."""
        self.datamodule = self.parser.instantiate_classes(self.config)["fit"].data

    def _run_subcommand(self, subcommand: str) -> None:
        self.datamodule.prepare_data()
        data, text = self.datamodule.report_files
        print(text.read_text(encoding="utf-8"))
        print(f"prepared: {data.parent}")


def _shorten_class_paths(config: Any) -> None:
    """Name our own classes without their module, which may change between versions."""
    for value in config.values() if isinstance(config, dict) else config:
        if isinstance(value, (dict, list)):
            _shorten_class_paths(value)
    if isinstance(config, dict) and str(config.get("class_path", "")).startswith("seqae."):
        config["class_path"] = config["class_path"].rpartition(".")[2]


@rank_zero_only
def tell_first(text: str) -> None:
    """Say something, on the first process."""
    print(text, flush=True)


def say_what_is_next(run_dir: Path) -> None:
    """Say where the bundle is and how to try it."""
    bundle = run_dir / "bundle"
    tell_first(f'bundle: {bundle}\ntry it: seqae reconstruct {bundle} "a sentence of your own"')
