"""The callbacks that each training command brings along."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lightning.pytorch import Callback
from lightning.pytorch.callbacks import ProgressBar

from seqae.training.callbacks.best_bundle import BundleWriter
from seqae.training.callbacks.collapse import CollapseMonitor
from seqae.training.callbacks.latent_tables import LatentSpaceTables
from seqae.training.callbacks.preemption import Preemption
from seqae.training.callbacks.progress import TrainingProgress
from seqae.training.callbacks.random_state import RandomState
from seqae.training.callbacks.sample_reconstructions import SampleReconstructions
from seqae.training.callbacks.threads import ThreadTuner
from seqae.training.callbacks.throughput import Throughput
from seqae.training.checkpoints.callback import CheckpointWriter
from seqae.training.command.cli_options import MONITORED
from seqae.training.run.bundle_record import CardOptions
from seqae.training.run.run_folder import RunFolder
from seqae.training.starting.first_validation import FirstValidation


def callbacks_of_every_command(options: Any, given: Sequence[Callback]) -> list[Callback]:
    """List the callbacks of every command; a progress bar only if the user gives none.

    Args:
        options: all options of the command.
        given: callbacks of the configuration.
    """
    callbacks: list[Callback] = [ThreadTuner(options.threads)]
    has_bar = any(isinstance(callback, ProgressBar) for callback in given)
    if options.trainer.enable_progress_bar is not False and not has_bar:
        callbacks.append(TrainingProgress())
    return callbacks


def callbacks_of_fit(
    options: Any, run_folder: RunFolder, monitor: str, seconds: float | None
) -> list[Callback]:
    """List the callbacks of `fit`.

    Args:
        options: all options of the command.
        run_folder: of the run.
        monitor: the metric whose best model becomes the bundle.
        seconds: the time that it may train for.
    """
    folder = run_folder.folder
    callbacks: list[Callback] = [
        run_folder,
        Throughput(),
        CollapseMonitor(options.collapse_sentences),
        SampleReconstructions(options.samples),
        LatentSpaceTables(options.samples),
        BundleWriter(
            folder / "bundle",
            run_folder.config,
            monitor,
            MONITORED[monitor],
            card=CardOptions(**options.card),
        ),
        RandomState(),
    ]
    if options.trainer.enable_checkpointing is not False:
        writer = CheckpointWriter(
            folder / "checkpoints",
            options.checkpoint.every_n_steps,
            options.checkpoint.keep,
            options.checkpoint.asynchronous,
        )
        callbacks += [writer, Preemption(writer, seconds)]
    if options.init is not None:
        callbacks.append(FirstValidation())
    return callbacks
