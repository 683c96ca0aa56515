"""Data: from text files to padded batches of token ids."""
