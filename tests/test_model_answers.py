"""Each call of the server gives what the same call in Python gives."""

from __future__ import annotations

import numpy as np
import pytest

import seqae
from seqae.bundle.operations.latent_ops import at_unit_scale, implied_noise
from seqae.bundle.text_autoencoder import TextAutoencoder
from seqae.tasks.serve.model_answers import ModelAnswers
from seqae.tasks.serve.served_map import served_map
from seqae.tasks.serve.token_probabilities import spelled

TEXTS = ["the cat sat on the mat", "we went home by train", "a house by the river", "he is here"]


@pytest.fixture(scope="module")
def model() -> TextAutoencoder:
    return seqae.load("demo")


@pytest.fixture(scope="module")
def answers(model: TextAutoencoder) -> ModelAnswers:
    return ModelAnswers("demo", model, served_map(model, TEXTS, "pca", 100, 0))


def test_a_reconstruction_with_all_that_belongs_to_it(
    model: TextAutoencoder, answers: ModelAnswers
) -> None:
    texts = [TEXTS[1], "", "my old dog's name is unpronounceable zzyzx"]
    for own, text, written in zip(
        answers.reconstruct(texts), texts, model.reconstruct(texts), strict=True
    ):
        assert own["text"] == written == "".join(token["token"] for token in own["tokens"])
        assert all(0 <= token["probability"] <= 1 for token in own["tokens"])
        kept = [piece["text"] for piece in own["pieces"] if piece["kind"] != "added"]
        assert "".join(kept) == text
        assert (own["error"] == 0) == (text == written)
    near = answers.reconstruct([TEXTS[1]])[0]["neighbours"]
    assert near[0]["index"] == 1
    assert near[0]["similarity"] == pytest.approx(1, abs=1e-4)


def test_the_place_of_a_text_decodes_to_what_comes_back_of_it(answers: ModelAnswers) -> None:
    for text in TEXTS:
        own = answers.reconstruct([text])[0]
        decoded = answers.decode_point(*own["latent_xy"])
        assert decoded["text"] == own["text"]
        assert decoded["distance"] < 1e-3
        assert decoded["latent_xy"] == pytest.approx(own["latent_xy"], abs=1e-4)


def test_a_path_a_sum_and_samples_are_those_of_python(
    model: TextAutoencoder, answers: ModelAnswers
) -> None:
    path = answers.interpolate(TEXTS[0], TEXTS[1], 4)
    assert path["texts"] == model.interpolate(TEXTS[0], TEXTS[1], 4)
    assert path["positions"] == pytest.approx([0, 1 / 3, 2 / 3, 1], abs=1e-4)
    x, y = path["latent_xy"][-1]
    assert answers.interpolate(TEXTS[0], {"x": x, "y": y}, 2)["texts"][1] == path["texts"][-1]
    total = answers.arithmetic(["he is here", "she is"], ["he is"])
    assert total["text"] == model.arithmetic("he is here", "he is", "she is")
    drawn = answers.sample(3, seed=7, temperature=0.8)
    assert [own["text"] for own in drawn] == model.sample(3, seed=7, temperature=0.8)
    assert {own["nearest"] for own in drawn} <= set(TEXTS)


def test_a_summary_names_its_evidence(model: TextAutoencoder, answers: ModelAnswers) -> None:
    text = "It rained all day. The streets were wet. Nobody went out."
    found = answers.summarize(text, "medoid", 2)
    made = model.summarize(text, "medoid", sentences=2)
    assert found["sentences"] == [sentence.text for sentence in made.sentences]
    for sentence, evidence in zip(found["sentences"], found["evidence"], strict=True):
        assert [found["document"][row] for row in evidence] == [sentence]
    assert set(answers.described(0)["methods"]) >= {"centroid", "lead", "mean"}
    assert "supervised" not in answers.described(0)["methods"]
    with pytest.raises(ValueError, match="`noise` must be 0"):
        answers.decode_point(0, 0, noise=1.0)


def test_tokens_within_a_character_are_spelled_at_its_end(model: TextAutoencoder) -> None:
    for text in ("déjà vu 😀!", "你好", "a  b", ""):
        (row,) = model.tokenizer.encode([text])
        assert (
            "".join(spelled(model.tokenizer, row[1:-1])) == model.tokenizer.decode([row[1:-1]])[0]
        )


def test_a_place_takes_the_noise_of_its_distance(
    model: TextAutoencoder, answers: ModelAnswers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if this model were told σ: what its decoder would be given."""
    given = []
    monkeypatch.setattr(type(model.autoencoder), "latent_noise", object(), raising=False)
    monkeypatch.delitem(model.autoencoder.__dict__, "latent_noise", raising=False)
    monkeypatch.setattr(
        model, "decode_ids", lambda rows, **how: given.append(how["default_noise"]) or [[]]
    )
    far = answers.map.latents_at([{"x": 1e3, "y": 1e3}])
    source = answers.map.latents[answers.map.nearest(far)[1][0, 0]]
    decoded = answers.decode_point(1e3, 1e3)
    assert decoded["noise"] == pytest.approx(
        float(implied_noise(at_unit_scale(far), [source])[0]), rel=1e-4
    )
    x, y = answers.map.plane.points[0]
    answers.decode_point(float(x), float(y))
    np.testing.assert_allclose(given[0], decoded["noise"], rtol=1e-4)
    assert given[1] < 1e-2
