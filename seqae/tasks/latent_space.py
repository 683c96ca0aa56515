"""Sampling, interpolation, arithmetic, neighbours and transfer from the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import seqae
from seqae.bundle.density import MIN_SENTENCES, can_fit, fit_density
from seqae.bundle.io import add_density, bundle_folder
from seqae.bundle.latent_ops import Curve, LatentSource, Similarity, between
from seqae.bundle.text_autoencoder import TextAutoencoder
from seqae.component import check_range, check_seed
from seqae.files import check_output
from seqae.generation import DecodingOptions
from seqae.tasks.encode_decode import GREEDY, gather, show, write_out
from seqae.tasks.evaluate.command import read_split

TooLong = Literal["error", "truncate"]


def sample(
    model: str,
    count: int = 10,
    source: LatentSource | None = None,
    output: str | None = None,
    seed: int = 0,
    device: str = "cpu",
    decoding: DecodingOptions = GREEDY,
) -> None:
    """Write new sentences, from random latents.

    Example:
        seqae sample runs/seqae/RUN --count 5
        seqae sample runs/seqae/RUN --source mixture --temperature 0.8 --seed 1

    Args:
        model: a bundle, or the folder of a run.
        count: how many.
        source: where latents are drawn: `prior`, the model's own (of a plain latent a standard
            normal one); `gaussian` or `mixture`, a density of the training latents; by default the
            prior of a model that has one, or else the Gaussian.
        output: a file for JSON lines with the text; by default the texts are printed, one a line.
        seed: of latents and of tokens that are drawn.
        device: where to compute: cpu, cuda, cuda:1 ...
        decoding: how latents are written out.
    """
    check_output(output, (".jsonl",))
    check_range("count", count, 0, 10**7)
    check_seed(seed)
    loaded = seqae.load(model, device)
    latents = loaded.sample_latents(count, source, seed)
    rows = write_out(loaded, latents, decoding, seed)
    show((row for found in rows for row in found), "text", output)


def interpolate(
    model: str,
    texts: list[str],
    input: str | None = None,  # noqa: A002 - the name of the option
    steps: int = 5,
    path: Curve = "spherical",
    output: str | None = None,
    too_long: TooLong = "error",
    seed: int = 0,
    device: str = "cpu",
    decoding: DecodingOptions = GREEDY,
) -> None:
    """Write the sentences between two.

    Example:
        seqae interpolate runs/seqae/RUN "the cat is asleep" "we went home by train"
        seqae interpolate runs/seqae/RUN --input pairs.txt --steps 9 --output between.jsonl

    Args:
        model: a bundle, or the folder of a run.
        texts: two sentences, or several pairs; `-` reads them from standard input, one a line.
        input: a file of sentences instead, one a line, each two a pair.
        steps: how many sentences of each pair, both ends counted.
        path: `linear`, or `spherical`: along the arc between the latents' directions.
        output: a file for JSON lines with start, end, step and text; by default the texts are
            printed, one a line.
        too_long: what to do with a sentence of more tokens than the model takes.
        seed: of tokens that are drawn.
        device: where to compute: cpu, cuda, cuda:1 ...
        decoding: how latents are written out.
    """
    check_output(output, (".jsonl",))
    check_range("steps", steps, 2, 10**6)
    check_seed(seed)
    groups = _groups(gather(texts, input), 2)
    loaded = seqae.load(model, device)
    rows = []
    for start, end in groups:
        first, last = loaded.encode([start, end], too_long)
        written = loaded.decode(between(first, last, steps, path), decoding, seed)
        for step, text in enumerate(written):
            rows.append({"start": start, "end": end, "step": step, "text": text})
    show(rows, "text", output)


def arithmetic(
    model: str,
    texts: list[str],
    input: str | None = None,  # noqa: A002 - the name of the option
    output: str | None = None,
    too_long: TooLong = "error",
    seed: int = 0,
    device: str = "cpu",
    decoding: DecodingOptions = GREEDY,
) -> None:
    """Write the sentence at a - b + c.

    Example:
        seqae arithmetic runs/seqae/RUN "he is here" "he is" "she is"
        seqae arithmetic runs/seqae/RUN - --output sums.jsonl < triples.txt

    Args:
        model: a bundle, or the folder of a run.
        texts: three sentences a, b and c, or several threes; `-` reads them from standard input,
            one a line.
        input: a file of sentences instead, one a line, each three a sum.
        output: a file for JSON lines with a, b, c and text; by default the texts are printed, one a
            line.
        too_long: what to do with a sentence of more tokens than the model takes.
        seed: of tokens that are drawn.
        device: where to compute: cpu, cuda, cuda:1 ...
        decoding: how latents are written out.
    """
    check_output(output, (".jsonl",))
    check_seed(seed)
    groups = _groups(gather(texts, input), 3)
    loaded = seqae.load(model, device)
    a, b, c = (loaded.encode(side, too_long) for side in zip(*groups, strict=True))
    written = loaded.decode(a - b + c, decoding, seed)
    names = ("a", "b", "c", "text")
    rows = zip(groups, written, strict=True)
    show((dict(zip(names, (*group, w), strict=True)) for group, w in rows), "text", output)


def neighbours(
    model: str,
    texts: list[str],
    input: str | None = None,  # noqa: A002 - the name of the option
    corpus: str | None = None,
    count: int = 5,
    similarity: Similarity = "cosine",
    output: str | None = None,
    too_long: TooLong = "error",
    device: str = "cpu",
) -> None:
    """Find the sentences whose latents are nearest.

    Example:
        seqae neighbours runs/seqae/RUN "the cat sat on the mat"
        seqae neighbours runs/seqae/RUN "the cat sat on the mat" --corpus books.txt --count 10

    Args:
        model: a bundle, or the folder of a run.
        texts: sentences; `-` reads them from standard input, one a line.
        input: a file of sentences instead, one a line.
        corpus: a file of sentences to look in; by default the training sentences.
        count: how many of each.
        similarity: `cosine` of the latents, or `euclidean`: minus their distance.
        output: a file for JSON lines with text, neighbour and similarity; by default these are
            printed.
        too_long: what to do with a sentence of more tokens than the model takes.
        device: where to compute: cpu, cuda, cuda:1 ...
    """
    check_output(output, (".jsonl",))
    check_range("count", count, 1, 10**6)
    sentences = gather(texts, input)
    where = None if corpus is None else gather([], corpus, "corpus")
    loaded = seqae.load(model, device)
    where = where or _training_sentences(loaded, model)
    found = loaded.neighbours(sentences, where, count, similarity, too_long)
    rows = [
        {"text": text, "neighbour": neighbour.text, "similarity": neighbour.similarity}
        for text, near in zip(sentences, found, strict=True)
        for neighbour in near
    ]
    show(rows, "neighbour", output)


def transfer(
    model: str,
    source: str,
    target: str,
    texts: list[str],
    input: str | None = None,  # noqa: A002 - the name of the option
    strength: float = 1.0,
    output: str | None = None,
    too_long: TooLong = "error",
    seed: int = 0,
    device: str = "cpu",
    decoding: DecodingOptions = GREEDY,
) -> None:
    """Write sentences again with an attribute added, learnt from two files of sentences.

    Example:
        seqae transfer runs/seqae/RUN present.txt past.txt "he goes home"
        seqae transfer runs/seqae/RUN source.txt target.txt - --strength 1.5 < sentences.txt

    Args:
        model: a bundle, or the folder of a run.
        source: a file of sentences without the attribute, one a line.
        target: a file of sentences with it.
        texts: sentences; `-` reads them from standard input, one a line.
        input: a file of sentences instead, one a line.
        strength: what the difference of the files' mean latents is multiplied by; below 0 the
            attribute is taken away.
        output: a file for JSON lines with text and transfer; by default the transfers are printed,
            one a line.
        too_long: what to do with a sentence of more tokens than the model takes.
        seed: of tokens that are drawn.
        device: where to compute: cpu, cuda, cuda:1 ...
        decoding: how latents are written out.
    """
    check_output(output, (".jsonl",))
    check_range("strength", strength, -1e6, 1e6)
    check_seed(seed)
    sentences = gather(texts, input)
    sides = gather([], source, "source"), gather([], target, "target")
    loaded = seqae.load(model, device)
    attribute = loaded.attribute(*sides)
    written = loaded.transfer(sentences, attribute, strength, decoding, too_long, seed)
    rows = zip(sentences, written, strict=True)
    show(({"text": text, "transfer": w} for text, w in rows), "transfer", output)


def density(
    model: str,
    input: str | None = None,  # noqa: A002 - the name of the option
    limit: int = 10_000,
    seed: int = 0,
    device: str = "cpu",
) -> None:
    """Fit a density of the latents of training sentences, into a bundle; `fit` does so at its end.

    Example:
        seqae density runs/seqae/RUN
        seqae density my_bundle --input sentences.txt --limit 50000

    Args:
        model: a bundle, or the folder of a run.
        input: a file of sentences, one a line; by default the training sentences.
        limit: how many of them at most, spread evenly.
        seed: of the mixture's first means.
        device: where to compute: cpu, cuda, cuda:1 ...
    """
    check_range("limit", limit, MIN_SENTENCES, 10**7)
    check_seed(seed)
    loaded = seqae.load(model, device, with_density=False)
    texts = _training_sentences(loaded, model) if input is None else gather([], input)
    latents = loaded.encode(texts[:: max(1, -(-len(texts) // limit))], "truncate")
    if not can_fit(latents):
        raise ValueError(
            f"`input` must have at least {MIN_SENTENCES} sentences, and the latents a size that "
            f"a matrix is kept for, but they are of shape {latents.shape}. Give more sentences."
        )
    add_density(bundle_folder(model), fit_density(latents, seed))
    print(f"{model}: a density of {len(latents):,} latents; `seqae sample {model}` draws from it.")


def _groups(texts: list[str], size: int) -> list[tuple[str, ...]]:
    if not texts or len(texts) % size:
        raise ValueError(
            f"`texts` must be {size} sentences or a multiple, but there are {len(texts)} instead. "
            f"Put each between quotation marks."
        )
    return [tuple(texts[first : first + size]) for first in range(0, len(texts), size)]


def _training_sentences(loaded: TextAutoencoder, model: str) -> list[str]:
    return read_split(loaded, Path(model), "train").read
