"""The part of a latent that says what is said, and how its vectors are learnt."""
