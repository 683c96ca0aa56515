"""How many processes may be started, and that all end with the first."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from small import run_seqae

from seqae.training.command import commands
from seqae.training.distributed import launchers
from seqae.training.distributed.fsdp import ShardedStrategy
from seqae.training.distributed.launchers import check_processes, set_processes

CPU = pytest.mark.skipif(torch.cuda.is_available(), reason="auto takes the GPU")


@pytest.mark.parametrize("accelerator", ["cpu", pytest.param("auto", marks=CPU)])
@pytest.mark.parametrize("devices", [9, "9", 1000])
def test_more_processes_than_cores_are_refused(
    monkeypatch: pytest.MonkeyPatch, accelerator: str, devices: Any
) -> None:
    monkeypatch.setattr(launchers, "available_cores", lambda: 8)
    with pytest.raises(ValueError, match="`trainer.devices` must be at most 8 on the CPUs of this"):
        check_processes(accelerator, devices)


@pytest.mark.parametrize("devices", [1, 2, "2", "auto", -1, [0, 1]])
def test_a_few_processes_are_not(monkeypatch: pytest.MonkeyPatch, devices: Any) -> None:
    """Two can be tried out on one core; and a launcher has started its own."""
    monkeypatch.setattr(launchers, "available_cores", lambda: 1)
    check_processes("cpu", devices)
    check_processes("gpu", 1000)
    monkeypatch.setenv("LOCAL_RANK", "7")
    check_processes("cpu", 1000)


@CPU
@pytest.mark.parametrize(
    ("strategy", "accelerator", "devices", "expected"),
    [
        ("ddp", "auto", "auto", 2),
        ("ddp", "cpu", 3, 3),
        ("ddp", "gpu", "auto", "auto"),
        ("auto", "cpu", "auto", "auto"),
        (ShardedStrategy, "cpu", "auto", 2),
    ],
)
def test_auto_on_cpus_is_two_processes_where_several_are_asked_for(
    strategy: Any, accelerator: str, devices: Any, expected: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Lightning would start one, and say nothing."""
    caplog.set_level("INFO")
    strategy = strategy if isinstance(strategy, str) else strategy()
    trainer = {"strategy": strategy, "accelerator": accelerator, "devices": devices}
    assert set_processes(trainer) == trainer | {"devices": expected}
    assert ("processes: 2 on CPUs" in caplog.text) == (expected != devices)


@pytest.mark.parametrize("command", ["fit", "test", "validate", "predict"])
def test_every_command_refuses_thousands(
    command: str, capsys: pytest.CaptureFixture[str], overfit_run: object
) -> None:
    run = ["--resume", overfit_run] if command == "fit" else [overfit_run]
    assert run_seqae(command, *run, "--devices", 100_000) == 1
    assert "but it is 100,000 instead" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["test", "validate", "predict"])
def test_every_command_ends_with_process_0(monkeypatch: pytest.MonkeyPatch, command: Any) -> None:
    is_ending = False

    @contextmanager
    def ending() -> Iterator[None]:
        nonlocal is_ending
        is_ending = True
        yield
        is_ending = False

    def measure(*_: object) -> None:
        assert is_ending

    monkeypatch.setattr(commands, "ending_with_rank_zero", ending)
    monkeypatch.setattr(commands, "TrainingCLI", measure)
    commands.run(command, ["-c", "x"])
    assert not is_ending
