"""Several processes: who starts them, how they end, how they share a model."""
