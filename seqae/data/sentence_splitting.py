"""Documents to sentences, in several languages, with Wikimedia's `sentencex`.

It cuts by rules: at what ends a sentence in any script, but not behind an abbreviation, an initial
or within quotation marks; about 1 µs a sentence. Where it is not sure it does not cut. It takes any
code for a language, and reads those that it has no rules for as English; here these are refused,
so that a misspelt code is not found out by its results.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

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
