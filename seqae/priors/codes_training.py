"""Fitting the network of CodesPrior: maximum likelihood, until unseen codes get no likelier.

Some sentences are held out in two halves: one chooses the weights, the other measures them.
"""

from __future__ import annotations

import math
from copy import deepcopy
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from seqae.priors.codes_network import EMBEDDING, CodesNetwork
from seqae.priors.conditions import DROPOUT as FORGETTING
from seqae.priors.descent import Descent
from seqae.terminal import progress_bar

HELD_OUT, MOST_HELD_OUT = 0.1, 2_000  # share of the sentences, and number of them, in both halves
SMOOTHING = 0.5  # is added to the count of each code
WARMUP, DECAY = 50, 0.99  # steps; of the running mean of weights
CHECKS, PATIENCE = 30, 6  # of unseen codes; how many of them in a row may find no better weights
ROWS = 256  # sentences whose likelihood is computed at once


@dataclass(frozen=True)
class CodedSentences:
    """Sentences as codes, with what is known of each.

    Args:
        codes: (n, C) int64.
        features: (n, LENGTH_FEATURES), of the lengths.
        label: (n,) int64.
    """

    codes: Tensor
    features: Tensor
    label: Tensor

    def rows(self, index: Tensor) -> CodedSentences:
        """Return some of them."""
        return CodedSentences(self.codes[index], self.features[index], self.label[index])

    def without_known(self, num_labels: int) -> CodedSentences:
        """Return them as if nothing were known of them."""
        nothing = torch.zeros_like(self.features), torch.full_like(self.label, num_labels)
        return CodedSentences(self.codes, *nothing)


@dataclass(frozen=True)
class Nats:
    """Mean nats of an unseen sentence, all of its codes together.

    Attributes:
        codes: under the network, without length and label.
        independent: under the frequencies of the codes at each position.
        uniform: with all codes equally likely.
        count: of the sentences that measured this.
    """

    codes: float
    independent: float
    uniform: float
    count: int


@torch.inference_mode()
def log_likelihood(network: CodesNetwork, sentences: CodedSentences) -> Tensor:
    """Compute log p(codes | what is known) of n sentences in nats, (n,)."""
    found = []
    for piece in torch.split(torch.arange(len(sentences.label)), ROWS):
        some = sentences.rows(piece)
        found.append(network.log_likelihood(some.codes, some.features, some.label))
    return torch.cat(found)


def train(
    network: CodesNetwork,
    sentences: CodedSentences,
    generator: Generator,
    steps: int,
    batch_size: int,
    learning_rate: float,
    dropout: float,
) -> tuple[CodesNetwork, Nats | None]:
    """Train a network, on the device of the sentences.

    Args:
        network: without numbers; it is used up.
        sentences: all that there are; some are held out.
        generator: of all that is drawn, on the CPU, so that a device changes no draw.
        steps: at most.
        batch_size: sentences in a step.
        learning_rate: the highest.
        dropout: chance that a feature of an input or output is zeroed.

    Returns:
        The network that was best, on the CPU, and what it has learnt; that is None for too few
        sentences to hold any out.
    """
    device, count = sentences.codes.device, len(sentences.codes)
    half = min(int(count * HELD_OUT), MOST_HELD_OUT) // 2
    order = torch.randperm(count, generator=generator).to(device)
    num_labels = len(network.label) - 1
    unseen = sentences.without_known(num_labels)
    choosing, measuring = unseen.rows(order[:half]), unseen.rows(order[half : 2 * half])
    training = sentences.rows(order[2 * half :])
    chances = _log_frequencies(training.codes, network.num_codes)
    network.initialise(chances, generator)
    network.to(device)
    averaged = deepcopy(network).requires_grad_(False)
    best, least, misses = averaged, math.inf, 0
    every = max(1, steps // CHECKS)
    sides = network.parameters(), averaged.parameters()
    descent = Descent(*sides, learning_rate, steps, WARMUP, DECAY)
    with progress_bar("codes", steps) as advance:
        for step in range(steps):
            chosen = torch.randint(len(training.codes), (batch_size,), generator=generator)
            batch = training.rows(chosen.to(device))
            known = torch.rand(2, batch_size, generator=generator).to(device) >= FORGETTING
            sizes = 2, batch_size, network.num_positions, EMBEDDING
            kept = (torch.rand(sizes, generator=generator) >= dropout).to(device)
            features = batch.features * known[0, :, None]
            label = batch.label.where(known[1], num_labels)
            likelihood = network.log_likelihood(batch.codes, features, label, kept / (1 - dropout))
            descent.step(-likelihood.mean())
            advance(1)
            if half and ((step + 1) % every == 0 or step + 1 == steps):
                nats = -float(log_likelihood(averaged, choosing).mean())
                misses = 0 if nats < least else misses + 1
                if nats < least:
                    least, best = nats, deepcopy(averaged)
                if misses == PATIENCE:
                    break
    if not half:
        return best.cpu(), None
    nats = -float(log_likelihood(best, measuring).mean())
    places = torch.arange(network.num_positions)
    independent = -float(chances[places, measuring.codes.cpu()].sum(dim=1).mean())
    uniform = network.num_positions * math.log(network.num_codes)
    return best.cpu(), Nats(nats, independent, uniform, half)


def _log_frequencies(codes: Tensor, num_codes: int) -> Tensor:
    """Count the codes (n, C) at each position: (C, V) logarithms of their shares, on the CPU."""
    counts = [torch.bincount(column, minlength=num_codes) for column in codes.cpu().T]
    return (torch.stack(counts) + SMOOTHING).log().log_softmax(dim=1)
