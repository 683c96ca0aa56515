"""Cleaning: change the text of a record before it is tokenised, or drop it.

    record ─► split into sentences ─► Unicode form ─► lower case ─► white space ─► range of lengths
           ─► language

Splitting comes first, because it looks at capitals and blank lines. What changes the characters of
a sentence is a Normalization. It goes into the bundle with the model, which so reads text at
inference in the form that it had in training.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

from seqae.component import check_literal, check_range
from seqae.data.sentences.language import check_languages, in_languages
from seqae.data.sentences.near_duplicates import Similarity
from seqae.data.sources.records import Block, Counts
from seqae.extras import extra

UnicodeForm = Literal["NFC", "NFD", "NFKC", "NFKD"]

TOO_SHORT = "too short"
TOO_MANY_CHARACTERS = "too long in characters"
MAX_CHARACTERS = 1 << 30
LEAST_SIMILAR = 0.3  # below, a signature would need more bands than it is worth


@dataclass(frozen=True)
class Normalization:
    """Options that say how to write text, in training and whenever the model reads a text later.

    Args:
        unicode_form: convert all text to one of Unicode's four forms. `NFC` writes é in one way
            only; `NFKC` also makes ﬁ fi, ２ 2 and no-break spaces blanks.
        lowercase: write everything in lower case.
        collapse_whitespace: make one blank of any run of white space, line ends included.
    """

    unicode_form: UnicodeForm | None = None
    lowercase: bool = False
    collapse_whitespace: bool = False

    def __call__(self, text: str) -> str:
        """Normalise a text; a second time changes nothing."""
        if self.unicode_form is not None:
            # In the K forms, characters such as U+00A8 become a blank and an accent.
            text = unicodedata.normalize(self.unicode_form, text).strip()
        if self.lowercase:
            text = text.lower()
        if self.collapse_whitespace:
            text = " ".join(text.split())
        return text

    @property
    def changes_nothing(self) -> bool:
        """Whether it leaves every text as it is."""
        return self == Normalization()


@dataclass(frozen=True)
class CleanOptions(Normalization):
    """Options that say how to clean text before it is tokenised.

    Args:
        split_sentences: the language (en, de, zh ...) of documents to split into their sentences;
            by default every line or record is one sentence.
        min_characters: drop shorter sentences.
        max_characters: drop longer sentences.
        languages: keep only sentences in these languages ([en, de] ...), as py3langid tells.
        language_probability: least probability that a sentence is in one of `languages`. Where no
            language is as probable as this, as in most sentences of a few words, the sentence is
            dropped as unclear.
        deduplicate: keep only the first of equal sentences; if they are in several splits, keep the
            one in test, or else in val.
        near_duplicates: keep only the first of sentences that share at least this part of their
            character n-grams (0.8 is a good value), case and punctuation aside; across splits as
            `deduplicate` does.
        near_duplicate_characters: of an n-gram of `near_duplicates`.
    """

    split_sentences: str | None = None
    min_characters: int = 1
    max_characters: int | None = None
    deduplicate: bool = False
    languages: list[str] | None = None
    language_probability: float = 0.5
    near_duplicates: float | None = None
    near_duplicate_characters: int = 3

    def check(self, section: str) -> None:
        """Check the values.

        Args:
            section: the prefix of the options' keys in the configuration, with a dot, or nothing.

        Raises:
            ValueError: if one is out of range or not one of the choices.
        """
        if self.unicode_form is not None:
            check_literal(f"{section}unicode_form", self.unicode_form, UnicodeForm)
        if self.split_sentences is not None:
            check_language(f"{section}split_sentences", self.split_sentences)
        check_range(f"{section}min_characters", self.min_characters, 1, MAX_CHARACTERS)
        if self.max_characters is not None:
            low = self.min_characters
            check_range(f"{section}max_characters", self.max_characters, low, MAX_CHARACTERS)
        if self.languages is not None:
            check_languages(f"{section}languages", self.languages)
        check_range(f"{section}language_probability", self.language_probability, 0.0, 1.0)
        if self.near_duplicates is not None:
            check_range(f"{section}near_duplicates", self.near_duplicates, LEAST_SIMILAR, 1.0)
        check_range(f"{section}near_duplicate_characters", self.near_duplicate_characters, 1, 32)

    @property
    def similarity(self) -> Similarity | None:
        """What makes two sentences near-duplicates; None if they stay."""
        if self.near_duplicates is None:
            return None
        return Similarity(self.near_duplicates, self.near_duplicate_characters)

    @property
    def normalization(self) -> Normalization:
        """The options that go into the bundle with a model."""
        mine = {field.name: getattr(self, field.name) for field in fields(Normalization)}
        return Normalization(**mine)


def clean(block: Block, options: CleanOptions) -> tuple[Block, Counts]:
    """Clean the texts of a block; keep the sides of a pair together.

    Args:
        block: of stripped texts, as readers give them.
        options: say how.

    Returns:
        A block of the remaining sentences, in which each has the number of its record; and what
        became of all sentences that the records held.
    """
    texts, numbers, targets = block.texts, block.numbers, block.targets
    if options.split_sentences is not None:
        assert targets is None, "CorpusConfig.check refuses to split one side of a pair"
        texts, numbers = _split(texts, numbers, options.split_sentences)
    counts = Counts(read=len(texts))
    normalize = options.normalization
    if not normalize.changes_nothing:
        texts = [normalize(text) for text in texts]
        targets = targets and [normalize(text) for text in targets]
    if options.min_characters > 1 or options.max_characters is not None:
        indices = _in_range(texts, targets, options, counts)
        block = replace(block, texts=texts, numbers=numbers, targets=targets).select(indices)
    else:
        block = replace(block, texts=texts, numbers=numbers, targets=targets)
    if options.languages is not None:
        block = block.select(
            in_languages(
                block.texts, options.languages, options.language_probability, counts.dropped
            )
        )
    return block, counts


def without_defaults(options: Mapping[str, Any]) -> dict[str, Any]:
    """Leave the options out that came later and are not used: what they key stays as it was."""
    later = {
        "languages": ["language_probability"],
        "near_duplicates": ["near_duplicate_characters"],
    }
    unused = {name for key, more in later.items() if options[key] is None for name in [key, *more]}
    return {name: value for name, value in options.items() if name not in unused}


def _split(
    documents: list[str], numbers: Sequence[int], language: str
) -> tuple[list[str], list[int]]:
    split = sentence_splitter(language)
    sentences: list[str] = []
    owners: list[int] = []
    for document, number in zip(documents, numbers, strict=True):
        pieces = split(document)
        sentences += pieces
        owners += [number] * len(pieces)
    return sentences, owners


def _in_range(
    texts: list[str], targets: list[str] | None, options: CleanOptions, counts: Counts
) -> list[int]:
    """Return the indices of texts whose sides are neither too short nor too long; count others."""
    low = options.min_characters
    high = MAX_CHARACTERS if options.max_characters is None else options.max_characters
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


# Languages with rules, or upstream tests, of their own (sentencex 1.0.32). `zh` has no
# abbreviations.
NAMED = (
    "am, ar, bg, bn, ca, da, de, el, en, es, fi, fr, gu, he, hi, hy, it, ja, kk, kn, ml, mr, my, "
    "nl, pa, pl, pt, ru, sk, ta, te, uk, ur, zh"
)
LANGUAGES = frozenset(NAMED.split(", "))

# White space of more than one byte. In places the library takes it for one byte: `I` and a no-break
# space before a full stop make it panic (sentencex 1.0.32, is_name_initial_for).
WIDE_BLANKS = dict.fromkeys(
    [0x85, 0xA0, 0x1680, *range(0x2000, 0x200B), 0x2028, 0x2029, 0x202F, 0x205F, 0x3000], " "
)


def check_language(key: str, language: str) -> None:
    """Check that there are rules for a language.

    Args:
        key: the configuration key that holds it.
        language: its ISO 639-1 code; a region or a script may follow (`de-AT`, `zh_Hans`).

    Raises:
        ValueError: if there are none.
    """
    if _base(language) not in LANGUAGES:
        raise ValueError(
            f"`{key}` must be one of {NAMED}, but it is {language[:40]!r} instead. "
            f"Choose the most similar: en cuts after . ! ? and the like of other scripts."
        )


def sentence_splitter(language: str) -> Callable[[str], list[str]]:
    """Return a function that cuts a document into its sentences.

    The sentences are stripped of white space and never blank. A line end within a sentence stays; a
    blank line ends the sentence.

    Args:
        language: one that `check_language` accepts.
    """
    with extra("data"):
        from sentencex import segment  # imported only to split documents

    code = _base(language)

    def split(document: str) -> list[str]:
        try:
            pieces = segment(code, document.translate(WIDE_BLANKS))
        except UnicodeEncodeError:  # a lone surrogate, which the tokenizer refuses by its position
            return [document]
        except BaseException as error:
            # A Rust panic is no Exception, and one odd document is no reason to lose the others.
            if type(error).__name__ != "PanicException":
                raise
            return [document]
        return [sentence for piece in _cut(document, pieces) if (sentence := piece.strip())]

    return split


def _cut(document: str, pieces: list[str]) -> Iterator[str]:
    """Cut a document where the pieces end, whose total length is that of the document."""
    start = 0
    for piece in pieces:
        yield document[start : start + len(piece)]
        start += len(piece)


def _base(language: str) -> str:
    return language.replace("_", "-").partition("-")[0].lower()
