"""Callbacks that accompany training, one file each."""
