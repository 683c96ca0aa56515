"""Negative log-likelihood: -log p(x|z), bounds of -log p(x), perplexity and bits per byte.

All logarithms are natural. Sums over sentences are float64, so that they do not depend on how the
sentences were split into batches.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Generator, Tensor, nn

from seqae.batch import Batch
from seqae.model.autoencoder import SequenceAutoencoder
from seqae.model.latents import LatentOutput, StochasticLatent
from seqae.model.latents.vector_quantised import VectorQuantisedLatent
from seqae.model.memory.cross_attention import Memory

# Elements of a block of logits: 16 MiB in float32.
BLOCK_ELEMENTS = 2**22


def sentence_nll(
    model: SequenceAutoencoder, batch: Batch, latent: Tensor, memory: Memory | None = None
) -> Tensor:
    """Compute -log p(x|z) of each sentence, its end counted.

    Args:
        model: in evaluation mode.
        batch: B sentences.
        latent: (B, Z).
        memory: of the sentences, if the decoder looks back at them.

    Returns:
        (B,) float64, in nats.
    """
    assert model.vocabulary is not None
    mask = batch.target_mask
    features = model.decode(batch.decoder_input, latent, memory=memory)
    if model.copying is not None:
        return _copying_nll(model, batch, features, memory)
    nll = torch.zeros(mask.shape, dtype=torch.float64, device=mask.device)
    nll[mask] = token_nll(model, features[mask], batch.target[mask]).double()
    return nll.sum(dim=1)


def token_nll(model: SequenceAutoencoder, features: Tensor, target: Tensor) -> Tensor:
    """Compute the cross-entropy of tokens, exactly, for a model that does not copy.

    Args:
        model: in evaluation mode.
        features: (N, F) from its decoder.
        target: (N,) int64.

    Returns:
        (N,), in nats.
    """
    assert model.vocabulary is not None
    if model.adaptive is not None:
        return model.adaptive.cross_entropy(*model.output_layer(features), target).nll
    tokens = max(1, BLOCK_ELEMENTS // model.vocabulary.size)
    losses = [
        nn.functional.cross_entropy(model.logits(block).float(), block_target, reduction="none")
        for block, block_target in zip(
            torch.split(features, tokens), torch.split(target, tokens), strict=True
        )
    ]
    return torch.cat(losses)


def _copying_nll(
    model: SequenceAutoencoder, batch: Batch, features: Tensor, memory: Memory | None
) -> Tensor:
    """Compute the same for a model that copies, whose logits depend on the row of a token."""
    assert model.vocabulary is not None
    assert memory is not None
    sums = []
    rows = max(1, BLOCK_ELEMENTS // (model.vocabulary.size * features.shape[1]))
    for block in torch.split(torch.arange(len(features), device=features.device), rows):
        logits = model.logits(features[block], memory.select(block), batch.decoder_input[block])
        token_nll = nn.functional.cross_entropy(
            logits.flatten(0, 1), batch.target[block].flatten(), reduction="none"
        ).reshape(len(block), -1)
        sums.append(token_nll.double().masked_fill(~batch.target_mask[block], 0.0).sum(dim=1))
    return torch.cat(sums)


def has_latent_cost(model: SequenceAutoencoder) -> bool:
    """Whether the information in the latent has a cost; without one there is no likelihood."""
    return isinstance(model.latent, (StochasticLatent, VectorQuantisedLatent))


def latent_cost(model: SequenceAutoencoder, output: LatentOutput) -> Tensor:
    """Compute the cost of each sentence's latent, KL(q(z|x) || p(z)).

    The C codes of a codebook are certain: they cost `C log num_codes` under a uniform prior over
    codes (van den Oord et al. 2017, section 3.2). This is a bound, which a prior learnt on the
    codes would tighten.

    Args:
        model: with a latent that `has_latent_cost`.
        output: the latent layer's output for B sentences.

    Returns:
        (B,) float64, in nats.
    """
    latent = model.latent
    if isinstance(latent, StochasticLatent):
        return latent.kl(output).sum(dim=-1).double()
    assert isinstance(latent, VectorQuantisedLatent)
    assert output.codes is not None
    rows, codes = output.codes.shape
    cost = codes * math.log(latent.num_codes)
    return torch.full((rows,), cost, dtype=torch.float64, device=output.codes.device)


def importance_weighted_nll(
    model: SequenceAutoencoder,
    batch: Batch,
    output: LatentOutput,
    samples: int,
    generator: Generator,
) -> Tensor:
    """Compute an upper bound of -log p(x) that tightens with the number of draws.

    It is `-log 1/k sum_i p(x|z_i) p(z_i) / q(z_i|x)` with z_i drawn from q(z|x) (Burda et al. 2016,
    arXiv:1509.00519, equation 8): k = 1 is one draw of the negative ELBO, and on average the bound
    falls towards -log p(x) as k rises (their theorem 1).

    Args:
        model: with a StochasticLatent, in evaluation mode.
        batch: B sentences.
        output: the latent layer's output for them.
        samples: k.
        generator: on the CPU.

    Returns:
        (B,) float64, in nats.
    """
    latent = model.latent
    assert isinstance(latent, StochasticLatent)
    weights = []
    for _ in range(samples):
        draw = latent.sample_posterior(output, generator)
        ratio = latent.log_prior(draw) - latent.log_posterior(output, draw)
        weights.append(ratio.double() - sentence_nll(model, batch, draw))
    return math.log(samples) - torch.stack(weights).logsumexp(dim=0)


def shuffle_gap(
    model: SequenceAutoencoder,
    batch: Batch,
    latent: Tensor,
    nll: Tensor,
    memory: Memory | None = None,
) -> tuple[float, int]:
    """Compute how much -log p(x|z) rises when sentences get each other's latents.

    Each sentence gets the latent of the one before it, the first that of the last. If the decoder
    ignores the latent, this makes no difference: a gap near zero is a collapsed posterior, whatever
    its KL term says.

    Args:
        model: in evaluation mode.
        batch: B sentences, best of similar length; one alone has no gap.
        latent: (B, Z), their own.
        nll: (B,), their `sentence_nll` with these latents.
        memory: of the sentences, which get each other's too, if the decoder looks back at it.

    Returns:
        The sum of the differences, in nats, and the number of tokens that it covers.
    """
    if len(batch) < 2:
        return 0.0, 0
    if memory is not None:
        memory = Memory(*(part.roll(1, dims=0) for part in memory))
    others = sentence_nll(model, batch, latent.roll(1, dims=0), memory)
    return float((others - nll).sum()), batch.num_targets


def perplexity(nats: float, tokens: int) -> float:
    """Compute the exponential of the nats per token, the end of each sentence counted as one.

    The nats must be those of -log p(x) or of a bound, which include the cost of the latent, as in
    the literature on VAEs (Bowman et al. 2016); from -log p(x|z) the result is no perplexity.

    Args:
        nats: sum over all sentences.
        tokens: number of target tokens of all sentences.
    """
    return math.exp(min(nats / tokens, 700.0))


def bits_per_byte(nats: float, texts: Sequence[str]) -> float:
    """Compute bits per byte of UTF-8: comparable between tokenizers that are lossless.

    The ends of sentences have a cost, but no bytes.

    Args:
        nats: sum over all texts.
        texts: whose bytes are counted.
    """
    size = sum(len(text.encode("utf-8", "surrogatepass")) for text in texts)
    return nats / math.log(2) / size if size else math.nan
