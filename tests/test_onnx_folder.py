"""The folder of graphs: what is in it, who can run it, and when it is not written."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import contracts
import numpy as np
import pytest
import torch
from small import own_process
from test_model_graphs import make

import seqae
from seqae.bundle.text_autoencoder import TextAutoencoder
from seqae.data.sentences.cleaning import Normalization
from seqae.data.tokenizers import WordTokenizer
from seqae.interchange import export_onnx
from seqae.interchange.onnx.graph import OPSET
from seqae.interchange.onnx.onnx_folder import NAMES
from seqae.model.autoencoder import SequenceAutoencoder
from seqae.model.decoders import AttentionGRUDecoder
from seqae.model.encoders import Encoder, GRUEncoder
from seqae.model.hierarchical import HierarchicalEncoder
from seqae.model.latents import DeterministicLatent

TEXTS = ["the cat sat on the mat", "A small dog ran home.", "Caf\u00e9!", "", "We sat by the sea."]

# A process that has neither torch nor seqae.
ALONE = """
import json, runpy, sys
sys.modules.update(dict.fromkeys(("torch", "seqae", "lightning", "onnx")))
run = runpy.run_path(sys.argv[1])
latents = run["encode"](json.loads(sys.argv[2]))
print(json.dumps([latents.tolist(), run["decode"](latents)]))
"""


def run_alone(folder: Path, texts: list[str]) -> tuple[list[list[float]], list[str]]:
    """What the folder's own script makes of texts: latents and reconstructions."""
    done = subprocess.run(
        [sys.executable, "-c", ALONE, folder / "run.py", json.dumps(texts)],
        **{"env": own_process(), "text": True, "timeout": 100},
        stdout=subprocess.PIPE,
        check=True,
    )
    latents, written = json.loads(done.stdout)
    return latents, written


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("onnx") / "new" / "demo"
    export_onnx(seqae.load("demo"), folder)
    return folder


def small(**options: Any) -> TextAutoencoder:
    """An untrained model of words, which writes anything."""
    tokenizer = WordTokenizer(40)
    tokenizer.train([" ".join(f"w{index}" for index in range(36))])
    model = make("transformer", "layer", "transformer", **options)
    return TextAutoencoder(model, tokenizer, None, Normalization("NFKC", True, True))


def test_the_folder_alone_reconstructs(demo: Path) -> None:
    model = seqae.load("demo")
    latents, written = run_alone(demo, TEXTS)
    assert written == model.reconstruct(TEXTS)
    np.testing.assert_allclose(latents, model.encode(TEXTS), rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_a_normalized_text_and_a_noise(tmp_path: Path) -> None:
    from seqae.model.latents.latent_noise import LatentNoise

    model = small(latent_noise=LatentNoise())
    export_onnx(model, tmp_path / "small")
    texts = ["W1  \uff37\uff12 w3", "unknown w4", "w5"]
    latents, written = run_alone(tmp_path / "small", texts)
    np.testing.assert_allclose(latents, model.encode(texts), rtol=1e-4, atol=1e-4)
    assert written == model.reconstruct(texts, max_length_ratio=0)  # it writes to the end


def test_what_the_folder_says(demo: Path) -> None:
    import onnx

    about = json.loads((demo / "onnx.json").read_text(encoding="utf-8"))
    assert sorted(path.name for path in demo.iterdir()) == sorted(NAMES)
    assert (about["latent_dim"], about["max_length"], about["opset"]) == (256, 144, OPSET)
    assert about["state"] == ["position", "context", "bound", "hidden"]
    assert max(about["largest_difference"].values()) < 1e-5
    assert set(about["sha256"]) == {*NAMES} - {"onnx.json"}
    assert about["sha256"]["tokenizer.json"] == about["tokenizer_sha256"]
    graph = onnx.load(demo / "encoder.onnx")
    said = {entry.key: entry.value for entry in graph.metadata_props}
    assert said["max_length"] == "144"
    assert said["tokenizer_sha256"] == about["tokenizer_sha256"]
    assert json.loads(said["normalization"]) == about["normalization"]
    assert json.loads(said["vocabulary"])["eos_id"] == 3
    assert said["seqae"] == seqae.__version__


def test_a_greedy_loop_in_ten_lines(demo: Path) -> None:
    """As docs/sharing.md shows it."""
    import onnxruntime

    encoder, init, step = (
        onnxruntime.InferenceSession(demo / f"{name}.onnx")
        for name in ("encoder", "decoder_init", "decoder_step")
    )
    names = [output.name for output in init.get_outputs()]
    model = seqae.load("demo")
    ids = np.array(model.tokenizer.encode(["the cat"]))
    (latents,) = encoder.run(None, {"token_ids": ids, "lengths": np.array([ids.shape[1]])})
    state, token, written = init.run(None, {"latents": latents}), np.array([2]), []
    while token[0] != 3 and len(written) < 143:
        logits, *state = step.run(None, {"token": token, **dict(zip(names, state, strict=True))})
        token = logits.argmax(axis=1)
        written.append(token[0])
    assert model.tokenizer.decode([written]) == model.reconstruct(["the cat"])


def test_an_export_is_replaced_and_nothing_else(tmp_path: Path) -> None:
    model = small()
    (tmp_path / "out").mkdir()
    export_onnx(model, tmp_path / "out")
    first = (tmp_path / "out" / "encoder.onnx").read_bytes()
    model.autoencoder.embedding.weight.data += 0.1
    export_onnx(model, tmp_path / "out")
    assert (tmp_path / "out" / "encoder.onnx").read_bytes() != first
    (tmp_path / "out" / "mine.txt").touch()
    message = contracts.refusal(export_onnx, model, tmp_path / "out")
    assert message.startswith("`output` must be a new folder, an empty one or an earlier export")
    assert "has mine.txt instead" in message
    for other in (tmp_path / "out" / "mine.txt", Path(seqae.__file__).parent / "demo"):
        assert "must be a new folder" in contracts.refusal(export_onnx, model, other)


def test_nothing_is_written_when_it_differs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("seqae.interchange.onnx.agreement.TOLERANCE", 1e-30)
    message = contracts.refusal(export_onnx, small(), tmp_path / "out")
    assert "Nothing was written" in message
    assert not list(tmp_path.iterdir())


def test_equal_models_make_equal_files(demo: Path, tmp_path: Path) -> None:
    export_onnx(seqae.load("demo"), tmp_path / "again")
    for name in NAMES:
        assert (tmp_path / "again" / name).read_bytes() == (demo / name).read_bytes(), name


def test_what_cannot_be_written_is_refused(tmp_path: Path) -> None:
    class OwnEncoder(Encoder):
        def __init__(self) -> None:
            super().__init__()

        def build(self, embedding_dim: int, max_length: int) -> None:
            self.output_dim = embedding_dim

        def forward(self, embedded: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
            return embedded[:, 0]

    model = small()
    for encoder in (OwnEncoder(), HierarchicalEncoder(8)):
        model.autoencoder.encoder = encoder
        message = contracts.refusal(export_onnx, model, tmp_path / "out")
        assert message.startswith("`encoder` must be one of DenseEncoder, GRUEncoder, ")
        assert f"but it is {type(encoder).__name__} instead" in message
    looking = SequenceAutoencoder(
        GRUEncoder(8), DeterministicLatent(8), AttentionGRUDecoder(8), embedding_dim=8
    ).build(model.tokenizer.vocabulary, 20)
    model = TextAutoencoder(looking.eval(), model.tokenizer)
    message = contracts.refusal(export_onnx, model, tmp_path / "out")
    assert message.startswith("`decoder` must be one of DenseDecoder, GRUDecoder")
    assert not list(tmp_path.iterdir())
