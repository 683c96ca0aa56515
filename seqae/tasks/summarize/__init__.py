"""`seqae summarize` and `seqae summarize-eval`.

documents.py         reads documents, one after the other
choices.py           from the options to methods, spaces and a length
write_summaries.py   `seqae summarize`
score_summaries.py   `seqae summarize-eval`
collect_scores.py    what it measures of each method
summary_table.py     its table, and its examples
log_summaries.py     both, for Weights & Biases
"""
