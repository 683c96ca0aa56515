"""Bundles: folders in which trained models are shared, and what loads from them.

io.py                reads and writes the folder, checks its manifest
weights.py           tensors in safetensors files, from strangers too
density.py           a density of the training latents, to sample from
card.py              the model card
save.py              writes a TextAutoencoder to a folder of the user's choice
from_training.py     the model that a Trainer has trained
text_autoencoder.py  TextAutoencoder: texts to latents, latents to texts
long_texts.py        texts of any length as stretches, with a latent for each
text_operations.py   what it does with them: interpolate, sample, neighbours ...
codec.py             token ids to latents and back, in batches
latent_ops.py        operations on latents as arrays
"""
