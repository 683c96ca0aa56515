"""What every reader takes and gives: ReadOptions in, Blocks of records with their Counts out.

A record is a line of text, a JSON object, a row of a table. Each record is either kept or dropped
for a reason, so that `read == kept + sum of dropped` holds for every block, file and source.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol

from seqae.component import check_literal, check_range

OnInvalid = Literal["strict", "replace", "skip"]
HubMode = Literal["stream", "download"]
Format = Literal["auto", "text", "jsonl", "csv", "tsv", "parquet", "arrow"]
Quoting = Literal["auto", "minimal", "none"]
WITHOUT_COLUMNS: tuple[Format, ...] = ("text",)

TYPED_TAB = r"\t"  # how a tab is written on a command line

# Where to continue reading: plain data that only the kind of reader that made it understands.
Position = Mapping[str, Any]

BLANK = "blank"
NO_TEXT = "no text"  # null, or a record without the column
TOO_LONG = "too long"
NOT_UTF8 = "not UTF-8"
MALFORMED = "malformed"


def setting(section: str, name: str, value: str) -> str:
    """Write an option of reading as the user would: in a configuration, or on the command line.

    Args:
        section: the prefix of its key; that of the tasks, `reading.`, is one of the command line.
        name: of the option.
        value: as it is typed.
    """
    return (
        f"`--{section}{name} {value}`" if section == "reading." else f"`{section}{name}: {value}`"
    )


@dataclass(frozen=True)
class ReadOptions:
    """Options that say how to read sources.

    Args:
        format: of the files; `auto` goes by their names (.txt, .jsonl, .csv, .tsv, .parquet,
            .arrow, also with .gz, .bz2, .xz or .zst after them), and takes other names for text.
        column: the column that holds the text, in all formats but text; `translation.en` is the
            field `en` of the column `translation`. A source may name its own, `FILE#COLUMN`.
        target_column: the column that holds the text to write instead (a summary), for paired text.
        errors: what to do with a record that cannot be read (bytes that are not UTF-8, a line that
            is not JSON, a row with too many or too few fields): `strict` stops and says where,
            `skip` drops it, `replace` writes U+FFFD for wrong bytes and drops other such records.
        max_line_bytes: drop longer lines and records; this bounds the memory.
        quoting: what a quote is in CSV and TSV: `minimal` takes fields in quotes, which may hold
            delimiters, line ends and doubled quotes; to `none`, a quote is text like any other
            character; `auto` is minimal for CSV and none for TSV.
        delimiter: the character between two fields of CSV or TSV; by default a comma or a tab.
        escape: the character after which the next one is text in CSV and TSV, such as a backslash;
            by default there is none.
        hub: how to read data sets of the Hugging Face hub: `stream` reads over the network;
            `download` keeps them in the cache of `datasets`, which works offline afterwards and is
            better for few large files.
        max_expansion: how many times its compressed size a file may unpack to; 0 lifts the limit.
    """

    format: Format = "auto"
    column: str = "text"
    target_column: str | None = None
    errors: OnInvalid = "strict"
    max_line_bytes: int = 1_000_000
    max_expansion: int = 200
    quoting: Quoting = "auto"
    delimiter: str | None = None
    escape: str | None = None
    hub: HubMode = "stream"

    def check(self, section: str) -> None:
        """Check the values.

        Args:
            section: the prefix of the options' keys in the configuration, with a dot, or nothing.

        Raises:
            ValueError: if a value is not one of the choices or is out of range, or one is given
                that the format has no use for.
        """
        check_literal(f"{section}format", self.format, Format)
        check_literal(f"{section}errors", self.errors, OnInvalid)
        check_literal(f"{section}hub", self.hub, HubMode)
        check_range(f"{section}max_line_bytes", self.max_line_bytes, 1, 1 << 30)
        check_range(f"{section}max_expansion", self.max_expansion, 0, 1 << 30)
        check_literal(f"{section}quoting", self.quoting, Quoting)
        self._check_delimited(section)
        if self.target_column is not None and self.format in WITHOUT_COLUMNS:
            raise ValueError(
                f"`{section}target_column` must not be given for {self.format}, which has no "
                f"columns, but it is {self.target_column} instead. Use JSON lines, CSV or Parquet."
            )

    @property
    def delimited(self) -> dict[str, str]:
        """The options that are given and that only CSV and TSV know, by name."""
        given: dict[str, str | None] = {"delimiter": self.delimiter, "escape": self.escape}
        given["quoting"] = None if self.quoting == "auto" else self.quoting
        return {name: value for name, value in given.items() if value is not None}

    def _check_delimited(self, section: str) -> None:
        for name, given in self.delimited.items():
            if self.format not in ("auto", "csv", "tsv"):
                raise ValueError(
                    f"`{section}{name}` must not be given for {self.format}, which has no fields "
                    f"with delimiters, but it is {given!r} instead. Leave it out, or set "
                    f"{setting(section, 'format', 'csv')}."
                )
        examples = {"delimiter": "a semicolon", "escape": "a backslash"}
        for name, value in (("delimiter", self.delimiter), ("escape", self.escape)):
            is_tab = name == "delimiter" and value == TYPED_TAB
            if value is not None and not is_tab and (len(value) != 1 or value in '"\r\n\0'):
                raise ValueError(
                    f"`{section}{name}` must be one character, and no quote or line end, but it is "
                    f"{value!r} instead. Give {examples[name]}, for example."
                )
        if self.escape is not None and self.escape in (self.delimiter or ",\t"):
            raise ValueError(
                f"`{section}escape` must be another character than the delimiter, but it is "
                f"{self.escape!r} instead. Change one."
            )


@dataclass
class Counts:
    """Counts records by what became of them.

    Attributes:
        read: all records.
        dropped: those that were dropped, by reason.
        repaired: those that were kept with U+FFFD for bytes that were not UTF-8 (only if `errors`
            is replace).
    """

    read: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    repaired: int = 0

    @property
    def kept(self) -> int:
        """Records that were not dropped."""
        return self.read - sum(self.dropped.values())

    def add(self, other: Counts) -> None:
        """Add the counts of another."""
        self.read += other.read
        self.dropped.update(other.dropped)
        self.repaired += other.repaired

    def to_dict(self) -> dict[str, Any]:
        """Return the counts as plain data."""
        dropped = {reason: count for reason, count in sorted(self.dropped.items()) if count}
        return {"read": self.read, "kept": self.kept, "dropped": dropped, "repaired": self.repaired}

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Counts:
        """Rebuild the counts from `to_dict()`."""
        return cls(fields["read"], Counter(fields["dropped"]), fields["repaired"])

    def __str__(self) -> str:
        dropped = sorted(self.dropped.items())
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in dropped if count)
        return f"{self.kept:,} of {self.read:,} kept" + (f" ({reasons})" if reasons else "")


@dataclass(frozen=True)
class Block:
    """Records that were read together, in the order of one file.

    Attributes:
        file: that they came from, as the user named it.
        texts: of the records that were kept.
        numbers: the line or row of each text in the file, from 1; a `range` if none was dropped.
        counts: what became of the records of this block.
        end: where to continue reading for the next block.
        targets: for paired text, the text to write instead of each.
        weight: bytes of the file that this block covers, for a progress bar.
    """

    file: str
    texts: list[str]
    numbers: Sequence[int]
    counts: Counts
    end: Position
    targets: list[str] | None = None
    weight: int = 0

    def with_columns(self, columns: Sequence[list[str]], numbers: Sequence[int]) -> Block:
        """Replace the texts and, if there is a second column, the targets."""
        targets = columns[1] if len(columns) > 1 else None
        return replace(self, texts=columns[0], numbers=numbers, targets=targets)

    def stripped(self) -> Block:
        """Strip white space around the texts, and drop and count those that are blank.

        A pair is blank if either side is.
        """
        texts = [text.strip() for text in self.texts]
        targets = None if self.targets is None else [text.strip() for text in self.targets]
        block = replace(self, texts=texts, targets=targets)
        real = texts if targets is None else [a and b for a, b in zip(texts, targets, strict=True)]
        if all(real):
            return block
        keep = [index for index, text in enumerate(real) if text]
        self.counts.dropped[BLANK] += len(texts) - len(keep)
        return block.select(keep)

    def select(self, indices: Sequence[int]) -> Block:
        """Keep the texts at some indices, with their numbers and targets."""
        return replace(
            self,
            texts=[self.texts[index] for index in indices],
            numbers=[self.numbers[index] for index in indices],
            targets=self.targets and [self.targets[index] for index in indices],
        )

    def where(self, index: int) -> str:
        """Return where a record came from, as `file:line`."""
        return f"{self.file}:{self.numbers[index]}"


class BlockReader(Protocol):
    """Reads a part of any source; plain data, so that workers can have a copy."""

    def blocks(self, start: Position | None = None) -> Iterator[Block]:
        """Read the part, or continue after the block whose `end` is `start`."""
