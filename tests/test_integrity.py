"""Files that are whole or not there: faults at every call, a full disk, what is no file."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from faults import Faults

from seqae.files import sha256_of
from seqae.training.checkpoints.integrity import SEAL, TRAILER_BYTES, is_intact, write_hashed


def write(path: Path, content: bytes) -> None:
    def parts(file: object) -> None:
        for start in range(0, len(content), 100):
            file.write(content[start : start + 100])  # type: ignore[attr-defined]

    write_hashed(path, parts)


def test_content_and_hash(tmp_path: Path) -> None:
    path = tmp_path / "a.ckpt"
    write(path, b"abc")
    assert path.read_bytes()[:-TRAILER_BYTES] == b"abc"
    assert path.read_bytes()[3:].startswith(b"\nseqae sha256 ba7816bf8f01cfea")  # FIPS 180-2
    assert is_intact(path)
    assert os.listdir(tmp_path) == ["a.ckpt"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EDQUOT])
def test_a_fault_at_any_call_leaves_the_old_file(tmp_path: Path, number: int) -> None:
    """The new file replaces the old one at the rename; a fault behind it may not take it back."""
    path = tmp_path / "a.ckpt"
    with Faults().active() as counted:
        write(path, b"old" * 100)
    assert counted.count >= 7  # open, four writes with the hash, fsync, replace, fsync
    for at in range(counted.count):
        write(path, b"old" * 100)
        with Faults(number, at).active() as faults, pytest.raises(OSError, match="free there"):
            write(path, b"new" * 100)
        assert is_intact(path), faults.failed
        is_renamed = at == counted.count - 1
        assert path.read_bytes().startswith(b"new" if is_renamed else b"old"), faults.failed
        assert os.listdir(tmp_path) == ["a.ckpt"], faults.failed


def test_the_message_names_path_and_room(tmp_path: Path) -> None:
    with Faults(at=1).active(), pytest.raises(OSError, match=r"MiB are free there") as caught:
        write(tmp_path / "a.ckpt", b"abc")
    assert str(tmp_path / "a.ckpt") in str(caught.value)
    assert caught.value.errno == errno.ENOSPC


def test_a_real_limit_of_the_file_size(tmp_path: Path) -> None:
    """RLIMIT_FSIZE, in a process of its own, because it cannot be raised again."""
    path = tmp_path / "a.ckpt"
    write(path, b"old")
    code = (
        "import resource, signal, sys; from pathlib import Path\n"
        "from seqae.training.checkpoints.integrity import write_hashed\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "write_hashed(Path(sys.argv[1]), lambda file: file.write(bytes(5000)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 1
    assert "File too large" in done.stderr
    assert path.read_bytes().startswith(b"old")
    assert os.listdir(tmp_path) == ["a.ckpt"]


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "gone", "longer", "no hash"])
def test_damage_is_seen(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "a.ckpt"
    write(path, bytes(range(256)) * 8)
    data = path.read_bytes()
    changed = {
        "cut": data[:-1],
        "flipped": data[:7] + bytes([data[7] ^ 1]) + data[8:],
        "empty": b"",
        "longer": data + b"\n",
        "no hash": data[:-TRAILER_BYTES],
    }
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(changed[damage])
    assert not is_intact(path)


@pytest.mark.parametrize(
    "name", ["../outside", "/dev/zero", "link", "pipe", "below/part", "", ".", "gone"]
)
def test_a_list_of_shards_names_only_files_of_its_folder(tmp_path: Path, name: str) -> None:
    """Hashing a device or a pipe would never end."""
    folder = tmp_path / "step=1.ckpt"
    (folder / "below").mkdir(parents=True)
    for path in (folder / "part", tmp_path / "outside", folder / "below" / "part"):
        path.write_bytes(b"content")
    (folder / "link").symlink_to("/dev/zero")
    os.mkfifo(folder / "pipe")

    def seal(*names: str) -> None:
        digests = {each: sha256_of(tmp_path / "outside") for each in names}
        write_hashed(folder / SEAL, lambda file: file.write(json.dumps(digests).encode()))

    seal("part")
    assert is_intact(folder)
    seal("part", name)
    assert not is_intact(folder)


@pytest.mark.parametrize("content", ["[]", "[" * 100_000, "5", '{"part": 5}', ""])
def test_a_list_of_shards_that_is_none(tmp_path: Path, content: str) -> None:
    (tmp_path / "part").touch()
    write_hashed(tmp_path / SEAL, lambda file: file.write(content.encode()))
    assert not is_intact(tmp_path)


def test_a_huge_list_of_shards_is_not_hashed(tmp_path: Path) -> None:
    write_hashed(tmp_path / SEAL, lambda file: file.write(b"{}"))
    os.truncate(tmp_path / SEAL, 2**40)  # of which the disk holds a few bytes
    assert not is_intact(tmp_path)
    os.truncate(tmp_path / SEAL, 0)
    write(tmp_path / "a.ckpt", b"abc")
    os.truncate(tmp_path / "a.ckpt", 2**40)
    assert not is_intact(tmp_path / "a.ckpt")  # its end is no hash


@pytest.mark.parametrize("kind", ["folder", "pipe", "link"])
def test_only_regular_files_are_replaced(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a.ckpt"
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        (tmp_path / "elsewhere").write_text("mine")
        path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="cannot be written"):
        write(path, b"new")
    assert path.is_dir() or path.is_fifo() or path.read_text() == "mine"


def test_the_temporary_folder_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", "/nowhere")
    write(tmp_path / "a.ckpt", b"abc")
    assert is_intact(tmp_path / "a.ckpt")


def test_modes_follow_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write(tmp_path / "a.ckpt", b"abc")
    finally:
        os.umask(before)
    assert (tmp_path / "a.ckpt").stat().st_mode & 0o777 == 0o640


def test_what_a_killed_process_left_is_cleared(tmp_path: Path) -> None:
    (tmp_path / ".a.ckpt.unfinished").write_bytes(b"half")
    write(tmp_path / "a.ckpt", b"abc")
    assert os.listdir(tmp_path) == ["a.ckpt"]
