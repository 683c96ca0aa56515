"""Tokenizers: text to token ids and back, in five kinds, and those of other programs.

| kind | a token is | unknown text | decode(encode(x)) == x |
|---|---|---|---|
| ByteTokenizer | a UTF-8 byte | none | always |
| CharacterTokenizer | a character seen in training | unk | except for unk |
| WordTokenizer | a word seen in training | unk | except for unk, blanks and the normalisation |
| BPETokenizer | a frequent string of bytes | none | always |
| UnigramTokenizer | a likely string of bytes | none | always |
| ImportedTokenizer | what a file of another program says | what it says | what it says |

The file format, and what BPE, Unigram and words do, are those of the Hugging Face `tokenizers`
library; the tokenizer.json of any kind opens in it and gives the same ids. The trade-off: text
bypasses the library where that is faster. numpy encodes bytes and characters, for which the library
takes 50 to 80 times as long (2.5 MB/s, one thread). For the other kinds the library sees each
different word once, and numpy puts known words together (word_cache.py).

Every kind adds bos and eos, and none ever reads a control token out of text: a literal `<eos>` is
five characters like any others.
"""

from seqae.data.tokenizers.base import Tokenizer
from seqae.data.tokenizers.byte_level import BPETokenizer, ByteTokenizer, UnigramTokenizer
from seqae.data.tokenizers.imported.imported_tokenizer import ImportedTokenizer
from seqae.data.tokenizers.word_level import CharacterTokenizer, WordTokenizer

__all__ = [
    "BPETokenizer",
    "ByteTokenizer",
    "CharacterTokenizer",
    "ImportedTokenizer",
    "Tokenizer",
    "UnigramTokenizer",
    "WordTokenizer",
]
