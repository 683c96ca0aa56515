"""Small files of strangers: the cost is known before they are parsed."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
import yaml

from seqae.untrusted import MAX_DEPTH, load_json, load_yaml, read_capped

LAUGHS = b"a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + b"".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n".encode() for i in range(1, 12)
)
COSTLY = {
    "aliases that multiply": (LAUGHS, "values, its aliases put in"),
    "brackets": (b"[" * 100_000, "nest deeper than 64"),
    "indentation": (b"".join(b" " * i + b"a:\n" for i in range(2000)), "nest deeper than 64"),
    "a list in itself": (b"&a [*a]", "has no end or no beginning"),
    "an alias of nothing": (b"a: *b", "has no end or no beginning"),
    "an object": (b"!!python/object/apply:os.system [id]", "could not determine a constructor"),
    "no YAML": (b"a: [b\nc: d: e", "while parsing"),
    "no UTF-8": b"\xe9" and (b"\xe9", "can't decode"),
}


@pytest.mark.parametrize("what", COSTLY)
def test_costly_yaml_is_refused_at_once(what: str) -> None:
    data, expected = COSTLY[what]
    before = time.process_time()
    with pytest.raises(ValueError, match=expected) as caught:
        load_yaml(data)
    assert "\n" not in str(caught.value)
    assert time.process_time() - before < 2  # the first of them would take forever


def test_yaml_as_safe_load_has_it() -> None:
    text = "base: &base {a: 1, b: [x, 2.5, null]}\nc: {<<: *base, b: true}\n" + "d: " + "[" * 40
    text += "]" * 40 + "\n"
    assert load_yaml(text.encode()) == yaml.safe_load(text)
    assert MAX_DEPTH > 40


def test_deep_json_is_refused() -> None:
    with pytest.raises(ValueError, match="nest too deep"):
        load_json(b"[" * 200_000)


def test_files_are_capped(tmp_path: Path) -> None:
    path = tmp_path / "training.json"
    path.touch()
    os.truncate(path, 2**33)  # of which the disk holds nothing
    with pytest.raises(ValueError, match="has 8,589,934,592 bytes, and may have 4,194,304"):
        read_capped(path)
    os.mkfifo(tmp_path / "pipe")
    for special in (tmp_path / "pipe", Path("/dev/zero"), tmp_path):
        with pytest.raises(ValueError, match="no regular file"):
            read_capped(special)
