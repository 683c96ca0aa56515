"""Priors: what latents are drawn from, fitted to the latents of training sentences afterwards.

base.py              what every prior does
gaussian_prior.py    a normal distribution
mixture_prior.py     a mixture of Gaussians, where one is too coarse
"""

from seqae.priors.base import Prior as Prior
from seqae.priors.gaussian_prior import GaussianPrior as GaussianPrior
from seqae.priors.mixture_prior import MixturePrior as MixturePrior
