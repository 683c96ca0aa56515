"""Documents as one vector each: what a vector holds, and the commands."""

from __future__ import annotations

from pathlib import Path

import contracts
import numpy as np
import pytest
from small import SENTENCES, read_rows, run_seqae, write_text

import seqae
from seqae.bundle.operations.document_vectors import _count, first_numbers
from seqae.bundle.text_autoencoder import TextAutoencoder
from seqae.data.tokenizers import ByteTokenizer
from seqae.model.autoencoder import SequenceAutoencoder
from seqae.model.decoders import GRUDecoder
from seqae.model.encoders import GRUEncoder
from seqae.model.latents import DeterministicLatent

Out = pytest.CaptureFixture[str]
STORY = "a cat sat on the mat, and a dog ran home to its café"
SIZE = 40


class Copying:
    """Stands in for a model that needs two numbers of a latent for each token of a stretch.

    With fewer it writes as many tokens as it has pairs of numbers.
    """

    def __init__(self) -> None:
        self.rows: list[list[int]] = []

    def encode(self, autoencoder, rows, *_):
        start = 1 + len(self.rows)
        self.rows += rows
        ids = np.arange(start, 1 + len(self.rows), dtype=np.float32)
        return np.repeat(ids[:, None], SIZE, axis=1)

    def decode(self, latents, *_, **__):
        told = []
        for latent in latents:
            body = self.rows[int(latent[0]) - 1][1:-1]
            told.append(body[: np.count_nonzero(latent) // 2])
        return told


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> TextAutoencoder:
    parts = GRUEncoder(6), DeterministicLatent(SIZE), GRUDecoder(7)
    tokenizer = ByteTokenizer()
    autoencoder = SequenceAutoencoder(*parts, embedding_dim=6, nested_dropout=0.5)
    loaded = TextAutoencoder(autoencoder.build(tokenizer.vocabulary, 18).eval(), tokenizer)
    copying = Copying()
    monkeypatch.setattr("seqae.bundle.operations.document_vectors.encode_rows", copying.encode)
    monkeypatch.setattr(TextAutoencoder, "decode_ids", lambda _, *a, **b: copying.decode(*a, **b))
    return loaded


def needed(model: TextAutoencoder) -> list[int]:
    """How many numbers each stretch of the story needs."""
    return [2 * len(row) for row in model.stretches([STORY])[0]]


def test_a_vector_has_the_fewest_numbers_that_read_back_as_all_do(model):
    own = needed(model)
    assert len(own) == 4
    vectors = model.encode_documents([STORY, "a dog", ""], sum(own) + 2 * len(own))
    place = 0
    for count in own:
        kept = round(float(vectors[0, place]) * SIZE)
        assert count <= kept <= count + 1  # to a 32nd of 40
        assert (vectors[0, place + 1 : place + 1 + kept] > 0).all()
        place += 1 + kept
    assert not vectors[0, place:].any()
    assert vectors[1, 0] * SIZE == pytest.approx(10, abs=1.01)
    assert model.decode_documents(vectors) == [STORY, "a dog", ""]
    assert model.decode_documents(vectors[0]) == STORY
    assert model.decode_documents(model.encode_documents(STORY, 9_999)) == STORY


def test_a_vector_without_room_holds_the_beginning(model):
    parts = model.tokenizer.decode(model.stretches([STORY])[0])
    first, second, *_ = needed(model)
    for room, told in (
        (first + 3, parts[0]),
        (first + 2 + second // 2 - 2, parts[0]),  # less than half of what the second one needs
        (first + 4 + second // 2, parts[0] + parts[1][: second // 4 + 1]),
        (11, parts[0][:5]),  # the first gets what there is
    ):
        decoded = model.decode_documents(model.encode_documents(STORY, room))
        assert told.startswith(decoded) or decoded == told
        assert len(decoded) >= len(told) - 1


@pytest.mark.parametrize("size", [40, 384, 1000])
def test_shares_of_a_latent_may_be_rounded_to_float16(size):
    for count in range(1, size + 1):
        for kind in (np.float32, np.float16):
            assert _count(float(kind(count / size)), size) == count
    assert _count(0.5 + 0.4 / size, size) == 0


def test_first_numbers():
    latents = np.arange(1, 7, dtype=np.float32).reshape(2, 3)
    assert first_numbers(latents, np.array([1, 3])).tolist() == [[1, 0, 0], [4, 5, 6]]


def test_no_documents_and_empty_vectors(model):
    assert model.encode_documents([], 9).shape == (0, 9)
    assert model.decode_documents(np.empty((0, 9))) == []
    assert model.decode_documents(np.zeros((2, 9))) == ["", ""]


def test_what_is_no_document_is_refused(model):
    assert "must be (documents, numbers)" in contracts.refusal(model.decode_documents, 1.0)
    assert "must be finite" in contracts.refusal(model.decode_documents, [[np.nan, 1.0]])
    for wrong in (0.5, -0.5, 1e30, 0.03):
        said = contracts.refusal(model.decode_documents, [[0.0, 0.0], [wrong, 1.0]])
        assert "the one at index 1 says at 0" in said
    for wrong in ([0.0, 1.0, 0.0, 0.0], [1 / SIZE, 1.0, 0.0, 1 / SIZE]):
        said = contracts.refusal(model.decode_documents, [wrong])
        assert "has other numbers than zeros after it" in said
    assert "`document_dim`" in contracts.refusal(model.encode_documents, "a", 1)
    model.autoencoder.nested_dropout = 0.0
    for call in (lambda: model.encode_documents("a", 9), lambda: model.decode_documents([0.0])):
        assert "`nested_dropout` must be above 0" in contracts.refusal(call)


def test_the_commands(overfit_run: Path, tmp_path: Path, capsys: Out):
    model = seqae.load(overfit_run)
    model.autoencoder.nested_dropout = 0.5
    folder, vectors = model.save(tmp_path / "bundle"), tmp_path / "vectors.npy"
    story = " ".join(SENTENCES[8:20])  # longer than the model reads at once
    stories, told = write_text(tmp_path / "stories.txt", [story, "a dog"]), tmp_path / "told.jsonl"
    given = ["--input", stories, "--document_dim", 100, "--output", vectors]
    assert run_seqae("encode", folder, *given) == 0
    assert "2 vectors" in capsys.readouterr().err
    assert np.load(vectors).shape == (2, 100)
    assert run_seqae("decode", folder, vectors, "--document", "--output", told) == 0
    expected = model.decode_documents(np.load(vectors))
    assert [row["text"] for row in read_rows(told)] == expected
    same = [*given[:-1], tmp_path / "vectors.npz"]
    assert run_seqae("encode", folder, *same) == 0
    assert run_seqae("decode", folder, same[-1], "--document", "--output", told) == 0
    assert [row["text"] for row in read_rows(told)] == expected
    of_latent_dim = [*given[:3], model.latent_dim, "--output", vectors]
    assert run_seqae("encode", folder, *of_latent_dim) == 0
    assert run_seqae("decode", folder, vectors) == 1
    assert "`document` must be given" in capsys.readouterr().err
    assert run_seqae("encode", folder, "a dog", "--document_dim", 9, "--too_long", "error") == 1
    assert "`too_long` must be left out" in capsys.readouterr().err
    latents = tmp_path / "latents.npz"
    assert run_seqae("encode", folder, story, "--too_long", "split", "--output", latents) == 0
    assert run_seqae("decode", folder, latents, "--document") == 1
    assert "one latent for each stretch" in capsys.readouterr().err
