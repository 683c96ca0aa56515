"""`seqae evaluate`: metrics of a model on unseen sentences, beside trivial baselines.

command.py      the command, from options to the printed table
texts.py        the sentences that it reads
run.py          one evaluation, collected by column
groups.py       reconstruction, likelihood, latent and embedding
robustness.py   reconstruction from noisy latents; robustness_chart.py draws it
samples.py      samples, for which language_model.py has small neural judges
midpoints.py    texts between two sentences
baselines.py    what a model must beat
annotations.py  sentences with scores or labels
table.py        the printed table
"""
