"""A density is fitted well, comes back from the bundle, and is refused where it was touched."""

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
from seqae.bundle.density import (
    DENSITY,
    MAX_COMPONENTS,
    Density,
    can_fit,
    density_to_bytes,
    fit_density,
    read_density,
)
from seqae.bundle.io import CARD, FILES, MANIFEST, add_density

PARTS = ("mean", "factor", "weights", "means", "scales")


def some_latents(count: int = 600, size: int = 5) -> Any:
    return np.random.default_rng(0).normal(size=(count, size)).astype(np.float32)


@pytest.fixture(scope="module")
def density() -> Density:
    return fit_density(some_latents())


@pytest.fixture
def bundle(density: Density, tmp_path: Path) -> Path:
    folder = save(tmp_path / "bundle", make())
    add_density(folder, density)
    return folder


# Fit


def test_the_mixture_finds_what_a_gaussian_cannot():
    """Two heaps far apart: a Gaussian draws between them, the mixture hardly ever does."""
    rng = np.random.default_rng(0)
    heaps = rng.normal(size=(2000, 3)) * 0.2
    heaps[:, 0] += np.where(np.arange(2000) % 2, 5.0, -5.0)
    density = fit_density(heaps.astype(np.float32))
    shares = {}
    for kind in ("gaussian", "mixture"):
        drawn = density.sample(4000, kind, torch.Generator().manual_seed(0))
        shares[kind] = float((np.abs(drawn[:, 0]) < 3.5).mean())
        np.testing.assert_allclose(drawn.mean(axis=0), heaps.mean(axis=0), atol=0.3)
    assert shares["gaussian"] > 0.3
    assert shares["mixture"] < 0.01


def test_fewer_latents_than_dimensions():
    density = fit_density(some_latents(7, 40))
    drawn = density.sample(500, "gaussian", torch.Generator().manual_seed(0))
    assert np.isfinite(drawn).all()
    assert np.linalg.matrix_rank(drawn.astype(np.float64)) == 40  # shrinkage has filled it up
    assert int((density.weights > 0).sum()) == 1


@pytest.mark.parametrize("latents", [np.zeros((9, 3), "f4"), np.ones((2, 4), "f4")])
def test_latents_that_are_all_the_same(latents):
    for kind in ("gaussian", "mixture"):
        drawn = fit_density(latents).sample(50, kind, torch.Generator().manual_seed(0))
        np.testing.assert_allclose(drawn, np.broadcast_to(latents[:1], drawn.shape), atol=0.01)


def test_what_no_density_is_kept_of():
    assert can_fit(some_latents(2))
    assert not can_fit(some_latents(1))
    assert not can_fit(np.zeros((3, 2**11 + 1), "f4"))


def test_the_same_latents_give_the_same_density(density):
    again = fit_density(some_latents())
    assert all(torch.equal(getattr(again, name), getattr(density, name)) for name in PARTS)


# In a bundle


def test_it_comes_back_to_the_bit(bundle, density):
    loaded = seqae.load(bundle)
    assert loaded.density is not None
    for name in PARTS:
        assert torch.equal(getattr(loaded.density, name), getattr(density, name))
    assert sorted(p.name for p in bundle.iterdir()) == sorted([*FILES, CARD, DENSITY, MANIFEST])
    assert loaded.encode(TEXTS).tolist() == make().encode(TEXTS).tolist()
    assert len(loaded.sample(3, "mixture")) == 3


def test_a_bundle_without_one_loads(tmp_path):
    loaded = seqae.load(save(tmp_path / "bundle", make()))
    assert loaded.density is None
    assert "`seqae density " in contracts.refusal(loaded.sample, 1)
    assert len(loaded.sample(1, "prior")) == 1


def test_a_better_model_takes_the_density_of_the_old_one_away(bundle):
    save(bundle, make())
    assert not (bundle / DENSITY).exists()
    assert seqae.load(bundle).density is None


def test_a_bundle_that_is_not_whole_gets_none(bundle, density):
    (bundle / "metrics.json").write_text("{}")
    assert "metrics.json" in contracts.refusal(add_density, bundle, density)


def test_what_else_lies_in_the_folder_stays(bundle, density):
    (bundle / ".git").mkdir()
    (bundle / ".git" / "HEAD").write_text("ref: refs/heads/main")
    (bundle / "LICENSE").write_text("free")
    add_density(bundle, density)
    assert (bundle / ".git" / "HEAD").read_text() == "ref: refs/heads/main"
    assert (bundle / "LICENSE").read_text() == "free"
    assert sorted(p.name for p in bundle.iterdir()) == sorted(
        [*FILES, CARD, DENSITY, MANIFEST, ".git", "LICENSE"]
    )


@pytest.mark.parametrize("had_one", [True, False])
def test_a_bundle_half_written_is_refused_and_mended(bundle, density, monkeypatch, had_one):
    if not had_one:
        save(bundle, make())
    replace = os.replace

    def killed(source: Path, target: Path) -> None:
        if target.name == MANIFEST:
            raise KeyboardInterrupt
        replace(source, target)

    other = fit_density(some_latents() + 1)
    monkeypatch.setattr(os, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        add_density(bundle, other)
    monkeypatch.undo()
    assert "`seqae density " in contracts.refusal(seqae.load, bundle)
    model = seqae.load(bundle, with_density=False)
    assert model.density is None
    assert model.encode(TEXTS).tolist() == make().encode(TEXTS).tolist()
    add_density(bundle, other)
    loaded = seqae.load(bundle)
    assert loaded.density is not None
    assert torch.equal(loaded.density.mean, other.mean)
    (bundle / "metrics.json").write_text("{}")
    contracts.refusal(seqae.load, bundle, with_density=False)


def test_a_strangers_link_is_not_written_through(bundle, density, tmp_path):
    mine = tmp_path / "mine"
    mine.write_text("mine")
    (bundle / f".{DENSITY}.unfinished").symlink_to(mine)
    add_density(bundle, density)
    assert mine.read_text() == "mine"
    assert not (bundle / f".{DENSITY}.unfinished").is_symlink()


def test_a_link_to_a_bundle_and_the_current_folder(bundle, density, tmp_path, monkeypatch):
    link = tmp_path / "link"
    link.symlink_to(bundle, target_is_directory=True)
    save(link, make())
    assert seqae.load(bundle).density is None
    add_density(link, density)
    assert link.is_symlink()
    assert seqae.load(bundle).density is not None
    monkeypatch.chdir(bundle)
    (bundle / DENSITY).unlink()
    add_density(Path(), density)
    assert seqae.load(bundle).density is not None
    assert sorted(os.listdir(tmp_path)) == ["bundle", "link"]


# Hostile


def reseal(folder: Path) -> None:
    names = [*FILES, *([DENSITY] if (folder / DENSITY).exists() else [])]
    lines = [f"{hashlib.sha256((folder / n).read_bytes()).hexdigest()}  {n}\n" for n in names]
    (folder / MANIFEST).write_text("".join(lines))


def test_a_density_that_the_manifest_does_not_know_is_refused(bundle):
    save(bundle.parent / "other", make())
    (bundle.parent / "other" / DENSITY).write_bytes((bundle / DENSITY).read_bytes())
    contracts.refusal(seqae.load, bundle.parent / "other")


def test_a_density_that_is_gone_or_changed_is_refused(bundle):
    data = (bundle / DENSITY).read_bytes()
    (bundle / DENSITY).write_bytes(data[:-1] + b"\x01")
    assert DENSITY in contracts.refusal(seqae.load, bundle)
    (bundle / DENSITY).unlink()
    contracts.refusal(seqae.load, bundle)
    (bundle / DENSITY).symlink_to(bundle / "README.md")
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
def test_a_hostile_density_is_refused(bundle, change):
    tensors = safetensors.torch.load_file(bundle / DENSITY)
    tensors = {name: tensor.clone() for name, tensor in tensors.items()}
    change(tensors)
    (bundle / DENSITY).write_bytes(safetensors.torch.save(tensors))
    reseal(bundle)
    assert DENSITY in contracts.refusal(seqae.load, bundle)


@pytest.mark.parametrize("data", [b"", b"\x80\x04", b"\0" * 8, b"PK\x03\x04" * 9])
def test_what_is_no_safetensors_is_refused(bundle, data):
    (bundle / DENSITY).write_bytes(data)
    reseal(bundle)
    assert DENSITY in contracts.refusal(seqae.load, bundle)


def test_a_density_of_a_huge_latent_is_refused_before_its_size_is_believed(tmp_path, density):
    path = tmp_path / DENSITY
    path.write_bytes(density_to_bytes(density))
    assert "at most 2,048 dimensions" in contracts.refusal(read_density, path, 2**16)
