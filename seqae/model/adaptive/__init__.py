"""Output over a large vocabulary in clusters: the layer, and its cross-entropy."""
