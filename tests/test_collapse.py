"""The monitor: its figures, its one warning, its remedies; the same on one rank and on two."""

from __future__ import annotations

import json
import logging
import math
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from ranks import FORKS, run_on_ranks
from small import RECIPE, SENTENCES, read_rows, run_seqae, write_text

from seqae.model.autoencoder import SequenceAutoencoder
from seqae.model.decoders import GRUDecoder
from seqae.model.encoders import GRUEncoder
from seqae.model.latents import Latent
from seqae.model.latents.gaussian import GaussianLatent
from seqae.model.latents.von_mises_fisher import VonMisesFisherLatent
from seqae.objectives import MutualInformationMachine, Objective, Variational, WassersteinMMD
from seqae.training.callbacks.collapse import remedy
from seqae.training.module import AutoencoderModule

FIGURES = ("kl", "mutual_information", "active_units", "duplicates", "shuffle_gap")


def write_variational(folder: Path, **objective: Any) -> Path:
    """The small recipe as a VAE."""
    recipe = json.loads(json.dumps(RECIPE))
    recipe["model"]["objective"] = {"class_path": "Variational", "init_args": objective}
    recipe["model"]["autoencoder"]["latent"] = {
        "class_path": "GaussianLatent",
        "init_args": {"latent_dim": 8},
    }
    path = folder / "vae.yaml"
    path.write_text(yaml.safe_dump(recipe), encoding="utf-8")
    return path


def fit(folder: Path, *options: object, **objective: Any) -> list[dict[str, Any]]:
    """Train on 32 sentences, which are the validation set too: the rows with its figures."""
    text = write_text(folder / "text.txt", SENTENCES)
    arguments = ["-c", write_variational(folder, **objective), "--run_dir", folder / "run"]
    arguments += ["--data.train", text, "--data.val", text, *options]
    assert run_seqae("fit", *arguments) == 0
    return [row for row in read_rows(folder / "run" / "metrics.jsonl") if "val/loss" in row]


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.message for r in caplog.records if "collapsed" in r.message]


@pytest.fixture
def caught(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.WARNING, logger="seqae")
    return caplog


def test_a_crushing_kl_term_is_warned_of_once(
    tmp_path: Path, caught: pytest.LogCaptureFixture
) -> None:
    rows = fit(tmp_path, "--trainer.max_epochs", 4, kl_weight=100.0)
    assert all(f"val/{name}" in row for row in rows for name in FIGURES)
    last = rows[-1]
    assert last["val/kl"] < 0.5
    assert last["val/mutual_information"] < 0.5
    assert last["val/duplicates"] > 0.5
    assert abs(last["val/shuffle_gap"]) < 0.05 * last["val/reconstruction"]
    (warning,) = warnings_of(caught)
    assert "`model.objective.free_bits: 0.1`" in warning
    assert f"KL {rows[1]['val/kl']:.2f} nats" in warning  # the second time in a row
    assert "\n" not in warning


def test_a_latent_that_is_read_is_not_warned_of(
    tmp_path: Path, caught: pytest.LogCaptureFixture
) -> None:
    options = ["--trainer.max_epochs", 30, "--trainer.check_val_every_n_epoch", 15]
    last = fit(tmp_path, *options, kl_weight=0.0)[-1]
    assert warnings_of(caught) == []
    assert last["val/shuffle_gap"] > 1.0
    assert last["val/duplicates"] < 0.3
    # 32 sentences: the estimate ends at log 32.
    assert 2.5 < last["val/mutual_information"] <= math.log(32) + 1e-5
    assert last["val/active_units"] == 8


def test_a_single_validation_is_warned_of_at_the_end(
    tmp_path: Path, caught: pytest.LogCaptureFixture
) -> None:
    fit(tmp_path, "--trainer.max_epochs", 2, "--trainer.check_val_every_n_epoch", 2, kl_weight=99.0)
    assert len(warnings_of(caught)) == 1


def test_a_validation_after_the_last_step_is_warned_of(
    tmp_path: Path, caught: pytest.LogCaptureFixture
) -> None:
    """There is none while it trains: the command validates once more at the end."""
    rows = fit(tmp_path, "--trainer.max_steps", 5, kl_weight=99.0)
    assert [row["step"] for row in rows] == [5]
    (warning,) = warnings_of(caught)
    assert f"KL {rows[0]['val/kl']:.2f} nats" in warning


def test_a_figure_that_is_not_measured_chooses_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = write_text(tmp_path / "text.txt", SENTENCES)
    arguments = ["-c", write_variational(tmp_path), "--data.train", text, "--data.val", text]
    arguments += ["--run_dir", tmp_path / "run", "--monitor", "val/active_units"]
    assert run_seqae("fit", *arguments, "--collapse_sentences", 0) == 1
    assert "there is no val/active_units with `collapse_sentences` at 0" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_the_bundle_is_of_a_model_that_the_whole_loss_has_trained(tmp_path: Path) -> None:
    """Before the KL term counts, all is better but the bound; and the bound is what chooses."""
    options = ["--trainer.max_epochs", 6]
    rows = fit(tmp_path, *options, pretraining_steps=12, kl_warmup_steps=6, kl_weight=3.0)
    metrics = json.loads((tmp_path / "run" / "bundle" / "metrics.json").read_text())
    settled = [row["val/negative_elbo"] for row in rows if row["step"] >= 18]
    assert metrics["val/kl_weight"] == 3.0
    assert metrics["val/negative_elbo"] == pytest.approx(min(settled), rel=1e-6)


def test_it_can_be_turned_off(tmp_path: Path, caught: pytest.LogCaptureFixture) -> None:
    rows = fit(tmp_path, "--collapse_sentences", 0, "--trainer.max_epochs", 2, kl_weight=99.0)
    assert "val/mutual_information" not in rows[-1]
    assert warnings_of(caught) == []


def test_its_figures_choose_the_bundle(tmp_path: Path) -> None:
    fit(tmp_path, "--monitor", "val/mutual_information", "--trainer.max_epochs", 1)
    metrics = json.loads((tmp_path / "run" / "bundle" / "metrics.json").read_text())
    assert "val/mutual_information" in metrics


@FORKS
def test_two_processes_find_what_one_finds(tmp_path: Path) -> None:
    """Untrained, so that nothing else differs: the same sentences, the same draws."""
    still = ["--model.learning_rate", 0.0, "--trainer.max_epochs", 1]
    alone = fit(tmp_path, *still)[-1]
    arguments = ["-c", tmp_path / "vae.yaml", *still, "--run_dir", tmp_path / "two"]
    arguments += ["--data.train", tmp_path / "text.txt", "--data.val", tmp_path / "text.txt"]
    assert run_on_ranks(tmp_path / "said", "fit", *arguments) == [0, 0]
    rows = read_rows(tmp_path / "two" / "metrics.jsonl")
    shared = next(row for row in rows if "val/loss" in row)
    for name in FIGURES:
        assert shared[f"val/{name}"] == pytest.approx(alone[f"val/{name}"], rel=1e-5), name
    said = [path.read_text() for path in (tmp_path / "said").iterdir()]
    assert "".join(said).count("the latent has collapsed") == 1  # one of them says it


def module(latent: Latent, objective: Objective) -> AutoencoderModule:
    autoencoder = SequenceAutoencoder(GRUEncoder(8), latent, GRUDecoder(8))
    return AutoencoderModule(autoencoder, objective)


@pytest.mark.parametrize(
    ("latent", "objective", "keys"),
    [
        (GaussianLatent(8), Variational(), ["batch_norm", "free_bits"]),
        (GaussianLatent(8, 0.3), Variational(free_bits=0.1), ["kl_warmup_steps", "word_dropout"]),
        (
            GaussianLatent(8, batch_norm=0.6),
            Variational(free_bits=0.1, kl_warmup_steps=9, word_dropout=0.1),
            ["kl_weight"],
        ),
        (VonMisesFisherLatent(8), Variational(), ["word_dropout", "kappa"]),
        (GaussianLatent(8, 0.3), WassersteinMMD(), ["word_dropout"]),
        (VonMisesFisherLatent(8), MutualInformationMachine(), ["word_dropout", "kappa"]),
    ],
)
def test_the_remedy_is_what_is_not_in_use(
    latent: Latent, objective: Objective, keys: list[str]
) -> None:
    said = remedy(module(latent, objective))
    assert said.count("`") == 2 * len(keys)
    assert said.count("; or ") == 1
    for key in keys:
        assert key in said


def test_a_resumed_run_does_not_warn_again() -> None:
    from seqae.training.callbacks.collapse import CollapseMonitor

    first, second = CollapseMonitor(), CollapseMonitor()
    first.is_collapsed = first.has_warned = True
    second.load_state_dict(first.state_dict())
    assert second.is_collapsed
    assert second.has_warned


def test_it_draws_from_no_global_state(tmp_path: Path) -> None:
    """Training goes the same way with and without it."""
    losses = []
    for sentences in (0, 256):
        folder = tmp_path / str(sentences)
        folder.mkdir()
        torch.manual_seed(0)
        rows = fit(folder, "--collapse_sentences", sentences, "--trainer.max_epochs", 2)
        losses.append(rows[-1]["val/loss"])
    assert losses[0] == losses[1]
