"""Greedy, sampling and beam search against brute force, worked examples and properties."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

import contracts
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Generator, Tensor

from seqae.batch import Vocabulary
from seqae.generation import Decoding, Hypothesis, generate, greedy
from seqae.generation.limits import are_cut, limits_of
from seqae.generation.search import draw
from seqae.generation.topk import fast_argmax, fast_topk, fast_topk_of_beams
from seqae.model.autoencoder import SequenceAutoencoder
from seqae.model.decoders import AttentionDecoder, Decoder

PAD, EOS, BOS = (
    contracts.VOCABULARY.pad_id,
    contracts.VOCABULARY.eos_id,
    contracts.VOCABULARY.bos_id,
)
WRITTEN = [n for n in range(contracts.VOCABULARY.size) if n not in (EOS, BOS, PAD)]


class Script:
    """Stands for a model: row i writes what its script says, whatever it has written before."""

    vocabulary, max_length = contracts.VOCABULARY, contracts.MAX_LENGTH
    latent_noise, longest_target, adaptive = None, 0, None

    def __init__(self, scripts: list[list[int]]) -> None:
        self.scripts = scripts
        self.read: list[list[int]] = []

    def init_state(
        self, latent: Tensor, noise: Tensor | None, memory: None = None
    ) -> tuple[Tensor, ...]:
        return torch.arange(len(latent)), torch.zeros(len(latent), dtype=torch.int64)

    def step(self, token: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
        rows, places = state
        self.read.append(token.tolist())
        logits = torch.zeros(len(rows), self.vocabulary.size)
        for index, (row, place) in enumerate(zip(rows.tolist(), places.tolist(), strict=True)):
            script = self.scripts[row]
            logits[index, script[place] if place < len(script) else EOS] = 1.0
        return logits, (rows, places + 1)


class Toy:
    """Stands for a model: any prefix of a latent's row has logits of its own, drawn from a seed.

    The state is a number that tells the prefix apart, so that a state which does not follow its
    hypothesis gives other logits.
    """

    latent_noise, longest_target, adaptive = None, 0, None

    def __init__(self, size: int, max_length: int, seed: int, sharpness: float = 1.0) -> None:
        self.vocabulary = Vocabulary(size, pad_id=0, unk_id=size - 1, bos_id=1, eos_id=2)
        self.max_length, self.sharpness = max_length, sharpness
        self.table = torch.randn(997, size, generator=Generator().manual_seed(seed))
        self.table[:, :2] = -30.0  # pad and bos, as of a trained model

    def init_state(
        self, latent: Tensor, noise: Tensor | None = None, memory: None = None
    ) -> tuple[Tensor, ...]:
        return (latent[:, 0].long() * 31,)

    def step(self, token: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
        prefix = (state[0] * 7 + token + 1) % 997
        return self.sharpness * self.table[prefix], (prefix,)

    def log_probability(self, row: int, ids: Sequence[int], is_ended: bool) -> float:
        state, token, total = self.init_state(torch.tensor([[row]])), 1, 0.0
        for following in [*ids, *([2] if is_ended else [])]:
            logits, state = self.step(torch.tensor([token]), state)
            total += float(logits[0].double().log_softmax(0)[following])
            token = following
        return total

    def everything(self, row: int, penalty: float = 0.0) -> list[tuple[float, list[int]]]:
        """All texts that can be written, the best first."""
        steps = self.max_length - 1
        letters = range(3, self.vocabulary.size)
        texts = [ids for n in range(steps + 1) for ids in itertools.product(letters, repeat=n)]
        found = []
        for ids in texts:
            is_ended = len(ids) < steps
            length = len(ids) + is_ended
            score = self.log_probability(row, ids, is_ended) / length**penalty
            found.append((score, list(ids)))
        return sorted(found, reverse=True)


def rows_of(count: int) -> Tensor:
    return torch.arange(count, dtype=torch.float32)[:, None]


def written(model: Any, latent: Tensor, **options: Any) -> list[list[Hypothesis]]:
    tokenize_word, generator = (
        options.pop("tokenize_word", None),
        Generator().manual_seed(options.pop("seed", 0)),
    )
    more = {key: options.pop(key) for key in ("lengths", "limits", "batch_size") if key in options}
    return generate(
        model,
        latent,
        Decoding(**options),
        tokenize_word=tokenize_word,
        generator=generator,
        **more,
    )


def ids_of(found: list[list[Hypothesis]]) -> list[list[list[int]]]:
    return [[hypothesis.token_ids for hypothesis in row] for row in found]


# Greedy


def run(scripts: list[list[int]], **options: Any) -> tuple[list[list[int]], list[list[int]]]:
    model = Script(scripts)
    found = greedy(model, torch.zeros(len(scripts), 1), **options)  # type: ignore[arg-type]
    return found, model.read


def test_finished_rows_leave_the_batch():
    found, read = run([[7, 8], [], [9], [5, 6, 7]])
    assert found == [[7, 8], [], [9], [5, 6, 7]]
    # Each step reads what the unfinished rows wrote last: 4, 3, 2 and 1 of them.
    assert read == [[BOS] * 4, [7, 9, 5], [8, 6], [7]]


def test_a_row_that_never_ends_is_cut_at_max_length():
    endless = [5] * 100
    found, read = run([endless, [6]])
    assert found == [[5] * (contracts.MAX_LENGTH - 1), [6]]
    assert len(read) == contracts.MAX_LENGTH - 1
    # A limit counts bos and eos.
    assert run([endless, [6]], max_length=4)[0] == [[5, 5, 5], [6]]
    assert run([endless, []], max_length=2)[0] == [[5], []]


@given(st.lists(st.lists(st.sampled_from(WRITTEN), max_size=12), max_size=6))
def test_what_is_written_is_the_script(scripts):
    found, read = run(scripts)
    limit = contracts.MAX_LENGTH - 1
    assert found == [script[:limit] for script in scripts]
    # One reading for each token written, and one for its eos.
    expected = sum(min(len(script) + 1, limit) for script in scripts)
    assert sum(len(tokens) for tokens in read) == expected


def test_pad_and_bos_are_never_written():
    found, _ = run([[PAD, BOS, 7]])
    assert found == [[1, 1, 7]]  # what comes next, here the first of equals


def one_row_at_a_time(model: SequenceAutoencoder, latent: Tensor) -> list[list[int]]:
    assert model.vocabulary is not None
    rows = []
    for row in range(len(latent)):
        state, token, ids = model.init_state(latent[row : row + 1]), BOS, []
        while len(ids) < model.max_length - 1:
            logits, state = model.step(torch.tensor([token]), state)
            logits[0, [PAD, BOS]] = -math.inf
            token = int(logits[0].argmax())
            if token == EOS:
                break
            ids.append(token)
        rows.append(ids)
    return rows


# A few forms of each decoder: how its settings change the logits is tested in test_decoders. Those
# that look back at their text are in test_copying.
FORMS = [
    form
    for cls in contracts.concrete_subclasses(Decoder)
    if not issubclass(cls, AttentionDecoder)
    for form in [f for f in contracts.each(Decoder) if f.values[0] is cls][:3]
]
# Each class under each head; the other pairs are slow tests.
FORMS_AND_HEADS = [
    pytest.param(
        *form.values,
        head,
        id=f"{form.id}-{head}",
        marks=() if (number - index) % 3 == 0 else pytest.mark.slow,
    )
    for number, form in enumerate(FORMS)
    for index, head in enumerate(contracts.HEADS)
]


def model_of(cls: type[Decoder], arguments: dict[str, Any], head: str) -> SequenceAutoencoder:
    return contracts.make_model(decoder=cls(**arguments), head=head)


@pytest.mark.parametrize(("cls", "arguments", "head"), FORMS_AND_HEADS)
def test_equals_a_loop_over_single_rows(cls, arguments, head):
    model = model_of(cls, arguments, head)
    latent = 3 * torch.randn(12, 8)
    with torch.no_grad():
        first, _ = model.step(torch.full((12,), BOS), model.init_state(latent))
        first[:, [PAD, BOS]] = -math.inf
        lead = (first.max(dim=1).values - first[:, EOS]).median() + 1e-3
        if head == "tied":  # so much for eos that half of the rows end at once
            model.output_bias[EOS] += lead
        elif head == "linear":
            model.output.bias[EOS] += lead
    found = greedy(model, latent)
    assert found == one_row_at_a_time(model, latent)
    assert all(len(ids) < contracts.MAX_LENGTH for ids in found)
    if head != "nearest":
        assert 6 <= found.count([]) < 12


def test_no_rows():
    assert greedy(contracts.make_model(), torch.zeros(0, 8)) == []
    assert written(contracts.make_model(), torch.zeros(0, 8), num_beams=3) == []
    assert written(contracts.make_model(), torch.zeros(0, 8), temperature=1.0) == []


@pytest.mark.parametrize("max_length", [1, 0, -1, contracts.MAX_LENGTH + 1])
def test_an_impossible_length_is_refused(max_length):
    message = contracts.refusal(greedy, contracts.make_model(), torch.zeros(1, 8), max_length)
    assert message.startswith("`max_length` must be between 2 and 9")


def test_nothing_is_kept_for_a_gradient():
    model = contracts.make_model()
    latent = torch.randn(2, 8, requires_grad=True)
    greedy(model, latent)
    assert latent.grad is None
    assert all(p.grad is None for p in model.parameters())


@pytest.mark.parametrize("options", [{}, {"num_beams": 3, "num_return_sequences": 3}])
def test_batches_and_their_order_do_not_matter(options):
    model = contracts.make_model(head="linear")
    latent = 3 * torch.randn(11, 8)
    expected = ids_of(written(model, latent, **options))
    for batch_size in (1, 4, 7):
        told = torch.randint(2, 9, (11,)).tolist()
        found = written(model, latent, **options, batch_size=batch_size, lengths=told)
        assert ids_of(found) == expected


def test_rows_that_end_together_are_written_together():
    scripts = [[5] * n for n in (6, 1, 5, 2, 6, 1)]
    model = Script(scripts)
    model.init_state = lambda latent, *_: (latent[:, 0].long(), torch.zeros(len(latent)).long())
    lengths = [len(script) + 2 for script in scripts]
    found = written(model, rows_of(6), lengths=lengths, batch_size=2)
    assert [ids for (ids,) in ids_of(found)] == scripts
    assert [len(read) for read in model.read] == [2] * 7 + [2] * 3 + [1] * 3 + [2] * 2


@given(
    st.lists(st.lists(st.sampled_from(WRITTEN), max_size=12), max_size=6),
    st.lists(st.integers(2, 14), min_size=6, max_size=6),
    st.sampled_from([1, 3]),
)
def test_each_row_ends_at_its_own_limit(scripts, limits, num_beams):
    model = Script(scripts)
    model.init_state = lambda latent, *_: (latent[:, 0].long(), torch.zeros(len(latent)).long())
    rows, limits = rows_of(len(scripts)), limits[: len(scripts)]
    options = {"num_beams": num_beams, "batch_size": 2 * num_beams}
    free, bound = (
        [ids for (ids,) in ids_of(written(model, rows, limits=own, **options))]
        for own in (None, limits)
    )
    if num_beams == 1:
        assert bound == [ids[: limit - 1] for ids, limit in zip(free, limits, strict=True)]
    ended = [len(ids) + 1 < limit for ids, limit in zip(bound, limits, strict=True)]
    assert [not cut for cut in are_cut(bound, limits)] == ended
    # What ends before its limit is what it would be without one.
    assert all(b == f for b, f, is_own in zip(bound, free, ended, strict=True) if is_own)
    assert all(len(ids) < limit for ids, limit in zip(bound, limits, strict=True))


def test_a_limit_of_all_rows_is_max_length():
    model = Toy(6, 12, seed=3)
    for options in ({}, {"num_beams": 3}, {"temperature": 1.0}):
        expected = ids_of(written(model, rows_of(8), max_length=5, **options))
        if "temperature" in options:  # which draws a number for each position
            expected = [
                [ids[:4] for ids in row] for row in ids_of(written(model, rows_of(8), **options))
            ]
        assert ids_of(written(model, rows_of(8), limits=[5] * 8, **options)) == expected


def test_the_limits_of_sentences():
    assert limits_of([2, 5, 90], 100) == [14, 20, 100]
    assert limits_of([3], 100, ratio=1.5) == [15]  # 4.5 is rounded up
    assert limits_of([3], 100, min_length=40) == [40]


def test_the_longest_text_of_the_training_bounds_what_is_written_without_a_sentence():
    model = Script([[5] * 100])
    model.max_length = 60
    lengths = []
    for longest in (0, 5, 50):
        model.longest_target = longest
        ((found,),) = ids_of(written(model, rows_of(1)))
        lengths.append(len(found) + 1)
    assert lengths == [60, 20, 60]
    # What is asked for.
    model.longest_target = 5
    for options in ({"max_length": 40}, {"limits": [40]}, {"min_length": 40}):
        ((found,),) = ids_of(written(model, rows_of(1), **options))
        assert len(found) + 1 == 40


def test_a_row_that_loops_ends_early_unless_its_latent_asks_for_it():
    search_length = 60
    loop, text = [5, 6, 7] * search_length, list(range(4, 23)) * search_length
    model = Script([loop, loop, text])
    model.max_length = search_length + 1
    model.latent_noise = object()
    noise = torch.tensor([1.0, 0.0, 1.0])
    found = generate(model, rows_of(3), noise=noise, scores=False)
    assert [len(row[0].token_ids) for row in found] == [32, search_length, search_length]
    found = generate(model, rows_of(3), Decoding(min_length=41), noise=noise, scores=False)
    assert [len(row[0].token_ids) for row in found] == [48, search_length, search_length]


# Beam search


@settings(max_examples=40)
@given(
    seed=st.integers(0, 10**6),
    size=st.integers(4, 6),
    max_length=st.integers(2, 5),
    sharpness=st.sampled_from([0.3, 1.0, 3.0]),
    penalty=st.sampled_from([0.0, 0.5, 1.0, 2.0, -1.0]),
)
def test_a_wide_beam_finds_the_exhaustive_optimum(seed, size, max_length, sharpness, penalty):
    """With as many beams as there are prefixes nothing is pruned: only the early exit could err."""
    model = Toy(size, max_length, seed, sharpness)
    expected = model.everything(5, penalty)
    count = min(5, len(expected))
    width = (size - 3) ** (max_length - 1) + max_length
    (found,) = written(
        model,
        torch.tensor([[5.0]]),
        num_beams=max(2, width),
        num_return_sequences=count,
        length_penalty=penalty,
    )
    assert [h.token_ids for h in found] == [ids for _, ids in expected[:count]]
    assert [h.score for h in found] == pytest.approx([s for s, _ in expected[:count]], abs=1e-4)


def plain_beam(model: Toy, row: int, width: int, count: int, penalty: float) -> list[list[int]]:
    """The textbook's loop, without an early exit."""
    steps = model.max_length - 1
    open_, done = [(0.0, [], model.init_state(torch.tensor([[row]])))], []
    for position in range(steps):
        found = []
        for score, ids, state in open_:
            logits, after = model.step(torch.tensor([ids[-1] if ids else 1]), state)
            values = logits[0].log_softmax(0)
            found += [(score + float(values[t]), [*ids, t], after) for t in range(2, len(values))]
        found.sort(key=lambda item: -item[0])
        for score, ids, _ in found[:width]:
            if ids[-1] == 2 or position == steps - 1:
                done.append((score / (position + 1) ** penalty, ids))
        open_ = [item for item in found[: 2 * width] if item[1][-1] != 2][:width]
    done.sort(key=lambda item: -item[0])
    return [[t for t in ids if t != 2] for _, ids in done[:count]]


@settings(max_examples=40)
@given(
    seed=st.integers(0, 10**6),
    width=st.integers(2, 5),
    penalty=st.sampled_from([0.0, 1.0, 1.5, -0.5]),
    rows=st.integers(1, 4),
    data=st.data(),
)
def test_equals_the_textbooks_loop(seed, width, penalty, rows, data):
    count = data.draw(st.integers(1, width))
    model = Toy(9, 8, seed, sharpness=2.0)
    found = written(
        model, rows_of(rows), num_beams=width, num_return_sequences=count, length_penalty=penalty
    )
    assert ids_of(found) == [plain_beam(model, row, width, count, penalty) for row in range(rows)]


@pytest.mark.parametrize(("cls", "arguments", "head"), FORMS_AND_HEADS)
def test_a_beam_of_one_is_greedy(cls, arguments, head):
    from seqae.generation.beam import BeamSearch
    from seqae.generation.constraints import LogitConstraints
    from seqae.generation.generate import run_search

    model = model_of(cls, arguments, head)
    latent = 3 * torch.randn(9, 8)
    options, steps = Decoding(), model.max_length - 1
    search = BeamSearch(
        LogitConstraints(contracts.VOCABULARY, options, [], 9, latent.device), options, steps, 9
    )
    with torch.inference_mode():
        found = run_search(model, latent, search, steps)
    expected = written(model, latent)
    assert ids_of(found) == ids_of(expected)
    for (beam,), (single,) in zip(found, expected, strict=True):
        assert beam.score == pytest.approx(single.score, abs=1e-4)


@pytest.mark.parametrize(("cls", "arguments", "head"), FORMS_AND_HEADS)
def test_scores_are_those_of_the_model_and_n_best_are_sorted_and_distinct(cls, arguments, head):
    """The score of what a beam wrote is what teacher forcing gives it: the states have followed."""
    model = model_of(cls, arguments, head)
    latent = 3 * torch.randn(4, 8)
    for row, hypotheses in enumerate(written(model, latent, num_beams=4, num_return_sequences=4)):
        scores = [h.score for h in hypotheses]
        assert scores == sorted(scores, reverse=True)
        assert len({tuple(h.token_ids) for h in hypotheses}) == len(hypotheses) == 4
        for ids, score in hypotheses:
            target = [*ids, EOS] if len(ids) < model.max_length - 1 else ids
            with torch.no_grad():
                features = model.decode(torch.tensor([[BOS, *target[:-1]]]), latent[[row]])
                values = model.logits(features)[0].log_softmax(dim=1)
            expected = float(values[torch.arange(len(target)), target].sum())
            assert score == pytest.approx(expected, rel=1e-4, abs=1e-3)


@pytest.mark.parametrize("penalty", [0.0, 1.0, -1.0])
def test_it_does_not_end_too_early(penalty):
    """Eos at once has a probability of 0.05; a better text has 0.6, and 0.9 then to end."""
    model = Toy(5, 9, seed=0)
    first, then = torch.tensor([0, 0, 0.05, 0.6, 0.35]), torch.tensor([0, 0, 0.9, 0.05, 0.05])
    model.step = lambda token, state: (torch.where(token[:, None] == 1, first, then).log(), state)
    (found,) = written(model, rows_of(1), num_beams=3, length_penalty=penalty)
    assert found[0].token_ids == [3]
    assert found[0].score == pytest.approx(math.log(0.6 * 0.9) / 2**penalty, abs=1e-5)


def test_it_ends_early_once_nothing_can_be_better():
    """Logits of 20 leave other hypotheses no chance; then it takes a step more than greedy."""
    model = Toy(30, 60, seed=0)
    calls = []
    model.step = lambda token, state: (  # eos at the third step
        calls.append(len(token))
        or torch.full((len(token), 30), 0.0).index_fill(
            1, torch.tensor([2 if len(calls) > 2 else 7]), 20.0
        ),
        state,
    )
    (found,) = written(model, rows_of(1), num_beams=5)
    assert found[0].token_ids == [7, 7]
    assert len(calls) == 3


@given(
    rows=st.integers(1, 5),
    size=st.sampled_from([3, 63, 64, 200, 1024, 1031, 5000]),
    count=st.integers(1, 12),
    seed=st.integers(0, 99),
)
def test_largest_is_topk(rows, size, count, seed):
    count = min(count, size)
    values = torch.rand(rows, size, generator=Generator().manual_seed(seed))
    found, index = fast_topk(values, count)
    assert torch.equal(found, values.topk(count, dim=1).values)
    assert torch.equal(values.gather(1, index), found)
    assert torch.equal(fast_argmax(values), values.argmax(dim=1))
    few = values.mul(4).round()  # of equals, the first
    assert torch.equal(fast_argmax(few), few.argmax(dim=1))


@given(
    rows=st.integers(0, 3),
    width=st.integers(1, 5),
    size=st.sampled_from([1, 7, 64, 1000, 1024, 1337]),
    count=st.integers(1, 10),
    seed=st.integers(0, 99),
)
def test_largest_of_beams_is_topk_of_the_sum(rows, width, size, count, seed):
    generator = Generator().manual_seed(seed)
    values = torch.rand(rows, width, size, generator=generator)
    offset = torch.rand(rows, width, generator=generator)
    total = values + offset[..., None]
    found, beam, index = fast_topk_of_beams(values, offset, count)
    expected = total.flatten(1).topk(min(count, width * size), dim=1).values
    assert torch.equal(found, expected)
    place = beam * size + index
    assert torch.equal(total.flatten(1).gather(1, place), found)
    assert all(len(set(row)) == len(row) for row in place.tolist())


# LogitConstraints


def holds(ids: list[int], sequence: list[int]) -> bool:
    size = len(sequence)
    return any(ids[i : i + size] == sequence for i in range(len(ids) - size + 1))


def words(sequences: list[list[list[int]]]) -> dict[str, Any]:
    """Options that name words, and what spells them."""
    return {str(number): spellings for number, spellings in enumerate(sequences)}


MANNERS = st.sampled_from(
    [{}, {"num_beams": 2}, {"num_beams": 5, "num_return_sequences": 5}, {"temperature": 2.0}]
)
SEQUENCES = st.lists(st.integers(3, 7), min_size=1, max_size=4)


@settings(max_examples=40)
@given(seed=st.integers(0, 10**6), manner=MANNERS, size=st.integers(1, 4))
def test_no_ngram_is_written_twice(seed, manner, size):
    found = written(Toy(8, 14, seed, 3.0), rows_of(3), **manner, no_repeat_ngram_size=size)
    for ids in itertools.chain(*ids_of(found)):
        ngrams = [tuple(ids[i : i + size]) for i in range(len(ids) - size + 1)]
        assert len(set(ngrams)) == len(ngrams)


@settings(max_examples=40)
@given(
    seed=st.integers(0, 10**6), manner=MANNERS, banned=st.lists(SEQUENCES, min_size=1, max_size=4)
)
def test_banned_words_are_not_written(seed, manner, banned):
    known = words([[sequence] for sequence in banned])
    found = written(
        Toy(8, 14, seed, 3.0),
        rows_of(3),
        **manner,
        banned_words=list(known),
        tokenize_word=known.get,
    )
    assert all(found)
    for ids in itertools.chain(*ids_of(found)):
        assert not any(holds(ids, sequence) for sequence in banned), (ids, banned)


def test_a_ban_changes_no_text_without_the_word():
    model = Toy(8, 14, 1, 3.0)
    (free,) = ids_of(written(model, rows_of(1)))[0]
    absent = [a for a in itertools.product(range(3, 8), repeat=2) if not holds(free, [*a])]
    known = words([[[*pair]] for pair in absent])
    found = written(model, rows_of(1), banned_words=list(known), tokenize_word=known.get)
    assert ids_of(found) == [[free]]


@settings(max_examples=40)
@given(seed=st.integers(0, 10**6), manner=MANNERS, low=st.integers(2, 8), more=st.integers(0, 5))
def test_lengths_are_kept(seed, manner, low, more):
    high = low + more
    found = written(
        Toy(8, 14, seed, 2.0), rows_of(3), **manner, min_length=low, max_length=max(3, high)
    )
    for ids in itertools.chain(*ids_of(found)):
        # Without eos a text is cut: one token more has its place.
        assert low - 2 <= len(ids) <= max(3, high) - 1


@settings(max_examples=60)
@given(
    seed=st.integers(0, 10**6),
    forced=st.lists(st.lists(SEQUENCES, min_size=1, max_size=2), min_size=1, max_size=3),
    manner=st.sampled_from(
        [
            {"num_beams": 2},
            {"num_beams": 4, "num_return_sequences": 3},
            {"num_beams": 8, "num_return_sequences": 2},
        ]
    ),
    rules=st.sampled_from([{}, {"no_repeat_ngram_size": 2}, {"min_length": 10}]),
)
@example(seed=2, forced=[[[3, 3, 3]]], manner={"num_beams": 2}, rules={"no_repeat_ngram_size": 2})
def test_forced_words_are_written(seed, forced, manner, rules):
    """Whatever else is asked for, and however little room there is."""
    known = words(forced)
    needed = sum(min(map(len, spellings)) for spellings in forced)
    max_length = max(needed + 1 + seed % 4, rules.get("min_length", 2), 3)
    options = {**manner, **rules, "forced_words": list(known), "tokenize_word": known.get}
    found = written(Toy(8, max_length, seed, 2.0), rows_of(3), **options)
    assert all(found)
    assert all(len({tuple(ids) for ids in row}) == len(row) for row in ids_of(found))
    for ids in itertools.chain(*ids_of(found)):
        for spellings in forced:
            assert any(holds(ids, sequence) for sequence in spellings), (ids, forced)


@settings(max_examples=15)
@given(seed=st.integers(0, 10**6), forced=st.lists(st.integers(3, 4), min_size=1, max_size=2))
def test_a_wide_beam_finds_the_best_text_with_the_forced_word(seed, forced):
    model = Toy(5, 5, seed)
    known = words([[forced]])
    expected = [text for text in model.everything(5) if holds(text[1], forced)]
    (found,) = written(
        model, torch.tensor([[5.0]]), num_beams=200, forced_words=["0"], tokenize_word=known.get
    )
    assert found[0].token_ids == expected[0][1]
    assert found[0].score == pytest.approx(expected[0][0], abs=1e-4)


# Sampling


def test_frequencies_are_those_of_the_softmax():
    logits = torch.tensor([0.0, 1.0, -1.0, 2.0, 0.5, -math.inf])
    uniform = torch.rand(40_000, generator=Generator().manual_seed(0))
    for temperature in (0.5, 1.0, 2.0):
        rows = logits.expand(len(uniform), -1)
        found = draw(rows, uniform, Decoding(temperature=temperature))
        expected = (logits / temperature).softmax(0) * len(uniform)
        counts = torch.bincount(found, minlength=6)
        assert counts[5] == 0
        statistic = float(((counts - expected)[:5] ** 2 / expected[:5]).sum())
        assert statistic < 18.5  # 99.9 % of chi square with 4 degrees of freedom


def test_whole_texts_are_as_frequent_as_the_model_says():
    model = Toy(5, 4, seed=3)
    found = written(
        model, torch.full((1, 1), 5.0), temperature=1.0, num_return_sequences=1024, seed=1
    )
    counts = Counter(tuple(ids) for ids in ids_of(found)[0])
    statistic, cells = 0.0, 0
    for score, ids in model.everything(5):
        expected = 1024 * math.exp(score)
        if expected >= 5:
            statistic += (counts[tuple(ids)] - expected) ** 2 / expected
            cells += 1
    assert cells >= 5
    assert statistic < cells + 4 * math.sqrt(2 * cells)


# Probabilities of 0.5, 0.3, 0.15 and 0.05, not in order.
LOGITS = torch.tensor([0.15, 0.5, 0.05, 0.3]).log()


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, {0: 0.15, 1: 0.5, 2: 0.05, 3: 0.3}),
        ({"top_k": 1}, {1: 1.0}),
        ({"top_k": 2}, {1: 0.625, 3: 0.375}),
        ({"top_k": 99}, {0: 0.15, 1: 0.5, 2: 0.05, 3: 0.3}),
        ({"top_p": 0.4}, {1: 1.0}),
        ({"top_p": 0.6}, {1: 0.625, 3: 0.375}),
        ({"top_p": 0.9}, {0: 0.15 / 0.95, 1: 0.5 / 0.95, 3: 0.3 / 0.95}),
        ({"top_p": 1e-9}, {1: 1.0}),
        ({"top_k": 3, "top_p": 0.6}, {1: 0.625, 3: 0.375}),  # 0.5 / 0.95 is below 0.6
        ({"top_k": 2, "top_p": 0.6}, {1: 1.0}),  # 0.5 / 0.8 is not
        ({"temperature": 1e-6}, {1: 1.0}),
    ],
)
def test_top_k_and_top_p_by_hand(options, expected):
    uniform = (torch.arange(2000) + 0.5) / 2000  # so that the frequencies are exact
    found = draw(LOGITS.expand(2000, -1), uniform, Decoding(**{"temperature": 1.0, **options}))
    counts = Counter(found.tolist())
    assert {token: n / 2000 for token, n in counts.items()} == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("uniform", [0.0, 1 - 2**-24])
def test_the_ends_of_the_interval(uniform):
    logits = torch.tensor([[-math.inf, 0.0, 0.0, -math.inf]])
    found = draw(logits, torch.tensor([uniform]), Decoding(temperature=1.0))
    assert found.tolist() == [1 if uniform == 0 else 2]


def test_the_seed_decides_and_the_batches_do_not():
    model, latent = Toy(9, 12, 0), rows_of(9)
    first = written(model, latent, temperature=1.0, num_return_sequences=3, seed=4)
    assert [len(row) for row in first] == [3] * 9
    told = torch.randint(2, 12, (9,)).tolist()
    for batch_size in (1, 5, 100):
        again = written(
            *(model, latent),
            **{"temperature": 1.0, "num_return_sequences": 3, "seed": 4},
            **{"batch_size": batch_size, "lengths": told},
        )
        assert ids_of(again) == ids_of(first)
    assert ids_of(
        written(model, latent, temperature=1.0, num_return_sequences=3, seed=5)
    ) != ids_of(first)
    # A score is what the model itself gives to the text.
    for row, hypotheses in enumerate(first):
        for ids, score in hypotheses:
            expected = model.log_probability(row, ids, len(ids) < 11)
            assert score == pytest.approx(expected, abs=1e-3)


# Refusals


@pytest.mark.parametrize(
    ("options", "beginning"),
    [
        ({"num_beams": 0}, "`num_beams` must be between 1 and"),
        ({"num_return_sequences": 2}, "`num_return_sequences` must be at most `num_beams`, 1"),
        (
            {"num_beams": 2, "num_return_sequences": 3},
            "`num_return_sequences` must be at most `num_beams`, 2",
        ),
        ({"temperature": -1.0}, "`temperature` must be between 0.0 and"),
        ({"temperature": math.nan}, "`temperature` must be between 0.0 and"),
        ({"temperature": 1e-300}, "`temperature` must be 0 or at least 1e-06, but it is 1e-300"),
        ({"temperature": 1.0, "num_beams": 2}, "`temperature` must be 0 for a beam search"),
        ({"top_k": 5}, "`temperature` must be above 0 for `top_k`"),
        ({"top_p": 0.5}, "`temperature` must be above 0 for `top_k`"),
        ({"temperature": 1.0, "top_p": 0.0}, "`top_p` must be between"),
        ({"temperature": 1.0, "top_k": -1}, "`top_k` must be between"),
        ({"length_penalty": 1.0}, "`length_penalty` must be 0 without a beam search"),
        ({"forced_words": ["a"]}, "`num_beams` must be at least 2 for `forced_words`"),
        ({"min_length": 5, "max_length": 4}, "`min_length` must be at most `max_length`, 4"),
        ({"max_length": 1}, "`max_length` must be between 2 and"),
        ({"banned_words": ["a", ""]}, "`banned_words` must be words, but one is ''"),
        ({"num_beams": 2, "forced_words": [" "]}, "`forced_words` must be words, but one is ' '"),
        ({"no_repeat_ngram_size": -1}, "`no_repeat_ngram_size` must be between"),
    ],
)
def test_options_that_do_not_fit_are_refused(options, beginning):
    assert contracts.refusal(Decoding, **options).startswith(beginning)


@pytest.mark.parametrize(
    ("options", "beginning"),
    [
        ({"banned_words": ["a"]}, "`tokenize_word` must be given"),
        (
            {"banned_words": ["?"], "tokenize_word": lambda _: []},
            "`banned_words` and `forced_words` must",
        ),
        (
            {"num_beams": 2, "forced_words": ["a"], "tokenize_word": lambda _: [[5] * 9]},
            "`forced_words` must have room, 8 tokens, but they have 9",
        ),
        (
            {
                "num_beams": 2,
                "forced_words": ["a b"],
                "banned_words": ["b"],
                "tokenize_word": {"a b": [[5, 6]], "b": [[6]]}.get,
            },
            "`forced_words` must not hold a banned word, but 'a b' does",
        ),
        ({"min_length": 10}, "`min_length` must be between 2 and 9"),
    ],
)
def test_options_that_do_not_fit_the_model_are_refused(options, beginning):
    message = contracts.refusal(written, contracts.make_model(), torch.zeros(1, 8), **options)
    assert message.startswith(beginning)


@pytest.mark.parametrize(
    "options",
    [{}, {"num_beams": 2}, {"num_beams": 2, "num_return_sequences": 2}, {"temperature": 1.0}],
)
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_logits_that_are_not_finite_are_refused(options, value):
    """Also where only one row has them, which another one outlives."""
    model = Toy(9, 6, seed=0)
    prefix = (31 * 7 + 1 + 1) % 997  # where the second row begins
    model.table[prefix, 4] = value
    message = contracts.refusal(written, model, rows_of(3), **options)
    assert message.startswith("`model` must give finite logits")


def test_the_logits_of_many_rows_in_float16():
    """Their sum would be infinite there: the largest of its numbers is 65,504."""

    class Half(Toy):
        def step(self, token, state):
            logits, state = super().step(token, state)
            return (logits + 1000.0).half(), state

    assert len(written(Half(9, 6, seed=0), rows_of(100))) == 100


def test_the_coldest_draw_takes_the_likeliest_token():
    latent = rows_of(3)
    cold = written(Toy(9, 6, seed=0), latent, temperature=1e-6)
    assert ids_of(cold) == ids_of(written(Toy(9, 6, seed=0), latent))


def test_no_number_is_drawn_without_a_generator():
    message = contracts.refusal(
        generate, contracts.make_model(), torch.zeros(1, 8), Decoding(temperature=1.0)
    )
    assert message.startswith("`generator` must be given")
