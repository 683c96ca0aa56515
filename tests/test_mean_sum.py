"""MeanSum: its means and its term by hand, and what it refuses."""

from __future__ import annotations

import contracts
import pytest
import torch
from torch import Generator
from torch.nn.functional import cosine_similarity

from seqae.batch import Batch
from seqae.model.latents import DeterministicLatent
from seqae.model.latents.latent_noise import LatentNoise
from seqae.objectives import MeanSum, Reconstruction
from seqae.objectives.mean_sum import Means, mean_latents, write, written_lengths


def value(objective, model, batch):
    return objective(model, batch, 0, Generator().manual_seed(0))


def with_noise():
    latent = DeterministicLatent(8, "layer")
    return contracts.make_model(latent=latent, latent_noise=LatentNoise())


def test_the_mean_of_unrelated_latents_is_decoded_at_the_angle_to_each() -> None:
    axes = 8**0.5 * torch.eye(8)
    group = torch.tensor([[0, 1], [2, 2]])
    mean, noise = mean_latents(with_noise(), axes, group)
    torch.testing.assert_close(mean[0], 2 * (torch.eye(8)[0] + torch.eye(8)[1]))
    torch.testing.assert_close(mean[1], axes[2])
    torch.testing.assert_close(noise, torch.tensor([1.0, 0.0]))


def test_the_mean_is_plain_where_the_decoder_reads_no_noise() -> None:
    latent = torch.arange(6.0).reshape(3, 2)
    mean, noise = mean_latents(contracts.make_model(), latent, torch.tensor([[0, 2]]))
    assert noise is None
    torch.testing.assert_close(mean, torch.tensor([[2.0, 3.0]]))


def test_a_row_ends_with_its_first_eos() -> None:
    rows = torch.tensor([[1, 7, 2, 2], [1, 7, 7, 7], [1, 7, 7, 2]])
    assert written_lengths(rows, eos_id=2).tolist() == [3, 4, 4]


@pytest.mark.parametrize("make_model", [contracts.make_model, with_noise])
def test_the_term_is_the_cosine_of_the_text_written_anew(make_model) -> None:
    """As slowly as the paper tells it: write, encode what is written, compare with the group."""
    model, batch = make_model(), contracts.random_batch([6, 9, 4, 7])
    latents = model.encode(batch).latent.detach()
    terms = []
    for latent in latents:
        near = cosine_similarity(latent[None], latents).topk(3).indices
        mean = mean_latents(model, latents, near[None])
        token_ids = write(model, mean, int(batch.lengths.max()))
        written = Batch(token_ids, written_lengths(token_ids, contracts.VOCABULARY.eos_id))
        terms += [1 - cosine_similarity(model.encode(written).latent, latents[near]).mean()]
    objective = MeanSum(cycle_weight=2.0, group_size=3)
    values = value(objective, model, batch)
    torch.testing.assert_close(values["cycle"], torch.stack(terms).mean().detach())
    plain = value(Reconstruction(), model, batch)["loss"]
    expected = plain + 2.0 * torch.stack(terms).sum() / batch.num_targets
    torch.testing.assert_close(values["loss"], expected)


def test_the_term_falls_when_it_is_minimised() -> None:
    torch.manual_seed(0)
    model, batch = with_noise().train(), contracts.random_batch([5, 6, 7, 8])
    objective = MeanSum(cycle_weight=10.0, group_size=2)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    first = value(objective, model, batch)["cycle"].item()
    for _ in range(40):
        values = value(objective, model, batch)
        optimizer.zero_grad()
        values["loss"].backward()
        optimizer.step()
    assert value(objective, model, batch)["cycle"].item() < 0.5 * first


def test_neither_bos_nor_pad_is_written() -> None:
    model = contracts.make_model()
    with torch.no_grad():
        model.output_bias[[contracts.VOCABULARY.bos_id, contracts.VOCABULARY.pad_id]] = 1e3
    rows = write(model, Means(torch.zeros(2, 8), None), 5)
    banned = torch.tensor([contracts.VOCABULARY.bos_id, contracts.VOCABULARY.pad_id])
    assert not torch.isin(rows[:, 1:], banned).any()


def test_pairs_are_refused() -> None:
    message = contracts.refusal(MeanSum().check, contracts.make_model(), is_paired=True)
    assert message.startswith("`data.reading.target_column` must be null under MeanSum")
