"""`seqae report`: what a model is, how well it works, its curves and its map, in one HTML file."""
