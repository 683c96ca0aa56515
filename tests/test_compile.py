"""Compiled kernels: the same numbers, few graphs for all sizes, and names that stay."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from contracts import make_model, random_batch
from small import figures, numbered, run_seqae, write_recipe, write_text
from torch import Generator, nn
from torch._dynamo.testing import CompileCounterWithBackend

from seqae.model import cross_entropy
from seqae.model import transformer as attention
from seqae.model.autoencoder import SequenceAutoencoder
from seqae.model.compiled import compiled
from seqae.model.cross_entropy import linear_cross_entropy
from seqae.model.decoders import TransformerDecoder
from seqae.model.encoders import TransformerEncoder
from seqae.objectives import Reconstruction

# torch's compiler imports what torch has deprecated, and looks at gradients that there are not.
pytestmark = pytest.mark.filterwarnings(
    "ignore:.*torch.jit.script_method:DeprecationWarning",
    "ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning",
)

Counters = dict[str, CompileCounterWithBackend]


@pytest.fixture
def counters(monkeypatch: pytest.MonkeyPatch) -> Iterator[Counters]:
    """Count graphs, by function; they run as they are, so that no compiler is waited for."""
    torch._dynamo.reset()
    found: Counters = {}
    functions: dict[str, Callable[..., Any]] = {}

    def counted(function: Callable[..., Any]) -> Callable[..., Any]:
        name = function.__name__
        if name not in found:
            found[name] = CompileCounterWithBackend("eager")
            functions[name] = torch.compile(function, dynamic=True, backend=found[name])
        return functions[name]

    monkeypatch.setattr(attention, "compiled", counted)
    monkeypatch.setattr(cross_entropy, "compiled", counted)
    yield found
    torch._dynamo.reset()


def transformer(**options: Any) -> SequenceAutoencoder:
    torch.manual_seed(0)
    sizes: dict[str, Any] = {"hidden_dim": 16, "feedforward_dim": 24, "num_heads": 2}
    sizes["num_layers"] = 1
    parts = TransformerEncoder(**sizes), TransformerDecoder(**sizes)
    return make_model(encoder=parts[0], decoder=parts[1], **options)


def step(model: SequenceAutoencoder, lengths: list[int]) -> tuple[float, list[torch.Tensor]]:
    """Loss and gradients of a training step."""
    model.train().zero_grad()
    objective = Reconstruction(label_smoothing=0.1, word_dropout=0.2)
    torch.manual_seed(3)
    values = objective(model, random_batch(lengths), 0, Generator().manual_seed(0))
    values["loss"].backward()
    return float(values["loss"].detach()), [
        w.grad for w in model.parameters() if w.grad is not None
    ]


SIZES = ([5, 4, 3], [6, 6], [7, 3, 3, 3], [4] * 9, [3, 3], [9, 8, 5], [8] * 3, [5, 5, 5, 5, 5])


@pytest.mark.parametrize(
    "precision", [torch.float32, pytest.param(torch.bfloat16, marks=pytest.mark.slow)]
)
def test_graphs_are_few_for_any_number_of_sizes(counters: Counters, precision: torch.dtype) -> None:
    plain, fast = transformer(), transformer()
    names = list(plain.state_dict())
    fast.compile_parts()
    is_half = precision == torch.bfloat16
    for lengths in SIZES:
        with torch.autocast("cpu", precision, enabled=is_half):
            (expected, theirs), (found, ours) = step(plain, lengths), step(fast, lengths)
        assert found == pytest.approx(expected, rel=0.02 if is_half else 1e-5)
        for one, other in zip(ours, theirs, strict=True):
            assert (one - other).norm() <= (0.05 if is_half else 1e-4) * other.norm() + 1e-6
    graphs = {name: counter.frame_count for name, counter in counters.items()}
    assert graphs.keys() == {"run_block", "_read_chunk"}
    assert graphs["_read_chunk"] == 1
    assert 2 <= graphs["run_block"] <= 4  # of the encoder and the decoder
    assert list(fast.state_dict()) == names


def test_single_rows_and_writing_are_not_compiled(counters: Counters) -> None:
    model = transformer()
    model.compile_parts()
    step(model, [5])
    model.eval()
    model(random_batch())
    assert "run_block" not in counters


def test_recurrent_layers_are_left_alone(counters: Counters) -> None:
    model = make_model()
    model.compile_parts()
    step(model, [5, 4])
    assert counters.keys() == {"_read_chunk"}


def test_above_the_limit_nothing_more_is_compiled(counters: Counters) -> None:
    """Blocks of many sizes, each of which would have a graph of its own."""
    with torch._dynamo.config.patch(recompile_limit=2):
        for size in range(2, 7):
            sizes = 4, 1, 1, 3 * size
            config = attention.TransformerConfig(*sizes, "gelu", 0.0, "layer", "rotary")
            block = attention.TransformerBlock(config)
            run = attention.compiled(attention.run_block)
            inputs = torch.randn(3, 4, 4)
            expected, _ = block(inputs, None, None, False, ())
            found, _ = run(block, inputs, None, None, False, ())
            torch.testing.assert_close(found, expected)
    assert counters["run_block"].frame_count <= 3


def test_the_loss_as_real_kernels() -> None:
    """By the C++ compiler that is here."""
    torch._dynamo.reset()
    weight = nn.Parameter(torch.randn(50, 8))
    bias = nn.Parameter(torch.randn(50))
    for count in (7, 30, 12):
        features, target = torch.randn(count, 8), torch.randint(50, (count,))
        gradients = []
        for is_compiled in (False, True):
            leaf = features.clone().requires_grad_()
            loss, plain, correct = linear_cross_entropy(
                leaf, weight, bias, target, 0.1, is_compiled
            )
            gradients.append(torch.autograd.grad(loss, (leaf, weight, bias)))
            gradients[-1] += (loss.detach(), plain, correct)
        for one, other in zip(*gradients, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)
    entries = torch._dynamo.eval_frame._debug_get_cache_entry_list(cross_entropy._read_chunk)
    assert len(entries) == 1
    torch._dynamo.reset()
    compiled.cache_clear()


LOSS = """
import torch
from seqae.model.cross_entropy import linear_cross_entropy
torch.manual_seed(1)
weight, bias, target = torch.randn(50, 8), torch.randn(50), torch.randint(50, (30,))
features = torch.randn(30, 8, requires_grad=True)
loss, *_ = linear_cross_entropy(features, weight, bias, target, 0.1, True)
loss.backward()
print(float(loss), features.grad.norm().item())
"""


@pytest.mark.slow
@pytest.mark.skipif(
    torch.backends.cpu.get_cpu_capability() != "AVX512", reason="an older processor is emulated"
)
def test_kernels_of_another_processor_are_not_taken_from_the_cache(tmp_path: Path) -> None:
    values = []
    for capability in ("avx512", "avx2"):
        environment = dict(os.environ, TORCHINDUCTOR_CACHE_DIR=str(tmp_path))
        environment["ATEN_CPU_CAPABILITY"] = capability
        done = subprocess.run(
            [sys.executable, "-c", LOSS], env=environment, capture_output=True, text=True
        )
        values.append([float(value) for value in done.stdout.split()])
        assert len(values[-1]) == 2, done.stderr
    assert values[1] == pytest.approx(values[0], rel=1e-4)


@pytest.mark.slow
def test_a_compiled_run_writes_the_same_bundle(tmp_path: Path) -> None:
    """Transformer blocks as real kernels, through the command."""
    text = write_text(tmp_path / "text.txt", numbered(60))
    parts = ["--model.autoencoder.encoder", "TransformerEncoder"]
    parts += ["--model.autoencoder.decoder", "TransformerDecoder"]
    arguments = ["-c", write_recipe(tmp_path), "--data.train", text, *parts]
    found = []
    for flag in ("false", "true"):
        options = ["--model.compiled", flag, "--run_dir", tmp_path / flag]
        assert run_seqae("fit", *arguments, *options, "--trainer.max_epochs", 2) == 0
        assert run_seqae("check", tmp_path / flag) == 0
        found.append([row["train/loss"] for row in figures(tmp_path / flag) if "train/loss" in row])
    assert found[1] == pytest.approx(found[0], rel=1e-3)
    configs = [
        (tmp_path / flag / "bundle" / "config.json").read_bytes() for flag in ("false", "true")
    ]
    assert configs[0] == configs[1]


def test_a_missing_compiler_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    text = write_text(tmp_path / "text.txt", numbered(60))
    arguments = ["-c", write_recipe(tmp_path), "--data.train", text, "--model.compiled", "true"]
    assert run_seqae("fit", *arguments, "--run_dir", tmp_path / "run") == 1
    error = capsys.readouterr().err
    assert "`model.compiled` must be false" in error
    assert "no-such-compiler" in error
    assert error.count("\n") == 1
    assert not (tmp_path / "run").exists()
