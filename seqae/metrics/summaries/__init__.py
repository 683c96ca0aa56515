"""What is measured of summaries: ROUGE, how sure a mean is, and what needs no reference."""
