"""The network of CodesPrior: how likely each code of a sentence is, after those before it.

A GRU (Cho et al. 2014, arXiv:1406.1078) with embeddings and output weights of each position's own,
because a code means something else at each. What is known of the sentence is added to every input.
Shapes: B batch, C codes of a sentence, V choices for each, E embedding, H hidden.
"""

from __future__ import annotations

import torch
from torch import Generator, Tensor, nn
from torch.nn.functional import cross_entropy
from typing_extensions import override

from seqae.priors.conditions import LENGTH_FEATURES

EMBEDDING = 64  # E


class CodesNetwork(nn.Module):
    """p(code | earlier codes, length, label).

    It is made without numbers, on the meta device: `initialise` draws them, or a file has them.

    Args:
        num_positions: C.
        num_codes: V.
        hidden_dim: H.
        num_labels: labels; one more stands for none.
    """

    def __init__(
        self, num_positions: int, num_codes: int, hidden_dim: int, num_labels: int
    ) -> None:
        super().__init__()
        self.num_positions, self.num_codes = num_positions, num_codes
        with torch.device("meta"):
            self.start = nn.Parameter(torch.empty(EMBEDDING))
            self.embedding = nn.Parameter(torch.empty(num_positions, num_codes, EMBEDDING))
            self.length = nn.Parameter(torch.empty(LENGTH_FEATURES, EMBEDDING))
            self.label = nn.Parameter(torch.empty(num_labels + 1, EMBEDDING))
            self.gru = nn.GRU(EMBEDDING, hidden_dim, batch_first=True)
            self.projection = nn.Linear(hidden_dim, EMBEDDING)
            self.output = nn.Parameter(torch.empty(num_positions, EMBEDDING, num_codes))
            self.bias = nn.Parameter(torch.empty(num_positions, num_codes))

    def initialise(self, frequencies: Tensor, generator: Generator) -> None:
        """Draw the weights; the first prediction of each code is its frequency.

        Args:
            frequencies: (C, V), logarithms of those at each position.
            generator: on the CPU.
        """
        self.to_empty(device="cpu")
        for name, weight in self.named_parameters():
            scale = 0.5 if name == "embedding" else weight.shape[-1] ** -0.5
            if name in ("output", "length", "label") or "bias" in name:
                scale = 0.02 if name == "output" else 0.0
            drawn = torch.randn(weight.shape, generator=generator) * scale
            weight.data.copy_(frequencies if name == "bias" else drawn)

    @override
    def forward(
        self, codes: Tensor, features: Tensor, label: Tensor, keep: Tensor | None = None
    ) -> Tensor:
        """Compute the logits (B, C, V) of each code after those before it.

        Args:
            codes: (B, C) int64.
            features: (B, LENGTH_FEATURES) of the length, zeros where it is not known.
            label: (B,) int64, the number of labels where it is not known.
            keep: (2, B, C, E), factors of the features of inputs and outputs in training; None
                keeps all.
        """
        positions = torch.arange(self.num_positions - 1, device=codes.device)
        embedded = self.embedding[positions, codes[:, :-1]]
        inputs = torch.cat([self.start.expand(len(codes), 1, -1), embedded], dim=1)
        if keep is not None:
            inputs = inputs * keep[0]
        hidden, _ = self.gru(inputs + self._known(features, label)[:, None])
        projected = self.projection(hidden)
        if keep is not None:
            projected = projected * keep[1]
        logits = torch.bmm(projected.transpose(0, 1), self.output).transpose(0, 1)
        return logits + self.bias

    def log_likelihood(
        self, codes: Tensor, features: Tensor, label: Tensor, keep: Tensor | None = None
    ) -> Tensor:
        """Compute log p(codes | length, label) in nats, (B,); the arguments are those of a call."""
        logits = self(codes, features, label, keep).flatten(0, 1)
        losses = cross_entropy(logits, codes.flatten(), reduction="none")
        return -losses.view(codes.shape).sum(dim=1)

    def sample(
        self,
        features: Tensor,
        label: Tensor,
        generator: Generator,
        temperature: float = 1.0,
        guidance: float = 1.0,
    ) -> Tensor:
        """Draw codes, (B, C) int64.

        Args:
            features: (B, LENGTH_FEATURES), as for a call.
            label: (B,), as for a call.
            generator: on the CPU.
            temperature: divides the logits; 0 takes the likeliest code at each step.
            guidance: moves the logits from those without to those with length and label, and
                beyond for more than 1.
        """
        count = len(label)
        known = self._known(features, label)
        is_guided = guidance != 1
        if is_guided:
            unknown = torch.full_like(label, len(self.label) - 1)
            known = torch.cat([known, self._known(torch.zeros_like(features), unknown)])
        state = known.new_zeros(1, len(known), self.gru.hidden_size)
        previous, codes = self.start.expand(len(known), -1), []
        for position in range(self.num_positions):
            hidden, state = self.gru((previous + known)[:, None], state)
            logits = self.projection(hidden[:, 0]) @ self.output[position] + self.bias[position]
            if is_guided:
                logits = torch.lerp(logits[count:], logits[:count], guidance)
            code = logits.argmax(dim=1)
            if temperature > 0 and count:
                # Below zero, so that no temperature, however low, makes it infinite.
                below = logits - logits.amax(dim=1, keepdim=True)
                chances = (below / temperature).softmax(dim=1)
                code = torch.multinomial(chances, 1, generator=generator)[:, 0]
            codes.append(code)
            previous = self.embedding[position, torch.cat([code, code]) if is_guided else code]
        return torch.stack(codes, dim=1)

    def _known(self, features: Tensor, label: Tensor) -> Tensor:
        """Embed what is known of sentences, (B, E)."""
        return features @ self.length + self.label[label]
