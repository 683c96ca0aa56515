"""The index of `seqae neighbours` is used again, never for another model or text."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small import SENTENCES, run_seqae, write_text

import seqae
from seqae.bundle.text_autoencoder import TextAutoencoder
from seqae.tasks import neighbour_index
from seqae.tasks.neighbour_index import encode_searched

Out = pytest.CaptureFixture[str]
CAT = "the cat sees the mat"


@pytest.fixture
def run(overfit_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(neighbour_index, "MIN_SENTENCES", 10)
    monkeypatch.setenv("SEQAE_CACHE", str(tmp_path / "cache"))
    return Path(shutil.copytree(overfit_run, tmp_path / "run", symlinks=True))


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many sentences each call has encoded."""
    counts: list[int] = []
    encode = TextAutoencoder.encode

    def counting(self: Any, texts: list[str], *args: Any, **options: Any) -> Any:
        counts.append(len(texts))
        return encode(self, texts, *args, **options)

    monkeypatch.setattr(TextAutoencoder, "encode", counting)
    return counts


def indexes(folder: Path) -> list[Path]:
    return sorted(folder.rglob("neighbours-*.npy"))


def test_an_index_is_used_again(run: Path, encoded: list[int], capsys: Out) -> None:
    assert run_seqae("neighbours", run, CAT) == 0
    (index,) = indexes(run)
    first = capsys.readouterr()
    begin, kept = first.err.splitlines()
    assert begin == "seqae: encoding 32 sentences"
    assert kept == f"seqae: kept 32 latents for the next time in {index}"
    assert run_seqae("neighbours", run, CAT) == 0
    second = capsys.readouterr()
    assert second.err == f"seqae: 32 latents come from {index}\n"
    assert second.out == first.out
    assert encoded == [1, 32, 1]


def test_each_sentence_is_listed_once(run: Path, tmp_path: Path, capsys: Out) -> None:
    corpus = write_text(tmp_path / "corpus.txt", [*SENTENCES, *SENTENCES])
    assert run_seqae("neighbours", run, CAT, "--corpus", corpus, "--count", 32) == 0
    found = [line[10:] for line in capsys.readouterr().out.splitlines()]
    assert found[0] == CAT
    assert len(set(found)) == len(found) == 32
    near = seqae.load(run).neighbours(CAT, [CAT, CAT, "a dog has the mat"])
    assert [neighbour.text for neighbour in near] == [CAT, "a dog has the mat"]


def test_another_text_replaces_the_index(
    run: Path, tmp_path: Path, encoded: list[int], capsys: Out
) -> None:
    corpus = write_text(tmp_path / "corpus.txt", SENTENCES)
    options = ["neighbours", run, CAT, "--corpus", corpus]
    assert run_seqae(*options) == 0
    (old,) = indexes(run)
    write_text(corpus, [*SENTENCES, "one more"])
    capsys.readouterr()
    assert run_seqae(*options) == 0
    (new,) = indexes(run)
    assert new != old
    said = capsys.readouterr().err
    assert said.endswith(f"{new}; the model or the sentences had changed\n")
    assert encoded == [1, 32, 1, 33]
    assert run_seqae("neighbours", run, CAT) == 0  # the training text has an index of its own
    assert len(indexes(run)) == 2


def test_another_model_has_another_index(run: Path, encoded: list[int]) -> None:
    model = seqae.load(run)
    texts = list(SENTENCES)
    before = encode_searched(model, str(run), texts, None)
    for weight in model.autoencoder.parameters():
        weight.data.mul_(1.5)
    after = encode_searched(model, str(run), texts, None)
    assert not np.allclose(before, after)
    assert np.array_equal(encode_searched(model, str(run), texts, None), after)
    assert encoded == [32, 32]


@pytest.mark.parametrize("damage", ["cut", "shape", "pickle", "nan", "huge header"])
def test_a_damaged_index_is_made_anew(run: Path, damage: str) -> None:
    model, texts = seqae.load(run), list(SENTENCES)
    right = encode_searched(model, str(run), texts, None)
    (index,) = indexes(run)
    if damage == "cut":
        index.write_bytes(index.read_bytes()[:-1])
    elif damage == "huge header":
        data = index.read_bytes()
        index.write_bytes(data.replace(b"(32, 64)", b"(99999999, 64)")[: len(data)])
    else:
        wrong = {
            "shape": right.T.copy(),
            "pickle": np.array([[object()]], dtype=object),
            "nan": np.full_like(right, np.nan),
        }
        np.save(index, wrong[damage], allow_pickle=True)
    assert np.array_equal(encode_searched(model, str(run), texts, None), right)
    assert np.array_equal(np.load(index), right)


def test_a_bundle_alone_has_its_index_in_the_cache(run: Path, tmp_path: Path, capsys: Out) -> None:
    shutil.move(run / "bundle", tmp_path / "shared")
    corpus = write_text(tmp_path / "corpus.txt", SENTENCES)
    before = sorted((tmp_path / "shared").iterdir())
    for _ in range(2):
        assert run_seqae("neighbours", tmp_path / "shared", CAT, "--corpus", corpus) == 0
    assert len(indexes(tmp_path / "cache")) == 1
    assert sorted((tmp_path / "shared").iterdir()) == before
    assert "latents come from" in capsys.readouterr().err


def test_where_nothing_can_be_written_there_is_no_index(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Out
) -> None:
    shutil.move(run / "bundle", tmp_path / "shared")
    (tmp_path / "file").touch()
    monkeypatch.setenv("SEQAE_CACHE", str(tmp_path / "file" / "cache"))
    corpus = write_text(tmp_path / "corpus.txt", SENTENCES)
    assert run_seqae("neighbours", tmp_path / "shared", CAT, "--corpus", corpus) == 0
    assert capsys.readouterr().err == "seqae: encoding 32 sentences\n"


def test_nothing_is_written_beside_a_bundle_that_is_named(run: Path, tmp_path: Path) -> None:
    """What lies around it may be another's: only the run's folder, named itself, gets an index."""
    corpus = write_text(tmp_path / "corpus.txt", SENTENCES)
    assert run_seqae("neighbours", run / "bundle", CAT, "--corpus", corpus) == 0
    assert indexes(run) == []
    assert len(indexes(tmp_path / "cache")) == 1
