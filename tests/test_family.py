"""Each objective x latent x architecture learns, is saved and writes, or is refused."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import contracts
import pytest
import torch
from small import SENTENCES
from torch import Generator

import seqae
from seqae.bundle.io import write_bundle
from seqae.bundle.text_autoencoder import TextAutoencoder
from seqae.data.batches.padding import collate
from seqae.data.tokenizers import WordTokenizer
from seqae.model.autoencoder import SequenceAutoencoder
from seqae.model.decoders import (
    AttentionGRUDecoder,
    AttentionTransformerDecoder,
    Decoder,
    DenseDecoder,
    GRUDecoder,
    LSTMDecoder,
    TransformerDecoder,
)
from seqae.model.encoders import DenseEncoder, Encoder, GRUEncoder, LSTMEncoder, TransformerEncoder
from seqae.model.hierarchical import HierarchicalEncoder
from seqae.model.latents import DeterministicLatent, Latent
from seqae.model.latents.gaussian import GaussianLatent
from seqae.model.latents.vector_quantised import VectorQuantisedLatent
from seqae.model.latents.von_mises_fisher import VonMisesFisherLatent
from seqae.objectives import (
    Adversarial,
    Denoising,
    MeanSquaredError,
    MeanSum,
    MutualInformationMachine,
    Objective,
    Reconstruction,
    Variational,
    WassersteinMMD,
)

STEPS, LEARNING_RATE = 200, 5e-3
DETERMINISTIC, GAUSSIAN = "DeterministicLatent", "GaussianLatent"
SPHERE, CODES = "VonMisesFisherLatent", "VectorQuantisedLatent"

ENCODERS: dict[str, Any] = {
    "dense": lambda: DenseEncoder(32),
    "gru": lambda: GRUEncoder(16, position_dim=32),
    "lstm": lambda: LSTMEncoder(16, position_dim=32),
    "transformer": lambda: TransformerEncoder(16, 1, 2, 32, position_dim=32),
}
# For long texts; there is no decoder of its kind.
OF_STRETCHES: dict[str, Any] = {"hierarchical": lambda: HierarchicalEncoder(16, 2)}
DECODERS: dict[str, Any] = {
    "dense": lambda: DenseDecoder(normalize=True),
    "gru": lambda: GRUDecoder(16, position_dim=32),
    "lstm": lambda: LSTMDecoder(16, position_dim=32),
    "transformer": lambda: TransformerDecoder(16, 1, 2, 32, position_dim=32),
}
# These look back at the sentence; they need no bottleneck, and some objectives refuse them.
WITH_ATTENTION: dict[str, Any] = {
    "attention gru": lambda: AttentionGRUDecoder(16),
    "attention transformer": lambda: AttentionTransformerDecoder(16, 1, 2, 32),
}
LATENTS: dict[str, Any] = {
    DETERMINISTIC: lambda: DeterministicLatent(16),
    GAUSSIAN: lambda: GaussianLatent(16),
    SPHERE: lambda: VonMisesFisherLatent(16),
    CODES: lambda: VectorQuantisedLatent(16, num_codes=16, num_groups=4),
}
OBJECTIVES: dict[type[Objective], Any] = {
    Reconstruction: lambda: Reconstruction(),
    Denoising: lambda: Denoising(delete=0.1, blank=0.1, substitute=0.1, shuffle_distance=1),
    Variational: lambda: Variational(),
    MutualInformationMachine: lambda: MutualInformationMachine(),
    WassersteinMMD: lambda: WassersteinMMD(),
    Adversarial: lambda: Adversarial(adversarial_weight=1.0, hidden_dim=16),
    MeanSquaredError: lambda: MeanSquaredError(),
    MeanSum: lambda: MeanSum(cycle_weight=1.0),
}
# Which latents make sense under an objective; the encoder and the decoder are free.
SENSIBLE: dict[type[Objective], set[str]] = {
    Reconstruction: {DETERMINISTIC, CODES},
    Denoising: {DETERMINISTIC, CODES},
    MeanSquaredError: {DETERMINISTIC, CODES},
    MeanSum: {DETERMINISTIC, CODES},
    Variational: {GAUSSIAN, SPHERE},
    MutualInformationMachine: {GAUSSIAN, SPHERE},
    WassersteinMMD: {DETERMINISTIC, GAUSSIAN, SPHERE},
    Adversarial: {DETERMINISTIC, GAUSSIAN, SPHERE},
}
KINDS = list(ENCODERS)
# By default each objective and latent train one architecture, and each encoder and decoder, with
# each other and with one of another kind, are trained once.
MIXED = set(zip(KINDS, KINDS[1:] + KINDS[:1], strict=True))
TRAINED = (
    [
        pytest.param(
            *(objective, latent, kind, kind),
            id=f"{objective.__name__}-{latent}-{kind}",
            marks=()
            if kind == "gru" or (objective, latent) == (Reconstruction, DETERMINISTIC)
            else pytest.mark.slow,
        )
        for objective, latents in SENSIBLE.items()
        for latent in sorted(latents)
        for kind in KINDS
    ]
    + [
        pytest.param(
            *(Reconstruction, DETERMINISTIC, encoder, decoder),
            id=f"{encoder}-to-{decoder}",
            marks=() if (encoder, decoder) in MIXED else pytest.mark.slow,
        )
        for encoder in ENCODERS
        for decoder in DECODERS
        if encoder != decoder
    ]
    + [
        pytest.param(Reconstruction, DETERMINISTIC, encoder, decoder, id=f"{encoder}-to-{decoder}")
        for encoder, decoder in zip(
            ("dense", "gru", *OF_STRETCHES), [*WITH_ATTENTION, "attention gru"], strict=True
        )
    ]
)


@pytest.fixture(scope="module")
def tokenizer() -> WordTokenizer:
    words = WordTokenizer()
    words.train(SENTENCES)
    return words


def build(objective, latent: str, encoder: str, decoder: str, tokenizer) -> SequenceAutoencoder:
    options: dict[str, Any] = {"embedding_dim": 16}
    if objective is MeanSquaredError:
        options |= {"head": "nearest", "train_embedding": False}
    encoders, decoders = ENCODERS | OF_STRETCHES, DECODERS | WITH_ATTENTION
    parts = encoders[encoder](), LATENTS[latent](), decoders[decoder]()
    return SequenceAutoencoder(*parts, **options).build(tokenizer.vocabulary, 16)


def test_every_part_is_among_them():
    encoders, decoders = ENCODERS | OF_STRETCHES, DECODERS | WITH_ATTENTION
    for base, known in ((Encoder, encoders), (Decoder, decoders), (Latent, LATENTS)):
        assert {type(make()) for make in known.values()} == set(contracts.concrete(base))
    assert set(OBJECTIVES) == set(SENSIBLE) == set(contracts.concrete(Objective))


def make_objective(objective: type[Objective], latent: str) -> Objective:
    """With what the latent allows: the KL of a sphere is a constant."""
    if objective is Variational and latent != SPHERE:
        return Variational(kl_warmup_steps=100, free_bits=0.05)
    made: Objective = OBJECTIVES[objective]()
    return made


def test_what_makes_no_sense_is_refused_in_one_line(tokenizer):
    counts: Counter[str] = Counter()
    for objective, sensible in SENSIBLE.items():
        for latent in LATENTS:
            for encoder in ENCODERS:
                for decoder in DECODERS:
                    model = build(objective, latent, encoder, decoder, tokenizer)
                    check = make_objective(objective, latent).check
                    if latent in sensible:
                        check(model)
                        counts["accepted"] += 1
                    else:
                        assert "model.autoencoder.latent" in contracts.refusal(check, model)
                        counts["refused"] += 1
    pairs = sum(map(len, SENSIBLE.values()))
    assert counts == {"accepted": 16 * pairs, "refused": 16 * (4 * len(SENSIBLE) - pairs)}


@pytest.mark.parametrize(("objective", "latent", "encoder", "decoder"), TRAINED)
def test_learns_is_saved_and_writes(
    objective, latent, encoder, decoder, tokenizer, tmp_path: Path
) -> None:
    model = build(objective, latent, encoder, decoder, tokenizer)
    criterion = make_objective(objective, latent)
    criterion.check(model)
    criterion.build(model)
    batch = collate(tokenizer.encode(SENTENCES), tokenizer.vocabulary)

    def measure() -> dict[str, float]:
        with torch.no_grad():
            values = criterion(model.eval(), batch, STEPS, Generator().manual_seed(0))
        return {name: value.item() for name, value in values.items()}

    before = measure()
    train(model, criterion, batch)
    after = measure()

    figure = "loss" if objective is MeanSquaredError else "reconstruction"
    assert after[figure] < 0.8 * before[figure]
    if objective is not Adversarial:  # there another player works against the loss
        assert after["loss"] < before["loss"]
    assert after["teacher_forced_accuracy"] > before["teacher_forced_accuracy"] + 0.1
    written = TextAutoencoder(model, tokenizer).reconstruct(SENTENCES)
    selftest = [{"text": t, "reconstruction": w} for t, w in zip(SENTENCES, written, strict=True)]
    write_bundle(tmp_path / "bundle", model, tokenizer, {}, {}, selftest)
    loaded = seqae.load(tmp_path / "bundle")
    assert loaded.reconstruct(SENTENCES) == written
    assert any(written)


def train(model: SequenceAutoencoder, objective: Objective, batch) -> None:
    """The lean loop: what AutoencoderModule does, without a trainer."""
    model.train()
    groups = [{"params": [p for p in model.parameters() if p.requires_grad]}]
    if own := list(objective.parameters()):
        groups.append({"params": own, "betas": (objective.beta1, 0.98)})
    optimizer = torch.optim.AdamW(groups, LEARNING_RATE, betas=(0.9, 0.98))
    for step in range(STEPS):
        rows = torch.randperm(len(batch))[:12]
        optimizer.zero_grad()
        values = objective(
            model, contracts.select(batch, rows), step, Generator().manual_seed(step)
        )
        values["loss"].backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
