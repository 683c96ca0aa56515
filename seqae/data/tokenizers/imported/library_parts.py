"""Which rules of the `tokenizers` library a foreign tokenizer may have, and with which values.

The library runs whatever a tokenizer.json names. A rule is let through only if its kind is listed
here, all of its settings are, and their values are such that no text takes exponential time, or
grows to more than MAX_GROWTH times its length. What is let through is written anew, in one order.
"""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from seqae.data.tokenizers.imported.charsmap import MAX_REPLACEMENT, charsmap_fault, decoded
from seqae.data.tokenizers.imported.known_patterns import KNOWN_PATTERNS

MAX_PARTS = 32  # of a sequence of rules
MAX_AFFIX = 32  # characters that a rule puts in, looks for or takes away
MAX_GROWTH = 64

Check = Callable[[Any], bool]
Kinds = Mapping[str, Mapping[str, Check]]


def refuse_part(key: str, expected: str, actual: object) -> NoReturn:
    """Refuse a part of a foreign tokenizer.

    Args:
        key: of the part in tokenizer.json.
        expected: what it must be, to complete "must be ...".
        actual: what it is.

    Raises:
        ValueError: always.
    """
    raise ValueError(
        f"`{key}` of the tokenizer must be {expected}, but it is {reprlib.repr(actual)} instead. "
        f"Take another tokenizer, or train one."
    )


def is_bool(value: Any) -> bool:
    """Say whether it is true or false."""
    return isinstance(value, bool)


def is_affix(value: Any) -> bool:
    """Say whether it is a short text."""
    return isinstance(value, str) and len(value) <= MAX_AFFIX and "\0" not in value


def is_optional_affix(value: Any) -> bool:
    """Say whether it is a short text, or nothing."""
    return value is None or is_affix(value)


def one_of(*choices: Any) -> Check:
    """Make a check that a value is one of a few, and of the same type."""
    return lambda value: any(type(value) is type(c) and value == c for c in choices)


def _is_character(value: Any) -> bool:
    return is_affix(value) and len(value) == 1


def _is_pattern(value: Any) -> bool:
    if not isinstance(value, dict) or len(value) != 1:
        return False
    ((kind, text),) = value.items()
    if kind == "String":
        return is_affix(text) and text != ""
    return kind == "Regex" and isinstance(text, str) and text in KNOWN_PATTERNS


def _is_charsmap(value: Any) -> bool:
    data = decoded(value)
    return data is not None and charsmap_fault(data) is None


_BEHAVIOR = one_of("Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous")
_BYTE_LEVEL = {"add_prefix_space": is_bool, "trim_offsets": is_bool, "use_regex": is_bool}
_METASPACE = {
    "replacement": _is_character,
    "add_prefix_space": is_bool,
    "str_rep": _is_character,
    "prepend_scheme": one_of("always", "first", "never"),
    "split": is_bool,
}
_REPLACE = {"pattern": _is_pattern, "content": is_affix}

NORMALIZERS: Kinds = {
    **{kind: {} for kind in ("NFC", "NFD", "NFKC", "NFKD", "Nmt", "Lowercase", "StripAccents")},
    "Strip": {"strip_left": is_bool, "strip_right": is_bool},
    "Prepend": {"prepend": is_affix},
    "Replace": _REPLACE,
    "BertNormalizer": {
        "clean_text": is_bool,
        "handle_chinese_chars": is_bool,
        "strip_accents": one_of(None, True, False),
        "lowercase": is_bool,
    },
    "ByteLevel": {},
    "Precompiled": {"precompiled_charsmap": _is_charsmap},
}
PRE_TOKENIZERS: Kinds = {
    **{kind: {} for kind in ("Whitespace", "WhitespaceSplit", "BertPreTokenizer")},
    "UnicodeScripts": {},
    "ByteLevel": _BYTE_LEVEL,
    "Punctuation": {"behavior": _BEHAVIOR},
    "Digits": {"individual_digits": is_bool},
    "Metaspace": _METASPACE,
    "Split": {"pattern": _is_pattern, "behavior": _BEHAVIOR, "invert": is_bool},
    "CharDelimiterSplit": {"delimiter": _is_character},
}
DECODERS: Kinds = {
    **{kind: {} for kind in ("ByteFallback", "Fuse")},
    "ByteLevel": _BYTE_LEVEL,
    "WordPiece": {"prefix": is_affix, "cleanup": is_bool},
    "Metaspace": _METASPACE,
    "BPEDecoder": {"suffix": is_affix},
    "Replace": _REPLACE,
    # The library counts `stop` back from the end of a token, and aborts before its beginning.
    "Strip": {"content": _is_character, "start": one_of(0, 1), "stop": one_of(0)},
}
SECTIONS: Mapping[str, tuple[Kinds, str]] = {
    "normalizer": (NORMALIZERS, "normalizers"),
    "pre_tokenizer": (PRE_TOKENIZERS, "pretokenizers"),
    "decoder": (DECODERS, "decoders"),
}


def check_rules(name: str, section: Any) -> dict[str, Any] | None:
    """Check one of SECTIONS.

    Returns:
        The same rules, written in one order.

    Raises:
        ValueError: if one is not let through; it names the first one.
    """
    parts = flat(name, section)
    kinds, within = SECTIONS[name]
    checked = [_check_rule(f"{name}.{i}", part, kinds) for i, part in enumerate(parts)]
    growth = 1.0
    for part in checked:
        growth *= _growth(part)
    if growth > MAX_GROWTH:
        refuse_part(name, f"rules that lengthen a text {MAX_GROWTH} times at most", parts)
    if section is None or section.get("type") != "Sequence":
        return checked[0] if checked else None
    return {"type": "Sequence", within: checked}


def flat(name: str, section: Any) -> list[Any]:
    """List the rules of a section, which has none, one or a sequence of them.

    Raises:
        ValueError: if it is something else, or has too many rules.
    """
    if section is None:
        return []
    if not isinstance(section, dict):
        refuse_part(name, "null or an object", section)
    within = SECTIONS[name][1]
    if section.get("type") != "Sequence":
        return [section]
    parts = section.get(within)
    if set(section) != {"type", within} or not isinstance(parts, list):
        refuse_part(name, f"a sequence of {within}", section)
    found = [one for part in parts[: MAX_PARTS + 1] for one in _within(name, part)]
    if len(found) > MAX_PARTS or not found:
        refuse_part(name, f"one to {MAX_PARTS} rules", section)
    return found


def check_settings(
    key: str, settings: dict[str, Any], checks: Mapping[str, Check]
) -> dict[str, Any]:
    """Check the settings of a rule or of a model, except its type.

    Returns:
        The settings in the order of `checks`; those that the file leaves out are left out.

    Raises:
        ValueError: if one is unknown or has a value that is not let through.
    """
    for setting, value in settings.items():
        if setting not in checks and setting != "type":
            refuse_part(f"{key}.{reprlib.repr(setting)[1:-1]}", "absent", value)
        if setting != "type" and not checks[setting](value):
            refuse_part(f"{key}.{setting}", "one of the values that are known to be safe", value)
    return {setting: settings[setting] for setting in checks if setting in settings}


def _within(name: str, part: Any) -> list[Any]:
    """List the rules of a sequence in a sequence, in which there is no third one."""
    within = SECTIONS[name][1]
    if isinstance(part, dict) and part.get("type") == "Sequence" and set(part) == {"type", within}:
        return part[within] if isinstance(part[within], list) else [None]
    return [part]


def _check_rule(key: str, part: Any, kinds: Kinds) -> dict[str, Any]:
    kind = part.get("type") if isinstance(part, dict) else None
    if not isinstance(kind, str) or kind not in kinds:
        refuse_part(key, f"one of {', '.join(sorted(kinds))}", part)
    return {"type": kind, **check_settings(f"{key}", part, kinds[kind])}


def _growth(part: dict[str, Any]) -> float:
    """How many characters a rule makes of one, at most."""
    if part["type"] == "Replace":
        ((kind, pattern),) = part["pattern"].items()
        return max(1.0, len(part["content"]) / (len(pattern) if kind == "String" else 1))
    return {"ByteLevel": 2.0, "Precompiled": MAX_REPLACEMENT}.get(part["type"], 1.0)
