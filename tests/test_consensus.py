"""What many say, from one latent: on a space whose latents are the words of a sentence."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import combinations

import contracts
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from seqae.bundle.operations.sentence_space import LatentSpace
from seqae.bundle.text_autoencoder import TextAutoencoder
from seqae.data.tokenizers import ByteTokenizer
from seqae.metrics.segmenter import terms
from seqae.model.autoencoder import SequenceAutoencoder
from seqae.model.decoders import GRUDecoder
from seqae.model.encoders import GRUEncoder
from seqae.model.latents import DeterministicLatent, Latent, VectorQuantisedLatent
from seqae.model.latents.latent_noise import LatentNoise
from seqae.summarizers import Budget, DecodingSpace, Document, Summary
from seqae.summarizers.base import GREEDY
from seqae.summarizers.consensus import groups
from seqae.summarizers.coop import CoopSummarizer, overlap
from seqae.summarizers.length_control import ReconstructionSummarizer
from seqae.summarizers.mean import MeanSummarizer
from seqae.summarizers.popular_codes import PopularCodesSummarizer, most_popular
from seqae.summarizers.word_selection import WordSelectionSummarizer

ONE = Budget(sentences=1)


class BagOfWords(DecodingSpace):
    """A latent counts the words of a sentence; it is decoded to those that it has half of."""

    name = "latent"

    def __init__(self, words: str) -> None:
        self.words = words.split()
        self.decoded = 0

    def encode(self, sentences: Sequence[str]) -> np.ndarray:
        rows = [[s.split().count(word) for word in self.words] for s in sentences]
        return np.array(rows, dtype=np.float32).reshape(-1, len(self.words))

    def compared(self, latents):
        return latents

    def decode(self, latents, noise=None, decoding=GREEDY, seed=0):
        self.decoded += len(latents)
        return [
            " ".join(
                word
                for word, share in zip(self.words, row, strict=True)
                if share >= 0.5 and word not in decoding.banned_words
            )
            for row in latents
        ]

    def select(self, words, latent, count, noise=0.0):
        """The words that the latent has most of, the first ones if several have as much."""
        has = [-latent[self.words.index(word)] for word in words]
        return sorted(np.argsort(has, kind="stable")[:count].tolist())

    def codes(self, sentences):
        """Each word has a place, and two codes: whether the sentence has it."""
        return (self.encode(sentences) > 0).astype(np.int64)

    def lookup(self, codes):
        return codes.astype(np.float32)

    def decode_near(self, latents, sources, decoding=GREEDY, seed=0):
        self.sources = sources
        return self.decode(latents, None, decoding, seed)


def document(*sentences: str) -> Document:
    return Document(tuple(sentences), (0,) * len(sentences))


def summarize(method, space, inputs: Document, budget: Budget = ONE) -> Summary:
    return method.summarize(inputs, space, budget, torch.Generator().manual_seed(0))


METHODS = [MeanSummarizer(), CoopSummarizer(), PopularCodesSummarizer()]


@pytest.mark.parametrize("method", METHODS, ids=lambda m: m.kind)
@pytest.mark.parametrize("count", [1, 2, 9])
def test_equal_sentences_say_that_sentence(method, count):
    space = BagOfWords("a b c d")
    (said,) = summarize(method, space, document(*["a c d"] * count)).sentences
    assert said.text == "a c d"
    assert set(said.evidence) <= set(range(count))


def test_mean_stands_for_all_and_says_what_half_of_them_say():
    inputs = document("a b", "a c", "b a d", "e")
    (said,) = summarize(MeanSummarizer(), BagOfWords("a b c d e"), inputs).sentences
    assert said.text == "a b"
    assert said.evidence == (0, 1, 2, 3)


def test_mean_is_decoded_near_its_inputs():
    space = BagOfWords("a b c")
    summarize(MeanSummarizer(), space, document("a b", "c"))
    assert [source.tolist() for source in space.sources] == [[1, 1, 0], [0, 0, 1]]


# Groups


def test_a_budget_of_two_sentences_makes_two_groups_the_largest_first():
    inputs = document("c d", "a b", "c d e", "d c")
    found = summarize(MeanSummarizer(), BagOfWords("a b c d e"), inputs, Budget(sentences=2))
    assert [said.evidence for said in found.sentences] == [(0, 2, 3), (1,)]
    assert [said.text for said in found.sentences] == ["c d", "a b"]


@pytest.mark.parametrize(
    ("budget", "count"),
    [
        (Budget(sentences=3), 3),
        (Budget(sentences=9), 4),  # of the sentences two are equal
        (Budget(words=3), 1),
        (Budget(words=4), 2),
        (Budget(bytes=6), 2),
    ],
)
def test_as_many_groups_as_the_budget_holds(budget, count):
    inputs = document("a b", "c d", "e f", "g h", "a b")
    vectors = BagOfWords("a b c d e f g h").encode(inputs.sentences)
    found = groups(inputs, vectors, budget, torch.Generator().manual_seed(0))
    assert len(found) == count
    assert sorted(index for group in found for index in group) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("method", METHODS, ids=lambda m: m.kind)
def test_a_summary_keeps_to_its_words(method):
    inputs = document("a b c d e", "a b c d f", "g h")
    for words in range(1, 12):
        found = summarize(method, BagOfWords("a b c d e f g h"), inputs, Budget(words=words))
        assert 0 < len(found.text.split()) <= words


# Coop


def test_overlap_is_the_mean_f1_of_words():
    inputs = [Counter(terms(text)) for text in ("The cat sat.", "a dog")]
    # Two of 2 + 3 words match in the first, none in the second.
    assert overlap("the Cat", inputs) == pytest.approx((2 * 2 / 5 + 0) / 2)
    assert overlap("", inputs) == 0.0


sentences = st.lists(
    st.lists(st.sampled_from(["a", "b", "c", "d", "e", "f"]), min_size=1, max_size=5).map(" ".join),
    min_size=1,
    max_size=5,
)


@settings(max_examples=50, deadline=None)
@given(sentences)
def test_coop_takes_the_best_of_all_subsets(given_sentences):
    space, inputs = BagOfWords("a b c d e f"), document(*given_sentences)
    counts = [Counter(text.split()) for text in inputs.sentences]
    latents, best = space.encode(inputs.sentences), 0.0
    for size in range(1, len(inputs) + 1):
        for subset in combinations(range(len(inputs)), size):
            (text,) = space.decode(latents[list(subset)].mean(axis=0, keepdims=True))
            best = max(best, overlap(text, counts))
    (said,) = summarize(CoopSummarizer(), space, inputs).sentences
    assert overlap(said.text, counts) == pytest.approx(best)
    own = space.decode(latents[list(said.evidence)].mean(axis=0, keepdims=True))
    assert own == [said.text]


def test_coop_leaves_out_an_input_that_spoils_the_mean():
    inputs = document("a b", "c d", "a b", "a b")
    (said,) = summarize(CoopSummarizer(), BagOfWords("a b c d"), inputs).sentences
    assert (said.text, said.evidence) == ("a b", (0,))


def test_coop_is_greedy_beyond_its_limit():
    """Ten inputs have 1,023 subsets; it decodes the ten, then nine with the best one, and so on."""
    space, counts = BagOfWords("a b c d"), None
    inputs = document(*["a b", "a c", "a d"] * 3, "b c")
    found = summarize(CoopSummarizer(exhaustive=3), space, inputs).sentences[0]
    assert 10 <= space.decoded < 100
    counts = [Counter(text.split()) for text in inputs.sentences]
    singles = max(overlap(text, counts) for text in inputs.sentences)
    assert overlap(found.text, counts) >= singles


def test_coop_writes_no_first_person_unless_it_must():
    space = BagOfWords("I We love it")
    (said,) = summarize(CoopSummarizer(), space, document("I love it", "We love it")).sentences
    assert said.text == "love it"
    (said,) = summarize(CoopSummarizer(banned_words=[]), space, document("I love it")).sentences
    assert said.text == "I love it"


def test_coop_bans_the_words_it_is_given():
    space = BagOfWords("I love it")
    method = CoopSummarizer(banned_words=["LOVE"])
    assert summarize(method, space, document("I love it")).text == "I it"


# Popular codes


def test_what_more_than_half_say_wins_against_any_outliers():
    inputs = document("c d", "a b", "d", "a b", "a b")
    (said,) = summarize(PopularCodesSummarizer(), BagOfWords("a b c d"), inputs).sentences
    assert said.text == "a b"
    assert said.evidence == (1, 3, 4)


def test_each_place_has_its_own_majority():
    codes = np.array([[1, 7, 2], [1, 8, 3], [4, 8, 4]])
    # The last place has three codes once each: the one nearest to the mean is taken.
    distance = np.array([[0.0, 0.0, 3.0], [0.0, 0.0, 2.0], [0.0, 0.0, 1.0]])
    assert most_popular(codes, distance).tolist() == [1, 8, 4]


# With a model


def untrained(latent: Latent, **options: object) -> TextAutoencoder:
    """A model that writes something, for each sentence something else."""
    torch.manual_seed(0)
    tokenizer = ByteTokenizer()
    parts = GRUEncoder(6), latent, GRUDecoder(7)
    model = SequenceAutoencoder(*parts, embedding_dim=6, **options)
    return TextAutoencoder(model.build(tokenizer.vocabulary, 12).eval(), tokenizer)


MODELS = [
    untrained(DeterministicLatent(8)),
    untrained(DeterministicLatent(8, normalize="layer"), latent_noise=LatentNoise()),
    untrained(VectorQuantisedLatent(8, num_codes=5, num_groups=4)),
]


EXACT = [*METHODS, ReconstructionSummarizer([0.0])]


@pytest.mark.parametrize("model", MODELS, ids=["plain", "told", "coded"])
@pytest.mark.parametrize(
    "method", [*METHODS, ReconstructionSummarizer([0.0])], ids=lambda m: m.kind
)
def test_equal_sentences_say_what_the_model_makes_of_one(model, method):
    inputs = document(*["a cat"] * 4)
    if method.kind == "codes" and not hasattr(model.autoencoder.latent, "lookup"):
        message = contracts.refusal(summarize, method, LatentSpace(model), inputs)
        assert message.startswith("`method` must be another for a model without a codebook")
    else:
        (said,) = summarize(method, LatentSpace(model), inputs).sentences
        assert said.text == model.reconstruct("a cat", max_length_ratio=0)


def test_codes_are_those_of_the_encoder():
    model = MODELS[2]
    space, sentences = LatentSpace(model), ["a cat", "x", "the dog"]
    latent = model.autoencoder.latent
    found = space.codes(sentences)
    assert found.shape == (3, 4)
    np.testing.assert_array_equal(space.lookup(found), space.encode(sentences))
    assert len(np.unique(found, axis=0)) > 1
    torch.testing.assert_close(
        latent.nearest(latent.lookup(torch.from_numpy(found))).numpy(), found
    )


# Reconstruction


class Shortening(BagOfWords):
    """Noise leaves out as many of the last words as σ says."""

    def decode(self, latents, noise=None, decoding=GREEDY, seed=0):
        noise = np.zeros(len(latents)) if noise is None else noise
        texts = super().decode(latents, None, decoding, seed)
        return [
            " ".join(text.split()[: len(text.split()) - int(sigma)])
            for text, sigma in zip(texts, noise, strict=True)
        ]


def test_of_the_versions_that_fit_the_nearest_is_taken():
    space, inputs = Shortening("a b c d e"), document("a b c d e")
    method = ReconstructionSummarizer([0.0, 1.0, 2.0, 3.0])
    for words, text in ((9, "a b c d e"), (4, "a b c d"), (3, "a b c"), (2, "a b"), (1, "a")):
        (said,) = summarize(method, space, inputs, Budget(words=words)).sentences
        assert (said.text, said.evidence) == (text, (0,))
    # What the model did not write is no reconstruction.
    assert summarize(ReconstructionSummarizer([5.0]), space, inputs, Budget(words=9)).text == ""


def test_sentences_near_the_centroid_come_first_and_stand_in_their_order():
    space, inputs = Shortening("a b c d e f"), document("e f", "a b c", "a b", "b c")
    found = summarize(ReconstructionSummarizer([0.0]), space, inputs, Budget(words=5))
    assert [(s.text, s.evidence) for s in found.sentences] == [("a b c", (1,)), ("a b", (2,))]


# Selection of words


def test_a_sentence_keeps_as_many_words_as_fit():
    space, inputs = BagOfWords("a bb c d"), document("a c bb c")
    for budget, text in (
        (Budget(words=3), "a c c"),
        (Budget(words=1), "c"),
        (Budget(bytes=4), "c c"),
        (Budget(ratio=0.5), "c c"),
        (Budget(sentences=1), "c c"),  # `share` of it
        (Budget(words=9), "a c bb c"),
    ):
        (said,) = summarize(WordSelectionSummarizer(), space, inputs, budget).sentences
        assert (said.text, said.evidence) == (text, (0,))


def test_of_several_sentences_each_keeps_its_share():
    space, inputs = BagOfWords("a b c d e f"), document("e f", "a b c c", "c a c b", "b c")
    found = summarize(WordSelectionSummarizer(), space, inputs, Budget(words=4))
    assert [(said.text, said.evidence) for said in found.sentences] == [
        ("c c", (1,)),
        ("c c", (2,)),
    ]


@pytest.mark.parametrize("model", MODELS, ids=["plain", "told", "coded"])
def test_a_model_selects_words_in_their_order(model):
    space, words = LatentSpace(model), ["a", "b", "c", "d", "你", "好", "much-too-long"]
    latent = space.encode(["a b c d"])[0]
    for count in (1, 3, 5):
        found = space.select(words, latent, count, 1.0)
        assert found == sorted(set(found))
        assert len(found) == min(count, 4)  # 10 bytes: all that the model can read
        assert max(found) < 4
