"""All metrics: their names, their units, and the definitions of those of `seqae evaluate`."""

from __future__ import annotations

from seqae.metrics.definitions_of_samples import GENERATION, ROBUSTNESS
from seqae.metrics.metric import GROUPS as GROUPS
from seqae.metrics.metric import Group as Group
from seqae.metrics.metric import Metric
from seqae.metrics.metric import Scores as Scores
from seqae.units import Unit

# Words of a sentence, from and to, for the metrics by length; `above_20` is all of the last three.
LENGTHS = {
    "to_5": (0, 5),
    "to_10": (6, 10),
    "to_20": (11, 20),
    "above_20": (21, 10**9),
    "to_35": (21, 35),
    "to_60": (36, 60),
    "above_60": (61, 10**9),
}

BY_LENGTH = {
    f"exact_match_{key}": Metric(
        "reconstruction",
        f"exact match, {low or 1}–{high} words" if high < 10**9 else f"exact match, {low} or more",
        "%",
        "exact match of the sentences with this many words, separated by blanks; where a script "
        "has none, such as Chinese or Thai, each character is a word",
    )
    for key, (low, high) in LENGTHS.items()
}

METRICS: dict[str, Metric] = {
    "token_accuracy": Metric(
        "reconstruction",
        "token accuracy",
        "%",
        "share of the sentences' tokens, their ends included, that the output has at the same "
        "position; the decoder reads only its own output",
    ),
    "stretch_token_accuracy": Metric(
        "reconstruction",
        "token accuracy, stretches",
        "%",
        "token accuracy with positions counted within each stretch of a text that has several, so "
        "that an extra or missing token shifts no other stretch",
    ),
    "exact_match": Metric(
        "reconstruction",
        "exact match",
        "%",
        "share of sentences that are reconstructed without any difference",
    ),
    **BY_LENGTH,
    "unigram_bleu": Metric(
        "reconstruction",
        "unigram BLEU",
        "0 to 1",
        "share of the output's words that the sentence has, in any order, times the brevity "
        "penalty, averaged over sentences; the end counts as a word; this is the BLEU of "
        "SentenceMIM (Livne et al. 2020)",
    ),
    "bleu": Metric(
        "reconstruction",
        "BLEU",
        "0 to 100",
        "corpus BLEU-4 of the output against the sentences, as computed by sacreBLEU (Papineni et"
        " al. 2002; Post 2018), 0 to 100, with the signature below the table. tok:13a+char is "
        "sacreBLEU's 13a, but where a script has no blanks, each character is a word; eff:N means "
        "that no sentence has more than N words, so that longer n-grams do not count",
    ),
    "chrf": Metric(
        "reconstruction",
        "chrF",
        "0 to 100",
        "F2 of character n-grams, as computed by sacreBLEU (Popović 2015), 0 to 100",
    ),
    "edit_distance": Metric(
        "reconstruction",
        "edit distance",
        "0 to 1",
        "words to insert, delete or replace, divided by the words of the longer text, averaged "
        "over sentences; 0 is equal, 1 has nothing in common; words are those of BLEU",
    ),
    "conditional_nll": Metric(
        "likelihood",
        "cross-entropy given latent",
        "nats/token",
        "-log p(x|z) in nats per token under teacher forcing; not a likelihood, since the "
        "information in the latent is not counted",
    ),
    "negative_elbo": Metric(
        "likelihood",
        "negative ELBO",
        "nats/sentence",
        "-log p(x|z) + KL at one draw of z, averaged over sentences: an upper bound of -log p(x) "
        "(Kingma and Welling 2014). For a codebook, the KL is that of certain codes against a "
        "uniform prior. A latent with neither posterior nor codebook has no cost, and thus no "
        "likelihood",
    ),
    "nll": Metric(
        "likelihood",
        "NLL",
        "nats/sentence",
        "-log p(x), the end included: importance-weighted with k draws (Burda et al. 2016), an "
        "upper bound that tightens with k; for a codebook, the negative ELBO",
    ),
    "nll_per_token": Metric(
        "likelihood",
        "NLL per token",
        "nats/token",
        "NLL divided by the tokens of the model's own tokenizer, the ends of sentences included",
    ),
    "perplexity": Metric(
        "likelihood",
        "perplexity, KL counted",
        "tokens",
        "exponential of the NLL per token, the ends of sentences included: comparable only "
        "between models with the same tokenizer",
    ),
    "bits_per_byte": Metric(
        "likelihood",
        "bits per byte",
        "bits/byte",
        "NLL in bits divided by the bytes of the text in UTF-8: comparable between tokenizers; "
        "undefined if the tokenizer loses part of the text",
    ),
    "kl": Metric(
        "latent",
        "KL",
        "nats/sentence",
        "KL(q(z|x) || p(z)), averaged over sentences: the cost of the latent",
    ),
    "mutual_information": Metric(
        "latent",
        "mutual information",
        "nats",
        "between sentence and latent under q, with the aggregate posterior of these sentences "
        "(Hoffman and Johnson 2016; He et al. 2019)",
    ),
    "mutual_information_limit": Metric(
        "latent",
        "its limit here",
        "nats",
        "logarithm of the number of sentences, which the estimate cannot exceed",
    ),
    "active_units": Metric(
        "latent",
        "active units",
        "dimensions",
        "dimensions whose posterior mean has a variance over sentences of more than 0.01 times "
        "that of the prior (Burda et al. 2016)",
    ),
    "codebook_usage": Metric(
        "latent",
        "codes in use",
        "%",
        "share of codes that were used lately in training, more than a hundredth as often as the "
        "average code",
    ),
    "codebook_perplexity": Metric(
        "latent",
        "codebook perplexity",
        "codes",
        "number of equally frequent codes that would be as uncertain, averaged over groups, "
        "lately in training (van den Oord et al. 2017)",
    ),
    "latent_dim": Metric(
        "latent",
        "latent dimensions",
        "dimensions",
        "Z, the size of a latent",
    ),
    "duplicates": Metric(
        "latent",
        "duplicate outputs",
        "%",
        "share of reconstructions that repeat that of another sentence",
    ),
    "shuffle_gap": Metric(
        "latent",
        "shuffle gap",
        "nats/token",
        "rise of -log p(x|z) if each sentence gets the latent of another one of similar length; "
        "near zero, the decoder ignores the latent",
    ),
    "isotropy": Metric(
        "latent",
        "isotropy",
        "0 to 1",
        "IsoScore of the latents (of the means, if there is a posterior): how evenly they use "
        "their dimensions, 0 to 1 (Rudman et al. 2022)",
    ),
    "detour": Metric(
        "latent",
        "detour of interpolations",
        "× shortest",
        "edit distance in words along the texts at nine even steps from one latent to another, on"
        " the path of `seqae interpolate`, divided by the distance of the two ends; 1 is the "
        "shortest path",
    ),
    "largest_step": Metric(
        "latent",
        "their largest step",
        "%",
        "share of that path that its largest step takes: 12.5 % means even steps, 100 % one jump",
    ),
    **ROBUSTNESS,
    **GENERATION,
    "spearman": Metric(
        "embedding",
        "Spearman of pairs",
        "-1 to 1",
        "rank correlation of the cosine of two latents with the score of the pair",
    ),
    "recall_at_1": Metric(
        "embedding",
        "paraphrase is nearest",
        "%",
        "share of sentences whose paraphrase is the nearest of all candidates by cosine",
    ),
    "mean_reciprocal_rank": Metric(
        "embedding",
        "rank of paraphrase",
        "0 to 1",
        "mean of 1 / rank of a sentence's paraphrase among all candidates by cosine",
    ),
    "neighbour_accuracy": Metric(
        "embedding",
        "nearest neighbour",
        "%",
        "share of sentences whose nearest other sentence by cosine has the same label",
    ),
    "linear_probe": Metric(
        "embedding",
        "linear probe",
        "%",
        "accuracy of logistic regression on the latents, five-fold cross-validation",
    ),
}

# Units of the other values that training logs, and of its cost. The loss is in nats only if the
# objective is a likelihood.
TRAINING: dict[str, Unit] = {
    "loss": "per token",
    "reconstruction": "nats/token",
    "noisy_reconstruction": "nats/token",
    "robust_reconstruction": "nats/token",
    "teacher_forced_accuracy": "%",
    "discriminator_accuracy": "%",
    "adversarial": "nats/sentence",
    "discriminator": "nats/sentence",
    "log_posterior": "nats/sentence",
    "log_prior": "nats/sentence",
    "latent_loss": "nats/sentence",
    "cut_share": "%",
    "tokens_per_second": "tokens/s",
    "optimizer_steps": "steps",
    "tokens": "tokens",
    "seconds": "seconds",
    "threads": "threads",
}

COLUMNS = {
    "nearest by TF-IDF": "answers with the training sentence of the highest TF-IDF cosine",
    "most frequent sentence": "always answers with the most frequent training sentence",
    "token frequencies": "the likelihood if each token were drawn by its frequency in training",
    "TF-IDF + SVD": "TF-IDF vectors of the training sentences, cut to at most as many dimensions",
    "real text": "unseen sentences instead of samples, and instead of midpoints unrelated ones; "
    "reverse: training sentences",
    "n-gram sampler": "sentences drawn from the judge, a trigram model of the training words",
    "words shuffled": "words of unseen sentences in random order, instead of midpoints half of the "
    "words of both ends; reverse: those of training sentences",
    "chance": "always answers with the most frequent label",
}


def unit_of(key: str) -> Unit:
    """Return the unit of a metric, also by its log key, `val/bleu`; "" if it is unknown."""
    name = key.rpartition("/")[2]
    return METRICS[name].unit if name in METRICS else TRAINING.get(name, "")
