"""torch.compile of a Transformer's blocks: few compilations, the same numbers, the same names."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from small import CONFIGS, SENTENCES, figures, run_seqae, write_recipe, write_text
from torch._dynamo.testing import CompileCounterWithBackend

from seqae.batch import Batch, Vocabulary
from seqae.model.autoencoder import SequenceAutoencoder
from seqae.model.decoders import GRUDecoder
from seqae.model.encoders import GRUEncoder
from seqae.model.latents import DeterministicLatent
from seqae.model.transformer import TransformerDecoder, TransformerEncoder
from seqae.training.compiling import compile_blocks

# torch's own compiler imports what torch is about to drop, and looks at gradients of what has none.
pytestmark = [
    pytest.mark.filterwarnings("ignore:.torch.jit.script_method. is deprecated"),
    pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf"),
]

MOST = 8  # masked and causal, first block and others, sizes of 1: six now


def build() -> SequenceAutoencoder:
    torch.manual_seed(0)
    sizes = {"hidden_dim": 16, "num_layers": 3, "num_heads": 2, "feedforward_dim": 32}
    model = SequenceAutoencoder(
        TransformerEncoder(**sizes), DeterministicLatent(8), TransformerDecoder(**sizes), 16
    )
    return model.build(Vocabulary(20, 0, 1, 2, 3), 32)


def batches() -> list[Batch]:
    generator = torch.Generator().manual_seed(0)
    shapes = [(2, 5), (3, 9), (4, 30), (1, 3), (7, 12), (5, 31), (2, 17), (9, 8), (6, 6), (8, 21)]
    return [
        Batch(torch.randint(4, 20, shape, generator=generator), torch.full(shape[:1], shape[1]))
        for shape in shapes
    ]


@pytest.fixture
def fresh() -> None:
    torch._dynamo.reset()


@pytest.mark.usefixtures("fresh")
def test_few_compilations_for_many_shapes() -> None:
    plain, model = build(), build()
    counter = CompileCounterWithBackend("eager")
    for block in model.modules():
        if type(block).__name__ == "TransformerBlock":
            block.compile(dynamic=True, backend=counter)
    for batch in batches():
        expected, found = plain(batch), model(batch)
        assert torch.allclose(expected, found, atol=1e-6)
        expected.sum().backward()
        found.sum().backward()
    for one, other in zip(plain.parameters(), model.parameters(), strict=True):
        assert torch.allclose(one.grad, other.grad, rtol=1e-4, atol=1e-5)
    assert 0 < counter.frame_count <= MOST
    assert model.state_dict().keys() == plain.state_dict().keys()


def test_nothing_to_compile() -> None:
    model = SequenceAutoencoder(GRUEncoder(8), DeterministicLatent(4), GRUDecoder(8), 8)
    model.build(Vocabulary(20, 0, 1, 2, 3), 16)
    with pytest.raises(ValueError, match="`model.compile` must be false for GRUEncoder and GRUD"):
        compile_blocks(model)


def test_no_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(ValueError, match="where there is no C\\+\\+ compiler"):
        compile_blocks(build())


@pytest.mark.slow
@pytest.mark.usefixtures("fresh")
def test_a_training_from_the_command(tmp_path: Path) -> None:
    """With the real backend, and the C++ compiler of this machine."""
    text = write_text(tmp_path / "text.txt", SENTENCES)
    options = ["-c", CONFIGS / "transformer.yaml", "-c", write_recipe(tmp_path)]
    sizes = "{hidden_dim: 16, num_layers: 1, num_heads: 2, feedforward_dim: 32}"
    for part in ("encoder", "decoder"):
        kind = f"{{class_path: Transformer{part.title()}, init_args: {sizes}}}"
        options += [f"--model.autoencoder.{part}", kind]
    options += ["--data.train", text, "--data.val", text]
    assert run_seqae("fit", *options, "--run_dir", tmp_path / "plain") == 0
    compiled = ["--model.compile", "true", "--run_dir", tmp_path / "compiled"]
    assert run_seqae("fit", *options, *compiled) == 0
    assert run_seqae("check", tmp_path / "compiled") == 0
    for one, other in zip(figures(tmp_path / "plain"), figures(tmp_path / "compiled"), strict=True):
        if "train/loss" in one:
            assert other["train/loss"] == pytest.approx(one["train/loss"], rel=1e-3)
