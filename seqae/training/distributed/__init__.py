"""Training on several processes: how they start, how they end, and how they share a model."""
