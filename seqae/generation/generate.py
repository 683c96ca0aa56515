"""Decode latents to token ids: one step loop for greedy decoding, sampling and beam search.

A search chooses the tokens and the rows that continue, and the decoder's state follows it. Finished
sentences leave the batch at once, so that a step costs only what the unfinished ones cost.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Generator, Tensor

from seqae.component import check_range
from seqae.generation.beam import BeamSearch
from seqae.generation.constraints import ForcedWords, LogitConstraints
from seqae.generation.limits import write_limit
from seqae.generation.options import Decoding
from seqae.generation.search import Hypothesis, Search, SingleSearch
from seqae.model.autoencoder import SequenceAutoencoder
from seqae.model.memory.cross_attention import Memory

TokenIds = list[int]

BLOCK_ROWS = 2**13  # rows that are sorted by length, and get their random numbers, at a time


def greedy(
    model: SequenceAutoencoder,
    latent: Tensor,
    max_length: int | None = None,
    memory: Memory | None = None,
    limits: Sequence[int] | None = None,
) -> list[TokenIds]:
    """Generate the most likely token, step by step, reading only what was generated before.

    Args:
        model: in evaluation mode.
        latent: (B, Z).
        max_length: most tokens to generate, bos and eos counted; by default the model's own.
        memory: as `generate`.
        limits: as `generate`.

    Returns:
        The token ids of each row, without bos, up to and without eos.
    """
    limit = model.max_length if max_length is None else max_length
    check_range("max_length", limit, 2, model.max_length)
    how = Decoding(max_length=limit)
    hypotheses = generate(model, latent, how, memory=memory, limits=limits, scores=False)
    return [best.token_ids for (best,) in hypotheses]


@torch.inference_mode()
def generate(
    model: SequenceAutoencoder,
    latent: Tensor,
    options: Decoding = Decoding(),  # noqa: B008 - it is frozen
    *,
    noise: Tensor | None = None,
    memory: Memory | None = None,
    lengths: Sequence[int] | None = None,
    limits: Sequence[int] | None = None,
    tokenize_word: Callable[[str], list[TokenIds]] | None = None,
    generator: Generator | None = None,
    batch_size: int = BLOCK_ROWS,
    scores: bool = True,
    advance: Callable[[int], None] | None = None,
) -> list[list[Hypothesis]]:
    """Decode latents.

    The results of greedy decoding and beam search do not depend on how rows are batched, except for
    rounding. Sampling draws one number for each row and position, in the order of the rows: the
    same generator, rows and `max_length` give the same tokens, however rows are batched.

    Args:
        model: in evaluation mode.
        latent: (B, Z).
        options: how to decode.
        noise: (B,) σ at which each latent is decoded, unless `options.noise` says otherwise; by
            default zero.
        memory: of the texts that the latents are of, for a model whose decoder looks back at them.
        lengths: roughly the number of tokens of each row; rows that end together then share a
            batch.
        limits: most tokens of each row, bos and eos counted, where that is below `max_length`; a
            row that reaches its own ends there, unless words are forced.
        tokenize_word: returns all tokenizations of a word; needed for banned and forced words.
        generator: on the CPU; needed for sampling.
        batch_size: most hypotheses in a step of the model.
        scores: whether the hypotheses of greedy decoding and sampling get scores, which takes
            longer.
        advance: called with the number of rows that were decoded since the last call: one for each
            latent, or `options.num_return_sequences` if tokens are sampled.

    Returns:
        The hypotheses of each row: at most `options.num_return_sequences`, the best first or, if
        sampled, in the order in which they were drawn.

    Raises:
        ValueError: if the options do not fit the model or each other, or if the model's logits are
            not finite.
    """
    limit = options.max_length
    if limit is None:  # a sentence may be longer than those of the training
        limit = max(write_limit(model), options.min_length, *([] if limits is None else limits))
        limit = min(model.max_length, limit)
    check_range("max_length", limit, 2, model.max_length)
    check_range("min_length", options.min_length, 2, limit)
    max_steps = limit - 1
    banned, forced = _tokenize_words(options, tokenize_word, max_steps)
    noise = _noise(model, len(latent), options, noise)
    copies = options.num_return_sequences if options.temperature else 1
    batch_rows = max(1, batch_size // options.num_beams)
    results: list[list[Hypothesis]] = []
    for start, uniform in _blocks(len(latent), copies, max_steps, options, generator):
        count = len(uniform)  # rows of the block: `copies` of each latent
        order = torch.arange(count)
        if lengths is not None:
            block_lengths = torch.as_tensor(lengths[start : start + count // copies])
            order = block_lengths.repeat_interleave(copies).argsort(descending=True, stable=True)
        block: list[list[Hypothesis]] = [[]] * count
        for rows in torch.split(order, batch_rows):
            sources = (start + rows // copies).to(latent.device)
            batch = latent[sources]
            batch_noise = None if noise is None else noise.to(latent.device)[sources]
            numbers = uniform[rows].to(latent.device) if options.temperature else None
            # The latent of a sentence asks for its loops, too: "no, no, no, ...".
            may_loop = None if batch_noise is None else batch_noise > 0
            search = _search(
                model, options, banned, forced, max_steps, batch, numbers, scores, may_loop
            )
            if limits is not None and not forced:
                own = torch.as_tensor(limits)[start + rows // copies].clamp(options.min_length)
                search.set_limits(own.to(latent.device) - 1)
            batch_memory = None if memory is None else memory.select(sources)
            hypotheses = run_search(model, batch, search, max_steps, batch_noise, batch_memory)
            for row, row_hypotheses in zip(rows.tolist(), hypotheses, strict=True):
                block[row] = row_hypotheses
            if advance is not None:
                advance(len(rows))
        results += [
            [hypothesis for copy in block[row : row + copies] for hypothesis in copy]
            for row in range(0, count, copies)
        ]
    return results


def _noise(
    model: SequenceAutoencoder, rows: int, options: Decoding, noise: Tensor | None
) -> Tensor | None:
    """Choose the σ of each of `rows` latents; None for a model that reads none.

    Raises:
        ValueError: if the options ask such a model to read it.
    """
    if model.latent_noise is None:
        if options.noise:
            raise ValueError(
                f"`noise` must be 0 for a model that was trained without `latent_noise`, but it is "
                f"{options.noise} instead. Leave it out, or train one that reads it: "
                f"`seqae fit -c fluent`."
            )
        return None
    return noise if options.noise is None else torch.full((rows,), float(options.noise))


def _blocks(
    rows: int, copies: int, max_steps: int, options: Decoding, generator: Generator | None
) -> Iterator[tuple[int, Tensor]]:
    """Yield the first latent of each block, and the random numbers of the block's rows."""
    if options.temperature and generator is None:
        raise ValueError(
            "`generator` must be given to sample tokens, but there is none. "
            "Write `torch.Generator().manual_seed(0)`."
        )
    for start in range(0, rows, BLOCK_ROWS):
        shape = copies * min(BLOCK_ROWS, rows - start), max_steps if options.temperature else 0
        yield start, torch.rand(shape, generator=generator)


def _search(
    model: SequenceAutoencoder,
    options: Decoding,
    banned: list[TokenIds],
    forced: list[list[TokenIds]],
    max_steps: int,
    latent: Tensor,
    uniform: Tensor | None,
    scores: bool,
    may_loop: Tensor | None,
) -> Search:
    """Create the search that the options ask for, for a batch of latents."""
    assert model.vocabulary is not None
    rows, device = len(latent), latent.device
    constraints = LogitConstraints(model.vocabulary, options, banned, rows, device)
    if options.num_beams == 1:
        return SingleSearch(constraints, options, max_steps, rows, uniform, scores, may_loop)
    forced_words = ForcedWords(forced, rows, device) if forced else None
    return BeamSearch(constraints, options, max_steps, rows, forced_words)


def run_search(
    model: SequenceAutoencoder,
    latent: Tensor,
    search: Search,
    max_steps: int,
    noise: Tensor | None = None,
    memory: Memory | None = None,
) -> list[list[Hypothesis]]:
    """Run the step loop until no row is open.

    Args:
        model: in evaluation mode.
        latent: (B, Z).
        search: for B sentences.
        max_steps: most tokens to generate.
        noise: (B,) σ, if the model reads it.
        memory: of the B texts, if the model reads it.
    """
    assert model.vocabulary is not None
    token = torch.full((len(latent),), model.vocabulary.bos_id, device=latent.device)
    state = model.init_state(latent, noise, memory)
    total = torch.zeros((), device=latent.device)  # read once, after the last step
    search.is_normalized = model.adaptive is not None
    needed = () if model.adaptive is None else (search.num_needed,)
    for _ in range(max_steps):
        logits, state = model.step(token, state, *needed)
        if not search.tracks_max_logit:
            search.max_logit = logits.amax(dim=1)
        token, parents = search.advance(logits)
        total += search.max_logit.sum(dtype=torch.float32)  # float16 cannot hold many rows' sum
        if not len(token):
            break
        if parents is not None:
            state = tuple(part.index_select(0, parents) for part in state)
    if total.isnan() or total == torch.inf:  # minus infinity is a row where all is forbidden
        raise ValueError(
            "`model` must give finite logits, but it gives NaN or infinity instead. Its weights "
            "are damaged or too large: get the bundle again, or train with a lower "
            "`model.learning_rate`."
        )
    return search.results()


def _tokenize_words(
    options: Decoding,
    tokenize_word: Callable[[str], list[TokenIds]] | None,
    max_steps: int,
) -> tuple[list[TokenIds], list[list[TokenIds]]]:
    """List all tokenizations of the banned words together, and those of each forced word."""
    if not (options.banned_words or options.forced_words):
        return [], []
    if tokenize_word is None:
        raise ValueError(
            "`tokenize_word` must be given for `banned_words` and `forced_words`, but there is "
            "none. Decode with a TextAutoencoder, which has a tokenizer."
        )
    banned = [ids for word in options.banned_words for ids in _tokenizations(word, tokenize_word)]
    forced = {word: _tokenizations(word, tokenize_word) for word in options.forced_words}
    for word, tokenizations in forced.items():
        if any(_contains(ids, sequence) for ids in tokenizations for sequence in banned):
            raise ValueError(
                f"`forced_words` must not hold a banned word, but {word!r} does. Drop it from "
                f"`banned_words` or from `forced_words`."
            )
    needed = sum(min(map(len, tokenizations)) for tokenizations in forced.values())
    if needed > max_steps:
        raise ValueError(
            f"`forced_words` must have room, {max_steps} tokens, but they have {needed} instead. "
            f"Force fewer words, or raise `max_length`."
        )
    return banned, list(forced.values())


def _tokenizations(word: str, tokenize_word: Callable[[str], list[TokenIds]]) -> list[TokenIds]:
    """List the different tokenizations of a word, which must have one."""
    tokenizations = [list(ids) for ids in dict.fromkeys(map(tuple, tokenize_word(word))) if ids]
    if not tokenizations:
        raise ValueError(
            f"`banned_words` and `forced_words` must be in the tokenizer's vocabulary, but "
            f"{word!r} is not. Drop it."
        )
    return tokenizations


def _contains(ids: TokenIds, sequence: TokenIds) -> bool:
    size = len(sequence)
    return any(ids[i : i + size] == sequence for i in range(len(ids) - size + 1))
