"""The figures of `seqae evaluate`: what each is called, how it is printed, what it means."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from rich.console import Console
from rich.table import Table
from rich.text import Text

from seqae.terminal import visible

Group = Literal["reconstruction", "likelihood", "latent", "generation", "embedding"]
GROUPS: tuple[Group, ...] = get_args(Group)

# What is printed where standard output is no terminal.
WIDTH = 100

# For each column (the model, its baselines) its figures by key.
Scores = dict[str, dict[str, float]]


@dataclass(frozen=True)
class Figure:
    """One row of the table.

    Attributes:
        group: the part of the table that it stands in.
        label: its name there.
        style: how Python formats it.
        meaning: the definition, for `--explain`.
    """

    group: Group
    label: str
    style: str
    meaning: str

    def show(self, value: float | None) -> str:
        """A value as it is printed; a dash where it is not defined."""
        if value is None or math.isnan(value):
            return "–"
        return f"{value:{self.style}}"


# How many words a sentence has, for the figures by length.
LENGTHS = {"to_5": (0, 5), "to_10": (6, 10), "to_20": (11, 20), "above_20": (21, 10**9)}

_BY_LENGTH = {
    f"exact_match_{key}": Figure(
        "reconstruction",
        f"exact match, {low or 1} to {high} words"
        if high < 10**9
        else f"exact match, {low} or more",
        ".1%",
        "the same of the sentences of so many words, parted by spaces",
    )
    for key, (low, high) in LENGTHS.items()
}

FIGURES: dict[str, Figure] = {
    "token_accuracy": Figure(
        "reconstruction",
        "token accuracy",
        ".1%",
        "share of the sentences' tokens, their end counted, that stand at the same place in what "
        "was written; the decoder reads only what it wrote itself",
    ),
    "exact_match": Figure(
        "reconstruction",
        "exact match",
        ".1%",
        "share of sentences written back without any difference",
    ),
    **_BY_LENGTH,
    "unigram_bleu": Figure(
        "reconstruction",
        "unigram BLEU, 0 to 1",
        ".3f",
        "share of the written words that are due, whatever their order, times the brevity penalty, "
        "the mean over sentences; the end counts as a word; the BLEU of SentenceMIM (Livne et al. "
        "2020)",
    ),
    "bleu": Figure(
        "reconstruction",
        "BLEU",
        ".1f",
        "corpus BLEU-4 of what was written against the sentences, as sacreBLEU computes it "
        "(Papineni et al. 2002; Post 2018), 0 to 100",
    ),
    "chrf": Figure(
        "reconstruction",
        "chrF",
        ".1f",
        "F2 of character n-grams, as sacreBLEU computes it (Popović 2015), 0 to 100",
    ),
    "edit_distance": Figure(
        "reconstruction",
        "edit distance",
        ".3f",
        "words to insert, delete or replace over the longer one's words, the mean over sentences; "
        "0 is equal, 1 has nothing in common",
    ),
    "conditional_nll": Figure(
        "likelihood",
        "cross-entropy given the latent",
        ".3f",
        "-log p(x|z) in nats per token under teacher forcing; no likelihood, since what the latent "
        "tells is not counted",
    ),
    "negative_elbo": Figure(
        "likelihood",
        "negative ELBO, nats per sentence",
        ".2f",
        "-log p(x|z) + KL at one draw of z, the mean over sentences: an upper bound of -log p(x) "
        "(Kingma and Welling 2014). For a codebook the KL is that of certain codes against a "
        "uniform prior. A latent without posterior or codebook is not paid for: no likelihood",
    ),
    "nll": Figure(
        "likelihood",
        "NLL, nats per sentence",
        ".2f",
        "-log p(x), the end counted: importance-weighted with k draws (Burda et al. 2016), an "
        "upper bound that tightens with k; for a codebook the negative ELBO",
    ),
    "nll_per_token": Figure(
        "likelihood",
        "NLL, nats per token",
        ".3f",
        "the same over the tokens of the model's own tokenizer, the ends of sentences counted",
    ),
    "perplexity": Figure(
        "likelihood",
        "perplexity, KL counted",
        ".2f",
        "the exponential of that, the end of a sentence a token: to be compared under one "
        "tokenizer only",
    ),
    "bits_per_byte": Figure(
        "likelihood",
        "bits per byte",
        ".3f",
        "NLL in bits over the bytes of the text in UTF-8: comparable between tokenizers; not "
        "defined where the tokenizer lost something of the text",
    ),
    "kl": Figure(
        "latent",
        "KL, nats per sentence",
        ".2f",
        "KL(q(z|x) || p(z)), the mean over sentences: what the latent costs",
    ),
    "mutual_information": Figure(
        "latent",
        "mutual information, nats",
        ".2f",
        "of sentence and latent under q, with the aggregate posterior of these sentences (Hoffman "
        "and Johnson 2016; He et al. 2019)",
    ),
    "mutual_information_limit": Figure(
        "latent",
        "its limit here",
        ".2f",
        "the logarithm of the number of sentences, which the estimate cannot exceed",
    ),
    "active_units": Figure(
        "latent",
        "active units",
        ".0f",
        "dimensions whose posterior mean has a variance above 0.01 over sentences, times that of "
        "the prior (Burda et al. 2016)",
    ),
    "codebook_usage": Figure(
        "latent",
        "codes in use",
        ".1%",
        "share of the codebook that was taken lately in training, more than a hundredth as often "
        "as the average code",
    ),
    "codebook_perplexity": Figure(
        "latent",
        "codebook perplexity",
        ".1f",
        "the number of codes that would be as uncertain if all were taken equally often, the mean "
        "over groups, lately in training (van den Oord et al. 2017)",
    ),
    "latent_dim": Figure("latent", "of dimensions", ".0f", "Z, the size of a latent"),
    "duplicates": Figure(
        "latent",
        "duplicate outputs",
        ".1%",
        "share of reconstructions that repeat that of another sentence",
    ),
    "shuffle_gap": Figure(
        "latent",
        "shuffle gap, nats per token",
        ".3f",
        "by how much -log p(x|z) rises when each sentence is given the latent of another one of "
        "like length; near zero the decoder does not read the latent",
    ),
    "isotropy": Figure(
        "latent",
        "isotropy",
        ".3f",
        "IsoScore of the latents (of the means, where there is a posterior): how evenly they use "
        "their dimensions, 0 to 1 (Rudman et al. 2022)",
    ),
    "detour": Figure(
        "latent",
        "interpolation, detour",
        ".2f",
        "edit distance in words along the texts at nine even steps from one latent to another, as "
        "`seqae interpolate` takes them, over the distance of the two ends; 1 is the shortest way",
    ),
    "largest_step": Figure(
        "latent",
        "interpolation, largest step",
        ".1%",
        "share of that way that its largest step is: 12.5 % are even steps, 100 % is one jump",
    ),
    "forward_perplexity": Figure(
        "generation",
        "forward perplexity",
        ".1f",
        "of the samples under a language model trained on real text: are they fluent? Dull text "
        "has a low one too (Zhao et al. 2018, arXiv:1706.04223)",
    ),
    "reverse_perplexity": Figure(
        "generation",
        "reverse perplexity",
        ".1f",
        "of real, unseen text under a language model trained on as many samples: do they cover it?",
    ),
    "midpoint_perplexity": Figure(
        "generation",
        "perplexity of midpoints",
        ".1f",
        "of what is written half way between two sentences, under the forward language model",
    ),
    "self_bleu": Figure(
        "generation",
        "self-BLEU",
        ".1f",
        "BLEU of each sample with the others as references, the mean; low is diverse (Zhu et al. "
        "2018)",
    ),
    "distinct_1": Figure(
        "generation", "distinct-1", ".3f", "different words over all words (Li et al. 2016)"
    ),
    "distinct_2": Figure(
        "generation", "distinct-2", ".3f", "different pairs of words over all words"
    ),
    "sample_duplicates": Figure(
        "generation", "duplicates", ".1%", "share of samples that repeat an earlier one"
    ),
    "copies": Figure(
        "generation", "copies", ".1%", "share of samples that are a training sentence"
    ),
    "spearman": Figure(
        "embedding",
        "similarity of pairs, Spearman",
        ".3f",
        "rank correlation of the cosine of two latents with the score of the pair",
    ),
    "neighbour_accuracy": Figure(
        "embedding",
        "nearest neighbour",
        ".1%",
        "share of sentences whose nearest other one by cosine has their label",
    ),
    "linear_probe": Figure(
        "embedding",
        "linear probe",
        ".1%",
        "accuracy of logistic regression on the latents, five-fold cross-validation",
    ),
}

COLUMNS = {
    "nearest by TF-IDF": "answers with the training sentence of the highest TF-IDF cosine",
    "most frequent sentence": "always answers with the most frequent training sentence",
    "token frequencies": "the likelihood if each token were drawn by its frequency in training",
    "TF-IDF + SVD": "TF-IDF vectors of the training sentences cut to at most as many dimensions",
    "real text": "unseen sentences in place of samples; reverse: trained on training sentences",
    "random words": "tokens drawn by their frequency in training, as many as sentences have",
    "chance": "always answers with the most frequent label",
}


def rows_of(scores: Mapping[str, Mapping[str, float]], group: Group) -> Iterator[str]:
    """The figures of a group that some column has, in the order of the table."""
    for key, figure in FIGURES.items():
        if figure.group == group and any(key in column for column in scores.values()):
            yield key


def show(title: str, scores: Scores, notes: Mapping[str, str], explain: bool) -> None:
    """Print the table.

    Args:
        title: what was measured.
        scores: the figures.
        notes: by group a remark under its part.
        explain: say what each row and column means.
    """
    console = console_of_width()
    # Text, in place of a string: rich takes what is in square brackets for markup.
    table = Table(title=Text(visible(title)), title_justify="left", show_header=False)
    table.add_column(min_width=34)
    for width in (8, 17, 22):  # so that tables of several models stand in line
        table.add_column(justify="right", min_width=width)
    shown = []
    for group in GROUPS:
        keys = list(rows_of(scores, group))
        if not keys:
            continue
        columns = [name for name, column in scores.items() if any(key in column for key in keys)]
        shown += keys + columns
        table.add_section()
        table.add_row(group, *columns, style="bold")
        for key in keys:
            figure = FIGURES[key]
            cells = [figure.show(scores[c][key]) if key in scores[c] else "" for c in columns]
            table.add_row(f"  {figure.label}", *cells)
    console.print(table if shown else Text(visible(title)))
    for name, note in notes.items():
        console.print(Text(f"{name}: {note}"))
    if explain:
        for key in dict.fromkeys(key for key in shown if key not in list(_BY_LENGTH)[1:]):
            label, meaning = (
                (FIGURES[key].label, FIGURES[key].meaning)
                if key in FIGURES
                else (key, COLUMNS.get(key, ""))
            )
            if meaning:
                console.print(Text(f"{label}: {meaning}"))


def show_examples(pairs: Sequence[tuple[str, str]]) -> None:
    """Print sentences beside what was written back."""
    if not pairs:
        return
    table = Table("sentence", "written back", "", title_justify="left")
    for text, reconstruction in pairs:
        sides = Text(visible(text)), Text(visible(reconstruction))
        table.add_row(*sides, "=" if text == reconstruction else "≠")
    console_of_width().print(table)


def console_of_width() -> Console:
    """As wide as the terminal; where there is none, as wide as a page."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else WIDTH)
