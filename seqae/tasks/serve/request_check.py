"""Holds JSON of a stranger to a type of `api_shapes.py`, and describes such a type as a schema."""

from __future__ import annotations

import json
import math
from inspect import getdoc
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from typing_extensions import NotRequired, get_type_hints, is_typeddict

from seqae.component import check_choice, check_range, check_whole
from seqae.tasks.serve.api_shapes import Limit

MAX_DEPTH = 8  # of brackets in a request; no call needs more than 3

_KINDS = {
    str: ("string", "a text"),
    int: ("integer", "a whole number"),
    float: ("number", "a number"),
    bool: ("boolean", "true or false"),
}
_BOUNDS = {
    "string": ("minLength", "maxLength"),
    "array": ("minItems", "maxItems"),
    "number": ("minimum", "maximum"),
    "integer": ("minimum", "maximum"),
}


def read_request(body: bytes, shape: Any) -> dict[str, Any]:
    """Read the JSON of a request and check it.

    Args:
        body: of at most some ten thousand bytes.
        shape: a TypedDict of `api_shapes.py`.

    Returns:
        The request, with the types of the shape.

    Raises:
        ValueError: in one line, if it is not of this shape.
    """
    try:
        text = body.decode("utf-8")
        if _depth(text) > MAX_DEPTH:
            raise ValueError("nested too deeply")
        value = json.loads(text, parse_constant=_refuse, object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        reason = "no text in UTF-8" if isinstance(error, UnicodeDecodeError) else error
        raise ValueError(
            f"`body` must be a JSON object, but it is not ({reason}) instead. Send one such as "
            f'{{"texts": ["a sentence"]}}.'
        ) from None
    checked: dict[str, Any] = _checked("body", value, shape)
    return checked


def schema_of(hint: Any) -> dict[str, Any]:
    """Describe a type as JSON Schema, of draft 2020-12 as OpenAPI 3.1 has it.

    Args:
        hint: a TypedDict, which is named and not described; or a type that is made of them.
    """
    origin: Any = get_origin(hint)
    arguments = get_args(hint)
    if origin is NotRequired:
        return schema_of(arguments[0])
    if origin is Annotated:
        schema = schema_of(arguments[0])
        for note in hint.__metadata__:
            if isinstance(note, str):
                schema["description"] = note
            else:
                least, most = _BOUNDS[schema["type"]]
                schema |= {least: note.low, most: note.high}
        return schema
    if origin is list:
        return {"type": "array", "items": schema_of(arguments[0])}
    if origin is Literal:
        return {"enum": [*arguments]}
    if origin in (Union, UnionType):
        return {"anyOf": [schema_of(argument) for argument in arguments]}
    if is_typeddict(hint):
        return {"$ref": f"#/components/schemas/{hint.__name__}"}
    return {"type": "null" if hint is type(None) else _KINDS[hint][0]}


def object_schema(shape: Any) -> dict[str, Any]:
    """Describe a TypedDict.

    Args:
        shape: the TypedDict.
    """
    hints = get_type_hints(shape, include_extras=True)
    required = [key for key, hint in hints.items() if _is_required(hint)]
    return {
        "type": "object",
        "description": " ".join((getdoc(shape) or "").split()),
        "properties": {key: schema_of(hint) for key, hint in hints.items()},
        "required": required,
        "additionalProperties": False,
    }


def _checked(key: str, value: Any, hint: Any, limit: Limit | None = None) -> Any:
    origin: Any = get_origin(hint)
    arguments = get_args(hint)
    if origin is NotRequired:
        return _checked(key, value, arguments[0])
    if origin is Annotated:
        found = next((note for note in hint.__metadata__ if isinstance(note, Limit)), None)
        return _checked(key, value, arguments[0], found)
    if origin in (Union, UnionType):  # a text or a place: the kind of JSON tells which
        is_text = isinstance(value, str)
        wanted = [one for one in arguments if is_typeddict(one) is not is_text]
        return _checked(key, value, wanted[0])
    if origin is list:
        if not isinstance(value, list):
            raise _wrong(key, "a list", value)
        _check_size(key, "items", len(value), limit)
        return [_checked(f"{key}[{i}]", one, arguments[0]) for i, one in enumerate(value)]
    if is_typeddict(hint):
        return _checked_object(key, value, hint)
    if hint is float or hint is int:
        return _number(key, value, hint, limit)
    if not isinstance(value, hint):
        raise _wrong(key, _KINDS[hint][1], value)
    if hint is str:
        _check_size(key, "characters", len(value), limit)
        if any("\ud800" <= character <= "\udfff" for character in value):
            raise _wrong(key, "a text without half characters", "one with a lone surrogate")
    return value


def _checked_object(key: str, value: Any, shape: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _wrong(key, "an object", value)
    hints = get_type_hints(shape, include_extras=True)
    prefix = "" if key == "body" else f"{key}."
    for name in value:
        check_choice(f"{prefix}key", name, tuple(hints))
    for name, hint in hints.items():
        if name not in value and _is_required(hint):
            raise ValueError(
                f"`{prefix}{name}` must be given, but it is not there. The keys are "
                f"{', '.join(hints)}."
            )
    return {name: _checked(f"{prefix}{name}", value[name], hints[name]) for name in value}


def _number(key: str, value: Any, hint: type, limit: Limit | None) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise _wrong(key, _KINDS[hint][1], value)
    low, high = (limit.low, limit.high) if limit else (-math.inf, math.inf)
    if hint is int:
        if isinstance(value, float) and not value.is_integer():  # infinite, too
            raise _wrong(key, "a whole number", value)
        return check_whole(key, int(value), int(low), int(high))
    check_range(key, value, low, high)
    return float(value)


def _is_required(hint: Any) -> bool:
    origin: Any = get_origin(hint)
    return origin is not NotRequired


def _check_size(key: str, things: str, size: int, limit: Limit | None) -> None:
    if limit is not None and not limit.low <= size <= limit.high:
        raise ValueError(
            f"`{key}` must have {limit.low:,.0f} to {limit.high:,.0f} {things}, but it has "
            f"{size:,} instead. Send {'less' if size > limit.high else 'more'}."
        )


def _wrong(key: str, wanted: str, value: Any) -> ValueError:
    shown = json.dumps(value, ensure_ascii=True) if not isinstance(value, str) else ascii(value)
    shown = shown if len(shown) <= 40 else f"{shown[:39]}…"
    return ValueError(
        f"`{key}` must be {wanted}, but it is {shown} instead. See `api/openapi.json`."
    )


def _depth(text: str) -> int:
    """Count how deeply brackets are nested, without those in texts."""
    depth = deepest = 0
    in_text = escaped = False
    for character in text:
        if in_text:
            in_text = escaped or character != '"'
            escaped = character == "\\" and not escaped
        elif character == '"':
            in_text = True
        elif character in "[{":
            depth += 1
            deepest = max(deepest, depth)
        elif character in "]}":
            depth -= 1
    return deepest


def _refuse(constant: str) -> float:
    raise ValueError(f"{constant} is no number of JSON")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key is given twice")
    return found
