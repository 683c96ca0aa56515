"""Cleaning: sentences of documents, one way of writing, a range of lengths; all counted."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqae.data.sentences.cleaning import (
    LANGUAGES,
    WIDE_BLANKS,
    CleanOptions,
    Normalization,
    clean,
    sentence_splitter,
)
from seqae.data.sources.records import Block, Counts

FORMS = ("NFC", "NFD", "NFKC", "NFKD")
normalizations = st.builds(
    Normalization, st.sampled_from([None, *FORMS]), st.booleans(), st.booleans()
)
# What sentence splitting looks at, and what has surprised splitters, more often than by chance.
pieces = st.sampled_from(
    [
        "Dr.",
        "I",
        "A",
        "b",
        "3.",
        "z. B.",
        ".",
        "!",
        "?",
        "。",
        "…",
        '"',
        "“",
        "」",
        "(",
        "\n",
        "\n\n",
    ]
    + ["\r\n", "\t", "•", "1)", " ", " ", *map(chr, WIDE_BLANKS), "\u200b", "\x00", "e\u0301", "😀"]
)
documents = st.lists(pieces, max_size=40).map("".join) | st.text()


def block(texts: list[str], targets: list[str] | None = None, first: int = 1) -> Block:
    numbers = range(first, first + len(texts))
    return Block("text.txt", texts, numbers, Counts(len(texts)), {"line": 9}, targets, weight=7)


# Sentences

SPLIT = {
    "abbreviations, times and sums": (
        "en",
        "Dr. Smith came at 5 p.m. on Jan. 3. It cost $3.50, e.g. a lot! Really?  Yes.",
        ["Dr. Smith came at 5 p.m. on Jan. 3.", "It cost $3.50, e.g. a lot!", "Really?", "Yes."],
    ),
    "quotations": (
        "en",
        '"Quoted. Yes," he said. She left (at last. So it seemed).',
        ['"Quoted. Yes," he said.', "She left (at last. So it seemed)."],
    ),
    "line ends within a sentence, blank lines between paragraphs": (
        "en",
        "One line\ngoes on here. Next.\n\nA title\n\n  And the end  \n",
        ["One line\ngoes on here.", "Next.", "A title", "And the end"],
    ),
    "German": (
        "de",
        "Er kam am 3. Mai z. B. nach Berlin. Dr. Müller sagte: „Guten Tag. Wie geht's?“ Gut.",
        [
            "Er kam am 3. Mai z. B. nach Berlin.",
            "Dr. Müller sagte: „Guten Tag. Wie geht's?“",
            "Gut.",
        ],
    ),
    "Chinese, which has no blanks": (
        "zh",
        "你好。我是小明！你在哪里？他说：“好的。”然后走了。",
        ["你好。", "我是小明！", "你在哪里？", "他说：“好的。”", "然后走了。"],
    ),
    "Japanese": ("ja", "これは文です。次の文！", ["これは文です。", "次の文！"]),
    "Hindi": ("hi", "यह वाक्य है। दूसरा वाक्य।", ["यह वाक्य है।", "दूसरा वाक्य।"]),
    "Arabic": ("ar", "مرحبا. كيف حالك؟ جيد.", ["مرحبا.", "كيف حالك؟", "جيد."]),
    "a region and a script": ("zh_Hans-CN", "好。行。", ["好。", "行。"]),
    "no end": ("en", "no end at all", ["no end at all"]),
    "nothing but white space": ("en", " \n\n ", []),
}


@pytest.mark.parametrize("what", SPLIT)
def test_sentences_of_a_document(what: str) -> None:
    language, document, sentences = SPLIT[what]
    assert sentence_splitter(language)(document) == sentences


@given(documents, st.sampled_from(sorted(LANGUAGES)))
def test_splitting_loses_nothing_but_white_space(document: str, language: str) -> None:
    sentences = sentence_splitter(language)(document)
    assert all(sentence == sentence.strip() != "" for sentence in sentences)
    assert "".join("".join(sentences).split()) == "".join(document.split())


def test_a_wide_blank_before_a_full_stop() -> None:
    """The library panics on it (sentencex 1.0.32), which would end the process."""
    for blank in map(chr, WIDE_BLANKS):
        document = f"World War I{blank}. Then came peace."
        assert "".join(sentence_splitter("en")(document)).endswith("Then came peace."), blank


def test_every_wide_blank_is_known() -> None:
    blanks = {code for code in range(128, 0x110000) if chr(code).isspace()}
    assert blanks == set(WIDE_BLANKS)


def test_a_document_that_the_library_fails_on_stays_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    class PanicException(BaseException):  # noqa: N818 - pyo3's name
        pass

    def panic(language: str, text: str) -> list[str]:
        raise PanicException

    monkeypatch.setattr("sentencex.segment", panic)
    assert sentence_splitter("en")("One. Two.") == ["One. Two."]


def test_a_lone_surrogate_is_left_to_the_tokenizer_to_refuse() -> None:
    assert sentence_splitter("en")("One\ud800. Two.") == ["One\ud800. Two."]


def test_sentences_keep_the_place_of_their_record() -> None:
    read = block(["Old dogs. New tricks!", "One.", "Who? She. They."], first=7)
    left, counts = clean(read, CleanOptions(split_sentences="en"))
    assert left.texts == ["Old dogs.", "New tricks!", "One.", "Who?", "She.", "They."]
    assert [left.where(index) for index in range(6)] == [
        f"text.txt:{line}" for line in (7, 7, 8, 9, 9, 9)
    ]
    assert counts == Counts(6)
    assert (left.counts, left.end, left.weight) == (read.counts, read.end, read.weight)


# How text is written


def test_worked_examples() -> None:
    assert Normalization("NFC")("cafe\u0301") == "café"
    assert Normalization("NFD")("café") == "cafe\u0301"
    assert Normalization("NFKC")("ﬁne\u00a0２½") == "fine 21⁄2"
    assert Normalization(lowercase=True)("İstanbul ΣΑΣ STRASSE") == "i\u0307stanbul σας strasse"
    assert Normalization(collapse_whitespace=True)("a \t b\u3000c\r\n\r\nd ") == "a b c d"
    assert Normalization("NFKC", True, True)("Ａ\u00a0\n Ｂ") == "a b"
    assert Normalization()(" As\u0301 it  IS ") == " As\u0301 it  IS "


@given(st.text(), normalizations)
def test_done_twice_is_done_once(text: str, normalize: Normalization) -> None:
    once = normalize(text)
    assert normalize(once) == once
    if normalize.unicode_form is not None:
        assert unicodedata.is_normalized(normalize.unicode_form, once)


@given(st.text().map(str.strip).filter(bool), normalizations)
def test_a_stripped_text_stays_stripped_and_never_becomes_blank(
    text: str, normalize: Normalization
) -> None:
    written = normalize(text)
    assert written == written.strip() != ""


@given(st.lists(documents.map(str.strip).filter(bool)), normalizations)
def test_what_a_model_reads_later_is_written_as_in_training(
    texts: list[str], normalize: Normalization
) -> None:
    options = CleanOptions(**vars(normalize))
    assert options.normalization == normalize
    assert clean(block(texts), options)[0].texts == [normalize(text) for text in texts]


# What is left out


def test_characters_are_counted_after_everything_else() -> None:
    options = CleanOptions(collapse_whitespace=True, min_characters=3, max_characters=5)
    left, counts = clean(block(["ab", "a \t b", "abcdef", "abc   ", "你好吗", "😀😀"]), options)
    assert left.texts == ["a b", "abc", "你好吗"]
    assert list(left.numbers) == [2, 4, 5]
    assert counts == Counts(6, {"too short": 2, "too long in characters": 1})
    assert counts.kept == len(left.texts)


def test_a_pair_goes_if_either_side_does() -> None:
    read = block(["Text One", "Tx", "Text Three", "Text Four"], ["A", "B", "C" * 20, "D d"])
    left, counts = clean(read, CleanOptions(lowercase=True, min_characters=3, max_characters=12))
    assert (left.texts, left.targets, list(left.numbers)) == (["text four"], ["d d"], [4])
    assert counts == Counts(4, {"too short": 2, "too long in characters": 1})


def test_all_may_go() -> None:
    left, counts = clean(block(["a", "b"], ["c", "d"]), CleanOptions(min_characters=2))
    assert (left.texts, left.targets, list(left.numbers)) == ([], [], [])
    assert counts.kept == 0


def test_nothing_is_done_where_nothing_is_asked_for() -> None:
    read = block(["As it IS", "a  b"])
    left, counts = clean(read, CleanOptions(deduplicate=True))
    assert left == read
    assert left.texts is read.texts
    assert counts == Counts(2)


@given(st.lists(documents.map(str.strip).filter(bool)), normalizations, st.integers(1, 5))
def test_every_sentence_is_kept_or_counted(
    texts: list[str], normalize: Normalization, low: int
) -> None:
    options = CleanOptions(
        **vars(normalize), split_sentences="en", min_characters=low, max_characters=low + 5
    )
    left, counts = clean(block(texts), options)
    assert counts.kept == len(left.texts) == len(left.numbers)
    assert all(low <= len(text) <= low + 5 for text in left.texts)
    assert list(left.numbers) == sorted(left.numbers)


# Options

WRONG = {
    "language": (
        CleanOptions(split_sentences="klingon"),
        "`data.cleaning.split_sentences` must be one of am, ar, bg, ",
    ),
    "form": (CleanOptions(unicode_form="nfc"), "`data.cleaning.unicode_form` must be one of NFC, "),
    "shortest": (
        CleanOptions(min_characters=0),
        "`data.cleaning.min_characters` must be between 1 and ",
    ),
    "longest": (
        CleanOptions(min_characters=9, max_characters=8),
        "`data.cleaning.max_characters` must be between 9 and ",
    ),
}


@pytest.mark.parametrize("what", WRONG)
def test_wrong_options_are_refused(what: str) -> None:
    options, said = WRONG[what]
    with pytest.raises(ValueError, match="^" + said.replace(".", r"\.")):
        options.check("data.cleaning.")


def test_right_options_are_taken() -> None:
    CleanOptions("NFKC", True, True, "de-AT", 1, 10_000, True).check("data.cleaning.")
