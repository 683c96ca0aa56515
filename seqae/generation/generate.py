"""Generation: latents to token ids, for every decoder, through `init_state` and `step`.

One loop serves greedy writing, sampling and beam search: a search says which tokens are written and
with which rows to go on, and the decoder's state follows. Sentences that are finished leave the
batch at once, so that a step costs what the unfinished ones cost.

    options.py  what can be chosen             search.py  the contract; greedy and sampling
    rules.py    what may not be written        beam.py    beam search
    forced.py   what must be written           phrases.py sequences of tokens, as they go by
    extremes.py the largest of many values
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Generator, Tensor

from seqae.component import check_range
from seqae.generation.beam import BeamSearch
from seqae.generation.constraints import ForcedWords, LogitConstraints
from seqae.generation.options import DecodingOptions
from seqae.generation.search import Hypothesis, Search, SingleSearch
from seqae.model.autoencoder import SequenceAutoencoder

__all__ = ["DecodingOptions", "Hypothesis", "generate", "greedy"]

Spelling = list[int]

BLOCK_ROWS = 2**13  # latents that are sorted, and for which numbers are drawn, at a time


def greedy(
    model: SequenceAutoencoder, latent: Tensor, max_length: int | None = None
) -> list[list[int]]:
    """Write the most likely token, step by step, reading only what was written before.

    Args:
        model: in evaluation mode.
        latent: (B, Z).
        max_length: most tokens to write, bos and eos counted; by default the model's own.

    Returns:
        For each row the tokens written, without bos, up to and without eos.
    """
    limit = model.max_length if max_length is None else max_length
    check_range("max_length", limit, 2, model.max_length)
    written = generate(model, latent, DecodingOptions(max_length=limit), scores=False)
    return [best.token_ids for (best,) in written]


@torch.inference_mode()
def generate(
    model: SequenceAutoencoder,
    latent: Tensor,
    options: DecodingOptions = DecodingOptions(),  # noqa: B008 - it is frozen
    *,
    lengths: Sequence[int] | None = None,
    spell: Callable[[str], list[Spelling]] | None = None,
    generator: Generator | None = None,
    batch_size: int = BLOCK_ROWS,
    scores: bool = True,
) -> list[list[Hypothesis]]:
    """Write out latents.

    What greedy writing and beam search give does not depend on how the rows are batched, but for
    rounding. Sampling draws one number for each row and position, in the order of the rows: the
    same generator, rows and `max_length` give the same texts, whatever the batches.

    Args:
        model: in evaluation mode.
        latent: (B, Z).
        options: how.
        lengths: of each row about how many tokens will be written; rows that end together are then
            written together.
        spell: gives the token sequences that a word may be written in; where there are words.
        generator: on the CPU; where tokens are drawn.
        batch_size: most hypotheses in a step of the model.
        scores: whether the hypotheses of greedy writing and sampling get scores; without them it
            is faster.

    Returns:
        The hypotheses of each row: at most `options.num_return_sequences`, the best first or in the
        order in which they were drawn.

    Raises:
        ValueError: if the options do not fit the model or one another, or if the model gives NaN or
            infinity.
    """
    limit = model.max_length if options.max_length is None else options.max_length
    check_range("max_length", limit, 2, model.max_length)
    check_range("min_length", options.min_length, 2, limit)
    banned, forced = _spell_words(options, spell, limit - 1)
    copies = options.num_return_sequences if options.temperature else 1
    rows_at_once = max(1, batch_size // options.num_beams)
    written: list[list[Hypothesis]] = []
    for start, uniform in _blocks(len(latent), copies, limit - 1, options, generator):
        count = uniform.shape[0]
        order = torch.arange(count)
        if lengths is not None:
            told = torch.as_tensor(lengths[start : start + count // copies])
            order = told.repeat_interleave(copies).argsort(descending=True, stable=True)
        found: list[list[Hypothesis]] = [[]] * count
        for first in range(0, count, rows_at_once):
            chosen = order[first : first + rows_at_once]
            part = latent[(start + chosen // copies).to(latent.device)]
            drawn = uniform[chosen].to(latent.device) if options.temperature else None
            search = _search(model, options, banned, forced, limit - 1, part, drawn, scores)
            for row, hypotheses in zip(
                chosen.tolist(), _run(model, part, search, limit - 1), strict=True
            ):
                found[row] = hypotheses
        written += [
            [hypothesis for copy in found[row : row + copies] for hypothesis in copy]
            for row in range(0, count, copies)
        ]
    return written


def _blocks(
    rows: int, copies: int, steps: int, options: DecodingOptions, generator: Generator | None
) -> Iterator[tuple[int, Tensor]]:
    """Where each block of rows starts, and the numbers that its tokens are drawn with."""
    if options.temperature and generator is None:
        raise ValueError(
            "`generator` must be given where tokens are drawn, but there is none. "
            "Write `torch.Generator().manual_seed(0)`."
        )
    for start in range(0, rows, BLOCK_ROWS):
        shape = copies * min(BLOCK_ROWS, rows - start), steps if options.temperature else 0
        yield start, torch.rand(shape, generator=generator)


def _search(
    model: SequenceAutoencoder,
    options: DecodingOptions,
    banned: list[Spelling],
    forced: list[list[Spelling]],
    steps: int,
    latent: Tensor,
    uniform: Tensor | None,
    scores: bool,
) -> Search:
    assert model.vocabulary is not None
    rows, device = len(latent), latent.device
    rules = LogitConstraints(model.vocabulary, options, banned, rows, device)
    if options.num_beams == 1:
        return SingleSearch(rules, options, steps, rows, uniform, scores)
    words = ForcedWords(forced, rows, device) if forced else None
    return BeamSearch(rules, options, steps, rows, words)


def _run(
    model: SequenceAutoencoder, latent: Tensor, search: Search, steps: int
) -> list[list[Hypothesis]]:
    """The step loop of all searches."""
    assert model.vocabulary is not None
    token = torch.full((len(latent),), model.vocabulary.bos_id, device=latent.device)
    state = model.init_state(latent)
    total = torch.zeros((), device=latent.device)  # looked at once, behind the last step
    for _ in range(steps):
        logits, state = model.step(token, state)
        if not search.tracks_max_logit:
            search.max_logit = logits.amax(dim=1)
        token, parents = search.advance(logits)
        total += search.max_logit.sum(dtype=torch.float32)  # of many rows, float16 has no sum
        if not len(token):
            break
        if parents is not None:
            state = tuple(part.index_select(0, parents) for part in state)
    if total.isnan() or total == torch.inf:  # a row where nothing may be written has minus that
        raise ValueError(
            "`model` must give finite logits, but it gives NaN or infinity instead. Its weights "
            "are damaged or too large: get the bundle again, or train with a lower "
            "`model.learning_rate`."
        )
    return search.results()


def _spell_words(
    options: DecodingOptions, spell: Callable[[str], list[Spelling]] | None, steps: int
) -> tuple[list[Spelling], list[list[Spelling]]]:
    """The tokens of banned words, and of each forced word its spellings."""
    if (options.banned_words or options.forced_words) and spell is None:
        raise ValueError(
            "`spell` must be given for `banned_words` and `forced_words`, but there is none. "
            "Decode with a TextAutoencoder, which has a tokenizer."
        )
    banned = [tokens for word in options.banned_words for tokens in _spellings(word, spell)]
    forced = [_spellings(word, spell) for word in dict.fromkeys(options.forced_words)]
    for word, spellings in zip(dict.fromkeys(options.forced_words), forced, strict=True):
        for tokens in spellings:
            if any(_holds(tokens, sequence) for sequence in banned):
                raise ValueError(
                    f"`forced_words` must not hold a banned word, but {word!r} does. Drop it from "
                    f"`banned_words` or from `forced_words`."
                )
    needed = sum(min(map(len, spellings)) for spellings in forced)
    if needed > steps:
        raise ValueError(
            f"`forced_words` must have room, {steps} tokens, but they have {needed} instead. "
            f"Force fewer words, or raise `max_length`."
        )
    return banned, forced


def _spellings(word: str, spell: Callable[[str], list[Spelling]] | None) -> list[Spelling]:
    assert spell is not None
    spellings = [list(tokens) for tokens in dict.fromkeys(map(tuple, spell(word))) if tokens]
    if not spellings:
        raise ValueError(
            f"`banned_words` and `forced_words` must be in the tokenizer's vocabulary, but "
            f"{word!r} is not. Drop it."
        )
    return spellings


def _holds(tokens: Spelling, sequence: Spelling) -> bool:
    size = len(sequence)
    return any(tokens[i : i + size] == sequence for i in range(len(tokens) - size + 1))
