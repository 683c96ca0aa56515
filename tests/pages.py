"""Payloads for tests and pictures of the page: the shape of real ones, and no model needed."""

from __future__ import annotations

import json
import math
import random
from typing import Any

import numpy as np

from seqae.web.differences import difference
from seqae.web.latent_map import latent_map
from seqae.web.payload import Model, Payload, Series

WHO = "the cat|a dog|my brother|the old woman|a teacher|the children|our neighbour|the river"
DID = "sat on|ran past|looked at|bought|found|painted|broke|opened|lost|dreamed of"
WHAT = "the mat|a red car|the garden|an old book|the window|two apples|her hat|a quiet street"
HOW = "|yesterday|in the morning|without a word|again|for her mother|because it had rained all day"

HOSTILE = (
    "<script>document.title = 'owned'</script>",
    "</script><img src=x onerror=\"document.title='owned'\">",
    "<!--<script> --> &lt;b&gt; {{constructor}} ${7*7}",
    "\u202egnp.exe\u202c and \u2067what follows",
    "שלום, עולם: the <b>bold</b> הילדים",
    "子供たちは庭で遊んでいました。<!--PAYLOAD-->",
    "\ud800 half of a pair, \u2028 a line, \x00 a zero",
)


def sentences(count: int, seed: int = 0) -> list[str]:
    """Write sentences of five to twenty words; about 60 characters each."""
    draw = random.Random(seed)
    lists = [part.split("|") for part in (WHO, DID, WHAT, HOW)]

    def one() -> str:
        return " ".join(filter(None, (draw.choice(words) for words in lists)))

    return [one() if draw.random() < 0.5 else f"{one()} , and {one()}" for _ in range(count)]


def spoilt(text: str, draw: random.Random) -> str:
    """Write a text with a mistake or two."""
    words = text.split()
    for _ in range(draw.randint(1, 3)):
        at = draw.randrange(len(words))
        words[at] = draw.choice(WHAT.split("|")).split()[-1]
    return " ".join(words)


def series(steps: range, value: Any) -> Series:
    return {"steps": [float(step) for step in steps], "values": [value(step) for step in steps]}


def run_curves(name: str, pace: float) -> Any:
    draw = random.Random(name)
    often, rarely = range(50, 7000, 50), range(500, 7001, 500)
    found = {
        "train/loss": series(
            often, lambda s: 6 * math.exp(-s * pace / 900) + 0.3 + 0.1 * draw.random()
        ),
        "val/loss": series(rarely, lambda s: 6 * math.exp(-s * pace / 800) + 0.4),
        "val/exact_match": series(rarely, lambda s: 1 - math.exp(-s * pace / 1500)),
        "val/token_accuracy": series(rarely, lambda s: 1 - 0.5 * math.exp(-s * pace / 900)),
        "lr": series(often, lambda s: 2e-3 * (1 - s / 7000)),
        "train/tokens_per_second": series(often, lambda s: 21_000 + 2_000 * draw.random()),
        "val/bits_per_byte": series(rarely, lambda s: 2 * math.exp(-s * pace / 1500) + 0.1),
        "train/gradient_norm": series(often, lambda s: 0.5 + draw.random()),
    }
    return {"name": name, "series": found}


MEASURES = [
    (
        "Reconstruction",
        "exact sentences",
        91.5,
        "%",
        3.1,
        "nearest training sentence",
        True,
        "good",
    ),
    ("Reconstruction", "BLEU", 94.4, "", 8.2, "nearest training sentence", True, "good"),
    ("Generation", "perplexity of samples", 312.0, "", 118.0, "real sentences", False, "fair"),
    ("Latent", "active units", 384.0, "of 384", None, None, True, "unknown"),
    ("Robustness", "exact at noise 0.3", 22.0, "%", 91.5, "without noise", True, "poor"),
]


def model(count: int, name: str = "demo", hostile: bool = False, seed: int = 0) -> Model:
    """Make all that is shown of one model, with `count` points on its map."""
    draw = random.Random(seed)
    random_state = np.random.default_rng(seed)
    texts = sentences(count, seed)
    if hostile:
        texts[: len(HOSTILE)] = HOSTILE
    groups = np.asarray([hash_of(text) % 9 for text in texts])
    centres = random_state.normal(size=(9, 16)) * 2.2
    latents = (centres[groups] + random_state.normal(size=(count, 16))).astype(np.float32)
    back = [text if draw.random() < 0.8 else spoilt(text, draw) for text in texts]
    some = [difference(*pair) for pair in zip(texts[:300], back[:300], strict=True)]
    drawn, _ = latent_map(
        latents,
        texts,
        labels={"subject": [" ".join(text.split()[:2]) for text in texts]},
        colours={"error": random_state.exponential(0.1, count).astype(np.float32)},
        predictions=back,
        total=1_000_000 if count >= 50_000 else None,
    )
    return {
        "name": name,
        "facts": [
            {"name": "model", "value": f"{name}: GRU encoder, position binding, GRU decoder"},
            {"name": "latent", "value": "384 numbers, deterministic, layer-normalised"},
            {"name": "trained on", "value": "words in context; sentences: 42,006, 500 validate"},
            {"name": "training", "value": "7,060 steps in 24 min on one CPU core"},
            {"name": "size", "value": "1.9 million parameters, 7.6 MB"},
        ],
        "measures": [
            {
                "group": group,
                "name": measure,
                "value": value,
                "unit": unit,
                "baseline": baseline,
                "baseline_name": baseline_name,
                "higher_is_better": higher,
                "verdict": verdict,  # type: ignore[typeddict-item]
                "meaning": "Share of unseen sentences that come back letter for letter.",
                "reason": "90 % or more, and far above the baseline.",
            }
            for group, measure, value, unit, baseline, baseline_name, higher, verdict in MEASURES
        ],
        "reconstructions": [
            {"reference": text, "prediction": own, "pieces": found.pieces, "error": found.error}
            for text, own, found in zip(texts, back, some, strict=False)
        ],
        "lengths": [
            {
                "low": 4 * i + 1,
                "high": 4 * i + 4,
                "count": 100 - 11 * i,
                "exact_match": 1 - 0.08 * i,
                "token_accuracy": 1 - 0.017 * i,
            }
            for i in range(8)
        ],
        "curves": [
            {
                "title": "Robustness",
                "x_label": "noise of the latent",
                "y_label": "share that comes back (%)",
                "meaning": "How many sentences survive noise on their latent.",
                "lines": {
                    "exact": {"steps": [0, 0.1, 0.2, 0.3, 0.5], "values": [91, 80, 50, 22, 3]},
                    "tokens": {"steps": [0, 0.1, 0.2, 0.3, 0.5], "values": [99, 96, 84, 61, 30]},
                },
            }
        ],
        "paths": [
            {"positions": [i / 6 for i in range(7)], "texts": texts[start : start + 7]}
            for start in (0, 20)
        ],
        "samples": [
            {
                "text": text,
                "nearest": near,
                "similarity": 0.6 + 0.4 * draw.random(),
                "copied": i == 2,
            }
            for i, (text, near) in enumerate(zip(texts[:9], texts[30:39], strict=True))
        ],
        "map": drawn,
        "notes": ["Samples were not judged: `seqae evaluate demo --only generation` does."],
    }


def payload(
    count: int, door: str = "report", hostile: bool = False, models: tuple[str, ...] = ("demo",)
) -> Payload:
    """Make the whole page's data."""
    shown = [model(count, name, hostile, seed) for seed, name in enumerate(models)]
    return {
        "schema": 1,
        "door": door,  # type: ignore[typeddict-item]
        "title": HOSTILE[1] if hostile else "demo: a sentence in 384 numbers",
        "made": "2026-11-29",
        "version": "0.9",
        "models": shown,
        "runs": [run_curves("demo", 1.0), run_curves("a larger batch", 0.7)],
    }


def hash_of(text: str) -> int:
    """Number a text, the same in every process."""
    return sum(map(ord, text.split()[0] + text.split()[-1]))


class StandInServer:
    """Answers the page's calls as `seqae serve` does, by playwright's routes: nothing listens."""

    address = "http://127.0.0.1:9/"

    def __init__(self, document: str):
        self.document = document
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.problem = ""
        self.delay = 0.0

    def __call__(self, route: Any) -> None:
        """Answer a request."""
        request = route.request
        if request.method == "GET":
            route.fulfill(body=self.document, content_type="text/html; charset=utf-8")
            return
        assert request.headers["x-seqae-token"] == "secret"
        name, asked = request.url.rsplit("/", 1)[1], json.loads(request.post_data)
        self.calls.append((name, asked))
        if self.problem:
            route.fulfill(status=400, json={"error": self.problem})
            return
        route.fulfill(json=self.answer(name, asked))

    def answer(self, name: str, asked: dict[str, Any]) -> Any:
        """Say what `seqae.tasks.serve.api_shapes` promises."""
        text = "the cat sat on the mat"
        tokens = [
            {"token": token, "probability": 0.35 + 0.1 * i}
            for i, token in enumerate(["the", " cat", " sat", " on", " the", " mat"])
        ]
        place = {
            "latent_xy": [0.5, -0.25],
            "neighbours": [{"index": i, "text": text, "similarity": 0.9} for i in range(3)],
        }
        if name == "reconstruct":
            found = [difference(own, text) for own in asked["texts"]]
            return [
                {"text": text, "tokens": tokens, "error": d.error, "pieces": d.pieces} | place
                for d in found
            ]
        if name in {"decode_point", "arithmetic"}:
            return {"text": text, "noise": 0.2, "distance": 0.31, "tokens": tokens} | place
        if name == "interpolate":
            steps = asked["steps"]
            return {
                "positions": [i / (steps - 1) for i in range(steps)],
                "texts": sentences(steps),
                "noise": None,
                "latent_xy": [[i / 4, i / 8] for i in range(steps)],
            }
        if name == "sample":
            return [
                {"text": own, "nearest": text, "similarity": 0.7, "copied": False}
                | {"latent_xy": [0.0, 0.0]}
                for own in sentences(asked["count"], asked["seed"])
            ]
        document = ["It rained.", "The streets were wet.", "Nobody went out."]
        return {"sentences": ["It rained."], "evidence": [[0, 1]], "document": document}
