"""Write the model card, and tell whether a person has edited one.

A card ends in a seal: a hash of what stands above it. It does not protect the card, which anyone
may edit; it only tells whether somebody has, so that nothing of theirs is written over unasked.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from typing import Literal

from seqae.bundle.card.escaping import plain
from seqae.bundle.card.facts import CardFacts, mapping
from seqae.bundle.card.front_matter import front_matter
from seqae.bundle.card.given import ADDRESS, Given
from seqae.bundle.card.measurements import measurements
from seqae.bundle.card.origins import data, training

CardState = Literal["as written", "edited", "without seal"]

_SEAL = re.compile(r"<!-- written by seqae; sha256 of the above: ([0-9a-f]{64}) -->\n\Z")
EXAMPLES = 8  # sentences beside their reconstructions


def model_card(facts: CardFacts, given: Given) -> str:
    """Return the card, in Markdown.

    Args:
        facts: of the bundle.
        given: what a person has said.
    """
    lines = [
        f"# A {'text rewriter' if facts.rewrites else 'sentence autoencoder'}: {plain(facts.name)}",
        "",
        *_purpose(facts),
        *_use(facts, given),
        *_examples(facts),
        *measurements(facts),
        *data(facts),
        *training(facts),
        *_limits(facts),
        *_rights(given),
    ]
    return _seal(front_matter(facts, given) + "\n" + "\n".join(lines) + "\n")


def with_address(text: str, address: str) -> str:
    """Return a card as it was written, but with the address of the bundle in the line that loads.

    Args:
        text: of a card that nobody has edited.
        address: where others find the bundle.
    """
    body = text[: text.rindex("<!--")]
    return _seal(ADDRESS.sub(lambda _: f'model = seqae.load("{address}")', body, count=1))


def card_state(text: str) -> CardState:
    """Tell whether somebody has edited a card; one of an early version has no seal to tell by."""
    text = text.replace("\r\n", "\n")
    match = _SEAL.search(text)
    if match is None:
        return "without seal" if "sha256 of the above" not in text else "edited"
    return "as written" if match[1] == _digest(text[: match.start()]) else "edited"


def _seal(text: str) -> str:
    return text + f"<!-- written by seqae; sha256 of the above: {_digest(text)} -->\n"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _purpose(facts: CardFacts) -> Iterator[str]:
    if facts.rewrites:
        yield "It reads a text and writes another one, looking back at the first."
    else:
        size = "" if facts.latent_dim is None else f" of {facts.latent_dim:,} numbers"
        yield f"It squeezes a sentence into one vector{size} and writes it back."
    if facts.parameters is not None:
        yield f"It has {facts.parameters:,} weights and computes on a CPU or a GPU."
    yield ""
    if facts.rewrites:
        yield "It is for texts like those that it was trained on, such as short summaries."
    else:
        yield (
            "It is for research and play with such vectors: to reconstruct, compare, interpolate "
            "and sample sentences like those that it was trained on."
        )
    yield ""


def _use(facts: CardFacts, given: Given) -> Iterator[str]:
    yield from ("## Use", "", "```python", "import seqae", "")
    yield f'model = seqae.load("{given.address}")'
    if facts.rewrites:
        yield 'model.reconstruct(["a text"])  # a list of one text: what it makes of it'
    else:
        shape = "Z" if facts.latent_dim is None else f"{facts.latent_dim}"
        yield f'latents = model.encode(["a sentence"])  # (1, {shape}) float32'
        yield "model.decode(latents)  # a list of one sentence"
    yield from (
        "```",
        "",
        "`pip install seqae` brings what this needs. Nothing in this folder is run: it holds JSON "
        "and safetensors, and `seqae check` verifies it.",
        "",
    )


def _examples(facts: CardFacts) -> Iterator[str]:
    if not facts.selftest:
        return
    yield from ("## What it writes back", "")
    if not facts.has_own_examples:
        yield from ("Of sentences that are not from its data:", "")
    yield from ("| sentence | written back |", "|---|---|")
    for row in list(facts.selftest)[:EXAMPLES]:
        yield f"| {plain(row['text'])} | {plain(row['reconstruction'])} |"
    yield ""


def _limits(facts: CardFacts) -> Iterator[str]:
    yield from ("## Limits, and what it gives away", "")
    yield (
        "- It knows the kind of text that it was trained on and no other; it is no language model "
        "and no judge of meaning."
    )
    yield f"- It reads at most {facts.config['max_length']} tokens at once."
    changes = [
        name.replace("_", " ") for name, value in _normalization(facts).items() if value is True
    ]
    if form := _normalization(facts).get("unicode_form"):
        changes.append(plain(str(form)))
    if changes:
        yield f"- What it reads is changed first, and so comes back changed: {', '.join(changes)}."
    if not facts.rewrites:
        yield (
            "- A latent *is* the text: with this folder anyone can decode it. Share vectors as you "
            "would share the sentences."
        )
    if facts.selftest and facts.has_own_examples:
        count = len(facts.selftest)
        yield (
            f"- It carries {count} sentence{'s' * (count != 1)} of its data, here and in "
            f"`selftest.json`; `seqae card --no_examples --write` takes them out."
        )
    yield "- `tokenizer.json` lists pieces of words, and frequent words, of its training text."
    if facts.parts.get("latent_noise"):  # its bundle gets this prior at the end of its training
        yield (
            "- `prior_neighbourhood.safetensors`, if it is here, holds the latents of up to 2,000 "
            "training sentences, from which these sentences can be decoded. Before you share what "
            "was trained on private text, remove it: `seqae prior FOLDER --kind neighbourhood "
            "--remove`, or `--no_examples` as above."
        )
    yield ""


def _normalization(facts: CardFacts) -> dict[str, object]:
    return dict(mapping(facts.config.get("normalization")))


def _rights(given: Given) -> Iterator[str]:
    yield from ("## Licence and language", "")
    licence = plain(given.licence) if given.licence else "none was given; ask whoever shared it"
    language = plain(", ".join(given.language)) if given.language else "not given"
    yield from (f"Licence: {licence}. Language: {language}.", "")
