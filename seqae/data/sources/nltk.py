"""Corpora of NLTK: the sentences of a corpus reader, with their words joined to text again.

    nltk:CORPUS[:CATEGORY_OR_FILE[+CATEGORY_OR_FILE...]]

A file of the corpus is the unit: sentences are numbered in it, and parts are made of whole files.
Nothing is downloaded here; if a corpus is absent, the message says which command fetches it.
"""

from __future__ import annotations

import copy
import importlib
import itertools
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, final

from typing_extensions import override

from seqae.data.sources.base import Source, SourcePart
from seqae.data.sources.formats.reader import Keys
from seqae.data.sources.records import TOO_LONG, Block, Counts, Position, ReadOptions
from seqae.data.sources.walking import quote
from seqae.extras import extra

with extra("nltk"):
    import nltk
    from nltk.corpus.reader.api import CategorizedCorpusReader, CorpusReader
    from nltk.corpus.reader.bracket_parse import BracketParseCorpusReader
    from nltk.corpus.reader.plaintext import PlaintextCorpusReader
    from nltk.corpus.util import LazyCorpusLoader
    from nltk.data import ZipFilePathPointer
    from nltk.tokenize import PunktTokenizer
    from nltk.tokenize.treebank import TreebankWordDetokenizer

NAME = re.compile(r"nltk:(?P<corpus>\w+)(?::(?P<chosen>[^+]+(?:\+[^+]+)*))?", re.ASCII)
BLOCK_SENTENCES = 2048
MAX_LISTED_NAMES = 20  # in a message

# Replaces an apostrophe while words are joined; a private character, which no text has.
APOSTROPHE = "\ue000"
# A quotation mark begins a quotation if it comes after one of these.
BEFORE_QUOTATION = frozenset(["", ",", ":", ";", "--", "(", "``", "`"])


@final
@dataclass(frozen=True)
class NltkReader:
    """Reads some files of a corpus; plain data, so that workers can have a copy.

    Attributes:
        corpus: its name.
        files: their names in NLTK.
        keys: for error messages.
        max_bytes: longer sentences are dropped.
    """

    corpus: str
    files: tuple[str, ...]
    keys: Keys
    max_bytes: int

    def blocks(self, start: Position | None = None) -> Iterator[Block]:
        """Read the files, or continue after the block whose `end` is `start`.

        Raises:
            OSError: if NLTK cannot read a file.
        """
        first, done = (start["file"], start["sentence"]) if start else (0, 0)
        corpus = load_corpus(self.corpus, self.keys)
        for index in range(first, len(self.files)):
            file = self.files[index]
            sentences = itertools.islice(read_sentences(corpus, file), done, None)
            while texts := self._take(sentences, file):
                counts = Counts(len(texts))
                numbers: Sequence[int] = range(done + 1, done + len(texts) + 1)
                done += len(texts)
                is_short = [len(text.encode()) <= self.max_bytes for text in texts]
                if not all(is_short):
                    counts.dropped[TOO_LONG] = is_short.count(False)
                    texts = list(itertools.compress(texts, is_short))
                    numbers = list(itertools.compress(numbers, is_short))
                end = {"file": index, "sentence": done}
                shown = f"nltk:{self.corpus}:{file}"
                yield Block(shown, texts, numbers, counts, end).stripped()
            done = 0

    def _take(self, sentences: Iterator[str], file: str) -> list[str]:
        try:
            return list(itertools.islice(sentences, BLOCK_SENTENCES))
        except Exception as error:  # each reader of NLTK fails in its own way
            raise OSError(
                f"`{self.keys.source}` must be readable, but reading {file} of NLTK's "
                f"{self.corpus} failed instead ({type(error).__name__}: {error}). Fetch it again: "
                f"python -m nltk.downloader --force {self.corpus}"
            ) from error


@final
class NltkSource(Source):
    """A corpus of NLTK, or some categories or files of it.

    Raises:
        ValueError: if the name is wrong, the corpus has no sentences, or the options ask for
            paired text.
        FileNotFoundError: if the corpus is not on this machine.
    """

    def __init__(self, name: str, options: ReadOptions, keys: Keys) -> None:
        super().__init__(name, options, keys)
        match = NAME.fullmatch(name)
        if match is None:
            raise ValueError(
                f"`{keys.source}` must be written nltk:CORPUS[:CATEGORY_OR_FILE[+...]], but it is "
                f"{quote(name)} instead. Write it like nltk:brown:news+romance."
            )
        if options.target_column is not None:
            raise ValueError(
                f"`{keys.section}target_column` must not be given for a corpus of NLTK, which has "
                f"no columns, but it is {options.target_column} instead. Leave it out."
            )
        self.corpus = match["corpus"]
        corpus = load_corpus(self.corpus, keys)
        self.files = self._choose(corpus, match["chosen"])
        self.stamps = [_stamp(corpus, file) for file in self.files]

    @override
    @property
    def can_reread(self) -> bool:
        return True

    @property
    def fingerprint(self) -> str:
        """Changes with the size or modification time of any file, and with the options."""
        files = list(zip(self.files, self.stamps, strict=True))
        return self.hash_of(self.corpus, files)

    @override
    @property
    def record(self) -> dict[str, Any]:
        return {"corpus": self.corpus, "files": len(self.files), "nltk": nltk.__version__}

    @override
    def parts(self, wanted: int = 1) -> list[SourcePart]:
        most = self.options.max_line_bytes
        cuts = [len(self.files) * index // wanted for index in range(wanted + 1)]
        return [
            SourcePart(NltkReader(self.corpus, self.files[begin:stop], self.keys, most))
            for begin, stop in zip(cuts, cuts[1:], strict=False)
        ]

    def _choose(self, corpus: Any, chosen: str | None) -> tuple[str, ...]:
        """Return the files that the name chooses, in the order of the corpus."""
        files = corpus.fileids()
        if chosen is None:
            return tuple(files)
        is_sorted = isinstance(corpus, CategorizedCorpusReader)
        categories = corpus.categories() if is_sorted else []
        wanted: set[str] = set()
        for name in chosen.split("+"):
            if name in categories:
                wanted.update(corpus.fileids(categories=[name]))
            elif name in files:
                wanted.add(name)
            else:
                listed = ", ".join([*categories, *files][:MAX_LISTED_NAMES])
                raise ValueError(
                    f"`{self.keys.source}` must name categories or files of {self.corpus}, but "
                    f"there is no {quote(name)} instead. Choose of: {listed} ..."
                )
        return tuple(file for file in files if file in wanted)


def load_corpus(name: str, keys: Keys) -> Any:
    """Load the CorpusReader of a corpus, and check that it has sentences.

    Raises:
        ValueError: if there is no such corpus, or it has no sentences.
        FileNotFoundError: if it is not on this machine.
    """
    corpora = importlib.import_module("nltk.corpus")  # the name in `nltk` is a lazy stand-in
    corpus = vars(corpora).get(name)  # not getattr: the name may come from a stranger
    if not isinstance(corpus, (LazyCorpusLoader, CorpusReader)):
        raise ValueError(
            f"`{keys.source}` must name a corpus of NLTK, but there is no {quote(name)} instead. "
            f"Choose one of https://www.nltk.org/nltk_data, such as brown, gutenberg or reuters."
        )
    try:
        corpus.ensure_loaded()
        if isinstance(corpus, PlaintextCorpusReader):
            corpus = copy.copy(corpus)  # it has the text, which must not be cut into words
            corpus._word_tokenizer = _NoTokenizer()
            corpus._sent_tokenizer = corpus._sent_tokenizer or PunktTokenizer()
    except LookupError as error:
        raise _absence(name, keys, str(error)) from None
    if "sents" not in dir(corpus) or not corpus.fileids():
        raise ValueError(
            f"`{keys.source}` must name a corpus that has sentences, but {name} has none instead "
            f"(NLTK reads it by {type(corpus).__name__}). Choose brown, gutenberg or reuters."
        )
    return corpus


def _absence(name: str, keys: Keys, message: str) -> FileNotFoundError:
    """Say in one line what NLTK says in twenty: what is missing, and where NLTK looked for it."""
    match = re.search(r"nltk\.download\('([\w.-]+)'\)", message)
    missing = match[1] if match else name
    first, others = nltk.data.path[0], len(nltk.data.path) - 1
    return FileNotFoundError(
        f"`{keys.source}` must be on this machine, but NLTK's {missing} is not in {first} or "
        f"{others} other folders instead. Get it with: python -m nltk.downloader {missing}"
    )


class _NoTokenizer:
    """Leaves a sentence whole, where NLTK expects a tokenizer of words."""

    def tokenize(self, text: str) -> list[str]:
        return [text]


def _stamp(corpus: Any, file: str) -> tuple[int, int]:
    """Return the size and mtime_ns of a file, or of the .zip that holds it."""
    path = corpus.abspath(file)
    is_in_zip = isinstance(path, ZipFilePathPointer)
    status = os.stat(path.zipfile.filename if is_in_zip else path.path)
    return status.st_size, status.st_mtime_ns


def read_sentences(corpus: Any, file: str) -> Iterator[str]:
    """Read the sentences of a file of a corpus as text."""
    if isinstance(corpus, PlaintextCorpusReader):
        for sentence in corpus.sents(file):
            yield " ".join(" ".join(sentence).split())
        return
    join = TreebankWordDetokenizer().detokenize
    if isinstance(corpus, BracketParseCorpusReader):
        sentences = (
            [word for word, tag in tagged if tag != "-NONE-"]  # a trace, which nobody wrote
            for tagged in corpus.tagged_sents(file)
        )
    else:
        sentences = corpus.sents(file)
    for words in sentences:
        text = join(mend_words(words), convert_parentheses=True)
        yield text.replace(APOSTROPHE, "'")


def mend_words(words: Sequence[str]) -> list[str]:
    """Undo what corpora do to words and TreebankWordDetokenizer does not undo.

    Brown doubles marks that end a sentence ("? ?"), writes a full stop after an abbreviation that
    has one, doubles the sign of inches (12'' ''), and separates single quotation marks, which are
    joined here to the words to which they belong.
    """
    mended: list[str] = []
    before, prefix, is_open = "", "", False
    for index, word in enumerate(words):
        last, before = before, word
        if word == last and word in ("?", "!", ";", ":"):
            continue
        if word == "." and last.endswith(".") and last[0].isalnum():
            continue
        if word == "''" and last.endswith("''") and last != word:
            continue
        if word in ("'", "`"):
            # After a word that ends in s it is probably a genitive.
            may_open = not last.endswith("s") and "'" in words[index + 1 :]
            is_open = not is_open and (word == "`" or last in BEFORE_QUOTATION or may_open)
            if is_open or not mended:
                prefix = APOSTROPHE
            else:
                mended[-1] += APOSTROPHE
            continue
        mended.append(prefix + word)
        prefix = ""
    if prefix:
        mended.append(prefix)
    return mended
