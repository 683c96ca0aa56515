"""Tokenizers: text to token ids and back."""

from seqae.data.tokenizers.base import Tokenizer
from seqae.data.tokenizers.byte_level import BPETokenizer, ByteTokenizer, UnigramTokenizer
from seqae.data.tokenizers.word_level import CharacterTokenizer, WordTokenizer

__all__ = [
    "BPETokenizer",
    "ByteTokenizer",
    "CharacterTokenizer",
    "Tokenizer",
    "UnigramTokenizer",
    "WordTokenizer",
]
