"""Columns inside of columns of Arrow tables: `translation.en` is the field `en` of `translation`.

A column whose own name has a dot in it comes first.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from seqae.extras import extra

with extra("data"):
    import pyarrow as pa
    import pyarrow.compute as pc


def all_fields(fields: Iterable[Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the name and type of each field of a schema or struct, and of those inside of them.

    Args:
        fields: of Arrow.
        prefix: of their names.
    """
    for field in fields:
        yield f"{prefix}{field.name}", field.type
        if pa.types.is_struct(field.type):
            yield from all_fields(field.type, f"{prefix}{field.name}.")


def root_of(column: str, names: Sequence[str]) -> str:
    """Return the column of a table that has another one inside, or is it."""
    return column if column in names else column.split(".")[0]


def column_of(table: Any, column: str) -> Any:
    """Return a column of a table or record batch as an array; null where what it is in is null.

    Args:
        table: of Arrow.
        column: its name.

    Raises:
        KeyError: if there is none.
        ValueError: if what it is in is damaged.
    """
    if column in table.schema.names:
        return table.column(column)
    root, *path = column.split(".")
    outer = table.column(root)
    outer.validate()  # before anything is taken out of it
    return pc.struct_field(outer, path)
