"""A prior comes back from the bundle, and is refused where it was touched."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import contracts
import numpy as np
import pytest
import safetensors.torch
import torch
from test_bundle import TEXTS, make, save

import seqae
from seqae.bundle.manifest import CARD, DENSITY, FILES, MANIFEST
from seqae.bundle.prior_draws import fit_priors
from seqae.bundle.stored_priors import (
    add_priors,
    prior_file,
    prior_to_bytes,
    read_priors,
    remove_prior,
)
from seqae.priors import GaussianPrior, MixturePrior, Prior
from seqae.priors.mixture_prior import MAX_COMPONENTS

FILE = prior_file("mixture")


def fit(shift: float = 0.0) -> dict[str, Prior]:
    latents = np.random.default_rng(0).normal(size=(600, 5)) + shift
    return fit_priors([MixturePrior(noise=1.5)], latents.astype(np.float32))


@pytest.fixture(scope="module")
def priors() -> dict[str, Prior]:
    return fit()


@pytest.fixture
def bundle(priors: dict[str, Prior], tmp_path: Path) -> Path:
    folder = save(tmp_path / "bundle", make())
    add_priors(folder, priors)
    return folder


# In a bundle


def test_it_comes_back_to_the_bit(bundle, priors):
    loaded = seqae.load(bundle)
    assert list(loaded.priors) == ["mixture"]
    assert loaded.priors["mixture"].noise == 1.5
    for name, tensor in priors["mixture"].tensors().items():
        assert torch.equal(loaded.priors["mixture"].tensors()[name], tensor)
    assert sorted(p.name for p in bundle.iterdir()) == sorted([*FILES, CARD, FILE, MANIFEST])
    assert loaded.encode(TEXTS).tolist() == make().encode(TEXTS).tolist()
    assert len(loaded.sample(3, "mixture")) == 3


def test_a_bundle_without_one_loads(tmp_path):
    loaded = seqae.load(save(tmp_path / "bundle", make()))
    assert loaded.priors == {}
    assert "`seqae prior MODEL`" in contracts.refusal(loaded.sample, 1)
    assert len(loaded.sample(1, "prior")) == 1


def test_a_better_model_takes_the_prior_of_the_old_one_away(bundle):
    save(bundle, make())
    assert not (bundle / FILE).exists()
    assert seqae.load(bundle).priors == {}


def test_one_is_removed(bundle):
    remove_prior(bundle, FILE)
    assert not (bundle / FILE).exists()
    assert seqae.load(bundle).priors == {}


def test_the_density_of_an_older_bundle(bundle, priors):
    """One file had both: it stays until both are replaced."""
    (bundle / DENSITY).write_bytes(safetensors.torch.save(priors["mixture"].tensors()))
    (bundle / FILE).unlink()
    reseal(bundle)
    loaded = seqae.load(bundle)
    assert list(loaded.priors) == ["gaussian", "mixture"]
    drawn = loaded.sample_latents(9, "mixture", seed=3)
    np.testing.assert_array_equal(drawn, priors["mixture"].sample(9, seeded(3)))
    old = loaded.sample_latents(9, "gaussian", seed=3)
    add_priors(bundle, priors)
    np.testing.assert_array_equal(seqae.load(bundle).sample_latents(9, "gaussian", seed=3), old)
    new = fit_priors([GaussianPrior()], np.eye(5, dtype="f4"))
    add_priors(bundle, new)
    assert not (bundle / DENSITY).exists()
    loaded = seqae.load(bundle)
    assert torch.equal(loaded.priors["gaussian"].tensors()["mean"], new["gaussian"].mean)


def test_a_bundle_that_is_not_whole_gets_none(bundle, priors):
    (bundle / "metrics.json").write_text("{}")
    assert "metrics.json" in contracts.refusal(add_priors, bundle, priors)


def test_what_else_lies_in_the_folder_stays(bundle, priors):
    (bundle / ".git").mkdir()
    (bundle / ".git" / "HEAD").write_text("ref: refs/heads/main")
    (bundle / "LICENSE").write_text("free")
    add_priors(bundle, priors)
    assert (bundle / ".git" / "HEAD").read_text() == "ref: refs/heads/main"
    assert (bundle / "LICENSE").read_text() == "free"
    assert sorted(p.name for p in bundle.iterdir()) == sorted(
        [*FILES, CARD, FILE, MANIFEST, ".git", "LICENSE"]
    )


@pytest.mark.parametrize("had_one", [True, False])
def test_a_bundle_half_written_is_refused_and_mended(bundle, priors, monkeypatch, had_one):
    if not had_one:
        save(bundle, make())
    replace = os.replace

    def killed(source: Path, target: Path) -> None:
        if target.name == MANIFEST:
            raise KeyboardInterrupt
        replace(source, target)

    other = fit(1.0)
    monkeypatch.setattr(os, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        add_priors(bundle, other)
    monkeypatch.undo()
    assert "`seqae prior " in contracts.refusal(seqae.load, bundle)
    model = seqae.load(bundle, with_priors=False)
    assert model.priors == {}
    assert model.encode(TEXTS).tolist() == make().encode(TEXTS).tolist()
    add_priors(bundle, other)
    loaded = seqae.load(bundle)
    mean = loaded.priors["mixture"].tensors()["mean"]
    assert torch.equal(mean, other["mixture"].tensors()["mean"])
    (bundle / "metrics.json").write_text("{}")
    contracts.refusal(seqae.load, bundle, with_priors=False)


def test_a_strangers_link_is_not_written_through(bundle, priors, tmp_path):
    mine = tmp_path / "mine"
    mine.write_text("mine")
    (bundle / f".{FILE}.unfinished").symlink_to(mine)
    add_priors(bundle, priors)
    assert mine.read_text() == "mine"
    assert not (bundle / f".{FILE}.unfinished").is_symlink()


def test_a_link_to_a_bundle_and_the_current_folder(bundle, priors, tmp_path, monkeypatch):
    link = tmp_path / "link"
    link.symlink_to(bundle, target_is_directory=True)
    save(link, make())
    assert seqae.load(bundle).priors == {}
    add_priors(link, priors)
    assert link.is_symlink()
    assert list(seqae.load(bundle).priors) == ["mixture"]
    monkeypatch.chdir(bundle)
    (bundle / FILE).unlink()
    add_priors(Path(), priors)
    assert list(seqae.load(bundle).priors) == ["mixture"]
    assert sorted(os.listdir(tmp_path)) == ["bundle", "link"]


# Hostile


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def reseal(folder: Path) -> None:
    names = [*FILES, *(n for n in (DENSITY, FILE) if (folder / n).exists())]
    lines = [f"{hashlib.sha256((folder / n).read_bytes()).hexdigest()}  {n}\n" for n in names]
    (folder / MANIFEST).write_text("".join(lines))


def test_a_prior_that_the_manifest_does_not_know_is_refused(bundle):
    save(bundle.parent / "other", make())
    (bundle.parent / "other" / FILE).write_bytes((bundle / FILE).read_bytes())
    contracts.refusal(seqae.load, bundle.parent / "other")


def test_a_prior_that_is_gone_or_changed_is_refused(bundle):
    data = (bundle / FILE).read_bytes()
    (bundle / FILE).write_bytes(data[:-1] + b"\x01")
    assert FILE in contracts.refusal(seqae.load, bundle)
    (bundle / FILE).unlink()
    contracts.refusal(seqae.load, bundle)
    (bundle / FILE).symlink_to(bundle / "README.md")
    contracts.refusal(seqae.load, bundle)


CHANGES: list[Callable[[dict[str, Any]], object]] = [
    lambda d: d.pop("mean"),
    lambda d: d.update(more=torch.zeros(1)),
    lambda d: d.update(mean=torch.zeros(6)),
    lambda d: d.update(mean=torch.zeros(5, dtype=torch.float64)),
    lambda d: d.update(factor=torch.zeros(5, 6)),
    lambda d: d.update(factor=torch.ones(5, 5)),
    lambda d: d.update(mean=torch.full((5,), torch.nan)),
    lambda d: d.update(scales=-d["scales"]),
    lambda d: d.update(weights=torch.zeros(MAX_COMPONENTS)),
    lambda d: d.update(weights=-d["weights"]),
    lambda d: d.update(weights=2 * d["weights"]),
    lambda d: d.update(weights=torch.full((MAX_COMPONENTS,), torch.inf)),
    lambda d: d.update(weights=torch.ones(10**6)),
]


@pytest.mark.parametrize("change", CHANGES)
def test_a_hostile_prior_is_refused(bundle, change):
    tensors, metadata = contents(bundle / FILE)
    change(tensors)
    (bundle / FILE).write_bytes(safetensors.torch.save(tensors, metadata))
    reseal(bundle)
    assert FILE in contracts.refusal(seqae.load, bundle)


@pytest.mark.parametrize(
    "described",
    [
        "",
        "[]",
        "[" * 10**5,
        '{"prior": {}}',
        '{"prior": {"class_path": "GaussianPrior"}, "found": {}}',
        '{"prior": {"class_path": "os.system"}, "found": {}}',
        '{"prior": {"class_path": "MixturePrior", "init_args": {"noise": -1}}, "found": {}}',
        '{"prior": {"class_path": "MixturePrior"}, "found": []}',
        '{"prior": {"class_path": "MixturePrior"}, "found": {"more": 1}}',
    ],
)
def test_a_hostile_header_is_refused(bundle, described):
    tensors, _ = contents(bundle / FILE)
    (bundle / FILE).write_bytes(safetensors.torch.save(tensors, {"seqae": described}))
    reseal(bundle)
    assert FILE in contracts.refusal(seqae.load, bundle)


def contents(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    with safetensors.safe_open(path, "pt") as file:
        return {name: file.get_tensor(name).clone() for name in file.keys()}, file.metadata()  # noqa: SIM118


@pytest.mark.parametrize("data", [b"", b"\x80\x04", b"\0" * 8, b"PK\x03\x04" * 9])
def test_what_is_no_safetensors_is_refused(bundle, data):
    (bundle / FILE).write_bytes(data)
    reseal(bundle)
    assert FILE in contracts.refusal(seqae.load, bundle)


def test_a_prior_of_a_huge_latent_is_refused_before_its_size_is_believed(tmp_path, priors):
    (tmp_path / FILE).write_bytes(prior_to_bytes(priors["mixture"]))
    assert "at most 2,048 dimensions" in contracts.refusal(read_priors, tmp_path, 2**16)
