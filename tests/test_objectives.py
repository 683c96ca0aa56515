"""Contracts of every objective; word dropout is measured; the squared error is worked by hand."""

from __future__ import annotations

from typing import Any

import contracts
import pytest
import torch
from torch import Generator

from seqae.model.autoencoder import SequenceAutoencoder
from seqae.objectives import MeanSquaredError, Objective, Reconstruction
from seqae.objectives.reconstruction import drop_words

every_objective = pytest.mark.parametrize(("cls", "arguments"), contracts.each(Objective))
# What an objective asks of the model that it trains.
ASKED: dict[type[Objective], dict[str, Any]] = {
    MeanSquaredError: {"head": "nearest", "train_embedding": False}
}


def make(cls: type[Objective], arguments: dict[str, Any]) -> tuple[Objective, SequenceAutoencoder]:
    return cls(**arguments), contracts.make_model(**ASKED.get(cls, {}))


def value(objective: Objective, model: SequenceAutoencoder, batch, seed: int = 0, step: int = 10):
    return objective(model, batch, step, Generator().manual_seed(seed))


# Contracts


@every_objective
def test_gives_a_loss_and_scalars_to_log(cls, arguments):
    objective, model = make(cls, arguments)
    for training in (True, False):
        values = value(objective, model.train(training), contracts.random_batch())
        assert values["loss"].requires_grad
        assert all(v.shape == () for v in values.values())
        assert not any(v.requires_grad for name, v in values.items() if name != "loss")
        contracts.check_finite(values)


@every_objective
def test_the_order_of_the_rows_and_the_padding_do_not_matter(cls, arguments):
    objective, model = make(cls, arguments)
    batch, order = contracts.random_batch(), torch.tensor([2, 0, 3, 1])
    wide = contracts.wider(batch, contracts.MAX_LENGTH - batch.token_ids.shape[1])
    expected = value(objective, model, batch)
    slopes = contracts.gradients(expected["loss"], model)
    for same in (
        contracts.select(batch, order),
        contracts.with_other_padding(batch),
        wide,
        contracts.with_other_padding(wide),
    ):
        found = value(objective, model, same)
        torch.testing.assert_close(found, expected)
        torch.testing.assert_close(contracts.gradients(found["loss"], model), slopes)


@every_objective
def test_every_value_is_a_mean_over_target_tokens(cls, arguments):
    objective, model = make(cls, arguments)
    batch = contracts.random_batch()
    parts = [contracts.select(batch, rows) for rows in torch.tensor([[0, 1], [2, 3]])]
    whole = value(objective, model, batch)
    halves = [value(objective, model, part) for part in parts]
    assert parts[0].num_targets != parts[1].num_targets
    for name in whole:
        total = sum(h[name].double() * p.num_targets for h, p in zip(halves, parts, strict=True))
        assert (total / batch.num_targets).item() == pytest.approx(whole[name].item(), rel=1e-5)


@every_objective
@pytest.mark.parametrize("training", [True, False])
def test_gradients_reach_every_parameter_in_half_precision_too(cls, arguments, training):
    objective, model = make(cls, arguments)
    model.train(training)
    batch = contracts.random_batch()
    exact = value(objective, model, batch)["loss"]
    contracts.check_reached(contracts.gradients(exact, model))
    with torch.autocast("cpu", torch.bfloat16):
        loss = value(objective, model, batch)["loss"]
    torch.testing.assert_close(loss.float(), exact, rtol=0.1, atol=0.1)
    contracts.check_reached(contracts.gradients(loss, model))


@every_objective
def test_an_empty_sentence_alone(cls, arguments):
    objective, model = make(cls, arguments)
    values = value(objective, model.train(), contracts.random_batch([2]))
    contracts.check_finite([values, contracts.gradients(values["loss"], model)])


@every_objective
def test_the_generator_is_the_only_source_of_chance(cls, arguments):
    objective, model = make(cls, arguments)
    model.train()
    state = torch.get_rng_state()
    batch = contracts.random_batch()
    first, again = (value(objective, model, batch)["loss"] for _ in range(2))
    assert torch.equal(first, again)
    assert torch.equal(torch.get_rng_state(), state)


# Reconstruction


def test_reconstruction_is_torchs_cross_entropy():
    model, batch = contracts.make_model(), contracts.random_batch()
    mask = batch.target_mask
    logits, target = model(batch)[mask], batch.target[mask]
    for training, smoothing in ((True, 0.1), (False, 0.0)):
        values = value(Reconstruction(label_smoothing=0.1), model.train(training), batch)
        expected = torch.nn.functional.cross_entropy(logits, target, label_smoothing=smoothing)
        torch.testing.assert_close(values["loss"], expected)
        plain = torch.nn.functional.cross_entropy(logits, target)
        torch.testing.assert_close(values["reconstruction"], plain.detach())
        accuracy = (logits.argmax(dim=1) == target).float().mean()
        torch.testing.assert_close(values["teacher_forced_accuracy"], accuracy)


@pytest.mark.parametrize("chance", [0.1, 0.6])
def test_word_dropout_drops_what_it_says(chance):
    model = contracts.make_model()
    tokens = torch.full((200, 101), 7)
    tokens[:, 0] = contracts.VOCABULARY.bos_id
    dropped = drop_words(model, tokens, chance, Generator().manual_seed(0))
    assert (dropped[:, 0] == contracts.VOCABULARY.bos_id).all()
    is_unk = dropped[:, 1:] == contracts.VOCABULARY.unk_id
    assert (is_unk | (dropped[:, 1:] == 7)).all()
    sigma = (chance * (1 - chance) / is_unk.numel()) ** 0.5
    assert abs(is_unk.float().mean().item() - chance) < 4 * sigma
    # Every place has the chance, not the first ones only.
    by_column = is_unk.float().mean(dim=0)
    assert (by_column - chance).abs().max() < 5 * (chance * (1 - chance) / 200) ** 0.5
    assert torch.equal(tokens[:, 1:], torch.full((200, 100), 7))  # the batch itself stays


def test_word_dropout_follows_the_generator_in_training_only():
    model = contracts.make_model()
    batch = contracts.random_batch([9] * 20)
    objective = Reconstruction(word_dropout=0.5)
    plain = value(Reconstruction(), model, batch)["loss"]
    assert torch.equal(value(objective, model, batch, seed=1)["loss"], plain)
    model.train()
    first = value(objective, model, batch, seed=1)["loss"]
    assert torch.equal(value(objective, model, batch, seed=1)["loss"], first)
    assert not torch.equal(value(objective, model, batch, seed=2)["loss"], first)


def test_all_words_dropped_leave_bos():
    """With a chance of 1 the decoder reads bos and unk only: its input no longer matters."""
    model = contracts.make_model().train()
    batch = contracts.random_batch([7, 7])
    latent = model.encode(batch).latent
    read = torch.full_like(batch.decoder_input, contracts.VOCABULARY.unk_id)
    read[:, 0] = contracts.VOCABULARY.bos_id
    logits = model.logits(model.decode(read, latent))
    expected = torch.nn.functional.cross_entropy(logits.flatten(0, 1), batch.target.flatten())
    torch.testing.assert_close(
        value(Reconstruction(word_dropout=1.0), model, batch)["loss"], expected
    )


# Squared error


def test_squared_error_by_hand():
    objective, model = make(MeanSquaredError, {})
    batch = contracts.random_batch()
    values = value(objective, model, batch)
    written = model.predict_embedding(model.decode(batch.decoder_input, model.encode(batch).latent))
    total, hits = 0.0, 0
    for row, length in enumerate(batch.lengths.tolist()):
        for place in range(length - 1):
            true = batch.target[row, place]
            distances = (model.embedding.weight - written[row, place]).pow(2).mean(dim=1)
            total += distances[true].item()
            hits += int(distances.argmin() == true)
    assert values["loss"].item() == pytest.approx(total / batch.num_targets, rel=1e-5)
    assert values["teacher_forced_accuracy"].item() == pytest.approx(hits / batch.num_targets)


def test_squared_error_refuses_a_trained_embedding():
    model = contracts.make_model(head="nearest", train_embedding=True)
    message = contracts.refusal(MeanSquaredError().check, model)
    assert message.startswith("`train_embedding` must be false under MeanSquaredError")


def test_squared_error_refuses_a_head_that_predicts_no_embedding():
    model = contracts.make_model(head="linear", train_embedding=False)
    message = contracts.refusal(MeanSquaredError().check, model)
    assert message.startswith("`head` must be nearest")
