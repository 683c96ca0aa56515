"""Cleaning: what happens to the text of a record before it is tokenised, and what is left out.

    record ─► split into sentences ─► Unicode form ─► lower case ─► white space ─► range of lengths

Splitting comes first, because it looks at capitals and blank lines. What changes the letters of a
sentence is a Normalization, which goes with the model: what is read at inference is written as the
training text was.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Literal

from seqae.component import check_choice, check_range
from seqae.data.sources.records import Block, Counts

UnicodeForm = Literal["NFC", "NFD", "NFKC", "NFKD"]

TOO_SHORT = "too short"
TOO_MANY_CHARACTERS = "too long in characters"
MOST_CHARACTERS = 1 << 30


@dataclass(frozen=True)
class Normalization:
    """How text is written, in training and wherever the model reads a text later.

    Args:
        unicode_form: of Unicode's four, the one that all text is put into. `NFC` writes é in one
            way only; `NFKC` also makes ﬁ fi, ２ 2 and no-break spaces blanks.
        lowercase: write everything in lower case.
        collapse_whitespace: make one blank of any run of white space, line ends too.
    """

    unicode_form: UnicodeForm | None = None
    lowercase: bool = False
    collapse_whitespace: bool = False

    def __call__(self, text: str) -> str:
        """Write a text so; done twice it changes nothing more."""
        if self.unicode_form is not None:
            # Signs such as U+00A8 become a blank and an accent in the K forms.
            text = unicodedata.normalize(self.unicode_form, text).strip()
        if self.lowercase:
            text = text.lower()
        if self.collapse_whitespace:
            text = " ".join(text.split())
        return text

    @property
    def changes_nothing(self) -> bool:
        """Whether every text stays as it is."""
        return self == Normalization()


@dataclass(frozen=True)
class CleanOptions(Normalization):
    """What happens to text before it is tokenised.

    Args:
        split_sentences: the language (en, de, zh ...) of documents, each of which is to be split
            into its sentences; by default every line or record is one.
        min_characters: shorter sentences are dropped.
        max_characters: longer sentences are dropped.
        deduplicate: keep only the first of equal sentences, and of those that stand in several
            splits the one in test, or else in val.
    """

    split_sentences: str | None = None
    min_characters: int = 1
    max_characters: int | None = None
    deduplicate: bool = False

    def check(self, section: str) -> None:
        """Check the values.

        Args:
            section: the configuration key that these options stand under, with a dot, or nothing.

        Raises:
            ValueError: in the house grammar.
        """
        if self.unicode_form is not None:
            forms = ("NFC", "NFD", "NFKC", "NFKD")
            check_choice(f"{section}unicode_form", self.unicode_form, forms)
        if self.split_sentences is not None:
            check_language(f"{section}split_sentences", self.split_sentences)
        check_range(f"{section}min_characters", self.min_characters, 1, MOST_CHARACTERS)
        if self.max_characters is not None:
            low = self.min_characters
            check_range(f"{section}max_characters", self.max_characters, low, MOST_CHARACTERS)

    @property
    def normalization(self) -> Normalization:
        """The part of it that a model takes along."""
        mine = {field.name: getattr(self, field.name) for field in fields(Normalization)}
        return Normalization(**mine)


def clean(block: Block, options: CleanOptions) -> tuple[Block, Counts]:
    """Clean the texts of a block; the sides of a pair stay together.

    Args:
        block: of stripped texts, as readers give them.
        options: what to do.

    Returns:
        A block of what is left, in which the number of a record repeats for each of its sentences;
        and what became of the sentences that the records held.
    """
    texts, numbers, targets = block.texts, block.numbers, block.targets
    if options.split_sentences is not None:
        assert targets is None, "DataConfig.check refuses to split one side of a pair"
        texts, numbers = _split(texts, numbers, options.split_sentences)
    counts = Counts(read=len(texts))
    normalize = options.normalization
    if not normalize.changes_nothing:
        texts = [normalize(text) for text in texts]
        targets = targets and [normalize(text) for text in targets]
    if options.min_characters > 1 or options.max_characters is not None:
        indices = _in_range(texts, targets, options, counts)
        block = replace(block, texts=texts, numbers=numbers, targets=targets)
        return block.select(indices), counts
    return replace(block, texts=texts, numbers=numbers, targets=targets), counts


def _split(
    documents: list[str], numbers: Sequence[int], language: str
) -> tuple[list[str], list[int]]:
    split = sentence_splitter(language)
    sentences: list[str] = []
    owners: list[int] = []
    for document, number in zip(documents, numbers, strict=True):
        found = split(document)
        sentences += found
        owners += [number] * len(found)
    return sentences, owners


def _in_range(
    texts: list[str], targets: list[str] | None, options: CleanOptions, counts: Counts
) -> list[int]:
    """The indices of what is neither too short nor too long, on either side; count the others."""
    low = options.min_characters
    high = MOST_CHARACTERS if options.max_characters is None else options.max_characters
    keep: list[int] = []
    for index, text in enumerate(texts):
        sizes = (len(text),) if targets is None else (len(text), len(targets[index]))
        if min(sizes) < low:
            counts.dropped[TOO_SHORT] += 1
        elif max(sizes) > high:
            counts.dropped[TOO_MANY_CHARACTERS] += 1
        else:
            keep.append(index)
    return keep


# With rules, or upstream tests, of their own (sentencex 1.0.32). `zh` has no abbreviations.
NAMED = (
    "am, ar, bg, bn, ca, da, de, el, en, es, fi, fr, gu, he, hi, hy, it, ja, kk, kn, ml, mr, my, "
    "nl, pa, pl, pt, ru, sk, ta, te, uk, ur, zh"
)
LANGUAGES = frozenset(NAMED.split(", "))

# White space of more than one byte. The library counts one byte for it in places: `I` and a
# no-break space before a full stop make it panic (sentencex 1.0.32, is_name_initial_for).
WIDE_BLANKS = dict.fromkeys(
    [0x85, 0xA0, 0x1680, *range(0x2000, 0x200B), 0x2028, 0x2029, 0x202F, 0x205F, 0x3000], " "
)


def check_language(key: str, language: str) -> None:
    """Check that there are rules for a language.

    Args:
        key: the configuration key that holds it.
        language: its ISO 639-1 code; a region or a script may follow (`de-AT`, `zh_Hans`).

    Raises:
        ValueError: in the house grammar.
    """
    if _base(language) not in LANGUAGES:
        raise ValueError(
            f"`{key}` must be one of {NAMED}, but it is {language[:40]!r} instead. "
            f"Choose the most similar: en cuts behind . ! ? and what stands for them elsewhere."
        )


def sentence_splitter(language: str) -> Callable[[str], list[str]]:
    """Give a function that cuts a document into its sentences.

    What it gives is stripped of white space and never blank. A line end within a sentence stays; a
    blank line ends the sentence.

    Args:
        language: as `check_language` takes it.
    """
    from sentencex import segment  # only those who split documents load it

    code = _base(language)

    def split(document: str) -> list[str]:
        try:
            pieces = segment(code, document.translate(WIDE_BLANKS))
        except UnicodeEncodeError:  # a lone surrogate: the tokenizer refuses it, and says where
            return [document]
        except BaseException as error:
            # A Rust panic is no Exception. One odd document is no reason to lose the others.
            if type(error).__name__ != "PanicException":
                raise
            return [document]
        return [sentence for piece in _cut(document, pieces) if (sentence := piece.strip())]

    return split


def _cut(document: str, pieces: list[str]) -> Iterator[str]:
    """Cut where `pieces` end, which are as long as the document together."""
    start = 0
    for piece in pieces:
        yield document[start : start + len(piece)]
        start += len(piece)


def _base(language: str) -> str:
    return language.replace("_", "-").partition("-")[0].lower()
