"""Supervised summaries: what a model with a pointer writes, its evidence, and its budget."""

from __future__ import annotations

from types import SimpleNamespace

import contracts
import numpy as np
import pytest
import torch
from small import read_rows, run_seqae, write_text

import seqae
from seqae.bundle.operations.sentence_space import LatentSpace
from seqae.bundle.text_autoencoder import TextAutoencoder
from seqae.data.tokenizers import BPETokenizer
from seqae.generation import Decoding
from seqae.model.autoencoder import SequenceAutoencoder
from seqae.model.decoders import AttentionGRUDecoder, GRUDecoder
from seqae.model.encoders import GRUEncoder
from seqae.model.latents import DeterministicLatent
from seqae.model.memory.copying import Copying
from seqae.summarizers import Document, SupervisedSummarizer
from seqae.tasks.evaluate.run import Evaluation

TEXT = "The cat sat on the mat. A dog barked at Zsófia! Nobody knew why."
SENTENCES = ["The cat sat on the mat.", "A dog barked at Zsófia!", "Nobody knew why."]


def make_model(decoder=None, copying: Copying | None = None, max_length: int = 64):
    tokenizer = BPETokenizer(300)
    tokenizer.train([TEXT])
    parts = GRUEncoder(8, pooling="mean_max"), DeterministicLatent(8)
    decoder = decoder or AttentionGRUDecoder(8)
    model = SequenceAutoencoder(*parts, decoder, 8, copying=copying)
    return TextAutoencoder(model.build(tokenizer.vocabulary, max_length), tokenizer)


def copier(place: int, max_length: int = 64) -> TextAutoencoder:
    """A model that copies the token at one place of the text, again and again."""
    model = make_model(copying=Copying(8), max_length=max_length)
    copying = model.autoencoder.copying
    torch.nn.init.constant_(copying.gate.bias, 100.0)

    def point(features, key, token_ids):
        places = torch.zeros(*features.shape[:2], token_ids.shape[1])
        places[..., place] = 1.0
        return torch.full(features.shape[:2], 100.0), places

    copying.point = point
    return model


def test_sentences_become_the_tokens_of_their_text():
    model = make_model(copying=Copying(8))
    forms = LatentSpace(model)._tokenize_words(SENTENCES)
    joined = [*forms[0][0], *forms[1][1], *forms[2][1]]
    assert joined == model.tokenizer.encode([TEXT])[0][1:-1]


@pytest.mark.parametrize("sentence", [0, 1, 2])
def test_the_evidence_is_where_it_was_copied_from(sentence):
    lengths = [
        len(row)
        for row in make_model().tokenizer.encode([SENTENCES[0], *[f" {s}" for s in SENTENCES[1:]]])
    ]
    place = 1 + sum(length - 2 for length in lengths[:sentence]) + 1  # the second token of it
    model = copier(place)
    written, points = LatentSpace(model).rewrite(SENTENCES, Decoding(max_length=6))
    assert points.tolist() == [5.0 * (index == sentence) for index in range(3)]
    token_id = model.tokenizer.encode([TEXT])[0][place]
    assert written == model.tokenizer.decode([[token_id] * 5])[0].strip()
    summarizer = SupervisedSummarizer(num_beams=1)
    (told,) = model.summarize(TEXT, summarizer, sentences=1).sentences
    assert told.evidence == (sentence,)


def test_a_budget_cuts_and_a_text_too_long_is_cut():
    model = copier(3, max_length=12)
    summary = model.summarize(
        TEXT, SupervisedSummarizer(num_beams=1, no_repeat_ngram_size=0), bytes=4
    )
    assert len(summary.text.encode()) <= 4
    assert str(model.summarize([""], "supervised")[0]) == ""


def test_what_the_budget_cuts_off_is_no_evidence():
    model = copier(1)
    row = model.tokenizer.encode([TEXT])[0]
    second = len(model.tokenizer.encode([SENTENCES[0]])[0])  # the first place of the sentence
    point = model.autoencoder.copying.point

    def first_and_then_second(features, key, token_ids):
        gate, places = point(features, key, token_ids)
        places[:, 1:] = places[:, 1:].roll(second - 1, dims=-1)
        return gate, places

    model.autoencoder.copying.point = first_and_then_second
    first = model.tokenizer.decode([row[1:2]])[0]
    space, decoding = LatentSpace(model), Decoding(max_length=6)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("seqae.bundle.operations.evidence.generate", lambda *_, **__: [[found]])
        found = SimpleNamespace(token_ids=[row[1], *row[second : second + 3 : 2]])
        text, points = space.rewrite(SENTENCES, decoding)
        assert points.tolist() == [1.0, 2.0, 0.0]
        assert text.startswith(first)
        text, points = space.rewrite(SENTENCES, decoding, 0, lambda text: text[: len(first)])
    assert (text, points.tolist()) == (first, [1.0, 0.0, 0.0])


def test_what_was_not_read_is_no_evidence():
    model = make_model(max_length=12)
    assert LatentSpace(model).rewrite(SENTENCES)[1].tolist() == [0.0]
    for sentence in model.summarize(TEXT, "supervised", sentences=1).sentences:
        assert sentence.evidence == (0,)


def test_less_than_half_a_token_is_no_evidence():
    model = copier(1)
    point = model.autoencoder.copying.point
    model.autoencoder.copying.point = lambda *a: (point(*a)[0] - 105.0, point(*a)[1])  # 0.7 %
    (told,) = model.summarize(TEXT, SupervisedSummarizer(1), sentences=1).sentences
    assert told.evidence == (0, 1, 2)


def test_the_commands_of_a_model_that_looks_back(tmp_path, capsys):
    folder = make_model(copying=Copying(8)).save(tmp_path / "bundle")
    model = seqae.load(folder)
    texts, told = write_text(tmp_path / "texts.txt", SENTENCES), tmp_path / "told.jsonl"
    assert run_seqae("reconstruct", folder, "--input", texts, "--output", told) == 0
    expected = model.reconstruct(SENTENCES)
    assert [row["reconstruction"] for row in read_rows(told)] == expected
    several = "--num_beams", 2, "--num_return_sequences", 2
    assert run_seqae("reconstruct", folder, "--input", texts, *several) == 1
    said = capsys.readouterr().err
    assert "`num_return_sequences` must be 1 for a model whose decoder looks back" in said
    assert run_seqae("prior", folder, "--input", texts) == 1
    assert "must decode latents alone to have a prior" in capsys.readouterr().err
    evaluation = Evaluation(model, SENTENCES, SENTENCES, SENTENCES, seed=0)
    evaluation.likelihood_and_latent(["latent"], 0)
    assert not {"duplicates", "detour"} & set(evaluation.scores["model"])
    assert "looks back at the text" in evaluation.notes["latent"]


def test_without_a_pointer_all_sentences_are_evidence():
    model = make_model()
    text, points = LatentSpace(model).rewrite(SENTENCES)
    assert points.tolist() == [0.0, 0.0, 0.0]
    assert text == model.reconstruct([TEXT])[0].strip()
    for sentence in model.summarize(TEXT, "supervised", sentences=1).sentences:
        assert sentence.evidence == (0, 1, 2)


@pytest.mark.parametrize("method", ["mean", "coop", "reconstruct", "shorten"])
def test_a_method_that_decodes_latents_alone_is_refused(method):
    message = contracts.refusal(make_model().summarize, TEXT, method)
    assert message.startswith("`method` must be another for a model whose decoder looks back")


def test_a_model_that_does_not_look_back_is_refused():
    model = make_model(decoder=GRUDecoder(8, position_dim=8))
    message = contracts.refusal(model.summarize, TEXT, "supervised")
    assert message.startswith("`method` must be another for a model whose decoder")
    document = Document.read("documents", TEXT)
    assert np.shape(LatentSpace(model).vectors(document)) == (3, 8)
