"""Test and time a GPU: the scale recipe, the tests marked `gpu`, and speeds by precision.

    scripts/gpu_selftest --output benchmarks/results/gpu.json
    scripts/gpu_selftest --device cpu --small       # the same program on a CPU, to try it out
    scripts/gpu_selftest --only scale               # the rows of docs/scaling.md alone

One command gives all that a GPU must show: peak and bandwidth, the share of the peak that the scale
recipe's Transformer and GRU reach (bars 45 % and 10 %), where their time goes by operator, the
kernels that attention takes, the constants of docs/scaling.md, the tests, and the speeds of small
models by precision and compilation. It prints a table in Markdown and, with `--output`, also writes
it next to a JSON file. Both are written after each row, so that what was measured stays if the
machine is taken away. A row begins only if the time that it may take is left.

Speeds are those of a bare training loop (model, loss, clipping, AdamW) over batches of random
sentences, in target tokens per second; "of peak" compares with the data sheet where the device is
known, else with one large product on the same device. The status is 1 if a check fails or there is
no GPU; a missed bar is told, but is no failure.
"""

from __future__ import annotations

import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import torch
from driver import ROOT, benchmark_parser, environment
from gpu_loops import PRECISIONS, SIZES, Loop, Row, Sizes, switch, synchronize, timed
from gpu_scale import Scale

CHECKS = "checks"


def main() -> int:
    parser = benchmark_parser(__doc__)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument(
        "--small", action="store_true", help="a hundredth of the sizes; a CPU always takes these"
    )
    parser.add_argument(
        "--minutes", type=float, default=9.0, help="no row begins that may take longer than that"
    )
    parser.add_argument("--only", help="rows whose names contain this; `checks` are the tests")
    args = parser.parse_args()
    if args.device == "cuda" and not torch.cuda.is_available():
        print(
            "There is no GPU here. `--device cpu` tries the program without one.", file=sys.stderr
        )
        return 1
    torch.set_num_threads(1 if args.device == "cpu" else torch.get_num_threads())
    small = args.small or args.device == "cpu"
    sizes = SIZES["cpu" if small else "cuda"]
    scale = Scale(args.device, small, sizes.seconds)
    rows = []
    deadline = time.monotonic() + 60 * args.minutes
    print(header(args.device), flush=True)
    for row in all_rows(args.device, args.only or "", deadline, sizes, scale):
        rows.append(row)
        print(line(row), flush=True)
        if args.output is not None:
            write(args.output, args.device, rows, scale)
    print(longer_tables(scale), end="")
    return int(any(row.result == "failed" for row in rows))


def all_rows(kind: str, only: str, deadline: float, sizes: Sizes, scale: Scale) -> Iterator[Row]:
    """Measure what matters most first: the recipe, the checks, and then the smaller models."""
    peaks: dict[str, float] = {}
    others = [(name, 12.0, measure) for name, measure in speeds(kind, peaks, sizes)]
    first, rest = others[:3], others[3:]  # the products, which give the peaks, and the models
    for name, seconds, measure in [*first, *scale.rows(), (CHECKS, 0.0, None), *rest]:
        if only and only not in name:
            continue
        left = deadline - time.monotonic()
        if measure is None:
            yield from checks(kind, max(10.0, left))
        elif left < (seconds if kind == "cuda" else 0.0):
            yield Row(name, "skipped", "out of time")
        else:
            try:
                yield measure(name)
            except Exception as error:  # the other rows are worth having all the same
                said = " ".join(str(error).split()) or type(error).__name__
                yield Row(name, "failed", said[:100])


def write(output: Path, kind: str, rows: list[Row], scale: Scale) -> None:
    """Write all that is known so far: JSON, and the table beside it."""
    values = [{"name": r.name, "result": r.result, **r.values} for r in rows]
    result = {"environment": environment() | device(kind), "rows": values}
    result |= {"constants": scale.constants, "tables": scale.tables}
    output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    table = "\n".join([header(kind), *map(line, rows)])
    output.with_suffix(".md").write_text(f"{table}\n{longer_tables(scale)}", encoding="utf-8")


def longer_tables(scale: Scale) -> str:
    """Format the operators that take the time, and the constants of docs/scaling.md."""
    constants = [
        {"constant": key, "value": value if isinstance(value, str) else f"{value:.4g}"}
        for key, value in scale.constants.items()
    ]
    text = ""
    for title, rows in {**scale.tables, "constants of docs/scaling.md": constants}.items():
        names = list(rows[0])
        lines = [names, ["---"] * len(names), *([str(row[n]) for n in names] for row in rows)]
        text += f"\n{title}\n\n" + "".join(f"| {' | '.join(cells)} |\n" for cells in lines)
    return text


# Speeds


def speeds(
    kind: str, peaks: dict[str, float], sizes: Sizes
) -> Iterator[tuple[str, Callable[[str], Row]]]:
    """Yield the name of each row, and the function that makes it."""
    for precision in PRECISIONS[:3]:
        yield (
            f"product, {precision}",
            lambda name, p=precision: product(name, kind, p, peaks, sizes),
        )
    for model in ("gru", "transformer"):
        for precision in PRECISIONS:
            yield (
                f"{model}, {precision}",
                lambda name, m=model, p=precision: training(name, kind, m, p, False, peaks, sizes),
            )
        for precision in ("tf32", "bf16-mixed"):
            yield (
                f"{model}, {precision}, compiled",
                lambda name, m=model, p=precision: training(name, kind, m, p, True, peaks, sizes),
            )


def product(name: str, kind: str, precision: str, peaks: dict[str, float], sizes: Sizes) -> Row:
    """Measure the speed of a large product."""
    if not switch(kind, precision):
        return Row(name, "skipped", "this device has no TF32")
    side, dtype = sizes.product, torch.bfloat16 if "bf16" in precision else torch.float32
    left, right = (torch.randn(side, side, device=kind, dtype=dtype) for _ in range(2))
    seconds = timed(lambda: left @ right, kind, sizes.seconds)
    peaks[precision] = 2 * side**3 / seconds
    return Row(
        name, "passed", f"{peaks[precision] / 1e12:.2f} TFLOP/s", {"flops": peaks[precision]}
    )


def training(
    name: str,
    kind: str,
    model: str,
    precision: str,
    compiled: bool,
    peaks: dict[str, float],
    sizes: Sizes,
) -> Row:
    """Measure the speed of a training loop, and where its time goes."""
    if not switch(kind, precision):
        return Row(name, "skipped", "this device has no TF32")
    loop = Loop(kind, model, precision, compiled, sizes)
    started = time.perf_counter()
    for _ in range(len(loop.batches)):  # every shape once, so that it is compiled
        loop.step()
    synchronize(kind)
    prepared = time.perf_counter() - started
    seconds = timed(loop.step, kind, sizes.seconds)
    phases = loop.phases()
    tokens = statistics.mean(batch.num_targets for batch in loop.batches)
    speed, flops = tokens / seconds, loop.flops_per_token()
    values = {
        "tokens_per_second": speed,
        "seconds_before": prepared,
        "flops_per_token": flops,
        "milliseconds": {phase: 1e3 * value for phase, value in phases.items()},
    }
    figure = f"{speed:,.0f} tokens/s"
    if (peak := peaks.get("bf16-mixed" if "bf16" in precision else precision)) is not None:
        values["share_of_peak"] = speed * flops / peak
        figure += f", {values['share_of_peak']:.0%} of peak"
    figure += "; ms " + ", ".join(f"{phase} {1e3 * value:.1f}" for phase, value in phases.items())
    return Row(name, "passed", figure, values)


# Checks


def checks(kind: str, seconds: float) -> Iterator[Row]:
    """Run the tests marked `gpu` and yield a row for each, or one if the time runs out."""
    with tempfile.TemporaryDirectory() as name:
        report = Path(name) / "report.xml"
        command = [sys.executable, "-m", "pytest", "-m", "gpu", "tests/test_gpu.py", "-vv"]
        paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        variables = dict(os.environ, SEQAE_TEST_DEVICE=kind, PYTHONPATH=os.pathsep.join(paths))
        try:
            done = subprocess.run(
                [*command, f"--junitxml={report}"],
                cwd=ROOT,
                env=variables,
                capture_output=True,
                text=True,
                timeout=seconds,
            )
        except subprocess.TimeoutExpired as error:
            output = error.stdout or b""  # bytes even if text was asked for
            said = output if isinstance(output, str) else output.decode()
            yield from done_so_far(said)
            yield Row("checks", "skipped", f"the others; out of time after {seconds:.0f} s")
            return
        if not report.exists():
            yield Row("checks", "failed", (done.stderr or done.stdout)[-200:].replace("\n", " "))
            return
        yield from map(row_of, ElementTree.parse(report).getroot().iter("testcase"))


def done_so_far(output: str) -> Iterator[Row]:
    """Read the results of tests that were done from the lines that pytest prints of each."""
    words = {"PASSED": "passed", "FAILED": "failed", "ERROR": "failed", "SKIPPED": "skipped"}
    for test, word in re.findall(r"::test_(\S+) (PASSED|FAILED|ERROR|SKIPPED)", output):
        yield Row(test.replace("_", " "), words[word], "run again for more")


def row_of(case: ElementTree.Element) -> Row:
    """Convert a test's result to a row."""
    name = case.get("name", "").removeprefix("test_").replace("_", " ")
    messages = {child.tag: child.get("message", "") for child in case}
    result = "failed" if {"failure", "error"} & messages.keys() else "passed"
    result = "skipped" if "skipped" in messages else result
    lines = " ".join(messages.values()).splitlines()
    values = {"seconds": float(case.get("time", 0.0))}
    return Row(name, result, lines[0][:100] if lines else f"{values['seconds']:.0f} s", values)


# The table


def device(kind: str) -> dict[str, Any]:
    """Describe the device under test."""
    if kind == "cpu":
        return {"device": "CPU, small sizes", "devices": 1}
    return {
        "device": torch.cuda.get_device_name(),
        "devices": torch.cuda.device_count(),
        "memory_gib": round(torch.cuda.get_device_properties(0).total_memory / 2**30, 1),
        "capability": ".".join(map(str, torch.cuda.get_device_capability())),
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
    }


def header(kind: str) -> str:
    """Format the description of the device and the head of the table."""
    properties: Mapping[str, Any] = device(kind) | {"torch": torch.__version__}
    description = ", ".join(f"{key} {value}" for key, value in properties.items())
    return f"{description}\n\n| check | result | figure |\n|---|---|---|"


def line(row: Row) -> str:
    """Format a row in Markdown."""
    return f"| {row.name} | {row.result} | {row.figure.replace('|', '/')} |"


if __name__ == "__main__":
    sys.exit(main())
