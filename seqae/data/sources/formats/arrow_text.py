"""Text in Arrow's arrays: which types hold it, and its values, validated before use."""

from __future__ import annotations

from typing import Any

from seqae.extras import extra

with extra("data"):
    import pyarrow as pa

# Types of text, and the types that view them as bytes, which can be validated if not UTF-8.
AS_BYTES = {
    pa.string(): pa.binary(),
    pa.large_string(): pa.large_binary(),
    pa.string_view(): pa.binary_view(),
}


def is_text(kind: Any) -> bool:
    """Tell whether an Arrow type holds text, directly or in a dictionary."""
    return (kind.value_type if pa.types.is_dictionary(kind) else kind) in AS_BYTES


def to_values(array: Any) -> list[str | bytes | None]:
    """Validate an array of text; return its values, as bytes if they are not UTF-8.

    Raises:
        ValueError, LookupError: if an offset or index is outside its data.
    """
    if pa.types.is_dictionary(array.type):
        array.indices.validate(full=True)
        values, indices = to_values(array.dictionary), array.indices.to_pylist()
        if any(index is not None and index < 0 for index in indices):
            raise IndexError("an index into its dictionary is negative")
        return [None if index is None else values[index] for index in indices]
    array.validate()
    raw = array.view(AS_BYTES[array.type])
    raw.validate(full=True)
    try:
        array.validate(full=True)
    except pa.ArrowInvalid:
        return [value and _decode(value) for value in raw.to_pylist()]
    texts: list[str | bytes | None] = array.to_pylist()
    return texts


def _decode(raw: bytes) -> str | bytes:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw
