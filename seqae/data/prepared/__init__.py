"""Corpora that are tokenised once, on disk: written, sealed, and read as they are."""
