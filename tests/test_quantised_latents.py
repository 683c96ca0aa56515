"""Latents in fewer bits: by hand, within their bound, and as sentence-transformers stores them."""

from __future__ import annotations

import contracts
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from seqae.bundle.operations.quantised_latents import calibrate, dequantise, quantise

FLOATS = st.floats(-1e4, 1e4, width=32)


def test_int8_by_hand() -> None:
    """255 steps of 0.1 from -10: -10 is the first, 0.05 in the middle of one, 20 beyond the end."""
    scale = np.float32([[-10], [15.5]])
    stored = quantise(np.float32([[-10], [0.05], [15.5], [20]]), "int8", scale)
    assert stored.values.ravel().tolist() == [-128, -28, 127, 127]
    assert dequantise(stored).ravel() == pytest.approx([-9.95, 0.05, 15.55, 15.55], abs=1e-5)


def test_binary_by_hand() -> None:
    """1, 0, 1 in the highest bits of a byte: 160, less 128; the means of either side are left."""
    stored = quantise(np.float32([[1, -1, 4], [3, 0, -2]]), "binary")
    assert stored.values.tolist() == [[32], [0]]  # 101 and 100 before five zeros
    assert stored.scale is not None
    assert stored.scale.tolist() == [[0, -0.5, -2], [2, 0, 4]]
    assert dequantise(stored).tolist() == [[2, -0.5, 4], [2, -0.5, -2]]


@settings(max_examples=25)
@given(arrays(np.float32, st.tuples(st.integers(1, 5), st.integers(1, 9)), elements=FLOATS))
def test_int8_is_off_by_half_a_step(latents: np.ndarray) -> None:
    stored = quantise(latents, "int8")
    assert stored.scale is not None
    low, high = stored.scale.astype(np.float64)
    rounding = 1e-5 * (np.abs(low) + np.abs(high))
    rounding += 255 * np.finfo(np.float32).smallest_subnormal  # below it, a step is rounded to 0
    assert (np.abs(dequantise(stored) - latents) <= (high - low) / 510 + rounding).all()


@settings(max_examples=25)
@given(arrays(np.float32, st.tuples(st.integers(1, 5), st.integers(1, 20)), elements=FLOATS))
def test_binary_keeps_what_is_above_zero(latents: np.ndarray) -> None:
    stored = quantise(latents, "binary")
    assert stored.values.shape == (len(latents), -(-latents.shape[1] // 8))
    again = dequantise(stored)
    above = latents > 0
    assert (again[above] >= 0).all()
    assert (again[~above] <= 0).all()


def test_float16_refuses_what_it_cannot_hold() -> None:
    assert quantise(np.float32([[1, 2]]), "float16").values.dtype == np.float16
    message = contracts.refusal(quantise, np.float32([[1e5]]), "float16")
    assert message == (
        "`precision` must hold the latents, but numbers of up to 1e+05 do not fit into float16. "
        "Choose float32 or int8."
    )


def test_a_scale_must_fit() -> None:
    scale = calibrate(np.float32([[1, 2]]), "int8")
    assert "of latents of 3 numbers" in contracts.refusal(
        quantise, np.zeros((1, 3), np.float32), "int8", scale
    )
    assert "empty" in contracts.refusal(calibrate, np.zeros((0, 3), np.float32), "binary")
    assert "finite" in contracts.refusal(quantise, np.float32([[np.nan]]), "int8")


@pytest.mark.slow  # the import takes six seconds
def test_as_sentence_transformers() -> None:
    from sentence_transformers.util.quantization import quantize_embeddings

    generator = np.random.default_rng(0)
    latents = generator.normal(size=(200, 20)).astype(np.float32)
    others = generator.normal(size=(500, 20)).astype(np.float32)
    scale = calibrate(others, "int8")
    assert scale is not None
    expected = quantize_embeddings(latents, "int8", calibration_embeddings=others)
    np.testing.assert_array_equal(quantise(latents, "int8", scale).values, expected)
    np.testing.assert_array_equal(
        quantise(latents, "binary").values, quantize_embeddings(latents, "binary")
    )
