"""Where a run may be written: modes, strange files, the room, and no word of temporary folders."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from crashes import Saver
from ranks import FORKS
from small import COMMAND, numbered, run_seqae, write_recipe, write_text

from seqae import files as storage
from seqae.training.checkpoints.callback import checkpoints, newest_checkpoint
from seqae.training.command import lightning_cli

ADVICE = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> list[object]:
    folder = tmp_path_factory.mktemp("recipe")
    text = write_text(folder / "numbered.txt", numbered(70))
    options = ["-c", write_recipe(folder), "--data.train", text, "--data.val_percent", 10]
    return [*options, "--trainer.max_epochs", 1, "--checkpoint.every_n_steps", 2]


@pytest.fixture(scope="module")
def finished(recipe: list[object], tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("finished") / "run"
    assert run_seqae("fit", *recipe, "--run_dir", run) == 0
    return run


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    """A copy of a run that may be spoilt."""
    shutil.copytree(finished, tmp_path / "run", symlinks=True)
    return tmp_path / "run"


def refusal(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """What the command says when it refuses, in one line and before it trains."""
    capsys.readouterr()
    assert run_seqae(*arguments) == 1
    said = capsys.readouterr()
    assert said.err.count("\n") == 1
    assert "run folder:" not in said.out
    return said.err


# C3: the system's temporary folder


@ADVICE
@pytest.mark.parametrize("is_asynchronous", [False, True])
def test_saving_asks_for_no_temporary_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_asynchronous: bool
) -> None:
    saver = Saver(tmp_path, is_asynchronous)

    def refuse(*arguments: object, **options: object) -> None:
        raise FileNotFoundError("no usable temporary folder")

    for name in ("gettempdir", "mkstemp", "mkdtemp", "TemporaryFile", "NamedTemporaryFile"):
        monkeypatch.setattr(tempfile, name, refuse)
    saver.save(1)
    assert newest_checkpoint(tmp_path) == tmp_path / "step=1.ckpt"


IN_A_SMALL_WORLD = """
set -e
mount --bind "$1" /mnt
for folder in /tmp /var/tmp; do mount -t tmpfs -o size=4k,mode=1777 tmpfs $folder; done
if [ {how} = full ]; then head -c 4096 /dev/zero > /tmp/full; fi
if [ {how} = read-only ]; then mount -o remount,ro /tmp; mount -o remount,ro /var/tmp; fi
cd /mnt
shift
exec "$@"
"""


@pytest.mark.slow
@pytest.mark.parametrize("how", ["full", "read-only"])
def test_a_training_with_no_temporary_folder(
    recipe: list[object], tmp_path: Path, how: str
) -> None:
    """In a mount namespace of its own, where /tmp and /var/tmp cannot be written."""
    unshare = shutil.which("unshare")
    if unshare is None or os.geteuid():
        pytest.skip("only root may mount")
    write_recipe(tmp_path)
    write_text(tmp_path / "text.txt", numbered(70))
    script = IN_A_SMALL_WORLD.format(how=how)
    command = ["fit", "-c", "small.yaml", "--data.train", "text.txt", "--run_dir", "run"]
    command += ["--data.cache_dir", "cache", "--checkpoint.every_n_steps", "2"]
    done = subprocess.run(
        [unshare, "-m", "sh", "-c", script, "sh", tmp_path, COMMAND, *command],
        capture_output=True,
        text=True,
        timeout=200,
        # torch's compiler makes a folder for itself when it is imported.
        env=dict(os.environ, OMP_NUM_THREADS="1", TORCHINDUCTOR_CACHE_DIR="/mnt/compiled"),
    )
    assert done.returncode == 0, done.stderr
    assert newest_checkpoint(tmp_path / "run" / "checkpoints") is not None
    assert run_seqae("check", tmp_path / "run") == 0


# C5: folders that cannot be written, what is not ours


class CapabilityHeader(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


def bound_by_modes(work: Callable[[], int]) -> int:
    """Do it in a fork that modes bind, root's too; its exit status."""
    child = os.fork()
    if child == 0:
        try:
            if os.geteuid() == 0:
                # Linux's capability.h: version 3, sets of 3 words twice; none is left.
                header = CapabilityHeader(0x20080522, 0)
                ctypes.CDLL(None).capset(ctypes.byref(header), (ctypes.c_uint32 * 6)())
            os._exit(work())
        finally:
            os._exit(99)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def said_in_a_fork(path: Path, *arguments: object) -> Callable[[], int]:
    """The command, which says into a file what it says."""

    def work() -> int:
        with path.open("w") as out:
            sys.stdout = sys.stderr = out
            return run_seqae(*arguments)

    return work


@FORKS
@pytest.mark.skipif(sys.platform != "linux", reason="root's rights are given up as Linux has it")
def test_a_folder_that_may_not_be_written(recipe: list[object], tmp_path: Path) -> None:
    parent = tmp_path / "mine"
    parent.mkdir(0o500)
    said = tmp_path / "said.txt"
    work = said_in_a_fork(said, "fit", *recipe, "--run_dir", parent / "run")
    assert bound_by_modes(work) == 1
    assert said.read_text().startswith("seqae: error: `run_dir` must be a folder that can be made")
    assert said.read_text().count("\n") == 1
    assert not list(parent.iterdir())


@FORKS
@pytest.mark.skipif(sys.platform != "linux", reason="root's rights are given up as Linux has it")
@pytest.mark.parametrize("name", ["checkpoints", "metrics.jsonl"])
def test_a_part_of_a_run_that_may_not_be_written(run: Path, tmp_path: Path, name: str) -> None:
    mode = (run / name).stat().st_mode
    (run / name).chmod(0o500)
    said = tmp_path / "said.txt"
    work = said_in_a_fork(said, "fit", "--resume", run, "--trainer.max_epochs", 2)
    try:
        assert bound_by_modes(work) == 1
    finally:
        (run / name).chmod(mode)
    assert f"{run / name} cannot. Change its mode" in said.read_text()
    assert said.read_text().count("\n") == 1


@pytest.mark.parametrize("kind", ["link", "pipe"])
@pytest.mark.parametrize("name", ["config.yaml", "metrics.jsonl", "checkpoints", "bundle"])
def test_only_its_own_files_are_written_to(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, kind: str
) -> None:
    elsewhere = tmp_path / "elsewhere"
    (run / name).rename(elsewhere)
    if kind == "link":
        (run / name).symlink_to(elsewhere)
    else:
        os.mkfifo(run / name)
    before = {
        path: path.read_bytes() for path in [elsewhere, *elsewhere.glob("*")] if path.is_file()
    }
    said = refusal(capsys, "fit", "--resume", run, "--trainer.max_epochs", 2)
    # A run with links in it may be a stranger's; `resume` where there is nothing to go on with.
    assert "`trust` must be given" in said or "`r" in said
    assert {path: path.read_bytes() for path in before} == before
    assert len(list(elsewhere.parent.glob("elsewhere*"))) == 1


def test_modes_follow_the_umask(recipe: list[object], tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        assert run_seqae("fit", *recipe, "--run_dir", tmp_path / "run") == 0
    finally:
        os.umask(before)
    files = [path for path in (tmp_path / "run").rglob("*") if not path.is_symlink()]
    assert len(files) > 12
    for path in [*files, tmp_path / "run"]:
        assert path.stat().st_mode & 0o777 == (0o750 if path.is_dir() else 0o640), path


# C6: the room


def room_for(monkeypatch: pytest.MonkeyPatch, free: int) -> None:
    class Usage:
        def __init__(self) -> None:
            self.total, self.free = 10**12, free

    monkeypatch.setattr(storage.shutil, "disk_usage", lambda folder: Usage())


def test_no_room_is_told_before_anything_is_made(
    recipe: list[object],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    room_for(monkeypatch, 2**20)
    said = refusal(capsys, "fit", *recipe, "--run_dir", tmp_path / "run")
    assert said.startswith("seqae: error: `run_dir` must have room for 3 checkpoints, 2 MiB, but ")
    assert "1 MiB are free. Make room, name another folder, or lower `checkpoint.keep`." in said
    assert not (tmp_path / "run").exists()


def test_a_run_that_goes_on_needs_no_room_for_what_it_has(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert len(checkpoints(run / "checkpoints")) == 2
    room_for(monkeypatch, 2**20)  # for one, of 0.8 MB
    again = ["fit", "--resume", run, "--trainer.max_epochs", 2]
    assert run_seqae(*again) == 0
    room_for(monkeypatch, 2**19)
    assert "must have room for 1 checkpoint, " in refusal(capsys, *again)


@pytest.mark.parametrize("objective", ["Reconstruction", "Adversarial"])
def test_a_checkpoint_is_as_large_as_was_thought(
    recipe: list[object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, objective: str
) -> None:
    """With the discriminator's weights, where there is one."""
    needed: list[int] = []
    check: Any = lightning_cli.check_free_space

    def listen(folder: Path, size: int, what: str) -> None:
        needed.append(size)
        check(folder, size, what)

    monkeypatch.setattr(lightning_cli, "check_free_space", listen)
    options = ["--model.objective", objective, "--run_dir", tmp_path / "run"]
    assert run_seqae("fit", *recipe, *options) == 0
    newest = newest_checkpoint(tmp_path / "run" / "checkpoints")
    assert newest is not None
    size = newest.stat().st_size
    assert size <= needed[0] / 3 <= 1.1 * size


def test_a_file_system_that_tells_no_size_is_let_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    class Usage:
        total = free = 0

    monkeypatch.setattr(storage.shutil, "disk_usage", lambda folder: Usage())
    storage.check_free_space(Path("/"), 10**9, "much")


def test_a_copy_that_has_followed_links_is_resumed(finished: Path, tmp_path: Path) -> None:
    """As `cp -rL`, `rsync -L` and most file servers make it."""
    run = Path(shutil.copytree(finished, tmp_path / "run"))
    assert not (run / "checkpoints" / "last.ckpt").is_symlink()
    assert run_seqae("fit", "--resume", run, "--trainer.max_epochs", 2) == 0
    assert (run / "checkpoints" / "last.ckpt").is_symlink()
    newest = newest_checkpoint(run / "checkpoints")
    before = newest_checkpoint(finished / "checkpoints")
    assert newest is not None
    assert before is not None
    assert newest.name != before.name
