"""The self-test of GPUs, on a CPU."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch
from small import ROOT


@pytest.fixture
def selftest(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import gpu_selftest

    yield gpu_selftest
    for name in ("gpu_selftest", "driver"):
        sys.modules.pop(name, None)


def run(module: ModuleType, monkeypatch: pytest.MonkeyPatch, *options: object) -> int:
    monkeypatch.setattr("sys.argv", ["gpu_selftest.py", *map(str, options)])
    status: int = module.main()
    return status


@pytest.mark.parametrize("only", ["product, fp32", "transformer, bf16-true"])
def test_speeds(
    selftest: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, only: str
) -> None:
    output = tmp_path / "gpu.json"
    assert run(selftest, monkeypatch, "--device", "cpu", "--only", only, "--output", output) == 0
    found = json.loads(output.read_text())
    (row,) = found["rows"]
    assert (row["name"], row["result"]) == (only, "passed")
    assert row.get("flops", 0) > 0 or row["tokens_per_second"] > 0
    table = output.with_suffix(".md").read_text()
    assert f"| {only} | passed |" in table
    assert "CPU, small sizes" in table


@pytest.mark.slow
def test_checks_are_tests(
    selftest: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PYTEST_ADDOPTS", "-k 'same_loss or pinned'")
    assert run(selftest, monkeypatch, "--device", "cpu", "--only", "checks") == 0
    lines = capsys.readouterr().out.splitlines()
    assert (
        sum("same loss and gradients as a cpu" in line and "passed" in line for line in lines) == 2
    )
    assert sum("pinned memory" in line and "skipped" in line for line in lines) == 1


def test_a_failed_check_is_told(selftest: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    case = '<testcase name="test_a_thing" time="2"><failure message="no&#10;more"/></testcase>'
    row = selftest.row_of(selftest.ElementTree.fromstring(case))
    assert (row.name, row.result, row.figure) == ("a thing", "failed", "no")
    monkeypatch.setattr(selftest, "all_rows", lambda *_: iter([row]))
    assert run(selftest, monkeypatch, "--device", "cpu") == 1


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_no_gpu_is_one_line(
    selftest: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(selftest, monkeypatch) == 1
    found = capsys.readouterr()
    assert found.out == ""
    assert found.err.count("\n") == 1
