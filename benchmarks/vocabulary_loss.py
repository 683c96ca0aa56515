"""Compare what a plain and an adaptive output over 50,000 words learn, by steps and by time.

    python scripts/data/many_words.py
    python benchmarks/vocabulary_loss.py many_words.txt --state plain.pt --seconds 1200
    python benchmarks/vocabulary_loss.py many_words.txt --adaptive --state own.pt --seconds 1200

Both train the same GRU autoencoder on the same batches, from the same weights. After each `--every`
steps the cross-entropy of unseen sentences is measured, exactly: nats per token, of all tokens, and
of the 10,000 most frequent words and the others apart. Time is the processor's, of the steps alone.
A program that was stopped goes on where its state was saved.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import torch
from driver import benchmark_parser, report

from seqae import SequenceAutoencoder, TextDataModule
from seqae.batch import Batch
from seqae.data.tokenizers import WordTokenizer
from seqae.metrics.nll import token_nll
from seqae.model.adaptive.adaptive_softmax import AdaptiveSoftmax
from seqae.model.decoders import GRUDecoder
from seqae.model.encoders import GRUEncoder
from seqae.model.latents import DeterministicLatent
from seqae.objectives import Reconstruction
from seqae.training.optimization.optimizer import make_optimizer

VOCAB_SIZE, FREQUENT, SENTENCES = 50_000, 10_000, 600
LEARNING_RATE, WARMUP = 3e-3, 100


def main() -> None:
    parser = benchmark_parser(__doc__)
    parser.add_argument("text", type=Path, help="a sentence on each line")
    parser.add_argument("--adaptive", action="store_true")
    parser.add_argument("--cutoffs", type=int, nargs="+", help="of the clusters")
    parser.add_argument("--head", choices=("tied", "linear"), default="tied")
    parser.add_argument("--embedding_dim", type=int, default=128)
    parser.add_argument("--batch_tokens", type=int, default=2048)
    parser.add_argument("--seconds", type=float, default=600.0, help="of processor time, at most")
    parser.add_argument("--steps", type=int, default=10**9, help="at most")
    parser.add_argument("--every", type=int, default=50, help="steps between two measurements")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--state", type=Path, help="file that keeps the training")
    parser.add_argument("--session", type=float, default=1e9, help="seconds until it stops")
    args = parser.parse_args()
    torch.set_num_threads(1)
    started = time.perf_counter()
    data = TextDataModule(
        train=str(args.text),
        tokenizer=WordTokenizer(VOCAB_SIZE, normalization="basic_english"),
        batch_tokens=args.batch_tokens,
        max_length=64,
        too_long="truncate",
        seed=args.seed,
    )
    data.prepare_data()
    data.setup("fit")
    model, optimizer = build(args, data)
    state: dict[str, Any] = {"step": 0, "seconds": 0.0, "tokens": 0, "history": []}
    if args.state is not None and args.state.exists():
        state = torch.load(args.state, weights_only=True)
        model.load_state_dict(state.pop("model"))
        optimizer.load_state_dict(state.pop("optimizer"))
    held_out = list(data.corpora["val"].spread(SENTENCES))
    unseen = [
        data.corpora["val"].__getitems__(held_out[i : i + 50]) for i in range(0, SENTENCES, 50)
    ]
    objective, generator = Reconstruction(), torch.Generator()
    for step, batch in enumerate(epochs(data)):
        if step < state["step"]:
            continue
        is_over = step >= args.steps or state["seconds"] >= args.seconds
        if is_over or time.perf_counter() - started > args.session:
            break
        optimizer.param_groups[0]["lr"] = LEARNING_RATE * min(1.0, (step + 1) / WARMUP)
        begin = time.process_time()
        loss = objective(model, batch, step, generator)["loss"]
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        state["seconds"] += time.process_time() - begin
        state["tokens"] += batch.num_targets
        state["step"] = step + 1
        if state["step"] % args.every == 0:
            row = {key: state[key] for key in ("step", "tokens", "seconds")}
            state["history"].append(row | measure(model, unseen))
            print(json.dumps(state["history"][-1]), flush=True)
    if args.state is not None:
        parts = {"model": model.state_dict(), "optimizer": optimizer.state_dict()}
        torch.save(state | parts, args.state)
    rows = [{key: f"{value:,.4g}" for key, value in row.items()} for row in state["history"]]
    report(rows or [{"step": "0"}], state["history"], args.output)


def build(args: Any, data: TextDataModule) -> tuple[SequenceAutoencoder, torch.optim.Optimizer]:
    """Make the model, whose weights are the same with either output but for the clusters'."""
    torch.manual_seed(args.seed)
    model = SequenceAutoencoder(
        GRUEncoder(128, pooling="mean_max"),
        DeterministicLatent(128),
        GRUDecoder(256, position_dim=0),
        args.embedding_dim,
        args.head,
        adaptive=AdaptiveSoftmax(args.cutoffs) if args.adaptive else None,
    ).build(data.vocabulary, data.max_length)
    return model, make_optimizer(model, Reconstruction(), LEARNING_RATE, 0.01, (0.9, 0.98))


def epochs(data: TextDataModule) -> Any:
    """Yield batches for ever."""
    while True:
        yield from data.train_dataloader()


@torch.inference_mode()
def measure(model: SequenceAutoencoder, unseen: list[Batch]) -> dict[str, float]:
    """Measure nats per token of unseen sentences."""
    model.eval()
    nats: list[torch.Tensor] = []
    targets: list[torch.Tensor] = []
    for batch in unseen:
        latent = model.encode(batch).latent
        features = model.decode(batch.decoder_input, latent)[batch.target_mask]
        target = batch.target[batch.target_mask]
        nats.append(token_nll(model, features, target))
        targets.append(target)
    model.train()
    nll, target = torch.cat(nats).double(), torch.cat(targets)
    is_frequent = target < FREQUENT
    return {
        "nats": float(nll.mean()),
        "frequent": float(nll[is_frequent].mean()),
        "rare": float(nll[~is_frequent].mean()),
    }


if __name__ == "__main__":
    main()
