"""The vector-quantised latent by hand: codes, straight-through, moving means, dead codes."""

from __future__ import annotations

import copy
import math
import pickle
from pathlib import Path
from typing import Any

import contracts
import pytest
import torch
import yaml
from ranks import FORKS, run_on_ranks
from small import RECIPE, SENTENCES, read_rows, write_text
from torch import Generator, Tensor

from seqae.model.latents.vector_quantised import VectorQuantisedLatent


def build(codebook: list[Any] | None = None, **options: Any) -> VectorQuantisedLatent:
    """Two dimensions and three codes, and a projection that changes nothing."""
    defaults = {"latent_dim": 2, "num_codes": 3, "num_groups": 1, "decay": 0.5}
    latent = VectorQuantisedLatent(**(defaults | options))
    latent.build(latent.latent_dim)
    with torch.no_grad():
        latent.projection.weight.copy_(torch.eye(latent.latent_dim))
        latent.projection.bias.zero_()
        if codebook is not None:
            latent.codebook.copy_(torch.tensor(codebook))
    return latent.eval()


THREE = [[[0.0, 0.0], [4.0, 0.0], [0.0, 4.0]]]


def seed(number: int = 0) -> Generator:
    return Generator().manual_seed(number)


def test_the_nearest_code_is_taken_and_the_loss_is_by_hand():
    latent = build(THREE, commitment=0.5)
    output = latent(torch.tensor([[1.0, 1.0], [3.0, 1.0]]))
    assert output.latent.tolist() == [[0.0, 0.0], [4.0, 0.0]]
    assert output.codes.tolist() == [[0], [1]]
    assert output.codes.dtype == torch.int64
    assert output.loss.item() == 0.5 * (2 + 2) / 2  # squared lengths, the mean over sentences


def test_the_gradient_passes_straight_through():
    latent = build(THREE, commitment=0.5)
    hidden = torch.tensor([[1.0, 1.0], [3.0, 1.0]], requires_grad=True)
    weights = torch.randn(2, 2)
    output = latent(hidden)
    (slope,) = torch.autograd.grad((output.latent * weights).sum(), hidden, retain_graph=True)
    assert torch.equal(slope, weights)
    (slope,) = torch.autograd.grad(output.loss, hidden)
    assert slope.tolist() == [[0.5, 0.5], [-0.5, 0.5]]  # 2 x 0.5 (z - e) / 2 sentences


def test_groups_have_codebooks_of_their_own():
    latent = build([[[0.0], [1.0], [2.0]], [[10.0], [20.0], [30.0]]], num_groups=2)
    output = latent(torch.tensor([[1.9, 12.0], [0.1, 26.0]]))
    assert output.codes.tolist() == [[2, 0], [0, 2]]
    assert output.latent.tolist() == [[2.0, 10.0], [0.0, 30.0]]
    assert torch.equal(latent.lookup(output.codes), output.latent)


def test_several_vectors_a_sentence():
    latent = VectorQuantisedLatent(4, num_codes=5, num_groups=2)
    latent.build(7, num_latents=3)
    hidden = torch.randn(6, 3, 7)
    output = latent.eval()(hidden)
    assert output.latent.shape == (6, latent.output_dim) == (6, 12)
    assert output.codes.shape == (6, 6)
    alone = latent(hidden[:, 1])
    assert torch.equal(output.codes[:, 2:4], alone.codes)
    assert torch.equal(latent.lookup(output.codes), output.latent)


def test_moving_means_by_hand():
    latent = build(THREE, restart_below=0.0)
    latent.usage.copy_(torch.tensor([[2.0, 4.0, 1.0]]))
    # Codes 0, 0 and 1 are taken; decay 0.5.
    latent.train()(torch.tensor([[1.0, 0.0], [0.0, 1.0], [4.0, 2.0]]))
    # usage (2 + 2) / 2, (4 + 1) / 2, (1 + 0) / 2
    assert latent.usage.tolist() == [[2.0, 2.5, 0.5]]
    # sums: (0 x 2 + (1, 1)) / 2 / 2; ((16, 0) + (4, 2)) / 2 / 2.5; the last one stays.
    expected = torch.tensor([[[0.25, 0.25], [4.0, 0.4], [0.0, 4.0]]])
    torch.testing.assert_close(latent.codebook, expected)
    assert latent.frequency.tolist() == [[1.0, 0.5, 0.0]]


def test_nothing_moves_in_evaluation():
    latent = build(THREE)
    before = copy.deepcopy(latent.state_dict())
    latent(torch.randn(5, 2), seed())
    torch.testing.assert_close(dict(latent.state_dict()), dict(before), rtol=0, atol=0)


def test_dead_codes_start_again_at_vectors_of_the_batch():
    latent = build(THREE, decay=0.9, restart_below=0.2).train()
    latent.usage.copy_(torch.tensor([[5.0, 6.0, 0.2]]))
    rows = torch.tensor([[0.5, 0.0], [3.0, 0.5], [0.0, 0.25]])
    latent(rows, seed())
    assert (latent.codebook[0, 2] == rows).all(dim=1).any()
    # The others only moved; the new one counts as the average, so that it lives on for a while.
    assert (latent.codebook[0, :2] - torch.tensor(THREE[0][:2])).norm(dim=1).max() < 0.2
    usage = torch.tensor([5.0 * 0.9 + 0.2, 6.0 * 0.9 + 0.1, 0.2 * 0.9])
    usage[2] = usage.mean()
    torch.testing.assert_close(latent.usage[0], usage)
    assert latent.frequency[0, 2] == 0.0


def test_without_a_generator_no_code_starts_again():
    latent = build(THREE).train()
    latent.usage.copy_(torch.tensor([[5.0, 6.0, 0.0]]))
    latent(torch.randn(4, 2))
    assert latent.codebook[0, 2].tolist() == THREE[0][2]


def test_the_whole_codebook_begins_at_the_first_batch():
    latent = build([[[100.0, 100.0]] * 3]).train()
    rows = torch.randn(8, 2)
    latent(rows, seed())
    distance = torch.cdist(latent.codebook[0], rows).amin(dim=1)
    assert distance[1:].max() == 0.0  # code 0, which all took, is at their mean
    torch.testing.assert_close(latent.codebook[0, 0], rows.mean(dim=0))


def test_the_generator_decides():
    def trained(number: int) -> Tensor:
        latent, generator = build(num_codes=16), seed(number)
        data = seed(9)
        for _ in range(5):
            latent.train()(torch.randn(6, 2, generator=data), generator)
        return latent.codebook

    torch.manual_seed(0)
    first = trained(1)
    torch.manual_seed(0)
    assert torch.equal(trained(1), first)
    torch.manual_seed(0)
    assert not torch.equal(trained(2), first)


def test_training_goes_on_from_the_state_alone():
    batches = torch.randn(6, 8, 2).unbind()
    latent = build(num_codes=16, restart_below=0.5).train()
    for number, batch in enumerate(batches[:3]):
        latent(batch, seed(number))
    again = build(num_codes=16, restart_below=0.5).train()
    again.load_state_dict(latent.state_dict())
    for number, batch in enumerate(batches[3:]):
        first, second = latent(batch, seed(number)), again(batch, seed(number))
        assert torch.equal(first.latent, second.latent)
    assert torch.equal(latent.codebook, again.codebook)


def test_a_codebook_finds_the_clusters():
    torch.manual_seed(0)
    centres = 5.0 * torch.randn(8, 2)
    latent, generator = build(num_codes=16, decay=0.95), seed()
    latent.train()
    for _ in range(300):
        rows = centres[torch.randint(8, (32,), generator=generator)]
        loss = latent(rows + 0.05 * torch.randn(32, 2, generator=generator), generator).loss
    assert loss < 0.25 * 0.01  # the noise has 0.005
    assert torch.cdist(centres, latent.codebook[0]).amin(dim=1).max() < 0.15


def test_perplexity_and_usage_by_hand():
    latent = build(num_codes=4, num_groups=2)
    latent.frequency.copy_(torch.tensor([[1.0, 1.0, 0.0, 0.0], [5.0, 5.0, 5.0, 5.0]]))
    assert latent.codebook_perplexity().item() == pytest.approx((2 + 4) / 2)
    assert latent.codebook_usage().item() == pytest.approx((0.5 + 1) / 2)
    latent.frequency.copy_(torch.tensor([[3.0, 1.0, 0.0, 0.0]] * 2))
    entropy = -0.75 * math.log(0.75) - 0.25 * math.log(0.25)
    assert latent.codebook_perplexity().item() == pytest.approx(math.exp(entropy))
    latent.frequency.zero_()  # before training
    assert latent.codebook_perplexity().item() == pytest.approx(1.0)
    assert latent.codebook_usage().item() == 0.0


def test_several_devices_count_together():
    """Two devices, played one after the other, end with what one with both batches has."""
    batches, found = torch.randn(2, 6, 2), []
    together = build(THREE, restart_below=0.0).train()
    together.usage.fill_(1.0)
    together(batches.flatten(0, 1))
    own: list[list[Tensor]] = []
    for batch in batches:  # what each device would send
        sent: list[Tensor] = []
        latent = build(THREE, restart_below=0.0).train()
        latent.usage.fill_(1.0)
        latent.set_all_gather(lambda x, sent=sent: (sent.append(x), x[None])[1])
        latent(batch)
        own.append(sent)
    for batch in batches:
        latent = build(THREE, restart_below=0.0).train()
        latent.usage.fill_(1.0)
        gathered = iter([torch.stack(pair) for pair in zip(*own, strict=True)])
        latent.set_all_gather(lambda _, gathered=gathered: next(gathered))
        latent(batch)
        found.append(latent)
    for latent in found:
        torch.testing.assert_close(latent.codebook, together.codebook)
        torch.testing.assert_close(latent.usage, together.usage)


def test_restarted_codes_are_the_same_on_all_devices_and_come_from_each():
    others = torch.full((1, 3, 2), 7.0)
    latent = build(THREE).train()
    latent.usage.copy_(torch.tensor([[0.0, 0.0, 0.0]]))
    calls: list[Tensor] = []

    def gather(values: Tensor) -> Tensor:
        calls.append(values)
        other = torch.zeros_like(values) if len(calls) < 3 else others
        return torch.stack([values, other])

    latent.set_all_gather(gather)
    latent(torch.tensor([[0.5, 3.0], [0.5, 3.0]]), seed())  # both take code 2
    # The two dead codes are given by the first device and by the second.
    assert latent.codebook[0].tolist() == [[0.5, 3.0], [7.0, 7.0], [0.5, 3.0]]


def test_in_half_precision_the_counts_are_whole():
    latent = build(num_codes=4, decay=0.0).train()
    with torch.autocast("cpu", torch.bfloat16):
        output = latent(torch.randn(300, 2), seed())
    assert latent.frequency.dtype == torch.float32
    assert latent.frequency.sum() == 300  # beyond 256, bfloat16 counts in twos
    contracts.check_finite([output.latent, output.loss])


def test_a_size_that_no_groups_can_share_is_refused():
    message = contracts.refusal(VectorQuantisedLatent, latent_dim=10, num_groups=4)
    assert message.startswith("`latent_dim` must be a multiple of `num_groups`, 4")


def test_pickled():
    latent, hidden = build(THREE), torch.randn(2, 2)
    again = pickle.loads(pickle.dumps(latent))
    assert torch.equal(again(hidden).codes, latent(hidden).codes)


@FORKS
def test_two_processes_count_the_sentences_of_both(tmp_path: Path) -> None:
    """One step over a text that is cut in two: each rank's counts hold all of its sentences."""
    write_text(tmp_path / "text.txt", SENTENCES)
    recipe = copy.deepcopy(RECIPE)
    recipe["model"]["autoencoder"]["latent"] = {
        "class_path": "VectorQuantisedLatent",
        "init_args": {"latent_dim": 8, "num_groups": 2, "num_codes": 4},
    }
    (tmp_path / "vq.yaml").write_text(yaml.safe_dump(recipe), encoding="utf-8")
    options: list[object] = ["-c", tmp_path / "vq.yaml", "--run_dir", tmp_path / "run"]
    options += ["--data.train", tmp_path / "text.txt", "--data.val", tmp_path / "text.txt"]
    options += ["--data.batch_tokens", 10_000, "--data.test_percent", 0]
    options += ["--trainer.max_steps", 1]
    assert run_on_ranks(tmp_path / "said", "fit", *options) == [0, 0]
    checkpoint = torch.load(tmp_path / "run" / "checkpoints" / "last.ckpt", weights_only=True)
    frequency = checkpoint["state_dict"]["autoencoder.latent.frequency"]
    expected = torch.full((2,), (1 - 0.99) * len(SENTENCES))
    torch.testing.assert_close(frequency.sum(dim=1), expected)
    row = next(row for row in read_rows(tmp_path / "run" / "metrics.jsonl") if "val/loss" in row)
    assert 0 < row["val/codebook_usage"] <= 1 <= row["val/codebook_perplexity"] <= 4
