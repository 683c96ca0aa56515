"""The definitions of the metrics of samples, midpoints and noisy latents."""

from __future__ import annotations

from seqae.metrics.metric import Metric

ROBUSTNESS: dict[str, Metric] = {
    "noise_bleu_area": Metric(
        "robustness",
        "AuBLEU",
        "0 to 100",
        "area under the curve of BLEU against the noise σ that is added to the latents, from 0 to "
        "2 standard deviations of each dimension over these sentences, divided by 2: the mean BLEU "
        "(after the score by which Zhang et al. 2023, arXiv:2306.02531, judge how well a diffusion "
        "model denoises)",
    ),
    "noise_exact_match": Metric(
        "robustness",
        "exact match, noise of 0.3",
        "%",
        "share of sentences that are reconstructed from their latents with noise of 0.3 standard "
        "deviations",
    ),
    "noise_bleu": Metric(
        "robustness",
        "BLEU, noise of 1",
        "0 to 100",
        "BLEU of reconstructions from latents with noise of 1 standard deviation",
    ),
}

GENERATION: dict[str, Metric] = {
    "judge_perplexity": Metric(
        "generation",
        "judge perplexity",
        "words",
        "of the samples under the judge, a trigram model of the words of the training text (Chen "
        "and Goodman 1999), the ends of sentences counted: are they fluent? An unknown word costs "
        "its spelling. Dull or copied text scores low, too",
    ),
    "reverse_judge_perplexity": Metric(
        "generation",
        "reverse judge perplexity",
        "words",
        "of real, unseen text under a judge trained on as many samples: do they cover it? (Zhao et "
        "al. 2018, arXiv:1706.04223, with neural models)",
    ),
    "unknown_words": Metric(
        "generation",
        "unknown words",
        "%",
        "share of the samples' words that the training text does not have",
    ),
    "sample_words": Metric(
        "generation",
        "length",
        "words",
        "words of a sample on average",
    ),
    "distinct_1": Metric(
        "generation",
        "distinct-1",
        "0 to 1",
        "different words divided by all words, in lower case (Li et al. 2016)",
    ),
    "distinct_2": Metric(
        "generation",
        "distinct-2",
        "0 to 1",
        "different pairs of words divided by all words, in lower case",
    ),
    "self_bleu": Metric(
        "generation",
        "self-BLEU",
        "0 to 100",
        "BLEU of each sample with the others as references, averaged, in lower case; low means "
        "diverse (Zhu et al. 2018)",
    ),
    "sample_duplicates": Metric(
        "generation",
        "duplicates",
        "%",
        "share of samples that repeat an earlier one",
    ),
    "copies": Metric(
        "generation",
        "copies",
        "%",
        "share of samples that equal a training sentence, except for case and blanks",
    ),
    "memorised": Metric(
        "generation",
        "training 4-grams",
        "%",
        "share of the samples' sequences of four words that stand in the training text",
    ),
    "midpoint_judge_perplexity": Metric(
        "generation",
        "midpoint perplexity",
        "words",
        "of the texts half way between two sentences, on the path of `seqae interpolate`, under "
        "the judge",
    ),
    "midpoint_unknown_words": Metric(
        "generation",
        "midpoint unknown words",
        "%",
        "share of the midpoints' words that the training text does not have",
    ),
    "midpoint_content": Metric(
        "generation",
        "content in midpoints",
        "%",
        "share of the content words of either end that the midpoint has, averaged over ends: words "
        "other than the most frequent ones, which make up half of the training text",
    ),
    "midpoint_both_ends": Metric(
        "generation",
        "midpoints of both ends",
        "%",
        "share of midpoints that have a content word of one end and one of the other",
    ),
    "forward_perplexity": Metric(
        "generation",
        "GRU perplexity",
        "tokens",
        "of the samples under a GRU language model trained on real text (Zhao et al. 2018)",
    ),
    "reverse_perplexity": Metric(
        "generation",
        "reverse GRU perplexity",
        "tokens",
        "of real, unseen text under a GRU language model trained on as many samples",
    ),
    "midpoint_perplexity": Metric(
        "generation",
        "midpoint GRU perplexity",
        "tokens",
        "of the midpoints under the GRU language model that was trained on real text",
    ),
}
