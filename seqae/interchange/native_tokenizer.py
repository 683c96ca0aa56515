"""Our tokenizers as those of transformers, which sentence-transformers' WordEmbeddings takes.

All of ours are the `tokenizers` library's. What we do to text before is put in front of them as
normalizers of that library.
"""

from __future__ import annotations

import json
import re
from typing import Any

from seqae.bundle.text_autoencoder import TextAutoencoder
from seqae.data.sentences.cleaning import Normalization
from seqae.extras import extra

with extra("sentence-transformers"):
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

# Python's white space, of which `\s` of the library lacks U+001C to U+001F.
BLANKS = "[" + "".join(re.escape(chr(c)) for c in range(0x3001) if chr(c).isspace()) + "]+"


def native_tokenizer(model: TextAutoencoder) -> PreTrainedTokenizerFast:
    """Make a tokenizer that gives the ids of ours, bos and eos included."""
    document = json.loads(model.tokenizer.to_json())
    document["post_processor"].pop("seqae")
    steps = normalizers(model.normalization)
    if steps:
        own = document["normalizer"]
        steps += [own] if own else []
        document["normalizer"] = {"type": "Sequence", "normalizers": steps}
    return PreTrainedTokenizerFast(tokenizer_object=Tokenizer.from_str(json.dumps(document)))


def normalizers(normalization: Normalization) -> list[dict[str, Any]]:
    """Write what is done to text as normalizers of the library, in its JSON."""
    steps: list[dict[str, Any]] = []
    if normalization.unicode_form is not None:
        steps += [{"type": normalization.unicode_form}, *_stripped()]
    if normalization.lowercase:
        # At the end of a word, Python lowers a Greek sigma to another letter than the library.
        steps += [_replaced(r"(?<=\p{L})Σ(?!\p{L})", "ς"), {"type": "Lowercase"}]
    if normalization.collapse_whitespace:
        steps += [_replaced(BLANKS, " "), *_stripped()]
    return steps


def _stripped() -> list[dict[str, Any]]:
    return [_replaced(rf"\A{BLANKS}|{BLANKS}\z", "")]


def _replaced(pattern: str, content: str) -> dict[str, Any]:
    return {"type": "Replace", "pattern": {"Regex": pattern}, "content": content}
