"""Ask this processor whether torch can train a recurrent layer on it in half precision.

torch runs an LSTM in half precision with a kernel of oneDNN's, and has none of its own to fall back
on. oneDNN lacks it on processors without AVX-512 (bfloat16) and on most others (float16, in
training), and then the first batch raises `could not create a primitive descriptor`. No flag of a
processor tells, so a small layer is tried. Everything else that this package runs on a CPU (GRU,
products, attention, embeddings, the fused AdamW) has kernels of torch's for every processor.
"""

from __future__ import annotations

from functools import cache

import torch

from seqae.model.recurrent import RecurrentStack


@cache
def trains_in_half_precision(
    stack_type: type[RecurrentStack], dtype: torch.dtype, autocast: bool
) -> bool:
    """Try a forward and a backward pass on the CPU, as encoders and decoders make them.

    Args:
        stack_type: what to try.
        dtype: bfloat16 or float16.
        autocast: whether the weights are in float32, under autocast; otherwise they are in `dtype`.
    """
    size, lengths = 4, torch.tensor([3, 2])
    weights, products = (torch.float32, dtype) if autocast else (dtype, dtype)
    with torch.random.fork_rng(devices=[]), torch.autocast("cpu", products, enabled=autocast):
        encoder = stack_type(size, size, bidirectional=True).to(weights)
        decoder = stack_type(size, size).to(weights)
        inputs = torch.zeros(2, 3, size, dtype=weights)
        state = tuple(torch.zeros(2, 1, size, dtype=weights) for _ in range(stack_type.num_states))
        try:
            encoded, _ = encoder(inputs, lengths)
            decoded, _ = decoder.extend(inputs, state)
            (encoded.float().sum() + decoded.float().sum()).backward()
        except RuntimeError as error:
            if "could not create a primitive" in str(error):
                return False
            raise
    return True
