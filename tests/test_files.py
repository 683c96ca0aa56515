"""Results of commands: whole or as before, named where they fail, and never over their input."""

from __future__ import annotations

import errno
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from faults import Faults
from small import COMMAND, SENTENCES, own_process, run_seqae, write_text

from seqae.files import check_output, output_file, write_output


def write(path: Path, content: bytes) -> None:
    with output_file(path) as file:
        for start in range(0, len(content), 100):
            file.write(content[start : start + 100])


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EFBIG])
def test_a_fault_at_any_call_leaves_the_old_result(tmp_path: Path, number: int) -> None:
    path = tmp_path / "a.jsonl"
    with Faults(within=tmp_path).active() as counted:
        write(path, b"old" * 100)
    assert counted.count >= 5
    for at in range(counted.count):
        write(path, b"old" * 100)
        with (
            Faults(number, at, within=tmp_path).active() as faults,
            pytest.raises(OSError, match=re.escape(str(path))),
        ):
            write(path, b"new" * 100)
        is_renamed = at == counted.count - 1  # only the sync of the folder comes after it
        assert path.read_bytes() == (b"new" if is_renamed else b"old") * 100, faults.failed
        assert os.listdir(tmp_path) == ["a.jsonl"], faults.failed


def test_a_link_stays_and_modes_are_kept(tmp_path: Path) -> None:
    target, link = tmp_path / "there" / "a.json", tmp_path / "a.json"
    target.parent.mkdir()
    target.write_text("old")
    target.chmod(0o600)
    link.symlink_to(target)
    write_output(link, "new")
    assert link.is_symlink()
    assert target.read_text() == "new"
    assert target.stat().st_mode & 0o777 == 0o600


def test_pipes_and_devices_are_written_in_place(tmp_path: Path) -> None:
    pipe = tmp_path / "a.jsonl"
    os.mkfifo(pipe)
    with subprocess.Popen(["cat", pipe], stdout=subprocess.PIPE) as reader:
        write_output(pipe, "through")
        assert reader.stdout is not None
        assert reader.stdout.read() == b"through"
    assert pipe.is_fifo()
    write_output("/dev/null", "away")
    assert Path("/dev/null").is_char_device()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_full_device_is_named() -> None:
    with pytest.raises(OSError, match="/dev/full cannot be written: No space left"):
        write_output("/dev/full", "x" * 10**6)


def test_standard_output_may_be_named() -> None:
    code = "from seqae.files import write_output; write_output('/dev/stdout', 'out')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout == "out"


@pytest.mark.parametrize("way", ["name", "another name", "link", "hard link", "folder", "pattern"])
def test_an_output_that_is_read_is_refused(tmp_path: Path, way: str) -> None:
    path, other = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    path.write_text("x")
    named = {
        "name": path,
        "another name": tmp_path / "." / ".." / tmp_path.name / "a.jsonl",
        "link": other,
        "hard link": other,
        "folder": tmp_path,
        "pattern": tmp_path / "*.jsonl",
    }[way]
    if way == "link":
        other.symlink_to(path)
    elif way == "hard link":
        os.link(path, other)
    with pytest.raises(ValueError, match="`output` must not be what is read"):
        check_output(str(path), (".jsonl",), [None, "hsk", str(named)])
    check_output(str(tmp_path / "new.jsonl"), (".jsonl",), [str(named)])


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_is_refused_first(tmp_path: Path) -> None:
    (tmp_path / "a.json").touch()
    tmp_path.chmod(0o500)
    with pytest.raises(ValueError, match="cannot be"):
        check_output(str(tmp_path / "a.json"), (".json",))


# By the command


@pytest.mark.parametrize("ending", ["npy", "parquet", "jsonl"])
def test_encode_leaves_the_old_file_on_a_full_disk(
    overfit_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], ending: str
) -> None:
    path = tmp_path / f"latents.{ending}"
    encode = ("encode", overfit_run, *SENTENCES[-4:], "--output", path)
    assert run_seqae(*encode) == 0
    before = path.read_bytes()
    with Faults(at=1, within=tmp_path).active():
        assert run_seqae(*encode) == 1
    said = capsys.readouterr().err
    assert f"{path} cannot be written: No space left on device" in said
    assert "Make room." in said
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == [path.name]
    if ending == "npy":
        assert np.load(path).dtype == np.float32
        assert np.load(path).shape == (4, 64)


def test_commands_refuse_their_own_input(
    overfit_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = tmp_path / "a.jsonl"
    text.write_text('{"text": "the cat sees the mat", "latent": [0]}\n')
    report = Path(shutil.copy(text, tmp_path / "a.json"))
    before = text.read_bytes()
    commands: list[tuple[object, ...]] = [
        ("encode", overfit_run, "--input", text, "--output", text),
        ("reconstruct", overfit_run, "--input", tmp_path, "--output", text),
        ("decode", overfit_run, text, "--output", text),
        ("neighbours", overfit_run, "a", "--corpus", text, "--output", text),
        ("transfer", overfit_run, text, "hsk", "a", "--output", text),
        ("evaluate", overfit_run, report, "--output", report),
        ("evaluate", overfit_run, "--labels", report, "--output", report),
        ("compare", report, "--output", report),
        ("data", "report", "hsk", "--val", report, "--output", report),
        ("predict", overfit_run, "--data.test", text, "--output", text),
    ]
    for command in commands:
        capsys.readouterr()
        assert run_seqae(*command) == 1, command
        assert "`output` must not be what is read, but " in capsys.readouterr().err, command
    assert text.read_bytes() == report.read_bytes() == before


@pytest.mark.slow
@pytest.mark.parametrize("command", ["encode", "reconstruct"])
def test_a_limit_of_the_file_size_leaves_the_old_file(
    overfit_run: Path, tmp_path: Path, command: str
) -> None:
    """RLIMIT_FSIZE, by the shell, in a process of its own."""
    path, text = tmp_path / "a.jsonl", write_text(tmp_path / "text.txt", list(SENTENCES) * 500)
    path.write_text("old")
    line = f"ulimit -f 20; exec {COMMAND} {command} {overfit_run} --input {text} --output {path}"
    done = subprocess.run(
        ["bash", "-c", line], capture_output=True, text=True, timeout=120, env=own_process()
    )
    assert done.returncode == 1
    assert f"{path} cannot be written: File too large" in done.stderr
    assert "ulimit -f" in done.stderr
    assert path.read_text() == "old"
    assert sorted(os.listdir(tmp_path)) == ["a.jsonl", "text.txt"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_standard_output_that_is_full_is_named(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with open("/dev/full", "w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        assert run_seqae("recipes") == 1
        monkeypatch.undo()
    assert "standard output cannot be written: No space left on device" in capfd.readouterr().err
