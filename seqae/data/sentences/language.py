"""Tell the language of sentences with py3langid, a naive Bayes model over byte n-grams.

Source: Lui and Baldwin 2012, "langid.py: An Off-the-shelf Language Identification Tool"; py3langid
is a fork of it with a larger model, which its package contains. It is a pure function of a text.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from seqae.extras import extra

OTHER_LANGUAGE = "in another language"
UNCLEAR_LANGUAGE = "in no clear language"


def check_languages(key: str, languages: Sequence[str]) -> None:
    """Check that the model knows some languages.

    Args:
        key: the configuration key that holds them.
        languages: codes of ISO 639.

    Raises:
        ValueError: if there is none, or one that it does not know.
        ModuleNotFoundError: if py3langid is not installed.
    """
    if not languages:
        raise ValueError(f"`{key}` must name languages, but it is an empty list. Leave it out.")
    known = _identifier().labels
    if unknown := [str(code) for code in languages if code not in known]:
        raise ValueError(
            f"`{key}` must be codes that py3langid knows, but {', '.join(unknown)[:40]} is none "
            f"instead. Choose from: {', '.join(sorted(known))}."
        )


def in_languages(
    texts: Sequence[str], languages: Sequence[str], probability: float, dropped: Counter[str]
) -> list[int]:
    """Choose the texts that are in some languages.

    Args:
        texts: to look at.
        languages: codes of ISO 639; their probabilities are added.
        probability: least one that a text is in one of them.
        dropped: where to count the others: those in which some other language is as probable as
            this, and those in which none is.

    Returns:
        The indices of these texts, ascending.
    """
    keep: list[int] = []
    for index, text in enumerate(texts):
        by_language = dict(_identifier().rank(text))
        wanted = sum(by_language.pop(code) for code in languages)
        if wanted >= probability:
            keep.append(index)
        elif max(by_language.values()) >= probability:
            dropped[OTHER_LANGUAGE] += 1
        else:
            dropped[UNCLEAR_LANGUAGE] += 1
    return keep


def most_probable(text: str) -> tuple[str, float]:
    """Return the most probable language of a text, and its probability."""
    code, probability = _identifier().rank(text)[0]
    return str(code), float(probability)


@lru_cache(1)
def _identifier() -> Any:
    """Load the model: half a second, 100 MB; once for each process."""
    with extra("language"):
        from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
