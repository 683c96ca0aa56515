"""The words of a sentence that a decoder finds likeliest: how a sentence gets a length exactly.

A search that is free to write any word ends early or is cut off. Here each text is a subsequence of
given words, of as many as are asked for, so that its length is kept, names are copied whether or
not the model knows them, and the decoder only says which words to leave out.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from seqae.component import check_range
from seqae.model.autoencoder import SequenceAutoencoder

# The token ids of a word: at the beginning of a text, and after another word.
Word = tuple[Sequence[int], Sequence[int]]


@torch.inference_mode()
def likeliest_subsequence(
    model: SequenceAutoencoder,
    latent: Tensor,
    words: Sequence[Word],
    count: int,
    noise: Tensor | None = None,
) -> list[int]:
    """Find the `count` words that the decoder is likeliest to write in their order, and to end.

    A Viterbi search: of all ways to a word that have left out equally many, it keeps the likeliest.
    A decoder remembers more than the last word, so that this may miss the best subsequence.

    Args:
        model: in evaluation mode.
        latent: (1, Z).
        words: n words of one token or more.
        count: how many are kept.
        noise: (1,) σ, if the model reads it.

    Returns:
        The indices of the words, ascending.
    """
    check_range("count", count, 1, len(words))
    assert model.vocabulary is not None
    bos_id, eos_id = model.vocabulary.bos_id, model.vocabulary.eos_id
    later = torch.tensor([after[0] for _, after in words], device=latent.device)
    first = torch.tensor([begin[0] for begin, _ in words], device=latent.device)
    ends = _log_probabilities(model, latent, noise, [[bos_id]], [1])[0][0]  # (V,)
    paths: list[list[int]] = [[]]
    texts: list[list[int]] = [[bos_id]]
    scores = latent.new_zeros(1, dtype=torch.float64)
    following = ends[None]  # (paths, V): log-probabilities of the token after each
    for step in range(count):
        # Enough words are left after these.
        candidates = range(step, len(words) - (count - step) + 1)
        starts = (later if step else first)[candidates.start : candidates.stop]
        reached = scores[:, None] + following[:, starts].double()  # (paths, candidates)
        last = torch.tensor([path[-1] if path else -1 for path in paths])
        is_later = last[:, None] < torch.arange(candidates.start, candidates.stop)
        reached = reached.masked_fill(~is_later.to(reached.device), -torch.inf)
        scores, parents = reached.max(dim=0)
        added = [words[word][1 if step else 0] for word in candidates]
        origins = parents.tolist()
        paths = [[*paths[one], word] for one, word in zip(origins, candidates, strict=True)]
        texts = [[*texts[one], *ids] for one, ids in zip(origins, added, strict=True)]
        rows = _log_probabilities(model, latent, noise, texts, [len(ids) for ids in added])
        following = torch.stack([row[-1] for row in rows])
        inner = [
            row[torch.arange(len(ids) - 1), list(ids[1:])].sum()
            for row, ids in zip(rows, added, strict=True)
        ]
        scores = scores + torch.stack(inner).double()
    best = int((scores + following[:, eos_id].double()).argmax())
    return paths[best]


def _log_probabilities(
    model: SequenceAutoencoder,
    latent: Tensor,
    noise: Tensor | None,
    texts: Sequence[Sequence[int]],
    counts: Sequence[int],
) -> list[Tensor]:
    """Compute what may follow each of the last `counts` tokens of texts, (count, V) each."""
    assert model.vocabulary is not None
    rows, longest = len(texts), max(map(len, texts))
    token_ids = torch.full((rows, longest), model.vocabulary.pad_id, device=latent.device)
    for row, text in zip(token_ids, texts, strict=True):
        row[: len(text)] = torch.tensor(text)
    told = None if noise is None else noise.expand(rows)
    features = model.decode(token_ids, latent.expand(rows, -1), told)
    ends = [
        one[len(text) - count : len(text)]
        for one, text, count in zip(features, texts, counts, strict=True)
    ]
    logits = model.logits(torch.cat(ends)).float().log_softmax(dim=-1)
    return list(torch.split(logits, list(counts)))
