"""What a TextAutoencoder does with texts and latents, one file for each kind."""
