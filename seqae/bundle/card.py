"""Write the model card: what a reader should know about a bundle, from measured facts."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from seqae.component import concrete_subclasses
from seqae.metrics.definitions import unit_of
from seqae.model.decoders import AttentionDecoder, Decoder
from seqae.terminal import visible
from seqae.units import format_value

# Of a model with `latent_noise`, whose bundle gets this prior at the end of its training.
NEIGHBOURHOOD = (
    "`prior_neighbourhood.safetensors`, if it is here, holds the latents of up to 2,000 training "
    "sentences, from which these sentences can be decoded. Remove it before you share what was "
    "trained on private text: `seqae prior FOLDER --kind neighbourhood --remove`.",
    "",
)


ENCODES = (
    "It squeezes a sentence into one vector and writes it back.",
    "",
    "```python",
    "import seqae",
    "",
    'model = seqae.load("path/to/this/folder")',
    'latents = model.encode(["a sentence"])  # (1, Z) float32',
    "model.decode(latents)",
    "```",
)
REWRITES = (
    "It reads a text and writes another one, looking back at the first.",
    "",
    "```python",
    "import seqae",
    "",
    'model = seqae.load("path/to/this/folder")',
    'model.reconstruct(["a text"])  # a list of one text: what it makes of it',
    "```",
)


def model_card(
    config: Mapping[str, Any],
    metrics: Mapping[str, float],
    training: Mapping[str, Any],
    selftest: list[dict[str, str]],
) -> str:
    """Return the card in Markdown.

    Args:
        config: the bundle's `config.json`.
        metrics: what was measured, by log key.
        training: the bundle's `training.json`.
        selftest: sentences and their reconstructions.
    """
    parts = config["autoencoder"]["init_args"]
    name = " · ".join(parts[part]["class_path"] for part in ("encoder", "latent", "decoder"))
    kind = "text rewriter" if _reads_memory(parts) else "sentence autoencoder"
    lines = [
        "---",
        "library_name: seqae",
        "tags: [text-autoencoder, sentence-embedding]",
        "---",
        "",
        f"# A {kind}: {name}",
        "",
        *(REWRITES if _reads_memory(parts) else ENCODES),
        "",
        "## What was measured",
        "",
        "| metric | unit | value |",
        "|---|---|---:|",
        *(_row(key, value) for key, value in sorted(metrics.items())),
        "",
        "## What it writes back",
        "",
        "| sentence | written back |",
        "|---|---|",
        *(f"| {_plain(row['text'])} | {_plain(row['reconstruction'])} |" for row in selftest),
        "",
        "## How it was trained",
        "",
        f"Vocabulary of {config['vocabulary']['size']:,} ({config['tokenizer']['class_path']}), "
        f"sentences of at most {config['max_length']} tokens.",
        "",
        *(
            f"- {_plain(key)}: {_plain(str(value))}"
            for key, value in training.items()
            if not isinstance(value, dict)
        ),
        "",
        *(NEIGHBOURHOOD if parts.get("latent_noise") else ()),
        "The whole configuration is in `training.json`. It knows the kind of text that it was "
        "trained on and no other; it is no language model and no judge of meaning.",
    ]
    return "\n".join(lines) + "\n"


def _reads_memory(parts: Mapping[str, Any]) -> bool:
    """As `SequenceAutoencoder.reads_memory`."""
    by_name = {cls.__name__: cls for cls in concrete_subclasses(Decoder)}  # type: ignore[type-abstract]
    decoder = by_name.get(parts["decoder"]["class_path"], Decoder)
    return issubclass(decoder, AttentionDecoder) or parts.get("copying") is not None


def _row(key: str, value: float) -> str:
    unit = unit_of(key)
    return f"| {_plain(key)} | {unit} | {format_value(value, unit)} |"


def _plain(text: str) -> str:
    """Escape what is no text in Markdown: tables, links, images, code, HTML, control characters."""
    shown = visible(text.replace("\n", " "))
    return re.sub(r"[\\|\[\]`*]", r"\\\g<0>", shown).replace("&", "&amp;").replace("<", "&lt;")
