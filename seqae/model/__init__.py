"""The model, in pure torch."""
