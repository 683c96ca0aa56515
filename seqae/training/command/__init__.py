"""`seqae fit` and its like: LightningCLI, its options, and what it refuses before it begins."""
