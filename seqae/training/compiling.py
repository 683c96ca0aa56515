"""torch.compile where it can help: the blocks of a Transformer.

Dynamo cannot look into nn.GRU and nn.LSTM, whose kernels are fused already, and the output layer
and its loss are written so that nothing is left to fuse (model/cross_entropy.py). A Transformer's
block is many small operations, and on a GPU the time goes into starting them.
"""

from __future__ import annotations

import shutil

import torch

from seqae.model.attention import TransformerBlock
from seqae.model.autoencoder import SequenceAutoencoder


def compile_blocks(autoencoder: SequenceAutoencoder, backend: str = "inductor") -> None:
    """Compile each block of a Transformer, for batches of any size; for training only.

    Compilations are few whatever the batches are: the sizes of batch and time are variables of the
    compiled code, and there is one for each way of calling, with a mask or causal. torch's own
    limit of eight ends what would not end: then that way runs as it is.

    Args:
        autoencoder: built; its weights keep their names.
        backend: of torch.compile.

    Raises:
        ValueError: if the model has no such block, or there is no compiler.
    """
    blocks = [part for part in autoencoder.modules() if isinstance(part, TransformerBlock)]
    parts = f"{type(autoencoder.encoder).__name__} and {type(autoencoder.decoder).__name__}"
    if not blocks:
        raise ValueError(
            f"`model.compile` must be false for {parts}, which torch.compile cannot make faster, "
            f"but it is true instead. Leave it out, or take configs/transformer.yaml."
        )
    on_cpu = next(autoencoder.parameters()).device.type == "cpu" and not torch.cuda.is_available()
    if backend == "inductor" and on_cpu and not (shutil.which("g++") or shutil.which("clang++")):
        raise ValueError(
            "`model.compile` must be false where there is no C++ compiler, but it is true instead. "
            "Leave it out, or install g++."
        )
    for block in blocks:
        block.compile(dynamic=True, backend=backend)
