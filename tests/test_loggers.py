"""Loggers that fail do not end a training, and a resumed one goes on with its W&B run."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest
from lightning.pytorch.loggers import CSVLogger, Logger, WandbLogger
from small import SENTENCES, figures, run_seqae, write_recipe, write_text

from seqae.training.logs.loggers import (
    MAX_FAILURES,
    RUN_ID,
    GuardedLogger,
    remembered_run,
    table_loggers,
)


class Failing(Logger):
    """Fails whatever is asked of it.

    Args:
        folder: where it counts the calls.
    """

    def __init__(self, folder: str) -> None:
        super().__init__()
        self.folder = Path(folder)

    def _fail(self, *args: Any, **kwargs: Any) -> Any:
        with (self.folder / "calls").open("a") as file:
            file.write("call\n")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    name = version = save_dir = experiment = property(_fail)
    log_metrics = log_hyperparams = log_graph = save = finalize = after_save_checkpoint = _fail


class FailingWandb(WandbLogger):
    """As if Weights & Biases were out of reach."""

    @property
    def experiment(self) -> Any:
        raise ConnectionError("api.wandb.ai\ncannot be reached")


@pytest.mark.parametrize("name", ["Failing", "FailingWandb"])
def test_a_training_does_not_mind(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    text = write_text(tmp_path / "text.txt", SENTENCES)
    options = ["-c", write_recipe(tmp_path), "--data.train", text, "--data.val", text]
    options += ["--samples", 2]
    assert run_seqae("fit", *options, "--run_dir", tmp_path / "plain") == 0
    logger = ["--trainer.logger", f"test_loggers.{name}"]
    if name == "Failing":
        logger += ["--trainer.logger.folder", tmp_path]
    capsys.readouterr()
    assert run_seqae("fit", *options, *logger, "--run_dir", tmp_path / "failing") == 0
    said = capsys.readouterr().out
    reason = "No space left on device" if name == "Failing" else "api.wandb.ai cannot be reached"
    (line,) = [line for line in said.splitlines() if "failed" in line]
    assert line.startswith(f"`trainer.logger`: {name} failed (")
    assert reason in line
    assert figures(tmp_path / "failing") == figures(tmp_path / "plain")
    if name == "Failing":
        assert (tmp_path / "calls").read_text().count("call") == MAX_FAILURES


def test_patience_is_for_failures_in_a_row(caplog: pytest.LogCaptureFixture) -> None:
    guarded = GuardedLogger(CSVLogger("."))
    for _ in range(5):
        for _ in range(MAX_FAILURES - 1):
            assert guarded.attempt(lambda: 1 / 0, otherwise="none") == "none"
        assert guarded.attempt(lambda: "some") == "some"
    for _ in range(MAX_FAILURES):
        guarded.attempt(lambda: 1 / 0)
    assert guarded.attempt(lambda: "some", otherwise="none") == "none"
    assert len(caplog.records) == 1


def test_an_interrupt_is_no_failure() -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        GuardedLogger(CSVLogger(".")).attempt(interrupt)


def test_what_a_working_logger_is_handed(tmp_path: Path) -> None:
    text = write_text(tmp_path / "text.txt", SENTENCES)
    options = ["-c", write_recipe(tmp_path), "--data.train", text, "--trainer.max_epochs", 1]
    logger = ["--trainer.logger", "lightning.pytorch.loggers.CSVLogger"]
    logger += ["--trainer.logger.save_dir", "."]  # that is, the run's folder
    run = tmp_path / "run"
    assert run_seqae("fit", *options, *logger, "--run_dir", run) == 0
    (file,) = run.rglob("metrics.csv")
    assert "train/loss" in file.read_text().splitlines()[0]
    assert (file.parent / "hparams.yaml").exists()


def test_only_wandb_takes_tables() -> None:
    class Trainer:
        loggers = (GuardedLogger(CSVLogger(".")), GuardedLogger(WandbLogger(offline=True)))

    assert table_loggers(Trainer()) == [Trainer.loggers[1]]  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["", "../x", "a b", "\xff", "a" * 200])
def test_a_strange_run_id_is_none(tmp_path: Path, text: str) -> None:
    assert remembered_run(tmp_path) is None
    (tmp_path / RUN_ID).write_bytes(text.encode("latin-1"))
    assert remembered_run(tmp_path) is None
    (tmp_path / RUN_ID).write_text("abc-123\n")
    assert remembered_run(tmp_path) == "abc-123"
