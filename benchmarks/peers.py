r"""Other sentence autoencoders, trained by their own code at the sizes of the reference setting.

None of their code is here: clone a peer, and give the folder to throughput.py. Both run unchanged
on torch 2.13.

    git clone https://github.com/jxhe/vae-lagging-encoder
    git clone https://github.com/shentianxiao/text-autoencoders
    python benchmarks/throughput.py --peer vae-lagging-encoder=vae-lagging-encoder \
        --peer text-autoencoders=text-autoencoders

Embeddings of 256, 512 units, latents of 128, 10 k words as in reference.py, but LSTMs (which torch
runs in oneDNN) and batches of equal length, with as many rows of the mean length as fit seqae's
token budget. The loop is that of the peer's training script, without its reports. Their operations
per token:

- vae-lagging-encoder (He et al. 2019, arXiv:1901.05534): one direction, the latent is an input of
  each step of the decoder, SGD, clipping.
- text-autoencoders (Shen et al. 2020, arXiv:1905.12777): two directions in the encoder, Adam.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import torch
from driver import Turns
from reference import EMBEDDING_DIM, HIDDEN_DIM, LATENT_DIM, VOCAB_SIZE
from torch import nn

MEAN_LENGTH = 11.4  # target tokens of a sentence of text.py

_encoder = 4 * HIDDEN_DIM * (EMBEDDING_DIM + HIDDEN_DIM)
_output = HIDDEN_DIM * VOCAB_SIZE
FLOPS_PER_TOKEN = {
    "vae-lagging-encoder": 6 * (2 * _encoder + 4 * HIDDEN_DIM * LATENT_DIM + _output),
    "text-autoencoders": 6 * (3 * _encoder + _output),
}


def read_sentences(text: str) -> list[list[str]]:
    """Read the words of each line."""
    return [line.split() for line in Path(text).read_text(encoding="utf-8").splitlines()]


def forever(batches: Iterable[object]) -> Iterable[object]:
    """Yield batches in random order, epoch after epoch."""
    batches = list(batches)
    while True:
        random.shuffle(batches)
        yield from batches


def vae_lagging(turns: Turns, checkout: str, text: str, threads: int, batch_tokens: int) -> None:
    """Train the LSTM VAE of vae-lagging-encoder, as its text.py does without `--aggressive`."""
    torch.set_num_threads(threads)
    sys.path.insert(0, checkout)
    from data.text_data import MonoTextData, VocabEntry
    from modules import VAE, LSTMDecoder, LSTMEncoder

    counts = Counter(word for words in read_sentences(text) for word in words)
    words = ["<pad>", "<s>", "</s>", "<unk>"]
    words += [word for word, _ in counts.most_common(VOCAB_SIZE - len(words))]
    vocabulary = VocabEntry({word: index for index, word in enumerate(words)})
    data = MonoTextData(text, vocab=vocabulary)
    rows = round(batch_tokens / MEAN_LENGTH)
    batches = data.create_data_batch(rows, torch.device("cpu"), batch_first=True)
    sizes = {"ni": EMBEDDING_DIM, "enc_nh": HIDDEN_DIM, "dec_nh": HIDDEN_DIM, "nz": LATENT_DIM}
    args = argparse.Namespace(
        **sizes, dec_dropout_in=0.0, dec_dropout_out=0.0, device=torch.device("cpu")
    )

    def small(weight: torch.Tensor) -> None:
        nn.init.uniform_(weight, -0.01, 0.01)

    encoder = LSTMEncoder(args, VOCAB_SIZE, small, small)
    model = VAE(encoder, LSTMDecoder(args, vocabulary, small, small), args)
    optimizers = [
        torch.optim.SGD(part.parameters(), lr=1.0, momentum=0.0)
        for part in (model.encoder, model.decoder)
    ]
    turns.wait()
    for batch in forever(batches):
        assert isinstance(batch, torch.Tensor)
        for optimizer in optimizers:
            optimizer.zero_grad()
        loss, _, _ = model.loss(batch, 1.0, nsamples=1)
        loss.mean(dim=-1).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        for optimizer in optimizers:
            optimizer.step()
        turns.done(batch.shape[0] * (batch.shape[1] - 1))


def text_autoencoders(
    turns: Turns, checkout: str, text: str, threads: int, batch_tokens: int
) -> None:
    """Train the denoising autoencoder of text-autoencoders, as its train.py does, without noise."""
    torch.set_num_threads(threads)
    sys.path.insert(0, checkout)
    from batchify import get_batches
    from model import DAE
    from vocab import Vocab

    sentences = read_sentences(text)
    with tempfile.TemporaryDirectory() as name:
        path = str(Path(name) / "vocab.txt")
        Vocab.build(sentences, path, VOCAB_SIZE - 5)  # and five special ones
        vocabulary = Vocab(path)
    sizes = {"dim_z": LATENT_DIM, "dim_emb": EMBEDDING_DIM, "dim_h": HIDDEN_DIM, "nlayers": 1}
    args = argparse.Namespace(**sizes, dropout=0.0, lr=0.0005, noise=[0.0, 0.0, 0.0, 0.0])
    model = DAE(vocabulary, args)
    rows = round(batch_tokens / MEAN_LENGTH)
    batches, _ = get_batches(sentences, vocabulary, rows, torch.device("cpu"))
    turns.wait()
    for batch in forever(batches):
        assert isinstance(batch, tuple)
        inputs, targets = batch
        losses = model.autoenc(inputs, targets, is_train=True)
        losses["loss"] = model.loss(losses)
        model.step(losses)
        losses["loss"].item()  # as the script's meters do
        turns.done(targets.numel())


PEERS = {"vae-lagging-encoder": vae_lagging, "text-autoencoders": text_autoencoders}
