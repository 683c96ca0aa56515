"""What the calls of the JSON API take and return.

Types are the documentation (`openapi.py`) and the check (`request_check.py`) at once: a `Limit`
bounds a number, the characters of a text or the items of a list, and a text in `Annotated` says
what it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from typing_extensions import NotRequired, TypedDict

from seqae.batch import MAX_LENGTH
from seqae.model.latents.latent_noise import MAX_NOISE
from seqae.web.payload import Piece

MAX_TEXTS = 64  # of a call
MAX_CHARACTERS = 4_000  # of a sentence
MAX_DOCUMENT = 50_000  # characters of what is summarized
MAX_PLACE = 1e6  # of a coordinate


@dataclass(frozen=True)
class Limit:
    """The least and the most of a number, of a text's characters or of a list's items."""

    low: float
    high: float


Text = Annotated[str, Limit(0, MAX_CHARACTERS)]
Texts = Annotated[list[Text], Limit(1, MAX_TEXTS)]
Coordinate = Annotated[float, Limit(-MAX_PLACE, MAX_PLACE), "on the map of the page"]
Which = Annotated[int, Limit(0, 1), "which model, 0 by default; see `models`"]
Noise = Annotated[
    float,
    Limit(0, MAX_NOISE),
    "σ at which it is decoded, for a model with `latent_noise`; by default what the distance to "
    "the texts on the map implies",
]
Seed = Annotated[int, Limit(0, 2**32 - 1), "of all random draws, 0 by default"]


class Point(TypedDict):
    """A place on the map."""

    x: Coordinate
    y: Coordinate


class ReconstructRequest(TypedDict):
    """Texts to encode and decode again."""

    texts: Texts
    model: NotRequired[Which]
    truncate: NotRequired[Annotated[bool, "cut texts that are too long, instead of an error"]]


class DecodePointRequest(TypedDict):
    """A place to decode."""

    x: Coordinate
    y: Coordinate
    noise: NotRequired[Noise]
    model: NotRequired[Which]


class InterpolateRequest(TypedDict):
    """Two ends; each is a text or a place."""

    a: Text | Point
    b: Text | Point
    steps: NotRequired[Annotated[int, Limit(2, 33), "texts, both ends included; 7 by default"]]
    model: NotRequired[Which]


class ArithmeticRequest(TypedDict):
    """Texts whose latents are added, and texts whose latents are subtracted."""

    plus: Annotated[list[Text], Limit(1, 8)]
    minus: NotRequired[Annotated[list[Text], Limit(0, 8)]]
    noise: NotRequired[Noise]
    model: NotRequired[Which]


class SampleRequest(TypedDict):
    """How to draw new texts."""

    count: NotRequired[Annotated[int, Limit(1, MAX_TEXTS), "of texts, 5 by default"]]
    temperature: NotRequired[Annotated[float, Limit(0, 10), "0, the default, draws no tokens"]]
    max_length: NotRequired[Annotated[int, Limit(2, MAX_LENGTH), "most tokens of a text"]]
    noise: NotRequired[Noise]
    seed: NotRequired[Seed]
    model: NotRequired[Which]


class SummarizeRequest(TypedDict):
    """A document to shorten."""

    text: Annotated[str, Limit(0, MAX_DOCUMENT)]
    method: NotRequired[
        Annotated[str, Limit(1, 40), "as of `seqae summarize`, centroid by default"]
    ]
    sentences: NotRequired[Annotated[int, Limit(1, 50), "of the summary, 3 by default"]]
    language: NotRequired[Annotated[str, Limit(2, 8), "as ISO 639-1 code, en by default"]]
    model: NotRequired[Which]


class Token(TypedDict):
    """A token as it stands in the text; joined they are the text."""

    token: str
    probability: Annotated[float, "that the model gave it after the tokens before it"]


class Near(TypedDict):
    """A text on the map."""

    index: Annotated[int, "of its row on the map"]
    text: str
    similarity: Annotated[float, "the cosine of the two latents"]


class Reconstructed(TypedDict):
    """What came back of a text."""

    text: Annotated[str, "what came back"]
    tokens: list[Token]
    latent_xy: Annotated[list[float], "its place on the map: x, y"]
    neighbours: Annotated[list[Near], "on the map, the nearest first"]
    error: Annotated[float, "edits for each word"]
    pieces: Annotated[list[Piece], "where the two texts differ"]


class Decoded(TypedDict):
    """A latent as a text.

    `distance` is the cosine distance between the latent and that of the nearest text on the map, or
    of the nearest text that it was made of.
    """

    text: str
    noise: Annotated[float | None, "σ at which it was decoded; null if the model is not told it"]
    distance: float
    tokens: list[Token]
    latent_xy: Annotated[list[float], "its place on the map: x, y"]
    neighbours: Annotated[list[Near], "on the map, the nearest first"]


class Interpolated(TypedDict):
    """Texts along the path between two ends."""

    positions: Annotated[list[float], "from 0 to 1"]
    texts: list[str]
    noise: Annotated[list[float] | None, "σ of each; null if the model is not told it"]
    latent_xy: Annotated[list[list[float]], "places on the map: x, y"]


class Sampled(TypedDict):
    """A new text and the text on the map that is nearest to it."""

    text: str
    nearest: str
    similarity: float
    copied: Annotated[bool, "whether the two are equal"]
    latent_xy: Annotated[list[float], "its place on the map: x, y"]


class Summarized(TypedDict):
    """A summary, and what each of its sentences stands for."""

    sentences: list[str]
    evidence: Annotated[list[list[int]], "indices into `document`, for each sentence"]
    document: Annotated[list[str], "the sentences that the text was cut into"]


class ServedModel(TypedDict):
    """A model that answers."""

    model: Annotated[int, "what the calls name it by"]
    name: str
    latent_dim: int
    max_length: Annotated[int, "most tokens of a text, begin and end included"]
    reads_noise: Annotated[bool, "whether `noise` may be given"]
    decodes_latents: Annotated[bool, "false if the model only rewrites the text that it looks at"]
    methods: Annotated[list[str], "of `summarize` that it can do"]


class Failure(TypedDict):
    """Why there is no answer, in one line."""

    error: str
