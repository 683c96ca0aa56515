"""Copying: the mixture by hand and against torch, what is never copied, and what is refused."""

from __future__ import annotations

import contracts
import pytest
import torch
from torch import Tensor

from seqae.batch import Batch
from seqae.generation import Decoding, generate
from seqae.metrics.nll import sentence_nll
from seqae.model.autoencoder import SequenceAutoencoder
from seqae.model.decoders import AttentionGRUDecoder, AttentionTransformerDecoder, GRUDecoder
from seqae.model.latents import DeterministicLatent, GaussianLatent
from seqae.model.latents.latent_noise import LatentNoise
from seqae.model.memory.copying import Copying
from seqae.model.memory.cross_attention import Memory
from seqae.model.memory.mixture_cross_entropy import mixture_cross_entropy
from seqae.objectives import Denoising, MeanSquaredError, Reconstruction, Variational

GENERATOR = torch.Generator()
every_decoder = pytest.mark.parametrize(
    "decoder",
    [
        pytest.param(lambda: AttentionGRUDecoder(8), id="gru"),
        pytest.param(lambda: AttentionTransformerDecoder(8, 1, 2, 8), id="transformer"),
        pytest.param(lambda: GRUDecoder(8, position_dim=8), id="no attention"),
    ],
)


def pairs() -> Batch:
    batch = contracts.random_batch()
    return Batch(batch.token_ids, batch.lengths, contracts.random_batch([3, 6, 2, 4]))


def copying_model(decoder=None, coverage: float = 0.0, follow: int = 0) -> SequenceAutoencoder:
    decoder = decoder or AttentionGRUDecoder(8)
    return contracts.make_model(decoder=decoder, copying=Copying(8, coverage, follow))


def follow_pairs() -> Batch:
    """Pairs of which one side has a part of the other."""
    batch = pairs()
    assert batch.targets is not None
    batch.targets.token_ids[1, 1:4] = batch.token_ids[1, 2:5] = torch.tensor([5, 6, 7])
    return batch


def nll_of(logits: Tensor, batch: Batch) -> Tensor:
    return torch.nn.functional.cross_entropy(
        logits[batch.target_mask], batch.target[batch.target_mask]
    )


# The mixture


def test_a_mixture_by_hand():
    """Logits of 0 give each of 4 words 1/4; half of the time one of the source (2, 2, 3) is taken.

    So the word 2 has 1/8 + 1/2 * (1/2 + 1/4), the word 1 has 1/8.
    """
    copied = torch.tensor([[0.25, 0.125, 0.125]]).expand(2, -1)
    half = torch.tensor([0.5, 0.5]).log()
    of_target = torch.tensor([0.375, 1e-30]).log()
    source = torch.tensor([[2, 2, 3]]).expand(2, -1)
    arguments = torch.zeros(2, 5), torch.zeros(4, 5), None, torch.tensor([2, 1])
    loss, plain, correct = mixture_cross_entropy(*arguments, half, of_target, copied, source)
    expected = -(torch.tensor(0.5).log() + torch.tensor(0.125).log())
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(plain, expected)
    assert correct == 1


def test_the_mixture_and_its_gradients_are_those_of_all_logits(monkeypatch):
    monkeypatch.setattr("seqae.model.cross_entropy.CHUNK_ELEMENTS", 3 * 11)  # 3 rows each
    features, weight, bias = torch.randn(7, 5), torch.randn(11, 5), torch.randn(11)
    gate, of_target = torch.randn(7), torch.rand(7)
    target, source = torch.randint(11, (7,)), torch.randint(11, (7, 3))
    leaves = [part.requires_grad_() for part in (features, weight, bias, gate, of_target)]

    def written_and_copied() -> tuple[Tensor, Tensor]:
        logsigmoid = torch.nn.functional.logsigmoid
        return logsigmoid(-gate), logsigmoid(gate) + of_target.log()

    log_written, log_copied = written_and_copied()
    copied = torch.rand(7, 3) / 3
    layer = features, weight, bias, target
    loss, plain, _ = mixture_cross_entropy(*layer, log_written, log_copied, copied, source, 0.3)
    found = torch.autograd.grad(2 * loss, leaves)
    log_written, log_copied = written_and_copied()
    log_probs = (features @ weight.T + bias).log_softmax(dim=1)
    own = log_probs.gather(1, target[:, None])[:, 0]
    nll = -torch.logaddexp(own + log_written, log_copied)
    expected = (0.7 * nll - 0.3 * log_probs.mean(dim=1)).sum()
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(plain, nll.sum())
    torch.testing.assert_close(found, torch.autograd.grad(2 * expected, leaves))


@every_decoder
def test_the_loss_is_that_of_the_probabilities(decoder):
    model, batch = copying_model(decoder(), follow=2), pairs()
    logits = model(batch)
    torch.testing.assert_close(logits.exp().sum(dim=2), torch.ones(logits.shape[:2]))
    values = Reconstruction()(model, batch, 0, GENERATOR)
    torch.testing.assert_close(values["loss"], nll_of(logits, batch))
    is_right = (logits.argmax(dim=2) == batch.target)[batch.target_mask]
    assert values["teacher_forced_accuracy"].item() == pytest.approx(is_right.float().mean().item())
    encoded = model.encode(batch)
    nll = sentence_nll(model, batch, encoded.latent, encoded.memory)
    torch.testing.assert_close((nll.sum() / batch.num_targets).float(), values["loss"])


def test_a_run_that_was_copied_goes_on_by_hand():
    """Written is `5 6 7 6 5 6`; before which tokens of the source does a run of these end?"""
    copying = Copying(8, follow=2)
    copying.build(8, 8, contracts.VOCABULARY)
    token_ids = torch.tensor([[2, 5, 6, 7, 5, 6, 8, 3]])
    written = torch.tensor([[2, 5, 6, 7, 6, 5, 6]])  # bos never matches
    memory = Memory(torch.randn(1, 8, 8), torch.ones(1, 8, dtype=torch.bool), token_ids)
    *_, matches = copying.read(memory, written)
    assert matches[0].tolist() == [
        [0, 0, 0, 0, 0, 0, 0, 0],
        [0, 1, 0, 0, 1, 0, 0, 0],
        [0, 0, 2, 0, 0, 2, 0, 0],
        [0, 0, 0, 2, 0, 0, 0, 0],
        [0, 0, 1, 0, 0, 1, 0, 0],
        [0, 1, 0, 0, 1, 0, 0, 0],
        [0, 0, 2, 0, 0, 2, 0, 0],
    ]
    torch.nn.init.zeros_(copying.query.weight)
    copying.place_follows.data = torch.tensor([2.0, 3.0])
    pointed = copying.read(memory, written[:, :3])
    gate, places = copying.point(torch.zeros(1, 3, 8), *pointed)
    # After `5 6` the places of 7 and 8 have 2 + 3, all others but bos, pad and unk nothing.
    scores = torch.tensor([-torch.inf, 0.0, 0.0, 5.0, 0.0, 0.0, 5.0, 0.0])
    torch.testing.assert_close(places[0, 2], scores.softmax(dim=0))
    copying.gate_follows.data = torch.tensor([1.0, 0.5])
    told, _ = copying.point(torch.zeros(1, 3, 8), *pointed)
    torch.testing.assert_close((told - gate)[0], torch.tensor([0.0, 1.0, 1.5]))


# Contracts


@every_decoder
@pytest.mark.parametrize("follow", [0, 2])
def test_stepping_gives_the_logits_of_teacher_forcing(decoder, follow):
    model, batch = copying_model(decoder(), follow=follow), follow_pairs()
    logits, encoded = model(batch), model.encode(batch)
    state = model.init_state(encoded.latent, memory=encoded.memory)
    rows = torch.arange(4)
    for place, staying in enumerate([[3, 0, 2, 1], [1, 2, 3], [2, 0], [1]]):
        step_logits, state = model.step(batch.decoder_input[rows, place], state)
        torch.testing.assert_close(step_logits, logits[rows, place])
        rows, state = rows[staying], tuple(part[staying] for part in state)


@every_decoder
@pytest.mark.parametrize(("coverage", "follow"), [(0.0, 0), (0.5, 2)])
def test_padding_does_not_matter_and_gradients_reach_everything(decoder, coverage, follow):
    model, batch = copying_model(decoder(), coverage, follow), follow_pairs()
    objective = Reconstruction(label_smoothing=0.1)
    loss = objective(model, batch, 0, GENERATOR)["loss"]
    expected = contracts.gradients(loss, model)
    contracts.check_reached(expected)
    same = contracts.with_other_padding(contracts.wider(batch, 2))
    same_loss = objective(model, same, 0, GENERATOR)["loss"]
    torch.testing.assert_close(same_loss, loss)
    torch.testing.assert_close(contracts.gradients(same_loss, model), expected)


def test_coverage_is_what_two_steps_point_at_twice():
    model, batch = copying_model(), pairs()
    losses = []
    for coverage in (0.0, 1.0):
        assert model.copying is not None
        model.copying.coverage = coverage
        losses.append(Reconstruction()(model, batch, 0, GENERATOR)["loss"])
    encoded = model.encode(batch)
    features = model.decode(batch.decoder_input, encoded.latent, memory=encoded.memory)
    _, places = model.copying.point(
        features, *model.copying.read(encoded.memory, batch.decoder_input)
    )
    again = sum(
        torch.minimum(places[row, t], places[row, :t].sum(dim=0)).sum()
        for row in range(4)
        for t in range(1, int(batch.target_mask[row].sum()))
    )
    torch.testing.assert_close(losses[1] - losses[0], again / batch.num_targets)


def test_only_tokens_of_the_source_are_copied_and_never_bos_pad_or_unk():
    model, batch = copying_model(), pairs()
    batch.token_ids[0, 1] = contracts.VOCABULARY.unk_id
    with torch.no_grad():
        model.copying.gate.bias.fill_(100.0)  # always copies
    allowed = [set(row.tolist()) - {0, 1, 2} for row in batch.token_ids]
    probable = model(batch).exp() > 1e-6
    for row, ids in enumerate(allowed):
        assert set(probable[row].any(dim=0).nonzero().flatten().tolist()) <= ids


@pytest.mark.parametrize("options", [Decoding(), Decoding(num_beams=3), Decoding(temperature=1.0)])
def test_generation_does_not_depend_on_the_batch(options):
    model, batch = copying_model(), pairs()
    encoded = model.encode(batch)
    assert encoded.memory is not None

    def written(batch_size: int) -> list[list[int]]:
        generator = torch.Generator().manual_seed(3)
        arguments = {"memory": encoded.memory, "generator": generator, "batch_size": batch_size}
        found = generate(model, encoded.latent, options, lengths=[5, 2, 7, 3], **arguments)
        return [best.token_ids for best, *_ in found]

    assert written(100) == written(3)


# What is refused


def test_latents_alone_are_refused():
    model = copying_model()
    message = contracts.refusal(generate, model, model.encode(pairs()).latent)
    assert message.startswith("`latents` must not be decoded alone")


@pytest.mark.parametrize("parts", [{"decoder": AttentionGRUDecoder(8)}, {"copying": Copying(8)}])
def test_what_needs_a_bottleneck_is_refused(parts):
    model = contracts.make_model(**parts)
    Reconstruction().check(model, is_paired=True)
    Denoising().check(model, is_paired=False)
    for objective in (Variational(), MeanSquaredError()):
        message = contracts.refusal(objective.check, model)
        assert message.startswith("`model.objective` must be Reconstruction or Denoising")
    message = contracts.refusal(Reconstruction().check, model, False)
    assert message.startswith("`data.reading.target_column` must name what to write")
    latent = DeterministicLatent(8, normalize="layer")
    noisy = {"latent": latent, "latent_noise": LatentNoise(), **parts}
    message = contracts.refusal(contracts.make_model, **noisy)
    assert message.startswith("`latent_noise` must be null")
    assert contracts.make_model(latent=GaussianLatent(8), **parts).reads_memory
