"""Word vectors of others: read as their programs write them, and refused in one line if not."""

from __future__ import annotations

import gzip
import json
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from small import run_seqae, write_text

from seqae.bundle.io import load
from seqae.data.tokenizers import BPETokenizer, CharacterTokenizer, WordTokenizer
from seqae.training.starting.embedding_start import whole_words
from seqae.training.starting.vector_files import read_vectors

WORDS = {"the": [1.0, -2.0, 0.5], "cat": [0.25, 0.0, 1e-3], "猫": [3.0, 4.0, -1.5]}
ROWS = {"cat": 7, "猫": 9, "dog": 1}


def as_text(header: bool) -> bytes:
    lines = [f"{w} {' '.join(map(str, v))}{' ' * header}\n" for w, v in WORDS.items()]
    return ((f"{len(WORDS)} 3\n" if header else "") + "".join(lines)).encode()


def as_binary() -> bytes:
    """As word2vec's C program writes it: fprintf("%s "), fwrite of floats, fprintf("\\n")."""
    rows = [w.encode() + b" " + struct.pack("<3f", *v) + b"\n" for w, v in WORDS.items()]
    return b"3 3\n" + b"".join(rows)


FILES = {
    "word2vec.txt": as_text(True),
    "glove.txt": as_text(False),
    "glove_blanks.txt": b". . . 9 9 9\n" + as_text(False),
    "fasttext.vec.gz": gzip.compress(as_text(True)),
    "word2vec.bin": as_binary(),
    "no_line_ends.bin": as_binary().replace(b"\xbf\n", b"\xbf").replace(b"\x3f\n", b"\x3f"),
    "word2vec.bin.gz": gzip.compress(as_binary()),
}


@pytest.mark.parametrize("name", FILES)
def test_every_form_has_the_same_vectors(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(FILES[name])
    found = read_vectors(tmp_path / name, ROWS, 3)
    assert sorted(found) == [7, 9]
    np.testing.assert_allclose(found[7], np.float32(WORDS["cat"]))
    np.testing.assert_allclose(found[9], WORDS["猫"])


HOSTILE = {
    "billions.txt": (b"99999999999 3\ncat 1 2 3\n", "line 1 .* up to 33,554,432"),
    "billions.bin": (b"99999999999 3\ncat 123412341234", "line 1 "),
    "cut.bin": (as_binary()[:-5], "line 4 .* missing or cut short"),
    "cut.txt": (b"3 3\ncat 1 2 3\n", "line 3 is there, by the first line of 3 words"),
    "cut.vec.gz": (gzip.compress(as_text(True))[:-9], "damaged"),
    "short.txt": (b"the 1 2 3\ncat 1 2\n", "line 2 is a word and 3 numbers.*'cat 1 2' with 2"),
    "long.txt": (b"the 1 2 3\ncat 1 2 3 4\n", "line 2 is a word and 3 numbers"),
    "nan.txt": (b"the 1 2 3\ncat 1 nan 3\n", "line 2 is made of finite numbers"),
    "words.txt": (b"the 1 2 3\ncat 1 x 3\n", "line 2 is a word and 3 numbers"),
    "huge.txt": (b"the 1 2 3\n" + b"x" * 10_000 + b" 1 2 3\n", "line 2 is at most"),
    "huge.bin": (b"3 3\n" + b"x" * 10_000, "line 2 is a word of at most 4,096 bytes"),
    "other.bin": (struct.pack("<ii", 793712314, 12), "fastText's own"),
    "dim.vec": (b"3 300\n", "`model.autoencoder.embedding_dim` must be .* 300"),
    "empty.txt": (b"", "line 1"),
    "pickle.bin": (b"\x80\x04cposix\nsystem\n(S'x'\ntR.", "line 1"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_damaged_file_is_one_line(name: str, tmp_path: Path) -> None:
    content, told = HOSTILE[name]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=told) as caught:
        read_vectors(tmp_path / name, ROWS, 3)
    assert "\n" not in str(caught.value)


def test_whole_words_of_each_kind() -> None:
    texts = ["the cat sees the cat"] * 9
    words, pieces, letters = WordTokenizer(), BPETokenizer(vocab_size=290), CharacterTokenizer()
    for tokenizer in (words, pieces, letters):
        tokenizer.train(texts)
    assert whole_words(words) == {"the": 4, "cat": 5, "sees": 6} or len(whole_words(words)) == 3
    assert {"the", "cat"} <= set(whole_words(pieces))
    assert whole_words(letters) == {}


def test_a_training_starts_from_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = write_text(tmp_path / "x.txt", ["the cat sees", "a cat"] * 20)
    (tmp_path / "v.vec").write_bytes(as_text(True))
    parts = ["--model.autoencoder.embedding_dim", 3, "--model.autoencoder.train_embedding", "false"]
    options = ["-c", "gru", "--train", text, "--data.tokenizer", "WordTokenizer", *parts]
    options += ["--word_vectors", tmp_path / "v.vec", "--max_steps", 1, "--threads", 1]
    assert run_seqae("fit", *options, "--run_dir", tmp_path / "run") == 0
    assert "embedding from v.vec: 2 of" in capsys.readouterr().out
    model = load(tmp_path / "run")
    ids = [model.tokenizer.encode([word])[0][1] for word in ("the", "cat")]
    wanted = torch.tensor([WORDS["the"], WORDS["cat"]])
    wanted /= wanted.pow(2).mean().sqrt()
    torch.testing.assert_close(model.autoencoder.embedding.weight.detach()[ids], wanted)
    training = json.loads((tmp_path / "run/bundle/training.json").read_text())
    assert training["init"] == {"word_vectors": "v.vec", "tokens": 2}
    assert str(tmp_path) not in json.dumps(training)
    # Characters are no words, and a bundle has an embedding of its own.
    options[options.index("WordTokenizer")] = "CharacterTokenizer"
    assert run_seqae("fit", *options, "--run_dir", tmp_path / "other") == 1
    assert "is a word of" in capsys.readouterr().err
    assert run_seqae("fit", *options, "--init", "demo", "--run_dir", tmp_path / "other") == 1
    assert "`word_vectors` must not be given beside `init`" in capsys.readouterr().err
