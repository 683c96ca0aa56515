"""The data report: what was read, kept and dropped, and what stands out in the corpora."""
