"""-log p(x) by quadrature, by ignoring the latent, and its bounds; per token, per byte."""

from __future__ import annotations

import math

import pytest
import torch
from contracts import LENGTHS, VOCABULARY, make_model, random_batch, wider, with_other_padding
from torch import Generator, nn

from seqae.batch import Batch
from seqae.metrics import nll as likelihood
from seqae.metrics.nll import (
    bits_per_byte,
    has_latent_cost,
    importance_weighted_nll,
    latent_cost,
    perplexity,
    sentence_nll,
    shuffle_gap,
)
from seqae.metrics.posterior import posterior_of
from seqae.model.autoencoder import SequenceAutoencoder
from seqae.model.latents import LatentOutput
from seqae.model.latents.gaussian import GaussianLatent
from seqae.model.latents.vector_quantised import VectorQuantisedLatent


@pytest.fixture
def model() -> SequenceAutoencoder:
    """One latent dimension, which matters a great deal to the decoder."""
    torch.manual_seed(3)
    model = make_model(latent=GaussianLatent(1)).double()
    with torch.no_grad():
        for name, weight in model.decoder.named_parameters():
            if name.startswith(("context", "initial", "bound")):
                weight.mul_(3.0)
    return model


def exact_nll(model: SequenceAutoencoder, batch: Batch) -> torch.Tensor:
    """-log of the integral of p(x|z) N(z; 0, 1) over z, on a grid."""
    grid = torch.linspace(-8, 8, 801, dtype=torch.float64)
    step = float(grid[1] - grid[0])
    rows = []
    with torch.no_grad():
        for point in grid:
            nll = sentence_nll(model, batch, point.expand(len(batch), 1))
            rows.append(-nll - 0.5 * point**2 - 0.5 * math.log(2 * math.pi) + math.log(step))
    return -torch.stack(rows).logsumexp(dim=0)


def bound(model: SequenceAutoencoder, batch: Batch, samples: int, seed: int = 0) -> torch.Tensor:
    with torch.no_grad():
        output = model.encode(batch)
        generator = Generator().manual_seed(seed)
        return importance_weighted_nll(model, batch, output, samples, generator)


# -log p(x|z)


def test_the_nll_of_a_sentence_is_the_sum_over_its_tokens(model: SequenceAutoencoder):
    batch = random_batch()
    latent = torch.randn(len(batch), 1, dtype=torch.float64)
    with torch.no_grad():
        logits = model.logits(model.decode(batch.decoder_input, latent))
        found = sentence_nll(model, batch, latent)
    for row, length in enumerate(LENGTHS):
        due = batch.token_ids[row, 1:length]
        each = nn.functional.cross_entropy(logits[row, : length - 1], due, reduction="sum")
        assert float(found[row]) == pytest.approx(float(each), rel=1e-6)


def test_padding_and_blocks_make_no_difference(
    model: SequenceAutoencoder, monkeypatch: pytest.MonkeyPatch
):
    batch = random_batch()
    latent = torch.randn(len(batch), 1, dtype=torch.float64)
    found = sentence_nll(model, batch, latent)
    torch.testing.assert_close(sentence_nll(model, with_other_padding(batch), latent), found)
    torch.testing.assert_close(sentence_nll(model, wider(batch, 2), latent), found)
    monkeypatch.setattr(likelihood, "BLOCK_ELEMENTS", 3 * VOCABULARY.size)
    torch.testing.assert_close(sentence_nll(model, batch, latent), found)


# Bounds of -log p(x)


def test_many_draws_find_the_integral(model: SequenceAutoencoder):
    batch = random_batch()
    torch.testing.assert_close(
        bound(model, batch, 3000), exact_nll(model, batch), atol=0.02, rtol=0
    )


def test_the_bound_tightens_with_the_number_of_draws(model: SequenceAutoencoder):
    """On average over many repetitions, as theorem 1 of Burda et al. has it."""
    batch = random_batch()
    repeated = Batch(batch.token_ids.repeat(150, 1), batch.lengths.repeat(150))
    means = [float(bound(model, repeated, k).mean()) for k in (1, 2, 5, 25)]
    exact = float(exact_nll(model, batch).mean())
    assert means == sorted(means, reverse=True)
    assert means[0] > exact + 0.05
    assert means[-1] == pytest.approx(exact, abs=0.05)


def test_one_draw_is_the_negative_elbo_on_average(model: SequenceAutoencoder):
    batch = random_batch()
    repeated = Batch(batch.token_ids.repeat(500, 1), batch.lengths.repeat(500))
    found = posterior_of(model, [repeated])
    assert found.negative_elbo is not None
    one = float(bound(model, repeated, 1, seed=5).mean())
    assert found.negative_elbo / found.sentences == pytest.approx(one, abs=0.15)


def test_a_decoder_that_ignores_the_latent_has_one_likelihood():
    """Every draw then gives p(x) but for the weight p(z) / q(z), which is 1 if they are equal."""
    model = make_model(latent=GaussianLatent(4))
    with torch.no_grad():
        for name, weight in model.decoder.named_parameters():
            if name.startswith(("context", "initial", "bound")):
                weight.zero_()
        for weight in model.latent.parameters():
            weight.zero_()
    batch = random_batch()
    nll = sentence_nll(model, batch, torch.randn(len(batch), 4))
    torch.testing.assert_close(bound(model, batch, 1), nll)
    torch.testing.assert_close(bound(model, batch, 7), nll)
    found = posterior_of(model, [batch])
    assert found.cost == pytest.approx(0.0, abs=1e-6)
    assert found.shuffle_gap == pytest.approx(0.0, abs=1e-6)


# What the latent costs


def test_a_deterministic_latent_is_not_paid_for():
    model = make_model()
    found = posterior_of(model, [random_batch()], importance_samples=3)
    assert not has_latent_cost(model)
    assert found.cost is found.negative_elbo is found.importance_weighted is None
    assert found.nll > 0


def test_codes_cost_as_much_as_even_ones():
    model = make_model(latent=VectorQuantisedLatent(8, num_codes=32, num_groups=4))
    batch = random_batch()
    with torch.no_grad():
        cost = latent_cost(model, model.encode(batch))
    assert cost.tolist() == pytest.approx([4 * math.log(32)] * len(batch))


# The shuffle gap


def test_the_gap_is_against_the_next_ones_latent(model: SequenceAutoencoder):
    batch = random_batch()
    latent = torch.tensor([[-2.0], [2.0], [0.5], [1.0]], dtype=torch.float64)
    with torch.no_grad():
        own = sentence_nll(model, batch, latent)
        others = sentence_nll(model, batch, latent[[3, 0, 1, 2]])
        gap, tokens = shuffle_gap(model, batch, latent, own)
    assert tokens == sum(LENGTHS) - len(LENGTHS)
    assert gap == pytest.approx(float((others - own).sum()))


def test_a_batch_of_one_has_no_gap(model: SequenceAutoencoder):
    batch = random_batch([5])
    with torch.no_grad():
        found = posterior_of(model, [batch, random_batch([4])])
    assert math.isnan(found.shuffle_gap)


# The walk over batches


def test_batches_add_up(model: SequenceAutoencoder):
    """The likelihoods of two batches are those of one; the draws are other ones."""
    first, second = random_batch([5, 4]), random_batch([7, 3, 2])
    both = posterior_of(model, [first, second])
    assert both.sentences == 5
    assert both.tokens == 5 + 4 + 7 + 3 + 2 - 5
    assert both.output.latent.shape == both.draws.shape == (5, 1)
    own = posterior_of(model, [first])
    assert both.nll == pytest.approx(own.nll + float(nll_at(model, second, both.draws[2:])))


def nll_at(model: SequenceAutoencoder, batch: Batch, draws: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return sentence_nll(model, batch, draws).sum()


def test_the_figures_of_a_posterior(model: SequenceAutoencoder):
    assert isinstance(model.latent, GaussianLatent)
    found = posterior_of(model, [random_batch([5] * 8)])
    figures = found.metrics(model.latent)
    kl = model.latent.kl(LatentOutput(found.draws, found.output.mean, found.output.logvar))
    assert figures["kl"] == pytest.approx(float(kl.sum()) / 8)
    assert figures["mutual_information"] <= figures["mutual_information_limit"] == math.log(8)


# Per token, per byte


def test_perplexity_by_hand():
    """Two sentences of 3 and 5 tokens at one bit each."""
    assert perplexity(8 * math.log(2), 8) == pytest.approx(2.0)
    assert perplexity(1e9, 1) > 1e300  # in place of an overflow


def test_bits_per_byte_by_hand():
    """`é` is two bytes: five bytes for ten bits."""
    assert bits_per_byte(10 * math.log(2), ["abc", "é"]) == pytest.approx(2.0)
    assert math.isnan(bits_per_byte(1.0, [""]))
