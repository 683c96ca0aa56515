"""SentencePiece's `precompiled_charsmap`, checked before a library walks through it.

The map is a double array (Yata et al. 2007, as the library Darts-clone has it): a number for each
state, which says where its children are. The `tokenizers` library follows these numbers unchecked,
and aborts where one leads out of the array. So every state that any text can reach is visited here
first.
"""

from __future__ import annotations

import base64
import binascii

import numpy as np
import numpy.typing as npt

MAX_BYTES = 2**20  # the largest that comes with SentencePiece, nmt_nfkc_cf, has 0.3 MB
MAX_STATES = 1024  # visited together

Numbers = npt.NDArray[np.int64]
LETTERS: Numbers = np.arange(1, 256, dtype=np.int64)  # bytes; a text ends before a zero
MAX_REPLACEMENT = 32  # characters; NFKC writes 18 for U+FDFA


def charsmap_fault(charsmap: bytes) -> str | None:
    """Say what is wrong with a map; None if nothing is.

    Args:
        charsmap: the size of the double array in bytes (4 bytes, little-endian), the array (a
            uint32 each), and the replacements in UTF-8, each ended by a zero byte.
    """
    if not 4 < len(charsmap) <= MAX_BYTES:
        return f"of {len(charsmap):,} bytes"
    size = int.from_bytes(charsmap[:4], "little")
    if size % 4 or not 1024 <= size <= len(charsmap) - 4:
        return "with an array of a wrong size"
    units = np.frombuffer(charsmap[4 : 4 + size], "<u4").astype(np.int64)
    replacements = charsmap[4 + size :]
    try:
        texts = replacements.decode().split("\0")
    except UnicodeDecodeError:
        return "with replacements that are no UTF-8"
    if texts[-1] or max(map(len, texts)) > MAX_REPLACEMENT:
        return f"with a replacement of over {MAX_REPLACEMENT} characters, or one that has no end"
    return _walk(units, replacements)


def decoded(text: object) -> bytes | None:
    """Decode the map as tokenizer.json has it, in base64; None if it is none."""
    try:
        return base64.b64decode(text, validate=True) if isinstance(text, str) else None
    except (binascii.Error, ValueError):
        return None


def _walk(units: Numbers, replacements: bytes) -> str | None:
    """Visit each state that a text can lead to."""
    seen = np.zeros(len(units), dtype=bool)
    waiting = [_offset(units[:1])]
    while waiting:
        states = waiting.pop()
        if ((states | 255) >= len(units)).any():
            return "whose array leads out of itself"
        states = np.unique(states[~seen[states]])
        seen[states] = True
        positions = (states[:, None] ^ LETTERS).ravel()
        found = units[positions]
        is_reached = (found & 0x800000FF) == np.tile(LETTERS, len(states))
        positions, found = positions[is_reached], found[is_reached]
        nexts = positions ^ _offset(found)
        if (nexts >= len(units)).any():
            return "whose array leads out of itself"
        values = units[nexts[(found >> 8 & 1) == 1]] & 0x7FFFFFFF
        if (values >= len(replacements)).any():
            return "that names replacements it does not have"
        if any(replacements[value] & 0xC0 == 0x80 for value in values.tolist()):
            return "that names the middle of a character"
        waiting += [nexts[i : i + MAX_STATES] for i in range(0, len(nexts), MAX_STATES)]
    return None


def _offset(units: Numbers) -> Numbers:
    """Decode where the children of states are, relative to these."""
    shift: Numbers = (units >> 10) << ((units & 512) >> 6)
    return shift
