"""Which run goes on, from where, and with which changes."""

from __future__ import annotations

from pathlib import Path

import pytest
from small import figures, numbered, read_rows, run_seqae, write_recipe, write_text
from test_resume import point_to, recorded, recorder


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_text(tmp_path_factory.mktemp("text") / "numbered.txt", numbered(70))


# Changes


@pytest.mark.parametrize("change", ["text", "split", "budget"])
def test_another_order_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], change: str
) -> None:
    """The tokenizer, of bytes, stays the same; the sentences would be others."""
    text = write_text(tmp_path / "text.txt", numbered(60))
    options = ["-c", write_recipe(tmp_path), "--data.train", text, "--trainer.max_epochs", 1]
    options += ["--data.tokenizer", "ByteTokenizer", "--run_dir", tmp_path / "run"]
    assert run_seqae("fit", *options) == 0
    changes = {"split": ["--data.split_seed", 9], "budget": ["--data.batch_tokens", 200]}
    if change == "text":
        write_text(text, [f"{sentence}!" for sentence in numbered(60)])
    again = ["--resume", tmp_path / "run", "--trainer.max_epochs", 2]
    assert run_seqae("fit", *again, *changes.get(change, [])) == 1
    keys = {"text": "data.train", "split": "data.split_seed", "budget": "data.batch_tokens"}
    said = capsys.readouterr().err
    assert f"`{keys[change]}` must be" in said
    assert "as in the resumed run" in said


def test_a_checkpoint_of_another_tokenizer_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = write_text(tmp_path / "text.txt", numbered(60))
    run = tmp_path / "run"
    options = ["-c", write_recipe(tmp_path), "--data.train", text, "--run_dir", run]
    assert run_seqae("fit", *options, "--data.tokenizer.vocab_size", 265) == 0
    with text.open("a", encoding="utf-8") as file:
        file.write("quite other words zzyzx zzyzx zzyzx zzyzx zzyzx\n" * 9)
    capsys.readouterr()
    assert run_seqae("fit", "--resume", run, "--trainer.max_epochs", 5) == 1
    assert "its tokenizer comes out another one" in capsys.readouterr().err


@pytest.mark.parametrize(
    "change", ["budget", "text", pytest.param("model", marks=pytest.mark.slow)]
)
def test_a_change_that_was_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], change: str
) -> None:
    """It is said; with another order the epoch begins anew, and no sentence of it is missing."""
    text = write_text(tmp_path / "text.txt", numbered(60))
    run = tmp_path / "run"
    options = ["-c", write_recipe(tmp_path), "--data.train", text, "--trainer.max_epochs", 2]
    options += ["--data.tokenizer", "ByteTokenizer", "--checkpoint.every_n_steps", 1]
    options += ["--data.val_percent", 0, "--data.test_percent", 0, "--checkpoint.keep", 100]
    assert run_seqae("fit", *options, "--run_dir", run) == 0
    steps = max(row["step"] for row in figures(run)) // 2
    point_to(run, steps + 2)  # within the second epoch
    changes = {
        "budget": (["--data.batch_tokens", 200], "data.batch_tokens was 96, is 200"),
        "text": ([], "data: `data.train` has changed, so the epoch starts again in another order"),
        "model": (
            ["--model.autoencoder.encoder.dropout", 0.1],
            "model.autoencoder.encoder.init_args.dropout was 0.0, is 0.1",
        ),
    }
    if change == "text":
        write_text(text, [f"{sentence}!" for sentence in numbered(60)])
    arguments, told = changes[change]
    capsys.readouterr()
    again = ["--resume", run, *arguments, *recorder(tmp_path)]
    assert run_seqae("fit", *again) == 1
    assert "or write `--resume_changed true`" in capsys.readouterr().err
    assert run_seqae("fit", *again, "--resume_changed", "true") == 0
    assert told in capsys.readouterr().out
    batches = read_rows(tmp_path / "rank0.jsonl")
    assert {batch["epoch"] for batch in batches} == {1}
    seen = recorded(batches)
    assert len(set(seen)) == len(seen)
    assert len(seen) == 60 or change == "model"
    assert read_rows(run / "metrics.jsonl")[-1]["step"] >= steps + 2


def test_another_size_is_refused_even_then(
    tmp_path: Path, text: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    options = ["-c", write_recipe(tmp_path), "--data.train", text, "--run_dir", run]
    assert run_seqae("fit", *options, "--trainer.max_epochs", 1) == 0
    capsys.readouterr()
    again = ["--resume", run, "--model.autoencoder.encoder.hidden_dim", 16]
    assert run_seqae("fit", *again, "--resume_changed", "true") == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "`ckpt_path` must be a checkpoint of the model that is configured" in said


def test_what_may_change_is_told_a_line_each(
    tmp_path: Path, text: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    options = ["-c", write_recipe(tmp_path), "--data.train", text, "--run_dir", run]
    assert run_seqae("fit", *options, "--trainer.max_epochs", 1) == 0
    # A run of a version that did not have this setting.
    config = (run / "config.yaml").read_text(encoding="utf-8")
    assert "    quoting: auto\n" in config
    (run / "config.yaml").write_text(config.replace("    quoting: auto\n", ""), encoding="utf-8")
    capsys.readouterr()
    changes = ["--trainer.max_epochs", 2, "--model.learning_rate", 0.001, "--samples", 1]
    assert run_seqae("fit", "--resume", run, *changes) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if "changed since" in line]
    assert lines == [
        "changed since the run began: model.learning_rate was 0.01, is 0.001",
        "changed since the run began: samples was 0, is 1",
        "changed since the run began: trainer.max_epochs was 1, is 2",
    ]


# --resume auto


def test_auto_takes_the_newest_of_its_configuration(
    tmp_path: Path,
    text: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Two configurations side by side, and none yet of the third."""
    monkeypatch.chdir(tmp_path)
    options = ["-c", write_recipe(tmp_path), "--data.train", text, "--trainer.max_epochs", 1]
    auto, other = ["--resume", "auto"], ["--model.learning_rate", 0.5]
    found: dict[str, list[Path]] = {"one": [], "other": []}
    for name, more in (("one", []), ("other", other), ("one", []), ("other", other)):
        before = set(Path("runs").glob("*/*"))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("time.strftime", lambda *_, name=name: f"run-{name}")
            assert run_seqae("fit", *options, *more, *auto) == 0
        new = sorted(set(Path("runs").glob("*/*")) - before)
        said = capsys.readouterr().out
        assert bool(new) == ("going on with" not in said)
        found[name] += new
        if not new:
            assert f"going on with {found[name][0]} from step=" in said
    assert [len(runs) for runs in found.values()] == [1, 1]


def test_auto_with_a_folder_takes_the_run_that_is_there(
    tmp_path: Path, text: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    options = ["-c", write_recipe(tmp_path), "--data.train", text]
    options += ["--run_dir", run, "--resume", "auto"]
    assert run_seqae("fit", *options, "--trainer.max_epochs", 1) == 0
    assert "going on" not in capsys.readouterr().out
    assert run_seqae("fit", *options, "--trainer.max_epochs", 2) == 0
    said = capsys.readouterr().out
    assert f"going on with {run} from step=7.ckpt" in said
    assert "changed since the run began: trainer.max_epochs was 1, is 2" in said
    assert run_seqae("fit", *options, "--data.seed", 1) == 1
    assert "`data.seed` must be 0 as in the resumed run" in capsys.readouterr().err


def test_auto_and_a_checkpoint_are_refused(
    text: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, options = tmp_path / "run", ["-c", write_recipe(tmp_path), "--data.train", text]
    options += ["--run_dir", run, "--trainer.max_epochs", 1]
    assert run_seqae("fit", *options) == 0
    capsys.readouterr()
    last = run / "checkpoints" / "last.ckpt"
    assert run_seqae("fit", *options, "--resume", "auto", "--ckpt_path", last) == 1
    assert "`ckpt_path` must not be given beside `--resume auto`" in capsys.readouterr().err


def test_other_files_beside_the_checkpoints_are_left_alone(text: Path, tmp_path: Path) -> None:
    run, options = tmp_path / "run", ["-c", write_recipe(tmp_path), "--data.train", text]
    assert run_seqae("fit", *options, "--run_dir", run, "--trainer.max_epochs", 1) == 0
    kept = run / "checkpoints" / "step=3-good.ckpt"
    kept.touch()
    again = ["--resume", run, "--trainer.max_epochs", 2, "--checkpoint.keep", 1]
    assert run_seqae("fit", *again) == 0
    assert kept.exists()
