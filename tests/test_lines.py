"""However a stream is cut, by the blocks that are read of it or into parts, a line is a line."""

from __future__ import annotations

import io
from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from seqae.data.sources.formats.lines import BYTE_ORDER_MARK, newlines_only, read_chunks

# What is easily cut at the wrong place.
PIECES = [b"\r", b"\n", b"\r\n", b"a", b"bb", b"a long line", BYTE_ORDER_MARK, "\u2028".encode()]
DATA = st.lists(st.sampled_from(PIECES), max_size=20).map(b"".join)


def cut(
    data: bytes, block_bytes: int, cap: int = 100, start: int = 0, stop: int | None = None
) -> list[bytes | None]:
    """The lines of a part; None for one over the cap."""
    lines: list[bytes | None] = []
    read = io.BytesIO(data[max(0, start - 1) :]).read
    for chunk, begin, end in read_chunks(read, block_bytes, cap, start, stop):
        assert 0 <= begin < end <= len(data)
        if chunk is None:
            lines.append(None)
        else:
            assert chunk[: end - begin] == data[begin:end]
            assert chunk[end - begin :] in (b"", b"\n")
            lines += newlines_only(chunk).split(b"\n")[:-1]
    return lines


def plain(data: bytes, cap: int = 100) -> list[bytes | None]:
    lines = data.removeprefix(BYTE_ORDER_MARK).splitlines()  # of bytes, at \n, \r\n and \r
    return [None if len(line) > cap else line for line in lines]


@given(DATA, st.integers(1, 30), st.integers(1, 12))
@settings(deadline=None)
def test_blocks_of_any_size_give_the_same_lines(data, block_bytes, cap):
    assert cut(data, block_bytes, cap) == plain(data, cap)


@given(DATA, st.integers(1, 30), st.integers(1, 12), st.lists(st.integers(0, 99), max_size=4))
@example(BYTE_ORDER_MARK + b"one\ntwo", 1, 9, [2])
@example(b"one\r\ntwo", 4, 9, [4])
@settings(deadline=None)
def test_parts_cut_at_any_byte_give_each_line_once(data, block_bytes, cap, cuts):
    cuts = [0, *sorted(at for at in cuts if at < len(data)), len(data)]
    parts = [cut(data, block_bytes, cap, start, stop) for start, stop in pairwise(cuts)]
    assert sum(parts, []) == plain(data, cap)


@given(DATA, st.integers(1, 30), st.integers(1, 12))
@settings(deadline=None)
def test_reading_goes_on_behind_any_stretch(data, block_bytes, cap):
    chunks = list(read_chunks(io.BytesIO(data).read, block_bytes, cap))
    for index, chunk in enumerate(chunks):
        start = chunk.end
        read = io.BytesIO(data[start - 1 :]).read
        rest = list(read_chunks(read, block_bytes, cap, start))
        assert rest == chunks[index + 1 :]  # cut at the same places


@pytest.mark.parametrize("ends", ["\n", "\r\n", "\r"])
def test_newlines_only(ends):
    assert newlines_only(f"one{ends}{ends}two{ends}".encode()) == b"one\n\ntwo\n"
