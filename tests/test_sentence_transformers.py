"""A model as a SentenceTransformer, here, as a folder, and in that library's own modules."""

from __future__ import annotations

import itertools
import json
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import contracts
import numpy as np
import pytest
import torch
from small import ODD_SENTENCES, SENTENCES

import seqae
from seqae.bundle.text_autoencoder import TextAutoencoder
from seqae.cli import main
from seqae.data.sentences.cleaning import Normalization
from seqae.data.tokenizers import (
    BPETokenizer,
    ByteTokenizer,
    CharacterTokenizer,
    UnigramTokenizer,
    WordTokenizer,
)
from seqae.model.autoencoder import SequenceAutoencoder
from seqae.model.decoders import GRUDecoder
from seqae.model.encoders import GRUEncoder, LSTMEncoder
from seqae.model.latents import (
    DeterministicLatent,
    GaussianLatent,
    VectorQuantisedLatent,
    VonMisesFisherLatent,
)

TEXTS = [*ODD_SENTENCES, "", "  two  blanks \u00a0 here\r\n", "ΟΔΥΣΣΕΥΣ ΣΑΣ", "word " * 100]


@pytest.fixture(scope="module")
def library() -> Any:
    """The library, whose import takes seconds."""
    return pytest.importorskip("sentence_transformers", exc_type=ImportError)


@pytest.fixture(scope="module")
def demo() -> TextAutoencoder:
    return seqae.load("demo")


def lstm_model(pooling: str = "last", number: int = 0, **options: Any) -> TextAutoencoder:
    """An LSTM autoencoder that was never trained; its tokenizer is chosen by a number."""
    kinds = (
        ByteTokenizer(),
        CharacterTokenizer(),
        WordTokenizer(normalization="basic_english"),
        BPETokenizer(vocab_size=300),
        UnigramTokenizer(vocab_size=280),
    )
    texts = (
        Normalization(),
        Normalization("NFKC", lowercase=True, collapse_whitespace=True),
        Normalization(None, collapse_whitespace=True),
    )
    tokenizer = kinds[number % len(kinds)]
    tokenizer.train([*SENTENCES, *TEXTS])
    torch.manual_seed(number)
    encoder = LSTMEncoder(
        12, options.get("num_layers", 1), options.get("bidirectional", True), 0.0, pooling
    )
    latent = options.get("latent") or DeterministicLatent(16)
    model = SequenceAutoencoder(encoder, latent, GRUDecoder(8, position_dim=0), embedding_dim=8)
    model.build(tokenizer.vocabulary, 64).eval()
    return TextAutoencoder(model, tokenizer, None, texts[number % len(texts)])


def test_a_model_is_a_sentence_transformer_with_the_same_numbers(library, demo) -> None:
    from seqae.interchange import sentence_transformer

    model = sentence_transformer(demo)
    assert isinstance(model, library.SentenceTransformer)
    latents = demo.encode(TEXTS, "truncate")
    np.testing.assert_array_equal(model.encode(TEXTS), latents)
    np.testing.assert_allclose(model.encode(TEXTS[0]), latents[0], rtol=1e-4, atol=1e-4)
    assert model.get_embedding_dimension() == demo.latent_dim
    assert model.max_seq_length == demo.autoencoder.max_length
    found = model.encode(TEXTS, convert_to_tensor=True, normalize_embeddings=True)
    torch.testing.assert_close(found.norm(dim=1), torch.ones(len(TEXTS)))
    np.testing.assert_array_equal(model.encode_query(TEXTS), latents)
    torch.testing.assert_close(model.similarity(found, found).diag(), torch.ones(len(TEXTS)))
    copy = pickle.loads(pickle.dumps(model))  # as a pool of processes does
    np.testing.assert_array_equal(copy.encode(TEXTS), latents)


def test_texts_are_cut_where_the_user_says(library, demo) -> None:
    from seqae.interchange import sentence_transformer

    model = sentence_transformer(demo)
    model.max_seq_length = 5
    assert model.preprocess(["one two three four five six"])["input_ids"].shape == (1, 5)
    message = contracts.refusal(setattr, model, "max_seq_length", 10**6)
    assert message.startswith("`max_seq_length` must be between 3 and")


def test_only_parts_that_there_are(library, demo) -> None:
    from seqae.interchange import sentence_transformer

    assert "`part`" in contracts.refusal(sentence_transformer, demo, "content")
    assert "`part`" in contracts.refusal(sentence_transformer, demo, "nothing")


def test_a_folder_is_read_with_the_flag_alone(library, demo, tmp_path: Path, capsys) -> None:
    folder = tmp_path / "folder"
    for _ in range(2):  # an older export is replaced
        assert main(["export", "demo", "--output", str(folder)]) == 0
    assert "trust_remote_code=True" in capsys.readouterr().out
    with pytest.raises(ValueError, match="trust_remote_code"):
        library.SentenceTransformer(str(folder), device="cpu")
    model = library.SentenceTransformer(str(folder), trust_remote_code=True, device="cpu")
    latents = demo.encode(TEXTS, "truncate")
    np.testing.assert_array_equal(model.encode(TEXTS), latents)
    again = tmp_path / "again"
    model.save_pretrained(str(again))
    np.testing.assert_array_equal(seqae.load(again).encode(TEXTS, "truncate"), latents)
    named = json.loads((again / "modules.json").read_bytes())
    assert [one["type"] for one in named] == ["seqae.interchange.sentence_encoder.SentenceEncoder"]
    # What was changed after it was written is not used.
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")
    with pytest.raises(ValueError, match="is not what MANIFEST.sha256 says"):
        library.SentenceTransformer(str(folder), trust_remote_code=True, device="cpu")


def test_a_folder_of_something_else_stays(library, tmp_path: Path) -> None:
    from seqae.interchange import export_sentence_transformer

    (tmp_path / "thesis.tex").write_text("mine")
    message = contracts.refusal(export_sentence_transformer, "demo", tmp_path)
    assert message.startswith("`folder` must be new, empty or one for sentence-transformers")
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]
    (tmp_path / "config_sentence_transformers.json").write_text("{}")  # also in such a folder
    assert "has thesis.tex instead" in contracts.refusal(
        export_sentence_transformer, "demo", tmp_path
    )


LATENTS = (
    DeterministicLatent(16),
    DeterministicLatent(None, "layer"),
    DeterministicLatent(None, "sphere"),
    GaussianLatent(16, 0.6),
    VonMisesFisherLatent(16),
)


@pytest.mark.parametrize("number", range(5))
def test_native_modules_give_the_same_numbers(library, number: int) -> None:
    """All pairs of pooling and directions; latents, tokenizers and normalisations in turn."""
    from seqae.interchange.native_folder import check_equal
    from seqae.interchange.native_modules import native_modules

    for turn, (pooling, bidirectional) in enumerate(
        itertools.product(("last", "mean_max"), (False, True))
    ):
        latent = LATENTS[(number + turn) % len(LATENTS)]
        model = lstm_model(
            pooling,
            number,
            bidirectional=bidirectional,
            num_layers=1 + turn % 2,
            latent=type(latent).from_config(latent.config()),
        )
        if isinstance(model.autoencoder.latent, GaussianLatent):
            model.autoencoder.latent.normalize.running_mean.normal_()
            model.autoencoder.latent.normalize.running_var.uniform_(0.1, 2.0)
        model.details["selftest"] = [{"text": text} for text in TEXTS]
        check_equal(
            model, library.SentenceTransformer(modules=native_modules(model), device="cpu").encode
        )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "first", "flag"),
    [
        ("sentence-transformers", "import sys", "trust_remote_code=True"),
        ("sentence-transformers-native", "import sys; sys.modules['seqae'] = None", "device='cpu'"),
    ],
)
def test_a_folder_is_read_by_another_process(
    library, tmp_path: Path, kind: str, first: str, flag: str
) -> None:
    """The native one by a process without seqae."""
    model = lstm_model()
    model.save(tmp_path / "bundle")
    folder = tmp_path / "folder"
    assert main(["export", str(tmp_path / "bundle"), "--format", kind, f"--output={folder}"]) == 0
    program = (
        f"{first}\nimport numpy as np\n"
        "from sentence_transformers import SentenceTransformer\n"
        f"model = SentenceTransformer({str(folder)!r}, {flag})\n"
        "np.save(sys.argv[1], model.encode(sys.argv[2:]))\n"
    )
    needs_us = kind == "sentence-transformers"
    assert ("trust_remote_code=True" in (folder / "README.md").read_text()) == needs_us
    assert needs_us or "seqae.load" not in (folder / "README.md").read_text()
    texts = [text for text in ODD_SENTENCES if "\x1b" not in text]
    output = str(tmp_path / "embeddings.npy")
    arguments = [sys.executable, "-c", program, output, *texts]
    subprocess.run(arguments, check=True, env={**os.environ, "HF_HUB_OFFLINE": "1"}, cwd=tmp_path)
    np.testing.assert_allclose(np.load(output), model.encode(texts), atol=1e-6)


@pytest.mark.parametrize(
    ("key", "model"),
    [
        ("encoder", lambda: with_parts(GRUEncoder(8), DeterministicLatent(8))),
        ("pooling", lambda: lstm_model("position")),
        ("latent", lambda: lstm_model(latent=VectorQuantisedLatent(16, 16, 4))),
    ],
)
def test_what_no_module_computes_is_refused(library, key: str, model, tmp_path: Path) -> None:
    from seqae.interchange import export_native

    message = contracts.refusal(export_native, model(), tmp_path / "folder")
    assert message.startswith(f"`{key}` must be")
    assert message.endswith("Use `--format sentence-transformers`, which has every model.")
    assert not (tmp_path / "folder").exists()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_keybert_and_bertopic_take_it(library, demo) -> None:
    from seqae.interchange import sentence_transformer

    keybert = pytest.importorskip("keybert", exc_type=ImportError)
    backend = pytest.importorskip("bertopic.backend._utils", exc_type=ImportError)
    model = sentence_transformer(demo)
    found = keybert.KeyBERT(model=model).extract_keywords("the cat sees the red ball", top_n=2)
    assert {word for word, _ in found} <= {"cat", "sees", "red", "ball"}
    assert len(found) == 2
    embedded = backend.select_backend(model).embed(TEXTS)
    np.testing.assert_array_equal(embedded, demo.encode(TEXTS, "truncate"))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_mteb_evaluates_it(library, demo) -> None:
    """A task of our own, of which nothing is fetched, by mteb's own evaluation."""
    from seqae.interchange import sentence_transformer

    mteb = pytest.importorskip("mteb", exc_type=ImportError)
    os.environ.pop("_RJEM_MALLOC_CONF", None)  # polars, which it imports, sets it
    datasets = pytest.importorskip("datasets")
    from mteb.abstasks.sts import AbsTaskSTS
    from mteb.abstasks.task_metadata import TaskMetadata

    first = [f"the {animal} sat on the mat" for animal in ("cat", "dog", "bird", "child")]
    second = [first[0], "the dog sat on a mat", "a child sees the bird", "it rained all day"]

    class OurTask(AbsTaskSTS):
        metadata = TaskMetadata(
            name="OurTask",
            dataset={"path": "none/none", "revision": "0"},
            description="Pairs of sentences.",
            type="STS",
            eval_langs=["eng-Latn"],
            main_score="cosine_spearman",
        )

        def load_data(self, *arguments: Any, **options: Any) -> None:
            rows = {"sentence1": first, "sentence2": second, "score": [5.0, 4.0, 2.0, 0.0]}
            self.dataset = {"test": datasets.Dataset.from_dict(rows)}
            self.data_loaded = True

    found = mteb.evaluate(
        sentence_transformer(demo), OurTask(), cache=None, show_progress_bar=False
    )
    pairs = [demo.encode(texts, normalize=True) for texts in (first, second)]
    cosines = (pairs[0] * pairs[1]).sum(axis=1)
    expected = np.corrcoef(cosines, [1.0, 0.8, 0.4, 0.0])[0, 1]
    (scores,) = found.task_results[0].scores["test"]
    assert scores["cosine_pearson"] == pytest.approx(expected, abs=1e-5)


def with_parts(encoder, latent) -> TextAutoencoder:
    tokenizer = ByteTokenizer()
    tokenizer.train(SENTENCES)
    model = SequenceAutoencoder(encoder, latent, GRUDecoder(8), embedding_dim=8)
    return TextAutoencoder(model.build(tokenizer.vocabulary, 64).eval(), tokenizer)


def test_an_output_must_be_named() -> None:
    from seqae.tasks.sharing.export import export

    assert contracts.refusal(export, "demo").startswith("`output` must be the folder to write")
