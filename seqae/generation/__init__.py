"""Generation: decode latents to token ids with any decoder, through its `init_state` and `step`.

generate.py     the step loop               search.py  the contract of a search; greedy and sampling
options.py      what can be chosen          beam.py    beam search
constraints.py  banned and forced words     topk.py    a faster argmax and top-k
subsequence.py  of a sentence's words those that are likeliest
"""

from seqae.generation.generate import generate, greedy
from seqae.generation.options import Decoding, DecodingKeywords
from seqae.generation.search import Hypothesis

__all__ = ["Decoding", "DecodingKeywords", "Hypothesis", "generate", "greedy"]
