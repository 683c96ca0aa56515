"""The filters of clean_web.py: datatrove's own, for text in any language, and without a download.

datatrove's word tokenizers need models of spaCy or NLTK, its language filter one of fastText, and
its filter of addresses a list of domains; here, packages bring what is needed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import regex
from datatrove.data import Document
from datatrove.pipeline.dedup import MinhashDedupFilter
from datatrove.pipeline.extractors import Trafilatura
from datatrove.pipeline.filters import (
    C4QualityFilter,
    FineWebQualityFilter,
    GopherQualityFilter,
    GopherRepetitionFilter,
    URLFilter,
)
from datatrove.pipeline.filters.base_filter import BaseFilter
from datatrove.utils.word_tokenizers import WordTokenizer
from typing_extensions import override

from seqae.data.sentences.cleaning import sentence_splitter
from seqae.data.sentences.language import (
    OTHER_LANGUAGE,
    UNCLEAR_LANGUAGE,
    in_languages,
    most_probable,
)

# Words are not separated by blanks, so that every character counts as one.
UNSPACED = frozenset(("zh", "yue", "wuu", "ja", "th", "lo", "km", "my", "dz"))
# Sentences end with another mark than C4 knows (. ? ! and quotes).
OTHER_STOPS = UNSPACED | {"hi", "bn", "mr", "ne", "pa", "or", "as", "sa", "am", "hy", "ur", "sdh"}
# An address, a name or number with points and a run of one mark are a word each, as for spaCy; else
# text with many of them would fail Gopher's rule that 80 % of the words have a letter.
WORD = regex.compile(r"(?:https?|ftp)://[^\s<>()\"]+|[\w.+-]+@[\w-]+(?:\.[\w-]+)+|"
                     r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}]|"
                     r"[\p{L}\p{M}\p{N}_'’-]+(?:\.[\p{L}\p{N}_-]+|[,:/]\p{N}+)*|"
                     r"([^\s\p{L}\p{M}\p{N}])\1*")  # fmt: skip
# Any white space of a page is one blank, but where it says otherwise. trafilatura keeps line ends,
# and C4 takes each line for a paragraph.
BLANKS = regex.compile(r"(<pre\b.*?</pre\s*>)|[ \t\r\n\f]+", regex.IGNORECASE | regex.DOTALL)


class Words(WordTokenizer):
    """Cuts text into words by Unicode's classes, and into sentences as `prepare` does."""

    @override
    def word_tokenize(self, text: str) -> list[str]:
        return [match[0] for match in WORD.finditer(text)]

    @override
    def sent_tokenize(self, text: str) -> list[str]:
        return sentence_splitter(self.language or "en")(text)

    @override
    def span_tokenize(self, text: str) -> list[tuple[int, int]]:
        spans, at = [], 0
        for sentence in self.sent_tokenize(text):
            start = text.index(sentence, at)
            at = start + len(sentence)
            spans.append((start, at))
        return spans


class Html(Trafilatura):
    """Takes the text out of pages; other documents pass."""

    name = "html"

    @override
    def extract(self, text: str) -> str:
        return super().extract(BLANKS.sub(lambda match: match[1] or " ", text))

    @override
    def run(self, data: Any, rank: int = 0, world_size: int = 1) -> Iterator[Document]:
        pages: list[Document] = []
        for document in data:
            if document.metadata.pop("html", False):
                pages.append(document)
                if len(pages) >= 500:
                    yield from super().run(pages, rank, world_size)
                    pages = []
            else:
                self.stat_update("total", "forwarded")
                yield document
        if pages:
            yield from super().run(pages, rank, world_size)


class Url(URLFilter):
    """Drops pages by lists of addresses; documents without one pass."""

    name = "url"

    def __init__(self, excluded: Any) -> None:
        from tldextract import TLDExtract

        super().__init__(exclusion_writer=excluded)
        self.tldextractor = TLDExtract(suffix_list_urls=())  # the list in the package: no download

    @override
    def filter(self, document: Document) -> bool | tuple[bool, str]:
        return True if not document.metadata.get("url") else super().filter(document)


class Language(BaseFilter):
    """Keeps documents in some languages, or in any that is clear; adds the language."""

    name = "language"

    def __init__(self, languages: list[str] | None, probability: float, excluded: Any) -> None:
        super().__init__(excluded)
        self.languages, self.probability = languages, probability

    @override
    def filter(self, document: Document) -> bool | tuple[bool, str]:
        beginning = document.text[:4000]
        code, probability = most_probable(beginning)
        document.metadata["language"] = code
        document.metadata["language_probability"] = round(probability, 3)
        if self.languages is None:
            return (True, "") if probability >= self.probability else (False, "unclear")
        dropped: Counter[str] = Counter()
        if in_languages([beginning], self.languages, self.probability, dropped):
            return True
        names = {OTHER_LANGUAGE: f"other ({code})", UNCLEAR_LANGUAGE: "unclear"}
        return False, names[next(iter(dropped))]


class Repetition(GopherRepetitionFilter):
    """Gopher's limits on repeated lines, paragraphs and n-grams."""

    name = "gopher-repetition"

    def __init__(self, excluded: Any) -> None:
        super().__init__(language=Words(), exclusion_writer=excluded)


class Quality(BaseFilter):
    """Gopher's rules for words; English stop words in English, no word lengths without blanks."""

    name = "gopher-quality"

    def __init__(self, excluded: Any) -> None:
        super().__init__(excluded)
        words = Words()
        self.english = GopherQualityFilter(language=words)
        self.spaced = GopherQualityFilter(language=words, min_stop_words=None)
        self.unspaced = GopherQualityFilter(
            language=words, min_stop_words=None, min_avg_word_length=None
        )

    @override
    def filter(self, document: Document) -> bool | tuple[bool, str]:
        code = document.metadata.get("language")
        chosen = self.unspaced if code in UNSPACED else self.spaced
        return (self.english if code == "en" else chosen).filter(document)


class C4(C4QualityFilter):
    """C4's rules for lines and pages; languages with other full stops pass."""

    name = "c4"

    def __init__(self, excluded: Any) -> None:
        super().__init__(excluded, language=Words())

    @override
    def filter(self, document: Document) -> bool | tuple[bool, str]:
        return document.metadata.get("language") in OTHER_STOPS or super().filter(document)


class FineWeb(FineWebQualityFilter):
    """FineWeb's rules for lines: their ends, their lengths, repeated characters."""

    name = "fineweb"

    def __init__(self, excluded: Any) -> None:
        super().__init__(excluded, language=Words())


class Near(MinhashDedupFilter):
    """Drops the documents that MinHash found near to one that stays."""

    name = "near-duplicates"
