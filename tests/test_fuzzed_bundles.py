"""Spoilt bundles: `check` and `load` succeed or refuse in one line, and do nothing else."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import contracts
import pytest
import torch
from bundle_fuzz import Finding, Input, Watch, attempt, materialise, run, seeds, write_bases
from bundle_mutations import mutate

import seqae
from seqae.bundle.bundle_check import MAX_REPEATED, examine

ROUNDS = 150


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    torch.set_num_threads(1)
    return write_bases(tmp_path_factory.mktemp("bases"))


@pytest.fixture(scope="module")
def watch(bases: list[Path]) -> Iterator[Watch]:
    watch = Watch(bases[0].parent)  # an audit hook stays as long as the process
    yield watch
    watch.is_on = False


def test_an_input_is_packed_and_unpacked(bases: list[Path]) -> None:
    for given in seeds(bases):
        assert Input.unpack(given.pack()) == given
    assert Input.unpack(b"") == Input()


def test_the_watch_sees_what_no_bundle_may_do(watch: Watch, tmp_path: Path) -> None:
    watch.seen.clear()
    watch.is_on = True
    (tmp_path / "x").write_text("")
    watch.is_on = False
    assert watch.seen[0].startswith("opened")


@pytest.mark.parametrize("rounds", [ROUNDS, pytest.param(10_000, marks=pytest.mark.slow)])
def test_spoilt_bundles(bases: list[Path], watch: Watch, rounds: int) -> None:
    """`scripts/fuzz` goes on from here, with coverage."""
    chance, corpus, results = random.Random(1), [s.pack() for s in seeds(bases)], Counter[str]()
    for _ in range(rounds):
        data = chance.choice(corpus)
        for _ in range(chance.choice([1, 1, 2, 3])):
            data = mutate(data, bases, chance, 150_000)
        results[run(data, bases, bases[0].parent / "now", watch)] += 1
    assert results["refused"] > rounds / 2
    assert results["success"] > rounds / 50


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


# What the fuzzing found: a file, a change of its content, and what is said now.
FOUND: dict[str, tuple[str, Callable[[Any], object], str]] = {
    "a long format": ("config.json", lambda c: c.update(format="x" * 6000), "`format`"),
    "lines": ("config.json", lambda c: c.update(normalization="a\nb\x1b[2J"), "`normalization`"),
    "a key of lines": ("config.json", lambda c: c.update({"a\nb": 1}), "missing or unknown"),
    "deep values": ("config.json", lambda c: c.update(autoencoder=nested(950)), "nest too deep"),
    "a deep tokenizer": ("tokenizer.json", lambda t: t.update(model=nested(950)), "`nesting`"),
    "a long reconstruction": (
        "selftest.json",
        lambda rows: rows[0].update(reconstruction="x" * 9000),
        "`selftest` must give",
    ),
}


@pytest.mark.parametrize("what", FOUND)
def test_what_was_found_is_refused_in_one_short_line(
    bases: list[Path], watch: Watch, tmp_path: Path, what: str
) -> None:
    name, change, expected = FOUND[what]
    content = json.loads((bases[0] / name).read_bytes())
    change(content)
    materialise(Input(files={name: json.dumps(content).encode()}), bases, tmp_path / "bundle")
    assert attempt(tmp_path / "bundle", watch) == "refused"
    error = examine(tmp_path / "bundle").error
    assert error is not None
    assert expected in str(error)
    assert len(str(error)) < 1000


def test_a_metric_too_large_for_a_float_is_no_traceback(
    bases: list[Path], watch: Watch, tmp_path: Path
) -> None:
    """Neither in a check nor in a card."""
    metrics = b'{"val/exact_match": 1' + b"0" * 400 + b"}"
    materialise(Input(files={"metrics.json": metrics}), bases, tmp_path / "bundle")
    assert attempt(tmp_path / "bundle", watch) == "success"


def test_a_self_test_that_would_take_minutes_is_not_repeated(
    bases: list[Path], tmp_path: Path
) -> None:
    rows = json.loads((bases[0] / "selftest.json").read_bytes())
    rows.append({"text": "a" * MAX_REPEATED, "reconstruction": ""})
    materialise(Input(files={"selftest.json": json.dumps(rows).encode()}), bases, tmp_path / "b")
    last = examine(tmp_path / "b").rows[-1]
    assert (last.status, last.found[:2]) == ("warning", "3 ")
    assert "1 more are too long" in last.found


def test_a_header_is_refused_in_one_short_line(bases: list[Path], tmp_path: Path) -> None:
    weights = (bases[0] / "model.safetensors").read_bytes()
    size = int.from_bytes(weights[:8], "little")
    header = json.loads(weights[8 : 8 + size])
    header["latent.projection.weight"]["shape"] = ["x" * 5000, nested(60)]
    text = json.dumps(header).encode()
    data = len(text).to_bytes(8, "little") + text + weights[8 + size :]
    materialise(Input(files={"model.safetensors": data}), bases, tmp_path / "bundle")
    message = contracts.refusal(seqae.load, tmp_path / "bundle")
    assert "latent.projection.weight" in message
    assert len(message) < 1000


def test_a_fault_is_a_finding(bases: list[Path], watch: Watch, monkeypatch: Any) -> None:
    def fault(*_: Any) -> None:
        raise RuntimeError("not refused")

    monkeypatch.setattr("bundle_fuzz.check", fault)
    with pytest.raises(Finding, match="RuntimeError: not refused"):
        run(Input().pack(), bases, bases[0].parent / "now", watch)
