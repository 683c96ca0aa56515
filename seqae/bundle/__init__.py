"""Bundles: folders in which trained models are shared, and what loads from them.

io.py                reads and writes the folder, checks its manifest
weights.py           tensors in safetensors files, from strangers too
density.py           a density of the training latents, to sample from
card.py              the model card
text_autoencoder.py  TextAutoencoder: texts to latents, latents to texts
latent_ops.py        operations on latents as arrays
"""
