"""What a file holds, whatever its name says: told by how it begins.

A Word document, a database or UTF-16 would be read as lines of nonsense, which nobody notices in a
training until its end. So the first block of every file of text is looked at before it is used.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from seqae.data.sources.discovery import SourceFile
from seqae.data.sources.walking import quote
from seqae.units import with_unit

SIGNATURE_BYTES = 4096  # enough to tell a kind; a ZIP archive names its first members there

# Text has less. Tabs and line ends do not count, and a few may have strayed into a short text.
MAX_CONTROL_SHARE = 0.01
MAX_STRAYED = 8
CONTROL = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f]")

# Half of the bytes of English in UTF-16 are NUL, and a quarter where another script comes with it.
MIN_NUL_SHARE = 0.25
MIN_NULS = 4
MIN_PRINTABLE_SHARE = 0.99
MARKS = {b"\xff\xfe\0\0": "UTF-32", b"\0\0\xfe\xff": "UTF-32", b"\xff\xfe": "UTF-16"}
MARKS |= {b"\xfe\xff": "UTF-16"}


class Kind(NamedTuple):
    """A kind of file that is no text.

    Attributes:
        name: for people, with an article.
        way_out: how to read what is in it.
        suffixes: of the files that are read as this kind.
    """

    name: str
    way_out: str
    suffixes: tuple[str, ...] = ()


_CONVERT = "Save its text as a plain text file, and name that."
_UNPACK = "Unpack it, and name what is in it."
_OFFICE = "Save it as plain text (UTF-8), and name that."
_TABLE = "Save its table as CSV (UTF-8), and name that."
_NO_TEXT = "Name a file of text."

SIGNATURES: tuple[tuple[bytes, Kind], ...] = (
    (b"PK\x03\x04", Kind("a ZIP archive", _UNPACK)),
    (b"%PDF-", Kind("a PDF", "Take its text out (`pdftotext FILE`), and name that.")),
    (
        b"SQLite format 3\0",
        Kind(
            "an SQLite database",
            "Export a table (`sqlite3 -json FILE 'SELECT text FROM ...' > texts.json`).",
        ),
    ),
    (
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
        Kind("a document of an older Office (.doc, .xls, .ppt)", _OFFICE),
    ),
    (b"{\\rtf", Kind("an RTF document", _OFFICE)),
    (b"\x1f\x8b", Kind("compressed by gzip", "Let its name end in .gz.", (".gz",))),
    (b"BZh", Kind("compressed by bzip2", "Let its name end in .bz2.", (".bz2",))),
    (b"\xfd7zXZ\0", Kind("compressed by xz", "Let its name end in .xz.", (".xz",))),
    (b"\x28\xb5\x2f\xfd", Kind("compressed by zstd", "Let its name end in .zst.", (".zst",))),
    (b"\x04\x22\x4d\x18", Kind("compressed by lz4", "Unpack it (`lz4 -d FILE`).")),
    (b"7z\xbc\xaf\x27\x1c", Kind("a 7z archive", _UNPACK)),
    (b"Rar!\x1a\x07", Kind("a RAR archive", _UNPACK)),
    (
        b"PAR1",
        Kind("a Parquet file", "Let its name end in .parquet.", (".parquet",)),
    ),
    (
        b"ARROW1",
        Kind("an Arrow file", "Let its name end in .arrow.", (".arrow", ".feather")),
    ),
    (
        b"\xff\xff\xff\xff",
        Kind("an Arrow stream", "Let its name end in .arrow.", (".arrow", ".feather")),
    ),
    (b"ORC", Kind("an ORC file", "Convert it to Parquet (`pandas.read_orc`).")),
    (b"Obj\x01", Kind("an Avro file", "Convert it to JSON lines.")),
    (b"\x89HDF\r\n\x1a\n", Kind("an HDF5 file", _CONVERT)),
    (b"\x93NUMPY", Kind("a NumPy array", _CONVERT)),
    # Protocols 2 to 5 of Python's pickle, and what objects of text begin with.
    *((bytes((0x80, n)), Kind("a Python pickle", _CONVERT)) for n in range(2, 6)),
    (b"\x89PNG\r\n\x1a\n", Kind("a PNG picture", _NO_TEXT)),
    (b"\xff\xd8\xff", Kind("a JPEG picture", _NO_TEXT)),
    (b"GIF8", Kind("a GIF picture", _NO_TEXT)),
    (b"RIFF", Kind("a recording or a film (RIFF)", _NO_TEXT)),
    (b"\x7fELF", Kind("a program", _NO_TEXT)),
)
# Signatures with which a text may begin, too, and what follows them in such a file.
CONFIRMED_BY = {b"BZh": b"1AY&SY", b"ORC": b"\x00", b"RIFF": b"\x00", b"GIF8": b"\x00"}
CONFIRMED_BY |= {b"PAR1": b"\x15", b"ARROW1": b"\x00", b"Obj\x01": b"avro"}
TAR_AT, TAR_MAGIC = 257, b"ustar"

# What is in a ZIP archive: a document is one, too.
ZIP_MEMBERS: tuple[tuple[bytes, Kind], ...] = (
    (b"word/", Kind("a Word document (.docx)", _OFFICE)),
    (b"xl/", Kind("an Excel workbook (.xlsx)", _TABLE)),
    (b"ppt/", Kind("a PowerPoint presentation (.pptx)", _OFFICE)),
    (b"application/vnd.oasis.opendocument", Kind("an OpenDocument file (.odt, .ods)", _OFFICE)),
    (b"application/epub", Kind("an EPUB book", _CONVERT)),
    (b".npy", Kind("a NumPy archive (.npz)", _CONVERT)),
    (b"data.pkl", Kind("a checkpoint of PyTorch", _NO_TEXT)),
)


def kind_of(head: bytes) -> Kind | None:
    """Tell by its first bytes what a file is, if it is no text.

    Args:
        head: the first kilobytes.
    """
    if head[TAR_AT : TAR_AT + len(TAR_MAGIC)] == TAR_MAGIC:
        return Kind("a tar archive", _UNPACK)
    for signature, kind in SIGNATURES:
        if head.startswith(signature) and CONFIRMED_BY.get(signature, b"") in head[:64]:
            if kind.name == "a ZIP archive":
                return next((some for mark, some in ZIP_MEMBERS if mark in head), kind)
            return kind
    return None


def encoding_of(head: bytes) -> str | None:
    """Tell whether text is UTF-16 or UTF-32, with a byte order mark or without one.

    Returns:
        A name that `iconv` knows; None if it is neither.
    """
    for mark, name in MARKS.items():
        if head.startswith(mark):
            return name
    half = len(head) // 2
    if half < 2 or b"\0" not in head:
        return None
    try:
        head.decode("utf-8")
        is_utf8 = True
    except UnicodeDecodeError as error:
        is_utf8 = error.start > len(head) - 4 and error.reason == "unexpected end of data"
    first, second = head[0 : 2 * half : 2].count(0), head[1 : 2 * half : 2].count(0)
    name = "UTF-16LE" if second > first else "UTF-16BE"
    if is_utf8:  # English is, as every second byte is NUL
        few, many = sorted((first, second))
        is_utf16 = many >= max(MIN_NULS, MIN_NUL_SHARE * half) and 10 * few <= many
    else:
        text = head[: 2 * half].decode(name, "replace")
        real = sum(c.isprintable() or c.isspace() for c in text)
        is_utf16 = real >= MIN_PRINTABLE_SHARE * len(text) and ("\n" in text or " " in text)
    return name if is_utf16 else None


def check_content(head: bytes, file: SourceFile, key: str) -> None:
    """Refuse a file that is no UTF-8 text, by how it begins.

    Args:
        head: its first block, decompressed.
        file: that it comes from.
        key: the configuration key that names it.

    Raises:
        ValueError: if it is of a kind that has a signature, UTF-16 or UTF-32, or has more than 1 %
            control characters. A single byte that is not UTF-8 is left to the policy of `errors`.
    """
    shown = quote(file.shown)
    if kind := kind_of(head):
        way_out = kind.way_out.replace("FILE", shown)
        raise ValueError(
            f"`{key}` must be UTF-8 text, but {shown} is {kind.name} instead. {way_out}"
        )
    if encoding := encoding_of(head):
        raise ValueError(
            f"`{key}` must be UTF-8 text, but {shown} is {encoding} instead. "
            f"Convert it (`iconv -f {encoding} -t UTF-8 {shown} > NEW.txt`)."
        )
    text = head.decode("utf-8", "ignore")
    count = len(CONTROL.findall(text))
    if count > max(MAX_STRAYED, MAX_CONTROL_SHARE * len(text)):
        raise ValueError(
            f"`{key}` must be text, but {with_unit(count / len(text), '%')} of the first "
            f"{len(text):,} characters of {shown} are control characters instead. If it is "
            f"text all the same, take them out "
            f"(`tr -d '\\000-\\010\\016-\\037\\177' < {shown} > NEW.txt`)."
        )
