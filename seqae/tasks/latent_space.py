"""`seqae interpolate`, `arithmetic`, `neighbours` and `transfer`."""

from __future__ import annotations

import sys
from pathlib import Path

from seqae.bundle.operations.latent_ops import Curve, Similarity, between, nearest
from seqae.bundle.operations.text_decoding import GREEDY
from seqae.bundle.operations.text_operations import TooLong
from seqae.bundle.text_autoencoder import TextAutoencoder
from seqae.component import check_range, check_seed
from seqae.data.sources.records import ReadOptions
from seqae.files import check_output
from seqae.generation import Decoding
from seqae.model.latents import StochasticLatent
from seqae.tasks.encode_decode import write_rows
from seqae.tasks.evaluate.texts import read_split
from seqae.tasks.inputs import (
    READING,
    Instead,
    check_reading,
    check_source,
    gather,
    load_and_gather,
    policies_of,
    typed,
)
from seqae.tasks.neighbour_index import encode_searched
from seqae.terminal import progress_bar, working

# What to give where a model's training sentences cannot be read.
SEARCHED = Instead("`corpus`", "seqae neighbours MODEL TEXT --corpus FILE")


def interpolate(
    model: str,
    texts: list[str],
    input: str | None = None,  # noqa: A002 - the name of the option
    steps: int = 5,
    path: Curve = "spherical",
    output: str | None = None,
    too_long: TooLong | None = None,
    seed: int = 0,
    device: str = "auto",
    reading: ReadOptions = READING,
    decoding: Decoding = GREEDY,
) -> None:
    """Generate the sentences between two.

    Example:
        seqae interpolate runs/seqae/RUN "the cat is asleep" "we went home by train"
        seqae interpolate runs/seqae/RUN --input pairs.txt --steps 9 --output between.jsonl

    Args:
        model: a bundle, the folder of a run, an address, or `demo`.
        texts: two sentences, or several pairs; `-` reads them from standard input, one per line.
        input: a file of sentences instead, one per line; every two are a pair.
        steps: sentences for each pair, both ends included.
        path: `linear`, or `spherical`: along the arc between the latents' directions.
        output: a .jsonl file for start, end, step and text; by default the texts are printed, one
            per line.
        too_long: what to do with a sentence of more tokens than the model accepts; by default as in
            its training, where `drop` and `split` become `truncate`.
        seed: seed of the sampled tokens.
        device: where to compute: cpu, cuda, cuda:1 ...; auto takes a GPU if there is one.
        reading: how the files are read; by default as those of the training.
        decoding: how latents are decoded.
    """
    check_output(output, (".jsonl",), [input, typed(texts)])
    check_reading(reading, [input, typed(texts)])
    check_range("steps", steps, 2, 10**6)
    check_seed(seed)
    loaded, sentences, policy = load_and_gather(model, device, texts, input, too_long, reading)
    pairs, rows = _groups(sentences, 2), []
    with progress_bar("decoding", len(pairs)) as advance:
        for start, end in pairs:
            first, last = loaded.encode([start, end], policy)
            points = between(first, last, steps, path)
            decoded = loaded.decode_near(points, [first, last], decoding, seed)
            for step, text in enumerate(decoded):
                rows.append({"start": start, "end": end, "step": step, "text": text})
            advance(1)
    is_for_this = isinstance(loaded.autoencoder.latent, StochasticLatent)
    if steps > 2 and loaded.autoencoder.latent_noise is None and not is_for_this:
        print(
            "seqae: what stands in between may be no sentence: the model is trained to copy. For "
            "one that is trained for this too: `seqae fit -c fluent`.",
            file=sys.stderr,
        )
    write_rows(rows, "text", output)


def arithmetic(
    model: str,
    texts: list[str],
    input: str | None = None,  # noqa: A002 - the name of the option
    output: str | None = None,
    too_long: TooLong | None = None,
    seed: int = 0,
    device: str = "auto",
    reading: ReadOptions = READING,
    decoding: Decoding = GREEDY,
) -> None:
    """Generate the sentence at a - b + c.

    Example:
        seqae arithmetic runs/seqae/RUN "he is here" "he is" "she is"
        seqae arithmetic runs/seqae/RUN - --output sums.jsonl < triples.txt

    Args:
        model: a bundle, the folder of a run, an address, or `demo`.
        texts: three sentences a, b and c, or several triples; `-` reads them from standard input,
            one per line.
        input: a file of sentences instead, one per line; every three are a triple.
        output: a .jsonl file for a, b, c and text; by default the texts are printed, one per line.
        too_long: what to do with a sentence of more tokens than the model accepts; by default as in
            its training, where `drop` and `split` become `truncate`.
        seed: seed of the sampled tokens.
        device: where to compute: cpu, cuda, cuda:1 ...; auto takes a GPU if there is one.
        reading: how the files are read; by default as those of the training.
        decoding: how latents are decoded.
    """
    check_output(output, (".jsonl",), [input, typed(texts)])
    check_reading(reading, [input, typed(texts)])
    check_seed(seed)
    loaded, sentences, policy = load_and_gather(model, device, texts, input, too_long, reading)
    groups = _groups(sentences, 3)
    a, b, c = (loaded.encode(column, policy) for column in zip(*groups, strict=True))
    decoded = loaded.decode_near(a - b + c, [a, c], decoding, seed, show_progress_bar=True)
    rows = [
        {"a": a, "b": b, "c": c, "text": text}
        for (a, b, c), text in zip(groups, decoded, strict=True)
    ]
    write_rows(rows, "text", output)


def neighbours(
    model: str,
    texts: list[str],
    input: str | None = None,  # noqa: A002 - the name of the option
    corpus: str | None = None,
    count: int = 5,
    similarity: Similarity = "cosine",
    output: str | None = None,
    too_long: TooLong | None = None,
    device: str = "auto",
    reading: ReadOptions = READING,
) -> None:
    """Find the sentences whose latents are nearest; each is listed once.

    The latents of the searched sentences are kept in the run's folder, or for a bundle alone in the
    cache, and used again until the model or the sentences change.

    Example:
        seqae neighbours runs/seqae/RUN "the cat sat on the mat"
        seqae neighbours runs/seqae/RUN "the cat sat on the mat" --corpus books.txt --count 10

    Args:
        model: a bundle, the folder of a run, an address, or `demo`.
        texts: sentences; `-` reads them from standard input, one per line.
        input: a file of sentences instead, one per line.
        corpus: a file of sentences to search; by default the training sentences.
        count: neighbours of each sentence.
        similarity: `cosine` of the latents, or `euclidean`: minus their distance. Of latents with
            a content part it is that of their content.
        output: a .jsonl file for text, neighbour and similarity; by default neighbours and
            similarities are printed.
        too_long: what to do with a sentence of more tokens than the model accepts; by default as in
            its training, where `drop` and `split` become `truncate`.
        device: where to compute: cpu, cuda, cuda:1 ...; auto takes a GPU if there is one.
        reading: how the files are read; by default as those of the training.
    """
    check_output(output, (".jsonl",), [input, corpus, typed(texts)])
    check_reading(reading, [input, corpus, typed(texts)])
    check_range("count", count, 1, 10**6)
    check_source(corpus, "corpus", reading)
    loaded, sentences, policy = load_and_gather(model, device, texts, input, too_long, reading)
    # A sentence that is there several times is listed once.
    searched = list(dict.fromkeys(sentences_of(loaded, model, corpus, SEARCHED, reading)))
    part = loaded.compared_part
    queries = loaded.encode(sentences, policy, show_progress_bar=True, part=part)
    latents = encode_searched(loaded, model, searched, corpus)
    with working("searching"):
        values, indices = nearest(queries, latents, count, similarity)
    rows = [
        {"text": text, "neighbour": searched[index], "similarity": float(value)}
        for text, own_values, own_indices in zip(sentences, values, indices, strict=True)
        for value, index in zip(own_values, own_indices, strict=True)
    ]
    write_rows(rows, "neighbour", output)


def transfer(
    model: str,
    source: str,
    target: str,
    texts: list[str],
    input: str | None = None,  # noqa: A002 - the name of the option
    strength: float = 1.0,
    output: str | None = None,
    too_long: TooLong | None = None,
    seed: int = 0,
    device: str = "auto",
    reading: ReadOptions = READING,
    decoding: Decoding = GREEDY,
) -> None:
    """Rewrite sentences with an attribute that is learnt from two files of sentences.

    Example:
        seqae transfer runs/seqae/RUN present.txt past.txt "he goes home"
        seqae transfer runs/seqae/RUN source.txt target.txt - --strength 1.5 < sentences.txt

    Args:
        model: a bundle, the folder of a run, an address, or `demo`.
        source: a file of sentences without the attribute, one per line.
        target: a file of sentences with it, one per line.
        texts: sentences; `-` reads them from standard input, one per line.
        input: a file of sentences instead, one per line.
        strength: factor of the difference between the files' mean latents, which is added; below
            0 the attribute is taken away.
        output: a .jsonl file for text and transfer; by default the transfers are printed, one per
            line.
        too_long: what to do with a sentence of more tokens than the model accepts; by default as in
            its training, where `drop` and `split` become `truncate`.
        seed: seed of the sampled tokens.
        device: where to compute: cpu, cuda, cuda:1 ...; auto takes a GPU if there is one.
        reading: how the files are read; by default as those of the training.
        decoding: how latents are decoded.
    """
    check_output(output, (".jsonl",), [source, target, input, typed(texts)])
    check_reading(reading, [source, target, input, typed(texts)])
    check_range("strength", strength, -1e6, 1e6)
    check_seed(seed)
    loaded, sentences, policy = load_and_gather(model, device, texts, input, too_long, reading)
    policies = policies_of(loaded, Path(model), reading)
    sides = gather([], source, "source", policies), gather([], target, "target", policies)
    with working("learning the attribute"):
        attribute = loaded.attribute(*sides)
    own = loaded.encode(sentences, policy, show_progress_bar=True)
    latents = own + strength * attribute
    transfers = loaded.decode_near(latents, [own], decoding, seed, show_progress_bar=True)
    rows = [
        {"text": text, "transfer": transferred}
        for text, transferred in zip(sentences, transfers, strict=True)
    ]
    write_rows(rows, "transfer", output)


def _groups(texts: list[str], size: int) -> list[tuple[str, ...]]:
    if not texts or len(texts) % size:
        raise ValueError(
            f"`texts` must be {size} sentences or a multiple, but there are {len(texts)} instead. "
            f"Put each in quotation marks."
        )
    return [tuple(texts[first : first + size]) for first in range(0, len(texts), size)]


def sentences_of(
    loaded: TextAutoencoder, model: str, source: str | None, instead: Instead, reading: ReadOptions
) -> list[str]:
    """Read the sentences of a file, or else those of the training."""
    if source is None:
        return read_split(loaded, Path(model), "train", instead).inputs
    return gather([], source, instead.keys.strip("`"), policies_of(loaded, Path(model), reading))
