"""Near-duplicates: what is found is true, what is missed is rare, and the first one stays."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small import write_text

from seqae.data.builtin import load_builtin
from seqae.data.config import CorpusConfig
from seqae.data.prepared import prepare as preparation
from seqae.data.prepared.cache import open_prepared, prepare
from seqae.data.prepared.prepare import Encode
from seqae.data.sentences import near_duplicates as module
from seqae.data.sentences.cleaning import CleanOptions
from seqae.data.sentences.near_duplicates import (
    NearDuplicates,
    Similarity,
    Sketcher,
    comparable,
    find_near_duplicates,
)
from seqae.data.sources.formats.reader import Reader
from seqae.data.tokenizers import ByteTokenizer

SIMILARITY = Similarity(0.7, 4)
TOKENIZER = ByteTokenizer()


def find(texts: list[str], similarity: Similarity = SIMILARITY) -> NearDuplicates:
    sketches = Sketcher(similarity)(texts, None)
    bands = [[band] for band in sketches.bands]
    return find_near_duplicates(bands, sketches.texts.__getitem__, similarity)


def jaccard(one: str, other: str, ngram: int = 4) -> float:
    """By its definition, on sets."""
    left, right = Similarity(1, ngram).grams(one), Similarity(1, ngram).grams(other)
    return len(left & right) / len(left | right)


@pytest.fixture(scope="module")
def copies() -> list[str]:
    """Real sentences, and later some of them with one word changed."""
    rng = random.Random(0)
    real = load_builtin("speeches")[:200]
    changed = []
    for text in rng.choices(real, k=200):
        words = text.split()
        words[rng.randrange(len(words))] = rng.choice(rng.choice(real).split())
        changed.append(" ".join(words))
    return real + changed


def test_the_same_as_all_pairs(copies: list[str]) -> None:
    """The exact rule: a sentence goes if an earlier one that stays is near."""
    sets = [SIMILARITY.grams(comparable(text)) for text in copies]
    stays: list[int] = []
    for index, grams in enumerate(sets):
        if all(len(grams & sets[other]) < 0.7 * len(grams | sets[other]) for other in stays):
            stays.append(index)
    kept = np.flatnonzero(find(copies).keep).tolist()
    assert 120 < len(copies) - len(stays) < 200  # a word of a short sentence is too much
    assert len(set(kept) - set(stays)) <= 2  # missed: 0.5 % of those just near enough
    assert len(set(stays) - set(kept)) <= 2  # near to one that went itself, in a later band


def test_parts_change_nothing(copies: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Sorting in parts, and reading in blocks, finds the same."""
    whole = find(copies)
    monkeypatch.setattr(module, "PART", 50)
    monkeypatch.setattr(module, "BLOCK", 90)
    monkeypatch.setattr(module, "CHUNK", 700)
    parts = find(copies)
    assert (parts.keep == whole.keep).all()
    assert parts.near == whole.near


@given(st.lists(st.text("abc D.7é字\ud800", max_size=12), max_size=30), st.integers(1, 6))
def test_any_text(texts: list[str], ngram: int) -> None:
    """What goes has an earlier one of which it is a copy; what is no word is left alone."""
    words = [comparable(text) for text in texts]
    kept = find(texts, Similarity(1.0, ngram)).keep
    for index, word in enumerate(words):
        is_copy = word != "" and any(
            earlier and jaccard(word, earlier, ngram) == 1 for earlier in words[:index]
        )
        assert kept[index] == (not is_copy)


@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.7, 0.8, 0.95, 1.0])
def test_few_are_missed(threshold: float) -> None:
    """1 - (1 - s^r)^b, of b bands of r hashes."""
    bands, rows = Similarity(threshold, 4).shape
    assert (1 - threshold**rows) ** bands <= module.MISSED
    assert bands * rows <= module.MAX_HASHES


def test_signatures_meet_as_often_as_texts_are_similar() -> None:
    """Bands of one hash: the share of equal ones estimates the Jaccard index (Broder 1997)."""
    texts = ["the committee met on monday", "the committee will meet on monday"]
    sketcher = Sketcher(SIMILARITY)
    sketcher._factors = sketcher._factors.reshape(-1, 1)
    sketcher._summands = sketcher._summands.reshape(-1, 1)
    bands = sketcher(texts, None).bands
    estimated = (bands[:, 0] == bands[:, 1]).mean()
    assert abs(estimated - jaccard(*texts)) < 0.12  # 2.4 standard errors of 100 hashes


def settings(tmp_path: Path, **changes: Any) -> CorpusConfig:
    files = {
        "train": ["The ship has left the harbour.", "Rain fell.", "THE SHIP HAS LEFT THE HARBOR"],
        "val": ["We sold the old house in the spring.", "Something else entirely"],
        "test": ["the ship has left the harbour!", "we sold the old house in spring", "!!!", "!!!"],
    }
    files["train"] += ["Rain  fell", "???", "We sold the old house, in the spring."]
    cleaning = CleanOptions(near_duplicates=0.6, near_duplicate_characters=4)
    names: dict[str, Any] = {
        split: [str(write_text(tmp_path / f"{split}.txt", lines))] for split, lines in files.items()
    }
    values: dict[str, Any] = {"max_length": 64, "cleaning": cleaning, **names}
    return CorpusConfig(**(values | changes))


def texts_of(folder: Path, split: str) -> list[str]:
    prepared = open_prepared(folder, TOKENIZER.config())
    corpus = prepared.corpora[split]  # type: ignore[index]
    return prepared.tokenizer.decode([corpus[i].tolist()[1:-1] for i in range(len(corpus))])


def test_what_is_measured_on_stays(tmp_path: Path) -> None:
    """Test before val before train, and in each the first; counted by what it was near to."""
    folder = prepare(settings(tmp_path), TOKENIZER, tmp_path / "cache")
    assert texts_of(folder, "test")[:2] == [
        "the ship has left the harbour!",
        "we sold the old house in spring",
    ]
    assert texts_of(folder, "test")[2:] == ["!!!", "!!!"]  # no words: left to `deduplicate`
    assert texts_of(folder, "val") == ["Something else entirely"]
    assert texts_of(folder, "train") == ["Rain fell.", "???"]
    told = open_prepared(folder, TOKENIZER.config()).report["near_duplicates_left_out"]
    assert told["near"]["val"] == {"test": 1, "val": 0, "train": 0}
    # one is equal to the sentence of val that goes itself, in a later band
    assert told["near"]["train"] == {"test": 2, "val": 1, "train": 1}
    shown = (folder / "report.txt").read_text()
    assert "near-duplicates left out" in shown
    assert "the ship has left the harbor" in shown
    assert not (folder / "train" / "sketches").exists()


def test_pieces_go_with_their_sentence(tmp_path: Path) -> None:
    """A long sentence becomes several rows, and its copy none."""
    long = "one of the very long sentences that no vector of this size could ever hold"
    path = write_text(tmp_path / "long.txt", ["short", long, long + "!", "another"])
    cleaning = CleanOptions(near_duplicates=0.8)
    asked = CorpusConfig(
        train=str(path), max_length=20, too_long="split", val_percent=0, test_percent=0,
        cleaning=cleaning,
    )  # fmt: skip
    rows = texts_of(prepare(asked, TOKENIZER, tmp_path / "cache"), "train")
    assert "".join(rows) == f"short{long}another"


def test_pairs_are_compared_as_one(tmp_path: Path) -> None:
    lines = ['{"text": "%s", "summary": "%s"}' % pair for pair in [  # noqa: UP031
        ("the same long text", "one summary"),
        ("the same long text", "quite another one"),
        ("The same long text", "one summary."),
    ]]  # fmt: skip
    path = write_text(tmp_path / "pairs.jsonl", lines)
    asked = settings(tmp_path, train=[str(path)], val=None, test=None, val_percent=0)
    asked.test_percent = 0
    asked.reading = type(asked.reading)(target_column="summary")
    rows = texts_of(prepare(asked, TOKENIZER, tmp_path / "cache"), "train")
    assert rows == ["the same long text", "the same long text"]


def test_an_interruption_changes_nothing(
    tmp_path: Path, copies: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Reader, "__init__", _small_blocks(Reader.__init__))
    monkeypatch.setattr(preparation, "SECONDS_BETWEEN_COMMITS", 0.0)
    path = write_text(tmp_path / "text.txt", copies)
    cleaning = CleanOptions(near_duplicates=0.7)
    asked = CorpusConfig(train=str(path), max_length=1024, cleaning=cleaning)
    whole = prepare(asked, TOKENIZER, tmp_path / "whole", 1)
    encode, done = Encode.__call__, []

    def interrupted(self: Encode, item: Any) -> Any:
        done.append(item)
        if len(done) == 5:
            raise KeyboardInterrupt
        return encode(self, item)

    with monkeypatch.context() as patch:
        patch.setattr(Encode, "__call__", interrupted)
        with pytest.raises(KeyboardInterrupt):
            prepare(asked, TOKENIZER, tmp_path / "cache", 1)
    again = prepare(asked, TOKENIZER, tmp_path / "cache", 1)
    for name in ("report.json", "train/hashes.bin", "val/hashes.bin", "test/hashes.bin"):
        assert (again / name).read_bytes() == (whole / name).read_bytes()


def _small_blocks(init: Any) -> Any:
    def start(self: Reader, *given: Any, **named: Any) -> None:
        init(self, *given, **(named | {"block_bytes": 10_000}))

    return start


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"streaming": True}, "near_duplicates` must be null for a stream"),
        ({"too_long": "split", "running_text": 4}, "with `data.cleaning.near_duplicates`"),
        ({"cleaning": CleanOptions(near_duplicates=0.1)}, "between 0.3 and 1.0"),
        ({"cleaning": CleanOptions(near_duplicate_characters=0)}, "between 1 and 32"),
    ],
)
def test_refused(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        settings(tmp_path, **changes).check()
