"""The decoders of other projects, from a checkout of each, for decoding.py.

    git clone https://github.com/jxhe/vae-lagging-encoder
    git clone https://github.com/shentianxiao/text-autoencoders
    python benchmarks/decoding.py --peer vae-lagging-encoder=PATH --peer text-autoencoders=PATH

Nothing in a checkout is changed; their code is imported, with the sizes of the reference setting
(their decoders are LSTMs: a step has 1.10 and 1.06 times the products of one of the GRU). Each ends
a sentence where the real one ends, if it ends at all: its output layer is told how long the
sentences of the batch are.

- vae-lagging-encoder: `greedy_decode`, which runs until all rows of the batch have ended. Its own
  `reconstruct` gives it one sentence at a time; here it also gets whole batches, in the order of
  the file and, as its training does but its decoding does not, of one length.
- text-autoencoders: `generate` runs for as many steps as it is told; its default, 35, cuts longer
  sentences.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from driver import Program, Turns
from reference import EMBEDDING_DIM, HIDDEN_DIM, LATENT_DIM, VOCAB_SIZE
from torch import Tensor, nn

MAX_LEN = 35  # the default of text-autoencoders' test.py
BOS, EOS = 2, 3


class EndsInTime(nn.Module):
    """An output layer that makes eos the last choice, or the first once a sentence is over.

    Args:
        layer: features to logits.
    """

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer
        self.left = torch.zeros(0)

    def forward(self, features: Tensor) -> Tensor:
        """Compute the logits of a step."""
        logits: Tensor = self.layer(features)
        logits.reshape(-1, VOCAB_SIZE)[:, EOS] = torch.where(self.left > 0, -1e9, 1e9)
        self.left = self.left - 1
        return logits


class Words:
    """A vocabulary as either project asks for it."""

    size, go = VOCAB_SIZE, BOS

    def __len__(self) -> int:
        return VOCAB_SIZE

    def __getitem__(self, word: str) -> int:
        return {"<s>": BOS, "</s>": EOS}[word]

    def id2word(self, index: int) -> str:
        """Return a word of that id."""
        return str(index)


def batches(words: Sequence[int], size: int, order: str) -> Iterator[list[int]]:
    """Yield the indices of the sentences of each batch.

    Args:
        words: of each sentence.
        size: most sentences of a batch.
        order: `file`, or `length`: batches of sentences of one length.
    """
    if order == "file":
        for start in range(0, len(words), size):
            yield list(range(start, min(len(words), start + size)))
        return
    made = []
    for length in set(words):
        same = [index for index, other in enumerate(words) if other == length]
        made += [same[start : start + size] for start in range(0, len(same), size)]
    random.Random(0).shuffle(made)  # so that the turns of a program are alike
    yield from made


@torch.no_grad()
def lagging(
    turns: Turns, path: str, words: Sequence[int], batch_size: int, threads: int, order: str
) -> None:
    """Decode all sentences with vae-lagging-encoder, forever."""
    torch.set_num_threads(threads)
    sys.path.insert(0, path)
    from modules.decoders.dec_lstm import LSTMDecoder

    args = SimpleNamespace(
        ni=EMBEDDING_DIM,
        dec_nh=HIDDEN_DIM,
        nz=LATENT_DIM,
        device=torch.device("cpu"),
        dec_dropout_in=0.0,
        dec_dropout_out=0.0,
    )

    def uniform(weight: Tensor) -> None:
        nn.init.uniform_(weight, -0.01, 0.01)

    decoder = LSTMDecoder(args, Words(), uniform, uniform).eval()
    decoder.pred_linear = layer = EndsInTime(decoder.pred_linear)
    latents = torch.randn(len(words), LATENT_DIM)
    turns.wait()
    while True:
        for rows in batches(words, batch_size, order):
            layer.left = torch.tensor([words[row] for row in rows])
            decoder.greedy_decode(latents[rows])
            turns.done(len(rows))


@torch.no_grad()
def text_autoencoders(
    turns: Turns, path: str, words: Sequence[int], batch_size: int, threads: int
) -> None:
    """Decode all sentences with text-autoencoders, forever."""
    torch.set_num_threads(threads)
    sys.path.insert(0, path)
    from model import DAE

    args = SimpleNamespace(
        dim_emb=EMBEDDING_DIM, dim_h=HIDDEN_DIM, dim_z=LATENT_DIM, nlayers=1, dropout=0.0, lr=1e-3
    )
    model: Any = DAE(Words(), args).eval()
    model.proj = layer = EndsInTime(model.proj)
    latents = torch.randn(len(words), LATENT_DIM)
    turns.wait()
    while True:
        for rows in batches(words, batch_size, "file"):
            layer.left = torch.tensor([words[row] for row in rows])
            model.generate(latents[rows], MAX_LEN, "greedy")
            turns.done(len(rows))


def peer_programs(
    peers: Sequence[str], words: Sequence[int], batch_size: int, threads: int
) -> dict[str, Program]:
    """Make the programs of the peers.

    Args:
        peers: `NAME=PATH` of each, the path of a checkout.
        words: of each sentence.
        batch_size: sentences in a step.
        threads: of each program.
    """
    programs = {}
    for peer in peers:
        name, _, path = peer.partition("=")
        if name not in ("vae-lagging-encoder", "text-autoencoders") or not Path(path).is_dir():
            sys.exit(
                f"`peer` must be vae-lagging-encoder=PATH or text-autoencoders=PATH with the path "
                f"of a checkout, but it is {peer} instead. Clone the project first."
            )
        common: tuple[Any, ...] = path, words
        if name == "text-autoencoders":
            programs[name] = Program(text_autoencoders, (*common, batch_size, threads))
            continue
        for what, size, order in (
            ("its reconstruct: one by one", 1, "file"),
            ("batches in the file's order", batch_size, "file"),
            ("batches of one length", batch_size, "length"),
        ):
            programs[f"{name}, {what}"] = Program(lagging, (*common, size, threads, order))
    return programs
