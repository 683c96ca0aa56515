"""Greedy writing against a loop over single rows, and that finished rows cost nothing."""

from __future__ import annotations

from typing import Any

import contracts
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from seqae.generation import greedy
from seqae.model.autoencoder import SequenceAutoencoder
from seqae.model.decoders import Decoder

EOS, BOS = contracts.VOCABULARY.eos_id, contracts.VOCABULARY.bos_id


class Script:
    """Stands for a model: row i writes what its script says, whatever it has written before."""

    vocabulary, max_length = contracts.VOCABULARY, contracts.MAX_LENGTH

    def __init__(self, scripts: list[list[int]]) -> None:
        self.scripts = scripts
        self.read: list[list[int]] = []

    def init_state(self, latent: Tensor) -> tuple[Tensor, ...]:
        return torch.arange(len(latent)), torch.zeros(len(latent), dtype=torch.int64)

    def step(self, token: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
        rows, places = state
        self.read.append(token.tolist())
        logits = torch.zeros(len(rows), self.vocabulary.size)
        for index, (row, place) in enumerate(zip(rows.tolist(), places.tolist(), strict=True)):
            script = self.scripts[row]
            logits[index, script[place] if place < len(script) else EOS] = 1.0
        return logits, (rows, places + 1)


def run(scripts: list[list[int]], **options: Any) -> tuple[list[list[int]], list[list[int]]]:
    model = Script(scripts)
    written = greedy(model, torch.zeros(len(scripts), 1), **options)  # type: ignore[arg-type]
    return written, model.read


def test_finished_rows_leave_the_batch():
    written, read = run([[7, 8], [], [9], [5, 6, 7]])
    assert written == [[7, 8], [], [9], [5, 6, 7]]
    # Each step reads what the unfinished rows wrote last: 4, 3, 2 and 1 of them.
    assert read == [[BOS] * 4, [7, 9, 5], [8, 6], [7]]


def test_a_row_that_never_ends_is_cut_at_max_length():
    endless = [5] * 100
    written, read = run([endless, [6]])
    assert written == [[5] * (contracts.MAX_LENGTH - 1), [6]]
    assert len(read) == contracts.MAX_LENGTH - 1
    # A limit counts bos and eos.
    assert run([endless, [6]], max_length=4)[0] == [[5, 5, 5], [6]]
    assert run([endless, []], max_length=2)[0] == [[5], []]


@given(st.lists(st.lists(st.integers(0, 22).filter(lambda n: n != EOS), max_size=12), max_size=6))
def test_what_is_written_is_the_script(scripts):
    written, read = run(scripts)
    limit = contracts.MAX_LENGTH - 1
    assert written == [script[:limit] for script in scripts]
    # One reading for each token written, and one for its eos.
    expected = sum(min(len(script) + 1, limit) for script in scripts)
    assert sum(len(tokens) for tokens in read) == expected


def one_row_at_a_time(model: SequenceAutoencoder, latent: Tensor) -> list[list[int]]:
    assert model.vocabulary is not None
    rows = []
    for row in range(len(latent)):
        state, token, ids = model.init_state(latent[row : row + 1]), BOS, []
        while len(ids) < model.max_length - 1:
            logits, state = model.step(torch.tensor([token]), state)
            token = int(logits[0].argmax())
            if token == EOS:
                break
            ids.append(token)
        rows.append(ids)
    return rows


@pytest.mark.parametrize("head", contracts.HEADS)
@pytest.mark.parametrize(("cls", "arguments"), contracts.each(Decoder))
def test_equals_a_loop_over_single_rows(cls, arguments, head):
    model = contracts.make_model(decoder=cls(**arguments), head=head)
    latent = 3 * torch.randn(12, 8)
    with torch.no_grad():
        first, _ = model.step(torch.full((12,), BOS), model.init_state(latent))
        lead = (first.max(dim=1).values - first[:, EOS]).median() + 1e-3
        if head == "tied":  # so much for eos that half of the rows end at once
            model.output_bias[EOS] += lead
        elif head == "linear":
            model.output.bias[EOS] += lead
    written = greedy(model, latent)
    assert written == one_row_at_a_time(model, latent)
    assert all(len(ids) < contracts.MAX_LENGTH for ids in written)
    if head != "nearest":
        assert 6 <= written.count([]) < 12


def test_no_rows():
    assert greedy(contracts.make_model(), torch.zeros(0, 8)) == []


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
