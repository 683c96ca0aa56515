"""Bundles of W&B: its client has a stand-in, since no server of it can be had."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import contracts
import pytest

import seqae
from seqae.bundle.sharing.address import find_bundle

wandb = pytest.importorskip("wandb")
BUNDLE = Path(__file__).parent / "fixtures" / "bundle_format_1"


class Artifact:
    """What the client gives, of a folder's files."""

    version, digest = "v3", "0123456789abcdef"

    def __init__(self, folder: Path) -> None:
        self.folder, self.fetched = folder, []
        self.refs: dict[str, str] = {}
        entries = dict.fromkeys(path.name for path in folder.iterdir())
        self.manifest = SimpleNamespace(entries=entries)

    def get_entry(self, name: str) -> Any:
        def download(root: str) -> None:
            self.fetched.append(name)
            shutil.copy(self.folder / name, Path(root) / name)

        return SimpleNamespace(download=download, ref=self.refs.get(name))


@pytest.fixture
def artifact(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Artifact:
    shutil.copytree(BUNDLE, tmp_path / "there")
    for name in ("pytorch_model.bin", "model.pkl", "handler.py"):
        (tmp_path / "there" / name).write_bytes(b"cos\nsystem\n.")
    found = Artifact(tmp_path / "there")

    def ask(path: str) -> Artifact:
        if path != "team/project/gru:best":
            raise wandb.errors.CommError(f"artifact {path!r} not found")
        return found

    monkeypatch.setattr(wandb, "Api", lambda timeout: SimpleNamespace(artifact=ask))
    monkeypatch.setenv("SEQAE_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("WANDB_MODE", raising=False)
    return found


@pytest.mark.parametrize("ref", ["file:///etc/passwd", "http://10.0.0.1/x", "s3://bucket/x"])
def test_nothing_is_fetched_from_where_an_artifact_refers_to(artifact: Artifact, ref: str) -> None:
    artifact.refs["config.json"] = ref
    message = contracts.refusal(seqae.load, "wandb:team/project/gru:best")
    assert "must be an artifact whose files W&B keeps" in message
    assert not artifact.fetched
    artifact.refs["config.json"] = "wandb-artifact://abc/config.json"
    assert seqae.load("wandb:team/project/gru:best").origin == "wandb:team/project/gru:v3"


def test_a_bundle_is_fetched_alone_and_at_its_version(artifact: Artifact) -> None:
    model = seqae.load("wandb:team/project/gru:best")
    assert model.origin == "wandb:team/project/gru:v3"
    assert set(artifact.fetched) == {path.name for path in BUNDLE.iterdir()}
    assert model.reconstruct("the cat sees the mat") == "the cat sees the mat"


def test_what_was_changed_is_refused(artifact: Artifact) -> None:
    (artifact.folder / "metrics.json").write_text("{}")
    message = contracts.refusal(seqae.load, "wandb:team/project/gru:best")
    assert "is not what MANIFEST.sha256 says" in message
    assert not list((artifact.folder.parent / "cache" / "wandb").iterdir())


def test_no_bundle(artifact: Artifact) -> None:
    artifact.manifest.entries.pop("MANIFEST.sha256")
    message = contracts.refusal(seqae.load, "wandb:team/project/gru:best")
    assert "has no MANIFEST.sha256 instead" in message


def test_what_is_not_there(artifact: Artifact) -> None:
    with pytest.raises(OSError, match=r"cannot be fetched instead .*not found.* `wandb login`"):
        find_bundle("wandb:team/project/gru:worst")


def test_offline(artifact: Artifact, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    with pytest.raises(FileNotFoundError, match="must be a folder where W&B is not asked"):
        find_bundle("wandb:team/project/gru:best")
