"""Samples: what they are drawn from, and their metrics between those of the baselines."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from small import SENTENCES

import seqae
from seqae.bundle.text_autoencoder import TextAutoencoder
from seqae.data.builtin import load_builtin
from seqae.data.tokenizers import ByteTokenizer
from seqae.generation import Decoding
from seqae.metrics.judge.ngram_judge import NgramJudge
from seqae.model.autoencoder import SequenceAutoencoder
from seqae.model.decoders import GRUDecoder
from seqae.model.encoders import GRUEncoder
from seqae.model.latents import Latent
from seqae.model.latents.gaussian import GaussianLatent
from seqae.tasks.evaluate.samples import draw_samples, generation, with_prior


def untrained(latent: Latent) -> TextAutoencoder:
    tokenizer = ByteTokenizer()
    tokenizer.train(SENTENCES)
    model = SequenceAutoencoder(GRUEncoder(8), latent, GRUDecoder(8), embedding_dim=8)
    model.build(tokenizer.vocabulary, 64).eval()
    return TextAutoencoder(model, tokenizer)


@pytest.mark.parametrize("is_kept", [True, False])
def test_latents_without_prior_follow_those_of_training(overfit_run: Path, is_kept: bool) -> None:
    model = seqae.load(overfit_run)
    model.priors = model.priors if is_kept else {}
    own = model.encode(SENTENCES)
    drawn = with_prior(model, SENTENCES, 0).sample_latents(4000, seed=1)
    assert drawn.dtype == np.float32
    np.testing.assert_allclose(drawn.mean(axis=0), own.mean(axis=0), atol=0.1)
    # The fit shrinks the covariance towards a ball, which leaves its trace.
    assert np.cov(drawn.T).trace() == pytest.approx(np.cov(own.T).trace(), rel=0.05)


def test_latents_with_a_prior_are_drawn_from_it() -> None:
    model = untrained(GaussianLatent(3))
    assert with_prior(model, SENTENCES, 0) is model
    assert np.cov(model.sample_latents(4000, seed=1).T) == pytest.approx(np.eye(3), abs=0.1)


def test_samples_are_those_of_sample(overfit_run: Path) -> None:
    model, nucleus = seqae.load(overfit_run), Decoding(temperature=0.7, top_p=0.9)
    drawn = draw_samples(model, SENTENCES, 6, 1, "mixture", nucleus)
    assert drawn == (model.sample(6, "mixture", nucleus, seed=1), "mixture")
    assert draw_samples(model, SENTENCES, 6, 1) == (model.sample(6, seed=1), "gaussian")


def test_columns_of_generation_are_of_one_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """Diversity falls with the number of texts, and perplexity with what was read."""
    sizes: dict[str, list[int]] = {"read": [], "shown": []}

    class Judge(NgramJudge):
        def __init__(self, texts: list[str]) -> None:
            sizes["read"].append(len(texts))
            super().__init__(texts)

    def self_bleu(texts: list[str]) -> float:
        sizes["shown"].append(len(texts))
        return 0.0

    monkeypatch.setattr("seqae.tasks.evaluate.samples.NgramJudge", Judge)
    monkeypatch.setattr("seqae.tasks.evaluate.samples.self_bleu", self_bleu)
    texts, judge = list(SENTENCES), NgramJudge(SENTENCES)
    for samples, unseen, count in ((texts[:5], texts, 5), (texts, texts[:7], 7)):
        for found in sizes.values():
            found.clear()
        scores = generation(samples, unseen, texts, judge, seed=0)
        assert list(scores) == ["model", "real text", "n-gram sampler", "words shuffled"]
        assert sizes == {"read": [len(samples)] * 4, "shown": [count] * 4}


def test_samples_are_placed_between_the_baselines() -> None:
    """Training text is fluent and copied; what its words make in random order is not."""
    train = load_builtin("wordnet-examples", "train")[:6000]
    unseen = load_builtin("wordnet-examples", "test")[:400]
    scores = generation(train[:2000], unseen, train, NgramJudge(train), seed=0)
    own, real, sampler, shuffled = scores.values()
    assert own["copies"] == own["memorised"] == 1.0
    assert own["unknown_words"] == 0.0
    assert own["judge_perplexity"] < real["judge_perplexity"] < shuffled["judge_perplexity"] / 2
    assert own["reverse_judge_perplexity"] < shuffled["reverse_judge_perplexity"] / 1.1
    assert real["copies"] == 0.0
    assert 0 < real["memorised"] < 0.1 < 0.9 < own["memorised"]
    assert sampler["self_bleu"] > real["self_bleu"]
    assert real["distinct_1"] == shuffled["distinct_1"]
