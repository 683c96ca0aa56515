"""The model card: what a stranger should know about a bundle, from what was measured."""
