"""A graph that is wrong, as those of torch's exporter have been, is noticed and named."""

from __future__ import annotations

import math
from typing import Any

import contracts
import pytest
import torch
from test_model_graphs import make

from seqae.data.tokenizers import CharacterTokenizer, UnigramTokenizer, WordTokenizer
from seqae.interchange.onnx import agreement, recurrent_graphs, transformer_graphs
from seqae.interchange.onnx.graph import Graph, Value
from seqae.interchange.onnx.model_graphs import write_graphs

WRONG = "`model` must give the same as ONNX, but on "


def refusal(*parts: str) -> str:
    model = make(*parts)
    return contracts.refusal(agreement.largest_differences, model, write_graphs(model, {}))


def changed(monkeypatch: pytest.MonkeyPatch, operator: str, **attributes: Any) -> None:
    """Write an operator with other attributes."""
    call = Graph.call_many

    def call_many(self: Graph, name: str, *rest: Any, **own: Any) -> list[Value]:
        own = {**own, **attributes} if name == operator else own
        return call(self, name, *rest, **own)

    monkeypatch.setattr(Graph, "call_many", call_many)


def test_a_gru_of_other_equations(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in pytorch#189225."""
    changed(monkeypatch, "GRU", linear_before_reset=0)
    message = refusal("gru", "plain", "gru")
    assert message.startswith(f"{WRONG}1 rows of up to 1 tokens its latents differ by ")
    assert "at most 1e-04. Nothing was written." in message


def test_gates_in_the_order_of_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recurrent_graphs, "LSTM_ORDER", (0, 1, 2, 3))
    assert "its latents differ by" in refusal("lstm", "plain", "gru")


def test_a_length_that_is_frozen(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in pytorch#191855: it runs at the length of the example alone."""

    def size(self: Value, axis: int) -> Any:
        return self.graph.constant(7) if axis == 1 else real(self, axis)

    real = Value.size
    monkeypatch.setattr(Value, "size", size)
    message = refusal("gru", "plain", "gru")
    assert message.startswith(WRONG)
    assert "onnxruntime says " in message


def test_padding_that_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first batch of which rows differ in length tells."""

    def ignored(mask: Value) -> Value:
        return real(mask) * 0.0

    real = transformer_graphs.mask_bias
    monkeypatch.setattr("seqae.interchange.onnx.encoder_graphs.mask_bias", lambda mask: None)
    message = refusal("transformer first", "plain", "gru")
    assert message.startswith(f"{WRONG}5 rows of up to 2 tokens its latents differ by ")


def test_a_decoder_that_forgets_what_it_wrote(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recurrent_graphs, "_gru_step", lambda inputs, recurred, state: [state[0]])
    assert "its logits differ by" in refusal("gru", "plain", "gru")


def test_values_that_are_not_finite_differ() -> None:
    assert agreement._difference(torch.tensor([math.nan]).numpy(), torch.ones(1)) == math.inf
    assert agreement._difference(torch.ones(2).numpy(), torch.ones(1)) == math.inf
    assert agreement._difference(torch.tensor([300.0]).numpy(), torch.tensor([200.0])) == 0.5
    assert agreement._difference(torch.tensor([0.3]).numpy(), torch.tensor([0.1])) < 0.21


@pytest.mark.parametrize("kind", [WordTokenizer, CharacterTokenizer, UnigramTokenizer])
def test_the_library_alone_reads_as_the_tokenizer_does(kind: Any) -> None:
    """Unknown text, too, which each kind writes in a way of its own."""
    tokenizer = kind()
    tokenizer.train(["the cat sat", "a dog's mat"])
    agreement.check_tokenizer(tokenizer, ["the dog sat", "an unknown word"])


def test_a_tokenizer_that_only_seqae_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = WordTokenizer()
    tokenizer.train(["the cat sat"])
    monkeypatch.setattr(tokenizer, "_join", lambda ids: "other")
    message = contracts.refusal(agreement.check_tokenizer, tokenizer, ["the cat"])
    assert "'the cat' is not the same there as in this WordTokenizer" in message
