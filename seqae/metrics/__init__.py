"""Metrics: what is measured, each named for exactly what it is.

metric.py       what a metric is; a row of the table
definitions.py  the name, unit and definition of every metric
accuracy.py     reconstructions: token accuracy, exact match, BLEU; sums over batches and ranks
segmenter.py    the words of all metrics, in any script
text.py         texts: unigram BLEU, chrF, edit distance; self-BLEU, distinct-n, copies, content
ngram_judge.py  a language model of words that any text trains in a second, on kneser_ney.py
nll.py          likelihood: -log p(x|z), bounds of -log p(x), perplexity, bits per byte
geometry.py     latent spaces: mutual information, active units, isotropy
posterior.py    one pass over sentences that collects what nll.py and geometry.py need
embedding.py    downstream use: similarity, neighbours, a linear probe, and the TF-IDF baseline
rouge.py        summaries and references: ROUGE-1, 2, L and Lsum, in any script
summary_text.py a summary beside its document: what is copied, new, repeated
significance.py how sure a mean over documents is
"""
