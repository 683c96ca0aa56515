"""Columns of JSON objects by name: `translation.en` is the key `en` of the object `translation`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

# A column that none of the first objects has is a mistake, not a gap.
FIRST_OBJECTS = 1000


def look_up(record: dict[str, Any], column: str) -> Any:
    """Return the value of a column; `a.b` is that of `b` in the object `a`, unless it is a key.

    Returns:
        None if there is none.
    """
    if column in record or "." not in column:
        return record.get(column)
    first, _, rest = column.partition(".")
    inner = record.get(first)
    return look_up(inner, rest) if isinstance(inner, dict) else None


def has_column(record: dict[str, Any], column: str) -> bool:
    """Tell whether a record has a column, even if it is null."""
    first, dot, rest = column.partition(".")
    inner = record.get(first)
    return column in record or bool(dot and isinstance(inner, dict) and has_column(inner, rest))


def names_of(record: dict[str, Any]) -> list[str]:
    """Return the names of all columns of a record, those inside of objects as `a.b`."""
    names: list[str] = []
    for name, value in record.items():
        inner = names_of(value) if isinstance(value, dict) else []
        names += [f"{name}.{some}" for some in inner] or [name]
    return names


class ColumnCheck:
    """Finds out that no object has a column, whose name may be misspelt.

    Args:
        columns: that are read.
        refuse: makes the error, from such a column, the names of those that there are, and what
            to do, if it is not to choose another one.
    """

    def __init__(
        self, columns: Sequence[str], refuse: Callable[[str, Iterable[object], str], ValueError]
    ) -> None:
        self.refuse = refuse
        self.missing = list(columns)
        self.objects = 0
        self.first: list[str] = []
        self.lists: list[str] = []  # columns of the first object, each of which is a list

    def add(self, record: dict[str, Any]) -> None:
        """Look at the next object.

        Raises:
            ValueError: if it is the last of the first objects, and none of them has a column.
        """
        if not self.missing:
            return
        self.objects += 1
        if not self.first:
            self.first = names_of(record)
            self.lists = [name for name, value in record.items() if isinstance(value, list)]
        self.missing = [column for column in self.missing if not has_column(record, column)]
        if self.objects == FIRST_OBJECTS:
            self.finish()
            self.missing = []

    def finish(self) -> None:
        """Check the columns after the last object.

        Raises:
            ValueError: if no object has one of them.
        """
        if self.missing and self.objects:
            way_out = ""
            if self.objects == 1 and self.lists:
                way_out = f"Take the list out (`jq .{self.lists[0]} FILE > NEW.json`)."
            raise self.refuse(self.missing[0], self.first, way_out)
