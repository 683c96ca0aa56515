"""The model, in pure torch."""

# A bundle finds a part by its name among the classes that are imported.
from seqae.model import gaussian, transformer, vector_quantised, von_mises_fisher

__all__ = ["gaussian", "transformer", "vector_quantised", "von_mises_fisher"]
