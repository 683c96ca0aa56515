"""Dense and recurrent stacks, position binding: against torch's own and by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, get_args

import contracts
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from seqae.batch import Batch, length_mask
from seqae.model.layers import ACTIVATIONS, NORMS, Activation, Norm, RMSNorm, dense_layers
from seqae.model.position_binding import PositionBinding
from seqae.model.recurrent import GRUStack, LSTMStack, RecurrentStack, reverse


def test_dense_layers_have_activation_and_dropout_only_between():
    layers = dense_layers([3, 5, 2], "tanh", 0.25)
    assert [type(layer) for layer in layers] == [nn.Linear, nn.Tanh, nn.Dropout, nn.Linear]
    assert layers[2].p == 0.25
    assert [(layer.in_features, layer.out_features) for layer in (layers[0], layers[3])] == [
        (3, 5),
        (5, 2),
    ]


@pytest.mark.parametrize(("norm_type", "cls"), [("layer", nn.LayerNorm), ("rms", nn.RMSNorm)])
def test_dense_layers_are_normalised_before_the_activation(norm_type, cls):
    layers = dense_layers([3, 5, 4, 2], "tanh", 0.25, norm_type)
    kinds = [nn.Linear, cls, nn.Tanh, nn.Dropout]
    assert len(layers) == 9
    expected = [*kinds, *kinds, nn.Linear]
    assert all(isinstance(layer, kind) for layer, kind in zip(layers, expected, strict=True))
    normalised = layers[:2](torch.randn(6, 3))
    torch.testing.assert_close(normalised.pow(2).mean(dim=1), torch.ones(6), atol=1e-3, rtol=0)


def test_rms_norm_equals_its_equation():
    norm, x = RMSNorm(5), 3 * torch.randn(4, 5)
    with torch.no_grad():
        norm.weight.copy_(torch.arange(5.0))
    expected = x / x.pow(2).mean(dim=1, keepdim=True).sqrt() * torch.arange(5.0)
    torch.testing.assert_close(norm(x), expected)


def test_activations_are_what_their_name_says():
    x = torch.linspace(-3, 3, 13)
    functional = {
        "identity": lambda x: x,
        "tanh": torch.tanh,
        "sigmoid": torch.sigmoid,
        "prelu": lambda x: nn.functional.prelu(x, torch.tensor([0.25])),
    }
    for name, activation in ACTIVATIONS.items():
        expected = functional.get(name) or getattr(nn.functional, name)
        assert torch.allclose(activation().eval()(x), expected(x), rtol=1.3e-6, atol=1e-5), name


def test_every_activation_of_torch_has_a_name():
    """All but those that need arguments, or do not map each number by itself."""
    others = {"GLU", "MultiheadAttention", "Softmax", "Softmax2d", "Softmin", "LogSoftmax"}
    others |= {"Threshold"}
    ours = {cls.__name__ for cls in ACTIVATIONS.values()} - {"Identity"}
    assert ours == set(nn.modules.activation.__all__) - others
    assert get_args(Activation) == tuple(ACTIVATIONS)
    assert get_args(Norm) == tuple(NORMS)


# Position binding


def test_unbinding_recovers_what_was_bound():
    binding = PositionBinding(512, 16)
    words = torch.randn(16, 512)
    places = binding(torch.arange(16))
    recovered = (words * places).sum(dim=0) * places
    similarity = nn.functional.cosine_similarity(recovered[:, None], words[None], dim=2)
    assert similarity.argmax(dim=1).tolist() == list(range(16))
    # x_t p_t^2 has mean square E[p^4] = 1.5 (a sine of amplitude root 2) and each of the other 15
    # terms adds 1: the cosine is 1 / sqrt(16.5) = 0.246, and off the diagonal 0 +- 1 / sqrt(512).
    assert similarity.diagonal().mean().item() == pytest.approx(16.5**-0.5, abs=0.02)
    others = similarity[~torch.eye(16, dtype=torch.bool)]
    assert others.mean().abs() < 0.01
    assert others.std().item() == pytest.approx(512**-0.5, abs=0.01)


def test_positions_begin_nearly_orthogonal_with_unit_mean_square():
    places = PositionBinding(4096, 32)(torch.arange(32))
    products = places @ places.T / 4096
    torch.testing.assert_close(products.diagonal(), torch.ones(32), atol=0.06, rtol=0)
    assert products.fill_diagonal_(0.0).abs().max() < 0.1


def test_later_positions_share_the_last_vector():
    binding = PositionBinding(4, 3)
    places = binding(torch.tensor([[2, 3], [99, 1]]))
    assert torch.equal(places, binding.weight[torch.tensor([[2, 2], [2, 1]])])


def test_binding_by_hand():
    binding = PositionBinding(2, 3)
    with torch.no_grad():
        binding.weight.copy_(torch.tensor([[1.0, 2], [3, 4], [5, 6]]))
    rows = torch.tensor([[[1.0, 1], [2, 0], [9, 9]], [[1.0, 1], [1, 1], [1, 1]]])
    sums = binding.bind(rows, torch.tensor([[True, True, False], [True, True, True]]))
    # (1 + 6, 2 + 0) / 4 and (1 + 3 + 5, 2 + 4 + 6) / 4.
    assert sums.tolist() == [[1.75, 0.5], [2.25, 3.0]]


def assert_fused_passes_equal_autograd(
    fused: Callable[[Tensor], Tensor], inputs: Tensor, modules: nn.ModuleList, node: str
) -> None:
    """Compare a result and all its gradients to those in float64, which has no fused passes."""
    results = []
    for dtype in (torch.float32, torch.float64):
        modules.to(dtype)
        leaf = inputs.to(dtype, copy=True).requires_grad_()
        result = fused(leaf)
        gradients = torch.autograd.grad(result.pow(2).sum(), (leaf, *modules.parameters()))
        results.append([result, *gradients])
    modules.float()
    ours, reference = results
    assert ours[0].grad_fn.name() == node
    for single, double in zip(ours, reference, strict=True):
        torch.testing.assert_close(single.double(), double, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("steps", [5, 3])
def test_binding_has_the_gradients_of_its_equation(steps: int) -> None:
    binding, linear = PositionBinding(6, 5), nn.Linear(4, 6, bias=False)
    modules, inputs = nn.ModuleList([linear, binding]), torch.randn(3, steps, 4)
    for lengths in ([steps] * 3, [steps, 1, 2]):
        mask = Batch(torch.zeros(3, steps, dtype=torch.int64), torch.tensor(lengths)).mask
        assert_fused_passes_equal_autograd(
            lambda leaf, mask=mask: binding.bind_mapped(leaf, linear, mask),
            inputs,
            modules,
            "_BoundSumBackward",
        )


@pytest.mark.parametrize("steps", [5, 3])
def test_unbinding_has_the_gradients_of_its_equation(steps: int) -> None:
    binding, linear = PositionBinding(6, 5), nn.Linear(6, 4, bias=False)
    assert_fused_passes_equal_autograd(
        lambda leaf: binding.unbind_mapped(leaf, linear, steps),
        torch.randn(3, 6),
        nn.ModuleList([linear, binding]),
        "_UnboundBackward",
    )


# Recurrent stacks


def reference_rnn(stack: RecurrentStack, input_dim: int, hidden_dim: int, layers: int) -> Any:
    """torch's own layers with the weights of a stack."""
    bidirectional = stack.output_dim == 2 * hidden_dim
    kind = nn.GRU if isinstance(stack, GRUStack) else nn.LSTM
    rnn = kind(input_dim, hidden_dim, layers, batch_first=True, bidirectional=bidirectional)
    with torch.no_grad():
        for depth, layer in enumerate(stack.layers):
            for one, suffix in zip(layer, ("", "_reverse"), strict=False):
                for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
                    theirs = getattr(rnn, f"{name}_l{depth}{suffix}")
                    theirs.copy_(getattr(one, f"{name}_l0"))
    return rnn


@pytest.mark.parametrize("kind", [GRUStack, LSTMStack])
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("layers", [1, 2])
def test_stack_equals_torch_on_packed_sequences(kind, layers, bidirectional):
    lengths, hidden_dim = torch.tensor([4, 1, 6, 3]), 5
    stack = kind(3, hidden_dim, layers, bidirectional)
    rnn = reference_rnn(stack, 3, hidden_dim, layers)
    inputs = torch.randn(4, 6, 3, requires_grad=True)
    states, last = stack(inputs, lengths)
    theirs, their_last = rnn(
        pack_padded_sequence(inputs, lengths, batch_first=True, enforce_sorted=False)
    )
    their_last = their_last[0] if kind is LSTMStack else their_last
    mask = length_mask(lengths, 6)[..., None]
    expected, _ = pad_packed_sequence(theirs, batch_first=True)
    torch.testing.assert_close(states * mask, expected)
    torch.testing.assert_close(last, their_last.transpose(0, 1))
    # The gradients too, and none in the padding.
    weights = torch.randn_like(expected)
    (ours,) = torch.autograd.grad((states * mask * weights).sum() + last.sum(), inputs)
    (reference,) = torch.autograd.grad((expected * weights).sum() + their_last.sum(), inputs)
    torch.testing.assert_close(ours, reference)
    assert not (ours * ~mask).any()


@pytest.mark.parametrize("kind", [GRUStack, LSTMStack])
@pytest.mark.parametrize("layers", [1, 2])
def test_extend_equals_torch_from_the_same_state(kind, layers):
    stack = kind(3, 5, layers)
    rnn = reference_rnn(stack, 3, 5, layers)
    inputs = torch.randn(4, 6, 3)
    state = tuple(torch.randn(4, layers, 5) for _ in range(kind.num_states))
    first = tuple(part.transpose(0, 1).contiguous() for part in state)
    expected, last = rnn(inputs, first if kind is LSTMStack else first[0])
    last = last if kind is LSTMStack else (last,)
    outputs, final = stack.extend(inputs, state)
    torch.testing.assert_close(outputs, expected)
    torch.testing.assert_close(final, tuple(part.transpose(0, 1) for part in last))
    # In two calls too.
    for part in inputs.split([2, 4], dim=1):
        again, state = stack.extend(part, state)
    torch.testing.assert_close(again, expected[:, 2:])
    torch.testing.assert_close(state, final)


@pytest.mark.parametrize("kind", [GRUStack, LSTMStack])
def test_stack_drops_only_between_layers(kind):
    lengths, inputs = torch.tensor([5, 5]), torch.randn(2, 5, 3)
    one = kind(3, 4, num_layers=1, dropout=0.9)
    assert torch.equal(one.train()(inputs, lengths)[0], one.eval()(inputs, lengths)[0])
    two = kind(3, 4, num_layers=2, dropout=0.9)
    below = [two.train()(inputs, lengths)[1][:, 0] for _ in range(2)]
    above = [two.train()(inputs, lengths)[1][:, 1] for _ in range(2)]
    assert torch.equal(*below)
    assert not torch.equal(*above)


def test_reverse_by_hand():
    rows = torch.tensor([[1, 2, 3, 0], [4, 5, 6, 7], [8, 0, 9, 9]])[..., None]
    lengths = torch.tensor([3, 4, 1])
    turned = reverse(rows, lengths)
    assert turned[..., 0].tolist() == [[3, 2, 1, 0], [7, 6, 5, 4], [8, 0, 9, 9]]
    assert torch.equal(reverse(turned, lengths), rows)


@pytest.mark.parametrize("kind", [GRUStack, LSTMStack])
def test_the_last_state_is_that_of_the_last_real_token(kind):
    stack = kind(3, 4)
    embedded: Tensor = torch.randn(3, 6, 3)
    lengths = torch.tensor([2, 6, 4])
    _, last = stack(embedded, lengths)
    for row, length in enumerate(lengths.tolist()):
        alone, _ = stack(embedded[row : row + 1, :length], torch.tensor([length]))
        torch.testing.assert_close(last[row, 0], alone[0, -1])


def test_layers_build_from_the_seed_alone():
    contracts.check_build(lambda: GRUStack(3, 4, 2, True))
    contracts.check_build(lambda: LSTMStack(3, 4, 2, True))
    contracts.check_build(lambda: PositionBinding(4, 3))
