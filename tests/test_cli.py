"""The command: what it says when something is wrong, and what it leaves behind then: nothing."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from small import COMMAND, CONFIGS, read_rows, run_seqae, write_recipe, write_text

from seqae.data.prepared.prepare import Preparation
from seqae.parser import OneLineParser

Fit = Callable[..., str]


@pytest.fixture
def refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Fit:
    """Give a command that must fail: its message. It may leave nothing but an empty cache."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SEQAE_CACHE", str(tmp_path / "cache"))

    def run(*arguments: object, status: int) -> str:
        before = set(tmp_path.rglob("*"))
        assert run_seqae(*arguments) == status
        left = {
            path.relative_to(tmp_path)
            for path in set(tmp_path.rglob("*")) - before
            if path.suffix != ".lock" and path.name != "cache"
        }
        assert not left
        said = capsys.readouterr().err.splitlines()
        assert len(said) == 1, said
        assert said[0].startswith("seqae: error: ")
        assert len(said[0]) < 400
        return said[0].removeprefix("seqae: error: ")

    return run


@pytest.fixture
def recipe(tmp_path: Path) -> list[object]:
    text = write_text(tmp_path / "text.txt")
    return ["fit", "-c", write_recipe(tmp_path), "--data.train", text]


# Keys and values

KEYS = {
    "top level": (
        ["--nmae", "x"],
        "`nmae` is not known. Did you mean `name`?",
    ),
    "of the trainer": (
        ["--trainer.max_step", "3"],
        "`trainer.max_step` is not known. Did you mean `trainer.max_steps`?",
    ),
    "of the data": (
        ["--data.trian", "x"],
        "`data.trian` is not known. Did you mean `data.train`?",
    ),
    "of a part": (
        ["--model.autoencoder.encoder.init_args.hiden_dim", "3"],
        "`model.autoencoder.encoder.init_args.hiden_dim` is not known. "
        "Did you mean `model.autoencoder.encoder.init_args.hidden_dim`?",
    ),
    "of a part, the short way": (
        ["--data.tokenizer.vocab_sze", "3"],
        "`data.tokenizer.init_args.vocab_sze` is not known. "
        "Did you mean `data.tokenizer.init_args.vocab_size`?",
    ),
    "of a group, like no other": (
        ["--checkpoint.evry", "3"],
        "`checkpoint.evry` is not known. There are checkpoint.asynchronous, "
        "checkpoint.every_n_steps, checkpoint.keep.",
    ),
}


@pytest.mark.parametrize("where", KEYS)
def test_misspelt_key(refused: Fit, recipe: list[object], where: str) -> None:
    options, expected = KEYS[where]
    assert refused(*recipe, *options, status=2) == expected


@pytest.mark.parametrize(
    ("yaml", "expected"),
    [
        ("modle:\n  seed: 1\n", "`modle.seed` is not known. Did you mean `model.seed`?"),
        ("data:\n  trian: x\n", "`data.trian` is not known. Did you mean `data.train`?"),
        (
            "model: {autoencoder: {encoder: {class_path: GRUEncoder, init_args: {hiden_dim: 3}}}}",
            "`model.autoencoder.encoder.init_args.hiden_dim` is not known. "
            "Did you mean `model.autoencoder.encoder.init_args.hidden_dim`?",
        ),
        (
            "trainer: {callbacks: [{class_path: Timer, init_args: {duratin: 3}}]}",
            "`trainer.callbacks.init_args.duratin` is not known. "
            "Did you mean `trainer.callbacks.init_args.duration`?",
        ),
    ],
)
def test_misspelt_key_in_a_file(
    refused: Fit, recipe: list[object], tmp_path: Path, yaml: str, expected: str
) -> None:
    (tmp_path / "bad.yaml").write_text(yaml)
    assert refused(*recipe, "-c", "bad.yaml", status=2) == expected


def test_a_message_that_is_not_understood_is_printed_as_it_is(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit, match="2"):
        OneLineParser().error("Whatever jsonargparse\n  will say of 'x'")
    assert capsys.readouterr().err == "seqae: error: Whatever jsonargparse will say of 'x'\n"


VALUES = {
    "text for a whole number": (
        ["--data.batch_tokens", "many"],
        "`data.batch_tokens` must be a whole number, but it is many instead. "
        "Write a value of that type.",
    ),
    "text for a part's whole number": (
        ["--model.autoencoder.encoder.hidden_dim", "many"],
        "`model.autoencoder.encoder.init_args.hidden_dim` must be a whole number, but it is many "
        "instead. Write a value of that type.",
    ),
    "1e3 for a whole number": (
        ["--data.batch_tokens", "1e3"],
        "`data.batch_tokens` must be a whole number, but it is 1000.0 instead. Write 1000.",
    ),
    "not a number": (
        ["--model.learning_rate", "nan"],
        "`model.learning_rate` must be a number, but it is nan instead. "
        "Write a value of that type.",
    ),
    "a word that is no choice": (
        ["--model.schedule", "cosin"],
        "`model.schedule` must be one of cosine, linear, constant, but it is cosin instead. "
        "Did you mean cosine?",
    ),
    "an unknown class": (
        ["--model.autoencoder.encoder", "GRUEnkoder"],
        "`model.autoencoder.encoder` must be one of DenseEncoder, GRUEncoder, "
        "HierarchicalEncoder, LSTMEncoder, TransformerEncoder, but it is GRUEnkoder instead. "
        "Did you mean GRUEncoder?",
    ),
    "an unknown precision": (
        ["--trainer.precision", "bf61-mixed"],
        "`trainer.precision` must be one of 64, 32, 16, transformer-engine, "
        "transformer-engine-float16, 16-true, 16-mixed, bf16-true, bf16-mixed, 32-true, 64-true, "
        "bf16, but it is bf61-mixed instead. Did you mean bf16-mixed?",
    ),
    "a number of threads that is none": (
        ["--threads", "x"],
        "`threads` must be a whole number or auto, but it is x instead. "
        "Write a value of that type.",
    ),
}


@pytest.mark.parametrize("what", VALUES)
def test_wrong_value(refused: Fit, recipe: list[object], what: str) -> None:
    options, expected = VALUES[what]
    assert refused(*recipe, *options, status=2) == expected


@pytest.mark.parametrize(
    ("options", "key"),
    [
        (["--model.learning_rate", ".nan"], "model.learning_rate"),
        (["--model.learning_rate", "-1"], "model.learning_rate"),
        (["--data.val_percent", "200"], "data.val_percent"),
        (["--threads", "0"], "threads"),
        (["--samples", "-1"], "samples"),
        (["--checkpoint.every_n_steps", "-1"], "checkpoint.every_n_steps"),
        (["--trainer.accumulate_grad_batches", "0"], "trainer.accumulate_grad_batches"),
        (["--trainer.accumulate_grad_batches", "-2"], "trainer.accumulate_grad_batches"),
    ],
)
def test_value_out_of_range(
    refused: Fit, recipe: list[object], options: list[str], key: str
) -> None:
    said = refused(*recipe, *options, status=1)
    assert said.startswith(f"`{key}` must be between ")
    assert said.endswith("Choose a value in that range.")


def test_1e_3_is_a_number_in_a_file_and_on_the_command_line(
    recipe: list[object], tmp_path: Path
) -> None:
    import yaml

    (tmp_path / "rate.yaml").write_text("model:\n  learning_rate: 1e-3\n  weight_decay: 1e-2\n")
    run = tmp_path / "run"
    options = ["-c", tmp_path / "rate.yaml", "--model.beta2", "99e-2", "--run_dir", run]
    assert run_seqae(*recipe, *options, "--trainer.max_epochs", 1) == 0
    model = yaml.safe_load((run / "config.yaml").read_text())["model"]
    assert (model["learning_rate"], model["weight_decay"], model["beta2"]) == (0.001, 0.01, 0.99)


def test_what_must_be_given(refused: Fit) -> None:
    said = refused("fit", status=2)
    assert said.startswith("`model.autoencoder.encoder`, ")
    assert said.endswith("must be given. Start from a recipe: `-c gru`.")
    assert refused("encode", status=2) == "`model` must be given. Add what is missing."


# Files

TEXTS = {
    "missing": (None, "`data.train` must be a file, a folder, a pattern such as "),
    "empty": (b"", "`data.train` must hold text, but there are no usable sentences in "),
    "blank": (b"\n \n\t\n", "`data.train` must hold text, but there are no usable sentences in "),
    "not UTF-8": (b"fine\ncaf\xe9\n", "`data.train` must be UTF-8 text, but line 2 of "),
    "too long": (
        b"short\n" + b"x " * 500,
        "`data.max_length` must be at least the length of every sentence, but it is 64 and ",
    ),
}


@pytest.mark.parametrize("what", TEXTS)
def test_unusable_text(refused: Fit, recipe: list[object], tmp_path: Path, what: str) -> None:
    content, expected = TEXTS[what]
    if content is not None:
        (tmp_path / "bad.txt").write_bytes(content)
    said = refused(*recipe, "--data.train", "bad.txt", "--run_dir", "run", status=1)
    assert said.startswith(expected)
    assert "bad.txt" in said


def test_unusable_text_with_wandb(
    refused: Fit, recipe: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    overlay = CONFIGS / "overlays" / "wandb.yaml"
    refused(*recipe, "-c", overlay, "--data.train", "none.txt", status=1)


def test_missing_config(refused: Fit) -> None:
    said = refused("fit", "-c", "none.yaml", status=2)
    assert said.startswith("`config` must be a file or the name of a recipe, but it is none.yaml, ")


@pytest.mark.parametrize(
    ("content", "status", "expected"),
    [
        (b"a: [b\nc: d: e\n", 2, "`config` must be YAML, but bad.yaml is not: "),
        (b"# caf\xe9\n", 1, "`config` must be UTF-8 text, but bad.yaml is not: "),
    ],
)
def test_unusable_config(
    refused: Fit, tmp_path: Path, content: bytes, status: int, expected: str
) -> None:
    (tmp_path / "bad.yaml").write_bytes(content)
    assert refused("fit", "-c", "bad.yaml", status=status).startswith(expected)


# The run folder


@pytest.mark.parametrize("where", ["occupied", "occupied/below"])
def test_run_dir_in_the_place_of_a_file(
    refused: Fit, recipe: list[object], tmp_path: Path, where: str
) -> None:
    (tmp_path / "occupied").write_text("a file")
    said = refused(*recipe, "--run_dir", where, status=1)
    assert said.startswith("`run_dir` must be a folder that can be made and written, but ")
    assert said.endswith("Name another one with `--run_dir`.")
    assert (tmp_path / "occupied").read_text() == "a file"


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="no file system that takes no folder")
def test_run_dir_that_only_the_attempt_shows_to_be_bad(
    recipe: list[object], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_seqae(*recipe, "--run_dir", "/proc/none/run") == 1
    assert capsys.readouterr().err == (
        "seqae: error: `run_dir` must be a folder that can be made and written, but "
        "/proc/none/run cannot: No such file or directory. Name another one with `--run_dir`.\n"
    )


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_run_dir_without_permission(refused: Fit, recipe: list[object], tmp_path: Path) -> None:
    (tmp_path / "locked").mkdir(mode=0o500)
    said = refused(*recipe, "--run_dir", "locked/run", status=1)
    assert "cannot be written" in said


PARTS = {
    "an objective without its posterior": (
        ["--model.objective", "Variational"],
        "`model.autoencoder.latent` must have a posterior under Variational",
    ),
    "pairs that are not there": (
        ["--model.objective.alignment_weight", 1],
        "`model.objective.init_args.alignment_weight` must be 0 for text without pairs",
    ),
    "several latents of a pooling that gives one": (
        [
            "--model.autoencoder.encoder=TransformerEncoder",
            "--model.autoencoder.encoder.num_latents=2",
        ],
        "`model.autoencoder.encoder.init_args.num_latents` must be 1",
    ),
    "a figure of another model": (
        ["--monitor", "val/active_units"],
        "`monitor` must be a metric that is measured, but there is no val/active_units for a "
        "DeterministicLatent",
    ),
    "a figure under noise of a model that is told none": (
        ["--monitor", "val/robust_reconstruction"],
        "`monitor` must be a metric that is measured, but there is no val/robust_reconstruction "
        "for a model without `latent_noise`",
    ),
}


@pytest.mark.parametrize("what", PARTS)
def test_parts_that_do_not_go_together(refused: Fit, recipe: list[object], what: str) -> None:
    """Told before the run's folder is made, so that the mended command can use it."""
    options, expected = PARTS[what]
    assert refused(*recipe, *options, "--run_dir", "run", status=1).startswith(expected)


def test_run_dir_that_holds_a_run(
    refused: Fit, recipe: list[object], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_seqae(*recipe, "--run_dir", "run", "--trainer.max_epochs", 1) == 0
    before = (tmp_path / "run" / "metrics.jsonl").read_text()
    capsys.readouterr()
    said = refused(*recipe, "--run_dir", "run", status=1)
    assert said.startswith("`run_dir` must be a new or empty folder, but run holds something.")
    assert said.endswith("go on with it: `seqae fit --resume run`.")
    assert (tmp_path / "run" / "metrics.jsonl").read_text() == before


@pytest.mark.parametrize("arguments", [["--resume", "none"], ["--resume"], ["--resume=none"]])
def test_resume_of_nothing(refused: Fit, arguments: list[str]) -> None:
    assert refused("fit", *arguments, status=1).startswith("`resume` must ")


CONTRADICTIONS = {
    "no text": (["--data.train", "[]"], "`data.train` must name text, but it is an empty list"),
    "two runs": (["--resume", "a", "--resume=b"], "`resume` must be given once"),
    "a run in a file": (["-c", "resume.yaml"], "`resume` must be given on the command line, or be"),
    "a clock and nothing saved": (
        ["--trainer.max_time", "00:00:00:05", "--trainer.enable_checkpointing", "false"],
        "`trainer.max_time` must not be given where nothing is saved",
    ),
    "no interval": (["--trainer.val_check_interval", "0"], "`trainer.val_check_interval` must be"),
    "no batch": (["--trainer.limit_train_batches", "0"], "`trainer.limit_train_batches` must be"),
}


@pytest.mark.parametrize("what", CONTRADICTIONS)
def test_what_would_not_be_heeded(
    refused: Fit, recipe: list[object], tmp_path: Path, what: str
) -> None:
    (tmp_path / "resume.yaml").write_text("resume: runs/some/time\n")
    options, expected = CONTRADICTIONS[what]
    assert refused(*recipe, *options, status=1).startswith(expected)


# Commands


# Preparing


def test_prepare_does_what_fit_then_finds_done(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "cache"
    monkeypatch.setenv("SEQAE_CACHE", str(cache))
    options = ["-c", write_recipe(tmp_path), "--data.train", write_text(tmp_path / "text.txt")]
    assert run_seqae("prepare", *options) == 0
    said = capsys.readouterr().out
    (folder,) = (path for path in cache.iterdir() if path.is_dir())
    assert said.endswith(f"prepared: {folder}\n")
    assert said.startswith("What was read\n")
    monkeypatch.setattr(Preparation, "run", None)  # a second time would fail
    assert run_seqae("prepare", *options) == 0
    fit = ["fit", *options, "--run_dir", tmp_path / "run", "--trainer.max_steps", 1]
    assert run_seqae(*fit, "--data.val_percent", 5, "--trainer.limit_val_batches", 1) == 0
    report = (tmp_path / "run" / "data_report.txt").read_text()
    assert report == (folder / "report.txt").read_text()


def test_prepare_knows_the_options_of_fit(refused: Fit, recipe: list[object]) -> None:
    said = refused("prepare", *recipe[1:], "--data.reading.format", "csx", status=2)
    assert said.startswith("`data.reading.format` must be one of auto, text,")


def test_no_arguments(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_seqae() == 2
    assert "usage: seqae COMMAND" in capsys.readouterr().out


def test_unknown_command(refused: Fit) -> None:
    said = refused("recontruct", status=2)
    assert said.startswith("`command` must be one of fit, prepare, validate, ")
    assert said.endswith("Did you mean `seqae reconstruct`?")


@pytest.mark.parametrize(
    ("arguments", "status", "key"),
    [
        (["reconstruct", "none", "a"], 1, "model"),
        (["reconstruct", "{run}"], 1, "texts"),
        (["reconstruct", "{run}", "a", "--input", "{text}"], 1, "texts"),
        (["reconstruct", "{run}", "x " * 200], 1, "max_length"),
        (["encode", "{run}", "a", "--output", "none/x.npy"], 1, "output"),
        (["encode", "{run}", "a", "--output", "x.txt"], 1, "output"),
        (["encode", "{run}", "a", "--output", "x.npy", "--device", "warp"], 1, "device"),
        (["encode", "{run}", "a", "--too_long", "cut"], 2, "too_long"),
        (["decode", "{run}", "none.npy"], 1, "latents"),
        (["decode", "{run}", "{text}"], 1, "latents"),
        (["decode", "{run}", "{text}", "--output", "none/x.jsonl"], 1, "output"),
        (["evaluate", "{run}", "none.txt"], 1, "file"),
        (["evaluate", "{run}", "--output", "none/x.json"], 1, "output"),
        (["validate", "-c", "{run}/config.yaml"], 1, "ckpt_path"),
        (["test", "-c", "{run}/config.yaml", "--ckpt_path", "none.ckpt"], 1, "ckpt_path"),
        (["test", "-c", "{run}/config.yaml", "--ckpt_path", "{text}"], 1, "ckpt_path"),
        (
            [
                *("predict", "-c", "{run}/config.yaml", "--output", "none/x.jsonl"),
                *("--ckpt_path", "{run}/checkpoints/last.ckpt"),
            ],
            1,
            "output",
        ),
        (["fit", "-c", "{run}/config.yaml", "--accelerator", "gpu"], 1, "trainer.accelerator"),
        (["test"], 1, "RUN"),
        (["validate", "--threads", "1"], 1, "RUN"),
        (["predict", "none"], 1, "RUN"),
        (["test", "{text}"], 1, "RUN"),
        (["validate", "{run}/bundle"], 1, "RUN"),
    ],
)
def test_refused_by_a_command(
    refused: Fit,
    overfit_run: Path,
    tmp_path: Path,
    arguments: list[str],
    status: int,
    key: str,
) -> None:
    if key == "trainer.accelerator" and torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    text = write_text(tmp_path / "text.txt")
    filled = [argument.format(run=overfit_run, text=text) for argument in arguments]
    assert refused(*filled, status=status).startswith(f"`{key}` ")


def test_the_demo_is_named_as_a_bundle(refused: Fit) -> None:
    told = refused("test", "demo", status=1)
    assert "demo is a bundle instead. Write `seqae evaluate demo`." in told


def test_debug_shows_the_traceback() -> None:
    with pytest.raises(ValueError, match="must be the folder of a bundle"):
        run_seqae("check", "none", "--debug")


def test_a_reader_that_leaves_is_no_error(overfit_run: Path, tmp_path: Path) -> None:
    text = write_text(tmp_path / "many.txt", [f"the cat sees the mat {i}" for i in range(3000)])
    command = f'"{COMMAND}" encode "{overfit_run}" --input "{text}" | head -1'
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=120)
    assert done.stderr == ""
    assert len(done.stdout.splitlines()) == 1


# Help


def test_fit_help_lists_the_variants(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_seqae("fit", "--help", "all") == 0
    said = " ".join(capsys.readouterr().out.split())
    for name in ("GRUEncoder", "DenseDecoder", "BPETokenizer", "MeanSquaredError"):
        assert name in said
    for option in ("--resume", "--run_dir", "--threads", "--data.train", "--checkpoint.keep"):
        assert option in said
    assert "optimizer steps between saves" in said


@pytest.mark.parametrize(
    ("part", "name", "said"),
    [
        ("model.autoencoder.encoder", "GRUEncoder", "units of each direction"),
        ("model.autoencoder.decoder", "DenseDecoder", "num_layers"),
        ("data.tokenizer", "BPETokenizer", "vocab_size"),
        ("model.objective", "Reconstruction", "chance that a token the decoder reads becomes unk"),
    ],
)
def test_help_of_a_part(
    capsys: pytest.CaptureFixture[str], part: str, name: str, said: str
) -> None:
    assert run_seqae("fit", f"--{part}.help", name) == 0
    assert said in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("command", ["reconstruct", "encode", "decode", "evaluate", "check"])
def test_every_argument_of_a_task_is_documented(
    capsys: pytest.CaptureFixture[str], command: str
) -> None:
    assert run_seqae(command, "--help", "all") == 0
    said = " ".join(capsys.readouterr().out.partition("options:")[2].split())
    # An option without a text of its own has its type as the first thing said of it.
    assert not re.findall(r"--\w+ (?:[A-Z_]+|\{[^}]*\}) \(", said)


# A checkpoint measured


def last_checkpoint(run: Path) -> list[object]:
    return ["-c", run / "config.yaml", "--ckpt_path", run / "checkpoints" / "last.ckpt"]


@pytest.mark.parametrize("command", ["validate", "test"])
def test_a_checkpoint_is_measured(
    overfit_run: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    assert run_seqae(command, *last_checkpoint(overfit_run)) == 0
    said = capsys.readouterr()
    assert said.err == ""
    stage = {"validate": "val", "test": "test"}[command]
    rows = [line.strip("│").split("│") for line in said.out.splitlines() if f"{stage}/" in line]
    measured = {key.strip(): (unit.strip(), value.strip()) for key, unit, value in rows}
    assert measured[f"{stage}/exact_match"] == ("%", "100.0")
    assert measured[f"{stage}/bleu"] == ("0 to 100", "100.0")
    assert measured[f"{stage}/loss"][0] == "per token"


def test_predictions_stand_in_the_order_of_the_corpus(overfit_run: Path, tmp_path: Path) -> None:
    from small import SENTENCES

    output = tmp_path / "predictions.jsonl"
    assert run_seqae("predict", *last_checkpoint(overfit_run), "--output", output) == 0
    rows = read_rows(output)
    assert [row["index"] for row in rows] == list(range(32))
    assert [row["text"] for row in rows] == list(SENTENCES)
    assert [row["reconstruction"] for row in rows] == list(SENTENCES)


def test_predictions_go_to_the_run_and_replace_nothing_unasked(
    overfit_run: Path, tmp_path: Path, refused: Fit, capsys: pytest.CaptureFixture[str]
) -> None:
    run = shutil.copytree(overfit_run, tmp_path / "run", symlinks=True)
    assert run_seqae("predict", run, "--trainer.limit_predict_batches", 1) == 0
    path = run / "predictions.jsonl"
    assert f" predictions: {path}\n" in capsys.readouterr().out
    before = path.read_text()
    said = refused("predict", run, status=1)
    assert said.startswith("`output` must be given to replace older predictions")
    assert path.read_text() == before
    assert run_seqae("predict", run, "--output", path) == 0
    assert len(read_rows(path)) == 32


def test_a_run_without_a_bundle(overfit_run: Path, tmp_path: Path, refused: Fit) -> None:
    run = shutil.copytree(overfit_run, tmp_path / "run", symlinks=True)
    shutil.rmtree(run / "bundle")
    said = refused("reconstruct", run, "a", status=1)
    assert "has no bundle yet" in said
    assert said.endswith(f"Go on with it: `seqae fit --resume {run}`.")


def test_a_resume_with_nothing_left_to_do_says_so(
    recipe: list[object], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    assert run_seqae(*recipe, "--run_dir", run, "--max_epochs", 1) == 0
    assert "nothing left" not in capsys.readouterr().out
    assert run_seqae("fit", "--resume", run) == 0
    said = capsys.readouterr().out
    assert "\nnothing left to do: the training had ended at step 5. Train longer with " in said
    assert run_seqae("fit", "--resume", run, "--max_steps", 7) == 0
    assert "nothing left" not in capsys.readouterr().out


def test_no_sentences_to_measure(
    refused: Fit, recipe: list[object], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--data.val_percent", 0, "--data.test_percent", 0, "--trainer.max_epochs", 1]
    options += ["--checkpoint.every_n_steps", 1, "--run_dir", "run"]
    assert run_seqae(*recipe, *options) == 0
    capsys.readouterr()
    for command, key in (("validate", "val"), ("test", "test"), ("predict", "test")):
        said = refused(command, *last_checkpoint(tmp_path / "run"), status=1)
        assert said.startswith(f"`data.{key}` must have sentences to ")
