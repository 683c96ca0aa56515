"""Bundles: folders in which trained models are shared, and what loads from them.

io.py                reads and writes the folder
manifest.py          its files and their hashes
weights.py           tensors in safetensors files, from strangers too
stored_priors.py     priors in files of their own
prior_draws.py       random latents, from the model's own prior or a fitted one
card.py              the model card
save.py              writes a TextAutoencoder to a folder of the user's choice
from_training.py     the model that a Trainer has trained
text_autoencoder.py  TextAutoencoder: texts to latents, latents to texts
long_texts.py        texts of any length as stretches, with a latent for each
text_operations.py   what it does with them: interpolate, sample, neighbours ...
codec.py             token ids to latents and back, in batches
latent_ops.py        operations on latents as arrays
"""
