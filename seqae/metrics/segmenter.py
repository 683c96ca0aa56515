"""Words of any script: the one place where the metrics split text.

Blanks separate words where a script has them. Where it has none (Chinese, Japanese, Thai, Lao,
Khmer, Burmese, Tibetan and scripts akin to these), each character is a word, together with the
marks and the stacked consonants that it carries; mixed text is split script by script. A dictionary
would find real words there, but each language needs its own, and its version would be part of every
score.

- `words`: words and punctuation as sacreBLEU has them, for BLEU, edit distance and diversity. Text
  without such a script gets exactly sacreBLEU's `13a`; Chinese gets its `zh`.
- `lower_words`: the same in lower case, for the judge of samples.
- `blank_separated`: words with their punctuation, for metrics that are published so, and lengths.
- `terms`: words in lower case without punctuation, for TF-IDF.
"""

from __future__ import annotations

from seqae.extras import extra

with extra("eval"):
    import regex
    from sacrebleu.metrics.bleu import BLEU

# In sacreBLEU's signatures: 13a, but characters in scripts without blanks.
NAME = "13a+char"

# Blocks of scripts without blanks, their punctuation and digits included. Blocks, because Unicode
# counts punctuation and some kana to no script.
_UNSPACED = (
    r"\u0E00-\u109F"  # Thai, Lao, Tibetan, Myanmar
    r"\u1780-\u17FF\u1950-\u19FF"  # Khmer; Tai Le, New Tai Lue, Khmer symbols
    r"\u1A20-\u1AAF\uA9E0-\uA9FF\uAA60-\uAADF"  # Tai Tham, Myanmar extended, Tai Viet
    r"\u2E80-\u312F\u3190-\u9FFF\uF900-\uFAFF"  # Han, kana, bopomofo, their punctuation
    r"\uFE10-\uFE1F\uFE30-\uFE4F\uFF00-\uFF9F\uFFE0-\uFFEF"  # vertical, wide, half-width forms
    r"\U0001AFF0-\U0001B16F\U00020000-\U0003FFFF"  # more kana and Han
)

# A character with its marks, and with the consonants that Khmer, Burmese and Tai Tham write below
# it after one of three signs. Unicode's grapheme clusters leave these apart, and some vowels, too.
_CHARACTER = regex.compile(rf"[{_UNSPACED}](?:\p{{M}}|(?<=[\u1039\u17D2\u1A60])\p{{L}})*")

_ZERO_WIDTH_SPACE = "\u200b"  # where lines may break in scripts without blanks

# scikit-learn's `\w+`, except that a mark does not end a word.
_TERM = regex.compile(r"[\p{L}\p{N}_][\p{L}\p{N}\p{M}_]*")

_tokenize_13a = BLEU(tokenize="13a").tokenizer


def tokenize(text: str) -> str:
    """Split a text as `words` does, and join the words with blanks, as sacreBLEU wants them."""
    tokenized: str = _tokenize_13a(_space(text).rstrip())
    return tokenized


def words(text: str) -> list[str]:
    """Split a text into words and punctuation: sacreBLEU's 13a, or characters without blanks."""
    return tokenize(text).split()


def lower_words(text: str) -> list[str]:
    """Split a text in lower case as `words` does."""
    return words(text.lower())


def blank_separated(text: str) -> list[str]:
    """Split a text at blanks, or into characters where its script has none."""
    return _space(text).split()


def terms(text: str) -> list[str]:
    """Split a text into words in lower case, without punctuation."""
    found: list[str] = _TERM.findall(_space(text.lower()))
    return found


def ends_in_unspaced(text: str) -> bool:
    """Tell whether a text ends in a script without blanks, so that none follows it either."""
    return bool(_CHARACTER.fullmatch(text[-1:]))


def _space(text: str) -> str:
    """Put blanks around each character of a script without blanks."""
    if text.isascii() or not _CHARACTER.search(text):
        return text
    spaced: str = _CHARACTER.sub(r" \g<0> ", text.replace(_ZERO_WIDTH_SPACE, " "))
    return spaced
