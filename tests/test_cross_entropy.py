"""The chunked loss is torch's own, value and gradient, and never holds all the logits."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

from seqae.model import cross_entropy
from seqae.model.cross_entropy import linear_cross_entropy

N, F, V = 7, 5, 11


def problem(bias: bool = True, dtype: torch.dtype = torch.float32) -> tuple[Tensor | None, ...]:
    features = torch.randn(N, F, dtype=dtype, requires_grad=True)
    weight = torch.randn(V, F, dtype=dtype, requires_grad=True)
    return features, weight, torch.randn(V, dtype=dtype, requires_grad=True) if bias else None


def targets() -> Tensor:
    return torch.tensor([0, 10, 3, 3, 7, 1, 9])


def check_against_torch(label_smoothing: float, bias: bool) -> None:
    parts, target = problem(bias), targets()
    learning = [part for part in parts if part is not None]
    loss, plain, correct = linear_cross_entropy(*parts, target, label_smoothing)
    logits = functional.linear(*parts)
    expected = functional.cross_entropy(
        logits, target, reduction="sum", label_smoothing=label_smoothing
    )
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(plain, functional.cross_entropy(logits, target, reduction="sum"))
    assert correct.item() == (logits.argmax(dim=1) == target).sum().item()
    # The caller divides by the number of tokens, so the gradient comes in scaled.
    torch.testing.assert_close(
        torch.autograd.grad(loss / 3, learning), torch.autograd.grad(expected / 3, learning)
    )


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("label_smoothing", [0.0, 0.1, 0.99])
def test_equals_torch(label_smoothing, bias):
    check_against_torch(label_smoothing, bias)


@pytest.mark.parametrize("elements", [1, V, 2 * V - 1, 2 * V, 3 * V + 1, N * V - 1, N * V, 10**9])
def test_equals_torch_whatever_the_chunk(elements, monkeypatch):
    monkeypatch.setattr(cross_entropy, "CHUNK_ELEMENTS", elements)
    check_against_torch(0.1, bias=True)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
def test_gradient_equals_finite_differences(label_smoothing, bias, monkeypatch):
    monkeypatch.setattr(cross_entropy, "CHUNK_ELEMENTS", 3 * V)
    parts, target = problem(bias, torch.float64), targets()
    learning = [part for part in parts if part is not None]

    def loss(*learning: Tensor) -> Tensor:
        features, weight, *rest = learning
        found = linear_cross_entropy(
            features, weight, rest[0] if rest else None, target, label_smoothing
        )[0]
        assert found.dtype == torch.float64
        return found

    assert torch.autograd.gradcheck(loss, learning)


def test_a_loss_by_hand():
    # Logits (0, ln 3): probabilities 1/4 and 3/4.
    features, weight = torch.ones(2, 1), torch.tensor([[0.0], [3.0]]).log1p() * 0
    bias = torch.tensor([1.0, 3.0]).log()
    loss, plain, correct = linear_cross_entropy(features, weight, bias, torch.tensor([0, 1]), 0.5)
    assert plain.item() == pytest.approx(torch.tensor([4.0, 4 / 3]).log().sum().item())
    # Smoothed by half: each target is 3/4 itself and 1/4 the other.
    first = 0.75 * torch.tensor(4.0).log() + 0.25 * torch.tensor(4 / 3).log()
    second = 0.25 * torch.tensor(4.0).log() + 0.75 * torch.tensor(4 / 3).log()
    assert loss.item() == pytest.approx((first + second).item())
    assert correct.item() == 1


def test_only_the_smoothed_loss_has_a_gradient():
    loss, plain, correct = linear_cross_entropy(*problem(), targets(), 0.1)
    assert loss.requires_grad
    assert not plain.requires_grad
    assert not correct.requires_grad
    assert correct.dtype == torch.int64


def test_huge_logits_stay_finite():
    features, weight, bias = problem()
    loss, plain, _ = linear_cross_entropy(1e6 * features, weight, bias, targets(), 0.1)
    assert torch.isfinite(torch.stack([loss, plain])).all()
    assert torch.isfinite(torch.cat(torch.autograd.grad(loss, [weight, features]))).all()


def test_half_precision_is_close_and_gradients_have_the_weights_type(monkeypatch):
    monkeypatch.setattr(cross_entropy, "CHUNK_ELEMENTS", 3 * V)
    parts, target = problem(), targets()
    expected, *_ = linear_cross_entropy(*parts, target, 0.1)
    with torch.autocast("cpu", torch.bfloat16):
        loss, *_ = linear_cross_entropy(*parts, target, 0.1)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, expected, rtol=0.02, atol=0)
    slopes = torch.autograd.grad(loss, parts)
    for slope, other in zip(slopes, torch.autograd.grad(expected, parts), strict=True):
        assert slope.dtype == torch.float32
        assert functional.cosine_similarity(slope.flatten(), other.flatten(), dim=0) > 0.999


def test_features_in_half_precision():
    """Under autocast the decoder may hand over bfloat16 features; the weights are float32."""
    features, weight, bias = problem()
    half = features.detach().bfloat16().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        loss, *_ = linear_cross_entropy(half, weight, bias, targets())
    slopes = torch.autograd.grad(loss, [half, weight, bias])
    assert [slope.dtype for slope in slopes] == [torch.bfloat16, torch.float32, torch.float32]
    exact, *_ = linear_cross_entropy(features, weight, bias, targets())
    torch.testing.assert_close(loss, exact, rtol=0.03, atol=0)


def test_frozen_weights_leave_the_gradient_of_the_features():
    features, weight, bias = problem()
    loss, *_ = linear_cross_entropy(features, weight.detach(), bias.detach(), targets())
    expected, *_ = linear_cross_entropy(features, weight, bias, targets())
    torch.testing.assert_close(
        torch.autograd.grad(loss, features), torch.autograd.grad(expected, features)
    )


ops = torch.ops.aten
MATRIX_PRODUCTS = (ops.mm, ops.addmm, ops.addmm_, ops.linear)


class Recorder(TorchDispatchMode):
    """The operations that run, and the shape of everything that they give."""

    def __init__(self) -> None:
        super().__init__()
        self.shapes: list[tuple[int, ...]] = []
        self.products = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        output = func(*args, **(kwargs or {}))
        self.products += func.overloadpacket in MATRIX_PRODUCTS
        outputs = output if isinstance(output, (list, tuple)) else [output]
        self.shapes += [tuple(part.shape) for part in outputs if isinstance(part, Tensor)]
        return output


def test_never_more_than_one_chunk_of_logits(monkeypatch):
    monkeypatch.setattr(cross_entropy, "CHUNK_ELEMENTS", 100)
    features = torch.randn(64, 4, requires_grad=True)
    weight = torch.randn(50, 4, requires_grad=True)
    with Recorder() as recorder:
        loss, *_ = linear_cross_entropy(features, weight, None, torch.arange(64) % 50, 0.1)
        loss.backward()
    assert (2, 50) in recorder.shapes  # a chunk of 100 elements
    largest = max(torch.Size(shape).numel() for shape in recorder.shapes)
    assert largest == 64 * 4  # the features' gradient; all the logits would be 64 x 50


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_no_gradient_is_computed_where_none_is_asked_for(mode):
    features, weight, bias = problem()
    with Recorder() as recorder:
        loss, *_ = linear_cross_entropy(features, weight, bias, targets())
    assert loss.requires_grad
    assert recorder.products == 3  # the logits and two gradients
    with mode(), Recorder() as recorder:
        loss, *_ = linear_cross_entropy(features, weight, bias, targets())
    assert not loss.requires_grad
    assert recorder.products == 1


def test_a_target_as_high_as_another_word_is_not_the_highest():
    """A zero output, as at the start of some trainings, is right about nothing."""
    weight, bias, target = torch.zeros(V, F), torch.zeros(V), targets()
    assert linear_cross_entropy(torch.randn(N, F), weight, bias, target)[2] == 0
    bias[[3, 7]] = 1.0
    assert linear_cross_entropy(torch.randn(N, F), weight, bias, target)[2] == 0
    bias[7] += 1e-6
    assert linear_cross_entropy(torch.randn(N, F), weight, bias, target)[2] == 1
