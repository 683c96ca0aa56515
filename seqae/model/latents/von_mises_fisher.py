"""VonMisesFisherLatent: a posterior of fixed concentration on the unit sphere, a uniform prior.

The KL term is a constant, so that the posterior cannot collapse: a setting says how much it holds.
"""

from __future__ import annotations

import math
from typing import ClassVar, final

import torch
from torch import Generator, Tensor, nn
from typing_extensions import override

from seqae.batch import to_device_of
from seqae.component import check_range
from seqae.model.latents.base import LatentOutput, StochasticLatent
from seqae.model.layers import in_float32


@final
class VonMisesFisherLatent(StochasticLatent):
    """q(z|x) = vMF(mean, kappa), p(z) uniform on the sphere: Xu and Durrett 2018, arXiv:1808.10805.

    The density is C_d(kappa) exp(kappa mean . z) for z of length 1, with
    C_d(kappa) = kappa^(d/2 - 1) / ((2 pi)^(d/2) I_{d/2 - 1}(kappa)). Each vector of the encoder,
    mapped and scaled to length 1, is the mean direction of its own distribution; `mean` of the
    output is that direction, and also the latent if nothing is drawn. Draws follow Davidson et al.
    2018 (arXiv:1804.00891, algorithm 1).

    Args:
        latent_dim: Z of each vector of the encoder, d.
        kappa: concentration. The KL term, in nats per vector, follows from it and from
            `latent_dim`: 80 in 256 dimensions makes 11.0.
    """

    has_constant_kl: ClassVar[bool] = True

    def __init__(self, latent_dim: int = 256, kappa: float = 80.0) -> None:
        super().__init__()
        check_range("latent_dim", latent_dim, 2, 2**16)
        check_range("kappa", kappa, 1e-3, 1e4)
        self.latent_dim, self.kappa = latent_dim, kappa
        self._log_constant = log_vmf_constant(latent_dim, kappa)
        self._log_uniform = -log_sphere_area(latent_dim)
        self._kl = kappa * mean_resultant_length(latent_dim, kappa)
        self._kl += self._log_constant - self._log_uniform

    @override
    def build(self, input_dim: int, num_latents: int = 1) -> None:
        self._num_latents = num_latents
        self.output_dim = num_latents * self.latent_dim
        self.mean = nn.Linear(input_dim, self.latent_dim)

    @override
    def forward(self, hidden: Tensor, generator: Generator | None = None) -> LatentOutput:
        mapped = in_float32(self.mean(hidden))  # in half precision the length is 1 to two digits
        mean = nn.functional.normalize(mapped, dim=-1).flatten(1)
        output = LatentOutput(mean, mean)
        if generator is not None:
            output.latent = self.sample_posterior(output, generator)
        return output

    @property
    @override
    def prior_variance(self) -> float:
        return 1.0 / self.latent_dim  # of each coordinate of a point drawn evenly from the sphere

    @override
    def kl(self, output: LatentOutput) -> Tensor:
        """(B, K): `kappa A_d(kappa) + log C_d(kappa) + log area` (Davidson et al., equation 14)."""
        mean = _mean(output)
        return mean.new_full((len(mean), self._num_latents), self._kl)

    @override
    def log_posterior(self, output: LatentOutput, latent: Tensor) -> Tensor:
        cosines = (_mean(output) * latent).sum(dim=-1)  # of all K vectors together
        return self.kappa * cosines + self._num_latents * self._log_constant

    @override
    def log_prior(self, latent: Tensor) -> Tensor:
        return latent.new_full(latent.shape[:-1], self._num_latents * self._log_uniform)

    @override
    def sample_posterior(self, output: LatentOutput, generator: Generator) -> Tensor:
        mean = _mean(output)
        mean = mean.reshape(len(mean), self._num_latents, self.latent_dim)
        count = mean.shape[0] * mean.shape[1]
        cosine = draw_cosine(count, self.latent_dim, self.kappa, generator)
        cosine = cosine.reshape(*mean.shape[:2], 1)
        sine = (1.0 - cosine.square()).clamp(min=0.0).sqrt()
        cosine, sine = (to_device_of(mean, part.to(mean.dtype)) for part in (cosine, sine))
        noise = torch.randn(mean.shape, generator=generator, dtype=mean.dtype)
        noise = to_device_of(mean, noise)
        across = noise - (noise * mean).sum(dim=-1, keepdim=True) * mean
        latent = cosine * mean + sine * nn.functional.normalize(across, dim=-1)
        return latent.flatten(1)

    @override
    def sample_prior(self, count: int, generator: Generator) -> Tensor:
        weight = self.mean.weight
        shape = (count, self._num_latents, self.latent_dim)
        noise = in_float32(torch.randn(shape, generator=generator, dtype=weight.dtype))
        return to_device_of(weight, nn.functional.normalize(noise, dim=-1).flatten(1))


def draw_cosine(count: int, dim: int, kappa: float, generator: Generator) -> Tensor:
    """Draw cosines between draws of a von Mises-Fisher distribution and its mean direction.

    The rejection sampler VM* of Wood (1994, doi:10.1080/03610919408813161), for all draws at once.
    It proposes from a beta distribution with both parameters (d - 1) / 2, which is that of
    (1 + t) / 2 with t one coordinate of a uniform point on the sphere, and accepts about two thirds
    or more.

    Args:
        count: number of draws.
        dim: d, at least 2.
        kappa: concentration.
        generator: on the CPU.

    Returns:
        (count,) float64 on the CPU, within -1 ... 1.
    """
    free = dim - 1
    b = free / (2.0 * kappa + math.sqrt(4.0 * kappa**2 + free**2))
    x0 = (1.0 - b) / (1.0 + b)
    c = kappa * x0 + free * (math.log(4.0 * b) - 2.0 * math.log1p(b))  # the log of 1 - x0^2
    cosines, missing = [], count
    while missing:
        point = torch.randn(missing, dim, generator=generator, dtype=torch.float64)
        beta = 0.5 * (1.0 + point[:, 0] / point.norm(dim=1))
        chance = torch.rand(missing, generator=generator, dtype=torch.float64)
        cosine = (1.0 - (1.0 + b) * beta) / (1.0 - (1.0 - b) * beta)
        accepted = kappa * cosine + free * torch.log1p(-x0 * cosine) - c >= chance.log()
        cosines.append(cosine[accepted])
        missing -= int(accepted.sum())
    return torch.cat(cosines) if cosines else torch.empty(0, dtype=torch.float64)


def mean_resultant_length(dim: int, kappa: float) -> float:
    """A_d(kappa) = I_{d/2}(kappa) / I_{d/2 - 1}(kappa), the mean cosine to the mean direction."""
    return math.exp(log_bessel_i(dim / 2, kappa) - log_bessel_i(dim / 2 - 1, kappa))


def log_vmf_constant(dim: int, kappa: float) -> float:
    """Log C_d(kappa), with which the density integrates to 1 over the sphere."""
    order = dim / 2 - 1
    log_two_pi = math.log(2 * math.pi)
    return order * math.log(kappa) - (order + 1) * log_two_pi - log_bessel_i(order, kappa)


def log_sphere_area(dim: int) -> float:
    """Log area of the unit sphere in d dimensions, 2 pi^(d/2) / Gamma(d/2)."""
    return math.log(2) + dim / 2 * math.log(math.pi) - math.lgamma(dim / 2)


def log_bessel_i(order: float, x: float) -> float:
    """Log of the modified Bessel function of the first kind, I_order(x).

    Summed from its series, sum_k (x/2)^(2k + order) / (k! Gamma(order + k + 1)) (DLMF 10.25.2). All
    terms are positive, so that nothing cancels, and in logarithms nothing overflows; the largest
    is near k = (sqrt(order^2 + x^2) - order) / 2, and the terms around it fall like those of a
    Poisson distribution.

    Args:
        order: at least 0.
        x: positive; the time grows with it, 3 ms at 10,000.
    """
    largest = (math.hypot(order, x) - order) / 2
    terms = int(largest + 12.0 * math.sqrt(largest + 1.0)) + 40
    log_half = math.log(x / 2)
    logs = [
        (2 * k + order) * log_half - math.lgamma(k + 1) - math.lgamma(order + k + 1)
        for k in range(terms)
    ]
    top = max(logs)
    return top + math.log(math.fsum(math.exp(term - top) for term in logs))


def _mean(output: LatentOutput) -> Tensor:
    assert output.mean is not None
    return output.mean
