r"""Sources of sentences: a text file, a folder of them, standard input, or a built-in corpus.

A source is read in blocks of bytes that are split and decoded as a whole, which is what makes it
fast; memory stays within a few blocks plus `max_line_bytes`, also where a file is one line of a
gigabyte. Each sentence still knows its file and line, and each line that is dropped is counted
under its reason.

The rules of a line, the same everywhere:

- it ends at `\n`, `\r\n` or `\r`, and nowhere else (not at U+2028, U+0085 or a form feed);
- one byte order mark at the start of a file is no text;
- white space around it (what `str.strip` takes for it, so U+3000 too) is no text; NUL and
  everything else is. A line of nothing but white space is blank.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Literal, NamedTuple

from seqae.component import check_choice, check_range
from seqae.data.builtin import BUILTIN_CORPORA
from seqae.data.source_files import STANDARD_INPUT, find_files, open_file, quote

OnInvalid = Literal["strict", "replace", "skip"]

BLOCK_BYTES = 1 << 18  # larger blocks measured no faster, and this one is still short of a line cap
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
READER_VERSION = 1  # part of every fingerprint: raise it when the rules of a line change


class Sentence(NamedTuple):
    """A sentence and the place it came from; `line` counts from 1."""

    text: str
    file: str
    line: int


@dataclass(frozen=True)
class Block:
    """Sentences that were read together, in the order of one file.

    Attributes:
        file: the file they came from, as the user named it.
        texts: the sentences.
        lines: for each of them its line in the file, from 1; a `range` where no line was dropped.
    """

    file: str
    texts: list[str]
    lines: Sequence[int]

    def where(self, index: int) -> str:
        """Say where a sentence came from, as `file:line`."""
        return f"{self.file}:{self.lines[index]}"


@dataclass
class Counts:
    """Lines of a source, by what became of them; `read` is the sum of `kept` and the dropped.

    Attributes:
        read: all lines.
        kept: sentences given out.
        blank: dropped, nothing but white space.
        too_long: dropped, over `max_line_bytes`.
        invalid: dropped, not UTF-8 (only where `errors` is skip).
        repaired: kept, with U+FFFD for what was not UTF-8 (only where `errors` is replace).
    """

    read: int = 0
    kept: int = 0
    blank: int = 0
    too_long: int = 0
    invalid: int = 0
    repaired: int = 0

    @property
    def dropped(self) -> int:
        """Lines that gave no sentence."""
        return self.blank + self.too_long + self.invalid

    def __str__(self) -> str:
        reasons = {"blank": self.blank, "too long": self.too_long, "not UTF-8": self.invalid}
        told = ", ".join(f"{count:,} {reason}" for reason, count in reasons.items() if count)
        return f"{self.kept:,} of {self.read:,} lines kept" + (f" ({told})" if told else "")


class TextSource:
    """Sentences from wherever the user says.

    A bare word that names a built-in corpus means that corpus; a file of the same name is written
    with its folder or suffix (`./hsk`, `hsk.txt`). `-` is standard input. Of a folder, all `*.txt`
    files at any depth are read, in the order of their paths, hidden ones left out. Names that end
    in .gz, .bz2 or .xz are unpacked on the way. What cannot be found or read is refused here,
    before anything is done.

    Args:
        source: a file, a folder, `-`, or the name of a built-in corpus.
        key: the configuration key that holds `source`; error messages begin with it.
        errors: what to do with a line that is not UTF-8: strict stops and names file, line and
            byte; replace writes U+FFFD for what is wrong; skip drops the line.
        max_line_bytes: longer lines are dropped; this is what bounds the memory.
        max_expansion: how many times its packed size a file may unpack to; 0 lifts the limit.
        block_bytes: how much is read at a time; it has no influence on the sentences.

    Attributes:
        counts: the lines of the pass under way, or of the last one.

    Raises:
        ValueError: if an argument is out of range or the file is an archive.
        FileNotFoundError: if there is no such source, or no .txt file in the folder.
        PermissionError: if the source may not be read.
    """

    def __init__(
        self,
        source: str,
        *,
        key: str = "data.train",
        errors: OnInvalid = "strict",
        max_line_bytes: int = 1_000_000,
        max_expansion: int = 200,
        block_bytes: int = BLOCK_BYTES,
    ) -> None:
        section = key.rpartition(".")[0]
        self._errors_key = f"{section}.errors" if section else "errors"
        check_choice(self._errors_key, errors, ("strict", "replace", "skip"))
        check_range("max_line_bytes", max_line_bytes, 1, 1 << 30)
        check_range("max_expansion", max_expansion, 0, 1 << 30)
        check_range("block_bytes", block_bytes, 1, 1 << 30)
        self.source = source
        self.key = key
        self.errors: OnInvalid = errors
        self.max_line_bytes = max_line_bytes
        self.max_expansion = max_expansion
        self.block_bytes = block_bytes
        self.counts = Counts()
        self._files = find_files(source, key)
        self._was_read = False

    @property
    def can_reread(self) -> bool:
        """Whether a second pass is possible: not so for standard input and pipes."""
        return all(file.kind in ("regular", "builtin") for file in self._files)

    @property
    def fingerprint(self) -> str | None:
        """A key for a cache of what this source gives, or None where it can be read only once.

        It changes with the path, size or time of change of any file (with the content of a built-in
        corpus), and with the options that decide which lines are kept.
        """
        if not self.can_reread:
            return None
        files = [
            [f"builtin:{file.name}", BUILTIN_CORPORA[file.name].sha256]
            if file.kind == "builtin"
            else [os.path.abspath(file.name), file.stamp]
            for file in self._files
        ]
        told = json.dumps([READER_VERSION, self.errors, self.max_line_bytes, files])
        return hashlib.sha256(told.encode()).hexdigest()

    def __iter__(self) -> Iterator[Sentence]:
        """Read the source, a sentence at a time."""
        for block in self.blocks():
            for text, line in zip(block.texts, block.lines, strict=True):
                yield Sentence(text, block.file, line)

    def blocks(self) -> Iterator[Block]:
        """Read the source, as many sentences at a time as a block of bytes holds.

        Raises:
            ValueError: if a line is not UTF-8 and `errors` is strict, no line is kept, a packed
                file is damaged or unpacks too far, a file changed since this object was made, or a
                pipe is read a second time.
            OSError: if a file has gone or cannot be read.
        """
        if self._was_read and not self.can_reread:
            raise ValueError(
                f"`{self.key}` must be a file where it is read more than once, but it is "
                f"{self._shown} instead. Save the text to a file and name that."
            )
        self._was_read = True
        self.counts = counts = Counts()
        for file in self._files:
            line = 0
            with ExitStack() as stack:
                read = open_file(file, self.key, self.max_expansion, stack)
                for lines in _whole_lines(read, self.block_bytes, self.max_line_bytes):
                    before = counts.read
                    block = self._to_block(file.name, lines, line + 1, counts)
                    line += counts.read - before
                    if block.texts:
                        yield block
        if not counts.kept:
            raise ValueError(
                f"`{self.key}` must hold text, but there are no usable sentences in {self._shown}: "
                f"{counts}. Give at least one line that is not blank and not too long."
            )

    @property
    def _shown(self) -> str:
        return STANDARD_INPUT if self.source == "-" else quote(self.source)

    def _to_block(self, file: str, lines: bytes | None, first: int, counts: Counts) -> Block:
        """Decode whole lines, the first of which has the number `first`, and count them."""
        if lines is None:
            counts.read += 1
            counts.too_long += 1
            return Block(file, [], [])
        if b"\r" in lines:
            lines = lines.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        if len(lines) <= self.max_line_bytes:  # then no line of it can be too long
            try:
                decoded = lines.decode("utf-8").split("\n")
            except UnicodeDecodeError:
                pass
            else:
                decoded.pop()  # what stands behind the last line end
                return _without_blanks(file, decoded, range(first, first + len(decoded)), counts)
        return self._to_block_by_line(file, lines, first, counts)

    def _to_block_by_line(self, file: str, lines: bytes, first: int, counts: Counts) -> Block:
        """Do the same where something may be wrong with one of the lines."""
        decoded, numbers = [], []
        raw_lines = lines.split(b"\n")[:-1]
        for number, raw in enumerate(raw_lines, start=first):
            if len(raw) > self.max_line_bytes:
                counts.too_long += 1
                continue
            try:
                text = raw.decode("utf-8")
            except UnicodeDecodeError as error:
                if self.errors == "strict":
                    raise ValueError(self._tell_invalid(file, number, raw, error.start)) from None
                if self.errors == "skip":
                    counts.invalid += 1
                    continue
                counts.repaired += 1
                text = raw.decode("utf-8", "replace")
            decoded.append(text)
            numbers.append(number)
        counts.read += len(raw_lines) - len(decoded)
        return _without_blanks(file, decoded, numbers, counts)

    def _tell_invalid(self, file: str, number: int, raw: bytes, index: int) -> str:
        utf16 = number == 1 and raw.startswith((b"\xff\xfe", b"\xfe\xff"))
        encoding = "UTF-16" if utf16 else "LATIN1"
        return (
            f"`{self.key}` must be UTF-8 text, but line {number:,} of {quote(file)} has the "
            f"invalid byte 0x{raw[index]:02x} at byte {index + 1:,} instead. Convert the file "
            f"(`iconv -f {encoding} -t UTF-8`), or set `{self._errors_key}` to replace or skip."
        )


def _without_blanks(file: str, decoded: list[str], numbers: Sequence[int], counts: Counts) -> Block:
    texts = [stripped for text in decoded if (stripped := text.strip())]
    counts.read += len(decoded)
    counts.kept += len(texts)
    counts.blank += len(decoded) - len(texts)
    if len(texts) < len(decoded):
        numbers = [n for n, text in zip(numbers, decoded, strict=True) if text.strip()]
    return Block(file, texts, numbers)


def _whole_lines(
    read: Callable[[int], bytes], block_bytes: int, max_line_bytes: int
) -> Iterator[bytes | None]:
    """Yield stretches of bytes that end with a line end; None stands for one line over the cap.

    A line over the cap may also stand in such a stretch, where it came in whole.
    """
    rest = b""  # the start of a line whose end has not come yet
    dropping = False  # within a line over the cap
    after_cr = False  # the last byte was \r, so that a \n now would belong to it
    data = read(block_bytes)
    while data != BYTE_ORDER_MARK and BYTE_ORDER_MARK.startswith(data):
        if not (more := read(block_bytes)):
            break
        data += more
    data = data.removeprefix(BYTE_ORDER_MARK) or read(block_bytes)
    while data:
        if after_cr and data.startswith(b"\n"):
            data = data[1:]
        after_cr = data.endswith(b"\r")
        end = max(data.rfind(b"\n"), data.rfind(b"\r")) + 1
        if end:
            start = 0
            if dropping:
                start = min(at for at in (data.find(b"\n"), data.find(b"\r")) if at >= 0) + 1
                start += data[start - 1 : start + 1] == b"\r\n"
                dropping = False
            if rest or end > start:
                yield rest + data[start:end]
            rest = b""
        if not dropping:
            rest += data[end:]
        if len(rest) > max_line_bytes:
            yield None
            rest, dropping = b"", True
        data = read(block_bytes)
    if rest:
        yield rest + b"\n"
