"""Interpolation, arithmetic, neighbours and transfer through the command."""

from __future__ import annotations

import io
import re
import sys
from pathlib import Path

import pytest
from small import read_rows, run_seqae, write_text

from seqae.cli import TASKS, overview
from seqae.generation import Decoding
from seqae.tasks.runner import ONE_TEXT

Out = pytest.CaptureFixture[str]

CAT, DOG = "the cat sees the mat", "a dog has the red ball"
COMMANDS = ("sample", "interpolate", "arithmetic", "neighbours", "transfer", "prior")


def give_input(monkeypatch: pytest.MonkeyPatch, *lines: str) -> None:
    text = "".join(f"{line}\n" for line in lines)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode()), "utf-8"))


def printed(capsys: Out) -> list[str]:
    said = capsys.readouterr()
    assert re.sub(r"seqae: [\d,]+ \w+: .+\n", "", said.err) == ""  # what was written
    return said.out.splitlines()


def refused(capsys: Out, *arguments: object, status: int = 1) -> str:
    assert run_seqae(*arguments) == status
    said = capsys.readouterr()
    assert said.out == ""
    (line,) = said.err.splitlines()
    return line.removeprefix("seqae: error: ")


# Help


@pytest.mark.parametrize("command", COMMANDS)
def test_help(command: str, capsys: Out) -> None:
    assert command in TASKS
    assert f"  {command} " in overview()
    assert run_seqae(command, "--help", "all") == 0
    said = capsys.readouterr().out
    assert "example:" in said
    assert said.count(f"\nseqae {command} ") + said.count(f"\n    seqae {command} ") == 2
    assert "--device" in said


@pytest.mark.parametrize("command", ["reconstruct", "decode", *COMMANDS[:3], "transfer"])
def test_options_of_decoding(command: str, capsys: Out) -> None:
    assert run_seqae(command, "--help", "all") == 0
    said = capsys.readouterr().out
    missing = [name for name in Decoding.__dataclass_fields__ if f"--{name} " not in said]
    assert missing == (["num_return_sequences"] if command in ONE_TEXT else [])


def test_several_texts_are_no_option_where_one_is_written(tmp_path: Path, capsys: Out) -> None:
    options = [CAT, DOG, "--num_beams", 2, "--num_return_sequences", 2]
    line = refused(capsys, "interpolate", tmp_path / "none", *options, status=2)
    assert line.startswith("`num_return_sequences` is not known.")


# Decoding


def test_reconstruct_by_a_beam(overfit_run: Path, capsys: Out) -> None:
    assert run_seqae("reconstruct", overfit_run, CAT, DOG, "--num_beams", 4) == 0
    assert printed(capsys) == [CAT, DOG]


def test_reconstruct_n_best(overfit_run: Path, tmp_path: Path, capsys: Out) -> None:
    options = ["--num_beams", 4, "--num_return_sequences", 3]
    assert run_seqae("reconstruct", overfit_run, CAT, DOG, *options) == 0
    lines = printed(capsys)
    assert len(lines) == 6
    assert [lines[0].split(None, 1)[1], lines[3].split(None, 1)[1]] == [CAT, DOG]
    output = tmp_path / "best.jsonl"
    assert run_seqae("reconstruct", overfit_run, CAT, *options, "--output", output) == 0
    rows = read_rows(output)
    assert [row["text"] for row in rows] == [CAT] * 3
    assert rows[0]["reconstruction"] == CAT
    scores = [row["score"] for row in rows]
    assert scores == sorted(scores, reverse=True)


def test_words(overfit_run: Path, capsys: Out) -> None:
    assert run_seqae("reconstruct", overfit_run, CAT, "--banned_words", "cat", "mat") == 0
    (line,) = printed(capsys)
    assert not {"cat", "mat"} & set(line.split())
    assert line
    one_by_one = ["--banned_words", "cat", "--banned_words", "mat"]
    assert run_seqae("reconstruct", overfit_run, CAT, *one_by_one) == 0
    assert printed(capsys) == [line]
    options = ["--num_beams", 5, "--forced_words", "dog"]
    assert run_seqae("reconstruct", overfit_run, CAT, *options) == 0
    (line,) = printed(capsys)
    assert "dog" in line


def test_decode_draws(overfit_run: Path, tmp_path: Path, capsys: Out) -> None:
    latents = tmp_path / "latents.npy"
    assert run_seqae("encode", overfit_run, CAT, "--output", latents) == 0
    options = ["--temperature", 3.0, "--num_return_sequences", 4]
    drawn = []
    for seed in (0, 0, 1):
        assert run_seqae("decode", overfit_run, latents, *options, "--seed", seed) == 0
        drawn.append(printed(capsys))
    assert drawn[0] == drawn[1] != drawn[2]
    assert len(drawn[0]) == 4


def test_options_that_do_not_fit_are_refused_in_one_line(overfit_run: Path, capsys: Out) -> None:
    line = refused(capsys, "reconstruct", overfit_run, CAT, "--top_k", 3)
    assert line.startswith("`temperature` must be above 0 for `top_k`")
    line = refused(capsys, "sample", overfit_run, "--num_beams", "many", status=2)
    assert line.startswith("`num_beams` must be a whole number")


# Interpolate


def test_interpolate(overfit_run: Path, tmp_path: Path, capsys: Out) -> None:
    assert run_seqae("interpolate", overfit_run, CAT, DOG, "--steps", 4) == 0
    said = capsys.readouterr()
    lines = said.out.splitlines()
    assert [len(lines), lines[0], lines[-1]] == [4, CAT, DOG]
    assert "`seqae fit -c fluent`" in said.err  # the model is trained to copy
    assert said.err.count("\n") == 1
    output = tmp_path / "between.jsonl"
    options = ["--path", "linear", "--steps", 2, "--output", output]
    assert run_seqae("interpolate", overfit_run, CAT, DOG, DOG, CAT, *options) == 0
    assert read_rows(output) == [
        {"start": CAT, "end": DOG, "step": 0, "text": CAT},
        {"start": CAT, "end": DOG, "step": 1, "text": DOG},
        {"start": DOG, "end": CAT, "step": 0, "text": DOG},
        {"start": DOG, "end": CAT, "step": 1, "text": CAT},
    ]


def test_interpolate_standard_input(
    overfit_run: Path, capsys: Out, monkeypatch: pytest.MonkeyPatch
) -> None:
    give_input(monkeypatch, CAT, DOG)
    assert run_seqae("interpolate", overfit_run, "-", "--steps", 2) == 0
    assert printed(capsys) == [CAT, DOG]


@pytest.mark.parametrize(("command", "texts"), [("interpolate", [CAT]), ("arithmetic", [CAT, DOG])])
def test_a_wrong_number_of_sentences(
    overfit_run: Path, capsys: Out, command: str, texts: list[str]
) -> None:
    line = refused(capsys, command, overfit_run, *texts)
    assert line.startswith(f"`texts` must be {len(texts) + 1} sentences or a multiple")


# Arithmetic


def test_arithmetic(overfit_run: Path, tmp_path: Path, capsys: Out) -> None:
    """What is taken away and added again leaves the sentence as it was."""
    output = tmp_path / "sums.jsonl"
    texts = [CAT, DOG, DOG, DOG, CAT, CAT]
    assert run_seqae("arithmetic", overfit_run, *texts, "--output", output) == 0
    assert read_rows(output) == [
        {"a": CAT, "b": DOG, "c": DOG, "text": CAT},
        {"a": DOG, "b": CAT, "c": CAT, "text": DOG},
    ]
    assert run_seqae("arithmetic", overfit_run, CAT, CAT, DOG) == 0
    assert printed(capsys) == [DOG]


# Neighbours


def test_neighbours(overfit_run: Path, tmp_path: Path, capsys: Out) -> None:
    output = tmp_path / "near.jsonl"
    options = ["--count", 3, "--output", output]
    assert run_seqae("neighbours", overfit_run, CAT, DOG, *options) == 0
    rows = read_rows(output)
    assert [row["text"] for row in rows] == [CAT] * 3 + [DOG] * 3
    assert [rows[0]["neighbour"], rows[3]["neighbour"]] == [CAT, DOG]
    assert rows[0]["similarity"] == pytest.approx(1.0, abs=1e-4)
    assert capsys.readouterr().err == f"seqae: 6 neighbours: {output}\n"
    corpus = write_text(tmp_path / "corpus.txt", [DOG])
    options = ["--corpus", corpus, "--similarity", "euclidean"]
    assert run_seqae("neighbours", overfit_run, DOG, *options) == 0
    assert printed(capsys)[0].split(None, 1)[1] == DOG


# Transfer


def test_transfer(overfit_run: Path, tmp_path: Path, capsys: Out) -> None:
    source, target = (write_text(tmp_path / f"{text[:5]}.txt", [text]) for text in (CAT, DOG))
    files = [source, target]
    assert run_seqae("transfer", overfit_run, *files, CAT) == 0
    assert printed(capsys) == [DOG]
    assert run_seqae("transfer", overfit_run, *files, DOG, "--strength", -1) == 0
    assert printed(capsys) == [CAT]
    output = tmp_path / "t.jsonl"
    assert run_seqae("transfer", overfit_run, *files, CAT, "--strength", 0, "--output", output) == 0
    assert read_rows(output) == [{"text": CAT, "transfer": CAT}]
    assert printed(capsys) == []
    line = refused(capsys, "transfer", overfit_run, source, tmp_path / "none.txt", CAT)
    assert line.startswith("`target` ")
    assert "none.txt" in line
    empty = write_text(tmp_path / "empty.txt", [])
    line = refused(capsys, "transfer", overfit_run, empty, target, CAT)
    assert line.startswith("`source` must hold text")


@pytest.mark.parametrize(
    ("command", "arguments", "said"),
    [
        ("neighbours", [CAT, "--corpus", "no_such_file"], "`corpus` "),
        ("neighbours", [CAT, "--count", 0], "`count` must be between 1"),
        ("sample", ["--count", -1], "`count` must be between 0"),
        ("interpolate", [CAT, DOG, "--steps", 1], "`steps` must be between 2"),
        ("transfer", ["a.txt", "b.txt", CAT, "--strength", "1e9"], "`strength` must be between"),
        *(
            (command, [*arguments, "--seed", seed], "`seed` must be between 0 and 4,294,967,295")
            for seed in (-1, 2**65)
            for command, arguments in (
                ("sample", []),
                ("interpolate", [CAT, DOG]),
                ("arithmetic", [CAT, DOG, CAT]),
                ("transfer", ["a.txt", "b.txt", CAT]),
                ("prior", []),
                ("reconstruct", [CAT]),
                ("decode", ["latents.npy"]),
            )
        ),
    ],
)
def test_what_is_out_of_range_is_refused_first(
    tmp_path: Path, capsys: Out, command: str, arguments: list[object], said: str
) -> None:
    """Before a model is looked for: there is none."""
    assert refused(capsys, command, tmp_path / "none", *arguments).startswith(said)
