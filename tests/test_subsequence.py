"""The likeliest words of a sentence, against all of its subsequences."""

from __future__ import annotations

from itertools import combinations

import contracts
import pytest
import torch

from seqae.generation.subsequence import likeliest_subsequence
from seqae.model.decoders import Decoder
from seqae.model.decoders.base import AttentionDecoder
from seqae.model.latents import DeterministicLatent
from seqae.model.latents.latent_noise import LatentNoise

V = contracts.VOCABULARY

# Each word at the beginning of a text, and after another: of one token or of two.
WORDS = [([4], [5]), ([6, 7], [8]), ([9], [10, 11]), ([12], [13]), ([14], [5])]


@torch.inference_mode()
def log_probabilities(model, latent, noise, path: tuple[int, ...]) -> tuple[float, float]:
    """Of a text up to the first token of its last word, and of all of it with its end.

    They are computed token by token, with the model's own steps.
    """
    words = [WORDS[word][place > 0] for place, word in enumerate(path)]
    tokens = [*(token for word in words for token in word), V.eos_id]
    state, previous, found = model.init_state(latent, noise), V.bos_id, []
    for token in tokens:
        logits, state = model.step(torch.tensor([previous]), state)
        found.append(float(logits.log_softmax(dim=1)[0, token]))
        previous = token
    return sum(found[: len(found) - len(words[-1])]), sum(found)


def expected(model, latent, noise, count: int) -> list[int]:
    """The best way to each word, again for each further word; then the best end of all."""
    paths: list[tuple[int, ...]] = [()]
    for _ in range(count):
        longer: dict[int, list[tuple[int, ...]]] = {}
        for path in paths:
            for word in range(path[-1] + 1 if path else 0, len(WORDS)):
                longer.setdefault(word, []).append((*path, word))
        paths = [
            max(ways, key=lambda way: log_probabilities(model, latent, noise, way)[0])
            for ways in longer.values()
        ]
    return list(max(paths, key=lambda path: log_probabilities(model, latent, noise, path)[1]))


DECODERS = [
    cls
    for cls in contracts.concrete(Decoder)
    # One that looks back at a text decodes no latent alone.
    if cls.autoregressive and not issubclass(cls, AttentionDecoder)
]


@pytest.mark.parametrize("cls", DECODERS)
@pytest.mark.parametrize("is_told", [False, True])
@pytest.mark.parametrize("count", [1, 2, 3])
def test_it_is_the_best_of_all(cls, is_told, count):
    torch.manual_seed(count)
    latent_noise = LatentNoise() if is_told else None
    layer = DeterministicLatent(8, normalize="layer")
    model = contracts.make_model(latent=layer, decoder=cls(8), latent_noise=latent_noise)
    latent, noise = 3 * torch.randn(1, 8), torch.tensor([0.5]) if is_told else None
    found = likeliest_subsequence(model, latent, WORDS, count, noise)
    assert found in [list(kept) for kept in combinations(range(len(WORDS)), count)]
    assert found == expected(model, latent, noise, count)


def test_all_words_are_kept_if_all_are_asked_for():
    model = contracts.make_model()
    assert likeliest_subsequence(model, torch.zeros(1, 8), WORDS, len(WORDS)) == [0, 1, 2, 3, 4]


def test_more_words_than_there_are_is_refused():
    model = contracts.make_model()
    message = contracts.refusal(likeliest_subsequence, model, torch.zeros(1, 8), WORDS, 6)
    assert message.startswith("`count` must be between 1 and 5")
