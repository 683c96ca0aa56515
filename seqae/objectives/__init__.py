"""Objectives: what a training step minimises."""

from seqae.objectives.objective import Objective
from seqae.objectives.reconstruction import MeanSquaredError, Reconstruction

__all__ = ["MeanSquaredError", "Objective", "Reconstruction"]
