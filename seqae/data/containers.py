"""Texts and numbers in memory, whatever holds them: lists, columns, arrays, tensors, iterators.

The classes of other libraries are recognised only if their library is imported already: a value of
such a class cannot exist before.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Set
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from seqae.component import type_in_words
from seqae.data.tokenizers.input_checks import check_text

# Classes of tables, of which one column is meant, by module.
TABLES = {
    "pandas": ("DataFrame",),
    "polars": ("DataFrame", "LazyFrame"),
    "pyarrow": ("Table", "RecordBatch"),
    "datasets": ("Dataset", "IterableDataset", "DatasetDict", "IterableDatasetDict"),
}
ARROW = {"pyarrow": TABLES["pyarrow"]}
# Those of columns, whose items are not Python's own.
COLUMNS = {"pandas": ("Series", "Index"), "pyarrow": ("Array", "ChunkedArray")}


def is_one_of(value: object, classes: Mapping[str, tuple[str, ...]]) -> bool:
    """Tell whether a value is of a class of a library that is imported.

    Args:
        value: anything.
        classes: names of classes by the name of their library.
    """
    return any(
        isinstance(value, getattr(sys.modules[library], name, ()))  # or a module of that name
        for library, names in classes.items()
        if library in sys.modules
        for name in names
    )


def is_table(value: object) -> bool:
    """Tell whether a value has columns: a mapping, a DataFrame, a table, a data set of the hub."""
    return isinstance(value, Mapping) or is_one_of(value, TABLES)


def list_items(key: str, values: Any) -> list[Any]:
    """List what a list, a Series, a column, an array, an iterator or the like holds.

    Args:
        key: names the values.
        values: the container; missing values of a column come out as None.

    Raises:
        ValueError: if it is something else: None, one text, a table, a set, which has no order.
    """
    kind = type_in_words(values)
    if is_table(values):
        raise ValueError(
            f"`{key}` must be a list of sentences, but it is {kind} instead. Choose one of its "
            f'columns, such as `{key}["text"]`.'
        )
    if is_one_of(values, {"pandas": COLUMNS["pandas"]}):
        missing = sys.modules["pandas"].isna(values)
        return [None if skip else item for item, skip in zip(values, missing, strict=True)]
    if is_one_of(values, COLUMNS):
        items: list[Any] = values.to_pylist()
        return items
    if values is None:
        raise ValueError(
            f"`{key}` must be a sentence or a list of sentences, but it is None instead. Look "
            f"where this value comes from."
        )
    if isinstance(values, (str, bytes, Set, Tensor)) or not isinstance(values, Iterable):
        way_out = "Sort it" if isinstance(values, Set) else "Put sentences in a list"
        raise ValueError(
            f"`{key}` must be a list of sentences, but it is {kind} instead. {way_out}."
        )
    if isinstance(values, np.ndarray):
        return list(values.tolist()) if values.ndim else [values.tolist()]
    return list(values)


def list_column(key: str, table: Any, column: str) -> list[Any]:
    """List what a column of a table holds.

    Args:
        key: names the table.
        table: of which `is_table` says so.
        column: its name.

    Raises:
        ValueError: if the table has no such column.
    """
    if is_one_of(table, {"datasets": ("IterableDataset",)}):
        return [row.get(column) for row in table]
    if is_one_of(table, {"polars": ("LazyFrame",)}):
        table = table.collect()
    if isinstance(table, Mapping):
        names = list(table)
    elif is_one_of(table, {"pandas": ("DataFrame",), "polars": ("DataFrame",)}):
        names = list(table.columns)
    else:
        names = list(table.schema.names) if is_one_of(table, ARROW) else list(table.column_names)
    if column not in names:
        raise ValueError(
            f"`{key}` must have the column {column!r}, but it has "
            f"{', '.join(map(repr, names[:20])) or 'none'} instead. Give the column itself: "
            f"`{key}=table[...]`."
        )
    return list_items(key, table[column])


def read_texts(key: str, texts: Any) -> tuple[list[str], bool]:
    """List texts, which may be one.

    Args:
        key: names them.
        texts: a text, or what `list_items` takes.

    Returns:
        The texts, and whether it was one that is not in a list.

    Raises:
        ValueError: if it is something else, or an item is no text.
    """
    is_one = isinstance(texts, str)
    items = [texts] if is_one else list_items(key, texts)
    return [check_text(key, index, item) for index, item in enumerate(items)], is_one


def read_array(key: str, values: Any) -> NDArray[Any]:
    """Turn numbers into an array: those of a tensor of any type and device, with gradients or not.

    Args:
        key: names them.
        values: a tensor, an array, or nested lists of these or of numbers.

    Raises:
        ValueError: if it is a table, its rows differ in length, or it holds anything but real
            numbers.
    """
    if values is None:
        raise ValueError(
            f"`{key}` must be real numbers, but it is None instead. Look where this value comes "
            f"from."
        )
    if is_table(values):
        raise ValueError(
            f"`{key}` must be an array, but it is {type_in_words(values)} instead. "
            f"Give its numbers alone, such as `{key}.to_numpy()`."
        )
    if isinstance(values, Tensor):
        plain = values.detach().cpu().to_dense()
        return check_real(key, (plain.float() if plain.is_floating_point() else plain).numpy())
    if isinstance(values, (list, tuple)) and any(isinstance(item, Tensor) for item in values):
        values = [read_array(key, item) for item in values]
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise ValueError(
            f"`{key}` must be an array, but its rows differ in length ({error}). Give each as "
            f"many numbers."
        ) from error
    return check_real(key, array)


def check_real(key: str, array: NDArray[Any]) -> NDArray[Any]:
    """Refuse what NumPy would turn into numbers in silence: complex ones, dates, text, decimals.

    Args:
        key: names the array.
        array: returned as it is.

    Raises:
        ValueError: naming the type.
    """
    if array.dtype.kind not in "iuf":
        kind = {"U": "text", "S": "bytes"}.get(array.dtype.kind, array.dtype)
        raise ValueError(
            f"`{key}` must be real numbers, but it is of type {kind} instead. Convert it to "
            f"float32 first."
        )
    return array
