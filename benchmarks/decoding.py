"""Compare the speed of decoding: greedy with a loop of fixed length, beam search with greedy.

    python benchmarks/decoding.py [--output benchmarks/results/decoding.json]
    python benchmarks/decoding.py --bundle runs/seqae/RUN/bundle
    python benchmarks/decoding.py --threads 1 --clock cpu     # while the machine is busy
    python benchmarks/decoding.py --peer vae-lagging-encoder=PATH --peer text-autoencoders=PATH

The unit is sentences per second. The fixed loop is what most people write: batches in the order of
the file, as many steps as the longest sentence takes, all rows to the end. Greedy drops rows that
have ended and decodes sentences of similar length together; their lengths are known, as in `seqae
reconstruct`. Batches have the same number of sentences in all programs.

Without a bundle the model is that of the reference setting (docs/log.md: 10 k words, GRU 512) with
untrained weights, made to end each sentence where a real one ends: one of WordNet's examples (6.5
words on average) or of the reference text (10.5). The fixed loop takes 60 steps. A bundle's own
model decodes sentences of WordNet and decides where they end; the fixed loop then takes the model's
`max_length`, and 60 steps for comparison. Decoding in 8 bits is left out on a processor without
instructions for it. decoding_peers.py says how other projects decode, given the path of a checkout.
"""

from __future__ import annotations

import random
import statistics
import sys
from pathlib import Path
from typing import Any

import torch
from decoding_peers import peer_programs
from driver import (
    Program,
    Turns,
    format_ratio,
    interleaved_parser,
    ratios,
    report,
    run_in_turn,
)
from reference import EMBEDDING_DIM, LATENT_DIM, VOCAB_SIZE, ReferenceDecoder
from text import sentences
from torch import Tensor

import seqae
from seqae.batch import Vocabulary
from seqae.data.builtin import load_builtin
from seqae.generation import Decoding, generate
from seqae.model.autoencoder import SequenceAutoencoder
from seqae.model.encoders import GRUEncoder
from seqae.model.int8 import multiplies_int8, to_int8
from seqae.model.latents import DeterministicLatent

FIXED_STEPS = 60
SOURCES = ("wordnet", "reference")
BEAM = Decoding(num_beams=5)


class WithLengths:
    """A model whose row i ends where sentence i does: the last column of the latents says where."""

    def __init__(self, model: SequenceAutoencoder) -> None:
        self.model, self.vocabulary = model, model.vocabulary
        self.latent_noise = self.adaptive = None
        self.longest_target = 0
        self.max_length = FIXED_STEPS + 1

    def init_state(
        self, latent: Tensor, noise: Tensor | None = None, memory: None = None
    ) -> tuple[Tensor, ...]:
        """Return the model's own state and the number of tokens left."""
        return latent[:, -1], *self.model.init_state(latent[:, :-1])

    def step(self, token: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Take the model's own step, with eos as the first or the last choice."""
        left, *own_state = state
        logits, next_state = self.model.step(token, tuple(own_state))
        logits[:, self.vocabulary.eos_id] = torch.where(left > 0, -1e9, 1e9)
        return logits, (left - 1, *next_state)


def words_of(source: str, count: int) -> list[int]:
    """Count the words of sentences of WordNet or of the reference text."""
    texts = (
        random.Random(0).sample(load_builtin("wordnet-examples"), count)
        if source == "wordnet"
        else list(sentences(count))
    )
    return [len(text.split()) for text in texts]


def make(source: str, count: int) -> tuple[Any, Tensor, list[int]]:
    """Make a model, latents, and the number of tokens of each sentence, bos and eos counted."""
    if source not in SOURCES:
        bundle = seqae.load(source)
        texts = random.Random(0).sample(load_builtin("wordnet-examples"), count)
        latents = torch.from_numpy(bundle.encode(texts, "truncate"))
        return bundle.autoencoder, latents, bundle.lengths(texts)
    torch.manual_seed(0)
    parts = GRUEncoder(8, position_dim=8), DeterministicLatent(LATENT_DIM), ReferenceDecoder()
    model = SequenceAutoencoder(*parts, embedding_dim=EMBEDDING_DIM, head="linear")
    model.build(Vocabulary(VOCAB_SIZE, 0, 1, 2, 3), FIXED_STEPS + 1).eval()
    words = words_of(source, count)
    latents = torch.cat([torch.randn(count, LATENT_DIM), torch.tensor(words)[:, None]], dim=1)
    return WithLengths(model), latents, [number + 2 for number in words]


@torch.inference_mode()
def fixed_loop(model: Any, latents: Tensor, steps: int) -> list[list[int]]:
    """Decode greedily as most people do: one batch, all rows to the end."""
    token = torch.full((len(latents),), model.vocabulary.bos_id)
    state, tokens = model.init_state(latents), []
    for _ in range(steps):
        logits, state = model.step(token, state)
        token = logits.argmax(dim=1)
        tokens.append(token)
    return torch.stack(tokens, dim=1).tolist()


def fixed(
    turns: Turns, source: str, count: int, batch_size: int, threads: int, steps: int | None
) -> None:
    """Run the fixed loop over batches in the order of the file, forever."""
    torch.set_num_threads(threads)
    model, latents, _ = make(source, count)
    steps = model.max_length - 1 if steps is None else steps
    turns.wait()
    while True:
        for first in range(0, count, batch_size):
            part = latents[first : first + batch_size]
            fixed_loop(model, part, steps)
            turns.done(len(part))


def package(
    turns: Turns,
    source: str,
    count: int,
    batch_size: int,
    threads: int,
    options: Decoding,
    is_sorted: bool,
    in_8_bits: bool = False,
) -> None:
    """Decode all sentences with the package, forever."""
    torch.set_num_threads(threads)
    model, latents, lengths = make(source, count)
    if in_8_bits:
        to_int8(model.model if isinstance(model, WithLengths) else model)
    turns.wait()
    while True:
        generate(
            model,
            latents,
            options,
            lengths=lengths if is_sorted else None,
            batch_size=batch_size * options.num_beams,
            scores=False,
        )
        turns.done(count)


def main() -> None:
    parser = interleaved_parser(__doc__, rounds=5, seconds=2.0)
    parser.add_argument("--bundle", help="a trained model instead of the reference setting")
    parser.add_argument("--sentences", type=int, default=10_000)
    parser.add_argument("--batch_size", type=int, default=128, help="sentences in a step")
    parser.add_argument("--peer", action="append", default=[], help="NAME=PATH of a checkout")
    parser.add_argument("--source", choices=SOURCES, nargs="+", default=SOURCES)
    args = parser.parse_args()
    if not 1 <= args.sentences <= (most := len(load_builtin("wordnet-examples"))):
        sys.exit(
            f"`sentences` must be between 1 and {most:,}, the size of WordNet's corpus, but it is "
            f"{args.sentences:,} instead. Choose a value in that range."
        )
    rows, result = [], {"options": {k: v for k, v in vars(args).items() if k != "output"}}
    result["options"]["bundle"] = args.bundle and Path(args.bundle).name
    result["options"]["peer"] = [peer.partition("=")[0] for peer in args.peer]
    for source in [args.bundle] if args.bundle else args.source:
        common = (source, args.sentences, args.batch_size, args.threads)
        programs = {
            f"fixed, {FIXED_STEPS} steps": Program(fixed, (*common, FIXED_STEPS)),
            "greedy, unsorted": Program(package, (*common, Decoding(), False)),
            "greedy": Program(package, (*common, Decoding(), True)),
            "beam 5": Program(package, (*common, BEAM, True)),
        }
        if multiplies_int8():  # elsewhere 8 bits take 15 times as long as 32
            programs["greedy, int8"] = Program(package, (*common, Decoding(), True, True))
        if args.bundle:
            programs["fixed, max_length"] = Program(fixed, (*common, None))
        else:
            sizes = args.batch_size, args.threads
            programs |= peer_programs(args.peer, words_of(source, args.sentences), *sizes)
        speeds = run_in_turn(programs, args.seconds, args.rounds, args.clock)
        name = "bundle" if args.bundle else source
        result[name] = {}
        for program, rounds in speeds.items():
            measured = {
                "sentences_per_second": statistics.median(rounds),
                "greedy_over_it": ratios(speeds["greedy"], rounds),
                "it_over_greedy": ratios(rounds, speeds["greedy"]),
                "rounds": rounds,
            }
            result[name][program] = measured
            rows.append(
                {
                    "lengths": name,
                    "program": program,
                    "sentences/s": f"{measured['sentences_per_second']:,.0f}",
                    "greedy is faster by": format_ratio(measured["greedy_over_it"]),
                    "against greedy": format_ratio(measured["it_over_greedy"]),
                }
            )
    report(rows, result, args.output)


if __name__ == "__main__":
    main()
