"""Spoil one file of a bundle as an attacker would: by its structure, its bytes or its numbers."""

from __future__ import annotations

import json
import math
import random
import struct
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from bundle_fuzz import FITS_WEIGHTS, KEEPS_CONFIG, KEEPS_MANIFEST, NAMES, Input

from seqae.bundle.manifest import CARD, MANIFEST
from seqae.component import Component, concrete_subclasses

# Values that break what expects another kind, a smaller size or plain text.
VALUES: tuple[Callable[[], Any], ...] = (
    *(lambda: None, lambda: True, lambda: False, lambda: 0, lambda: 1, lambda: -1, lambda: 2),
    *(
        lambda: 2**13,
        lambda: 2**16,
        lambda: 2**31,
        lambda: 2**63,
        lambda: 10**400,
        lambda: -(2**63),
    ),
    *(lambda: 0.5, lambda: -0.0, lambda: 1e308, lambda: math.nan, lambda: math.inf, lambda: 1e-320),
    *(lambda: "", lambda: "\ud800", lambda: "\0", lambda: "a\nb\x1b[2J", lambda: "\u202e<b>|`"),
    *(lambda: "../../x", lambda: "/etc/passwd", lambda: "os.system", lambda: "C:\\x"),
    *(lambda: "x" * 5000, lambda: "a " * 3000, lambda: "𝔞" * 700, lambda: "Ġ" * 600),
    *(lambda: [], lambda: {}, lambda: [[]], lambda: [None] * 70, lambda: {"": None}),
    *(lambda: _nested(60), lambda: _nested(950), lambda: {"class_path": "os.system"}),
)
NUMBERS = (b"\0\0\xc0\x7f", b"\0\0\x80\x7f", b"\xff\xff\x7f\x7f", b"\xff\xff\xff\xff", b"\0" * 8)
NUMBERS += (b"\xff" * 8, struct.pack("<q", 2**40), struct.pack("<q", -5), struct.pack("<d", 1e300))
LENGTHS = (0, 1, 2**24 + 1, 2**31, 2**63, 2**64 - 1)
# How often each file is chosen; the rest of NAMES, once in a while.
WEIGHTS = {"config.json": 8, "tokenizer.json": 8, "model.safetensors": 6, "selftest.json": 4}
WEIGHTS |= {"training.json": 2, "metrics.json": 2, MANIFEST: 2, CARD: 1}


def _nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


def mutate(
    data: bytes,
    bases: Sequence[Path],
    chance: random.Random,
    max_size: int,
    mutate_bytes: Callable[[bytes, int], bytes] | None = None,
) -> bytes:
    """Spoil an input in one place, or in a few.

    Args:
        data: an input, packed.
        bases: the good bundles.
        chance: draws.
        max_size: most bytes of the result.
        mutate_bytes: the fuzzer's own mutation of bytes, given the most that it may return.
    """
    given = Input.unpack(data)
    if chance.random() < 0.05:
        given.base = chance.randrange(len(bases))
    if chance.random() < 0.1:
        given.flags ^= chance.choice([KEEPS_MANIFEST, KEEPS_CONFIG, FITS_WEIGHTS, FITS_WEIGHTS])
    for _ in range(chance.choice([1, 1, 1, 2, 3])):
        base = bases[given.base % len(bases)]
        name = _choose(given, base, chance)
        path = base / name
        content = given.files.get(name) or (path.read_bytes() if path.exists() else b"")
        given.files[name] = _mutate_file(name, content, bases, chance, mutate_bytes)
    while len(packed := given.pack()) > max_size and given.files:
        del given.files[max(given.files, key=lambda name: len(given.files[name]))]
    return packed


def _choose(given: Input, base: Path, chance: random.Random) -> str:
    if given.files and chance.random() < 0.7:  # go on with what made the input interesting
        return chance.choice(sorted(given.files))
    if chance.random() < 0.03:
        return chance.choice(NAMES)
    names = [name for name in NAMES if (base / name).exists()]
    weights = [WEIGHTS.get(name, 3 if name.startswith("prior") else 1) for name in names]
    return chance.choices(names, weights)[0]


def _mutate_file(
    name: str,
    content: bytes,
    bases: Sequence[Path],
    chance: random.Random,
    mutate_bytes: Callable[[bytes, int], bytes] | None,
) -> bytes:
    if chance.random() < 0.04:  # the file of another bundle
        others = [base / name for base in bases if (base / name).exists()]
        return chance.choice(others).read_bytes() if others else content
    if chance.random() < 0.15:
        if mutate_bytes is not None and chance.random() < 0.5:
            return bytes(mutate_bytes(content, max(16, 2 * len(content))))
        return _mutate_bytes(content, chance)
    if name.endswith(".json"):
        return _mutate_json(content, chance)
    if name.endswith(".safetensors"):
        return _mutate_tensors(content, chance)
    return _mutate_lines(content, chance)


def _mutate_bytes(data: bytes, chance: random.Random) -> bytes:
    spoilt = bytearray(data)
    for _ in range(chance.choice([1, 1, 2, 4])):
        at = chance.randrange(len(spoilt) + 1)
        kind = chance.randrange(5)
        if kind == 0 and at < len(spoilt):
            spoilt[at] ^= 1 << chance.randrange(8)
        elif kind == 1:
            del spoilt[at : at + chance.choice([1, 2, 10, 100])]
        elif kind == 2:
            spoilt[at:at] = spoilt[at : at + chance.choice([1, 10, 100])]
        elif kind == 3:
            del spoilt[at:]
        else:
            spoilt[at : at + 4] = chance.choice(NUMBERS)
    return bytes(spoilt)


def _mutate_lines(data: bytes, chance: random.Random) -> bytes:
    lines = data.split(b"\n")
    at, other = chance.randrange(len(lines)), chance.randrange(len(lines))
    kind = chance.randrange(6)
    if kind == 0:
        lines[at], lines[other] = lines[other], lines[at]
    elif kind == 1:
        lines.insert(at, lines[other])
    elif kind == 2:
        del lines[at]
    elif kind == 3:
        name = chance.choice([*NAMES, "../x", "/etc/passwd", "a  b", "", "\0", "é" * 300])
        lines.insert(at, b"0" * 64 + b"  " + name.encode())
    elif kind == 4:
        lines[at] = lines[at].upper().replace(b"  ", b" *")
    else:
        lines[at] = _mutate_bytes(lines[at], chance)
    return b"\n".join(lines)


# JSON


def _mutate_json(data: bytes, chance: random.Random) -> bytes:
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        return _mutate_bytes(data, chance)
    holder = [document]
    for _ in range(chance.choice([1, 1, 1, 2, 3])):
        _change_node(holder, chance)
    try:
        text = json.dumps(holder[0], ensure_ascii=False, separators=(",", ":"))
        return text.encode("utf-8", "surrogatepass" if chance.random() < 0.5 else "replace")
    except (RecursionError, ValueError):
        return data


def _nodes(value: Any, found: list[tuple[Any, Any]], depth: int = 0) -> list[tuple[Any, Any]]:
    """Each place of a document, as its container and its key there; long lists in part."""
    keys = list(value) if isinstance(value, dict) else list(range(len(value)))
    for key in keys if len(keys) < 40 else [*keys[:20], *keys[-20:]]:
        found.append((value, key))
        if isinstance(value[key], (dict, list)) and depth < 30:
            _nodes(value[key], found, depth + 1)
    return found


def copied(node: Any) -> Any:
    """Copy JSON; null for what is nested too deeply for Python's own writer."""
    try:
        return json.loads(json.dumps(node))
    except RecursionError:
        return None


def _change_node(holder: list[Any], chance: random.Random) -> None:
    nodes = _nodes(holder, [])
    container, key = chance.choice(nodes)
    other, other_key = chance.choice(nodes)
    value, kind = container[key], chance.randrange(9)
    if kind <= 1:
        container[key] = chance.choice(VALUES)()
    elif kind == 2 and container is not holder:
        del container[key]
    elif kind == 3 and isinstance(value, list) and value:
        value.extend(value[:1] * chance.choice([1, 2, 70]))
    elif kind == 3 and isinstance(value, dict):
        name = chance.choice(["more", "", "class_path", "__class__", "\ud800", "x" * 2000])
        value[name] = chance.choice(VALUES)()
    elif kind == 4:
        container[key], other[other_key] = copied(other[other_key]), value
    elif kind == 5:
        container[key] = copied(other[other_key])
    elif kind == 6 and isinstance(value, (int, float)) and not isinstance(value, bool):
        changes = (value + 1, value - 1, -value, value * 2, float(value) if abs(value) < 1e9 else 0)
        container[key] = chance.choice([*changes, str(value)[:50], [value]])
    elif isinstance(value, str):
        parts = sorted({cls.__name__ for cls in concrete_subclasses(Component)})  # type: ignore[type-abstract]
        container[key] = chance.choice(
            [value[:-1], value + value, value.upper(), value + "\u0301", chance.choice(parts)]
        )
    else:
        container[key] = chance.choice(VALUES)()


# Tensors


def _mutate_tensors(data: bytes, chance: random.Random) -> bytes:
    length = struct.unpack("<Q", data[:8])[0] if len(data) >= 8 else 0
    if not 0 < length <= len(data) - 8:
        return _mutate_bytes(data, chance)
    header, body = data[8 : 8 + length], bytearray(data[8 + length :])
    kind = chance.randrange(8)
    if kind <= 2:
        header = _mutate_header(header, chance)
    elif kind <= 5 and body:  # the numbers
        for _ in range(chance.choice([1, 1, 4, 16])):
            number = chance.choice(NUMBERS)
            at = chance.randrange(0, max(1, len(body) - 7), 4)
            body[at : at + len(number)] = number
        if chance.random() < 0.2:
            body[:] = (chance.choice(NUMBERS) * len(body))[: len(body)]
    elif kind == 6:
        return struct.pack("<Q", chance.choice(LENGTHS)) + header + body
    else:
        body[:] = _mutate_bytes(bytes(body), chance)
    return struct.pack("<Q", len(header)) + header + body


def _mutate_header(header: bytes, chance: random.Random) -> bytes:
    """Change the header, or the JSON that the header of a prior holds as a text."""
    try:
        document = json.loads(header)
        inner = document["__metadata__"]["seqae"]
    except (ValueError, LookupError, TypeError, RecursionError):
        return _mutate_json(header, chance)
    if not isinstance(inner, str) or chance.random() < 0.3:
        return _mutate_json(header, chance)
    changed = _mutate_json(inner.encode("utf-8", "replace"), chance)
    document["__metadata__"]["seqae"] = changed.decode("utf-8", "replace")
    return json.dumps(document).encode()
