"""Decoding: declared, documented and checked once, for Python and the command line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import MISSING, Field, dataclass, field, fields, replace
from difflib import get_close_matches
from typing import Any

from typing_extensions import TypedDict

from seqae.batch import MAX_LENGTH
from seqae.component import check_range, check_whole
from seqae.generation.limits import LENGTH_RATIO
from seqae.model.latents.latent_noise import MAX_NOISE

MIN_TEMPERATURE = 1e-6  # the lowest by which float32 logits are divided and stay finite

WHOLE_NUMBERS = {
    "num_beams": (1, 2**10),
    "num_return_sequences": (1, 2**10),
    "top_k": (0, 2**31),
    "min_length": (2, MAX_LENGTH),
    "max_length": (2, MAX_LENGTH),
    "no_repeat_ngram_size": (0, MAX_LENGTH),
}


class DecodingKeywords(TypedDict, total=False):
    """The options of `Decoding` as keywords: `model.decode(latents, temperature=0.8)`."""

    num_beams: int
    num_return_sequences: int
    length_penalty: float
    temperature: float
    top_k: int
    top_p: float
    min_length: int
    max_length: int | None
    max_length_ratio: float
    noise: float | None
    no_repeat_ngram_size: int
    banned_words: Sequence[str]
    forced_words: Sequence[str]


@dataclass(frozen=True, repr=False)
class Decoding:
    """How latents are decoded: by default greedily, with the most likely token at each step.

    Args:
        num_beams: hypotheses kept of each sentence; from 2 on it is a beam search.
        num_return_sequences: texts returned for each latent: the n best of a beam search, which
            differ in their tokens, the best first; or that many samples, some of which may be
            equal.
        length_penalty: exponent of the number of tokens that a text's log-probability is divided by
            (Wu et al. 2016 without their constants, as in Hugging Face); 0 looks for the most
            probable text, 1 for that of the most probable tokens on average.
        temperature: samples tokens from softmax(logits / temperature), from 1e-6 on; 0 does not
            sample.
        top_k: samples among the k most likely tokens only (Fan et al. 2018); 0 allows all.
        top_p: samples among the most likely tokens only, as few as together have this probability
            (nucleus sampling, Holtzman et al. 2020).
        min_length: fewest tokens, bos and eos counted.
        max_length: most tokens, bos and eos counted; null takes the model's, or twice the tokens
            of the longest text that it was trained to write and 10 more, if that is less.
        max_length_ratio: most tokens of a text that should repeat a sentence, as times those of the
            sentence, and 10 more; 0 lets it run on to `max_length`. It is for reconstructions at
            noise 0, and cuts only what did not end.
        noise: how noisy the latent is taken to be (σ, in standard deviations of a latent): 0 asks
            for the sentence of the latent, 1 for a likely one near it, 100 for any sentence of the
            language. It is for models trained with `latent_noise`; null takes 0 for the latent of
            a sentence, and for another what its distance from one implies.
        no_repeat_ngram_size: length of sequences of tokens that are not generated twice (Paulus et
            al. 2018); 0 allows repetition.
        banned_words: words that are not generated, as the tokenizer encodes them, also inside a
            longer word.
        forced_words: words that a beam search must generate, as the tokenizer encodes them, also
            inside a longer word: heat contains he.
    """

    num_beams: int = 1
    num_return_sequences: int = 1
    length_penalty: float = 0.0
    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    min_length: int = 2
    max_length: int | None = None
    max_length_ratio: float = LENGTH_RATIO
    noise: float | None = None
    no_repeat_ngram_size: int = 0
    banned_words: list[str] = field(default_factory=list)
    forced_words: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        for name, limits in WHOLE_NUMBERS.items():
            if (value := getattr(self, name)) is not None or name != "max_length":
                object.__setattr__(self, name, check_whole(name, value, *limits))
        check_range("length_penalty", self.length_penalty, -5.0, 5.0)
        check_range("temperature", self.temperature, 0.0, 1e6)
        if 0 < self.temperature < MIN_TEMPERATURE:
            raise ValueError(
                f"`temperature` must be 0 or at least {MIN_TEMPERATURE}, but it is "
                f"{self.temperature} instead. Set `temperature: 0` for the most likely tokens."
            )
        check_range("top_p", self.top_p, 1e-9, 1.0)
        check_range("max_length_ratio", self.max_length_ratio, 0.0, 1e6)
        if self.noise is not None:
            check_range("noise", self.noise, 0.0, MAX_NOISE)
        if self.max_length is not None and self.min_length > self.max_length:
            raise ValueError(
                f"`min_length` must be at most `max_length`, {self.max_length}, but it is "
                f"{self.min_length} instead. Lower it, or raise `max_length`."
            )
        for key in ("banned_words", "forced_words"):
            words = getattr(self, key)
            if words is None or isinstance(words, str):
                raise ValueError(
                    f"`{key}` must be a list of words, but it is {words!r} instead. Put it in a "
                    f"list."
                )
            for word in words:
                if not word.strip():
                    raise ValueError(
                        f"`{key}` must be words, but one is {word!r} instead. Drop it."
                    )
        self._check_pairs()

    def __repr__(self) -> str:
        given = [
            f"{option.name}={value!r}"
            for option in fields(self)
            if (value := getattr(self, option.name)) != _default(option)
        ]
        return f"Decoding({', '.join(given)})"

    def replaced(self, keywords: DecodingKeywords) -> Decoding:
        """Return these options with some of them replaced.

        Args:
            keywords: options by name.

        Raises:
            ValueError: if the options do not fit each other.
            TypeError: if there is no option of a name, as Python raises it for a keyword.
        """
        known = [option.name for option in fields(self)]
        if unknown := next((name for name in keywords if name not in known), None):
            close = get_close_matches(unknown, known, n=1)
            way_out = (
                f"Did you mean `{close[0]}`?" if close else f"The options are {', '.join(known)}."
            )
            raise TypeError(f"`{unknown}` is not known. {way_out}")
        return replace(self, **keywords) if keywords else self  # type: ignore[arg-type]

    def _check_pairs(self) -> None:
        """Refuse options that another option makes impossible or would ignore."""
        is_sampled, is_beam = self.temperature > 0, self.num_beams > 1
        if is_sampled and is_beam:
            raise ValueError(
                f"`temperature` must be 0 for a beam search, but it is {self.temperature} instead. "
                f"Leave out `num_beams` to sample."
            )
        if not is_sampled and (self.top_k or self.top_p < 1):
            raise ValueError(
                "`temperature` must be above 0 for `top_k` and `top_p`, but it is 0 instead, which "
                "samples nothing. Set `temperature: 1.0`."
            )
        if not is_sampled and self.num_return_sequences > self.num_beams:
            raise ValueError(
                f"`num_return_sequences` must be at most `num_beams`, {self.num_beams}, unless "
                f"tokens are sampled, but it is {self.num_return_sequences} instead. Raise "
                f"`num_beams`, or set `temperature: 1.0`."
            )
        if self.forced_words and not is_beam:
            raise ValueError(
                "`num_beams` must be at least 2 for `forced_words`, but it is 1 instead. "
                "Set `num_beams: 5`."
            )
        if self.length_penalty and not is_beam:
            raise ValueError(
                f"`length_penalty` must be 0 without a beam search, but it is "
                f"{self.length_penalty} instead. Set `num_beams: 5`."
            )


def _default(option: Field[Any]) -> Any:
    return option.default if option.default_factory is MISSING else option.default_factory()
