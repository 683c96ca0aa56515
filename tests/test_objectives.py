"""Contracts of every objective; what each refuses; reconstruction and squared error by hand."""

from __future__ import annotations

from typing import Any

import contracts
import pytest
import torch
from torch import Generator, nn

from seqae.batch import Batch
from seqae.model.autoencoder import SequenceAutoencoder
from seqae.model.decoders import DenseDecoder
from seqae.model.latents import DeterministicLatent, Latent, LatentOutput
from seqae.model.latents.gaussian import GaussianLatent
from seqae.model.latents.von_mises_fisher import VonMisesFisherLatent
from seqae.objectives import (
    Adversarial,
    Denoising,
    MeanSquaredError,
    MeanSum,
    MutualInformationMachine,
    Objective,
    Reconstruction,
    Variational,
    WassersteinMMD,
)
from seqae.objectives.likelihood import drop_words

every_objective = pytest.mark.parametrize(("cls", "arguments"), contracts.each(Objective))
# None is a mean over sentences: two compare a batch's sentences with each other, one takes its
# floor of their mean.
OF_THE_BATCH = {
    WassersteinMMD: ("loss", "mmd"),
    Variational: ("loss",),
    MeanSum: ("loss", "cycle"),
}


def make(cls: type[Objective], arguments: dict[str, Any]) -> tuple[Objective, SequenceAutoencoder]:
    """An objective, and a model of the kind that it asks for."""
    options: dict[str, Any] = {}
    if cls is MeanSquaredError:
        options = {"head": "nearest", "train_embedding": False}
    if cls in (Variational, MutualInformationMachine) or arguments.get("logvar_weight"):
        options = {"latent": GaussianLatent(8)}
    return prepare(cls(**arguments), contracts.make_model(**options))


def prepare(objective: Objective, model: SequenceAutoencoder):
    objective.check(model)
    objective.build(model)
    return objective, model


def batch_for(objective: Objective, batch: Batch) -> Batch:
    """Paired with other sentences, if the objective needs pairs."""
    if not (isinstance(objective, Reconstruction) and objective.alignment_weight):
        return batch
    lengths = batch.lengths.flip(0).tolist()
    return Batch(batch.token_ids, batch.lengths, contracts.random_batch(lengths))


def value(objective: Objective, model: SequenceAutoencoder, batch, seed: int = 0, step: int = 10):
    return objective(model, batch, step, Generator().manual_seed(seed))


def gradients(loss, objective: Objective, model: SequenceAutoencoder):
    """Of the model's weights and of the objective's own."""
    return contracts.gradients(loss, nn.ModuleDict({"model": model, "objective": objective}))


@pytest.fixture
def no_chance(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every draw from a normal distribution is 0.3, so that batches can be compared."""
    monkeypatch.setattr(torch, "randn", lambda size, **_: torch.full(tuple(size), 0.3))


# Contracts


@every_objective
def test_gives_a_loss_and_scalars_to_log(cls, arguments):
    objective, model = make(cls, arguments)
    batch = batch_for(objective, contracts.random_batch())
    for training in (True, False):
        values = value(objective, model.train(training), batch)
        assert values["loss"].requires_grad
        assert all(v.shape == () for v in values.values())
        assert not any(v.requires_grad for name, v in values.items() if name != "loss")
        contracts.check_finite(values)


@every_objective
@pytest.mark.usefixtures("no_chance")
def test_the_order_of_the_rows_and_the_padding_do_not_matter(cls, arguments):
    objective, model = make(cls, arguments)
    batch = batch_for(objective, contracts.random_batch())
    order = torch.tensor([2, 0, 3, 1])
    wide = contracts.wider(batch, contracts.MAX_LENGTH - batch.token_ids.shape[1])
    expected = value(objective, model, batch)
    slopes = gradients(expected["loss"], objective, model)
    for same in (
        contracts.select(batch, order),
        contracts.with_other_padding(batch),
        wide,
        contracts.with_other_padding(wide),
    ):
        found = value(objective, model, same)
        torch.testing.assert_close(found, expected)
        torch.testing.assert_close(gradients(found["loss"], objective, model), slopes)


@every_objective
@pytest.mark.usefixtures("no_chance")
def test_every_value_is_a_mean_over_target_tokens_or_sentences(cls, arguments):
    objective, model = make(cls, arguments)
    batch = batch_for(objective, contracts.random_batch())
    parts = [contracts.select(batch, rows) for rows in torch.tensor([[0, 1], [2, 3]])]
    whole = value(objective, model, batch)
    halves = [value(objective, model, part) for part in parts]
    tokens = [part.num_targets / batch.num_targets for part in parts]
    assert tokens[0] != tokens[1]
    skipped = OF_THE_BATCH.get(cls, ()) if arguments.get("free_bits", 1) else ()
    for name in whole.keys() - skipped:
        shares = [0.5, 0.5] if name in cls.sentence_means else tokens
        total = sum(h[name].double() * share for h, share in zip(halves, shares, strict=True))
        assert total.item() == pytest.approx(whole[name].item(), rel=1e-5), name


@every_objective
def test_gradients_reach_every_parameter_in_half_precision_too(cls, arguments):
    objective, model = make(cls, arguments)
    batch = batch_for(objective, contracts.random_batch())
    for training in (True, False):
        model.train(training)
        exact = value(objective, model, batch)["loss"]
        contracts.check_reached(gradients(exact, objective, model))
        with torch.autocast("cpu", torch.bfloat16):
            loss = value(objective, model, batch)["loss"]
        torch.testing.assert_close(loss.float(), exact, rtol=0.1, atol=0.1)
        contracts.check_reached(gradients(loss, objective, model))


@every_objective
def test_an_empty_sentence_alone(cls, arguments):
    objective, model = make(cls, arguments)
    batch = batch_for(objective, contracts.random_batch([2]))
    values = value(objective, model.train(), batch)
    contracts.check_finite([values, gradients(values["loss"], objective, model)])


@every_objective
def test_the_generator_is_the_only_source_of_chance(cls, arguments):
    objective, model = make(cls, arguments)
    model.train()
    state = torch.get_rng_state()
    batch = batch_for(objective, contracts.random_batch())
    first, again = (value(objective, model, batch)["loss"] for _ in range(2))
    assert torch.equal(first, again)
    assert torch.equal(torch.get_rng_state(), state)


class LatentWithATerm(Latent):
    """As a codebook has: a term of the layer's own, here the mean square of the latent."""

    def build(self, input_dim: int, num_latents: int = 1) -> None:
        self.output_dim = input_dim
        self.scale = nn.Parameter(torch.tensor(2.0))

    def forward(self, hidden, generator=None):
        latent = self.scale * hidden
        return LatentOutput(latent, loss=latent.pow(2).sum(dim=1).mean())


@pytest.mark.parametrize("cls", [Reconstruction, Denoising, MeanSquaredError])
def test_the_latent_layers_own_term_joins_the_loss_by_sentence(cls):
    options = {"head": "nearest", "train_embedding": False} if cls is MeanSquaredError else {}
    objective, model = prepare(cls(), contracts.make_model(latent=LatentWithATerm(), **options))
    batch = contracts.random_batch()
    values = value(objective, model, batch)
    own = model.encode(batch).latent.pow(2).sum(dim=1)
    torch.testing.assert_close(values["latent_loss"], own.mean().detach())
    assert "latent_loss" in cls.sentence_means
    model.latent.forward = lambda hidden, generator=None: LatentOutput(model.latent.scale * hidden)
    without = value(objective, model, batch)["loss"]
    expected = without + own.sum() / batch.num_targets
    torch.testing.assert_close(values["loss"], expected)


# What each refuses

NEEDS_POSTERIOR = (Variational(), MutualInformationMachine())
TRAINS_NO_POSTERIOR = (Reconstruction(), Denoising(), MeanSum())
NORMAL_PRIOR = (WassersteinMMD(), Adversarial())


def kind(objective: Objective) -> str:
    return type(objective).__name__


@pytest.mark.parametrize("objective", NEEDS_POSTERIOR, ids=kind)
def test_needs_a_posterior(objective):
    message = contracts.refusal(objective.check, contracts.make_model())
    assert message.startswith("`model.autoencoder.latent` must have a posterior under")
    assert "model.autoencoder.latent: GaussianLatent" in message


@pytest.mark.parametrize("objective", TRAINS_NO_POSTERIOR, ids=kind)
def test_trains_no_posterior(objective):
    message = contracts.refusal(objective.check, contracts.make_model(latent=GaussianLatent(8)))
    assert message.startswith("`model.autoencoder.latent` must have no posterior under")
    assert "`model.objective: Variational`" in message


@pytest.mark.parametrize("objective", NORMAL_PRIOR, ids=kind)
@pytest.mark.parametrize("normalize", ["layer", "sphere"])
def test_a_normal_prior_needs_a_free_latent(objective, normalize):
    model = contracts.make_model(latent=DeterministicLatent(8, normalize))
    message = contracts.refusal(objective.check, model)
    assert message.startswith("`normalize` must be none under")


@pytest.mark.parametrize("objective", NORMAL_PRIOR, ids=kind)
def test_a_prior_needs_a_latent_that_can_follow_it(objective):
    model = contracts.make_model(latent=LatentWithATerm())
    message = contracts.refusal(objective.check, model)
    assert message.startswith("`model.autoencoder.latent` must be a DeterministicLatent or")


@pytest.mark.parametrize(
    "cls", [c for c in contracts.concrete(Objective) if c is not MeanSquaredError]
)
def test_no_word_dropout_where_no_words_are_read(cls):
    model = contracts.make_model(latent=GaussianLatent(8), decoder=DenseDecoder(8))
    message = contracts.refusal(cls(word_dropout=0.1).check, model)
    assert message.startswith("`word_dropout` must be 0 with DenseDecoder")


def test_logvar_weight_needs_a_logvar():
    message = contracts.refusal(Adversarial(logvar_weight=0.1).check, contracts.make_model())
    assert message.startswith("`logvar_weight` must be 0 without a GaussianLatent")


def test_squared_error_refuses_a_posterior():
    options = {"head": "nearest", "train_embedding": False, "latent": GaussianLatent(8)}
    message = contracts.refusal(MeanSquaredError().check, contracts.make_model(**options))
    assert message.startswith("`model.autoencoder.latent` must have no posterior")


def test_squared_error_refuses_a_trained_embedding():
    model = contracts.make_model(head="nearest", train_embedding=True)
    message = contracts.refusal(MeanSquaredError().check, model)
    assert message.startswith("`train_embedding` must be false under MeanSquaredError")


def test_squared_error_refuses_a_head_that_predicts_no_embedding():
    model = contracts.make_model(head="linear", train_embedding=False)
    message = contracts.refusal(MeanSquaredError().check, model)
    assert message.startswith("`head` must be nearest")


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


# Alignment of paired text


def test_alignment_by_hand():
    """Mean squared difference of the two latents, by sentence beside the sum of its tokens."""
    model, read = contracts.make_model(), contracts.random_batch()
    written = contracts.random_batch([4, 6, 2, 3])
    batch = Batch(read.token_ids, read.lengths, written)
    values = value(Reconstruction(alignment_weight=0.5), model, batch)
    plain = value(Reconstruction(), model, batch)
    squares = (model.encode(read).latent - model.encode(written).latent).pow(2)
    torch.testing.assert_close(values["alignment"], squares.mean().detach())
    by_token = 0.5 * squares.mean(dim=1).sum() / batch.num_targets
    torch.testing.assert_close(values["loss"], plain["loss"] + by_token)
    assert batch.num_targets == 4 + 6 + 2 + 3 - 4


@pytest.mark.parametrize(
    ("key", "value"), [("kl_weight", 2.0), ("kl_warmup_steps", 9), ("free_bits", 0.1)]
)
def test_what_cannot_move_a_constant_kl_is_refused(key, value):
    sphere = contracts.make_model(latent=VonMisesFisherLatent(8))
    message = contracts.refusal(Variational(**{key: value}).check, sphere)
    assert message.startswith(f"`{key}` must be")
    Variational().check(sphere)


def test_cycles_need_a_length():
    model = contracts.make_model(latent=GaussianLatent(8))
    message = contracts.refusal(Variational(kl_cycles=4).check, model)
    assert message.startswith("`kl_warmup_steps` must be above 0 with `kl_cycles` 4")


def test_alignment_needs_pairs():
    objective = Reconstruction(alignment_weight=0.5)
    message = contracts.refusal(objective.check, contracts.make_model(), is_paired=False)
    assert message.startswith("`alignment_weight` must be 0 for text without pairs")


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
