"""How likely a model holds sentences to be: -log p(x|z), its bounds on -log p(x), what follows.

All logarithms are natural. Sums are over sentences and in float64, so that a figure does not
depend on how the sentences were cut into batches.
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

# Numbers of a block of logits: 16 MiB in float32.
BLOCK_ELEMENTS = 2**22


def sentence_nll(model: SequenceAutoencoder, batch: Batch, latent: Tensor) -> Tensor:
    """-log p(x|z) in nats, of each sentence, its end counted: (B,) float64.

    Args:
        model: in evaluation mode.
        batch: B sentences.
        latent: (B, Z).
    """
    mask = batch.target_mask
    features, target = model.decode(batch.decoder_input, latent)[mask], batch.target[mask]
    assert model.vocabulary is not None
    tokens = max(1, BLOCK_ELEMENTS // model.vocabulary.size)
    losses = [
        nn.functional.cross_entropy(model.logits(block).float(), due, reduction="none")
        for block, due in zip(
            torch.split(features, tokens), torch.split(target, tokens), strict=True
        )
    ]
    each = torch.zeros(mask.shape, dtype=torch.float64, device=mask.device)
    each[mask] = torch.cat(losses).double()
    return each.sum(dim=1)


def is_paid_for(model: SequenceAutoencoder) -> bool:
    """Whether what the latent tells is counted by anything: if not, there is no likelihood."""
    return isinstance(model.latent, (StochasticLatent, VectorQuantisedLatent))


def latent_cost(model: SequenceAutoencoder, output: LatentOutput) -> Tensor:
    """What the latent costs each sentence, in nats, (B,) float64.

    KL(q(z|x) || p(z)). Of the codes of a codebook, which are certain, it is `C log num_codes`
    against a prior that holds all codes to be equally likely (van den Oord et al. 2017, section
    3.2): a bound, which a prior learnt on the codes would tighten.
    """
    latent = model.latent
    if isinstance(latent, StochasticLatent):
        return latent.kl(output).sum(dim=-1).double()
    assert isinstance(latent, VectorQuantisedLatent)
    assert output.codes is not None
    rows, codes = output.codes.shape
    price = codes * math.log(latent.num_codes)
    return torch.full((rows,), price, dtype=torch.float64, device=output.codes.device)


def importance_weighted_nll(
    model: SequenceAutoencoder,
    batch: Batch,
    output: LatentOutput,
    samples: int,
    generator: Generator,
) -> Tensor:
    """An upper bound of -log p(x) that tightens with the number of draws: (B,) float64.

    `-log 1/k sum_i p(x|z_i) p(z_i) / q(z_i|x)` with z_i drawn from q(z|x) (Burda et al. 2016,
    arXiv:1509.00519, equation 8): k = 1 is one draw of the negative ELBO, and on average it falls
    towards -log p(x) with k (their theorem 1).

    Args:
        model: with a StochasticLatent, in evaluation mode.
        batch: B sentences.
        output: what the latent layer gave for them.
        samples: k.
        generator: on the CPU.
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
    model: SequenceAutoencoder, batch: Batch, latent: Tensor, nll: Tensor
) -> tuple[float, int]:
    """How much worse sentences are written from each other's latents.

    Each is given the next one's latent, the last the first's. What the decoder does not read makes
    no difference: a gap near zero is a collapsed posterior, whatever its KL term says.

    Args:
        model: in evaluation mode.
        batch: B sentences, best of like length; one alone has no gap.
        latent: (B, Z), their own.
        nll: (B,), `sentence_nll` with them.

    Returns:
        The sum of the differences, in nats, and how many tokens it is over.
    """
    if len(batch) < 2:
        return 0.0, 0
    others = sentence_nll(model, batch, latent.roll(1, dims=0))
    return float((others - nll).sum()), batch.num_targets


def perplexity(nats: float, tokens: int) -> float:
    """The exponential of the nats per token, the end of each sentence counted as one.

    Of a bound of -log p(x) it counts what the latent costs, as the perplexities of VAEs in the
    literature do (Bowman et al. 2016); of -log p(x|z) it would be no perplexity.

    Args:
        nats: sum over all sentences.
        tokens: target tokens of all sentences.
    """
    return math.exp(min(nats / tokens, 700.0))


def bits_per_byte(nats: float, texts: Sequence[str]) -> float:
    """Bits per byte of text in UTF-8: comparable between tokenizers that lose nothing.

    The ends of sentences cost, but are no bytes.
    """
    size = sum(len(text.encode("utf-8", "surrogatepass")) for text in texts)
    return nats / math.log(2) / size if size else math.nan
