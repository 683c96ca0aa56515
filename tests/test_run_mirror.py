"""Runs elsewhere: what is complete is sent, and gone on with exactly on another machine."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from lightning.pytorch import Callback, LightningModule, Trainer
from ranks import FORKS, run_on_ranks
from s3_server import BUCKET, S3Fault, S3Proxy, serve_s3
from small import (
    COMMAND,
    figures,
    numbered,
    own_process,
    run_seqae,
    with_callback,
    write_recipe,
    write_text,
)

from seqae.files import StorageError
from seqae.remote.run_pointer import POINTER, RunPointer, read_pointer
from seqae.training.checkpoints.callback import newest_checkpoint
from seqae.training.checkpoints.integrity import write_hashed
from seqae.training.run import run_mirror
from seqae.training.run.remote_run import LOCK, bring_home, check_new, home_of
from seqae.training.run.run_folder import is_empty
from seqae.training.run.run_mirror import RunMirror

URL = "memory://bucket/run"


class StopAt(Callback):
    """Ask this process to stop behind a step, as a scheduler does."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, *args: Any, **options: Any
    ) -> None:
        if trainer.global_step == self.step:
            os.kill(os.getpid(), signal.SIGTERM)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of this machine that stands for the run."""
    monkeypatch.setenv("SEQAE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(run_mirror, "RETRY_SECONDS", 0.01)
    folder = home_of(URL)
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "config.yaml").write_text("a: 1\n")
    return folder


def sent_pointer() -> RunPointer:
    pointer = read_pointer(URL, "key")
    assert pointer is not None
    return pointer


def save(home: Path, step: int) -> Path:
    path = home / "checkpoints" / f"step={step}.ckpt"
    write_hashed(path, lambda file: file.write(b"%d" % step * 1000))
    return path


def test_what_is_complete_is_sent_and_what_is_older_goes(memory: Any, home: Path) -> None:
    mirror = RunMirror(home, URL)
    with mirror.until_sent():
        mirror.start()
        for step in (5, 10, 15):
            mirror.send_checkpoint(save(home, step))
            (home / "metrics.jsonl").write_text("{}\n" * step)
    names = [name.removeprefix("/bucket/run/") for name in memory.find("/bucket/run")]
    assert sorted(names) == ["checkpoints/step=15.ckpt", "config.yaml", "metrics.jsonl", POINTER]
    pointer = sent_pointer()
    assert (pointer.checkpoint, pointer.records["metrics.jsonl"]) == ("step=15.ckpt", 45)
    assert not list((home / ".outbox").iterdir())
    for may_be_begun in (False, True):
        with pytest.raises(ValueError, match="must be a new or empty folder"):
            check_new(URL, may_be_begun)


def test_a_run_that_was_killed_before_its_first_checkpoint_begins_anew_elsewhere(
    memory: Any, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    RunMirror(home, URL).start()
    memory.pipe_file("/bucket/run/config.yaml", b"a: 1\n")  # not named yet by the pointer
    monkeypatch.setenv("SEQAE_CACHE", str(home.parent / "other"))
    assert is_empty(bring_home(URL, "key"))
    check_new(URL, may_be_begun=True)
    with pytest.raises(ValueError, match="must be a new or empty folder"):
        check_new(URL)


def test_a_failure_keeps_the_state_before_and_is_made_up_for(
    memory: Any, home: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    mirror = RunMirror(home, URL)
    with mirror.until_sent():
        mirror.start()
        mirror.send_checkpoint(save(home, 5))
    before, whole, left = sent_pointer(), type(memory).put_file, [20]

    def failing(self: Any, path: str, name: str, *args: Any, **options: Any) -> None:
        if left[0]:
            left[0] -= 1
            memory.pipe_file(name, b"a part of it")  # some stores show what has arrived
            raise OSError("the connection was cut")
        whole(self, path, name, *args, **options)

    monkeypatch.setattr(type(memory), "put_file", failing)
    mirror = RunMirror(home, URL)
    with mirror.until_sent():
        mirror.start()
        mirror.send_checkpoint(save(home, 10))
        while left[0] > 10:
            time.sleep(0.01)
        assert replace(sent_pointer(), writer=before.writer) == before
        while left[0]:
            time.sleep(0.01)
    assert sent_pointer().checkpoint == "step=10.ckpt"
    said = [record.message for record in caplog.records if "lacks what is newest" in record.message]
    assert len(said) == 1, "said once"


def test_what_cannot_be_sent_at_all_is_named_and_sent_by_the_next_training(
    memory: Any, home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with monkeypatch.context() as patch:
        mirror = RunMirror(home, URL)
        mirror.start()

        def failing(*_: Any) -> None:
            raise OSError("the bucket is full")

        patch.setattr(type(memory), "put_file", failing)
        missing = pytest.raises(StorageError, match=r"lacks the checkpoint step=5 \(.*full")
        with missing, mirror.until_sent():
            mirror.send_checkpoint(save(home, 5))
        mirror = RunMirror(home, URL)
        mirror.start()
        with pytest.raises(SystemExit), mirror.until_sent():
            raise SystemExit(75)
        assert "lacks the checkpoint step=5" in capsys.readouterr().out
    mirror = RunMirror(home, URL)
    with mirror.until_sent():
        mirror.start()
    assert sent_pointer().checkpoint == "step=5.ckpt"


def test_an_outage_leaves_two_checkpoints_in_the_outbox(
    memory: Any, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mirror = RunMirror(home, URL)
    mirror.start()
    tries: list[str] = []

    def failing(self: Any, path: str, name: str, *_: Any) -> None:
        tries.append(name)
        raise OSError("the connection was cut")

    with monkeypatch.context() as patch:
        patch.setattr(type(memory), "put_file", failing)
        for step in range(1, 30):
            mirror.send_checkpoint(save(home, step))
            count = len(tries)
            while len(tries) == count:
                time.sleep(0.001)
            assert len(list((home / ".outbox").glob("step=*"))) <= 2
    with mirror.until_sent():
        pass
    assert memory.find("/bucket/run/checkpoints") == ["/bucket/run/checkpoints/step=29.ckpt"]


def test_a_start_that_fails_does_not_lose_what_was_not_sent(
    memory: Any, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mirror = RunMirror(home, URL)
    with mirror.until_sent():
        mirror.start()
        mirror.send_checkpoint(save(home, 5))
    save(home, 10)  # and the connection is cut, for the end of this training and the next start
    whole = type(memory).pipe_file
    for is_taken in (False, True, False):

        def failing(self: Any, path: str, data: bytes, is_taken: bool = is_taken) -> None:
            if is_taken:
                whole(self, path, data)
            raise PermissionError("no")

        with monkeypatch.context() as patch:
            patch.setattr(type(memory), "pipe_file", failing)
            with pytest.raises(PermissionError):
                RunMirror(home, URL).start()
        newest = newest_checkpoint(bring_home(URL, "key") / "checkpoints")
        assert newest is not None
        assert newest.name == "step=10.ckpt"


def test_a_bucket_where_nothing_may_be_removed(
    memory: Any, home: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refusing(*_: Any) -> None:
        raise PermissionError("Access Denied")

    monkeypatch.setattr(type(memory), "rm_file", refusing)
    mirror = RunMirror(home, URL)
    mirror.start()
    for step in (5, 10):
        mirror.send_checkpoint(save(home, step))
        while mirror._pointer.checkpoint != f"step={step}.ckpt":
            time.sleep(0.001)
    with mirror.until_sent():
        pass
    assert len(memory.find("/bucket/run/checkpoints")) == 2
    assert [record.message for record in caplog.records if "keeps what is" in record.message]


def test_a_step_that_is_trained_again_is_sent_again(memory: Any, home: Path) -> None:
    for data in (b"one", b"another"):
        mirror, path = RunMirror(home, URL), save(home, 5)
        with mirror.until_sent():
            mirror.start()
            write_hashed(path, lambda file, data=data: file.write(data))  # type: ignore[misc]
            mirror.send_checkpoint(path)
        assert memory.cat_file("/bucket/run/checkpoints/step=5.ckpt") == path.read_bytes()


def test_a_full_disk_of_the_outbox_ends_no_training(
    memory: Any, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    mirror = RunMirror(home, URL)
    mirror.start()
    with monkeypatch.context() as patch:
        patch.setattr("os.link", full)
        patch.setattr("shutil.copyfile", full)
        mirror.send_checkpoint(save(home, 5))
    with pytest.raises(StorageError, match="lacks the checkpoint step=5"), mirror.until_sent():
        pass


def test_how_long_a_stop_waits_is_checked_at_the_start(
    memory: Any, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEQAE_UPLOAD_SECONDS", "2m")
    with pytest.raises(ValueError, match="must be a number of seconds"):
        RunMirror(home, URL).start()


def test_who_was_taken_over_sends_nothing_more(memory: Any, home: Path) -> None:
    mirror = RunMirror(home, URL)
    mirror.start()
    mirror.send_checkpoint(save(home, 5))
    while not mirror._pointer.checkpoint:
        time.sleep(0.01)
    other = home.with_name("another machine")
    (other / "checkpoints").mkdir(parents=True)
    second = RunMirror(other, URL)
    with second.until_sent():
        second.start()
    with pytest.raises(StorageError, match="another one has taken"), mirror.until_sent():
        mirror.send_checkpoint(save(home, 10))
    assert sent_pointer().checkpoint == "step=5.ckpt"


def test_who_is_taken_over_during_an_upload_does_not_take_the_run_back(
    memory: Any, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mirror = RunMirror(home, URL)
    mirror.start()
    whole, newer = type(memory).put_file, []

    def slow(self: Any, path: str, name: str, *args: Any, **options: Any) -> None:
        whole(self, path, name, *args, **options)
        if not newer:
            newer.append(RunPointer("1" * 32))
            memory.pipe_file(f"/bucket/run/{POINTER}", newer[0].to_bytes())

    monkeypatch.setattr(type(memory), "put_file", slow)
    with pytest.raises(StorageError, match="another one has taken"), mirror.until_sent():
        mirror.send_checkpoint(save(home, 5))
    assert sent_pointer() == newer[0]


def test_a_training_that_was_taken_over_keeps_its_folder_while_it_runs(
    memory: Any, home: Path
) -> None:
    mirror = RunMirror(home, URL)
    with mirror.until_sent():
        mirror.start()
        mirror.send_checkpoint(save(home, 5))
    pointer = sent_pointer()
    memory.pipe_file(f"/bucket/run/{POINTER}", replace(pointer, writer="1" * 32).to_bytes())
    newest = save(home, 10)
    with FileLock(home / LOCK), pytest.raises(ValueError, match="no training of this machine"):
        bring_home(URL, "key")
    assert newest.exists()
    bring_home(URL, "key")
    assert not newest.exists()


def test_another_machine_gets_what_is_named_and_no_more(
    memory: Any, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mirror = RunMirror(home, URL)
    with mirror.until_sent():
        mirror.start()
        mirror.send_checkpoint(save(home, 5))
    assert bring_home(URL, "key") == home, "this one has written there last"
    memory.pipe_file("/bucket/run/checkpoints/step=10.ckpt", b"cut")
    monkeypatch.setenv("SEQAE_CACHE", str(home.parent / "other"))
    other = bring_home(URL, "key")
    newest = newest_checkpoint(other / "checkpoints")
    assert newest is not None
    assert newest.read_bytes() == (home / "checkpoints" / "step=5.ckpt").read_bytes()
    assert (other / "config.yaml").read_text() == "a: 1\n"
    newest.write_bytes(newest.read_bytes()[:-1])  # a fetch that was cut
    (other / ".remote.json").unlink()
    assert newest_checkpoint(bring_home(URL, "key") / "checkpoints") == newest


@pytest.mark.parametrize(
    "change",
    [
        {"checkpoint": "../x"},
        {"bundle": "bundle-/etc"},
        {"records": {"../x": 1}},
        {"records": {".remote.json": 1}},
        {"files": {"checkpoints/step=5.ckpt/../../x": 1}},
        {"files": {"config.yaml": 1}},
        {"writer": None},
        {"records": {"x": "many"}},
    ],
)
def test_a_pointer_of_a_stranger_names_nothing_else(change: dict[str, Any]) -> None:
    good = RunPointer("0" * 32, "step=5.ckpt", {"checkpoints/step=5.ckpt": 1})
    assert RunPointer.parse(good.to_bytes(), "key", URL) == good
    with pytest.raises(ValueError, match="`key` must be the folder of a run"):
        RunPointer.parse(replace(good, **change).to_bytes(), "key", URL)


def fit_options(folder: Path, stop: int, steps: int = 8) -> list[object]:
    """A small training that is told to stop behind a step."""
    text = folder / "text.txt"
    if not text.exists():
        write_text(text, numbered(70))
        write_recipe(folder)
    return [
        *("-c", folder / "small.yaml", "--data.train", text, "--threads", 1),
        *("--trainer.max_epochs", -1, "--trainer.max_steps", steps, "--prior_sentences", 0),
        *("--trainer.val_check_interval", 3, "--checkpoint.every_n_steps", 2),
        *with_callback("test_run_mirror.StopAt", step=stop),
    ]


def test_a_run_goes_on_exactly_on_another_machine(
    memory: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = tmp_path / "whole"
    options = fit_options(tmp_path, 5)
    assert run_seqae("fit", *fit_options(tmp_path, 99), "--run_dir", whole) == 0
    monkeypatch.setenv("SEQAE_CACHE", str(tmp_path / "first"))
    assert run_seqae("fit", *options, "--run_dir", URL) == 75
    assert f"Go on with: seqae fit --resume {URL}" in capsys.readouterr().out
    assert run_seqae("fit", *options, "--run_dir", URL) == 1, "it is not new"
    assert "go on with it: `seqae fit --resume" in capsys.readouterr().err
    monkeypatch.setenv("SEQAE_CACHE", str(tmp_path / "second"))
    assert run_seqae("fit", "--resume", URL) == 0
    assert figures(home_of(URL)) == figures(whole)
    assert run_seqae("reconstruct", URL, "number 7") == 0
    monkeypatch.setenv("SEQAE_CACHE", str(tmp_path / "third"))
    assert run_seqae("fit", *options, "--run_dir", URL, "--resume", "auto") == 0
    assert "nothing left to do" in capsys.readouterr().out


@pytest.fixture(scope="module")
def s3() -> Iterator[S3Proxy]:
    with serve_s3() as proxy, pytest.MonkeyPatch.context() as patch:
        for name, value in proxy.environment.items():
            patch.setenv(name, value)
        yield proxy


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_s3_runs_that_are_killed_and_cut_lose_nothing(s3: S3Proxy, tmp_path: Path) -> None:
    whole, url = tmp_path / "whole", f"s3://{BUCKET}/killed"
    options = fit_options(tmp_path, 10**6, steps=40)
    assert run_seqae("fit", *options, "--run_dir", whole) == 0
    choose, statuses = random.Random(0), []
    for number in range(8):
        s3.faults = [
            S3Fault("PUT .*ckpt", after=choose.randrange(5000), times=choose.randrange(4)),
            S3Fault("PUT .*bundle", after=choose.randrange(5000), times=choose.randrange(3)),
            S3Fault("(PUT|GET) .*run.json", status=choose.choice([429, 503, 500]), times=1),
            S3Fault("GET .*ckpt", after=choose.randrange(5000), times=choose.randrange(3)),
        ]
        command = [COMMAND, "fit", *options, "--run_dir", url, "--resume", "auto"]
        environment = own_process(SEQAE_CACHE=str(tmp_path / f"machine{number % 3}"))
        with (tmp_path / f"out{number}").open("w") as out:
            process = subprocess.Popen(
                [str(part) for part in command],
                env=environment,
                stdout=out,
                stderr=subprocess.STDOUT,
            )
        home = tmp_path / f"machine{number % 3}" / "runs"
        if number < 7:
            s3.requests.clear()
            deadline, wanted = time.monotonic() + 120, choose.randrange(1, 6)
            # Some are killed while a checkpoint is sent, and some when one has been.
            kind = choose.choice([".ckpt", POINTER])
            while process.poll() is None and time.monotonic() < deadline:
                if sum("PUT" in asked and kind in asked for asked in s3.requests) >= wanted:
                    process.kill()
                time.sleep(0.005)
        statuses.append(process.wait(240))
        if statuses[-1] == 0:
            break
    assert statuses[-1] == 0, (tmp_path / f"out{number}").read_text()
    assert -9 in statuses
    (run,) = [path for path in home.iterdir() if path.is_dir()]
    assert figures(run) == figures(whole)


@pytest.mark.slow
@FORKS
def test_s3_a_run_of_two_ranks_goes_on_exactly(s3: S3Proxy, tmp_path: Path) -> None:
    url = f"s3://{BUCKET}/ranks"
    fit = ["fit", *fit_options(tmp_path, 10**6)]
    whole = tmp_path / "whole"
    assert run_on_ranks(tmp_path / "a", *fit, "--run_dir", whole) == [0, 0]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SEQAE_CACHE", str(tmp_path / "first"))
        stopped = ["fit", *fit_options(tmp_path, 5), "--run_dir", url]
        assert run_on_ranks(tmp_path / "b", *stopped)[0] == 75, (
            tmp_path / "b/rank0.txt"
        ).read_text()
        patch.setenv("SEQAE_CACHE", str(tmp_path / "second"))
        statuses = run_on_ranks(tmp_path / "c", *stopped, "--resume", "auto")
        assert statuses == [0, 0], (tmp_path / "c/rank0.txt").read_text()
        assert figures(home_of(url)) == figures(whole)
