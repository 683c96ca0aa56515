"""Generation: latents to token ids, for every decoder, through `init_state` and `step`.

generate.py     the loop that all searches share    search.py       greedy and sampling
options.py      what can be chosen                  beam.py         beam search
constraints.py  what may not and what must be written
topk.py         the largest of many values
"""

from seqae.generation.generate import generate, greedy
from seqae.generation.options import DecodingOptions
from seqae.generation.search import Hypothesis

__all__ = ["DecodingOptions", "Hypothesis", "generate", "greedy"]
