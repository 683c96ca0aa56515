"""gru_sequence: outputs and gradients of nn.GRU, by other products."""

import pytest
import torch
from torch import nn

from seqae.model import gru_sequence
from seqae.model.gru_sequence import run_gru, runs_fast
from seqae.model.recurrent import GRUStack


def problem(rows=3, steps=5):
    torch.manual_seed(0)
    rnn = nn.GRU(2, 4, batch_first=True).double()
    inputs = torch.randn(rows, steps, 2, dtype=torch.float64, requires_grad=True)
    state = torch.randn(rows, 4, dtype=torch.float64, requires_grad=True)
    return rnn, inputs, state


@pytest.mark.parametrize("elements", [1, 24, 2**15], ids=["one step", "two steps", "all steps"])
@pytest.mark.parametrize(("rows", "steps"), [(3, 5), (1, 4), (4, 1), (0, 2)])
def test_equals_torch(rows, steps, elements, monkeypatch):
    monkeypatch.setattr(gru_sequence, "BLOCK_ELEMENTS", elements)
    rnn, inputs, state = problem(rows, steps)
    outputs, expected = run_gru(rnn, inputs, state), rnn(inputs, state[None])[0]
    torch.testing.assert_close(outputs, expected)
    leaves = [inputs, state, *rnn.parameters()]
    weights = torch.randn_like(outputs)
    found = torch.autograd.grad((outputs * weights).sum(), leaves)
    torch.testing.assert_close(
        found, torch.autograd.grad((expected * weights).sum(), leaves), rtol=1e-10, atol=1e-12
    )


def test_gradient_equals_finite_differences():
    rnn, inputs, state = problem()
    assert torch.autograd.gradcheck(lambda *parts: run_gru(rnn, *parts), (inputs, state))


def test_frozen_parts_get_no_gradient():
    rnn, inputs, _ = problem()
    rnn.requires_grad_(False)
    assert runs_fast(rnn, inputs)
    run_gru(rnn, inputs).sum().backward()
    assert inputs.grad is not None
    assert all(weight.grad is None for weight in rnn.parameters())
    assert not runs_fast(rnn, inputs.detach())


def test_a_pass_can_be_repeated():
    rnn, inputs, state = problem()
    outputs = run_gru(rnn, inputs, state)
    first = torch.autograd.grad(outputs.sum(), rnn.weight_hh_l0, retain_graph=True)
    torch.testing.assert_close(first, torch.autograd.grad(outputs.sum(), rnn.weight_hh_l0))


def test_torch_runs_what_this_cannot(monkeypatch):
    rnn, inputs, _ = problem()
    with torch.no_grad():
        assert not runs_fast(rnn, inputs)
    with torch.autocast("cpu", torch.bfloat16):
        assert not runs_fast(rnn, inputs)
    assert not runs_fast(rnn.bfloat16(), inputs.bfloat16())


def test_a_stack_trains_by_it_as_by_torch(monkeypatch):
    torch.manual_seed(0)
    stack = GRUStack(2, 3, num_layers=2, bidirectional=True).double()
    inputs, lengths = torch.randn(3, 4, 2, dtype=torch.float64), torch.tensor([4, 1, 3])
    calls = []
    monkeypatch.setattr(
        "seqae.model.recurrent.run_gru", lambda *parts: calls.append(1) or run_gru(*parts)
    )
    real = torch.arange(4) < lengths[:, None]
    losses = []
    for fast in (True, False):
        if not fast:
            monkeypatch.setattr("seqae.model.recurrent.runs_fast", lambda *parts: False)
        outputs, finals = stack(inputs, lengths)
        stack.zero_grad()
        ((outputs[real] ** 2).sum() + finals.sum()).backward()
        losses.append(
            [outputs[real], finals, *(weight.grad.clone() for weight in stack.parameters())]
        )
    assert len(calls) == 4
    torch.testing.assert_close(*losses)
