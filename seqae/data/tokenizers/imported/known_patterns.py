r"""The regular expressions that a foreign tokenizer may name.

A pattern of a stranger can take exponential time, so only these are run: what tokenizers that
people share are made with, and the three that sentencepiece_model.py writes. Each takes time that
is linear in the text, or in the longest run of white space squared.
"""

from __future__ import annotations

_CONTRACTIONS = r"'s|'t|'re|'ve|'m|'ll|'d"
_SPACES = r"\s+(?!\S)|\s+"

RUNS_OF_BLANKS = r" {2,}"
OUTER_BLANKS = r"\A +| +\z"

GPT2 = rf"{_CONTRACTIONS}| ?\p{{L}}+| ?\p{{N}}+| ?[^\s\p{{L}}\p{{N}}]+|{_SPACES}"
CLIP = rf"{_CONTRACTIONS}|[\p{{L}}]+|[\p{{N}}]|[^\s\p{{L}}\p{{N}}]+"


def _after_gpt4(digits: str) -> str:
    """Write the pattern of cl100k (GPT-4) and those that differ in how digits are grouped."""
    return (
        rf"(?i:{_CONTRACTIONS})|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|{digits}"
        rf"| ?[^\s\p{{L}}\p{{N}}]+[\r\n]*|\s*[\r\n]+|{_SPACES}"
    )


KNOWN_PATTERNS = frozenset(
    {
        *(RUNS_OF_BLANKS, OUTER_BLANKS, GPT2, CLIP),
        _after_gpt4(r"\p{N}{1,3}"),  # cl100k, Llama 3
        _after_gpt4(r"\p{N}"),  # Qwen 2
        *(r"\s+", r"\s", r"\s+|[^\s]+", r"\S+", r"\n", r"\d", r"\p{N}", r"[0-9]", r"\p{N}{1,3}"),
    }
)
