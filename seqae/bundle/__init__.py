"""Bundles: the folders that trained models are shared in."""
