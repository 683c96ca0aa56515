"""Token ids to latents and back, in batches, with a progress bar if that is wanted."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import SupportsIndex

import numpy as np
import torch
from numpy.typing import NDArray

from seqae.bundle.operations.latent_ops import Latents
from seqae.component import check_seed, check_whole
from seqae.data.batches.padding import like_length_batches
from seqae.generation import Decoding, Hypothesis, generate
from seqae.model.autoencoder import SequenceAutoencoder
from seqae.terminal import progress_bar

BATCH_TOKENS = 8192
SMALL_JOB = 2**31  # rows times weights: 1,000 rows of a model with two million weights
DECODED_ROWS = 256  # latents that are decoded at once
DECODED_TOKENS = 2**17  # hypotheses times max_length that are decoded at once


def check_lengths(rows: Sequence[Sequence[int]], texts: Sequence[str], limit: int) -> None:
    """Refuse sentences that are too long for the model.

    Args:
        rows: n sentences as token ids, bos and eos included.
        texts: the same sentences as text.
        limit: most tokens of a sentence.

    Raises:
        ValueError: if one has more; it names the first.
    """
    for index, row in enumerate(rows):
        if len(row) > limit:
            raise ValueError(
                f"`max_length` of this model is {limit} tokens, but the text at index {index} "
                f"has {len(row)}: {texts[index][:40]!r}... Shorten it, or set "
                f"`too_long: truncate`."
            )


def cut_rows(rows: list[list[int]], limit: int, eos_id: int) -> list[list[int]]:
    """Cut sentences that are too long for the model.

    Args:
        rows: n sentences as token ids, bos and eos included.
        limit: most tokens of a sentence.
        eos_id: ends a sentence that is cut, too.
    """
    return [row if len(row) <= limit else [*row[: limit - 1], eos_id] for row in rows]


def encode_rows(
    autoencoder: SequenceAutoencoder,
    rows: Sequence[Sequence[int]],
    batch_size: SupportsIndex | None,
    show_progress_bar: bool,
) -> Latents:
    """Encode sentences.

    Args:
        autoencoder: a built model.
        rows: n sentences as token ids, bos and eos included.
        batch_size: sentences encoded at once; None takes as many as `BATCH_TOKENS` hold.
        show_progress_bar: whether to show one.

    Returns:
        (n, Z) float32.

    Raises:
        ValueError: if a latent is not finite.
    """
    size = None if batch_size is None else check_whole("batch_size", batch_size, 1, 2**31)
    latents = np.empty((len(rows), autoencoder.latent_dim), dtype=np.float32)
    assert autoencoder.vocabulary is not None
    device = next(autoencoder.parameters()).device
    batches = like_length_batches(rows, autoencoder.vocabulary, BATCH_TOKENS, size)
    with (
        evaluating(autoencoder, len(rows)),
        torch.inference_mode(),
        _progress("encoding", len(rows), show_progress_bar) as advance,
    ):
        for indices, batch in batches:
            output = autoencoder.encode(batch.to(device))
            latents[indices] = output.latent.float().cpu().numpy()
            advance(len(indices))
    is_finite = np.isfinite(latents).all(axis=1)
    if not is_finite.all():
        raise ValueError(
            f"`model` must encode to finite latents, but that of the text at index "
            f"{is_finite.argmin()} holds NaN or infinity instead. Its weights are damaged or "
            f"too large: get the bundle again, or train with a lower `model.learning_rate`."
        )
    return latents


def search(
    autoencoder: SequenceAutoencoder,
    latents: Latents,
    options: Decoding,
    seed: SupportsIndex,
    *,
    noise: NDArray[np.float32] | None,
    lengths: Sequence[int] | None,
    limits: Sequence[int] | None,
    scores: bool,
    tokenize_word: Callable[[str], list[list[int]]],
    batch_size: SupportsIndex | None,
    show_progress_bar: bool,
) -> list[list[Hypothesis]]:
    """Decode latents.

    Args:
        autoencoder: a built model.
        latents: (n, Z).
        options: how to decode.
        seed: of the sampled tokens.
        noise: (n,), as `generate`.
        lengths: as `generate`.
        limits: as `generate`.
        scores: as `generate`.
        tokenize_word: as `generate`.
        batch_size: latents decoded at once; None takes `DECODED_ROWS`, or fewer long texts.
        show_progress_bar: whether to show one.

    Returns:
        The hypotheses of each latent, as `generate`.
    """
    # A stream of its own: the latents may have been drawn from the seed itself, and the tokens
    # would depend on them.
    stream = np.random.SeedSequence([check_seed(seed), 1]).generate_state(1)
    size = max(1, DECODED_TOKENS // autoencoder.max_length)
    size = min(DECODED_ROWS * options.num_beams, size)
    if batch_size is not None:
        size = check_whole("batch_size", batch_size, 1, 2**31) * options.num_beams
    copies = options.num_return_sequences if options.temperature else 1
    with (
        evaluating(autoencoder, len(latents) * copies),
        _progress("decoding", len(latents) * copies, show_progress_bar) as advance,
    ):
        return generate(
            autoencoder,
            torch.from_numpy(latents).to(next(autoencoder.parameters()).device),
            options,
            noise=None if noise is None else torch.from_numpy(noise),
            lengths=lengths,
            limits=limits,
            tokenize_word=tokenize_word,
            generator=torch.Generator().manual_seed(int(stream[0])),
            batch_size=size,
            scores=scores,
            advance=advance,
        )


def rewrite(
    autoencoder: SequenceAutoencoder,
    rows: Sequence[Sequence[int]],
    options: Decoding,
    seed: SupportsIndex,
    *,
    tokenize_word: Callable[[str], list[list[int]]],
    batch_size: SupportsIndex | None,
    show_progress_bar: bool,
) -> list[list[Hypothesis]]:
    """Encode and decode texts in one go, with a decoder that looks back at each.

    What is looked at is far larger than a latent, so that it is kept for one batch alone.

    Args:
        autoencoder: a built model.
        rows: n texts as token ids, bos and eos included.
        options: as `search`, as the next ones.
        seed: of the sampled tokens.
        tokenize_word: as `generate`.
        batch_size: texts at once; None takes as many as `BATCH_TOKENS` hold, beams counted.
        show_progress_bar: whether to show one.

    Returns:
        The hypotheses of each text, as `generate`.
    """
    size = None if batch_size is None else check_whole("batch_size", batch_size, 1, 2**31)
    assert autoencoder.vocabulary is not None
    device = next(autoencoder.parameters()).device
    generator = torch.Generator().manual_seed(check_seed(seed))
    budget = max(1, BATCH_TOKENS // options.num_beams)
    written: list[list[Hypothesis]] = [[]] * len(rows)
    with (
        evaluating(autoencoder, len(rows)),
        torch.inference_mode(),
        _progress("rewriting", len(rows), show_progress_bar) as advance,
    ):
        for indices, batch in like_length_batches(rows, autoencoder.vocabulary, budget, size):
            encoded = autoencoder.encode(batch.to(device))
            hypotheses = generate(
                autoencoder,
                encoded.latent,
                options,
                memory=encoded.memory,
                tokenize_word=tokenize_word,
                generator=generator,
                scores=options.num_beams > 1,
            )
            for row, own in zip(indices.tolist(), hypotheses, strict=True):
                written[row] = own
            advance(len(indices))
    return written


@contextmanager
def evaluating(model: torch.nn.Module, rows: int) -> Iterator[None]:
    """Put a model in evaluation mode for a block, then back in the mode that it was in.

    A small job runs in one thread: on a host where others compute, two threads that wait for each
    other at each of its thousand small steps took a hundred times as long (9.6 s for 100 samples).

    Args:
        model: what is evaluated.
        rows: how many sentences.
    """
    was_training, threads = model.training, torch.get_num_threads()
    weights = sum(weight.numel() for weight in model.parameters())
    model.eval()
    if rows * weights <= SMALL_JOB:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        model.train(was_training)


@contextmanager
def _progress(title: str, total: int, is_shown: bool) -> Iterator[Callable[[int], None]]:
    """Show a progress bar, if that is wanted."""
    if not is_shown:
        yield lambda done: None
        return
    with progress_bar(title, total) as advance:
        yield advance
