"""Latent noise: what is drawn, what the decoder makes of it, and what is decoded at which σ."""

from __future__ import annotations

import math

import contracts
import numpy as np
import pytest
import torch
from torch import Generator, nn

from seqae.batch import Batch
from seqae.bundle.operations.latent_ops import at_unit_scale, between, implied_noise
from seqae.generation import Decoding, generate
from seqae.model.content.content_encoder import ContentEncoder
from seqae.model.content.content_learning import learn_content
from seqae.model.decoders import (
    AttentionDecoder,
    Decoder,
    DenseDecoder,
    GRUDecoder,
    TransformerDecoder,
)
from seqae.model.latents import DeterministicLatent
from seqae.model.latents.latent_noise import (
    MAX_NOISE,
    LatentNoise,
    NoiseReading,
    perturbed,
    perturbed_by_text,
)
from seqae.objectives import MeanSquaredError, Reconstruction, Variational

AUTOREGRESSIVE = [
    cls
    for cls in contracts.concrete(Decoder)
    if cls.autoregressive and not issubclass(cls, AttentionDecoder)  # which refuses it
]


def told_model(decoder: Decoder | None = None, share: float = 0.5):
    """A small model that reads noise; its reading is no longer the zeros that it begins with."""
    latent = DeterministicLatent(8, normalize="layer")
    model = contracts.make_model(
        decoder=decoder, latent=latent, latent_noise=LatentNoise(share), embedding_dim=6
    )
    for module in model.modules():
        if isinstance(module, NoiseReading):
            for output in module.outputs.values():
                nn.init.normal_(output.weight)
    return model


# What is drawn


def test_half_of_the_sentences_are_perturbed_at_a_median_of_one():
    _, noise = LatentNoise(0.5).perturb(torch.randn(20_000, 4), Generator().manual_seed(0))
    drawn = noise[noise > 0]
    assert len(drawn) / len(noise) == pytest.approx(0.5, abs=0.02)
    assert drawn.median() == pytest.approx(1.0, abs=0.05)
    # θ is drawn evenly: a third below 30 degrees, a third above 60.
    assert (drawn < math.tan(math.pi / 6)).float().mean() == pytest.approx(1 / 3, abs=0.02)
    assert (drawn > math.tan(math.pi / 3)).float().mean() == pytest.approx(1 / 3, abs=0.02)
    assert drawn.max() <= MAX_NOISE


def test_a_quarter_is_blanked():
    noise = LatentNoise(0.5, blank=0.25)
    latent = torch.nn.functional.layer_norm(torch.randn(20_000, 64), (64,))
    mixed, drawn = noise.perturb(latent, Generator().manual_seed(3))
    is_blank = drawn > 0.99 * MAX_NOISE
    assert is_blank.float().mean() == pytest.approx(0.25, abs=0.02)
    assert (drawn == 0).float().mean() == pytest.approx(0.25, abs=0.02)
    assert float((mixed * latent)[is_blank].mean()) == pytest.approx(0.0, abs=0.01)
    assert "`blank`" in contracts.refusal(LatentNoise, 0.8, 0.4)


def test_a_perturbed_latent_is_of_unit_scale_and_at_the_angle_that_its_noise_says():
    latent = torch.nn.functional.layer_norm(torch.randn(8, 10_000), (10_000,))
    noise = torch.tensor([0.0, 0.1, 0.5, 1.0, 2.0, 5.0, 50.0, MAX_NOISE])
    mixed = perturbed(latent, noise, Generator().manual_seed(7))
    assert torch.equal(mixed[0], latent[0])
    torch.testing.assert_close(mixed.pow(2).mean(1), torch.ones(8), atol=0.05, rtol=0)
    cosine = (mixed * latent).mean(1)
    torch.testing.assert_close(cosine, noise.atan().cos(), atol=0.05, rtol=0)


def test_only_training_perturbs():
    model, objective = told_model(share=1.0), Reconstruction()
    batch = contracts.random_batch()

    def loss(seed: int) -> float:
        return float(objective(model, batch, 0, Generator().manual_seed(seed))["loss"].detach())

    assert loss(0) == loss(1)
    model.train()
    assert loss(0) != loss(1)
    assert loss(0) == loss(0)


# What is measured


def test_a_measurement_perturbs_each_sentence_always_in_the_same_way():
    batch = contracts.random_batch()
    latent = torch.nn.functional.layer_norm(torch.randn(len(batch), 512), (512,))
    mixed, noise = perturbed_by_text(latent, batch)
    order = torch.arange(len(batch)).flip(0)
    longer = torch.nn.functional.pad(batch.token_ids[order], (0, 3))  # as beside a longer one
    other = Batch(longer, batch.lengths[order])
    mixed_again, noise_again = perturbed_by_text(latent[order], other)
    torch.testing.assert_close(noise_again, noise[order], rtol=0, atol=0)
    torch.testing.assert_close(mixed_again, mixed[order], rtol=0, atol=0)
    torch.testing.assert_close(mixed.square().mean(1), torch.ones(len(batch)), rtol=0.2, atol=0)
    cosine = torch.cosine_similarity(mixed, latent)
    torch.testing.assert_close(cosine, noise.atan().cos(), atol=0.15, rtol=0)


def test_angles_of_measurements_are_spread_evenly():
    ids = torch.arange(2000)[:, None].expand(-1, 4)
    _, noise = perturbed_by_text(torch.ones(2000, 1), Batch(ids, torch.full((2000,), 4)))
    angles = noise.atan().rad2deg()
    for limit in (15, 45, 75):
        assert (angles < limit).float().mean() == pytest.approx(limit / 90, abs=0.03)
    assert noise.max() <= MAX_NOISE


def test_validation_measures_with_and_without_noise():
    model, objective = told_model(), Reconstruction()
    batch = contracts.random_batch()
    values = objective(model, batch, 0, Generator())
    latent = model.encode(batch).latent
    noisy, noise = perturbed_by_text(latent, batch)
    expected = [
        nll_of(model, batch, latent, None) / batch.num_targets,
        nll_of(model, batch, noisy, noise) / batch.num_targets,
    ]
    torch.testing.assert_close(values["reconstruction"], expected[0])
    torch.testing.assert_close(values["noisy_reconstruction"], expected[1])
    torch.testing.assert_close(values["robust_reconstruction"], sum(expected) / 2)
    assert "noisy_reconstruction" not in objective(model.train(), batch, 0, Generator())
    plain = objective(contracts.make_model(), batch, 0, Generator())
    assert "noisy_reconstruction" not in plain


def nll_of(model, batch, latent, noise):
    logits = model.logits(model.decode(batch.decoder_input, latent, noise))
    losses = nn.functional.cross_entropy(
        logits.flatten(0, 1), batch.target.flatten(), reduction="none"
    )
    return losses[batch.target_positions].sum()


def test_the_bundle_of_a_model_with_noise_is_chosen_under_noise():
    told, plain = told_model(), contracts.make_model()
    assert Reconstruction().monitored_for(told) == "val/robust_reconstruction"
    assert Reconstruction().monitored_for(plain) == "val/token_accuracy"
    assert Variational().monitored_for(plain) == "val/negative_elbo"
    assert MeanSquaredError().monitored_for(plain) == "val/token_accuracy"


# What the decoder makes of it


@pytest.mark.parametrize("cls", AUTOREGRESSIVE)
def test_teacher_forcing_equals_stepping_at_any_noise(cls):
    model = told_model(cls(8))
    batch = contracts.random_batch()
    latent, noise = model.encode(batch).latent, torch.tensor([0.0, 0.3, 2.0, MAX_NOISE])
    features = model.decode(batch.decoder_input, latent, noise)
    state = model.init_state(latent, noise)
    for place in range(batch.decoder_input.shape[1]):
        logits, state = model.step(batch.decoder_input[:, place], state)
        torch.testing.assert_close(logits, model.logits(features[:, place]))
    untold = model.decode(batch.decoder_input, latent)
    torch.testing.assert_close(features[0], untold[0])
    assert not torch.allclose(features[1:], untold[1:])


@pytest.mark.parametrize("latent_as", ["prefix", "add", "both"])
@pytest.mark.parametrize("position_dim", [0, 8])
def test_every_way_to_read_the_latent_reads_the_noise(latent_as, position_dim):
    model = told_model(TransformerDecoder(8, latent_as=latent_as, position_dim=position_dim))
    batch = contracts.random_batch()
    latent = model.encode(batch).latent
    quiet, noisy = (model.decode(batch.decoder_input, latent, torch.full((4,), s)) for s in (0, 2))
    assert not torch.allclose(quiet, noisy)


@pytest.mark.parametrize("cls", AUTOREGRESSIVE)
def test_gradients_reach_all_that_reads_noise(cls):
    model = told_model(cls(8), share=1.0).train()
    values = Reconstruction()(model, contracts.random_batch(), 0, Generator().manual_seed(0))
    contracts.check_reached(contracts.gradients(values["loss"], model))


def test_pure_noise_is_hardly_read():
    """At the highest σ nothing of the latent is left, and the decoder writes the same for all."""
    model = told_model()
    latent = torch.randn(2, 8)
    states = model.init_state(latent, torch.full((2,), MAX_NOISE))
    for state in states[1:]:
        torch.testing.assert_close(state[0], state[1], atol=0.01, rtol=0)


def test_a_model_without_noise_has_no_weights_for_it():
    names = contracts.make_model().state_dict()
    assert not [name for name in names if "noise" in name]
    assert [name for name in told_model().state_dict() if "noise" in name]


# What is refused


def test_a_latent_without_unit_scale_is_refused():
    message = contracts.refusal(contracts.make_model, latent_noise=LatentNoise())
    assert "normalize: layer" in message


def test_a_decoder_that_reads_no_words_is_refused():
    latent = DeterministicLatent(8, normalize="layer")
    message = contracts.refusal(
        contracts.make_model, None, latent, DenseDecoder(8), latent_noise=LatentNoise()
    )
    assert "GRUDecoder" in message


def test_squared_error_is_refused():
    latent = DeterministicLatent(8, normalize="layer")
    options = {"latent_noise": LatentNoise(), "head": "nearest", "train_embedding": False}
    model = contracts.make_model(latent=latent, **options)
    assert "`latent_noise`" in contracts.refusal(MeanSquaredError().check, model)


def test_noise_is_refused_by_a_model_that_does_not_read_it():
    model = contracts.make_model()
    message = contracts.refusal(generate, model, torch.randn(1, 8), Decoding(noise=0.5))
    assert "`seqae fit -c fluent`" in message
    assert generate(model, torch.randn(1, 8), Decoding(noise=0))
    assert "`noise`" in contracts.refusal(Decoding, noise=-1.0)


# What is decoded at which σ


def test_options_win_over_the_noise_of_each_row():
    model, latent = told_model(GRUDecoder(8, position_dim=8)), torch.randn(6, 8)
    noise = torch.tensor([0.0, 0.0, 1.0, 1.0, 9.0, 9.0])
    rows = generate(model, latent, noise=noise)
    alone = [generate(model, latent[i : i + 1], noise=noise[i : i + 1])[0] for i in range(6)]
    assert [row[0].token_ids for row in rows] == [row[0].token_ids for row in alone]
    told = generate(model, latent, Decoding(noise=1.0), noise=noise)
    assert told[2][0].token_ids == rows[2][0].token_ids
    assert [r[0].token_ids for r in told] == [
        r[0].token_ids for r in generate(model, latent, noise=torch.ones(6))
    ]


def test_the_noise_of_a_point_is_the_tangent_of_its_angle_to_the_nearest_end():
    first, last = np.eye(2, dtype=np.float32) * 2
    points = between(first, last, 7)
    expected = [0, math.tan(math.pi / 12), math.tan(math.pi / 6), 1.0]
    np.testing.assert_allclose(
        implied_noise(points, [first, last]), [*expected, *expected[2::-1]], atol=1e-5
    )


def test_rows_have_sources_of_their_own():
    rng = np.random.default_rng(0)
    a, c = rng.standard_normal((2, 5, 64)).astype(np.float32)
    noise = implied_noise(a + c, [a, c])
    assert noise == pytest.approx(
        [implied_noise((x + y)[None], [x, y])[0] for x, y in zip(a, c, strict=True)]
    )
    assert implied_noise(-a, [a]) == pytest.approx([MAX_NOISE] * 5)
    assert implied_noise(3 * a, [a]).tolist() == [0.0] * 5


def test_unit_scale_is_a_mean_square_of_one():
    scaled = at_unit_scale([[3.0, 4.0], [0.0, 0.0]])
    np.testing.assert_allclose((scaled**2).mean(1), [1.0, 0.0], rtol=1e-6)


def test_a_content_part_is_perturbed_and_told_like_the_rest():
    latent = DeterministicLatent(8, normalize="layer")
    content = ContentEncoder(content_dim=4, table_size=16)
    options = {"latent": latent, "latent_noise": LatentNoise(1.0), "content": content}
    model = contracts.make_model(**options)
    tokens = [bytes([97 + token]) for token in range(contracts.VOCABULARY.size)]
    content.read_tokens(tokens)
    learn_content(content, [contracts.random_batch()])
    batch = contracts.random_batch()
    latents = model.encode(batch).latent
    assert latents.shape == (4, 12)
    content_scale = latents[:, model.parts["content"]].pow(2).mean(1)
    assert set(content_scale.round(decimals=3).tolist()) <= {0.0, 1.0}
    values = Reconstruction()(model.train(), batch, 0, Generator().manual_seed(0))
    assert torch.isfinite(values["loss"])
    model.eval()
    quiet, noisy = (model.decode(batch.decoder_input, latents, torch.full((4,), s)) for s in (0, 1))
    assert not torch.allclose(quiet, noisy)
