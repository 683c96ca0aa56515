"""The reference setting of docs/log.md, and the programs that are compared at it.

200 thousand one-line sentences, 10 k words, embedding 256, GRU 512 encoder and decoder, latent 128:
44.9 million floating-point operations per token, forward and backward, two thirds of them in the
output layer. `fit` is what a user runs, the command line with all its callbacks; the others lack
some of its parts or, like the plain baseline, all of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, final

import torch
import yaml
from driver import Turns
from torch import Tensor, nn

from seqae.component import check_range
from seqae.model.decoders.base import Decoder, DecoderState
from seqae.model.recurrent import GRUStack

VOCAB_SIZE, EMBEDDING_DIM, HIDDEN_DIM, LATENT_DIM = 10_000, 256, 512, 128
PRODUCT_SIZE = 2048


def flops_per_token(decoder: str) -> float:
    """Count the products of a training step: two operations each, for forward and two gradients."""
    recurrent = 3 * HIDDEN_DIM * (EMBEDDING_DIM + HIDDEN_DIM)
    if decoder == "ReferenceDecoder":
        return 6 * (2 * recurrent + HIDDEN_DIM * VOCAB_SIZE)
    wide = 3 * HIDDEN_DIM * (2 * EMBEDDING_DIM + HIDDEN_DIM) + HIDDEN_DIM * EMBEDDING_DIM
    return 6 * (recurrent + wide + EMBEDDING_DIM * VOCAB_SIZE)


@final
class ReferenceDecoder(Decoder):
    """The plainest GRU decoder: the latent makes the first state, and the states are the features.

    Args:
        hidden_dim: units.
    """

    def __init__(self, hidden_dim: int = HIDDEN_DIM) -> None:
        super().__init__()
        check_range("hidden_dim", hidden_dim, 1, 2**16)
        self.hidden_dim = hidden_dim

    def build(
        self,
        embedding_dim: int,
        latent_dim: int,
        max_length: int,
        num_latents: int = 1,
        reads_noise: bool = False,
    ) -> None:
        """Create the weights."""
        self.output_dim = self.hidden_dim
        self.initial = nn.Linear(latent_dim, self.hidden_dim)
        self.gru = GRUStack(embedding_dim, self.hidden_dim)

    def forward(self, embedded: Tensor, latent: Tensor, noise: Tensor | None = None) -> Tensor:
        """Decode under teacher forcing."""
        return self._run(embedded, *self.init_state(latent))[0]

    def init_state(self, latent: Tensor, noise: Tensor | None = None) -> DecoderState:
        """Return the first state, (B, 1, H)."""
        return (self.initial(latent)[:, None],)

    def step(self, embedded: Tensor, state: DecoderState) -> tuple[Tensor, DecoderState]:
        """Decode one token."""
        states, hidden = self._run(embedded[:, None], *state)
        return states[:, 0], (hidden,)

    def _run(self, embedded: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
        states, (hidden,) = self.gru.extend(embedded, (hidden,))
        return states, hidden


def write_config(path: Path, text: Path, decoder: str, batch_tokens: int) -> Path:
    """Write the configuration of `seqae fit` at the reference setting.

    Args:
        path: the YAML file.
        text: the sentences.
        decoder: `ReferenceDecoder`, or the package's own `GRUDecoder` at the same sizes.
        batch_tokens: token budget of a batch.
    """
    own: dict[str, Any] = {
        "class_path": decoder if decoder == "GRUDecoder" else f"reference.{decoder}",
        "init_args": {"hidden_dim": HIDDEN_DIM},
    }
    if decoder == "GRUDecoder":
        own["init_args"]["position_dim"] = 0
    config = {
        "data": {
            "train": str(text),
            "cache_dir": str(path.parent / "cache"),
            "batch_tokens": batch_tokens,
            "val_percent": 0,
            "test_percent": 0,
            "tokenizer": {"class_path": "WordTokenizer", "init_args": {"vocab_size": VOCAB_SIZE}},
        },
        "model": {
            "objective": {"class_path": "Reconstruction"},
            "autoencoder": {
                "embedding_dim": EMBEDDING_DIM,
                "head": "linear",
                "encoder": {
                    "class_path": "GRUEncoder",
                    "init_args": {
                        "hidden_dim": HIDDEN_DIM,
                        "bidirectional": False,
                        "pooling": "last",
                    },
                },
                "latent": {
                    "class_path": "DeterministicLatent",
                    "init_args": {"latent_dim": LATENT_DIM},
                },
                "decoder": own,
            },
        },
        "trainer": {"max_epochs": 1000, "accelerator": "cpu", "log_every_n_steps": 50},
    }
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    return path


def fit(
    turns: Turns,
    config: str,
    run_dir: str,
    threads: int,
    options: Sequence[str] = (),
    tokens: Any = None,
) -> None:
    """Run the complete `seqae fit`, with one more callback that waits for the turn.

    Args:
        turns: the protocol with the driver.
        config: the YAML file.
        run_dir: the run's folder.
        threads: of this process.
        options: more command-line options.
        tokens: a counter to which the training's other processes add, so that their work counts.
    """
    from lightning.pytorch import Callback, LightningModule, Trainer

    from seqae.cli import main

    class TakeTurns(Callback):
        def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
            self.others = 0
            turns.wait()

        def on_train_batch_end(self, trainer: Trainer, *args: Any) -> None:
            others = 0 if tokens is None else tokens.value
            work, self.others = args[2].num_targets + others - self.others, others
            turns.done(work)

    add_callback(TakeTurns())
    main(["fit", "-c", config, "--run_dir", run_dir, "--threads", str(threads), *options])


def add_callback(callback: Any) -> None:
    """Have `seqae fit` in this process call one more callback, after its own."""
    from lightning.pytorch.cli import LightningCLI

    own = LightningCLI._instantiate_trainer

    def instantiate(self: Any, config: dict[str, Any], callbacks: list[Any]) -> Any:
        return own(self, config, [*callbacks, callback])

    LightningCLI._instantiate_trainer = instantiate  # type: ignore[method-assign]


def bare_loop(turns: Turns, config: str, threads: int) -> None:
    """Train the same model, batches, objective and optimizer as `fit` in the shortest loop."""
    from seqae import AutoencoderModule, SequenceAutoencoder, TextDataModule
    from seqae.data.tokenizers import Tokenizer
    from seqae.objectives import Objective

    torch.set_num_threads(threads)
    options = yaml.safe_load(Path(config).read_text(encoding="utf-8"))
    data = options["data"]
    data["tokenizer"] = Tokenizer.from_config(data["tokenizer"])
    datamodule = TextDataModule(**data)
    datamodule.prepare_data()
    datamodule.setup("fit")
    parts = options["model"]["autoencoder"]
    parts["decoder"]["class_path"] = parts["decoder"]["class_path"].rpartition(".")[2]
    whole = {"class_path": "SequenceAutoencoder", "init_args": parts}
    model = SequenceAutoencoder.from_config(whole)
    model.build(datamodule.vocabulary, datamodule.max_length)
    objective = Objective.from_config(options["model"]["objective"])
    module = AutoencoderModule(model, objective)
    optimizer = torch.optim.AdamW(
        model.parameters(), module.learning_rate, (module.beta1, module.beta2), fused=True
    )
    generator = torch.Generator()
    turns.wait()
    while True:
        for step, batch in enumerate(datamodule.train_dataloader()):
            loss = objective(model, batch, step, generator)["loss"]
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            turns.done(batch.num_targets)


class PlainAutoencoder(nn.Module):
    """An autoencoder as most people write it: the encoder's last state has read the padding."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(VOCAB_SIZE, EMBEDDING_DIM, padding_idx=0)
        self.encoder = nn.GRU(EMBEDDING_DIM, HIDDEN_DIM, batch_first=True)
        self.to_latent = nn.Linear(HIDDEN_DIM, LATENT_DIM)
        self.from_latent = nn.Linear(LATENT_DIM, HIDDEN_DIM)
        self.decoder = nn.GRU(EMBEDDING_DIM, HIDDEN_DIM, batch_first=True)
        self.output = nn.Linear(HIDDEN_DIM, VOCAB_SIZE)

    def forward(self, token_ids: Tensor) -> Tensor:
        """Map token ids (B, T) to logits (B, T-1, V)."""
        embedded = self.embedding(token_ids)
        _, hidden = self.encoder(embedded)
        hidden = self.from_latent(self.to_latent(hidden))
        states, _ = self.decoder(embedded[:, :-1], hidden)
        return self.output(states)


def plain(turns: Turns, text: str, threads: int) -> None:
    """Train the plain baseline: random batches of 128 padded to the longest, default Adam."""
    torch.set_num_threads(threads)
    sentences = [line.split() for line in Path(text).read_text(encoding="utf-8").splitlines()]
    counts = Counter(word for words in sentences for word in words)
    words = ["<pad>", "<unk>", "<bos>", "<eos>"]
    words += [word for word, _ in counts.most_common(VOCAB_SIZE - len(words))]
    ids = {word: index for index, word in enumerate(words)}

    def collate(batch: list[list[str]]) -> Tensor:
        rows = [torch.tensor([2, *(ids.get(word, 1) for word in words), 3]) for words in batch]
        return nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=0)

    loader = torch.utils.data.DataLoader(sentences, 128, shuffle=True, collate_fn=collate)  # type: ignore[arg-type]
    model = PlainAutoencoder()
    optimizer = torch.optim.Adam(model.parameters())
    criterion = nn.CrossEntropyLoss(ignore_index=0)
    turns.wait()
    while True:
        for token_ids in loader:
            logits, target = model(token_ids), token_ids[:, 1:]
            loss = criterion(logits.reshape(-1, VOCAB_SIZE), target.reshape(-1))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            turns.done(int((target != 0).sum()))


def product(turns: Turns, threads: int) -> None:
    """Measure the machine's own speed in FLOP: a product of two square float32 matrices."""
    torch.set_num_threads(threads)
    left, right = torch.randn(2, PRODUCT_SIZE, PRODUCT_SIZE)
    turns.wait()
    while True:
        torch.mm(left, right)
        turns.done(2.0 * PRODUCT_SIZE**3)
