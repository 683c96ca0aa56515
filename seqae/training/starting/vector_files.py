"""Read word vectors: word2vec (text and binary), GloVe and fastText's .vec, also as .gz.

    word2vec, fastText   `COUNT DIM`, then on each line a word and its numbers
    GloVe                the same without the first line
    word2vec .bin        `COUNT DIM`, then a word, a blank and DIM float32 each

A file is read once, line by line; memory holds the rows of the words that are wanted, whatever a
header promises. The binary form is plain numbers: nothing is unpickled.
"""

from __future__ import annotations

import gzip
import os
import zlib
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, BinaryIO, NoReturn, cast

import numpy as np
import numpy.typing as npt
from typing_extensions import override

Floats = npt.NDArray[np.float32]

MAX_WORD_BYTES = 4096
MAX_NUMBER_BYTES = 32  # -1.2345678901234567e-10 and a blank are 24
MAX_ROWS = 2**25  # the largest that is published has 4 million
FASTTEXT_BINARY = (793712314).to_bytes(4, "little")


def read_vectors(path: str | Path, rows: Mapping[str, int], dim: int) -> dict[int, Floats]:
    """Read the vectors of some words.

    Args:
        path: the file; binary if its name ends in .bin or .bin.gz.
        rows: a number for each word that is wanted.
        dim: numbers that each vector must have.

    Returns:
        The vector (dim,) of each word that the file has, by the word's number; of equal words the
        first counts.

    Raises:
        ValueError: naming the line, if the file is not of one of these forms.
        OSError: if it cannot be read.
    """
    found: dict[int, Floats] = {}
    for row, vector in _wanted_rows(Path(path), rows, dim):
        found.setdefault(row, vector)
    return found


def check_vectors(path: str | Path, dim: int) -> None:
    """Read the first vector of a file; raises as `read_vectors`.

    Args:
        path: the file.
        dim: numbers that each vector must have.
    """
    next(_wanted_rows(Path(path), _Everything(), dim), None)


class _Everything(dict[str, int]):
    """Wants every word."""

    @override
    def get(self, key: str, default: Any = None) -> int:
        return 0


def _wanted_rows(path: Path, rows: Mapping[str, int], dim: int) -> Iterator[tuple[int, Floats]]:
    if not path.is_file():
        raise ValueError(
            f"`word_vectors` must be a file of word vectors, but there is no file {path}. Check "
            f"the path."
        )
    name = path.name.removesuffix(".gz")
    read = _binary_rows if name.endswith(".bin") else _text_rows
    opened = gzip.open(path) if path.name.endswith(".gz") else path.open("rb")  # noqa: SIM115
    with closing(cast(BinaryIO, opened)) as file:
        try:
            for row, vector, line in read(file, path, rows, dim):
                if not np.isfinite(vector).all():
                    _refuse(path, line, "made of finite numbers", "NaN or infinity")
                yield row, vector
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise ValueError(
                f"`word_vectors` must be a whole file, but {path} is damaged: {error}. Fetch it "
                f"again."
            ) from error


def _text_rows(
    file: BinaryIO, path: Path, rows: Mapping[str, int], dim: int
) -> Iterator[tuple[int, Floats, int]]:
    longest = MAX_WORD_BYTES + max(dim, 64) * MAX_NUMBER_BYTES
    promised: int | None = None
    number = 0
    while line := file.readline(longest + 1):
        number += 1
        if len(line) > longest:
            _refuse(path, number, f"at most {longest:,} bytes long", "longer")
        fields = line.rstrip().rsplit(b" ", dim)  # a word of GloVe may have blanks of its own
        if number == 1 and (header := _header(line)) is not None:
            promised = _check_header(path, header, dim)
            continue
        if not line.strip():
            continue
        if len(fields) != dim + 1 or not _is_number(fields[1]):
            _refuse(path, number, f"a word and {dim} numbers", _in_words(line))
        if len(fields[0]) > MAX_WORD_BYTES or number > MAX_ROWS:
            _refuse(path, number, "one of a list of words", "too much")
        if _is_number(fields[0].rpartition(b" ")[2]) and b" " in fields[0]:
            _refuse(path, number, f"a word and {dim} numbers", _in_words(line))
        row = rows.get(fields[0].decode("utf-8", "replace"))
        if row is not None:
            try:
                vector = np.array(fields[1:], dtype=np.float64).astype(np.float32)
            except ValueError:
                _refuse(path, number, f"a word and {dim} numbers", _in_words(line))
            yield row, vector, number
    if not number:
        _refuse(path, 1, f"a word and {dim} numbers", "missing")
    if promised is not None and number - 1 < promised:
        _refuse(path, number + 1, f"there, by the first line of {promised} words", "missing")


def _binary_rows(
    file: BinaryIO, path: Path, rows: Mapping[str, int], dim: int
) -> Iterator[tuple[int, Floats, int]]:
    line = file.readline(64)
    if line.startswith(FASTTEXT_BINARY):
        _refuse(path, 1, "of word2vec", "of fastText's own .bin: take its .vec")
    header = _header(line)
    if header is None:
        _refuse(path, 1, "the number of words and of dimensions", _in_words(line))
    for number in range(2, _check_header(path, header, dim) + 2):
        word = bytearray()
        while (character := file.read(1)) not in (b" ", b""):
            if character != b"\n" or word:
                word += character
            if len(word) > MAX_WORD_BYTES:
                _refuse(path, number, f"a word of at most {MAX_WORD_BYTES:,} bytes", "longer")
        data = file.read(4 * dim)
        if len(data) < 4 * dim:
            _refuse(path, number, "there, by the first line", "missing or cut short")
        row = rows.get(word.decode("utf-8", "replace"))
        if row is not None:
            yield row, np.frombuffer(data, dtype="<f4").astype(np.float32), number


def _header(line: bytes) -> tuple[int, int] | None:
    """Return the count and the dimension that a first line promises, if it is one."""
    fields = line.split()
    if len(fields) != 2 or not all(f.isdigit() and len(f) < 20 for f in fields):
        return None
    return int(fields[0]), int(fields[1])


def _check_header(path: Path, header: tuple[int, int], dim: int) -> int:
    count, promised = header
    if promised != dim:
        raise ValueError(
            f"`model.autoencoder.embedding_dim` must be that of the word vectors, {promised} in "
            f"{path}, but it is {dim} instead. Set it to {promised}."
        )
    if count > MAX_ROWS:
        _refuse(path, 1, f"a number of words up to {MAX_ROWS:,}", f"{count:,}")
    return count


def _is_number(field: bytes) -> bool:
    try:
        float(field)
    except ValueError:
        return False
    return True


def _in_words(line: bytes) -> str:
    numbers = sum(map(_is_number, line.split()[1:]))
    return f"{os.fsdecode(line[:40].strip())!r} with {numbers} numbers"


def _refuse(path: Path, line: int, wanted: str, found: str) -> NoReturn:
    raise ValueError(
        f"`word_vectors` must be a file whose line {line:,} is {wanted}, but in {path} it is "
        f"{found} instead. Get vectors of word2vec, GloVe or fastText (.vec) of that dimension."
    )
