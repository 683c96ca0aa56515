"""MeanSum: what is written for the mean of several sentences must be near each of them."""

from __future__ import annotations

from typing import ClassVar, NamedTuple, final

import torch
from torch import Generator, Tensor
from torch.nn.functional import normalize
from typing_extensions import override

from seqae.batch import Batch, length_mask
from seqae.component import check_range
from seqae.model.autoencoder import SequenceAutoencoder
from seqae.model.latents.latent_noise import MAX_NOISE
from seqae.objectives.likelihood import LikelihoodObjective, check_not_stochastic


class Means(NamedTuple):
    """What is decoded for each sentence's group.

    Attributes:
        latent: (B, Z), the means.
        noise: (B,) σ at which each is decoded, for a decoder that is told; or None.
    """

    latent: Tensor
    noise: Tensor | None


@final
class MeanSum(LikelihoodObjective):
    """Summaries without references, after Chu and Liu 2019 (arXiv:1810.05739).

    loss = -log p(x|z) + cycle_weight * mean (1 - cos(z', z_j)), where z' is the latent of what the
    decoder writes for the mean of a group's latents z_j.

    The written tokens reach the encoder as embeddings whose gradient is that of the softmax (the
    straight-through estimator, Bengio et al. 2013, arXiv:1308.3432). Four things differ from the
    paper. Batches do not know which reviews are of one product, so the group of a sentence is the
    sentence and those of the batch with the nearest latents. Words are the likeliest ones, as in
    `summarize`, and not draws. They are chosen without a gradient and then read under teacher
    forcing, which takes one pass instead of one for each word. And what the summary is compared
    with is fixed: or else the loss would be smallest with all latents equal.

    Logs, in addition to what all likelihood objectives log, `cycle`, the term for a sentence
    without its weight: 0 if each summary has the direction of its group's latents, 1 if it is
    unrelated to them.

    Args:
        cycle_weight: of the term, relative to a sentence's cross-entropy in nats.
        group_size: sentences of a group; fewer in a smaller batch.
        temperature: of the softmax that gives the written words their gradient.
        label_smoothing: share of each target's probability spread over the vocabulary in training
            (Szegedy et al. 2016).
        word_dropout: chance that a token the decoder reads becomes unk in training (Bowman et al.
            2016), so that the decoder must use the latent. bos is never dropped.
    """

    sentence_means: ClassVar[frozenset[str]] = LikelihoodObjective.sentence_means | {"cycle"}

    def __init__(
        self,
        cycle_weight: float = 10.0,
        group_size: int = 4,
        temperature: float = 1.0,
        label_smoothing: float = 0.0,
        word_dropout: float = 0.0,
    ) -> None:
        super().__init__(label_smoothing, word_dropout)
        check_range("cycle_weight", cycle_weight, 0.0, 1e6)
        check_range("group_size", group_size, 2, 2**10)
        check_range("temperature", temperature, 1e-2, 1e2)
        self.cycle_weight, self.group_size = cycle_weight, group_size
        self.temperature = temperature

    @override
    def check(self, model: SequenceAutoencoder, is_paired: bool = False) -> None:
        super().check(model, is_paired)
        check_not_stochastic(model, "MeanSum")
        if is_paired:
            raise ValueError(
                "`data.reading.target_column` must be null under MeanSum, which learns from texts "
                "without summaries, but it names one instead. Leave it out, or set "
                "`model.objective: Reconstruction`."
            )
        if model.content is not None:
            raise ValueError(
                f"`content` must be null under MeanSum, since the content of a text that is only "
                f"embedded is not known, but it is a {type(model.content).__name__} instead. Leave "
                f"out `model.autoencoder.content`."
            )

    @override
    def forward(
        self, model: SequenceAutoencoder, batch: Batch, step: int, generator: Generator
    ) -> dict[str, Tensor]:
        latents = model.encode(batch, generator)
        sums = self.token_sums(model, batch, latents.latent, generator)
        cycle = self._cycle(model, batch, latents.latent.detach())
        values = self.values(sums, batch, latents, self.cycle_weight * cycle.sum())
        return {**values, "cycle": cycle.detach().mean()}

    def _cycle(self, model: SequenceAutoencoder, batch: Batch, latent: Tensor) -> Tensor:
        """Compute 1 - cos(z', z_j), a mean over the group of each sentence: (B,)."""
        directions = normalize(latent.float(), dim=1)
        size = min(self.group_size, len(batch))
        group = (directions @ directions.T).topk(size, dim=1).indices
        mean = mean_latents(model, latent, group)
        embedded, mask = self._write(model, batch, mean)
        written = model.latent(model.encoder(embedded, mask)).latent
        cosine = torch.einsum("bz,bkz->bk", normalize(written.float(), dim=1), directions[group])
        return 1.0 - cosine.mean(dim=1)

    def _write(
        self, model: SequenceAutoencoder, batch: Batch, mean: Means
    ) -> tuple[Tensor, Tensor]:
        """Decode each mean to at most as many tokens as the batch's longest sentence.

        Returns:
            The embeddings of what is written, (B, T, E), and their mask (B, T).
        """
        token_ids = write(model, mean, batch.token_ids.shape[1])
        assert model.vocabulary is not None
        # Padding must not matter, and its width is all that is known without waiting for a GPU.
        lengths = written_lengths(token_ids, model.vocabulary.eos_id)
        mask = length_mask(torch.minimum(lengths, batch.lengths.max()), token_ids.shape[1])
        logits = model.logits(model.decode(token_ids[:, :-1], *mean))
        soft = (writable(model, logits.float()) / self.temperature).softmax(dim=-1)
        hard = torch.zeros_like(soft).scatter(2, token_ids[:, 1:, None], 1.0)
        weight = model.embedding.weight
        words = (hard + soft - soft.detach()).to(weight.dtype) @ weight
        return torch.cat([model.embed(token_ids[:, :1]), words], dim=1), mask


def mean_latents(model: SequenceAutoencoder, latent: Tensor, group: Tensor) -> Means:
    """Compute the means of groups of latents, and at which σ they are decoded.

    A model with `latent_noise` decodes them at unit scale and at the tangent of the angle to the
    nearest of the group, as `summarize` does.

    Args:
        model: that will decode them.
        latent: (B, Z).
        group: (B, K) int64, rows of `latent`.
    """
    members = latent[group]
    mean = members.float().mean(dim=1)
    if model.latent_noise is None:
        return Means(mean.to(latent.dtype), None)
    direction = normalize(mean, dim=1)
    cosine = (direction[:, None] * normalize(members.float(), dim=2)).sum(dim=2).amax(dim=1)
    cosine = cosine.clamp(1e-6, 1.0)
    noise = ((1 - cosine**2).sqrt() / cosine).clamp(max=MAX_NOISE)
    return Means((direction * latent.shape[1] ** 0.5).to(latent.dtype), noise)


@torch.no_grad()
def write(model: SequenceAutoencoder, mean: Means, width: int) -> Tensor:
    """Write the likeliest word after each, as many for every row: (B, width) int64 from bos on.

    It is not `generate`, which asks after each word which rows have ended: a training step may not
    wait for a GPU.

    Args:
        model: whose decoder reads the words before.
        mean: what to decode.
        width: tokens of a row.
    """
    assert model.vocabulary is not None
    token = torch.full(
        (len(mean.latent),), model.vocabulary.bos_id, device=mean.latent.device, dtype=torch.int64
    )
    state, tokens = model.init_state(*mean), [token]
    for _ in range(width - 1):
        logits, state = model.step(token, state)
        token = writable(model, logits).argmax(dim=-1)
        tokens.append(token)
    return torch.stack(tokens, dim=1)


def writable(model: SequenceAutoencoder, logits: Tensor) -> Tensor:
    """Rule out bos and pad in logits (..., V), as generation does."""
    assert model.vocabulary is not None
    banned = torch.zeros(logits.shape[-1], dtype=torch.bool)
    banned[[model.vocabulary.bos_id, model.vocabulary.pad_id]] = True
    return logits.masked_fill(banned.to(logits.device, non_blocking=True), float("-inf"))


def written_lengths(token_ids: Tensor, eos_id: int) -> Tensor:
    """Count the tokens of each row up to its first eos, or all of them: (B,)."""
    ended = (token_ids == eos_id).cumsum(dim=1)
    return ((ended - (token_ids == eos_id).long()) == 0).sum(dim=1)
