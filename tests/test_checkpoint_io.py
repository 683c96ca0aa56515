"""A checkpoint is data: nothing in it is imported, run or obeyed, and damage is told in a line."""

from __future__ import annotations

import io
import os
import pickle
import random
import shutil
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from small import run_seqae

from seqae.training.checkpoints.callback import LAST, newest_checkpoint
from seqae.training.checkpoints.checkpoint_io import SafeCheckpointIO
from seqae.training.checkpoints.integrity import TRAILER_BYTES, is_sealed, write_hashed
from seqae.training.checkpoints.sharded import PlainReader, read_trainer_state

Content = dict[str, Any]


@pytest.fixture
def run(overfit_run: Path, tmp_path: Path) -> Path:
    """A finished run of its own."""
    return Path(shutil.copytree(overfit_run, tmp_path / "run", symlinks=True))


def rewrite(run: Path, change: Callable[[Content], object]) -> Path:
    """Change what the newest checkpoint holds, with the right hash, as a stranger would."""
    path = newest_checkpoint(run / "checkpoints")
    assert path is not None
    content = torch.load(path, weights_only=True)
    change(content)
    write_hashed(path, lambda file: torch.save(content, file))  # type: ignore[arg-type]
    return path


# What a stranger may put into a checkpoint


@pytest.mark.parametrize("place", ["objective", "_class_path", "_instantiator"])
def test_no_class_of_a_checkpoint_is_imported(run: Path, mark: Path, place: str) -> None:
    named: object = "marking.X" if place.startswith("_") else {"class_path": "marking.X"}
    path = rewrite(run, lambda content: content.update(hyper_parameters={place: named}))
    assert run_seqae("test", run) == 0
    options = ["-c", run / "config.yaml", "--run_dir", run.with_name("new")]
    if place == "objective":
        assert run_seqae("fit", *options, "--ckpt_path", path) == 0
    assert not mark.exists()
    assert "marking" not in sys.modules


def test_no_setting_of_a_checkpoint_is_heeded(run: Path) -> None:
    path = rewrite(run, lambda content: content.update(hyper_parameters={"learning_rate": 9.0}))
    new = run.with_name("new")
    options = ["-c", run / "config.yaml", "--ckpt_path", path, "--run_dir", new]
    assert run_seqae("fit", *options) == 0
    before, after = (yaml.safe_load((folder / "config.yaml").read_text()) for folder in (run, new))
    assert after == before
    assert after["model"]["learning_rate"] == 1e-2


def test_nothing_but_a_checkpoint_is_removed(tmp_path: Path) -> None:
    """ModelCheckpoint takes the names of what it removes from the checkpoint that is resumed."""
    diary, folder, saved = tmp_path / "diary.txt", tmp_path / "folder", tmp_path / "a.ckpt"
    diary.write_text("dear diary")
    folder.mkdir()
    write_hashed(saved, lambda file: file.write(b"content"))
    for path in (diary, folder, saved, tmp_path / "none"):
        SafeCheckpointIO().remove_checkpoint(path)
    assert sorted(os.listdir(tmp_path)) == ["diary.txt", "folder"]


class Code:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch pwned",)


def packed(path: Path) -> None:
    """A thousand million zeros as a megabyte: as `torch.save` writes it, but compressed."""
    saved = io.BytesIO()
    torch.save({"a": torch.zeros(2**18)}, saved)
    with zipfile.ZipFile(saved) as old, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new:
        for part in old.infolist():
            new.writestr(part.filename, old.read(part))


HOSTILE: dict[str, Callable[[Path], object]] = {
    "code": lambda path: torch.save({"a": Code()}, path),
    "code in the old format": lambda path: path.write_bytes(pickle.dumps({"a": Code()})),
    "the old format": lambda path: torch.save({"a": 1}, path, _use_new_zipfile_serialization=False),
    "packed": packed,
    "a list": lambda path: torch.save([1, 2], path),
    "text": lambda path: path.write_text("a"),
    "nothing": lambda path: path.write_bytes(b""),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_what_is_no_plain_data_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    monkeypatch.chdir(tmp_path)
    HOSTILE[what](tmp_path / "raw")
    path, content = tmp_path / "a.ckpt", (tmp_path / "raw").read_bytes()
    write_hashed(path, lambda file: file.write(content))
    with pytest.raises(ValueError, match="must be a checkpoint of this package") as caught:
        SafeCheckpointIO().load_checkpoint(path)
    assert "weights_only" not in str(caught.value)
    assert not (tmp_path / "pwned").exists()


# Damage


def mutated(content: bytes, chance: random.Random) -> bytes:
    """Cut, flip or overwrite a few bytes, most of them where the names and numbers are."""
    names = content.index(b"data.pkl")
    at = chance.randrange(names, names + 3000) if chance.random() < 0.8 else chance.randrange(10**9)
    at %= len(content)
    kind = chance.choice(("cut", "bit", "byte", "zeros", "copy"))
    if kind == "cut":
        return content[:at]
    changed = bytearray(content)
    if kind == "bit":
        changed[at] ^= 1 << chance.randrange(8)
    elif kind == "byte":
        changed[at] = chance.randrange(256)
    elif kind == "zeros":
        changed[at : at + 16] = bytes(16)
    else:
        start = chance.randrange(len(content) - 16)
        changed[at : at + 16] = content[start : start + 16]
    return bytes(changed)


def damage(run: Path, seed: int) -> Path:
    """Change the newest checkpoint, with the right hash."""
    path = newest_checkpoint(run / "checkpoints")
    assert path is not None
    content = mutated(path.read_bytes()[:-TRAILER_BYTES], random.Random(seed))
    write_hashed(path, lambda file: file.write(content))
    return path


def test_damage_is_told_in_a_line(overfit_run: Path, tmp_path: Path) -> None:
    newest = newest_checkpoint(overfit_run / "checkpoints")
    assert newest is not None
    content, path = newest.read_bytes()[:-TRAILER_BYTES], tmp_path / "a.ckpt"
    said = []
    for seed in range(50):
        changed = mutated(content, random.Random(seed))
        write_hashed(path, lambda file, changed=changed: file.write(changed))  # type: ignore[misc]
        try:
            SafeCheckpointIO().load_checkpoint(path)
        except ValueError as error:
            said.append(str(error))
    assert len(said) >= 25
    assert all("must be a checkpoint of this package" in line for line in said)
    assert not any("weights_only" in line for line in said)


MISSING: dict[str, Callable[[Content], object]] = {
    "no weights": lambda content: content.pop("state_dict"),
    "weights that are none": lambda content: content.update(state_dict=[1]),
    "no decay": lambda content: content.pop("learning_rate_decay"),
    "no loops": lambda content: content["loops"].clear(),
    "a random state that is none": lambda content: content["callbacks"]["RandomState"]["ranks"][
        0
    ].update(torch=torch.zeros(3)),
    "no moments": lambda content: content.update(optimizer_states=[{}]),
    "a schedule that is none": lambda content: content["lr_schedulers"].__setitem__(0, 5),
}


@pytest.mark.parametrize("what", MISSING)
def test_what_is_missing_is_told_in_a_line(
    run: Path, capsys: pytest.CaptureFixture[str], what: str
) -> None:
    rewrite(run, MISSING[what])
    capsys.readouterr()
    assert run_seqae("fit", "--resume", run) == 1
    said = capsys.readouterr().err.strip()
    assert said.startswith("seqae: error: `ckpt_path` must be a checkpoint of the model"), said
    assert "\n" not in said


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_run_with_a_damaged_checkpoint_says_so_in_a_line(
    overfit_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for seed in range(300):
        run = Path(shutil.copytree(overfit_run, tmp_path / "run", symlinks=True))
        damage(run, seed)
        capsys.readouterr()
        status = run_seqae("test", run, "--ckpt_path", run / "checkpoints" / LAST)
        said = capsys.readouterr().err.strip()
        if status:
            assert said.startswith("seqae: error: "), (seed, said)
            assert "weights_only" not in said, seed
        shutil.rmtree(run)


def test_a_part_that_never_ends_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / ".metadata")
    with pytest.raises(ValueError, match="must be a file, but it is none"):
        PlainReader(tmp_path).read_metadata()
    (tmp_path / "meta.pt").symlink_to("/dev/zero")
    with pytest.raises(ValueError, match="must be a file, but it is none"):
        read_trainer_state(tmp_path)


def test_what_is_no_file_is_no_checkpoint(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path(os.devnull), Path("/dev/zero"), tmp_path):
        assert not is_sealed(path)
