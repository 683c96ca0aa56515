"""Bundles of earlier versions still load, give what they gave then, and can be upgraded."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from small import SENTENCES, run_seqae

import seqae
from seqae.bundle.bundle_check import check_bundle
from seqae.bundle.manifest import CARD, DENSITY, read_manifest
from seqae.bundle.reading import CONFIG_KEYS

FIXTURES = Path(__file__).parent / "fixtures"
FORMAT_1 = FIXTURES / "bundle_format_1"

# A bundle of each form that there was, written by the version that had it, beside the latents that
# it gave then: without the hash of the tokenizer; without normalization; with it, and a `normalize`
# of latents that was true or false; with a card that the manifest does not list, and a density;
# with priors.
EARLIER = sorted((FIXTURES / "earlier_bundles").iterdir())


def test_reconstructs_as_it_did() -> None:
    """The small recipe, trained until it copied all of its 32 sentences."""
    assert seqae.load(FORMAT_1).reconstruct(SENTENCES) == list(SENTENCES)


def test_latents_of_format_1() -> None:
    latent = seqae.load(FORMAT_1).encode(["the cat sees the mat"])[0]
    assert latent[:4] == pytest.approx([0.157849, -0.572674, -0.062240, -1.223621], rel=1e-4)
    assert np.linalg.norm(latent) == pytest.approx(4.846057, rel=1e-4)


def test_density_of_format_1() -> None:
    samples = seqae.load(FORMAT_1).sample(3, seed=1)
    assert samples == ["a dog likes the red ball", "the cat finds the", "the cat finds the"]


@pytest.mark.parametrize("form", EARLIER, ids=lambda form: form.name)
def test_each_form_loads_and_can_be_upgraded(form: Path, tmp_path: Path) -> None:
    model = check_bundle(form / "bundle").model  # its self-test is repeated
    assert model is not None
    golden = json.loads((form / "golden.json").read_text())["latents"]
    texts = [row["text"] for row in model.details["selftest"]]
    np.testing.assert_allclose(model.encode(texts), golden, rtol=1e-5, atol=1e-6)
    assert run_seqae("upgrade", form / "bundle", "--output", tmp_path / "new") == 0
    upgraded = check_bundle(tmp_path / "new")
    assert {row.check for row in upgraded.warnings} <= {"versions"}  # a card of today
    assert sorted(json.loads((tmp_path / "new" / "config.json").read_text())) == sorted(CONFIG_KEYS)
    listed = read_manifest(tmp_path / "new")
    assert DENSITY not in listed
    assert CARD not in (tmp_path / "new" / "MANIFEST.sha256").read_text()
    assert upgraded.model is not None
    assert [*upgraded.model.priors] == [*model.priors]
    assert np.array_equal(upgraded.model.encode(texts), model.encode(texts))
    for name in ("metrics", "training", "selftest", "environment"):
        before, after = (folder / f"{name}.json" for folder in (form / "bundle", tmp_path / "new"))
        assert before.read_bytes() == after.read_bytes()


def test_an_upgrade_in_place_keeps_a_card_that_may_have_been_edited(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = Path(shutil.copytree(FORMAT_1, tmp_path / "bundle"))
    card = (bundle / CARD).read_text()
    expected = seqae.load(bundle).sample(3, seed=1)
    assert run_seqae("upgrade", bundle) == 0
    assert (bundle / CARD).read_text() == card
    assert "--replace_card" in capsys.readouterr().out
    assert sorted(seqae.load(bundle).priors) == ["gaussian", "mixture"]
    assert seqae.load(bundle).sample(3, seed=1) == expected
    assert run_seqae("upgrade", bundle, "--replace_card") == 0
    assert not [row for row in check_bundle(bundle).warnings if row.check == "card"]
    (bundle / "notes.txt").write_text("mine")
    assert run_seqae("upgrade", bundle) == 1
    assert "has notes.txt, too" in capsys.readouterr().err
    assert (bundle / "notes.txt").read_text() == "mine"
    assert run_seqae("upgrade", "demo") == 1
    assert capsys.readouterr().err.startswith("seqae: error: `output` must be given")
