"""The self-test of GPUs, on a CPU."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from small import ROOT

from seqae.model import cross_entropy, transformer


@pytest.fixture
def selftest(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import gpu_selftest

    yield gpu_selftest
    for name in [path.stem for path in (ROOT / "benchmarks").glob("*.py")]:
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


SCALE = ("bandwidth", "transformer, compiled", "chunks")  # the others are slow


def test_the_scale_recipe_in_small(
    selftest: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The rows of docs/scaling.md, but those that start processes, without waiting to compile."""
    rows = selftest.Scale.rows

    def some(scale: Any) -> Iterator[Any]:
        return (row for row in rows(scale) if any(word in row[0] for word in SCALE))

    monkeypatch.setattr(selftest.Scale, "rows", some)
    smaller = tmp_path / "smaller.yaml"
    smaller.write_text("data: {batch_tokens: 48, max_length: 12}\n")
    shared = sys.modules[selftest.Scale.__module__]
    monkeypatch.setitem(shared.RECIPES, True, [*shared.RECIPES[True], str(smaller)])
    for module in (transformer, cross_entropy):
        monkeypatch.setattr(module, "compiled", lambda function: function)
    output = tmp_path / "gpu.json"
    options = ["--device", "cpu", "--small", "--only", "scale", "--output", output]
    assert run(selftest, monkeypatch, *options) == 0
    found = json.loads(output.read_text())
    assert [row["result"] for row in found["rows"]] == ["passed"] * len(SCALE)
    table = found["tables"]["where the time of the transformer goes"]
    assert len(table) == 15
    assert table[0]["operator"].startswith("aten::")
    assert {"name", "bandwidth", "traffic_share"} <= found["constants"].keys()
    page = output.with_suffix(".md").read_text()
    assert "where the time of the transformer goes" in page
    assert "constants of docs/scaling.md" in page


@pytest.mark.slow
def test_all_of_the_scale_recipe_in_small(
    selftest: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    output = tmp_path / "gpu.json"
    options = ["--device", "cpu", "--small", "--only", "scale", "--output", output]
    assert run(selftest, monkeypatch, *options) == 0
    found = json.loads(output.read_text())
    assert {row["result"] for row in found["rows"]} == {"passed"}
    kernels = next(row["kernels"] for row in found["rows"] if "kernels" in row)
    assert [*kernels.values()] == [["flash of CPUs"]] * 2
    assert len(found["tables"]) == 2
    measured = ("product_share", "exchange_bytes_per_second", "loader_tokens_per_second")
    assert all(found["constants"][name] > 0 for name in measured)
    assert found["constants"]["host_seconds"] >= 0
    import scaling_recipe

    constants = scaling_recipe.read_constants(str(output))
    device = scaling_recipe.measured_device(constants, scaling_recipe.Device())
    assert device.bandwidth == found["constants"]["bandwidth"]


def test_what_was_measured_stays_if_the_machine_goes(
    selftest: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def cut_off(*_: object) -> Iterator[object]:
        yield selftest.Row("one", "passed", "1 s")
        raise KeyboardInterrupt

    monkeypatch.setattr(selftest, "all_rows", cut_off)
    with pytest.raises(KeyboardInterrupt):
        run(selftest, monkeypatch, "--device", "cpu", "--output", tmp_path / "gpu.json")
    found = json.loads((tmp_path / "gpu.json").read_text())
    assert [row["name"] for row in found["rows"]] == ["one"]
    assert "| one | passed | 1 s |" in (tmp_path / "gpu.md").read_text()


def test_no_row_begins_that_cannot_end_in_time(
    selftest: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(selftest, "checks", lambda *_: iter(()))
    scale = selftest.Scale("cpu", True, 0.1)
    rows = selftest.all_rows("cuda", "", time.monotonic() + 1, selftest.SIZES["cpu"], scale)
    assert {row.result for row in rows} == {"skipped"}


def test_tests_that_were_done_in_time_are_told(selftest: ModuleType) -> None:
    output = (
        "tests/test_gpu.py::test_a_thing[gru] PASSED [ 5%]\n"
        "tests/test_gpu.py::test_another FAILED [10%]\ntests/test_gpu.py::test_third "
    )
    rows = [(row.name, row.result) for row in selftest.done_so_far(output)]
    assert rows == [("a thing[gru]", "passed"), ("another", "failed")]


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
