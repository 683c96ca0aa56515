"""Keep sentences by their language; what is unclear is counted apart."""

from __future__ import annotations

from collections import Counter

import pytest
from test_cleaning import block

from seqae.data.config import CorpusConfig
from seqae.data.sentences.cleaning import CleanOptions, clean
from seqae.data.sentences.language import OTHER_LANGUAGE, UNCLEAR_LANGUAGE, in_languages

ENGLISH = "The committee has decided to postpone the meeting until next week."
GERMAN = "Der Ausschuss hat beschlossen, die Sitzung auf nächste Woche zu verschieben."
RUSSIAN = "Комитет решил отложить заседание до следующей недели."
CHINESE = "委员会决定把会议推迟到下周。"


@pytest.mark.parametrize(
    ("languages", "kept"),
    [
        (["en"], [ENGLISH]),
        (["de", "ru"], [GERMAN, RUSSIAN]),
        (["zh"], [CHINESE]),
    ],
)
def test_languages(languages: list[str], kept: list[str]) -> None:
    texts = [ENGLISH, GERMAN, RUSSIAN, CHINESE, "OK", "42 %"]
    cleaned, counts = clean(block(texts), CleanOptions(languages=languages))
    assert cleaned.texts == kept
    assert [*cleaned.numbers] == [texts.index(text) + 1 for text in kept]
    assert counts.dropped == {OTHER_LANGUAGE: 4 - len(kept), UNCLEAR_LANGUAGE: 2}
    assert counts.kept == len(kept)


def test_probabilities_of_languages_are_added() -> None:
    """Norwegian and Danish are easily taken for each other, but not together for English."""
    text = "Hvor er nøglen til huset?"
    assert in_languages([text], ["da", "no"], 0.8, Counter()) == [0]
    assert in_languages([text], ["no"], 0.8, Counter()) == []


def test_a_pair_is_judged_by_its_text() -> None:
    cleaned, _ = clean(block([ENGLISH, GERMAN], [GERMAN, ENGLISH]), CleanOptions(languages=["en"]))
    assert (cleaned.texts, cleaned.targets) == ([ENGLISH], [GERMAN])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (CleanOptions(languages=["en", "english"]), "codes that py3langid knows, but english"),
        (CleanOptions(languages=[]), "must name languages"),
        (CleanOptions(language_probability=1.5), "language_probability` must be between"),
    ],
)
def test_refused(options: CleanOptions, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        CorpusConfig(cleaning=options).check()
