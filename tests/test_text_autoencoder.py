"""TextAutoencoder takes what people have: any list, any latents, and the options by keyword."""

from __future__ import annotations

from pathlib import Path
from typing import get_type_hints

import contracts
import datasets
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch

import seqae
from seqae.bundle.operations.latent_ops import between, nearest
from seqae.bundle.prior_draws import fit_priors
from seqae.bundle.text_autoencoder import TextAutoencoder
from seqae.data.tokenizers import ByteTokenizer
from seqae.generation import Decoding, DecodingKeywords
from seqae.model.autoencoder import SequenceAutoencoder
from seqae.model.decoders import GRUDecoder
from seqae.model.encoders import GRUEncoder
from seqae.model.latents import DeterministicLatent
from seqae.priors import GaussianPrior

TEXTS = ["a cat", "the cat sat on", "x", "naïve café"]


@pytest.fixture(scope="module")
def model() -> TextAutoencoder:
    torch.manual_seed(0)
    parts = GRUEncoder(6), DeterministicLatent(5), GRUDecoder(7)
    tokenizer = ByteTokenizer()
    autoencoder = SequenceAutoencoder(*parts, embedding_dim=6).build(tokenizer.vocabulary, 26)
    return TextAutoencoder(autoencoder.eval(), tokenizer)


# Texts


@pytest.mark.parametrize(
    "texts",
    [
        tuple(TEXTS),
        iter(TEXTS),
        pd.Series(TEXTS, index=[7, 7, 1, 0]),
        np.array(TEXTS),
        np.array(TEXTS, dtype=object),
        pa.chunked_array([TEXTS[:1], TEXTS[1:]]),
        datasets.Dataset.from_dict({"text": TEXTS})["text"],
    ],
    ids=lambda texts: type(texts).__name__,
)
def test_texts_of_any_container(model: TextAutoencoder, texts: object) -> None:
    assert np.array_equal(model.encode(texts), model.encode(TEXTS))


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        (pd.DataFrame({"text": TEXTS}), "it is a DataFrame instead. Choose one of its columns"),
        ({"text": TEXTS}, "it is a dict instead. Choose one of its columns"),
        (datasets.Dataset.from_dict({"text": TEXTS}), "it is a Dataset instead"),
        ({"a", "b"}, "it is a set instead. Sort it."),
        (b"a cat", "it is a bytes instead"),
        (5, "it is an int instead"),
        (None, "it is None instead. Look where"),
        (["a", None], "the item at index 1 is missing (None). Drop it"),
        (pd.Series(["a", float("nan")]), "the item at index 1 is missing"),
        ([["a", "b"]], "the item at index 0 is a list"),
        (["\ud800"], "lone surrogate"),
    ],
)
def test_what_holds_no_texts_is_refused(model: TextAutoencoder, texts: object, words: str) -> None:
    message = contracts.refusal(model.encode, texts)
    assert message.startswith("`texts` must be")
    assert words in message


def test_one_text_gives_one_of_each(model: TextAutoencoder) -> None:
    latent = model.encode("a cat")
    assert latent.shape == (5,)
    assert np.array_equal(latent, model.encode(["a cat"])[0])
    written = model.reconstruct("a cat", max_length_ratio=0)  # the model is untrained
    assert model.decode(latent) == model.decode(latent[None])[0] == written
    assert model.lengths("a cat") == 7
    assert model.candidates(latent, num_beams=2) == model.candidates(latent[None], num_beams=2)[0]
    assert model.neighbours("x", TEXTS, 2) == model.neighbours(["x"], TEXTS, 2)[0]
    assert model.transfer("x", np.zeros(5)) == model.transfer(["x"], np.zeros(5))[0]


def test_what_is_cut_is_what_would_have_run_on(model: TextAutoencoder) -> None:
    texts = ["x", "the cat sat on"]  # 3 and 16 tokens; the model is untrained, and ends at 26
    found = model.reconstruct_counting(texts)
    assert [len(row) for (row,) in found.stretches] == [15, 25]
    assert found.num_cut == 1
    forced = Decoding(num_beams=2, forced_words=["cat"])
    assert model.length_limits([3, 16], forced) is None
    assert model.reconstruct_counting(texts, options=forced).num_cut == 0


# Latents


def test_latents_of_any_kind(model: TextAutoencoder) -> None:
    latents = np.float32([[1, 0, -2, 0.5, 3], [0, 1, 1, -4, 0.25]])  # exact in every type
    expected = model.decode(latents)
    tensor = torch.from_numpy(latents)
    for given in (
        latents.tolist(),
        latents.astype(np.float64),
        latents.astype(np.float16),
        *(tensor.to(dtype) for dtype in (torch.float64, torch.float16, torch.bfloat16)),
        tensor.clone().requires_grad_(),
        tensor.to_sparse(),
        [tensor[0], latents[1]],
        (tensor[0].clone().requires_grad_(), tensor[1]),
    ):
        assert model.decode(given) == expected
    assert model.decode([]) == model.decode(np.zeros((0, 5))) == []
    assert model.decode(tensor[0].bfloat16()) == expected[0]


@pytest.mark.parametrize("dtype", [torch.complex64, torch.bool])
def test_tensors_that_are_no_real_numbers_are_refused(
    model: TextAutoencoder, dtype: torch.dtype
) -> None:
    with pytest.raises(ValueError, match=r"`latents` must be real numbers, but it is of type"):
        model.decode(torch.zeros(2, model.latent_dim, dtype=dtype))


@pytest.mark.parametrize(
    "latents", [pd.DataFrame(np.zeros((2, 5))), {"latent": [0.0] * 5}, [[0.0] * 5, [0.0]]]
)
def test_what_holds_no_latents_is_refused(model: TextAutoencoder, latents: object) -> None:
    assert contracts.refusal(model.decode, latents).startswith("`latents` must be an array, but")


def test_operations_take_tensors(model: TextAutoencoder) -> None:
    a, b = torch.tensor([1.0, 0.0], requires_grad=True), torch.tensor([0.0, 1.0])
    assert np.array_equal(between(a, b, np.int64(3)), between([1, 0], [0, 1], 3))
    assert "(1, 2)" in contracts.refusal(between, a[None], b, 3)
    values, indices = nearest(b[None], torch.stack([a, b]), 1)
    assert (values.item(), indices.item()) == (1.0, 1)
    attribute = torch.ones(5, dtype=torch.bfloat16, requires_grad=True)
    assert model.transfer("x", attribute) == model.transfer("x", np.ones(5))


# Options


def test_options_by_keyword(model: TextAutoencoder) -> None:
    latents = model.encode(TEXTS)
    options = Decoding(temperature=0.8, top_k=5)
    expected = model.decode(latents, options, 3)
    assert model.decode(latents, temperature=0.8, top_k=5, seed=3) == expected
    assert model.decode(latents, Decoding(temperature=0.8), 3, top_k=5) == expected
    assert model.reconstruct(TEXTS, max_length=5) == model.decode(latents, max_length=5)
    assert model.sample(2, "prior", seed=1, temperature=2.0) == model.sample(
        2, "prior", Decoding(temperature=2.0), 1
    )
    assert "it is None instead. Look" in contracts.refusal(model.decode, None)
    for option in ("num_beams", "top_k", "banned_words", "temperature"):
        message = contracts.refusal(model.decode, latents, **{option: None})
        assert message.startswith(f"`{option}` must be")
        assert "None instead" in message
    message = contracts.refusal(model.decode, latents, top_k=5)
    assert message.startswith("`temperature` must be above 0 for `top_k`")
    message = contracts.refusal(model.reconstruct, "x", temperature=1.0, num_return_sequences=3)
    assert message.endswith(
        "Leave it out, or give the latents to `candidates`, which returns several."
    )
    for call in (model.decode, model.reconstruct, model.candidates):
        with pytest.raises(TypeError, match=r"^`temprature` is not known. Did you mean `temper"):
            call(latents, temprature=0.8)  # type: ignore[operator]
    with pytest.raises(TypeError, match=r"^`xyz` is not known. The options are num_beams, "):
        model.sample(1, "prior", xyz=1)  # type: ignore[call-arg]


def test_every_option_has_a_keyword() -> None:
    assert list(get_type_hints(DecodingKeywords)) == list(get_type_hints(Decoding))


def test_whole_numbers_of_any_library(model: TextAutoencoder) -> None:
    seed, count = np.uint8(3), torch.tensor(2)
    expected = model.sample_latents(2, "prior", 3)
    assert np.array_equal(model.sample_latents(count, "prior", seed), expected)
    assert model.decode(expected, num_beams=np.int64(2), seed=seed) == model.decode(
        expected, num_beams=2, seed=3
    )
    assert len(model.interpolate("a", "b", np.int32(4))) == 4
    assert len(model.neighbours("a", TEXTS, np.int64(2))) == 2
    assert Decoding(top_k=np.int64(2), temperature=np.float32(0.5)).top_k == 2
    for wrong in (2.5, "2", None):
        message = contracts.refusal(model.sample_latents, wrong, "prior")
        assert message.startswith("`count` must be a whole number, but it is")
    assert GRUEncoder(np.int64(4)).config() == GRUEncoder(4).config()


def test_words_are_a_list() -> None:
    message = contracts.refusal(Decoding, banned_words="cat")
    assert (
        message
        == "`banned_words` must be a list of words, but it is 'cat' instead. Put it in a list."
    )


# What sentence-transformers has, too


@pytest.mark.parametrize("batch_size", [1, np.int64(3), 100])
def test_the_batch_size_changes_nothing_else(model: TextAutoencoder, batch_size: int) -> None:
    latents = model.encode(TEXTS)
    given = model.encode(TEXTS, batch_size=batch_size, show_progress_bar=True)
    np.testing.assert_allclose(given, latents, atol=1e-6)
    decoded = model.decode(latents, batch_size=batch_size, show_progress_bar=True)
    assert decoded == model.decode(latents)
    assert contracts.refusal(model.encode, TEXTS, batch_size=0).startswith("`batch_size` must be")


def test_batches_are_of_that_size(model: TextAutoencoder, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes, encode = [], model.autoencoder.encode
    monkeypatch.setattr(
        model.autoencoder, "encode", lambda batch: (sizes.append(len(batch)), encode(batch))[1]
    )
    model.encode(TEXTS, batch_size=3)
    assert sizes == [3, 1]


def test_normalized(model: TextAutoencoder) -> None:
    latents, unit = model.encode(TEXTS), model.encode(TEXTS, normalize=True)
    np.testing.assert_allclose(np.linalg.norm(unit, axis=1), 1.0, atol=1e-6)
    a, b = latents[:2]
    cosine = a @ b / np.sqrt((a @ a) * (b @ b))
    assert unit[0] @ unit[1] == pytest.approx(cosine, abs=1e-5)


def test_as_a_tensor(model: TextAutoencoder) -> None:
    tensor = model.encode(TEXTS, convert_to_tensor=True)
    assert tensor.device == model.device
    assert not tensor.is_inference()
    assert np.array_equal(tensor.numpy(), model.encode(TEXTS))
    assert model.encode("x", convert_to_tensor=True).shape == (5,)


def test_it_says_what_it_is(model: TextAutoencoder) -> None:
    assert repr(model) == (
        "TextAutoencoder(GRUEncoder · DeterministicLatent · GRUDecoder, latent_dim=5, "
        "max_length=26, ByteTokenizer of 260 tokens, 47,452 weights, device=cpu)"
    )


def test_it_moves(model: TextAutoencoder) -> None:
    assert model.to("cpu") is model
    assert "`device` must be one that this machine has" in contracts.refusal(model.to, "meta")
    assert model.device == torch.device("cpu")


# Save


def test_save_and_load(model: TextAutoencoder, tmp_path: Path) -> None:
    priors = fit_priors([GaussianPrior()], model.encode(TEXTS * 5))
    with_prior = TextAutoencoder(model.autoencoder, model.tokenizer, priors=priors)
    folder = with_prior.save(tmp_path / "new" / "bundle")
    loaded = TextAutoencoder.from_pretrained(folder)
    assert np.array_equal(loaded.encode(TEXTS), model.encode(TEXTS))
    assert loaded.sample(2, "gaussian") == with_prior.sample(2, "gaussian")
    model.save(folder)  # a bundle is replaced, its priors too
    assert seqae.load(folder).priors == {}
    assert {path.name for path in folder.parent.iterdir()} == {"bundle"}


def test_only_a_bundle_is_replaced(model: TextAutoencoder, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    message = contracts.refusal(model.save, tmp_path)
    assert message.startswith("`folder` must be new, empty or a bundle, but")
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]
    bundle = model.save(tmp_path / "bundle")
    (bundle / "notes.txt").write_text("mine")
    assert "notes.txt" in contracts.refusal(model.save, bundle)
    assert "`folder` must be" in contracts.refusal(model.save, bundle / "notes.txt")


def test_half_precision_is_not_saved(model: TextAutoencoder, tmp_path: Path) -> None:
    parts = GRUEncoder(6), DeterministicLatent(5), GRUDecoder(7)
    half = SequenceAutoencoder(*parts, embedding_dim=6).build(model.tokenizer.vocabulary, 26).half()
    message = contracts.refusal(TextAutoencoder(half, model.tokenizer).save, tmp_path / "bundle")
    assert "must be float32 to be saved, but it is torch.float16" in message
    assert not list(tmp_path.iterdir())
