"""One backward pass is the textbook's two optimizers; through the trainer, in all its ways."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import contracts
import numpy as np
import pytest
import torch
from ranks import FORKS, run_on_ranks
from small import (
    figures,
    numbered,
    read_rows,
    run_seqae,
    write_recipe,
    write_text,
)
from torch import Generator
from torch.nn.functional import binary_cross_entropy_with_logits as cross_entropy

import seqae
from seqae.data.batches.padding import collate
from seqae.model.latents.gaussian import GaussianLatent
from seqae.objectives import Adversarial, Reconstruction
from seqae.objectives.noise import NoiseRates, corrupt
from seqae.training.module import AutoencoderModule


def make(latent=None, **arguments):
    model, objective = contracts.make_model(latent=latent), Adversarial(hidden_dim=16, **arguments)
    objective.check(model)
    objective.build(model)
    return objective, model


def textbook(objective, model, batch, seed: int):
    """The two losses of Shen et al. 2020, each for its own player, by sentence."""
    latents = model.encode(batch)
    prior = torch.randn(len(batch), 8, generator=Generator().manual_seed(seed))
    zeros, ones = torch.zeros(len(batch), 1), torch.ones(len(batch), 1)
    features = model.decode(batch.decoder_input, latents.latent)[batch.target_mask]
    target = batch.target[batch.target_mask]
    nll = torch.nn.functional.cross_entropy(model.logits(features), target, reduction="sum")
    judge = objective.discriminator
    players = nll / len(batch) + 10.0 * cross_entropy(judge(latents.latent), ones)
    judges = cross_entropy(judge(latents.latent.detach()), zeros) + cross_entropy(
        judge(prior), ones
    )
    return players, judges


def test_each_side_has_the_gradient_of_its_own_loss():
    objective, model = make()
    batch = contracts.random_batch()
    players, judges = textbook(objective, model, batch, 0)
    values = objective(model, batch, 0, Generator().manual_seed(0))
    by_token = len(batch) / batch.num_targets
    torch.testing.assert_close(values["loss"], (players + judges) * by_token)
    own = contracts.gradients(by_token * judges, objective)
    found = torch.autograd.grad(values["loss"], [*objective.parameters()], retain_graph=True)
    torch.testing.assert_close(dict(zip(own, found, strict=True)), own)
    expected = contracts.gradients(by_token * players, model)
    torch.testing.assert_close(contracts.gradients(values["loss"], model), expected)


def test_one_optimizer_with_a_group_each_steps_as_two():
    """Adam for the model and Adam for the discriminator, stepped at the same moment."""
    objective, model = make()
    other_objective, other_model = deepcopy(objective), deepcopy(model)
    one = torch.optim.AdamW(
        [
            {"params": model.parameters(), "lr": 0.01},
            {"params": objective.parameters(), "lr": 0.02, "betas": (0.5, 0.98)},
        ],
        betas=(0.9, 0.98),
        weight_decay=0.0,
    )
    first = torch.optim.Adam(other_model.parameters(), lr=0.01, betas=(0.9, 0.98))
    second = torch.optim.Adam(other_objective.parameters(), lr=0.02, betas=(0.5, 0.98))
    for step in range(5):
        batch = contracts.random_batch([5, 3 + step, 7, 4])
        one.zero_grad()
        objective(model, batch, step, Generator().manual_seed(step))["loss"].backward()
        one.step()
        players, judges = textbook(other_objective, other_model, batch, step)
        by_token = len(batch) / batch.num_targets
        # Exactly: the gradients of both losses first, then both steps.
        for optimizer, loss, part in (
            (first, players, other_model),
            (second, judges, other_objective),
        ):
            found = torch.autograd.grad(by_token * loss, [*part.parameters()], retain_graph=True)
            for weight, gradient in zip(part.parameters(), found, strict=True):
                weight.grad = gradient
            del optimizer
        first.step()
        second.step()
    for mine, other in ((model, other_model), (objective, other_objective)):
        torch.testing.assert_close(mine.state_dict(), other.state_dict(), rtol=1e-3, atol=1e-5)


def test_laae_adds_the_size_of_the_logvar():
    objective, model = make(GaussianLatent(8), logvar_weight=0.3)
    plain, _ = make(GaussianLatent(8))
    plain.discriminator = objective.discriminator
    batch = contracts.random_batch()
    values, without = (o(model, batch, 0, Generator().manual_seed(0)) for o in (objective, plain))
    penalty = model.encode(batch).logvar.abs().sum()
    torch.testing.assert_close(values["absolute_logvar"], penalty.detach() / 4)
    expected = without["loss"] + 0.3 * penalty / batch.num_targets
    torch.testing.assert_close(values["loss"], expected)


def test_daae_reads_noise_in_training():
    objective, model = make(delete=0.5)
    batch = contracts.random_batch()
    found = objective(model.train(), batch, 0, Generator().manual_seed(3))
    generator = Generator().manual_seed(3)
    read = corrupt(batch, NoiseRates(delete=0.5), contracts.VOCABULARY, generator)
    expected = objective(model.eval(), read, 0, generator)
    torch.testing.assert_close(found, expected)


def test_accuracy_of_a_discriminator_that_cannot_and_of_one_that_can():
    objective, model = make()
    batch = contracts.random_batch([5] * 100)
    with torch.no_grad():
        for weight in objective.discriminator[-1:].parameters():
            weight.zero_()
        model.latent.projection.bias.fill_(100.0)
        blind = objective(model, batch, 0, Generator())["discriminator_accuracy"]
        assert blind == 0  # it says nothing, and a tie is no answer
        objective.discriminator[0].weight.fill_(-0.1)
        objective.discriminator[-1].weight.fill_(1.0)
        objective.discriminator[0].bias.fill_(10.0)
        objective.discriminator[-1].bias.fill_(-1.0)
        sharp = objective(model, batch, 0, Generator())["discriminator_accuracy"]
    assert sharp == 1


def test_the_latents_come_to_look_like_the_prior():
    """Against plain reconstruction from the same start: mean and deviation of all latents."""
    torch.manual_seed(0)
    batch = contracts.random_batch([9, 8, 7, 6, 5, 4] * 20)
    off = {}
    for name, objective in (
        ("plain", Reconstruction()),
        ("adversarial", Adversarial(hidden_dim=32)),
    ):
        torch.manual_seed(1)
        model = contracts.make_model().train()
        with torch.no_grad():
            model.latent.projection.bias.fill_(2.0)
        objective.build(model)
        weights = [*model.parameters(), *objective.parameters()]
        optimizer = torch.optim.Adam(weights, lr=0.005, betas=(0.5, 0.98))
        for step in range(200):
            optimizer.zero_grad()
            objective(model, batch, step, Generator().manual_seed(step))["loss"].backward()
            optimizer.step()
        off[name] = model.encode(batch).latent.mean(dim=0).abs().mean().item()
    assert off["adversarial"] < 1.0
    assert off["plain"] > 1.5


# Through the trainer

FIXED = ["--model.learning_rate", 0, "--model.warmup_steps", 0, "--model.schedule", "constant"]


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_text(tmp_path_factory.mktemp("text") / "text.txt", numbered(96))


def arguments_of(folder: Path, text: Path, *options: object) -> list[object]:
    """An adversarial autoencoder for a few steps; each rank writes down what it saw."""
    folder.mkdir()
    arguments = ["-c", write_recipe(folder), "--data.train", text, "--run_dir", folder / "run"]
    arguments += ["--data.val_percent", 0, "--data.test_percent", 0, "--trainer.max_epochs", -1]
    arguments += ["--model.objective", "Adversarial", "--model.objective.hidden_dim", 16]
    arguments += ["--trainer.callbacks", "small.Recorder", "--trainer.callbacks.folder", folder]
    return [*arguments, *options]


def fit(folder: Path, text: Path, *options: object) -> list[float]:
    """Train in this process; the discriminator's loss at each step."""
    options = ("--trainer.max_steps", 6, *options)
    assert run_seqae("fit", *arguments_of(folder, text, *options)) == 0
    rows = figures(folder / "run")
    return [row["train/discriminator"] for row in rows if "train/discriminator" in row]


def checkpoint(folder: Path) -> dict[str, Any]:
    path = folder / "run" / "checkpoints" / "last.ckpt"
    state: dict[str, Any] = torch.load(path, weights_only=True)
    return state


def first_gradients(folder: Path, module: AutoencoderModule) -> dict[str, torch.Tensor]:
    """What the first step saw, from AdamW's means: after one step (1 - beta1) * gradient."""
    optimizer = checkpoint(folder)["optimizer_states"][0]
    named = [(n, p) for n, p in module.named_parameters() if n.startswith("autoencoder.")]
    names = [n for n, p in named if p.ndim >= 2 and "positions" not in n]
    names += [n for n, p in named if p.ndim < 2 or "positions" in n]
    names += [n for n, _ in module.named_parameters() if n.startswith("objective.")]
    decay = {i: group["betas"][0] for group in optimizer["param_groups"] for i in group["params"]}
    return {name: optimizer["state"][i]["exp_avg"] / (1 - decay[i]) for i, name in enumerate(names)}


def expected_gradients(
    folder: Path, seen: list[tuple[int, list[str]]]
) -> tuple[AutoencoderModule, dict[str, torch.Tensor]]:
    """Of all sentences of the first step together: (place among its batches, sentences)."""
    loaded = seqae.load(folder / "run")
    objective = Adversarial(hidden_dim=16)
    objective.build(loaded.autoencoder)
    module = AutoencoderModule(loaded.autoencoder.train(), objective)
    module.load_state_dict(checkpoint(folder)["state_dict"])  # not moved: the rate is 0
    total = {name: torch.zeros_like(p) for name, p in module.named_parameters()}
    targets = 0
    for place, sentences in seen:
        batch = collate([[*map(int, s.split())] for s in sentences], loaded.autoencoder.vocabulary)
        seed = np.random.SeedSequence([0, 0, place, 0]).generate_state(1, np.uint64)[0]
        generator = Generator().manual_seed(int(seed) % 2**63)
        loss = objective(loaded.autoencoder, batch, 0, generator)["loss"]
        found = contracts.gradients(loss * batch.num_targets, module)
        total = {name: total[name] + found[name] for name in total}
        targets += batch.num_targets
    return module, {name: value / targets for name, value in total.items()}


def test_the_discriminator_has_a_group_and_stays_out_of_the_bundle(tmp_path, text):
    fit(tmp_path / "a", text, "--model.objective.learning_rate_factor", 3)
    saved = checkpoint(tmp_path / "a")
    groups = saved["optimizer_states"][0]["param_groups"]
    assert [group["betas"] for group in groups] == [(0.9, 0.98), (0.9, 0.98), (0.5, 0.98)]
    assert groups[2]["initial_lr"] == pytest.approx(3 * groups[0]["initial_lr"])
    assert len(groups[2]["params"]) == 4
    assert any(name.startswith("objective.") for name in saved["state_dict"])
    model = seqae.load(tmp_path / "a" / "run").autoencoder
    assert not any("discriminator" in name for name in model.state_dict())


def test_bf16_mixed(tmp_path, text):
    full = fit(tmp_path / "full", text)
    half = fit(tmp_path / "half", text, "--trainer.precision", "bf16-mixed")
    assert half != full
    assert half == pytest.approx(full, abs=0.05)


def test_accumulation_adds_up_the_gradients_of_both_players(tmp_path, text):
    options = [*FIXED, "--trainer.accumulate_grad_batches", 2, "--trainer.gradient_clip_val", 0]
    fit(tmp_path / "a", text, *options, "--trainer.max_steps", 1)
    rows = read_rows(tmp_path / "a" / "rank0.jsonl")
    seen = [(place, row["sentences"]) for place, row in enumerate(rows)]
    assert len(seen) == 2
    module, expected = expected_gradients(tmp_path / "a", seen)
    torch.testing.assert_close(first_gradients(tmp_path / "a", module), expected)


@FORKS
def test_two_processes_have_the_gradient_of_one_at_the_same_sentences(tmp_path, text):
    options = ["--trainer.gradient_clip_val", 0, *FIXED, "--trainer.max_steps", 1]
    arguments = arguments_of(tmp_path / "a", text, *options)
    assert run_on_ranks(tmp_path / "said", "fit", *arguments) == [0, 0]
    seen = []
    for rank in (0, 1):
        (row,) = read_rows(tmp_path / "a" / f"rank{rank}.jsonl")
        seen.append((rank, row["sentences"]))
    module, expected = expected_gradients(tmp_path / "a", seen)
    torch.testing.assert_close(first_gradients(tmp_path / "a", module), expected)


def test_clipping_leaves_the_discriminator_alone_and_it_the_model(tmp_path, text):
    """However large the discriminator's gradient is, the model is clipped by its own norm."""
    objective, model = make()
    module = AutoencoderModule(model, objective)
    called = []

    def clip(optimizer, value, algorithm):
        called.append(value)
        torch.nn.utils.clip_grad_norm_(
            [p for group in optimizer.param_groups for p in group["params"]], value
        )

    module.clip_gradients = clip
    everything = [*model.parameters(), *objective.parameters()]
    optimizer = torch.optim.SGD(everything, lr=1.0)
    for weight in model.parameters():
        weight.grad = torch.ones_like(weight)
    for weight in objective.parameters():
        weight.grad = torch.full_like(weight, 1e6)
    module.configure_gradient_clipping(optimizer, 0.5, "norm")
    assert called == [0.5]
    norm = torch.stack([p.grad.norm() for p in model.parameters()]).norm()
    assert norm.item() == pytest.approx(0.5, rel=1e-4)
    assert all((p.grad == 1e6).all() for p in objective.parameters())
