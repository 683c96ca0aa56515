"""Tokenizers and vocabularies that other programs have made.

tokenizer_file.py       TokenizerFile: the file, as a part of a configuration, whatever made it
"""
