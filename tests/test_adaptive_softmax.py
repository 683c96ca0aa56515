"""A softmax in clusters: one distribution over all words, its loss, its search, its bundle."""

from __future__ import annotations

from pathlib import Path

import contracts
import pytest
import torch
from ranks import FORKS, run_on_ranks
from small import SENTENCES, run_seqae, write_recipe, write_text
from torch import Tensor

import seqae
from seqae.batch import Vocabulary
from seqae.bundle.text_autoencoder import TextAutoencoder
from seqae.data.tokenizers import BPETokenizer
from seqae.generation import Decoding, generate
from seqae.generation.search import SingleSearch
from seqae.interchange.onnx import agreement
from seqae.interchange.onnx.model_graphs import write_graphs
from seqae.metrics.nll import sentence_nll
from seqae.model.adaptive import clustered_cross_entropy as clustered
from seqae.model.adaptive.adaptive_softmax import AdaptiveSoftmax
from seqae.model.autoencoder import SequenceAutoencoder
from seqae.model.cross_entropy import linear_cross_entropy
from seqae.model.decoders import GRUDecoder
from seqae.model.encoders import GRUEncoder
from seqae.model.int8 import to_int8
from seqae.model.latents import DeterministicLatent
from seqae.model.memory.copying import Copying
from seqae.objectives import Reconstruction

V, D, CUTOFFS = 23, 6, [8, 12, 17]
VOCABULARY = Vocabulary(V, 0, 1, 2, 3)
ORDERS = pytest.mark.parametrize("order", ["vocabulary", "counts"])


def make(order: str = "vocabulary", dtype: torch.dtype = torch.float32) -> AdaptiveSoftmax:
    adaptive = AdaptiveSoftmax(CUTOFFS, order)
    adaptive.build(D, VOCABULARY)
    if order == "counts":
        adaptive.rank(torch.randint(0, 5, (V,)))  # many are equal
    return adaptive.to(dtype)


def problem(rows: int, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor, Tensor]:
    shapes = (rows, D), (V, D), (V,)
    inputs, weight, bias = (torch.randn(s, dtype=dtype, requires_grad=True) for s in shapes)
    return inputs, weight, bias


def model_of(order: str = "vocabulary", head: str = "tied", sharp: float = 1.0):
    parts = GRUEncoder(7), DeterministicLatent(8), GRUDecoder(9, position_dim=0)
    adaptive = AdaptiveSoftmax(CUTOFFS, order)
    model = SequenceAutoencoder(*parts, contracts.EMBEDDING_DIM, head, adaptive=adaptive)
    model.build(contracts.VOCABULARY, contracts.MAX_LENGTH)
    if order == "counts":
        adaptive.rank(torch.randint(0, 9, (V,)))
    with torch.no_grad():
        model.output_layer(torch.zeros(1, 9))[1].mul_(sharp)
        adaptive.weight.mul_(sharp)
    return model.eval()


def text_autoencoder(adaptive: AdaptiveSoftmax) -> TextAutoencoder:
    tokenizer = BPETokenizer(300)
    tokenizer.train(SENTENCES)
    parts = GRUEncoder(16), DeterministicLatent(8), GRUDecoder(16)
    model = SequenceAutoencoder(*parts, 8, adaptive=adaptive)
    return TextAutoencoder(model.build(tokenizer.vocabulary, 64).eval(), tokenizer)


# The distribution and its loss


@ORDERS
def test_it_is_one_distribution_over_all_words(order):
    adaptive, parts = make(order, torch.float64), problem(50, torch.float64)
    probabilities = adaptive.log_probabilities(*parts).exp()
    assert probabilities.shape == (50, V)
    torch.testing.assert_close(probabilities.sum(dim=1), torch.ones(50, dtype=torch.float64))


def test_a_probability_by_hand():
    """A shortlist of two words and a cluster of two: 1/4, 1/4 and 1/2, of which 1/4 and 3/4."""
    adaptive = AdaptiveSoftmax([2])
    adaptive.build(1, Vocabulary(4, 0, 1, 0, 1))
    with torch.no_grad():
        adaptive.weight.zero_()
        adaptive.bias.copy_(torch.tensor([2.0]).log())
    bias = torch.tensor([1.0, 1.0, 5.0, 15.0]).log()
    found = adaptive.log_probabilities(torch.zeros(1, 1), torch.zeros(4, 1), bias).exp()
    torch.testing.assert_close(found, torch.tensor([[0.25, 0.25, 0.125, 0.375]]))


def test_before_training_all_words_are_equally_likely():
    adaptive = make()
    found = adaptive.log_probabilities(torch.zeros(1, D), torch.zeros(V, D), torch.zeros(V)).exp()
    torch.testing.assert_close(found, torch.full((1, V), 1 / V))


@ORDERS
@pytest.mark.parametrize("elements", [1, 40, 10**9])
def test_loss_count_and_gradients_are_those_of_the_plain_formula(order, elements, monkeypatch):
    monkeypatch.setattr("seqae.model.cross_entropy.CHUNK_ELEMENTS", elements)
    adaptive, parts = make(order, torch.float64), problem(60, torch.float64)
    target = torch.randint(0, V, (60,))
    log_probabilities = adaptive.log_probabilities(*parts)
    target[::2] = log_probabilities[::2].argmax(dim=1)  # or few would be right
    expected = -log_probabilities.gather(1, target[:, None])[:, 0]
    found = adaptive.cross_entropy(*parts, target)
    torch.testing.assert_close(found.nll, expected)
    torch.testing.assert_close(found.loss, expected.sum())
    assert found.correct.item() == (log_probabilities.argmax(dim=1) == target).sum().item() >= 30
    weights = [*parts, adaptive.weight, adaptive.bias]
    # The caller divides by the number of tokens, so the gradient comes in scaled.
    torch.testing.assert_close(
        torch.autograd.grad(found.loss / 3, weights),
        torch.autograd.grad(expected.sum() / 3, weights),
    )
    with torch.no_grad():
        assert torch.equal(adaptive.cross_entropy(*parts, target).nll, found.nll)


def test_a_target_as_likely_as_another_word_is_not_the_likeliest():
    features, target = torch.ones(6, 2), torch.tensor([0, 1, 2, 5, 8, 9])
    layer = torch.zeros(10, 2), torch.zeros(10), torch.zeros(2, 2), torch.tensor([3.0, 4.0]).log()
    found = clustered.clustered_cross_entropy(features, *layer, target, (3, 6, 10))
    assert found.correct == 0
    layer[1][[0, 5]] = 20.0  # words of the shortlist and of a cluster
    found = clustered.clustered_cross_entropy(features, *layer, target, (3, 6, 10))
    assert found.correct == 1


def test_without_rare_words_all_weights_still_get_a_gradient():
    """DDP waits for a gradient of each weight, on every rank."""
    model = model_of()
    batch = contracts.random_batch()
    batch.token_ids.clamp_(max=CUTOFFS[0] - 1)
    loss = Reconstruction()(model.train(), batch, 0, torch.Generator())["loss"]
    loss.backward()
    assert all(weight.grad is not None for weight in model.parameters())
    assert not model.output_bias.grad[CUTOFFS[0] :].any()


def test_a_cluster_costs_its_own_words_alone(monkeypatch):
    shapes = []
    plain = clustered._read_chunk

    def record(chunk, weight, *rest):
        shapes.append((len(chunk), len(weight)))
        return plain(chunk, weight, *rest)

    monkeypatch.setattr(clustered, "_read_chunk", record)
    target = torch.tensor([0, 3, 7, 8, 20, 20, 1, 22])
    make().cross_entropy(*problem(8), target)
    assert shapes == [(8, 8 + 3), (1, 4), (3, 6)]


def test_half_precision_is_close_and_gradients_have_the_weights_type():
    adaptive, parts, target = make(), problem(40), torch.randint(0, V, (40,))
    weights = [*parts, adaptive.weight, adaptive.bias]
    expected = torch.autograd.grad(adaptive.cross_entropy(*parts, target).loss, weights)
    with torch.autocast("cpu", torch.bfloat16):
        found = adaptive.cross_entropy(*parts, target)
    assert found.loss.dtype == torch.float32
    torch.testing.assert_close(
        found.loss, adaptive.cross_entropy(*parts, target).loss, rtol=0.02, atol=0
    )
    for slope, other in zip(torch.autograd.grad(found.loss, weights), expected, strict=True):
        assert slope.dtype == torch.float32
        assert torch.cosine_similarity(slope.flatten(), other.flatten(), dim=0) > 0.999


def test_huge_logits_stay_finite():
    adaptive, (inputs, weight, bias) = make(), problem(20)
    found = adaptive.cross_entropy(1e6 * inputs, weight, bias, torch.randint(0, V, (20,)))
    assert torch.isfinite(found.nll).all()
    assert torch.isfinite(torch.autograd.grad(found.loss, weight)[0]).all()


def test_the_plain_loss_is_its_limit():
    """A cluster whose entry is the sum of its words' exponentials is the plain softmax."""
    adaptive = AdaptiveSoftmax([5])
    adaptive.build(1, Vocabulary(9, 0, 1, 2, 3))
    bias, target = torch.randn(9), torch.arange(9)
    with torch.no_grad():
        adaptive.weight.zero_()
        adaptive.bias[0] = bias[5:].logsumexp(dim=0)
    nothing = torch.zeros(9, 1)
    _, plain, correct = linear_cross_entropy(nothing, nothing, bias, target)
    found = adaptive.cross_entropy(nothing, nothing, bias, target)
    torch.testing.assert_close(found.loss, plain)
    assert found.correct == correct


# Evaluation and generation


@ORDERS
@pytest.mark.parametrize("head", ["tied", "linear"])
def test_evaluation_is_that_of_the_whole_distribution(order, head):
    model, batch = model_of(order, head), contracts.random_batch()
    with torch.no_grad():
        output = model.encode(batch)
        found = sentence_nll(model, batch, output.latent)
        logits = model(batch).double().log_softmax(dim=2)
        values = Reconstruction()(model, batch, 0, torch.Generator())
    nll = -logits.gather(2, batch.target[..., None])[..., 0].masked_fill(~batch.target_mask, 0.0)
    torch.testing.assert_close(found, nll.sum(dim=1), rtol=1e-5, atol=1e-5)
    expected = nll.sum().float() / batch.num_targets
    torch.testing.assert_close(values["reconstruction"], expected, rtol=1e-5, atol=0)


@ORDERS
@pytest.mark.parametrize("count", [1, 3, 8, 9, V])
def test_the_best_words_are_exactly_the_best(order, count):
    adaptive, parts = make(order), problem(200)
    with torch.no_grad():
        parts[2][VOCABULARY.pad_id] += 3.0  # often the likeliest, and never written
        expected = adaptive.log_probabilities(*parts)
        found = adaptive.best(*parts, count)
    kept = found > -torch.inf
    torch.testing.assert_close(found[kept], expected[:, : found.shape[1]][kept])
    for log_probabilities in (expected, found):
        log_probabilities[:, [VOCABULARY.pad_id, VOCABULARY.bos_id]] = -torch.inf
    best = expected.topk(min(count, V - 2), dim=1).values
    torch.testing.assert_close(found.topk(best.shape[1], dim=1).values, best)
    assert kept.all() == (count >= CUTOFFS[0] - 1)


def test_clusters_that_cannot_win_are_not_computed():
    adaptive, (inputs, weight, bias) = make(), problem(5)
    with torch.no_grad():
        adaptive.bias[2] -= 100.0  # the last cluster
        adaptive.bias[1] += 100.0
        assert adaptive.best(inputs, weight, bias, 2).shape == (5, CUTOFFS[2])
        adaptive.bias.sub_(200.0)
        assert adaptive.best(inputs, weight, bias, 2).shape == (5, CUTOFFS[0])


MANNERS = [
    {},
    {"num_beams": 3, "num_return_sequences": 3, "length_penalty": 1.0},
    {"min_length": 5},
    {"temperature": 0.7, "top_k": 4},
    {"temperature": 1.0},
    {"temperature": 1.0, "top_p": 0.8},
    {"no_repeat_ngram_size": 1},
]


@ORDERS
@pytest.mark.parametrize("manner", MANNERS, ids=str)
@pytest.mark.parametrize("sharp", [1.0, 6.0])
def test_a_search_finds_what_it_finds_among_all_words(order, manner, sharp, monkeypatch):
    model, latent = model_of(order, sharp=sharp), 3 * torch.randn(16, 8)

    def written(scores: bool = True):
        generator = torch.Generator().manual_seed(0)
        options = Decoding(**manner)
        return generate(model, latent, options, generator=generator, scores=scores)

    found, quick = written(), written(scores=False)
    plain_step = model.step
    monkeypatch.setattr(model, "step", lambda token, state, count: plain_step(token, state))
    expected = written()
    for hypotheses, others, unscored in zip(found, expected, quick, strict=True):
        ids = [one.token_ids for one in hypotheses]
        assert ids == [one.token_ids for one in others]
        assert ids == [one.token_ids for one in unscored]
        scores = torch.tensor([one.score for one in hypotheses])
        torch.testing.assert_close(scores, torch.tensor([one.score for one in others]))


def test_greedy_scores_are_those_of_the_whole_distribution():
    model, latent = model_of(sharp=3.0), 3 * torch.randn(6, 8)
    for row, (best,) in zip(latent, generate(model, latent), strict=True):
        ids = [contracts.VOCABULARY.bos_id, *best.token_ids, contracts.VOCABULARY.eos_id]
        tokens = torch.tensor([ids])[:, : len(best.token_ids) + 2][:, : contracts.MAX_LENGTH]
        with torch.no_grad():
            logits = model.logits(model.decode(tokens[:, :-1], row[None]))
        score = logits.gather(2, tokens[:, 1:, None]).sum().item()
        assert best.score == pytest.approx(score, abs=1e-4)


def test_a_model_without_it_is_asked_for_all_logits():
    assert SingleSearch.is_normalized is False
    model = contracts.make_model()
    generate(model, torch.randn(2, 8))
    assert "adaptive" not in {name.partition(".")[0] for name in model.state_dict()}


@ORDERS
def test_as_onnx_it_gives_the_same(order):
    pytest.importorskip("onnxruntime")
    model = model_of(order)
    differences = agreement.largest_differences(model, write_graphs(model, {}))
    assert differences["logits"] < 1e-4


# From a recipe to a bundle


@ORDERS
def test_a_bundle_gives_the_same(order, tmp_path):
    adaptive = AdaptiveSoftmax([40, 90], order)
    model = text_autoencoder(adaptive=adaptive)
    if order == "counts":
        adaptive.rank(torch.randint(0, 9, (model.tokenizer.vocab_size,)))
    latents = model.encode(SENTENCES[8:12])
    folder = model.save(tmp_path / "bundle")
    loaded = seqae.load(folder)
    assert loaded.autoencoder.adaptive.config() == adaptive.config()
    assert loaded.decode(latents) == model.decode(latents)


def test_ranks_of_a_stranger_are_checked(tmp_path):
    model = text_autoencoder(adaptive=AdaptiveSoftmax([40], "counts"))
    model.autoencoder.adaptive.ranked_ids[3] = 10**9
    with pytest.raises(ValueError, match=r"^`adaptive.ranked_ids` of the model must have each"):
        seqae.load(model.save(tmp_path / "bundle"))


def fit(folder: Path, *options: object) -> list[int]:
    """Train for two steps, and return the ranked ids."""
    text = write_text(folder / "text.txt", SENTENCES)
    given = ["--data.train", text, "--run_dir", folder / "run", "--report", "false"]
    assert run_seqae("fit", *options, *given, "--trainer.max_steps", 2) == 0
    adaptive = seqae.load(folder / "run").autoencoder.adaptive
    return adaptive.ranked_ids.tolist()


COUNTED = [
    *("--model.autoencoder.adaptive.cutoffs", "[60, 120]"),
    *("--model.autoencoder.adaptive.order", "counts"),
]


def test_a_training_counts_what_it_ranks(tmp_path, capsys):
    ranked = fit(tmp_path, "-c", write_recipe(tmp_path), *COUNTED)
    assert "of the tokens are of the shortlist of 60" in capsys.readouterr().out
    assert ranked != sorted(ranked) == list(range(len(ranked)))


@pytest.mark.slow
def test_a_training_that_starts_from_a_bundle_keeps_its_ranks(tmp_path):
    first, again = tmp_path / "first", tmp_path / "again"
    first.mkdir(), again.mkdir()
    ranked = fit(first, "-c", write_recipe(tmp_path), *COUNTED)
    assert fit(again, "--init", first / "run") == ranked


@FORKS
@pytest.mark.slow
def test_ranks_without_rare_words_do_not_wait(tmp_path):
    text = write_text(tmp_path / "text.txt", ["a a a", "a a a a", "a", "a b c d e f g h"] * 4)
    arguments = ["fit", "-c", write_recipe(tmp_path), "--data.train", text]
    arguments += ["--data.batch_tokens", 8, "--trainer.max_steps", 4, "--run_dir", tmp_path / "run"]
    arguments += ["--model.autoencoder.adaptive.cutoffs", "[90, 120]"]
    assert run_on_ranks(tmp_path / "said", *arguments) == [0, 0]


# What is refused


@pytest.mark.parametrize(
    ("make_it", "beginning"),
    [
        (lambda: AdaptiveSoftmax([5, 5]), "`cutoffs` must ascend, but they are [5, 5]"),
        (lambda: AdaptiveSoftmax([]), "`len(cutoffs)` must be between 1 and 16"),
        (lambda: AdaptiveSoftmax([0, 5]), "`cutoffs` must be between 1 and"),
        (lambda: AdaptiveSoftmax([5], "size"), "`order` must be one of vocabulary, counts"),
        (lambda: AdaptiveSoftmax([V]).build(D, VOCABULARY), "`cutoffs` must be below the voca"),
        (lambda: model_of(head="nearest"), "`head` must be tied or linear beside `adaptive`"),
        (
            lambda: SequenceAutoencoder(
                GRUEncoder(7),
                DeterministicLatent(8),
                GRUDecoder(9),
                copying=Copying(4),
                adaptive=AdaptiveSoftmax(),
            ),
            "`copying` must be null beside `adaptive`",
        ),
        (lambda: to_int8(model_of()), "`compute_type` must be float32 for a model with `adaptive`"),
        (
            lambda: Reconstruction(label_smoothing=0.1).check(model_of()),
            "`label_smoothing` must be 0 beside `adaptive`",
        ),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(make_it, beginning):
    message = contracts.refusal(make_it)
    assert message.startswith(beginning)
    assert "\n" not in message
