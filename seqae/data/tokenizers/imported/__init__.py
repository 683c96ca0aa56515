"""Tokenizers and vocabularies that other programs have made.

tokenizer_file.py       TokenizerFile: the file, as a part of a configuration, whatever made it
imported_tokenizer.py   ImportedTokenizer: runs with the rules of another program's tokenizer
library_json.py         the tokenizer.json of `tokenizers` and transformers
sentencepiece_model.py  a .model of SentencePiece, in the terms of `tokenizers`
protobuf.py             reads the fields of such a file
special_tokens.py       pad, unk, bos and eos of a foreign vocabulary: found, or added
library_parts.py        which rules of `tokenizers` a file may name, and with which values
known_patterns.py       the regular expressions that it may name
charsmap.py             SentencePiece's table of normalised characters, checked
"""
