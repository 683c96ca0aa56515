"""The VAE: its bound against closed forms, the floor, the schedule, the turns, the restart; MIM."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import contracts
import pytest
import torch
from small import numbered, run_seqae, write_recipe, write_text
from torch import Generator, Tensor
from torch.distributions import MultivariateNormal, Normal

from seqae.model.latents import LatentOutput
from seqae.model.latents.gaussian import GaussianLatent
from seqae.objectives import MutualInformationMachine, Reconstruction, Variational


def model_with(**latent: Any):
    return contracts.make_model(latent=GaussianLatent(8, **latent))


def value(objective, model, batch, step: int = 0, seed: int = 0) -> dict[str, Tensor]:
    found: dict[str, Tensor] = objective(model, batch, step, Generator().manual_seed(seed))
    return found


def parts(model, batch, seed: int = 0) -> tuple[Tensor, Tensor]:
    """The cross-entropy summed over the batch, and KL by sentence and dimension, by torch alone."""
    output = model.encode(batch, Generator().manual_seed(seed))
    logits = model.logits(model.decode(batch.decoder_input, output.latent))[batch.target_mask]
    target = batch.target[batch.target_mask]
    nll = torch.nn.functional.cross_entropy(logits, target, reduction="sum")
    posterior = Normal(output.mean, (0.5 * output.logvar).exp())
    return nll, torch.distributions.kl_divergence(posterior, Normal(0.0, 1.0))


# The bound


def test_loss_and_figures_are_what_they_say():
    model, batch = model_with(), contracts.random_batch()
    nll, kl = parts(model, batch)
    values = value(Variational(kl_weight=0.3), model, batch)
    torch.testing.assert_close(values["loss"], (nll + 0.3 * kl.sum()) / batch.num_targets)
    torch.testing.assert_close(values["reconstruction"], (nll / batch.num_targets).detach())
    torch.testing.assert_close(values["kl"], (kl.sum() / len(batch)).detach())
    torch.testing.assert_close(values["negative_elbo"], ((nll + kl.sum()) / len(batch)).detach())
    assert values["kl_weight"].item() == pytest.approx(0.3)


def test_the_bound_does_not_depend_on_weight_floor_and_schedule():
    model, batch = model_with(), contracts.random_batch()
    plain = value(Variational(), model, batch)
    for objective in (
        Variational(kl_weight=7.0),
        Variational(free_bits=2.0),
        Variational(kl_warmup_steps=100),
        Variational(pretraining_steps=100),
    ):
        other = value(objective, model, batch)
        assert torch.equal(other["negative_elbo"], plain["negative_elbo"])
        assert not torch.equal(other["loss"], plain["loss"])


def test_the_elbo_of_a_linear_gaussian_toy():
    """The bound is log p(x) at the true posterior, and lower by KL(q || posterior) elsewhere.

    z ~ N(0, I), x = W z + b + s e: then x ~ N(b, W W' + s^2 I) and the posterior of z is a known
    normal one. With W of orthogonal columns it factorises, as that of GaussianLatent must.
    """
    torch.manual_seed(0)
    dimensions, noise = 3, 0.5
    basis, _ = torch.linalg.qr(torch.randn(6, dimensions, dtype=torch.float64))
    mix = basis * torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64)
    shift = torch.randn(6, dtype=torch.float64)
    x = torch.randn(4, 6, dtype=torch.float64)
    marginal = MultivariateNormal(shift, mix @ mix.T + noise**2 * torch.eye(6)).log_prob(x)
    precision = mix.pow(2).sum(dim=0) / noise**2 + 1
    mean, logvar = (x - shift) @ mix / noise**2 / precision, -precision.log().expand(4, -1)
    latent = GaussianLatent(dimensions)

    def elbo(mean: Tensor, logvar: Tensor) -> Tensor:
        output = LatentOutput(mean, mean, logvar)
        # E_q[log p(x|z)] of the toy in closed form, the KL term by the latent layer.
        spread = (mix.pow(2) * logvar.exp()[:, None]).sum(dim=(1, 2))
        squares = (x - shift - mean @ mix.T).pow(2).sum(dim=1) + spread
        expected = -0.5 * squares / noise**2 - 6 * math.log(noise) - 3 * math.log(2 * math.pi)
        return expected - latent.kl(output).sum(dim=1)

    torch.testing.assert_close(elbo(mean, logvar), marginal)
    off_mean, off_logvar = mean + 0.3, logvar - 0.4
    true = Normal(mean, (0.5 * logvar).exp())
    guess = Normal(off_mean, (0.5 * off_logvar).exp())
    gap = torch.distributions.kl_divergence(guess, true).sum(dim=1)
    torch.testing.assert_close(elbo(off_mean, off_logvar), marginal - gap)


def test_the_mean_of_single_draws_is_the_bound():
    """What is logged is one draw; log p(x|z) over many draws converges to it."""
    model, batch = model_with(), contracts.random_batch([5])
    with torch.no_grad():
        draws = [value(Variational(), model, batch, seed=s)["negative_elbo"] for s in range(400)]
        output = model.encode(batch)
        many = contracts.select(batch, torch.zeros(4000, dtype=torch.int64))
        spread = LatentOutput(
            output.latent, output.mean.expand(4000, -1), output.logvar.expand(4000, -1)
        )
        latents = model.latent.sample_posterior(spread, Generator().manual_seed(1))
        logits = model.logits(model.decode(many.decoder_input, latents)).flatten(0, 1)
        nll = torch.nn.functional.cross_entropy(logits, many.target.flatten()) * batch.num_targets
        bound = nll + model.latent.kl(output).sum()
    assert abs(torch.stack(draws).mean() - bound) < 4 * torch.stack(draws).std() / 20


# The floor


def test_free_bits_clamp_each_dimensions_mean_over_the_batch():
    model, batch = model_with(), contracts.random_batch()
    nll, kl = parts(model, batch)
    by_dimension = kl.mean(dim=0)
    floor = by_dimension.median().item()
    values = value(Variational(free_bits=floor), model, batch)
    expected = (nll + 4 * by_dimension.clamp(min=floor).sum()) / batch.num_targets
    torch.testing.assert_close(values["loss"], expected)
    assert (by_dimension < floor).any()
    assert (by_dimension > floor).any()
    assert values["kl"].item() == pytest.approx(kl.sum().item() / 4)  # without the floor


def test_below_the_floor_a_dimension_feels_no_pull():
    model, batch = model_with(), contracts.random_batch()
    losses = [value(Variational(w, free_bits=50.0), model, batch)["loss"] for w in (0.0, 1.0)]
    slopes = [contracts.gradients(loss, model) for loss in losses]
    torch.testing.assert_close(slopes[0], slopes[1])
    assert losses[1] - losses[0] > 50.0  # 8 dimensions, 4 sentences, 13 targets


# Schedules


def test_the_weight_follows_the_schedule_after_the_pretraining():
    options = {"kl_warmup_steps": 4, "kl_cycles": 2, "kl_rising_share": 0.5}
    objective = Variational(kl_weight=2.0, pretraining_steps=3, **options)
    model, batch = model_with(), contracts.random_batch()
    found = [value(objective, model, batch, step)["kl_weight"].item() for step in range(20)]
    rise = [0.0, 0.5, 1.0, 1.5]
    assert found == [0.0] * 3 + [*rise, *[2.0] * 4, *rise, *[2.0] * 5]


def test_encoder_and_decoder_take_turns():
    objective = Variational(aggressive_steps=6, encoder_updates=2, pretraining_steps=3)
    model = model_with()
    reading = {*model.encoder.parameters(), *model.latent.parameters()}
    writing = set(model.parameters()) - reading
    found = [set(objective.frozen_parameters(model, step)) for step in range(12)]
    turns = [writing, writing, reading] * 2
    assert found == [set()] * 3 + turns + [set()] * 3
    assert model.embedding.weight in writing


# Pre-training


def test_pretraining_is_a_plain_autoencoder():
    model, batch = model_with().train(), contracts.random_batch()
    values = value(Variational(pretraining_steps=5), model, batch, step=4)
    plain = contracts.make_model()  # without posterior, so that Reconstruction takes it
    plain.encoder, plain.decoder = model.encoder, model.decoder
    plain.embedding, plain.output, plain.output_bias = (
        model.embedding,
        model.output,
        model.output_bias,
    )
    plain.latent.projection = model.latent.mean
    expected = value(Reconstruction(), plain.train(), batch)["loss"]
    torch.testing.assert_close(values["loss"], expected)
    # Training on several devices needs a gradient for each weight.
    contracts.gradients(values["loss"], model)
    after = value(Variational(pretraining_steps=5), model, batch, step=5)["loss"]
    torch.testing.assert_close(after, value(Variational(), model, batch)["loss"])


@pytest.mark.parametrize("head", contracts.HEADS)
def test_the_decoder_is_drawn_anew_once(head):
    objective = Variational(pretraining_steps=5)
    model = contracts.make_model(latent=GaussianLatent(8), head=head, embedding_dim=7)
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    assert not [
        *objective.reinitialized_parameters(model, 4),
        *objective.reinitialized_parameters(model, 6),
    ]
    state = torch.get_rng_state()
    drawn = set(objective.reinitialized_parameters(model, 5))
    assert torch.equal(torch.get_rng_state(), state)
    for name, weight in model.named_parameters():
        is_anew = name.startswith(("decoder.", "output."))
        assert (weight in drawn) == is_anew, name
        is_constant = weight.std(correction=0) == 0  # the norm's ones and zeros
        assert torch.equal(weight, before[name]) == (not is_anew or is_constant), name
    again = {name: weight.clone() for name, weight in model.state_dict().items()}
    objective.reinitialized_parameters(model, 5)  # asked again under accumulation
    assert all(torch.equal(weight, again[name]) for name, weight in model.state_dict().items())


def test_no_pretraining_no_restart():
    assert not [*Variational().reinitialized_parameters(model_with(), 0)]


# Through the trainer


def fit(folder: Path, *options: object) -> list[dict[str, Any]]:
    """Train for four steps; the checkpoint after each."""
    text = write_text(folder / "text.txt", numbered(60))
    arguments = ["-c", write_recipe(folder), "--data.train", text, "--run_dir", folder / "run"]
    arguments += ["--trainer.max_epochs", -1, "--trainer.max_steps", 4, "--model.warmup_steps", 0]
    arguments += ["--checkpoint.every_n_steps", 1, "--checkpoint.keep", 10]
    arguments += ["--model.autoencoder.latent", "GaussianLatent"]
    arguments += ["--model.objective", "Variational"]
    assert run_seqae("fit", *arguments, *options) == 0
    paths = [folder / "run" / "checkpoints" / f"step={step}.ckpt" for step in (1, 2, 3, 4)]
    return [torch.load(path, weights_only=True) for path in paths]


def moved(before: dict[str, Any], after: dict[str, Any]) -> set[str]:
    """Which part's weights a step has changed."""
    states = before["state_dict"], after["state_dict"]
    names = [n for n in states[0] if not torch.equal(states[0][n], states[1][n])]
    return {name.split(".")[1] for name in names}


def test_the_trainer_lets_encoder_and_decoder_take_turns(tmp_path):
    turns = ["--model.objective.aggressive_steps", 3, "--model.objective.encoder_updates", 2]
    saved = fit(tmp_path, *turns)
    assert moved(saved[0], saved[1]) == {"encoder", "latent"}
    assert moved(saved[1], saved[2]) == {"embedding", "decoder", "output_bias"}
    everything = {"embedding", "encoder", "latent", "decoder", "output_bias"}
    assert moved(saved[2], saved[3]) == everything


def test_the_trainer_begins_the_decoder_anew(tmp_path):
    """AdamW's state of the decoder too: it has seen the steps since then only."""
    saved = fit(tmp_path, "--model.objective.pretraining_steps", 2)
    counts = {}
    for name, value in saved[-1]["state_dict"].items():
        shape = tuple(value.shape)
        states = saved[-1]["optimizer_states"][0]["state"].values()
        counts[name] = {int(s["step"]) for s in states if tuple(s["exp_avg"].shape) == shape}
    # By shape: these are the only weights of theirs.
    assert counts["autoencoder.decoder.initial.weight"] == {2}
    assert counts["autoencoder.embedding.weight"] == {4}


# Mutual information machine


def test_mim_by_hand():
    model, batch = model_with(), contracts.random_batch()
    nll, kl = parts(model, batch)
    output = model.encode(batch, Generator().manual_seed(0))
    posterior = Normal(output.mean, (0.5 * output.logvar).exp()).log_prob(output.latent).sum()
    prior = Normal(0.0, 1.0).log_prob(output.latent).sum()
    values = value(MutualInformationMachine(), model, batch)
    expected = (nll - 0.5 * (posterior + prior)) / batch.num_targets
    torch.testing.assert_close(values["loss"], expected)
    figures = {"log_posterior": posterior, "log_prior": prior, "kl": kl.sum()}
    for name, total in figures.items():
        torch.testing.assert_close(values[name], total.detach() / 4)


def test_mim_narrows_the_posterior_where_the_vae_widens_it():
    batch = contracts.random_batch()
    for objective, sign in ((MutualInformationMachine(), 1), (Variational(), -1)):
        model = model_with()
        with torch.no_grad():  # far narrower than the prior, and no way to the decoder
            model.latent.logvar.bias.fill_(-3.0)
            model.decoder.initial.weight.zero_()
            model.decoder.context.weight.zero_()
            model.decoder.bound.weight.zero_()
        slope = contracts.gradients(value(objective, model, batch)["loss"], model)
        assert (sign * slope["latent.logvar.bias"] > 0).all()
