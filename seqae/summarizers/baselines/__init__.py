"""Baselines: what every table of summaries also has.

lead.py            the beginning, half of the words, random sentences
content_words.py   what those share that count words
graph_ranking.py   TextRank, LexRank
word_frequency.py  Luhn, SumBasic, LSA
oracle.py          the ceiling of all extractive rows, which knows the reference
"""
