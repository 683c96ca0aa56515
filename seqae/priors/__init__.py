"""Priors: what latents are drawn from, fitted to the latents of training sentences afterwards.

base.py              what every prior does
gaussian_prior.py    a normal distribution
mixture_prior.py     a mixture of Gaussians, where one is too coarse
neighbourhood.py     training latents with noise
flow.py              a rectified flow, which follows a length and a label
flow_network.py      its network
codes.py             an autoregressive prior over the codes of a vector-quantised latent
codes_network.py     its network
codes_training.py    how that is trained
conditions.py        length and label, which both can follow
"""

from seqae.priors.base import Drawing as Drawing
from seqae.priors.base import Prior as Prior
from seqae.priors.codes import CodesPrior as CodesPrior
from seqae.priors.flow import FlowPrior as FlowPrior
from seqae.priors.gaussian_prior import GaussianPrior as GaussianPrior
from seqae.priors.mixture_prior import MixturePrior as MixturePrior
from seqae.priors.neighbourhood import NeighbourhoodPrior as NeighbourhoodPrior
