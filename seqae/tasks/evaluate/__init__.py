"""`seqae evaluate`: groups of metrics beside baselines, as a table and as JSON."""
