"""Weights & Biases, offline for real: what the run's own file holds."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from small import COMMAND, CONFIGS, SENTENCES, figures, with_callback, write_recipe, write_text

from seqae import load
from seqae.training.distributed.exit_status import REQUEUE
from seqae.training.logs.loggers import RUN_ID

pytest.importorskip("wandb")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that logged to W&B offline, in a process and a home of its own."""
    folder = tmp_path_factory.mktemp("wandb")
    (folder / "home").mkdir()
    text = write_text(folder / "text.txt")
    arguments = ["-c", write_recipe(folder), "-c", CONFIGS / "overlays" / "wandb.yaml"]
    arguments += ["--data.train", text, "--data.val", text, "--run_dir", folder / "run"]
    arguments += ["--samples", 4, "--wandb.latents", 5]
    (folder / "stderr.txt").write_text(fit(folder, *arguments))
    return folder / "run"


def fit(folder: Path, *arguments: object, status: int = 0) -> str:
    """What the command says on standard error, offline."""
    # Nothing of the person's own: no settings, no key, no folder outside of this one.
    kept = {key: value for key, value in os.environ.items() if not key.startswith("WANDB")}
    home = {"HOME": str(folder / "home"), "XDG_CACHE_HOME": str(folder / "home" / "cache")}
    paths = [str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]
    home["PYTHONPATH"] = os.pathsep.join(filter(None, paths))  # of callbacks of these tests
    done = subprocess.run(
        [str(part) for part in (COMMAND, "fit", *arguments)],
        env=kept | home | {"WANDB_MODE": "offline", "OMP_NUM_THREADS": "1"},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == status, done.stderr
    return done.stderr


@pytest.fixture(scope="module")
def records(run: Path) -> list[dict[str, Any]]:
    """The records of the run's file, read back by W&B's own tool."""
    (file,) = run.glob("wandb/offline-run-*/run-*.wandb")
    return records_of(file, run.parent / "home")


def records_of(file: Path, home: Path) -> list[dict[str, Any]]:
    tool = Path(sys.executable).with_name("wandb")
    environment = dict(os.environ, HOME=str(home))
    done = subprocess.run(
        [tool, "leet", "inspect", "--json", file],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=100,
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


def of_kind(records: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [record[kind] for record in records if record["type"] == kind]


def history(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [record["item"] for record in of_kind(records, "history")]


def test_figures(records: list[dict[str, Any]], run: Path) -> None:
    """Those of metrics.jsonl, in the same order: losses, metrics."""
    expected = figures(run)
    for name in ("train/loss", "train/teacher_forced_accuracy", "val/loss", "val/exact_match"):
        logged = [row[name] for row in history(records) if name in row]
        assert logged == pytest.approx([row[name] for row in expected if name in row]), name
        assert logged


def test_throughput(records: list[dict[str, Any]]) -> None:
    speeds = [
        row["train/tokens_per_second"]
        for row in history(records)
        if "train/tokens_per_second" in row
    ]
    assert speeds
    assert min(speeds) > 0


def test_config(records: list[dict[str, Any]], run: Path) -> None:
    import yaml

    merged: dict[str, Any] = {}
    for record in of_kind(records, "config"):
        merged |= record["update"]
    resolved = yaml.safe_load((run / "config.yaml").read_text())
    assert merged["model"] == resolved["model"]
    assert merged["data"] == resolved["data"]


def test_project(records: list[dict[str, Any]]) -> None:
    assert of_kind(records, "run")[0]["project"] == "seqae"


def test_reconstruction_table(records: list[dict[str, Any]], run: Path) -> None:
    files = sorted(run.glob("wandb/offline-run-*/files/media/table/reconstructions*.table.json"))
    assert len(files) == 3  # one for each validation
    table = json.loads(files[-1].read_text())
    assert table["columns"] == ["step", "text", "reconstruction"]
    assert len(table["data"]) == 4
    assert {row[1] for row in table["data"]} <= set(SENTENCES)


@pytest.mark.parametrize(
    ("name", "columns", "rows"),
    [
        ("samples", ["step", "text"], 4),
        ("interpolations", ["step", "start", "end", "position", "text"], 3 * 5),
        ("neighbours", ["step", "text", "neighbour", "similarity"], 4 * 3),
    ],
)
def test_latent_space_tables(
    records: list[dict[str, Any]], run: Path, name: str, columns: list[str], rows: int
) -> None:
    files = sorted(run.glob(f"wandb/offline-run-*/files/media/table/{name}*.table.json"))
    assert len(files) == 3  # one for each validation
    table = json.loads(files[-1].read_text())
    assert table["columns"] == columns
    assert len(table["data"]) == rows


def test_bundle_artifact(records: list[dict[str, Any]], run: Path) -> None:
    from seqae.bundle.manifest import CARD, FILES, MANIFEST
    from seqae.bundle.stored_priors import prior_file

    (artifact,) = [a for a in of_kind(records, "artifact") if a["type"] == "model"]
    training = json.loads((run / "bundle" / "training.json").read_text())
    steps = training["optimizer_steps"]
    assert sorted(artifact["aliases"]) == ["best", "latest", f"step-{steps}"]
    metadata = json.loads(artifact["metadata"])
    assert metadata["metrics"] == json.loads((run / "bundle" / "metrics.json").read_text())
    assert metadata["splits"] == training["corpus"]["splits"]
    assert metadata["latent_dim"] == load(run).autoencoder.latent_dim
    contents = artifact["manifest"]["contents"]
    priors = map(prior_file, ("gaussian", "mixture"))
    assert {entry["path"] for entry in contents} == {*FILES, CARD, *priors, MANIFEST}
    assert {entry["path"]: int(entry["size"]) for entry in contents} == {
        path.name: path.stat().st_size for path in (run / "bundle").iterdir()
    }


def test_latents_are_columns_of_numbers(records: list[dict[str, Any]], run: Path) -> None:
    """Those of the bundle, once, after the training: what W&B's projector draws."""
    (file,) = run.glob("wandb/offline-run-*/files/media/table/latents*.table.json")
    table = json.loads(file.read_text())
    model = load(run)
    texts, latents = [row[0] for row in table["data"]], [row[1:] for row in table["data"]]
    assert table["columns"] == ["text", *(f"latent_{i}" for i in range(model.latent_dim))]
    assert len(set(texts)) == 5
    assert latents == model.encode(texts).tolist()


def test_everything_lies_in_the_run(run: Path) -> None:
    assert {path.name for path in run.parent.iterdir()} == {
        *("home", "run", "small.yaml", "text.txt", "stderr.txt")
    }


def test_no_warning_that_can_be_helped(run: Path) -> None:
    said = (run.parent / "stderr.txt").read_text()
    # Lightning 2.6.6 hands W&B a setting that W&B no longer knows; and it starts W&B before any
    # callback could make the run's folder, in which W&B looks for a git repository.
    said = said.replace("WARNING The anonymous setting has no effect", "")
    said = said.replace(f"WARNING git root {run} does not exist", "")
    assert "WARNING" not in said
    assert "Warning" not in said


WITHOUT = """
import sys
from seqae.cli import main
assert main(sys.argv[1:]) == 0
assert "wandb" not in sys.modules
assert "datasets" not in sys.modules
"""


def test_not_imported_without_the_overlay(tmp_path: Path) -> None:
    text = write_text(tmp_path / "text.txt")
    arguments = ["fit", "-c", write_recipe(tmp_path), "--data.train", text, "--data.val", text]
    arguments += ["--trainer.max_epochs", 1, "--run_dir", tmp_path / "run"]
    command = [str(part) for part in (sys.executable, "-c", WITHOUT, *arguments)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "run" / "wandb").exists()
    assert not (tmp_path / "wandb").exists()


def test_a_resume_goes_on_with_the_same_wandb_run(run: Path, tmp_path: Path) -> None:
    """Offline each part has a file of its own, which `wandb sync` puts together by the id."""
    again = tmp_path / "run"
    shutil.copytree(run, again, symlinks=True)
    before = {*again.glob("wandb/offline-run-*/run-*.wandb")}
    fit(run.parent, "--resume", again, "--trainer.max_epochs", 4)
    (file,) = {*again.glob("wandb/offline-run-*/run-*.wandb")} - before
    added = records_of(file, run.parent / "home")
    (told,) = of_kind(added, "run")
    assert told["run_id"] == (again / RUN_ID).read_text().strip()
    assert {path.name for path in before} == {file.name}  # by the id
    last = figures(run)[-1]["step"]
    rows = history(added)
    steps = [row["trainer/global_step"] for row in rows if "train/loss" in row]
    assert steps == list(range(last, last + len(steps)))  # Lightning counts them from 0 there


@pytest.mark.slow
def test_a_requeue_goes_on_with_the_same_wandb_run(tmp_path: Path) -> None:
    """Told to stop twice: three parts of one W&B run, with each step once."""
    (tmp_path / "home").mkdir()
    text = write_text(tmp_path / "text.txt")
    options = ["-c", write_recipe(tmp_path), "-c", CONFIGS / "overlays" / "wandb.yaml"]
    options += ["--data.train", text, "--run_dir", tmp_path / "run", "--resume", "auto"]
    for batch, number in ((3, signal.SIGUSR1), (7, signal.SIGTERM)):
        sender = {"moment": f"batch {batch}", "numbers": [int(number)]}
        callback = with_callback("test_preemption.Sender", **sender)
        fit(tmp_path, *options, *callback, status=REQUEUE)
    fit(tmp_path, *options)
    files = sorted((tmp_path / "run").glob("wandb/offline-run-*/run-*.wandb"))
    parts = [records_of(file, tmp_path / "home") for file in files]
    ids = [told["run_id"] for part in parts for told in of_kind(part, "run")]
    assert ids == [(tmp_path / "run" / RUN_ID).read_text().strip()] * 3
    rows = [row for part in parts for row in history(part) if "train/loss" in row]
    assert [row["trainer/global_step"] for row in rows] == list(range(len(rows)))
    expected = [row["train/loss"] for row in figures(tmp_path / "run") if "train/loss" in row]
    assert [row["train/loss"] for row in rows] == pytest.approx(expected)
