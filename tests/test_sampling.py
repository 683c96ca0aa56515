"""`seqae sample` and `seqae prior`."""

from __future__ import annotations

import shutil
from pathlib import Path

from small import SENTENCES, read_rows, run_seqae, write_text
from test_latent_space_tasks import Out, printed, refused

import seqae
from seqae.bundle.stored_priors import prior_file
from seqae.bundle.text_autoencoder import TextAutoencoder
from seqae.data.tokenizers import ByteTokenizer
from seqae.model.autoencoder import SequenceAutoencoder
from seqae.model.decoders import GRUDecoder
from seqae.model.encoders import GRUEncoder
from seqae.model.latents import DeterministicLatent
from seqae.model.latents.latent_noise import LatentNoise
from seqae.terminal import visible


def test_sample(overfit_run: Path, tmp_path: Path, capsys: Out) -> None:
    """From the priors that training put into the bundle."""
    assert (overfit_run / "bundle" / prior_file("gaussian")).is_file()
    for prior in ([], ["--prior", "mixture"], ["--prior", "prior"]):
        assert run_seqae("sample", overfit_run, "--count", 3, *prior) == 0
        said = capsys.readouterr()
        assert len(said.out.splitlines()) == 3
        # A model that is trained to copy has a way out, in one line.
        assert ("`seqae fit -c fluent`" in said.err) == (prior != ["--prior", "prior"])
        assert said.err.count("\n") <= 1
    output = tmp_path / "new.jsonl"
    assert run_seqae("sample", overfit_run, "--count", 4, "--seed", 2, "--output", output) == 0
    texts = seqae.load(overfit_run).sample(4, "gaussian", seed=2)
    assert read_rows(output) == [{"text": text} for text in texts]


def test_prior(overfit_run: Path, tmp_path: Path, capsys: Out) -> None:
    folder = Path(shutil.copytree(overfit_run / "bundle", tmp_path / "bundle"))
    for kind in ("gaussian", "mixture"):
        assert run_seqae("prior", folder, "--kind", kind, "--remove") == 0
        assert not (folder / prior_file(kind)).exists()
    assert "removed mixture" in printed(capsys)[1]
    assert refused(capsys, "prior", folder, "--kind", "mixture", "--remove").startswith("`kind`")
    assert refused(capsys, "prior", folder, "--remove").startswith("`kind` must be given")
    line = refused(capsys, "sample", folder, "--prior", "gaussian")
    assert line.startswith("`prior` must be one that the bundle has, prior, but it is gaussian")
    text = write_text(tmp_path / "text.txt", SENTENCES)
    assert run_seqae("prior", folder, "--input", text, "--kind", "mixture") == 0
    assert "fitted mixture to 32 latents" in printed(capsys)[0]
    assert list(seqae.load(folder).priors) == ["mixture"]
    assert run_seqae("density", folder, "--input", text) == 0  # its older name
    assert "fitted gaussian and mixture to 32 latents" in printed(capsys)[0]
    assert len(seqae.load(folder).sample(2)) == 2
    assert run_seqae("check", folder) == 0


def test_the_older_name_of_an_option_is_known(capsys: Out) -> None:
    line = refused(capsys, "sample", "demo", "--source", "mixture", status=2)
    assert line == "`source` is not known. It is called `prior` now: write `--prior`."


def test_choices_are_in_the_help(capsys: Out) -> None:
    assert run_seqae("sample", "--help", "all") == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "--prior {prior,gaussian,mixture,neighbourhood,flow,codes}" in said


def test_options_that_a_prior_does_not_know_are_refused(overfit_run: Path, capsys: Out) -> None:
    for option, value in (("length", 5), ("label", "news"), ("guidance", 2)):
        line = refused(capsys, "sample", overfit_run, "--prior", "mixture", f"--{option}", value)
        assert line.startswith(f"`{option}` must be left out for the prior mixture")


def test_a_model_that_is_told_samples_from_its_neighbourhood(tmp_path: Path, capsys: Out) -> None:
    latent, noise = DeterministicLatent(8, "layer"), LatentNoise()
    told = SequenceAutoencoder(GRUEncoder(8), latent, GRUDecoder(8), 6, latent_noise=noise)
    tokenizer = ByteTokenizer()
    told.build(tokenizer.vocabulary, 12)
    model = TextAutoencoder(told.eval(), tokenizer)
    model.save(tmp_path / "bundle")
    text = write_text(tmp_path / "text.txt", ["a cat", "a dog", "the mat", "the end"])
    assert run_seqae("prior", tmp_path / "bundle", "--input", text) == 0
    assert "fitted gaussian and neighbourhood to 4 latents" in printed(capsys)[0]
    assert run_seqae("sample", tmp_path / "bundle", "--count", 3, "--seed", 5) == 0
    said = capsys.readouterr()
    assert said.err == ""
    loaded = seqae.load(tmp_path / "bundle")
    latents, noise_of = loaded.draw(3, "neighbourhood", 5)
    assert loaded.decode(latents, seed=5, noise=2.5) == loaded.sample(3, seed=5)
    assert noise_of is not None
    assert noise_of.tolist() == [2.5] * 3
    assert said.out.splitlines() == [visible(text) for text in loaded.sample(3, seed=5)]
    # Training sentences can be decoded from what it keeps: the card says how to leave that out.
    assert "`seqae prior FOLDER --kind neighbourhood --remove`" in (
        tmp_path / "bundle" / "README.md"
    ).read_text(encoding="utf-8")
    assert run_seqae("check", tmp_path / "bundle") == 0
