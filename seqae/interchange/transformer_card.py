"""The model card of a folder for sentence-transformers: the bundle's, with how to load it there."""

from __future__ import annotations

import re
from typing import Any

import yaml

from seqae.bundle.card.given import split_front_matter
from seqae.untrusted import load_yaml

TAGS = ("sentence-transformers", "sentence-similarity", "feature-extraction")
TITLE = "## With sentence-transformers"

OURS = """\
{title}

```python
# pip install "seqae[sentence-transformers]"
from sentence_transformers import SentenceTransformer

model = SentenceTransformer("path/to/this/folder", trust_remote_code=True)
embeddings = model.encode(["a sentence", "another one"])
```

`trust_remote_code=True` lets sentence-transformers import the class that `modules.json` names:
`seqae.interchange.sentence_encoder.SentenceEncoder`, of the package seqae that you have installed.
No code is in this folder: it holds JSON and safetensors, and every file is checked against
`MANIFEST.sha256` before it is used. Give the flag only if `modules.json` names that class alone.
Longer texts are cut to the tokens that the model accepts.
"""
NATIVE = """\
{title}

```python
from sentence_transformers import SentenceTransformer

model = SentenceTransformer("path/to/this/folder")
embeddings = model.encode(["a sentence", "another one"])
```

It is the encoder alone, in modules of sentence-transformers: it needs neither seqae nor
`trust_remote_code`, and decodes nothing. Use `encode`: with sentence-transformers 6.2,
`encode_query` and `encode_document` fail for any model that begins with WordEmbeddings.
"""


def transformer_card(card: str, needs_us: bool) -> str:
    """Add to a bundle's card how sentence-transformers loads the folder.

    Args:
        card: in Markdown, with a header of YAML or without one; perhaps edited.
        needs_us: whether our package is needed.
    """
    header, body = split_card(card)
    tags = header.get("tags")
    known = tags if isinstance(tags, list) else []
    header["tags"] = [*known, *(tag for tag in TAGS if tag not in known)]
    header["library_name"] = "sentence-transformers"
    header["pipeline_tag"] = "sentence-similarity"
    said = (OURS if needs_us else NATIVE).format(title=TITLE)
    if not needs_us:  # the folder is no bundle, which the card's own example loads
        body = re.sub(r"^## Use\n.*?(?=^## |\Z)", "", body, flags=re.DOTALL | re.MULTILINE)
    if TITLE not in body:
        place = body.find("\n## ")
        place = len(body) if place < 0 else place + 1
        body = f"{body[:place].rstrip()}\n\n{said}\n{body[place:]}"
    shown = yaml.safe_dump(header, sort_keys=False, allow_unicode=True)
    return f"---\n{shown}---\n{body.rstrip()}\n"


def split_card(card: str) -> tuple[dict[str, Any], str]:
    """Split a card into its header, empty if it has none that can be read, and its text."""
    header, body = split_front_matter(card)
    try:
        values = load_yaml(header.encode())
    except ValueError:
        values = None
    return (values, body) if isinstance(values, dict) else ({}, card)
