from __future__ import annotations

import io

import fsspec
import pytest

from seqae.remote.byte_stream import RemoteStream
from seqae.remote.store import RemoteChanged, RemoteError, RemoteNotFound, first_line
from seqae.remote.url import check_url, is_url, name_of

DATA = bytes(range(256)) * 40


def test_it_reads_as_a_local_file_does(memory: fsspec.AbstractFileSystem) -> None:
    memory.pipe_file("/b/x", DATA)
    stream, local = RemoteStream("memory://b/x", "key", 1000), io.BytesIO(DATA)
    for place, size in ((0, 10), (995, 10), (3, 5000), (len(DATA) - 3, 10), (len(DATA) + 9, 1)):
        assert stream.seek(place) == local.seek(place)
        assert stream.read(size) == local.read(size)
    assert io.BufferedReader(RemoteStream("memory://b/x", "key", 999)).read() == DATA
    assert stream.seek(-4, io.SEEK_END) == len(DATA) - 4
    assert stream.read() == DATA[-4:]


def test_a_range_that_fails_is_asked_for_again(
    memory: fsspec.AbstractFileSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory.pipe_file("/b/x", DATA)
    whole, tries = memory.cat_file, []

    def failing(path: str, start: int, end: int) -> bytes:
        tries.append(start)
        if len(tries) in (2, 3):
            raise OSError("the connection was cut")
        data: bytes = whole(path, start=start, end=end)
        return data[:-1] if len(tries) == 5 else data  # and once a part is missing

    stream = RemoteStream("memory://b/x", "key", 4096)
    monkeypatch.setattr(memory, "cat_file", failing)
    assert stream.read() == DATA
    assert tries == [0, 4096, 4096, 4096, 8192, 8192]


def test_a_store_that_always_fails_is_named(
    memory: fsspec.AbstractFileSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory.pipe_file("/b/x", DATA)
    stream = RemoteStream("memory://b/x", "data.train")

    def failing(*_: object) -> bytes:
        raise OSError("the connection was cut")

    monkeypatch.setattr(memory, "cat_file", failing)
    with pytest.raises(RemoteError, match=r"`data.train` must be within reach, but memory://b/x"):
        stream.read()


def test_a_file_that_changes_between_two_ranges_is_noticed(
    memory: fsspec.AbstractFileSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory.pipe_file("/b/x", DATA)
    stream, whole = RemoteStream("memory://b/x", "key", 1000), memory.cat_file

    def failing(path: str, start: int, end: int) -> bytes:
        if start:
            memory.pipe_file("/b/x", DATA[::-1])
            raise OSError("the connection was cut")
        data: bytes = whole(path, start=start, end=end)
        return data

    monkeypatch.setattr(memory, "cat_file", failing)
    with pytest.raises(RemoteChanged, match="must not change while it is in use"):
        stream.read()
    assert stream.stamp_now() != stream.stamp


def test_what_is_not_there_is_not_asked_for_again(memory: fsspec.AbstractFileSystem) -> None:
    with pytest.raises(RemoteNotFound, match="there is no memory://b/x"):
        RemoteStream("memory://b/x", "key")


@pytest.mark.parametrize(
    ("url", "fault"),
    [
        ("s3://AKIA:wJalr@bucket/x", "without a name or a password"),
        ("https://user@example.org/x", "without a name or a password"),
        ("s3://AKIA:x/wJalr@bucket/x", "without a name or a password"),
        ("https://user:x#wJalr@example.org/x", "without a name or a password"),
        ("s3://AKIA[wJalr/x", "such as s3://my-bucket"),
        ("https://example.org/x?X-Amz-Signature=wJalr", "without a key or a signature"),
        ("https://example.org/x?access_token=wJalr", "without a key or a signature"),
        ("s3://", "such as s3://my-bucket"),
        ("s3://b/x\ny", "such as s3://my-bucket"),
    ],
)
def test_an_address_with_a_secret_is_refused_and_not_shown(url: str, fault: str) -> None:
    with pytest.raises(ValueError, match=fault) as caught:
        check_url(url, "key")
    assert "wJalr" not in str(caught.value)


def test_an_error_shows_no_signature_to_which_a_server_has_led() -> None:
    error = OSError("403, url='https://example.org/x?X-Amz-Signature=wJalr&b=1'\nmore")
    assert first_line(error) == "OSError: 403, url='https://example.org/x?...'"


def test_what_is_an_address() -> None:
    assert is_url("S3://bucket/x")
    assert check_url("S3://Bucket/x/", "key") == "s3://Bucket/x"
    assert not any(
        map(is_url, ("hf:a/b", "file:///x", "C:/x", "memory:abc", "simplecache::s3://b/x"))
    )
    arn = "s3://arn:aws:s3:us-west-2:123456789012:accesspoint/texts/x"
    for url in ("http://127.0.0.1:80/x", "https://[::1]:80/x", "s3://my.bucket/a:b/[ab]*@x", arn):
        assert check_url(url, "key") == url
    assert name_of("https://example.org/a/text.jsonl.gz?download=1") == "text.jsonl.gz"
    with pytest.raises(ValueError, match="that can be written"):
        check_url("https://example.org/x", "run_dir", is_written=True)
