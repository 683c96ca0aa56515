"""Document: the sentences that a summarizer reads; and Summary: what it says, with its evidence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from seqae.component import check_range, check_whole
from seqae.data.containers import read_texts
from seqae.data.sentences.cleaning import check_language, sentence_splitter
from seqae.metrics.segmenter import blank_separated, ends_in_unspaced

LANGUAGE = "en"  # its rules also cut after the full stops of other scripts


@dataclass(frozen=True)
class Document:
    """What is summarized: sentences, or the inputs that somebody wants one summary of.

    Attributes:
        sentences: in their order, none blank; their indices are the evidence of a summary.
        sources: (n,), which text that was given each is from: 0 for all those of one text, or the
            number of the review.
    """

    sentences: tuple[str, ...]
    sources: tuple[int, ...]

    @classmethod
    def read(
        cls, key: str, text: Any, split: bool | None = None, language: str = LANGUAGE
    ) -> Document:
        """Make a document of a text, or of a list of sentences or reviews.

        Args:
            key: names it in error messages.
            text: one text, or a list of them.
            split: whether to cut each text into its sentences; by default one text is cut, and
                those of a list are taken as they are.
            language: whose rules say where a sentence ends, as ISO 639-1 code.

        Raises:
            ValueError: if it is neither, or there are no rules for the language.
        """
        texts, is_one = read_texts(key, text)
        if not (is_one if split is None else split):
            kept = [(index, one.strip()) for index, one in enumerate(texts) if one.strip()]
        else:
            check_language("language", language)
            cut = sentence_splitter(language)
            kept = [(index, sentence) for index, one in enumerate(texts) for sentence in cut(one)]
        return cls(tuple(sentence for _, sentence in kept), tuple(index for index, _ in kept))

    def __len__(self) -> int:
        return len(self.sentences)

    @cached_property
    def text(self) -> str:
        """The sentences as one text."""
        return joined(self.sentences)

    @cached_property
    def words(self) -> tuple[int, ...]:
        """Count the words of each sentence."""
        return tuple(len(blank_separated(sentence)) for sentence in self.sentences)


@dataclass(frozen=True)
class SummarySentence:
    """A sentence of a summary.

    Attributes:
        text: the sentence.
        evidence: indices of the sentences of the document that it stands for, ascending: the one
            that was taken, or all those that went into what was decoded.
    """

    text: str
    evidence: tuple[int, ...]


@dataclass(frozen=True)
class Summary:
    """What a summarizer returns; str() is its text.

    Attributes:
        sentences: in the order in which they are to be read.
    """

    sentences: tuple[SummarySentence, ...]

    @property
    def text(self) -> str:
        """The sentences as one text."""
        return joined([sentence.text for sentence in self.sentences])

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class Budget:
    """How long a summary may be: exactly one of these.

    Words are those between blanks, or characters in a script without blanks.

    Args:
        sentences: most sentences.
        words: most words.
        bytes: most bytes in UTF-8, a blank between two sentences counted.
        ratio: most words, as a share of those of the document.
    """

    sentences: int | None = None
    words: int | None = None
    bytes: int | None = None
    ratio: float | None = None

    def __post_init__(self) -> None:
        given = {name: value for name, value in vars(self).items() if value is not None}
        if len(given) != 1:
            shown = " and ".join(f"{name} {value}" for name, value in given.items())
            raise ValueError(
                f"`budget` must be one of sentences, words, bytes or ratio, but it is "
                f"{shown or 'nothing'} instead. Give exactly one."
            )
        for name, value in given.items():
            if isinstance(value, bool):
                raise ValueError(
                    f"`{name}` must be a number, but it is {value} instead. Write one."
                )
            if name == "ratio":
                check_range(name, value, 1e-6, 1.0)
            else:
                object.__setattr__(self, name, check_whole(name, value, 1, 10**9))

    def of(self, document: Document) -> Budget:
        """Return what a ratio allows of a document in words, at least one; others as they are."""
        if self.ratio is None:
            return self
        return Budget(words=max(1, round(self.ratio * sum(document.words))))

    @property
    def amount(self) -> int:
        """How many sentences, words or bytes; a ratio is resolved by `of` before."""
        amount = self.sentences or self.words or self.bytes
        if amount is None:
            raise TypeError("a ratio is an amount only of a document")
        return amount

    def with_amount(self, amount: int) -> Budget:
        """Return a budget of the same unit."""
        units = ("sentences", "words", "bytes")
        return Budget(**{unit: amount for unit in units if getattr(self, unit) is not None})

    def costs(self, document: Document) -> tuple[int, ...]:
        """Measure what each sentence adds to a text, in the unit of the budget, its blank too."""
        if self.sentences is not None:
            return (1,) * len(document)
        if self.words is not None:
            return document.words
        blanks = map(self.blank_after, document.sentences)
        sizes = (self.size([sentence]) for sentence in document.sentences)
        return tuple(size + blank for size, blank in zip(sizes, blanks, strict=True))

    def blank_after(self, sentence: str) -> int:
        """Say what the blank costs that parts a sentence from one that follows."""
        return int(self.bytes is not None and not ends_in_unspaced(sentence))

    def size(self, sentences: Sequence[str]) -> int:
        """Measure sentences in the unit of the budget; a ratio is resolved by `of` before."""
        if self.sentences is not None:
            return len(sentences)
        text = joined(sentences)
        return len(text.encode(errors="replace")) if self.bytes else len(blank_separated(text))

    def fits(self, sentences: Sequence[str]) -> bool:
        """Tell whether sentences are within the budget."""
        return self.size(sentences) <= self.amount

    def cut(self, text: str) -> str:
        """Cut a text to the budget: after the last whole word, or the last whole character.

        One of sentences leaves it whole: a text counts as one.
        """
        if self.sentences is not None or self.fits([text]):
            return text
        if self.bytes is not None:
            return text.encode(errors="replace")[: self.bytes].decode(errors="ignore").strip()
        low, high = 0, len(text)  # the words of a beginning grow with it
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if self.fits([text[:middle]]) else (low, middle - 1)
        return text[:low].strip()


def joined(sentences: Sequence[str]) -> str:
    """Join sentences to one text: with blanks, except after a script that has none."""
    pieces = [sentence if ends_in_unspaced(sentence) else f"{sentence} " for sentence in sentences]
    return "".join(pieces).rstrip()
