"""A bundle gives the same numbers in another process: encoders × decoders × latents × tokenizers.

In this process models are made, saved and checked; another one loads them all, and compares to the
last bit. By default each two choices meet once; the slow test has all combinations.
"""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import contracts
import numpy as np
import pytest
import tokenizers as hf
import torch
from small import SENTENCES, own_process
from test_family import DECODERS, ENCODERS, LATENTS, WITH_ATTENTION
from tokenizers import decoders, models, pre_tokenizers, trainers

from seqae.bundle.bundle_check import check_bundle
from seqae.bundle.text_autoencoder import TextAutoencoder
from seqae.component import concrete_subclasses
from seqae.data.tokenizers import Tokenizer
from seqae.data.tokenizers.imported.tokenizer_file import TokenizerFile
from seqae.model.autoencoder import SequenceAutoencoder

TEXTS = [*SENTENCES[:6], "", "a"]
TOKENIZERS = {cls.__name__: cls for cls in concrete_subclasses(Tokenizer)}  # type: ignore[type-abstract]
CHOICES = {
    "encoder": [*ENCODERS],
    "decoder": [*DECODERS, *WITH_ATTENTION],
    "latent": [*LATENTS],
    "tokenizer": [*TOKENIZERS],
}
ALL = [
    dict(zip(CHOICES, combination, strict=True))
    for combination in itertools.product(*CHOICES.values())
]

# What the other process runs: all bundles of a folder, against what they gave before.
OTHER = """
import json, sys
from pathlib import Path
import numpy as np, torch
import seqae
torch.set_num_threads(1)
texts = json.loads(sys.argv[2])
folders = sorted(Path(sys.argv[1]).iterdir())
for folder in folders:
    model, latents = seqae.load(folder / "bundle"), np.load(folder / "latents.npy")
    found = model.encode(texts, "truncate")
    assert found.tobytes() == latents.tobytes(), f"{folder}: other latents"
    written = model.reconstruct(texts, too_long="truncate")
    assert written == json.loads((folder / "texts.json").read_text()), f"{folder}: other texts"
assert "lightning" not in sys.modules
print(len(folders))
"""


def make(choice: dict[str, Any], tokenizer: Tokenizer, seed: int) -> TextAutoencoder:
    """An untrained model, whose noise in place of weights shows a wrong one at once."""
    torch.manual_seed(seed)
    parts = ENCODERS[choice["encoder"]](), LATENTS[choice["latent"]]()
    decoder = {**DECODERS, **WITH_ATTENTION}[choice["decoder"]]()
    model = SequenceAutoencoder(*parts, decoder, embedding_dim=16)
    return TextAutoencoder(model.build(tokenizer.vocabulary, 16).eval(), tokenizer)


def imported(path: Path) -> Tokenizer:
    """One of another program, which is never trained here."""
    theirs = hf.Tokenizer(models.BPE())
    theirs.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    theirs.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=300, show_progress=False, initial_alphabet=alphabet)
    theirs.train_from_iterator(SENTENCES, trainer)
    theirs.save(str(path))
    return TokenizerFile(str(path)).read()


@pytest.mark.parametrize(
    "choices",
    [
        contracts.pairwise(ALL),
        pytest.param(ALL, marks=[pytest.mark.slow, pytest.mark.timeout(1200)]),
    ],
    ids=["pairs", "all"],
)
def test_another_process_gives_the_same_to_the_last_bit(
    choices: list[dict[str, Any]], tmp_path: Path, record_property: Any
) -> None:
    tokenizers: dict[str, Tokenizer] = {"ImportedTokenizer": imported(tmp_path / "theirs.json")}
    for name, cls in TOKENIZERS.items():
        if name in tokenizers:
            continue
        tokenizers[name] = cls(300) if name in ("BPETokenizer", "UnigramTokenizer") else cls()
        tokenizers[name].train(SENTENCES)
    for number, choice in enumerate(choices):
        model = make(choice, tokenizers[choice["tokenizer"]], number)
        folder = tmp_path / "all" / f"{number:03}"
        folder.mkdir(parents=True)
        latents = model.encode(TEXTS, "truncate")
        written = model.reconstruct(TEXTS, too_long="truncate")
        np.save(folder / "latents.npy", latents)
        (folder / "texts.json").write_text(json.dumps(written))
        rows = zip(TEXTS, written, strict=True)
        model.details["selftest"] = [{"text": t, "reconstruction": w} for t, w in rows]
        model.save(folder / "bundle")
        if len(choices) == len(ALL) or number % 8 == 0:  # a check takes as long as all the rest
            assert len(check_bundle(folder / "bundle").probes) == len(TEXTS)
    command = [sys.executable, "-c", OTHER, str(tmp_path / "all"), json.dumps(TEXTS)]
    done = subprocess.run(command, env=own_process(), capture_output=True, text=True)
    assert done.stdout == f"{len(choices)}\n", done.stderr
    record_property("rounds", len(choices))
