"""What is measured of a summary beside its document, by hand."""

from __future__ import annotations

import math

import pytest

from seqae.metrics.summaries.summary_text import summary_figures, unseen_figures

SOURCE = ["In 2019 the man from Berlin, Otto Weiss, paid 3,000 euros.", "He left."]


def test_a_copy_is_copied() -> None:
    figures = summary_figures(SOURCE[:1], SOURCE)
    assert figures["words"] == 11
    assert figures["compression"] == pytest.approx(13 / 11)
    assert figures["copied"] == 1
    assert figures["copied_run"] == 12  # `3,000` is two of ROUGE's words
    for name in ("novel_1", "novel_2", "novel_3", "repeated", "new_numbers", "new_names"):
        assert figures[name] == 0, name


def test_what_is_made_up_is_new() -> None:
    figures = summary_figures(["The man from Paris, Otto Weiss, paid 4,000 or 2019."], SOURCE)
    # the man from | paris | otto weiss paid | 4 | 000 | or | 2019: of 11 words 8 are copied.
    assert figures["copied"] == pytest.approx(8 / 11)
    assert figures["copied_run"] == pytest.approx((9 + 9 + 1 + 1) / 11)
    assert figures["new_numbers"] == 1 / 2
    assert figures["new_names"] == 1 / 3
    assert figures["novel_1"] == pytest.approx(3 / 11)


def test_repetition_and_what_is_not_defined() -> None:
    figures = summary_figures(["a b c a b c"], ["a b c"])
    assert figures["repeated"] == 1 / 4  # abc bca cab abc
    assert math.isnan(figures["new_numbers"])
    assert math.isnan(summary_figures([], SOURCE)["compression"])
    assert summary_figures(["今天天气"], ["今天天气很好"])["copied"] == 1


def test_words_that_training_never_had() -> None:
    source = ["CalculiX and Calf read cc65 files.", "A tool."]
    references = [["CalculiX reads cc65"], ["Calf, a Synth"]]  # `Synth` is not in the document
    seen = {"and", "read", "reads", "files", "a", "tool"}
    figures = unseen_figures(["CALF reads Calcul and cc65"], source, references, seen)
    assert figures == {"unseen_recall": 2 / 3, "unseen_precision": 2 / 3}
    nothing = unseen_figures(["A tool."], ["A tool."], [["tool"]], seen)
    assert all(map(math.isnan, nothing.values()))
