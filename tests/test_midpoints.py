"""Midpoints: the paths they are on, and what they keep of both ends."""

from __future__ import annotations

from pathlib import Path

import pytest
from small import SENTENCES

import seqae
from seqae.metrics.judge.ngram_judge import NgramJudge
from seqae.tasks.evaluate.midpoints import midpoint_metrics, pairs_of, paths


def test_midpoints_by_hand() -> None:
    train = ["the cat sat on the mat", "the dog ran on the road", "the sun is on the hill"] * 3
    judge = NgramJudge(train)
    common = judge.common()
    assert common >= {"the", "on"}
    assert not {"cat", "dog", "mat", "road"} & common
    pairs = [("the cat sat", "the dog ran"), ("the mat", "the road"), ("the", "the sun")]
    scores = midpoint_metrics(["the cat ran", "the mat on the", "on zzz"], pairs, judge, seed=0)
    own, other = scores["model"], scores["real text"]
    # Of cat, sat; dog, ran; mat; road; sun.
    assert own["midpoint_content"] == pytest.approx((0.5 + 0.5 + 1 + 0 + 0) / 5)
    assert own["midpoint_both_ends"] == 1 / 2  # the third pair has an end without content
    assert own["midpoint_unknown_words"] == 1 / 9
    assert other["midpoint_content"] == other["midpoint_both_ends"] == 0.0
    assert scores["words shuffled"]["midpoint_content"] > 0.0


def test_paths_are_those_of_interpolate(overfit_run: Path) -> None:
    model = seqae.load(overfit_run)
    pairs = pairs_of(SENTENCES, 3)
    assert pairs == list(zip(SENTENCES[:3], SENTENCES[16:19], strict=True))
    assert paths(model, pairs, 4) == [model.interpolate(*pair, steps=4) for pair in pairs]
    assert paths(model, [], 4) == []
