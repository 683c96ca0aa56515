"""The built-in corpora are what their table says, and the split is fixed for ever."""

from __future__ import annotations

import hashlib
import lzma
import re
import subprocess
import sys
from collections import Counter
from importlib.resources import files

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seqae.data.builtin import BUILTIN_CORPORA, builtin_names, load_builtin, open_builtin
from seqae.data.sentences.split import SPLITS, split_of

CORPORA = files("seqae") / "data" / "corpora"


@pytest.mark.parametrize("name", builtin_names())
def test_corpus_is_as_declared(name):
    sentences = load_builtin(name)
    corpus = BUILTIN_CORPORA[name]
    assert len(sentences) == corpus.sentences == len(set(sentences))
    assert all(sentence == sentence.strip() != "" for sentence in sentences)
    # A line must be a line for every reader, also for one that uses str.splitlines.
    assert all(sentence.splitlines() == [sentence] for sentence in sentences)
    with open_builtin(name) as text:
        assert hashlib.sha256(text.read()).hexdigest() == corpus.sha256


def test_the_corpora_hold_what_they_are_made_of():
    wordnet, speeches, hsk = (load_builtin(name) for name in builtin_names())
    assert wordnet[0] == "able to swim"
    assert min(len(sentence.split()) for sentence in wordnet) == 3
    words = [len(sentence.split()) for sentence in speeches]
    assert (min(words), max(words)) == (3, 40)
    assert "My fellow Americans, the state of our Union is strong." in speeches
    assert hsk[0] == "老师，您好！"


def test_speeches_are_cut_at_sentences():
    speeches = load_builtin("speeches")
    assert not any("[Applause]" in sentence or "....." in sentence for sentence in speeches)
    cut_after_title = [s for s in speeches if re.search(r"\b(Mr|Mrs|Dr|No|Gen)\.$", s)]
    assert len(cut_after_title) <= 1  # "Sam Rayburn-"Mr. Sam"-sat", where a quotation ends
    assert all(re.search(r"[.?!:;]['\"”’)\]]*$", sentence) for sentence in speeches)


def test_hsk_translations_stand_line_for_line():
    english = lzma.decompress((CORPORA / "hsk.en.txt.xz").read_bytes()).decode().splitlines()
    assert len(english) == BUILTIN_CORPORA["hsk"].sentences
    assert english[0] == "Hello, teacher!"
    assert all(english)


def test_notice_ships_with_every_corpus_and_licence():
    notice = (CORPORA / "NOTICE").read_text(encoding="utf-8")
    packed = [path.name for path in CORPORA.iterdir() if path.name.endswith(".xz")]
    assert sorted(packed) == sorted(
        [*(f"{name}.txt.xz" for name in builtin_names()), "hsk.en.txt.xz"]
    )
    assert all(name in notice for name in packed)
    assert "WordNet 3.0 Copyright 2006 by Princeton University.  All rights reserved." in notice
    assert 'THIS SOFTWARE AND DATABASE IS PROVIDED "AS IS"' in notice
    assert "https://creativecommons.org/licenses/by-sa/4.0/legalcode" in notice


@pytest.mark.parametrize("name", builtin_names())
def test_splits_are_disjoint_complete_and_of_their_size(name):
    train, val, test = (load_builtin(name, split) for split in SPLITS)
    assert not set(train) & set(val)
    assert not set(train) & set(test)
    assert not set(val) & set(test)
    assert set(train) | set(val) | set(test) == set(load_builtin(name))
    size = BUILTIN_CORPORA[name].sentences
    # Three standard deviations of a binomial with p = 0.05 are 0.010 for 4,349 draws.
    assert len(val) / size == pytest.approx(0.05, abs=0.01)
    assert len(test) / size == pytest.approx(0.05, abs=0.01)


@pytest.mark.parametrize(
    ("sentence", "percentile", "split"),
    [
        ("", 52, "train"),
        ("老师，您好！", 74, "train"),
        ("a gluttonous debauch", 89, "train"),
        ("an unabridged novel", 90, "val"),
        ("a newly activated unit", 94, "val"),
        ("a town accessible by rail", 95, "test"),
        ("a confessed murderer", 99, "test"),
    ],
)
def test_split_by_hand(sentence, percentile, split):
    # printf SENTENCE | sha256sum: its first 16 digits as a number, modulo 100
    assert int(hashlib.sha256(sentence.encode("utf-8")).hexdigest()[:16], 16) % 100 == percentile
    assert split_of(sentence) == split


@given(st.text(), st.integers(0, 100), st.integers(0, 100))
def test_split_is_the_published_formula(sentence, val_percent, test_percent):
    test_percent = min(test_percent, 100 - val_percent)
    h = int.from_bytes(hashlib.sha256(sentence.encode("utf-8")).digest()[:8], "big") % 100
    train = 100 - val_percent - test_percent
    expected = "train" if h < train else "val" if h < train + val_percent else "test"
    assert split_of(sentence, val_percent=val_percent, test_percent=test_percent) == expected


def test_another_seed_is_an_independent_split():
    sentences = load_builtin("hsk")
    both = Counter((split_of(s), split_of(s, seed=1)) for s in sentences)
    # Independent: 5 % of what is val with seed 0 is val with seed 1, about 10 of 202.
    assert 0 < both["val", "val"] < 30
    assert sum(n for (_, new), n in both.items() if new == "val") == pytest.approx(217, abs=50)


def test_a_lone_surrogate_has_a_split():
    assert split_of("\ud800") in SPLITS


def test_shares_out_of_range_are_refused():
    with pytest.raises(ValueError, match="`test_percent` must be between 0 and 40, but it is 41"):
        split_of("a", val_percent=60, test_percent=41)


def test_unknown_names_are_refused():
    known = "one of wordnet-examples, speeches, hsk, but it is 'wikipedia' instead"
    with pytest.raises(ValueError, match=f"`name` must be {known}"):
        load_builtin("wikipedia")
    with pytest.raises(ValueError, match="`split` must be one of train, val, test"):
        load_builtin("hsk", "valid")


def test_reading_text_imports_no_framework():
    program = (
        "import sys, seqae.data.sources\n"
        "assert not {'torch', 'lightning', 'numpy', 'datasets'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
