"""CodesPrior: an autoregressive prior over the codes of a vector-quantised latent.

As van den Oord et al. 2017 (arXiv:1711.00937, section 3.2) fit one to a trained model: the chance
of each code, given those before it, so that sentences have an exact likelihood and every draw is a
latent that the model can make.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, final

import torch
from torch import Generator, Tensor
from typing_extensions import override

from seqae.component import check_range, check_whole
from seqae.model.latents import Latent, VectorQuantisedLatent
from seqae.priors.base import Drawing, Prior, check_fit, check_found, shaped
from seqae.priors.codes_network import CodesNetwork
from seqae.priors.codes_training import CodedSentences, Nats, log_likelihood, train
from seqae.priors.conditions import Conditions, check_labels

MAX_TABLE = 2**20  # codes at all positions together: of 64 numbers each, twice, they take 512 MiB
ROWS = 1024  # latents whose codes are looked up at once


@final
class CodesPrior(Prior):
    """A network that draws one code after the other, and can follow a length and a label.

    Args:
        hidden_dim: H of the GRU.
        steps: of its training, at most: it ends where held-out sentences get no likelier. 1,500
            take 95 seconds of one core for 32 codes of 512.
        batch_size: sentences in a step.
        learning_rate: the highest; it rises for 50 steps and then falls as a cosine.
        dropout: chance that a feature of an input or output is zeroed in training.
    """

    kind: ClassVar[str] = "codes"
    options: ClassVar[tuple[str, ...]] = ("prior_temperature", "length", "label", "guidance")
    noise = 0.0  # every draw is a latent that the model makes

    codebook: Tensor | None = None  # (G, V, Z / G), of the model
    network: CodesNetwork
    conditions: Conditions
    nats: Nats | None = None  # of held-out sentences, once fitted; they are not stored

    def __init__(
        self,
        hidden_dim: int = 128,
        steps: int = 1500,
        batch_size: int = 128,
        learning_rate: float = 3e-3,
        dropout: float = 0.3,
    ) -> None:
        check_range("hidden_dim", hidden_dim, 1, 2**12)
        check_range("steps", steps, 1, 10**7)
        check_range("batch_size", batch_size, 1, 2**16)
        check_range("learning_rate", learning_rate, 1e-7, 1.0)
        check_range("dropout", dropout, 0.0, 0.9)
        self.hidden_dim, self.steps, self.batch_size = hidden_dim, steps, batch_size
        self.learning_rate, self.dropout = learning_rate, dropout

    @override
    def prepare(self, layer: Latent) -> None:
        if not isinstance(layer, VectorQuantisedLatent):
            raise ValueError(
                f"`codes` can be a prior only of a model whose latent has codes, but it is a "
                f"{type(layer).__name__} instead. Choose another prior, or train such a model: "
                f"`seqae fit -c vq`."
            )
        self.codebook = layer.codebook.detach().float().cpu().clone()

    @override
    def fit(
        self,
        latents: Tensor,
        lengths: Tensor | None = None,
        labels: Sequence[str] | None = None,
        seed: int = 0,
    ) -> None:
        check_fit(latents, seed)
        rows, generator = latents.detach().float(), Generator().manual_seed(seed)
        codes = self._codes(rows)
        self.conditions = Conditions.of(lengths, labels)
        known = self.conditions.of_sentences(len(rows), lengths, labels)
        sentences = CodedSentences(codes, *(part.to(rows.device) for part in known))
        assert self.codebook is not None
        num_codes = self.codebook.shape[1]
        self.network, self.nats = train(
            self._empty_network(codes.shape[1], num_codes, len(self.conditions.labels)),
            sentences,
            generator,
            self.steps,
            self.batch_size,
            self.learning_rate,
            self.dropout,
        )

    def log_likelihood(
        self, latents: Tensor, lengths: Tensor | None = None, labels: Sequence[str] | None = None
    ) -> Tensor:
        """Compute the exact log p(latent), or log p(latent | length, label), in nats: (n,).

        Args:
            latents: (n, Z), of sentences; each must consist of codes.
            lengths: (n,), tokens of each sentence, bos and eos counted; None if they are not known.
            labels: one of each sentence, of those that the prior was fitted with.
        """
        known = self.conditions.of_sentences(len(latents), lengths, labels)
        return log_likelihood(self.network, CodedSentences(self._codes(latents), *known))

    @override
    @torch.inference_mode()
    def _draw(self, count: int, generator: Generator, drawing: Drawing) -> Tensor:
        assert self.codebook is not None
        known = self.conditions.asked(count, drawing, self.kind)
        temperature, guidance = drawing.prior_temperature, drawing.guidance
        codes = self.network.sample(*known, generator, temperature, guidance)
        group = torch.arange(codes.shape[1]) % len(self.codebook)
        return self.codebook[group, codes].flatten(1)

    def _codes(self, latents: Tensor) -> Tensor:
        """Find the codes (n, C) of latents (n, Z), on their device.

        Raises:
            ValueError: if the latents do not consist of codes.
        """
        if self.codebook is None:
            raise ValueError(
                "`codebook` must be known before latents are, but it is not. Call "
                "`prior.prepare(model.autoencoder.latent)` first."
            )
        groups, _, size = self.codebook.shape
        books = self.codebook.to(latents.device)
        parts = latents.reshape(-1, groups, size).transpose(0, 1)
        found, exact = [], True
        for some in torch.split(parts, ROWS, dim=1):
            # Not by a matrix product, whose rounding would confuse codes that are close.
            far = torch.cdist(some, books, compute_mode="donot_use_mm_for_euclid_dist")
            nearest = far.min(dim=2)
            exact = exact and bool((nearest.values == 0).all())
            found.append(nearest.indices.T)
        if not exact:
            raise ValueError(
                "`latents` must consist of the model's codes, but they do not. Give those that "
                "this model encodes."
            )
        return torch.cat(found).reshape(len(latents), -1)

    def _empty_network(self, num_positions: int, num_codes: int, num_labels: int) -> CodesNetwork:
        if num_positions * num_codes > MAX_TABLE:
            raise ValueError(
                f"`num_codes` must be at most {MAX_TABLE // num_positions:,} for a prior over "
                f"{num_positions:,} codes of a text, but it is {num_codes:,} instead. Train a "
                f"model with fewer."
            )
        return CodesNetwork(num_positions, num_codes, self.hidden_dim, num_labels)

    @override
    def report(self) -> str:
        if self.nats is None:
            return ""
        return (
            f"{self.nats.codes:.1f} nats a text, on {self.nats.count:,} held-out texts (with "
            f"independent codes {self.nats.independent:.1f}, uniform {self.nats.uniform:.1f})"
        )

    @override
    def tensors(self) -> dict[str, Tensor]:
        assert self.codebook is not None
        own = {"codebook": self.codebook, "length_scale": self.conditions.length_scale}
        return self.network.state_dict() | own

    @override
    def found(self) -> dict[str, Any]:
        assert self.codebook is not None
        return {"labels": self.conditions.labels, "codebook": list(self.codebook.shape)}

    @override
    def expected_tensors(self, latent_dim: int, found: Mapping[str, Any]) -> dict[str, Tensor]:
        check_found(found, ("labels", "codebook"))
        check_labels(found["labels"])
        sizes = found["codebook"]
        if not isinstance(sizes, list) or len(sizes) != 3:
            raise ValueError("`codebook` must be three sizes, but it is something else instead.")
        groups, num_codes, size = (check_whole("codebook", n, 1, 2**16) for n in sizes)
        if latent_dim % (groups * size):
            raise ValueError(
                f"`codebook` must be one of latents of {latent_dim} numbers, but it has {groups} "
                f"groups of {size} instead."
            )
        network = self._empty_network(latent_dim // size, num_codes, len(found["labels"]))
        own = {"codebook": shaped(groups, num_codes, size), "length_scale": shaped(2)}
        return network.state_dict() | own

    @override
    def restore(self, tensors: Mapping[str, Tensor], found: Mapping[str, Any]) -> None:
        self.conditions = Conditions(list(found["labels"]), tensors["length_scale"])
        self.codebook = tensors["codebook"]
        weights = {n: t for n, t in tensors.items() if n not in ("codebook", "length_scale")}
        positions, num_codes = weights["bias"].shape
        self.network = self._empty_network(positions, num_codes, len(self.conditions.labels))
        self.network.load_state_dict(weights, assign=True)
        self.network.requires_grad_(False)
