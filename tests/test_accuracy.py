"""Figures worked by hand; BLEU against sacreBLEU; sums that add up over batches and ranks."""

from __future__ import annotations

import math

import pytest
import sacrebleu
from hypothesis import given
from hypothesis import strategies as st
from sacrebleu.metrics.bleu import BLEU

from seqae.metrics.accuracy import ReconstructionMetric, token_hits

TEXTS = [
    ("the cat sat on the mat", "the cat sat on the mat"),
    ("a dog ran", "the dog ran away"),
    ("", "it rains"),
    ('he said: "no", twice.', 'he said: "no", once.'),
    ("one two three four five", "one two three four six"),
    ("completely different", "nothing shared here at all"),
    ("the end .", "the end ."),
    ("the cat sat down", "the cat sat up"),
]


def ids(text: str) -> list[int]:
    return [sum(map(ord, word)) for word in text.split()]


def update(metric: ReconstructionMetric, pairs: list[tuple[str, str]]) -> None:
    written, reference = [w for w, _ in pairs], [r for _, r in pairs]
    metric.update([ids(w) for w in written], [ids(r) for r in reference], written, reference)


@pytest.mark.parametrize(
    ("written", "reference", "hits"),
    [
        ([], [], 1),  # the end
        ([5, 6], [5, 6], 3),
        ([5], [5, 6], 1),
        ([5, 6, 7], [5, 6], 2),  # the end is missed
        ([6, 5], [5, 6], 1),  # only the end
        ([4, 5, 6], [5, 6], 0),  # one too many shifts all
        ([], [5, 6], 0),
        ([5, 6], [], 0),
    ],
)
def test_token_hits_by_hand(written, reference, hits):
    assert token_hits(written, reference) == hits


def test_token_accuracy_and_exact_match_by_hand():
    metric = ReconstructionMetric()
    metric.update([[1, 2, 3], [4]], [[1, 2, 3], [4, 5]], ["a", "b"], ["a", "c"])
    metric.update([[9, 8]], [[9, 7]], ["x"], ["x"])
    scores = metric.compute()
    # 4 of 4, 1 of 3 and, with its end, 2 of 3; texts are equal in the first and the last pair.
    assert scores.token_accuracy == pytest.approx(7 / 10)
    assert scores.exact_match == pytest.approx(2 / 3)


@given(st.lists(st.sampled_from(TEXTS), min_size=1), st.data())
def test_bleu_is_sacrebleus_however_the_set_is_cut(pairs, data):
    metric = ReconstructionMetric()
    rest = pairs
    while rest:
        size = data.draw(st.integers(1, len(rest)))
        update(metric, rest[:size])
        rest = rest[size:]
    # Four words or more in one reference, and the score is that of sacreBLEU as it is.
    longest = max(len(BLEU().tokenizer(r).split()) for _, r in pairs)
    bleu = BLEU(force=True, max_ngram_order=min(4, longest))
    reference = bleu.corpus_score([w for w, _ in pairs], [[r for _, r in pairs]])
    assert metric.compute().bleu == reference.score


def test_bleu_of_a_set_without_a_matching_quadruple_is_smoothed():
    """sacreBLEU's exponential smoothing: the first order without a match counts one half."""
    metric = ReconstructionMetric()
    update(metric, [("the cat sat down", "the cat sat up")])
    # 3 of 4 words, 2 of 3 pairs, 1 of 2 triples, and 1/2 for 0 of 1 quadruples.
    assert metric.compute().bleu == pytest.approx(100 * (3 / 4 * 2 / 3 * 1 / 2 * 1 / 2) ** 0.25)


def test_brevity_counts_over_the_set_not_by_batch():
    metric = ReconstructionMetric()
    update(metric, [("a b c d", "a b c d e f g h")])
    update(metric, [("a b c d e f g h", "a b c d")])
    # Together the lengths are equal, so there is no penalty; the first batch alone has exp(-1).
    together = sacrebleu.corpus_bleu(
        ["a b c d", "a b c d e f g h"], [["a b c d e f g h", "a b c d"]]
    )
    assert together.bp == 1.0
    assert metric.compute().bleu == pytest.approx(together.score)


@pytest.mark.parametrize("cut", range(len(TEXTS) + 1))
def test_two_ranks_merged_equal_one(cut):
    whole, first, second = (ReconstructionMetric() for _ in range(3))
    update(whole, TEXTS)
    update(first, TEXTS[:cut])
    update(second, TEXTS[cut:])
    first.merge_state(second)
    assert first.compute() == pytest.approx(whole.compute())


def test_every_state_adds_up_over_ranks_in_double_precision():
    metric = ReconstructionMetric()
    update(metric, TEXTS)
    states = metric.metric_state
    assert set(metric._reductions) == set(states)
    reductions = {name: reduction.__name__ for name, reduction in metric._reductions.items()}
    assert reductions.pop("longest_reference") == "dim_zero_max"
    assert set(reductions.values()) == {"dim_zero_sum"}
    assert {str(state.dtype) for state in states.values()} == {"torch.float64"}


def test_not_a_number_where_nothing_was_counted():
    metric = ReconstructionMetric()
    with pytest.warns(UserWarning, match="before the ``update`` method"):  # torchmetrics
        assert all(math.isnan(score) for score in metric.compute())
    update(metric, TEXTS)
    assert not any(math.isnan(score) for score in metric.compute())
    metric.reset()
    metric.update([], [], [], [])
    assert all(math.isnan(score) for score in metric.compute())


def test_unequal_numbers_of_rows_are_our_own_mistake():
    metric = ReconstructionMetric()
    with pytest.raises(ValueError, match="zip"):
        metric.update([[1]], [[1], [2]], ["a"], ["a", "b"])
