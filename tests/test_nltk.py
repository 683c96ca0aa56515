"""Sentences of NLTK's corpora, from tiny corpora in the formats of the real ones."""

from __future__ import annotations

import json
import os
import pickle
import zipfile
from collections import Counter
from pathlib import Path

import pytest

from seqae.data.sources.base import Source
from seqae.data.sources.nltk import mend_words
from seqae.data.sources.open import open_source
from seqae.data.sources.records import Block, Counts, ReadOptions

nltk = pytest.importorskip("nltk")

# Brown's format: word/tag, a sentence a line, paragraphs apart; its double marks and quotes, too.
BROWN = {
    "ca01": "\n\tThe/at cat/nn ,/, she/pps said/vbd ,/, sat/vbd ./.\n\n\t``/`` Did/dod it/ppo "
    "''/'' ?/. ?/.\n\n",
    "ca02": "\n\tHe/pps (/( the/at dog/nn )/) left/vbd at/in 5/cd p.m./rb ./.\n\n",
    "cb01": "\n\tIt/pps didn't/dod* cost/vb $5/nns --/-- only/rb 3/cd ;/. ;/.\n\n",
}
TEXTS = [
    "The cat, she said, sat.",
    '"Did it"?',
    "He (the dog) left at 5 p.m.",
    "It didn't cost $5--only 3;",
]
CATEGORIES = "ca01 news\nca02 news\ncb01 humor\n"


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of NLTK's data with a small Brown corpus; no other folder is looked in."""
    import nltk.corpus
    import nltk.data

    brown = tmp_path / "corpora" / "brown"
    brown.mkdir(parents=True)
    for name, text in BROWN.items():
        (brown / name).write_text(text)
    (brown / "cats.txt").write_text(CATEGORIES)
    monkeypatch.setattr(nltk.data, "path", [str(tmp_path), "/nowhere/nltk_data"])
    for corpus in (nltk.corpus.brown, nltk.corpus.gutenberg, nltk.corpus.treebank):
        corpus._unload()  # what an earlier test had loaded
    return tmp_path


def open_named(name: str, **options: object) -> Source:
    return open_source(name, "data.train", ReadOptions(**options), "data.reading.")


def texts(source: Source, wanted: int = 1) -> list[str]:
    parts = pickle.loads(pickle.dumps(source.parts(wanted)))
    assert len(parts) == wanted
    return [text for part in parts for block in part.blocks() for text in block.texts]


def refusal(name: str, kind: type[Exception] = ValueError, **options: object) -> str:
    with pytest.raises(kind) as caught:
        open_named(name, **options)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith("`data.")
    assert " instead" in message
    return message


@pytest.mark.parametrize("wanted", [1, 2, 3, 5])
def test_reads_sentences_as_text(data: Path, wanted: int) -> None:
    assert texts(open_named("nltk:brown"), wanted) == TEXTS


@pytest.mark.parametrize(
    ("name", "chosen"),
    [
        ("nltk:brown:news", TEXTS[:3]),
        ("nltk:brown:humor+ca01", [*TEXTS[:2], TEXTS[3]]),
        ("nltk:brown:ca02", TEXTS[2:3]),
    ],
)
def test_reads_categories_and_files(data: Path, name: str, chosen: list[str]) -> None:
    assert texts(open_named(name)) == chosen


def test_reads_a_packed_corpus(data: Path) -> None:
    folder = data / "corpora" / "brown"
    with zipfile.ZipFile(data / "corpora" / "brown.zip", "w") as packed:
        packed.writestr("brown/", "")
        for path in sorted(folder.iterdir()):
            packed.write(path, f"brown/{path.name}")
            path.unlink()
    folder.rmdir()
    source = open_named("nltk:brown")
    assert texts(source) == TEXTS
    assert source.fingerprint == open_named("nltk:brown").fingerprint


def test_goes_on_behind_any_block(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("seqae.data.sources.nltk.BLOCK_SENTENCES", 1)
    [part] = open_named("nltk:brown").parts()
    whole = list(part.blocks())
    blocks: list[Block] = []
    start = None
    while block := next(part.blocks(start), None):
        blocks.append(block)
        start = json.loads(json.dumps(block.end))
    assert blocks == whole
    assert [block.where(0) for block in blocks] == [
        "nltk:brown:ca01:1",
        "nltk:brown:ca01:2",
        "nltk:brown:ca02:1",
        "nltk:brown:cb01:1",
    ]


def test_counts_what_is_too_long(data: Path) -> None:
    first, *_ = open_named("nltk:brown", max_line_bytes=10).parts()[0].blocks()
    assert (first.texts, list(first.numbers)) == (['"Did it"?'], [2])
    assert first.counts == Counts(2, Counter({"too long": 1}))


def test_plain_text_is_left_as_it_is_written(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import nltk.corpus

    class AtFullStops:
        def tokenize(self, text: str) -> list[str]:
            return [f"{part}." for part in text.split(".") if part.strip()]

    folder = data / "corpora" / "gutenberg"
    folder.mkdir()
    (folder / "a.txt").write_text("I don't know,\"\nhe said.  It's (not)\n  far.\n\nThe end.\n")
    assert "python -m nltk.downloader punkt_tab" in refusal("nltk:gutenberg", FileNotFoundError)
    monkeypatch.setattr(nltk.corpus.gutenberg, "_sent_tokenizer", AtFullStops(), raising=False)
    expected = ["I don't know,\" he said.", "It's (not) far.", "The end."]
    assert texts(open_named("nltk:gutenberg")) == expected
    assert nltk.corpus.gutenberg.words()[:3] == ["I", "don", "'"]  # the user's own is as it was


def test_traces_of_a_treebank_are_no_text(data: Path) -> None:
    folder = data / "corpora" / "treebank" / "combined"
    folder.mkdir(parents=True)
    (folder / "wsj_0001.mrg").write_text(
        "( (S (NP-SBJ (PRP It) ) (VP (MD ca) (RB n't) (VP (VB seem) (S (-NONE- *-1) ) "
        "(-LRB- -LRB-) (RB so) (-RRB- -RRB-) ) ) (. .) ))\n"
    )
    assert texts(open_named("nltk:treebank")) == ["It can't seem (so)."]


def test_the_fingerprint_changes_with_a_file(data: Path) -> None:
    before = open_named("nltk:brown").fingerprint
    assert open_named("nltk:brown").fingerprint == before
    assert open_named("nltk:brown:news").fingerprint != before
    assert open_named("nltk:brown", max_line_bytes=9).fingerprint != before
    os.utime(data / "corpora" / "brown" / "ca01", ns=(0, 0))
    assert open_named("nltk:brown").fingerprint != before


def test_the_record(data: Path) -> None:
    source = open_named("nltk:brown:news")
    assert source.record == {"corpus": "brown", "files": 2, "nltk": nltk.__version__}
    assert source.can_reread


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("nltk:", "must be written nltk:CORPUS"),
        ("nltk:brown:", "must be written nltk:CORPUS"),
        ("nltk:a.b", "must be written nltk:CORPUS"),
        ("nltk:brwn", "there is no 'brwn'"),
        ("nltk:LazyCorpusLoader", "there is no 'LazyCorpusLoader'"),
        ("nltk:__builtins__", "there is no '__builtins__'"),
        ("nltk:brown:sport", "no 'sport' instead. Choose of: humor, news, ca01, ca02, cb01"),
    ],
)
def test_refuses(data: Path, name: str, told: str) -> None:
    assert told in refusal(name)


def test_refuses_a_corpus_without_sentences(data: Path) -> None:
    folder = data / "corpora" / "stopwords"
    folder.mkdir()
    (folder / "english").write_text("the\n")
    assert "stopwords has none instead" in refusal("nltk:stopwords")


def test_refuses_pairs(data: Path) -> None:
    message = refusal("nltk:brown", target_column="summary")
    assert message.startswith("`data.reading.target_column` must not be given")


def test_says_how_to_get_a_corpus(data: Path) -> None:
    assert refusal("nltk:reuters", FileNotFoundError) == (
        f"`data.train` must be on this machine, but NLTK's reuters is not in {data} or 1 other "
        f"folders instead. Get it with: python -m nltk.downloader reuters"
    )


def test_says_which_file_cannot_be_read(data: Path) -> None:
    [part] = open_named("nltk:brown").parts()
    (data / "corpora" / "brown" / "ca02").unlink()
    blocks = part.blocks()
    next(blocks)
    with pytest.raises(OSError, match="reading ca02 of NLTK's brown failed instead"):
        next(blocks)


@pytest.mark.parametrize(
    ("words", "mended"),
    [
        ("Who ? ?", "Who ?"),
        ("No ! ! No !", "No ! No !"),
        ("in N.Y. .", "in N.Y."),
        (". . .", ". . ."),
        ("5'' '' long", "5'' long"),
        ("a '' ''", "a '' ''"),
        ("the ' old ' way", "the 'old' way"),
        ("said , ' Give that", "said , 'Give that"),
        ("what he said ' .", "what he said' ."),
        ("the boys ' and girls ' toys", "the boys' and girls' toys"),
        ("` so ' it is", "'so' it is"),
        ("' so '", "'so'"),
        ("so '", "so'"),
        ("'", "'"),
    ],
)
def test_mends_words(words: str, mended: str) -> None:
    assert " ".join(mend_words(words.split())).replace("\ue000", "'") == mended
