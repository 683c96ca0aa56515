"""Sentences for a task are read as those of the model's training were."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from small import run_seqae, write_text

from seqae.data.sentences.cleaning import CleanOptions
from seqae.tasks.inputs import Policies, gather

Out = pytest.CaptureFixture[str]
LONG = "the cat sees the mat and " * 30


@pytest.fixture
def run_with(overfit_run: Path, tmp_path: Path) -> Any:
    """Give data settings: a copy of a run that says it was trained with them."""

    def copy(**settings: Any) -> Path:
        run = tmp_path / "run"
        shutil.copytree(overfit_run, run, symlinks=True)
        config = yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8"))
        config["data"].update(settings)
        (run / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
        return run

    return copy


@pytest.mark.parametrize("policy", ["truncate", "drop"])
def test_what_the_training_accepted_is_accepted(
    run_with: Any, tmp_path: Path, capsys: Out, policy: str
) -> None:
    """One latent for each sentence, whatever the policy was."""
    run = run_with(too_long=policy)
    text = write_text(tmp_path / "text.txt", ["a dog has the red ball", LONG])
    assert run_seqae("encode", run, "--input", text, "--output", tmp_path / "a.npy") == 0
    assert len(np.load(tmp_path / "a.npy")) == 2
    said, _ = capsys.readouterr().err.splitlines()  # and what was written
    assert said == (
        "seqae: truncated 1 of 2 sentences to 64 tokens, since the model was trained with "
        f"`too_long: {policy}`"
    )


@pytest.mark.parametrize("ending", ["npz", "parquet", "jsonl"])
def test_texts_of_any_length_are_accepted(
    run_with: Any, tmp_path: Path, capsys: Out, ending: str
) -> None:
    """A model that was trained on stretches has a latent for each, in files and back."""
    run, latents = run_with(too_long="split"), tmp_path / f"latents.{ending}"
    text = write_text(tmp_path / "text.txt", ["a dog has the red ball", LONG])
    assert run_seqae("encode", run, "--input", text, "--output", latents) == 0
    assert re.fullmatch(r"seqae: [5-9] latents: .*\n", capsys.readouterr().err)
    assert run_seqae("decode", run, latents) == 0
    decoded = capsys.readouterr().out
    assert run_seqae("reconstruct", run, "--input", text) == 0
    assert capsys.readouterr() == (decoded, "")
    assert decoded.startswith("a dog has the red ball\n")
    assert run_seqae("encode", run, LONG, "--output", tmp_path / "a.npy") == 1
    assert "`output` must be .npz, .safetensors, .parquet or .jsonl" in capsys.readouterr().err
    assert run_seqae("neighbours", run, LONG, "--corpus", text) == 0  # by its first stretch
    assert "truncated 1 of 1 sentences" in capsys.readouterr().err


def test_stretches_on_demand(overfit_run: Path, capsys: Out) -> None:
    """Texts that fit are reconstructed as ever, also several times."""
    options = ("--too_long", "split", "--num_beams", "2", "--num_return_sequences", "2")
    assert run_seqae("reconstruct", overfit_run, "a dog has the red ball", *options) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2
    assert run_seqae("reconstruct", overfit_run, LONG, *options) == 1
    assert "`num_return_sequences` must be 1" in capsys.readouterr().err


def test_what_is_asked_for_goes_before(run_with: Any, tmp_path: Path, capsys: Out) -> None:
    run = run_with(too_long="truncate")
    assert run_seqae("encode", run, LONG, "--too_long", "error") == 1
    assert capsys.readouterr().err.startswith("seqae: error: `max_length` of this model is 64")


def test_files_are_read_by_the_column_of_the_training(
    run_with: Any, tmp_path: Path, capsys: Out
) -> None:
    """Also another file, by its own ending: the training read CSV without one."""
    reading = {"format": "csv", "column": "body"}
    run = run_with(train=str(tmp_path / "trained"), reading=reading)
    (tmp_path / "trained").write_text("id,body\n1,the cat sees the mat\n")
    (tmp_path / "other.jsonl").write_text('{"body": "a dog has the red ball"}\n')
    contents = {"trained": "the cat sees the mat", "other.jsonl": "a dog has the red ball"}
    for name, text in contents.items():
        assert run_seqae("reconstruct", run, "--input", tmp_path / name) == 0
        assert capsys.readouterr() == (f"{text}\n", "")


def test_documents_of_the_training_are_cut_into_sentences(tmp_path: Path, capsys: Out) -> None:
    own, other = (
        str(write_text(tmp_path / name, ["One cat. Two dogs.", "No."])) for name in ("own", "other")
    )
    policies = Policies(cleaning=CleanOptions(split_sentences="en"), sources=frozenset({own}))
    assert gather([], own, policies=policies) == ["One cat.", "Two dogs.", "No."]
    assert capsys.readouterr().err == (
        "seqae: cut 2 documents of the input into 3 sentences, as in the model's training\n"
    )
    assert gather([], other, policies=policies) == ["One cat. Two dogs.", "No."]
    assert capsys.readouterr().err == ""


def test_settings_of_another_version_give_the_defaults(run_with: Any, capsys: Out) -> None:
    run = run_with(no_longer_known=3, too_long="truncate")
    assert run_seqae("encode", run, LONG) == 1
    assert capsys.readouterr().err.startswith("seqae: error: `max_length` of this model is 64")


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["prior", "{}"], "`input` must be given, because the model was trained on "),
        (["neighbours", "{}", "a"], "`corpus` must be given, because the model was trained on "),
        (["evaluate", "{}"], "`file` and `train_file` must be given, because the model was "),
    ],
)
def test_a_bundle_alone_has_no_training_sentences(
    overfit_run: Path, tmp_path: Path, capsys: Out, command: list[str], message: str
) -> None:
    """Nor does what lies beside it count, which may be a stranger's."""
    bundle = tmp_path / "bundle"
    shutil.copytree(overfit_run / "bundle", bundle)
    shutil.copy(overfit_run / "config.yaml", tmp_path)
    assert "train" in json.loads((bundle / "training.json").read_text())["config"]["data"]
    assert run_seqae(*(word.format(bundle) for word in command)) == 1
    said = capsys.readouterr().err
    assert said.startswith(f"seqae: error: {message}")
    assert f"Write `seqae {command[0]} MODEL" in said


def test_a_file_is_read_as_the_command_line_says(
    overfit_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, output = write_text(tmp_path / "semi.csv", ["id;text", "1;the cat"]), tmp_path / "x.npy"
    command = ("encode", overfit_run, "--input", path, "--output", output)
    assert run_seqae(*command) == 1
    assert "set `--reading.delimiter ';'`." in capsys.readouterr().err
    assert run_seqae(*command, "--reading.delimiter", ";") == 0
    assert capsys.readouterr().err == f"seqae: 1 latent: {output}\n"
    assert np.load(output).shape[0] == 1
    assert run_seqae("encode", overfit_run, "the cat", "--reading.delimiter", ";") == 1
    assert "`reading` must be left out where no file is read" in capsys.readouterr().err


def test_a_text_that_is_the_name_of_a_file_is_remarked(
    overfit_run: Path, tmp_path: Path, capsys: Out
) -> None:
    path = write_text(tmp_path / "a.txt", ["the cat"])
    assert run_seqae("encode", overfit_run, path, "--too_long", "truncate") == 0
    said = f"seqae: `{path}` is encoded as text; `--input {path}` reads the file\n"
    assert capsys.readouterr().err == said
