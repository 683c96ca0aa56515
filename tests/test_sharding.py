"""Weights shared out over processes: the same training, whole checkpoints, plain bundles."""

from __future__ import annotations

import os
import pickle
import shutil
import subprocess
from pathlib import Path

import pytest
import torch
from small import COMMAND, CONFIGS, figures, numbered, run_seqae, write_recipe, write_text

from seqae import load
from seqae.training.checkpointing import is_sealed, newest_checkpoint
from seqae.training.shards import METADATA, check_shards

TOLERANCE = 1e-4  # relative; gradients are added up in another order


def fit(folder: Path, *arguments: object, status: int = 0) -> str:
    """Train in processes of its own: what it says."""
    command = [str(part) for part in (COMMAND, "fit", *arguments)]
    paths = [str(CONFIGS.parent), os.environ.get("PYTHONPATH", "")]
    done = subprocess.run(
        command,
        env=dict(os.environ, OMP_NUM_THREADS="1", PYTHONPATH=os.pathsep.join(paths)),
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout + done.stderr


def options(folder: Path, overlay: str) -> list[object]:
    text = write_text(folder / "text.txt", numbered(97))
    found = ["-c", write_recipe(folder), "-c", CONFIGS / "overlays" / f"{overlay}.yaml"]
    found += ["--trainer.accelerator", "cpu", "--trainer.devices", 2, "--data.train", text]
    found += ["--data.val_percent", 20, "--data.test_percent", 0, "--checkpoint.every_n_steps", 3]
    found += ["--model.autoencoder.embedding_dropout", 0.1, "--checkpoint.keep", 9]
    return [*found, "--model.objective.word_dropout", 0.2]


@pytest.fixture(scope="module")
def sharded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sharded")
    fit(folder, *options(folder, "fsdp"), "--run_dir", folder / "run")
    return folder / "run"


def test_trains_as_two_processes_that_hold_everything(sharded: Path, tmp_path: Path) -> None:
    fit(tmp_path, *options(tmp_path, "ddp"), "--run_dir", tmp_path / "run")
    ours, theirs = figures(sharded), figures(tmp_path / "run")
    assert len(ours) == len(theirs) > 10
    for one, other in zip(ours, theirs, strict=True):
        assert one.keys() == other.keys()
        for name in ("train/loss", "val/loss"):
            if name in one:
                assert one[name] == pytest.approx(other[name], rel=TOLERANCE)


def test_the_bundle_is_like_any_other(sharded: Path) -> None:
    model = load(sharded)
    assert model.encode(["number 1 and more"]).shape == (1, 64)
    assert run_seqae("check", sharded) == 0


def copy_at(run: Path, folder: Path, step: int) -> Path:
    """The run as it was when it had saved that step."""
    again = folder / "run"
    shutil.copytree(run, again, symlinks=True)
    for path in (again / "checkpoints").glob("step=*.ckpt"):
        if int(path.stem.partition("=")[2]) > step:
            shutil.rmtree(path)
    (again / "checkpoints" / "last.ckpt").unlink()
    (again / "checkpoints" / "last.ckpt").symlink_to(f"step={step}.ckpt")
    return again


def test_a_resume_is_bit_equal(sharded: Path, tmp_path: Path) -> None:
    again = copy_at(sharded, tmp_path, 6)
    fit(tmp_path, "--resume", again)
    assert figures(again) == figures(sharded)
    ours, theirs = load(again).autoencoder.state_dict(), load(sharded).autoencoder.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_a_resume_on_another_number_of_processes(sharded: Path, tmp_path: Path) -> None:
    again = copy_at(sharded, tmp_path, 6)
    fit(tmp_path, "--resume", again, "--trainer.devices", 1)
    before = [row for row in figures(sharded) if "train/loss" in row]
    after = [row for row in figures(again) if "train/loss" in row]
    assert after[:6] == before[:6]
    assert len(after) > len(before)  # half of the sentences a step


def test_a_damaged_shard_is_seen_before_it_is_read(sharded: Path, tmp_path: Path) -> None:
    again = copy_at(sharded, tmp_path, 6)
    newest = again / "checkpoints" / "step=6.ckpt"
    shard = next(newest.glob("*.distcp"))
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 1
    shard.write_bytes(data)
    assert not is_sealed(newest)
    assert newest_checkpoint(again / "checkpoints") == again / "checkpoints" / "step=3.ckpt"
    shutil.rmtree(again / "checkpoints" / "step=3.ckpt")
    (again / "checkpoints" / "step=3.ckpt").mkdir()  # without its seal
    assert newest_checkpoint(again / "checkpoints") is None


def test_sharded_weights_need_their_strategy(sharded: Path, tmp_path: Path) -> None:
    again = copy_at(sharded, tmp_path, 6)
    plain = ["--trainer.strategy", "auto", "--trainer.devices", 1]
    said = fit(tmp_path, "--resume", again, *plain, status=1)
    assert "`trainer.strategy` must be ShardedStrategy" in said


class Evil:
    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, ("evil",)


def test_nothing_in_a_strangers_shards_is_run(
    sharded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    again = copy_at(sharded, tmp_path, 6)
    folder = again / "checkpoints" / "step=6.ckpt"
    check_shards(folder)
    good = (folder / METADATA).read_bytes()
    metadata = pickle.loads(good)
    for bad in (pickle.dumps(Evil()), b"", b"no pickle", good[:-20], pickle.dumps({})):
        (folder / METADATA).write_bytes(bad)
        with pytest.raises(ValueError, match="`ckpt_path` must hold weights and plain data only"):
            check_shards(folder)
    index = next(i for i in metadata.storage_data if "param_groups" in i.fqn)
    place = metadata.storage_data[index]
    evil = tmp_path / "evil.pt"
    torch.save(Evil(), evil)
    shard = folder / place.relative_path
    place.offset, place.length = shard.stat().st_size, evil.stat().st_size
    shard.write_bytes(shard.read_bytes() + evil.read_bytes())
    (folder / METADATA).write_bytes(pickle.dumps(metadata))
    with pytest.raises(ValueError, match="`ckpt_path` must hold weights and plain data only"):
        check_shards(folder)
    place.relative_path = "../../config.yaml"
    (folder / METADATA).write_bytes(pickle.dumps(metadata))
    with pytest.raises(ValueError, match="is no file of it"):
        check_shards(folder)
    assert not (tmp_path / "evil").exists()


@pytest.mark.slow
def test_one_file_for_all_weights(tmp_path: Path) -> None:
    key = "--trainer.strategy.save_distributed_checkpoint"
    arguments = [*options(tmp_path, "fsdp"), key, "false", "--run_dir", tmp_path / "run"]
    fit(tmp_path, *arguments, "--trainer.max_epochs", 1)
    newest = newest_checkpoint(tmp_path / "run" / "checkpoints")
    assert newest is not None
    assert newest.is_file()
    fit(tmp_path, "--resume", tmp_path / "run", "--trainer.max_epochs", 2)
