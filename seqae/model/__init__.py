"""The model, in pure torch."""

# A bundle finds a part by its name among the imported classes.
from seqae.model import decoders, encoders, hierarchical, latents

__all__ = ["decoders", "encoders", "hierarchical", "latents"]
