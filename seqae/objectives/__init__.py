"""Objectives: what a training step minimises."""

from seqae.objectives.adversarial import Adversarial
from seqae.objectives.denoising import Denoising
from seqae.objectives.mean_sum import MeanSum
from seqae.objectives.mutual_information import MutualInformationMachine
from seqae.objectives.objective import Objective
from seqae.objectives.reconstruction import MeanSquaredError, Reconstruction
from seqae.objectives.variational import Variational
from seqae.objectives.wasserstein import WassersteinMMD

__all__ = [
    "Adversarial",
    "Denoising",
    "MeanSquaredError",
    "MeanSum",
    "MutualInformationMachine",
    "Objective",
    "Reconstruction",
    "Variational",
    "WassersteinMMD",
]
