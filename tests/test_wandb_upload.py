"""`seqae push` to W&B: for real offline; a stand-in of a run where a server would be."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from small import COMMAND, CONFIGS, run_seqae, write_recipe, write_text
from test_wandb import of_kind, records_of

from seqae.bundle.sharing.wandb_upload import registry_path

wandb = pytest.importorskip("wandb")
BUNDLE = Path(__file__).parent / "fixtures" / "bundle_format_1"


def test_offline_it_is_kept_for_wandb_sync(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    kept = {key: value for key, value in os.environ.items() if not key.startswith("WANDB")}
    home = {"HOME": str(tmp_path / "home"), "XDG_CACHE_HOME": str(tmp_path / "home" / "cache")}
    command = [COMMAND, "push", "demo", "wandb:lab/sentences/gru:best", "--message", "of our paper"]
    done = subprocess.run(
        command,
        env=kept | home | {"WANDB_MODE": "offline", "OMP_NUM_THREADS": "1"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr
    assert "demo: checked and kept, since W&B is offline" in done.stdout
    folder = done.stdout.split("wandb sync ")[1].strip()
    (file,) = (tmp_path / folder).glob("run-*.wandb")
    records = records_of(file, tmp_path / "home")
    assert of_kind(records, "run")[0]["project"] == "sentences"
    (artifact,) = [one for one in of_kind(records, "artifact") if one["type"] == "model"]
    assert (artifact["name"], sorted(artifact["aliases"])) == ("gru", ["best", "latest"])
    assert artifact["description"] == "of our paper"
    metadata = json.loads(artifact["metadata"])
    assert metadata["latent_dim"] == 256
    assert {"metrics", "tokenizer_sha256", "data", "optimizer_steps"} <= metadata.keys()
    names = {entry["path"] for entry in artifact["manifest"]["contents"]}
    assert {"config.json", "model.safetensors", "MANIFEST.sha256", "README.md"} <= names


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Any]:
    """What W&B's client is asked for, as if it were online."""
    asked: list[Any] = []

    class Run:
        offline, entity, id = False, "me", "r1"

        def __enter__(self) -> Run:
            return self

        def __exit__(self, *_: object) -> None:
            asked.append("finish")

        def log_artifact(self, artifact: Any, aliases: list[str]) -> Any:
            asked.append(("log", artifact.name, aliases))
            return SimpleNamespace(name=f"{artifact.name}:v4", wait=lambda: asked.append("wait"))

        def link_artifact(self, artifact: Any, path: str, aliases: list[str]) -> None:
            asked.append(("link", artifact.name, path, aliases))

    def init(**options: Any) -> Run:
        asked.append(("init", options["entity"], options["project"]))
        return Run()

    monkeypatch.setattr(wandb, "init", init)
    monkeypatch.setenv("WANDB_MODE", "online")
    monkeypatch.chdir(tmp_path)
    return asked


def test_a_project(server: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
    assert run_seqae("push", "demo", "wandb:lab/sentences/gru", "--revision", "best") == 0
    log = ("log", "gru", ["latest", "best"])
    assert server == [("init", "lab", "sentences"), log, "wait", "finish"]
    assert "checked and pushed, wandb:me/sentences/gru:v4" in capsys.readouterr().out


def test_a_registry(server: list[Any]) -> None:
    assert run_seqae("push", "demo", "wandb:lab/wandb-registry-model/gru:best") == 0
    assert server[0] == ("init", None, "seqae")
    assert ("log", "gru", ["latest"]) in server
    assert server[3] == ("link", "gru:v4", "lab/wandb-registry-model/gru", ["best"])


@pytest.mark.parametrize(
    ("to", "options", "mode", "message"),
    [
        ("wandb:wandb-registry-model/gru", (), "offline", "cannot link a registry later"),
        ("wandb:p/gru", (), "disabled", "where WANDB_MODE is disabled"),
        ("wandb:p/gru", ("--private",), "offline", "`private` must be left out for W&B"),
        ("wandb:p/gru", ("--create_pr",), "offline", "`create_pr` must be left out for W&B"),
        ("wandb:p/gru:v3", (), "offline", "must name an alias of your own, but it is v3"),
        ("wandb:gru", (), "offline", "must be written wandb:[ENTITY/]PROJECT/NAME[:ALIAS]"),
    ],
)
def test_what_is_refused(
    server: list[Any],
    to: str,
    options: tuple[str, ...],
    mode: str,
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("WANDB_MODE", mode)
    assert run_seqae("push", "demo", to, *options) == 1
    assert message in capsys.readouterr().err
    assert not server


def test_what_is_damaged_is_not_sent(server: list[Any], tmp_path: Path) -> None:
    shutil.copytree(BUNDLE, tmp_path / "bundle")
    (tmp_path / "bundle" / "metrics.json").write_text("{}")
    assert run_seqae("push", tmp_path / "bundle", "wandb:p/gru") == 1
    assert not server


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--wandb.registry", "wandb-registry-model/gru"], "without a logger of W&B"),
        (["--wandb.latents", "9"], "`wandb.latents` must be left out without a logger of W&B"),
        (["-c", "WANDB", "--wandb.registry", "p/gru"], "must be written wandb-registry-NAME/"),
        (["-c", "WANDB", "--wandb.registry", "wandb-registry-model/gru"], "where W&B is offline"),
        (["-c", "WANDB", "--wandb.latents", "10001"], "`wandb.latents`"),
    ],
)
def test_fit_refuses_before_it_trains(
    options: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    chosen = [CONFIGS / "overlays" / "wandb.yaml" if o == "WANDB" else o for o in options]
    arguments = ["-c", write_recipe(tmp_path), *chosen, "--data.train", write_text(tmp_path / "x")]
    assert run_seqae("fit", *arguments, "--run_dir", tmp_path / "run") in (1, 2)
    assert message in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_collection_with_an_organisation() -> None:
    address = registry_path("my-lab/wandb-registry-model/gru:best", "registry")
    assert address.path == "my-lab/wandb-registry-model/gru:best"
    assert registry_path("wandb:wandb-registry-model/gru", "registry").alias == "latest"
