"""Noise is measured: rates within binomial error, and what must never be touched."""

from __future__ import annotations

from itertools import pairwise
from math import sqrt

import contracts
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Generator

from seqae.batch import Batch
from seqae.objectives import Adversarial, Denoising, Reconstruction
from seqae.objectives.noise import NoiseRates, corrupt

V = contracts.VOCABULARY
SPECIAL = {V.pad_id, V.unk_id, V.bos_id, V.eos_id}


def numbered(rows: int, words: int) -> Batch:
    """Rows of bos, different words in order, eos; a wider vocabulary than the model's."""
    ids = torch.arange(words)[None].expand(rows, words) + 4
    ends = torch.ones(rows, 1, dtype=torch.int64)
    token_ids = torch.cat([ends * V.bos_id, ids, ends * V.eos_id], dim=1)
    return Batch(token_ids, torch.full((rows,), words + 2))


def noisy(batch: Batch, seed: int = 0, **rates) -> Batch:
    return corrupt(batch, NoiseRates(**rates), V, Generator().manual_seed(seed))


def sentences(batch: Batch) -> list[list[int]]:
    """The ids of each row without bos and eos, which are where they belong."""
    rows = []
    for row, length in zip(batch.token_ids.tolist(), batch.lengths.tolist(), strict=True):
        assert row[0] == V.bos_id
        assert row[length - 1] == V.eos_id
        assert set(row[length:]) <= {V.pad_id}
        rows.append(row[1 : length - 1])
    return rows


def check_rate(count: int, total: int, chance: float) -> None:
    sigma = sqrt(chance * (1 - chance) / total)
    assert abs(count / total - chance) < 4 * sigma, (count / total, chance)


@pytest.mark.parametrize("chance", [0.1, 0.3, 0.6])
def test_deletes_what_it_says(chance):
    clean = numbered(400, 100)
    found = sentences(noisy(clean, delete=chance))
    check_rate(400 * 100 - sum(map(len, found)), 400 * 100, chance)
    for row in found:  # in the old order
        assert all(a < b for a, b in pairwise(row))
    kept = torch.zeros(400, 100)
    for index, row in enumerate(found):
        kept[index, torch.tensor(row) - 4] = 1
    by_place = (1 - kept).mean(dim=0)  # each place with the same chance
    assert (by_place - chance).abs().max() < 5 * sqrt(chance * (1 - chance) / 400)


@pytest.mark.parametrize("chance", [0.1, 0.6])
def test_blanks_what_it_says(chance):
    found = torch.tensor(sentences(noisy(numbered(400, 100), blank=chance)))
    check_rate(int((found == V.unk_id).sum()), 400 * 100, chance)
    expected = torch.arange(100) + 4
    assert ((found == expected) | (found == V.unk_id)).all()


@pytest.mark.parametrize("chance", [0.1, 0.6])
def test_substitutes_what_it_says(chance):
    clean = numbered(400, 100)
    clean.token_ids[:, 1:-1] = 7
    found = torch.tensor(sentences(noisy(clean, substitute=chance)))
    ordinary = V.size - len(SPECIAL)
    # One substitute in `ordinary` is the word itself.
    check_rate(int((found != 7).sum()), 400 * 100, chance * (1 - 1 / ordinary))
    counts = torch.bincount(found[found != 7], minlength=V.size)
    assert all(counts[one] == 0 for one in SPECIAL)
    others = counts[[i for i in range(V.size) if i not in SPECIAL | {7}]].float()
    assert (others - others.mean()).abs().max() < 5 * others.mean().sqrt()


def test_substitutes_step_over_special_ids_anywhere():
    vocabulary = type(V)(size=8, pad_id=7, unk_id=2, bos_id=0, eos_id=5)
    clean = Batch(torch.tensor([[0, *[1] * 500, 5]]), torch.tensor([502]))
    generator = Generator().manual_seed(0)
    found = corrupt(clean, NoiseRates(substitute=1.0), vocabulary, generator)
    assert set(found.token_ids[0, 1:-1].tolist()) == {1, 3, 4, 6}


def test_blank_and_substitute_share_the_tokens():
    clean = numbered(400, 100)
    clean.token_ids[:, 1:-1] = 7
    found = torch.tensor(sentences(noisy(clean, blank=0.3, substitute=0.7)))
    check_rate(int((found == V.unk_id).sum()), 400 * 100, 0.3)
    check_rate(int((found == 7).sum()), 400 * 100, 0.7 / (V.size - len(SPECIAL)))


@pytest.mark.parametrize("distance", [1, 3, 10])
def test_shuffles_within_the_distance(distance):
    found = torch.tensor(sentences(noisy(numbered(400, 100), shuffle_distance=distance))) - 4
    moved = (found - torch.arange(100)).abs()
    assert 0.7 * distance < moved.max() <= distance
    assert torch.equal(found.sort(dim=1).values, torch.arange(100).expand(400, 100))
    assert (moved[:, 10:90] > 0).float().mean() > 0.2


def test_neighbours_swap_as_often_as_two_uniform_draws_say():
    """Under distance 1 the keys are i + U(0, 2): of two words, the second is first in 1 of 8."""
    found = torch.tensor(sentences(noisy(numbered(20_000, 2), shuffle_distance=1)))
    check_rate(int((found[:, 0] == 5).sum()), 20_000, 1 / 8)


# Words of other sentences


def distinct(rows: int, words: int) -> Batch:
    """As `numbered`, but no two rows share a word: that of row r at place i is 4 + r words + i."""
    batch = numbered(rows, words)
    batch.token_ids[:, 1:-1] += words * torch.arange(rows)[:, None]
    return batch


@pytest.mark.parametrize(("rate", "span"), [(0.1, 1), (0.5, 1), (0.5, 2), (1.0, 3)])
def test_inserts_what_it_says(rate, span):
    rows, words = 400, 50
    found = sentences(noisy(distinct(rows, words), insert=rate, span=span))
    shares = torch.tensor([len(row) / words - 1 for row in found])
    spread = 0.4 * rate / sqrt(12) + span / words  # of the drawn rate, and of its rounding
    assert abs(float(shares.mean()) - rate) < 4 * spread / sqrt(rows)
    assert shares.min() > 0.8 * rate - span / words
    assert shares.max() < 1.2 * rate + span / words
    for index, row in enumerate(found):
        tokens = torch.tensor(row) - 4
        is_own = tokens // words == index
        assert tokens[is_own].tolist() == list(range(index * words, (index + 1) * words))
        inserted = tokens[~is_own].tolist()
        assert len(set(inserted)) == len(inserted)  # none twice
        assert len({token // words for token in inserted}) <= 2
        runs = torch.tensor(inserted).reshape(-1, span)
        assert (runs == runs[:, :1] + torch.arange(span)).all()


def test_inserts_anywhere_with_the_same_chance():
    """Between 4 words there are 5 gaps, those at the ends too."""
    found = sentences(noisy(distinct(4000, 4), insert=0.5))
    gaps = torch.zeros(5)
    for index, row in enumerate(found):
        place = 0
        for token in row:
            if (token - 4) // 4 == index:
                place += 1
            else:
                gaps[place] += 1
    check_rate(int(gaps.sum()), 4000 * 4, 0.5)
    assert (gaps / gaps.sum() - 0.2).abs().max() < 4 * sqrt(0.16 / float(gaps.sum()))


def test_takes_any_word_of_another_sentence():
    """Also the last ones, which whole runs from the beginning would leave out."""
    found = sentences(noisy(distinct(500, 5), insert=1.0, span=2))
    used = {(token - 4) % 5 for i, row in enumerate(found) for token in row if (token - 4) // 5 - i}
    assert used == set(range(5))


def test_inserts_no_more_than_the_model_reads():
    batch = distinct(50, 10)
    rates = NoiseRates(insert=1.0, span=2)
    found = corrupt(batch, rates, V, Generator().manual_seed(0), max_length=17)
    assert found.lengths.max() == 16  # 12 and two runs
    assert found.target_batch is batch
    same = corrupt(batch, rates, V, Generator().manual_seed(0), max_length=12)
    assert torch.equal(same.token_ids, batch.token_ids)


def test_inserts_nothing_where_there_is_no_other_sentence():
    batch = contracts.random_batch([6])
    assert torch.equal(noisy(batch, insert=1.0).token_ids, batch.token_ids)


def test_shuffles_runs():
    """A far shuffle brings any pair anywhere, and breaks none."""
    found = torch.tensor(sentences(noisy(numbered(2000, 10), shuffle_distance=8192, span=2))) - 4
    pairs = found.reshape(-1, 5, 2)
    assert (pairs[..., 1] == pairs[..., 0] + 1).all()
    first = torch.bincount(pairs[:, 0, 0] // 2, minlength=5) / 2000
    assert (first - 0.2).abs().max() < 4 * sqrt(0.16 / 2000)


def test_a_sentence_does_not_become_empty_unless_it_was():
    batch = contracts.random_batch([3, 2, 4, 9])
    found = noisy(batch, delete=1.0)
    assert found.lengths.tolist() == [3, 2, 3, 3]
    for row, clean in zip(sentences(found), sentences(batch), strict=True):
        assert set(row) <= set(clean)


@settings(max_examples=60, deadline=None)
@given(
    lengths=st.lists(st.integers(2, 12), min_size=1, max_size=5),
    delete=st.floats(0, 1),
    blank=st.floats(0, 0.5),
    substitute=st.floats(0, 0.5),
    shuffle_distance=st.integers(0, 20),
    insert=st.sampled_from([0.0, 0.3, 2.0]),
    span=st.integers(1, 4),
    seed=st.integers(0, 2**31),
)
def test_all_together_keep_the_form(
    lengths, delete, blank, substitute, shuffle_distance, insert, span, seed
):
    batch = contracts.random_batch(lengths)
    clean = batch.token_ids.clone()
    rates = {"delete": delete, "blank": blank, "substitute": substitute}
    rates |= {"insert": insert, "span": span}
    found = noisy(batch, seed, shuffle_distance=shuffle_distance, **rates)
    assert torch.equal(batch.token_ids, clean)
    assert insert or found.token_ids.shape == clean.shape
    for row, old in zip(sentences(found), sentences(batch), strict=True):
        assert bool(row) == bool(old)
        assert len(row) <= round((1 + 1.2 * insert) * len(old)) + span
        assert not set(row) & (SPECIAL - {V.unk_id})
    assert torch.equal(found.target, batch.target)
    assert torch.equal(found.target_mask, batch.target_mask)
    assert found.num_targets == batch.num_targets


def test_no_rates_no_noise():
    batch = contracts.random_batch()
    found = noisy(batch)
    assert torch.equal(found.token_ids, batch.token_ids)
    assert torch.equal(found.lengths, batch.lengths)


def test_what_is_written_stays_that_of_a_pair():
    batch, pair = contracts.random_batch(), contracts.random_batch([4, 4, 3, 2])
    found = noisy(Batch(batch.token_ids, batch.lengths, pair), delete=0.9)
    assert found.target_batch is pair


@pytest.mark.parametrize("cls", [Denoising, Adversarial])
def test_refuses_more_than_all_tokens(cls):
    message = contracts.refusal(cls, blank=0.6, substitute=0.6)
    assert message.startswith("`blank` and `substitute` must be at most 1 together")


# The denoising objective


def test_denoising_reads_the_noise_and_writes_the_clean_sentence():
    model, batch = contracts.make_model().train(), contracts.random_batch()
    objective = Denoising(delete=0.5)
    found = objective(model, batch, 0, Generator().manual_seed(3))["loss"]
    read = noisy(batch, 3, delete=0.5)
    latent = model.encode(Batch(read.token_ids, read.lengths)).latent
    logits = model.logits(model.decode(batch.decoder_input, latent))[batch.target_mask]
    expected = torch.nn.functional.cross_entropy(logits, batch.target[batch.target_mask])
    torch.testing.assert_close(found, expected)


def test_words_that_are_inserted_fit_the_model():
    """Its positions end where `max_length` does: the noisy sentence is no longer."""
    model, batch = contracts.make_model().train(), contracts.random_batch([9, 8, 9])
    read = Denoising(delete=0.0, insert=2.0).add_noise(model, batch, Generator())
    assert read.lengths.max() == contracts.MAX_LENGTH


def test_cross_entropy_chooses_a_model_that_leaves_words_out():
    model = contracts.make_model()
    assert Denoising(insert=0.5).monitored_for(model) == "val/reconstruction"
    assert Denoising().monitored_for(model) == "val/token_accuracy"


def test_denoising_evaluates_clean_sentences():
    model, batch = contracts.make_model(), contracts.random_batch()
    objectives = Denoising(delete=0.5, insert=0.5), Reconstruction()
    torch.testing.assert_close(*(o(model, batch, 0, Generator()) for o in objectives))
