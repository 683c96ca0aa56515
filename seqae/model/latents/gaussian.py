"""GaussianLatent: a normal posterior with a variance for each dimension, and a standard prior."""

from __future__ import annotations

import math
from typing import final

import torch
from torch import Generator, Tensor, nn
from typing_extensions import override

from seqae.batch import to_device_of
from seqae.component import check_range
from seqae.model.latents.base import LatentOutput, StochasticLatent
from seqae.model.layers import in_float32

# SentenceMIM's floor of the log variance is -10. Here it is a soft limit on both sides: exp(10) is
# far from the largest float32.
LOGVAR_LIMIT = 10.0


@final
class GaussianLatent(StochasticLatent):
    """q(z|x) = N(mean, diag(exp(logvar))), p(z) = N(0, I) (Kingma and Welling 2014).

    Mean and logvar are linear maps of each vector of the encoder; a latent is drawn as
    `mean + exp(logvar / 2) * noise` (their section 2.4). The logvar stays between -10 and 10.

    With `batch_norm` each dimension of the mean is normalised to that standard deviation around a
    trained shift (Zhu et al. 2020, arXiv:2004.12585): over the batch in training, and by training's
    running statistics otherwise and for a batch of one sentence. The KL term is then at least
    `Z * batch_norm^2 / 2` nats a sentence on average, whatever the variances, so that the posterior
    cannot collapse. Each device normalises by its own sentences.

    Args:
        latent_dim: Z of each vector of the encoder.
        batch_norm: standard deviation of the mean over sentences; 0 leaves it free.
    """

    def __init__(self, latent_dim: int = 256, batch_norm: float = 0.0) -> None:
        super().__init__()
        check_range("latent_dim", latent_dim, 1, 2**16)
        check_range("batch_norm", batch_norm, 0.0, 10.0)
        self.latent_dim, self.batch_norm = latent_dim, batch_norm

    @override
    def build(self, input_dim: int, num_latents: int = 1) -> None:
        self.output_dim = num_latents * self.latent_dim
        self.mean = nn.Linear(input_dim, self.latent_dim)
        self.logvar = nn.Linear(input_dim, self.latent_dim)
        if self.batch_norm:
            self.normalize = nn.BatchNorm1d(self.output_dim, affine=False)
            self.shift = nn.Parameter(torch.zeros(self.output_dim))

    @override
    def forward(self, hidden: Tensor, generator: Generator | None = None) -> LatentOutput:
        # In half precision a KL term of many dimensions would be lost in rounding.
        mean, logvar = in_float32(self.mean(hidden)), in_float32(self.logvar(hidden))
        mean = mean.flatten(1)
        if self.batch_norm:
            mean = self.batch_norm * self._normalized(mean) + self.shift
        logvar = LOGVAR_LIMIT * torch.tanh(logvar.flatten(1) / LOGVAR_LIMIT)
        output = LatentOutput(mean, mean, logvar)
        if generator is not None:
            output.latent = self.sample_posterior(output, generator)
        return output

    @override
    def kl(self, output: LatentOutput) -> Tensor:
        """(B, Z): `(mean^2 + exp(logvar) - 1 - logvar) / 2` (Kingma and Welling, appendix B)."""
        mean, logvar = _parameters(output)
        return 0.5 * (mean.pow(2) + logvar.exp() - 1.0 - logvar)

    @override
    def log_posterior(self, output: LatentOutput, latent: Tensor) -> Tensor:
        mean, logvar = _parameters(output)
        return _log_normal(latent, mean, logvar)

    @override
    def log_prior(self, latent: Tensor) -> Tensor:
        zero = latent.new_zeros(())
        return _log_normal(latent, zero, zero)

    @override
    def sample_posterior(self, output: LatentOutput, generator: Generator) -> Tensor:
        mean, logvar = _parameters(output)
        noise = torch.randn(mean.shape, generator=generator, dtype=mean.dtype)
        return mean + (0.5 * logvar).exp() * to_device_of(mean, noise)

    @override
    def sample_prior(self, count: int, generator: Generator) -> Tensor:
        weight = self.mean.weight
        noise = torch.randn((count, self.output_dim), generator=generator, dtype=weight.dtype)
        return to_device_of(weight, in_float32(noise))

    def _normalized(self, mean: Tensor) -> Tensor:
        if self.training and len(mean) == 1:  # one sentence has no variance
            statistics = self.normalize.running_mean, self.normalize.running_var
            return nn.functional.batch_norm(mean, *statistics, eps=self.normalize.eps)
        normalized: Tensor = self.normalize(mean)
        return normalized


def _parameters(output: LatentOutput) -> tuple[Tensor, Tensor]:
    assert output.mean is not None
    assert output.logvar is not None
    return output.mean, output.logvar


def _log_normal(latent: Tensor, mean: Tensor, logvar: Tensor) -> Tensor:
    squared = (latent - mean).pow(2) * (-logvar).exp()
    return -0.5 * (squared + logvar + math.log(2 * math.pi)).sum(dim=-1)
