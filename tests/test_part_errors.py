"""Errors of parts and libraries name the key of the configuration in full."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from lightning.pytorch.callbacks import Callback
from small import run_seqae, with_callback, write_recipe, write_text

from seqae.model.encoders import GRUEncoder
from seqae.training.command.part_errors import explain

Out = pytest.CaptureFixture[str]


class NeedsMore(Callback):
    """A callback whose package is missing."""

    def __init__(self) -> None:
        import no_such_package  # type: ignore[import-not-found]  # noqa: F401


class Fails(Callback):
    """A callback that fails in the second step, as only a fault of its own would."""

    def on_train_batch_start(self, trainer: Any, *args: Any) -> None:
        if trainer.global_step == 1:
            raise RuntimeError("no such thing\n" + "and more " * 200)


def error_of(call: Callable[[], object]) -> ValueError:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - its text is compared by the caller
        call()
    return caught.value


OPTIONS = {
    "run_dir": None,
    "model": {
        "embedding_dim": 3,
        "encoder": {"class_path": "GRUEncoder", "init_args": {"hidden_dim": 0}},
        "decoder": {"class_path": "GRUDecoder", "init_args": {"hidden_dim": 3, "num_layers": 1}},
    },
}


def test_the_class_tells_which_of_two_keys_is_meant() -> None:
    error = error_of(lambda: GRUEncoder(hidden_dim=0))
    said = str(explain(error, OPTIONS))
    assert said.startswith("`model.encoder.init_args.hidden_dim` must be between 1 and ")


def test_the_one_class_of_an_optional_part_is_refused_by_its_key() -> None:
    """What jsonargparse says if a part is null or of a class that has no subclasses."""
    union = ValueError(
        "Does not validate against any of the Union subtypes\n"
        "Subtypes: [<class 'LatentNoise'>, <class 'NoneType'>]\nErrors:\n"
        "  - `hidden_dim` must be at most 1, but it is 2.\n"
        "  - Expected a <class 'NoneType'>\n"
        "Given value type: <class 'Namespace'>\nGiven value: Namespace(hidden_dim=2)"
    )
    options = {"model": {"part": {"hidden_dim": 2}}}
    said = str(explain(union, options))
    assert said == "`model.part.hidden_dim` must be at most 1, but it is 2."


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("`embedding_dim` must be 3", "`model.embedding_dim` must be 3"),
        ("`num_layers` must be 1", "`model.decoder.init_args.num_layers` must be 1"),
        ("`hidden_dim` must be 1", "`hidden_dim` must be 1"),  # of either
        ("`run_dir` must be new", "`run_dir` must be new"),
        ("`data.seed` must be 1", "`data.seed` must be 1"),
        ("the disk is full", "the disk is full"),
    ],
)
def test_a_key_that_is_the_only_one(message: str, expected: str) -> None:
    assert str(explain(ValueError(message), OPTIONS)) == expected


@pytest.fixture
def arguments(tmp_path: Path) -> list[object]:
    text = write_text(tmp_path / "text.txt")
    run = ["--run_dir", tmp_path / "run", "--trainer.max_epochs", 1]
    return ["fit", "-c", write_recipe(tmp_path), "--data.train", text, *run]


def test_a_missing_package_is_one_line(
    arguments: list[object], tmp_path: Path, capsys: Out
) -> None:
    assert run_seqae(*arguments, *with_callback("test_part_errors.NeedsMore")) == 1
    assert capsys.readouterr().err == (
        "seqae: error: `trainer.callbacks` must be a class that can be made here, but NeedsMore "
        "cannot: No module named 'no_such_package'. Install what is missing, or leave it out.\n"
    )
    assert not (tmp_path / "run").exists()


def test_tensorboard_without_its_package(
    arguments: list[object], capsys: Out, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lightning.fabric.loggers import tensorboard

    monkeypatch.setattr(tensorboard, "_TENSORBOARD_AVAILABLE", False)
    monkeypatch.setattr(tensorboard, "_TENSORBOARDX_AVAILABLE", False)
    assert run_seqae(*arguments, "-c", "overlays/tensorboard") == 1
    said = capsys.readouterr().err
    assert said.startswith("seqae: error: `trainer.logger` must be a class that can be made here, ")
    assert len(said.splitlines()) == 1


def test_a_logger_without_a_folder(arguments: list[object], capsys: Out) -> None:
    assert run_seqae(*arguments, "--trainer.logger", "CSVLogger") == 2
    assert capsys.readouterr().err == (
        "seqae: error: `trainer.logger.init_args.save_dir` must be given. Write `.` for the run's "
        "folder.\n"
    )


def test_a_fault_in_training_is_one_line_and_a_file(
    arguments: list[object], tmp_path: Path, capsys: Out
) -> None:
    assert run_seqae(*arguments, *with_callback("test_part_errors.Fails")) == 1
    said = capsys.readouterr()
    path = tmp_path / "run" / "traceback.txt"
    assert f"traceback: {path}\n" in said.out
    assert said.err.startswith("seqae: error: RuntimeError: no such thing and more ")
    assert said.err.endswith(" …. `--debug` shows the traceback.\n")
    assert len(said.err) < 700
    assert "in on_train_batch_start" in path.read_text()


def test_a_fault_has_its_traceback_under_debug(arguments: list[object]) -> None:
    with pytest.raises(RuntimeError, match="no such thing"):
        run_seqae(*arguments, *with_callback("test_part_errors.Fails"), "--debug")
