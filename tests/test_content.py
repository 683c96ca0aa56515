"""Content: the part of a latent that is pooled without order, from tokens to neighbours."""

from __future__ import annotations

from pathlib import Path

import contracts
import numpy as np
import pytest
import torch
from small import SENTENCES, run_seqae, write_recipe, write_text

import seqae
from seqae.bundle.text_autoencoder import TextAutoencoder
from seqae.data.batches.padding import collate
from seqae.data.tokenizers import BPETokenizer, ByteTokenizer, Tokenizer, WordTokenizer
from seqae.model.autoencoder import SequenceAutoencoder
from seqae.model.content.content_encoder import ContentEncoder
from seqae.model.content.content_learning import learn_content
from seqae.model.decoders import GRUDecoder
from seqae.model.encoders import GRUEncoder
from seqae.model.latents import DeterministicLatent, GaussianLatent
from seqae.objectives import WassersteinMMD
from seqae.sklearn import TextAutoencoderTransformer

TEXTS = (
    "The dogs' house is old",
    "old is the Dogs house?",
    "a house of dogs",
    "we swim",
    "WE SWIM",
    "?",
    "",
)


def make_content(
    tokenizer: Tokenizer, size: int = 64, neighbour_epochs: int = 0, texts=SENTENCES
) -> ContentEncoder:
    tokenizer.train(SENTENCES)
    content = ContentEncoder(size, 1009, neighbour_epochs)
    content.build(tokenizer.vocabulary)
    content.read_tokens(tokenizer.token_bytes())
    learn_content(content, [collate(tokenizer.encode(texts), tokenizer.vocabulary)])
    return content


def encode(content: ContentEncoder, tokenizer: Tokenizer, texts=TEXTS) -> torch.Tensor:
    batch = collate(tokenizer.encode(texts), tokenizer.vocabulary)
    return content(batch.token_ids, batch.mask)


def make_model(**changes) -> SequenceAutoencoder:
    parts = {
        "encoder": GRUEncoder(8),
        "latent": DeterministicLatent(5),
        "decoder": GRUDecoder(8),
        "content": ContentEncoder(3, 50),
    }
    return SequenceAutoencoder(**{**parts, **changes}, embedding_dim=6)


# The encoder


def test_words_count_and_not_their_order_their_case_or_their_neighbours():
    tokenizer = BPETokenizer(vocab_size=300)
    vectors = encode(make_content(tokenizer), tokenizer)
    torch.testing.assert_close(vectors[0], vectors[1])
    torch.testing.assert_close(vectors[3], vectors[4])
    torch.testing.assert_close(vectors[:5].pow(2).mean(1), torch.ones(5))
    assert not vectors[5:].any()  # no word, no content
    cosines = torch.nn.functional.cosine_similarity(vectors[2:3], vectors[[0, 3]])
    assert cosines[0] > cosines[1] + 0.2


@pytest.mark.parametrize("other", [ByteTokenizer(), BPETokenizer(vocab_size=400)])
def test_how_the_tokenizer_cuts_a_word_does_not_matter(other):
    """Ends of tokens are no ends of words: bytes and byte pairs give the same features."""
    tokenizer = BPETokenizer(vocab_size=270)
    found = []
    for each in (tokenizer, other):
        content = make_content(each)
        batch = collate(each.encode(TEXTS), each.vocabulary)
        rows = content.features(batch.token_ids, batch.mask)
        found.append([sorted(row[row < content.table_size].tolist()) for row in rows])
    assert found[0] == found[1]


def test_features_are_the_words_and_their_pieces():
    """Counted by hand: `|ab|` has one word, 2 + 1 pieces; `|abcd|` one, 4 + 3."""
    tokenizer = ByteTokenizer()
    content = make_content(tokenizer)
    batch = collate(tokenizer.encode(["ab", "ab abcd", "a-b"]), tokenizer.vocabulary)
    rows = content.features(batch.token_ids, batch.mask)
    assert (rows < content.table_size).sum(1).tolist() == [4, 12, 4]


def test_words_of_a_word_tokenizer_are_words():
    tokenizer = WordTokenizer()
    vectors = encode(make_content(tokenizer), tokenizer, ["the cat", "cat the", "cat"])
    torch.testing.assert_close(vectors[0], vectors[1])
    assert not torch.allclose(vectors[0], vectors[2])


def test_padding_does_not_matter():
    tokenizer = BPETokenizer(vocab_size=300)
    content = make_content(tokenizer)
    together = encode(content, tokenizer)
    alone = torch.cat([encode(content, tokenizer, [text]) for text in TEXTS])
    torch.testing.assert_close(together, alone)


def test_rarity_is_the_inverse_document_frequency():
    tokenizer = ByteTokenizer()
    tokenizer.train(["x"])
    content = ContentEncoder(2000, 4001)
    content.build(tokenizer.vocabulary)
    content.read_tokens(tokenizer.token_bytes())
    rows = tokenizer.encode(["ab ab", "ab", "cd", "ef"])
    learn_content(content, [collate(rows, tokenizer.vocabulary)])
    batch = collate(tokenizer.encode(["ab", "zz"]), tokenizer.vocabulary)
    rows = content.features(batch.token_ids, batch.mask)
    known, new = (row[row < content.table_size] for row in rows)
    torch.testing.assert_close(
        content.table[known].norm(dim=1), torch.full((4,), np.log(5 / 3)), rtol=0.1, atol=0
    )
    torch.testing.assert_close(
        content.table[new].norm(dim=1), torch.full((4,), np.log(5)), rtol=0.1, atol=0
    )


def test_learning_keeps_the_neighbours_by_all_features():
    """By 8 numbers, most have their nearest, and by chance only two of three."""

    def nearest(vectors: torch.Tensor) -> torch.Tensor:
        unit = torch.nn.functional.normalize(vectors, dim=1)
        return (unit @ unit.T).fill_diagonal_(-1).argmax(dim=1)

    def agreement(neighbour_epochs: int) -> tuple[float, torch.Tensor]:
        tokenizer = BPETokenizer(vocab_size=300)
        content = make_content(tokenizer, 8, neighbour_epochs)
        batch = collate(tokenizer.encode(SENTENCES), tokenizer.vocabulary)
        rows = content.features(batch.token_ids, batch.mask)
        counts = torch.stack([torch.bincount(row, minlength=1010) for row in rows])[:, :1009]
        rarity = torch.log((len(SENTENCES) + 1) / ((counts > 0).sum(0) + 1))
        found = nearest(content(batch.token_ids, batch.mask))
        return (found == nearest(counts * rarity)).float().mean().item(), content.table

    by_chance, _ = agreement(0)
    learnt, table = agreement(100)
    assert by_chance < 0.7
    assert learnt > 0.85
    assert torch.equal(agreement(100)[1], table)
    assert not table[-1].any()


def test_two_sentences_have_no_neighbours_to_keep():
    made = [make_content(ByteTokenizer(), 8, epochs, SENTENCES[-2:]).table for epochs in (0, 5)]
    assert torch.equal(*made)


# The model


def test_the_content_comes_first_and_the_decoder_reads_both():
    model = make_model().build(contracts.VOCABULARY, contracts.MAX_LENGTH).eval()
    assert model.latent_dim == 8
    assert model.parts == {"content": slice(0, 3), "order": slice(3, 8)}
    batch = contracts.random_batch()
    torch.nn.init.normal_(model.content.table)
    model.content.read_tokens([bytes([97 + i]) for i in range(contracts.VOCABULARY.size)])
    latent = model.encode(batch).latent
    torch.testing.assert_close(latent[:, :3], model.content(batch.token_ids, batch.mask))
    changed = latent.clone()
    changed[:, :3] = 0
    features = model.decode(batch.decoder_input, latent)
    assert not torch.allclose(features, model.decode(batch.decoder_input, changed))


def test_a_content_needs_a_plain_latent():
    with pytest.raises(ValueError, match="`latent` must be a DeterministicLatent beside `content`"):
        make_model(latent=GaussianLatent(4))


def test_nothing_moves_a_content_to_a_prior():
    with pytest.raises(ValueError, match="`content` must be null under WassersteinMMD"):
        WassersteinMMD().check(make_model())
    model = make_model().build(contracts.VOCABULARY, contracts.MAX_LENGTH)
    with pytest.raises(ValueError, match="`prior` must be one that is fitted"):
        TextAutoencoder(model, BPETokenizer()).sample_latents(1, "prior")


# From the command


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("content")
    text = write_text(folder / "text.txt", SENTENCES)
    recipe = write_recipe(folder)
    content = ["--model.autoencoder.content", "ContentEncoder"]
    content += ["--model.autoencoder.content.table_size", 2000]
    content += ["--model.autoencoder.content.content_dim", 20]
    steps = ["--trainer.max_epochs", -1, "--trainer.max_steps", 2, "--threads", 1]
    where = ["--run_dir", folder / "run", "--data.train", text]
    assert run_seqae("fit", "-c", recipe, *where, *steps, *content) == 0
    return folder / "run"


def test_encode_gives_a_part_and_the_bundle_keeps_the_vectors(run, tmp_path):
    model = seqae.load(run)
    whole = model.encode(SENTENCES)
    np.testing.assert_array_equal(model.encode(SENTENCES, part="content"), whole[:, :20])
    np.testing.assert_array_equal(model.encode(SENTENCES, part="order"), whole[:, 20:])
    assert whole[:, :20].any(axis=1).all()
    model.save(tmp_path / "again")
    np.testing.assert_array_equal(seqae.load(tmp_path / "again").encode(SENTENCES), whole)
    file = tmp_path / "content.npy"
    assert run_seqae("encode", run, SENTENCES[0], "--part", "content", "--output", file) == 0
    np.testing.assert_array_equal(np.load(file), whole[:1, :20])


def test_neighbours_are_those_of_the_content(run, capsys):
    model = seqae.load(run)
    (found,) = model.neighbours(["the red ball the cat sees"], SENTENCES, count=1)[0]
    assert found.text == "the cat sees the red ball"
    assert found.similarity == pytest.approx(1.0)
    text = run.parent / "text.txt"
    assert run_seqae("neighbours", run, "red ball a dog has the", "--corpus", text) == 0
    assert "a dog has the red ball" in capsys.readouterr().out.splitlines()[0]


def test_a_model_without_parts_refuses_a_part():
    model = contracts.make_model()
    with pytest.raises(ValueError, match="`part` must be left out for a model whose latents have"):
        TextAutoencoder(model, BPETokenizer()).encode([], part="content")


def test_transformer_of_scikit_learn_gives_a_part(run):
    transformer = TextAutoencoderTransformer(bundle=run / "bundle", part="content").fit([])
    assert transformer.transform(list(SENTENCES[:2])).shape == (2, 20)
    assert len(transformer.get_feature_names_out()) == 20
