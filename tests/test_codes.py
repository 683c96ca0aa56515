"""Codes: the likelihood is exact, a Markov chain is learnt, hostile files are refused."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import contracts
import pytest
import safetensors.torch
import torch
from small import run_seqae, write_text
from test_bundle import MAX_LENGTH
from test_latent_space_tasks import Out, printed, refused
from test_stored_priors import contents
from torch import Generator, Tensor

import seqae
from seqae.bundle.prior_draws import default_prior
from seqae.bundle.stored_priors import add_priors, prior_file, prior_to_bytes, read_priors
from seqae.bundle.text_autoencoder import TextAutoencoder
from seqae.data.tokenizers import ByteTokenizer
from seqae.model.autoencoder import SequenceAutoencoder
from seqae.model.decoders import GRUDecoder
from seqae.model.encoders import GRUEncoder
from seqae.model.latents import VectorQuantisedLatent
from seqae.priors import CodesPrior, Drawing
from seqae.priors.codes import MAX_TABLE
from seqae.priors.conditions import MAX_LABELS

FILE = prior_file("codes")
POSITIONS, CHOICES = 4, 5


def seeded(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


def layer_of(num_codes: int, num_groups: int, num_vectors: int = 1) -> VectorQuantisedLatent:
    layer = VectorQuantisedLatent(2 * num_groups, num_codes, num_groups)
    layer.build(3, num_vectors)
    book = torch.randn(layer.codebook.shape, generator=seeded(9))
    layer.codebook.copy_(book)
    return layer


def prior_of(layer: VectorQuantisedLatent, **options: Any) -> CodesPrior:
    prior = CodesPrior(**({"hidden_dim": 32} | options))
    prior.prepare(layer)
    return prior


class Chain:
    """A Markov chain over the codes of four positions, each of which has five."""

    def __init__(self) -> None:
        logits = 1.5 * torch.randn(POSITIONS, CHOICES, CHOICES, generator=seeded(1))
        self.chances = logits.softmax(dim=2)  # by position, and by the code before it

    def draw(self, count: int, seed: int) -> Tensor:
        codes = [torch.zeros(count, dtype=torch.int64)]
        generator = seeded(seed)
        for chances in self.chances:
            codes.append(torch.multinomial(chances[codes[-1]], 1, generator=generator)[:, 0])
        return torch.stack(codes[1:], dim=1)

    def log_likelihood(self, codes: Tensor) -> Tensor:
        before = torch.cat([torch.zeros(len(codes), 1, dtype=torch.int64), codes[:, :-1]], dim=1)
        return self.chances[torch.arange(POSITIONS), before, codes].log().sum(dim=1)


LAYER = layer_of(CHOICES, POSITIONS)


@pytest.fixture(scope="module")
def chain() -> CodesPrior:
    """Fitted to the chain; half of the sentences, those that begin with code 4, are longer."""
    codes = Chain().draw(8000, 1)
    begins = codes[:, 0] == 4
    prior = prior_of(LAYER, steps=300, learning_rate=1e-2, dropout=0.0)
    labels = ["four" if it else "other" for it in begins.tolist()]
    prior.fit(LAYER.lookup(codes), 5 + 10 * begins, labels)
    return prior


def test_a_markov_chain_is_learnt_to_two_percent_of_its_entropy(chain: CodesPrior) -> None:
    truth, codes = Chain(), Chain().draw(4000, 2)
    entropy = -float(truth.log_likelihood(codes).mean())
    learnt = -float(chain.log_likelihood(LAYER.lookup(codes)).mean())
    assert entropy < learnt < 1.02 * entropy
    assert chain.nats is not None
    assert chain.nats.count == 400
    assert chain.nats.codes == pytest.approx(learnt, abs=0.2)  # of other sentences
    assert learnt + 0.5 < chain.nats.independent < chain.nats.uniform
    assert chain.nats.uniform == POSITIONS * math.log(CHOICES)


def test_draws_are_as_frequent_as_their_likelihood(chain: CodesPrior) -> None:
    """And each is a latent that the model makes, to the bit."""
    drawn = chain.sample(4000, seeded(3))
    codes = (LAYER.codebook[None] - drawn.view(-1, POSITIONS, 1, 2)).abs().sum(dim=3)
    assert float(codes.min(dim=2).values.max()) == 0
    every = torch.tensor(list(itertools.product(range(CHOICES), repeat=POSITIONS)))
    found = (codes.argmin(dim=2)[:, None] == every).all(dim=2).float().mean(dim=0)
    expected = chain.log_likelihood(LAYER.lookup(every)).exp()
    assert float(expected.sum()) == pytest.approx(1, abs=1e-5)
    assert float((found - expected).abs().max()) < 4 * float((expected.max() / 4000).sqrt())


def test_the_likelihood_sums_to_one_over_two_vectors_of_three_codes() -> None:
    layer = layer_of(3, 1, num_vectors=2)
    every = layer.lookup(torch.tensor(list(itertools.product(range(3), repeat=2))))
    prior = prior_of(layer, steps=5)
    prior.fit(every.repeat(3, 1), torch.arange(27) + 2, ["a", "b", "c"] * 9)
    assert prior.tensors()["embedding"].shape[:2] == (2, 3)
    for lengths, labels in ((None, None), (torch.full((9,), 7), ["b"] * 9)):
        likelihood = prior.log_likelihood(every, lengths, labels)
        assert float(likelihood.exp().sum()) == pytest.approx(1, abs=1e-6)


def test_length_and_label_are_followed(chain: CodesPrior) -> None:
    for asked, value in (
        (Drawing(label="four"), 1.0),
        (Drawing(label="other"), 0.0),
        (Drawing(length=15), 1.0),
        (Drawing(length=5, guidance=2.0), 0.0),
    ):
        first = chain.sample(400, seeded(4), asked)[:, :2]
        share = float((first == LAYER.codebook[0, 4]).all(dim=1).float().mean())
        assert share == pytest.approx(value, abs=0.05)


def test_a_low_temperature_draws_the_likeliest(chain: CodesPrior) -> None:
    nothing, little = (
        chain.sample(50, seeded(), Drawing(prior_temperature=t)) for t in (0.0, 1e-30)
    )
    assert torch.equal(nothing, little)
    assert torch.equal(nothing, nothing[:1].expand(50, -1))
    cool = chain.sample(500, seeded(), Drawing(prior_temperature=0.5))
    warm = chain.sample(500, seeded())
    assert chain.log_likelihood(cool).mean() > chain.log_likelihood(warm).mean() + 0.5
    assert chain.sample(0, seeded()).shape == (0, 8)


def test_the_same_seed_gives_the_same_prior_and_no_global_number_is_drawn() -> None:
    latents = LAYER.lookup(Chain().draw(50, 0))
    before, fitted = torch.get_rng_state(), []
    for _ in range(2):
        fitted.append(prior_of(LAYER, hidden_dim=4, steps=3))
        fitted[-1].fit(latents, seed=7)
    assert torch.equal(torch.get_rng_state(), before)
    first, again = (prior.tensors() for prior in fitted)
    assert all(torch.equal(first[name], again[name]) for name in first)


def test_few_sentences_hold_out_none() -> None:
    prior = prior_of(LAYER, hidden_dim=4, steps=2)
    prior.fit(LAYER.lookup(Chain().draw(5, 0)))
    assert prior.nats is None
    assert prior.report() == ""
    assert "`length`" in contracts.refusal(prior.sample, 1, seeded(), Drawing(length=5))


def test_what_has_no_codes_is_refused() -> None:
    prior = CodesPrior()
    message = contracts.refusal(prior.prepare, contracts.make_model().latent)
    assert "but it is a DeterministicLatent instead" in message
    assert "`seqae fit -c vq`" in message
    assert "`prior.prepare(" in contracts.refusal(prior.fit, torch.zeros(9, 4))
    prior.prepare(LAYER)
    assert "consist of the model's codes" in contracts.refusal(prior.fit, torch.zeros(9, 8))


# In a bundle


def vq_model() -> TextAutoencoder:
    tokenizer, layer = ByteTokenizer(), VectorQuantisedLatent(8, 5, 4)
    torch.manual_seed(0)
    model = SequenceAutoencoder(GRUEncoder(6), layer, GRUDecoder(6), 6)
    return TextAutoencoder(model.build(tokenizer.vocabulary, MAX_LENGTH).eval(), tokenizer)


TEXTS = [f"{who} {does}" for who in ("a cat", "the dog", "she", "we") for does in ("sat", "ran")]


@pytest.fixture(scope="module")
def fitted() -> tuple[TextAutoencoder, CodesPrior]:
    model = vq_model()
    prior = CodesPrior(hidden_dim=4, steps=3)
    prior.prepare(model.autoencoder.latent)
    prior.fit(torch.from_numpy(model.encode(TEXTS)), torch.arange(8) + 3, list("abcdabcd"))
    return model, prior


def test_it_comes_back_to_the_bit_and_is_the_default(
    fitted: tuple[TextAutoencoder, CodesPrior], tmp_path: Path
) -> None:
    model, prior = fitted
    model.save(tmp_path / "bundle")
    add_priors(tmp_path / "bundle", {"codes": prior})
    loaded = seqae.load(tmp_path / "bundle")
    again = loaded.priors["codes"]
    assert isinstance(again, CodesPrior)
    assert again.config() == prior.config()
    assert again.tensors().keys() == prior.tensors().keys()
    for name, tensor in prior.tensors().items():
        assert torch.equal(again.tensors()[name], tensor)
    asked = Drawing(length=6, label="b", guidance=1.5)
    assert torch.equal(again.sample(9, seeded(), asked), prior.sample(9, seeded(), asked))
    assert default_prior(loaded.autoencoder, loaded.priors) == "codes"
    assert loaded.sample(3, seed=2) == loaded.sample(3, "codes", seed=2)


HEADERS: list[Callable[[dict[str, Any]], object]] = [
    lambda d: d["found"].pop("labels"),
    lambda d: d["found"].pop("codebook"),
    lambda d: d["found"].update(more=1),
    lambda d: d["found"].update(labels=["a"] * (MAX_LABELS + 1)),
    lambda d: d["found"].update(labels=["a"]),
    lambda d: d["found"].update(codebook=None),
    lambda d: d["found"].update(codebook=[4, 5]),
    lambda d: d["found"].update(codebook=[4, 5.0, 2]),
    lambda d: d["found"].update(codebook=[4, 5, 0]),
    lambda d: d["found"].update(codebook=[4, 5, -2]),
    lambda d: d["found"].update(codebook=[3, 5, 2]),
    lambda d: d["found"].update(codebook=[4, MAX_TABLE, 2]),
    lambda d: d["found"].update(codebook=[4, 2**16, 1]),
    lambda d: d["found"].update(codebook=[10**30, 5, 2]),
    lambda d: d["prior"]["init_args"].update(hidden_dim=8),
    lambda d: d["prior"]["init_args"].update(hidden_dim=10**9),
    lambda d: d["prior"].update(class_path="FlowPrior"),
]
TENSORS: list[Callable[[dict[str, Tensor]], object]] = [
    lambda d: d.pop("codebook"),
    lambda d: d.update(more=torch.zeros(1)),
    lambda d: d.update(codebook=torch.zeros(4, 5, 3)),
    lambda d: d.update(codebook=torch.full((4, 5, 2), torch.nan)),
    lambda d: d.update(bias=torch.full((4, 5), torch.inf)),
    lambda d: d.update(bias=torch.zeros(4, 6)),
    lambda d: d.update(start=d["start"].double()),
    lambda d: d.update(length_scale=torch.tensor([1.0, -1.0])),
    lambda d: d.update(length_scale=torch.tensor([1.0, 0.0])),
]


@pytest.mark.parametrize("change", [*HEADERS, *TENSORS])
def test_a_hostile_prior_is_refused(
    fitted: tuple[TextAutoencoder, CodesPrior], tmp_path: Path, change: Callable[[Any], object]
) -> None:
    (tmp_path / FILE).write_bytes(prior_to_bytes(fitted[1]))
    assert list(read_priors(tmp_path, 8)) == ["codes"]
    tensors, metadata = contents(tmp_path / FILE)
    described = json.loads(metadata["seqae"])
    change(described if change in HEADERS else tensors)
    data = safetensors.torch.save(tensors, {"seqae": json.dumps(described)})
    (tmp_path / FILE).write_bytes(data)
    assert FILE in contracts.refusal(read_priors, tmp_path, 8)


# On the command line


def test_the_command(tmp_path: Path, capsys: Out, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, initial = tmp_path / "bundle", CodesPrior.__init__.__defaults__
    vq_model().save(folder)
    monkeypatch.setattr(CodesPrior.__init__, "__defaults__", (4, 2, *(initial or ())[2:]))
    text = write_text(tmp_path / "text.txt", TEXTS * 5)
    assert run_seqae("prior", folder, "--input", text, "--kind", "gaussian") == 0
    assert run_seqae("sample", folder, "--count", 2) == 0
    assert f"`seqae prior {folder} --kind codes`" in capsys.readouterr().err
    assert run_seqae("prior", folder, "--input", text, "--kind", "codes") == 0
    said = printed(capsys)
    assert "fitted codes to 40 latents" in said[0]
    assert said[1].startswith("codes: ")
    assert "on 2 held-out texts (with independent codes " in said[1]
    assert said[1].endswith("uniform 6.4).")
    assert run_seqae("sample", folder, "--count", 2, "--length", 5, "--seed", 1) == 0
    assert capsys.readouterr().err == ""
    assert run_seqae("sample", folder, "--count", 2, "--prior", "gaussian") == 0
    assert "For a prior of these: `--prior codes`." in capsys.readouterr().err
    line = refused(capsys, "sample", folder, "--prior", "prior")
    assert "`seqae prior MODEL --kind codes`" in line
    rows = [f"{text} {i}\t{label}" for text in TEXTS for i, label in enumerate("ab")]
    labels = write_text(tmp_path / "labels.tsv", rows)
    assert run_seqae("prior", folder, "--kind", "codes", "--labels", labels) == 0
    assert "fitted codes to 16 latents" in printed(capsys)[0]
    assert run_seqae("sample", folder, "--count", 1, "--label", "b") == 0
    assert run_seqae("prior", folder, "--kind", "codes", "--remove") == 0
    assert not (folder / FILE).exists()
    assert run_seqae("check", folder) == 0


def test_a_model_without_codes_has_a_way_out(overfit_run: Path, capsys: Out) -> None:
    for asked in (["prior", overfit_run, "--kind"], ["sample", overfit_run, "--prior"]):
        line = refused(capsys, *asked, "codes")
        assert line.startswith("`codes` can be a prior only of a model whose latent has codes")
        assert line.endswith("or train such a model: `seqae fit -c vq`.")
