"""Fuzz `seqae check` and `seqae.load`: bundles to spoil, and what may come of one.

An input is a good bundle of which a few files are replaced: a byte for the bundle, a byte of flags,
then for each replaced file a byte for its name, four for its size, and its content. Unless a flag
says otherwise the hashes are repaired, as somebody would who changes a bundle on purpose: else no
input would come past the manifest. `scripts/fuzz` runs this with coverage, as long as one likes;
test_fuzzed_bundles.py for seconds without.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import shutil
import struct
import sys
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch

import seqae
from seqae.batch import Vocabulary
from seqae.bundle.card.model_card import model_card
from seqae.bundle.manifest import CARD, FILES, MANIFEST
from seqae.bundle.prior_draws import fit_priors
from seqae.bundle.rewriting import given_of, read_facts
from seqae.bundle.stored_priors import add_priors
from seqae.bundle.text_autoencoder import TextAutoencoder
from seqae.data.tokenizers import (
    BPETokenizer,
    ByteTokenizer,
    CharacterTokenizer,
    Tokenizer,
    UnigramTokenizer,
    WordTokenizer,
)
from seqae.model.autoencoder import SequenceAutoencoder
from seqae.model.content.content_encoder import ContentEncoder
from seqae.model.decoders import (
    AttentionGRUDecoder,
    AttentionTransformerDecoder,
    DenseDecoder,
    GRUDecoder,
    LSTMDecoder,
    TransformerDecoder,
)
from seqae.model.encoders import DenseEncoder, GRUEncoder, LSTMEncoder, TransformerEncoder
from seqae.model.latents import DeterministicLatent
from seqae.model.latents.gaussian import GaussianLatent
from seqae.model.latents.latent_noise import LatentNoise
from seqae.model.latents.vector_quantised import VectorQuantisedLatent
from seqae.model.latents.von_mises_fisher import VonMisesFisherLatent
from seqae.model.memory.copying import Copying
from seqae.priors import (
    CodesPrior,
    FlowPrior,
    GaussianPrior,
    MixturePrior,
    NeighbourhoodPrior,
)
from seqae.tasks.sharing.check import check

TEXTS = ("a cat", "the cat sat", "née 😀 <eos>")
PRIORS = ("gaussian", "mixture", "neighbourhood", "flow", "codes")
# Files that an input can replace, or add; the last ones no bundle has.
NAMES = (
    *FILES,
    MANIFEST,
    CARD,
    *(f"prior_{kind}.safetensors" for kind in PRIORS),
    "density.safetensors",
    "prior_x.safetensors",
    "pytorch_model.bin",
)
KEEPS_MANIFEST, KEEPS_CONFIG, FITS_WEIGHTS = 1, 2, 4  # flags
MAX_WEIGHTS = 100_000  # of a model whose weights are made up for a changed configuration
MAX_MESSAGE = 4000  # characters
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
FORBIDDEN = (  # audit events: their names, or how these begin
    *("socket.", "subprocess.", "os.system", "os.exec", "os.posix_spawn", "os.fork", "os.putenv"),
    *("pickle.find_class", "ctypes.dlopen", "os.rename", "os.remove", "os.mkdir", "os.symlink"),
    "shutil.rmtree",
)


@dataclass
class Input:
    """A bundle, and the files of it that are replaced."""

    base: int = 0
    flags: int = 0
    files: dict[str, bytes] = field(default_factory=dict)

    def pack(self) -> bytes:
        """As one string of bytes."""
        records = [
            struct.pack("<BI", NAMES.index(name), len(data)) + data
            for name, data in self.files.items()
        ]
        return bytes([self.base & 255, self.flags & 255]) + b"".join(records)

    @classmethod
    def unpack(cls, data: bytes) -> Input:
        """From any bytes: what is cut short ends early."""
        head, at, files = data[:2].ljust(2, b"\0"), 2, {}
        while len(data) - at >= 5 and len(files) < 4:
            number, size = struct.unpack_from("<BI", data, at)
            files[NAMES[number % len(NAMES)]] = data[at + 5 : at + 5 + size]
            at += 5 + size
        return cls(head[0], head[1], files)


# The bundles


def _tokenizer(tokenizer: Tokenizer) -> Tokenizer:
    tokenizer.train([*TEXTS, "cats and mats"] * 3)
    return tokenizer


def _models() -> Iterable[tuple[Tokenizer, SequenceAutoencoder, Sequence[Any]]]:
    """Tiny models of every part, and the priors that they get."""
    small = {"position_dim": 4}
    gru, flow = GRUEncoder(3, **small), FlowPrior(hidden_dim=2, num_blocks=1, steps=2)
    fitted = [GaussianPrior(), MixturePrior(), flow]
    yield (
        _tokenizer(BPETokenizer(264)),
        SequenceAutoencoder(gru, DeterministicLatent(4), GRUDecoder(3, **small), 3),
        fitted,
    )
    parts = DenseEncoder(3), DeterministicLatent(None, "layer"), DenseDecoder(3, 2)
    dense = SequenceAutoencoder(*parts, embedding_dim=3, head="nearest", train_embedding=False)
    yield ByteTokenizer(), dense, []
    transformer = TransformerEncoder(4, 1, 2, 4, pooling="attention", num_latents=2)
    parts = transformer, VectorQuantisedLatent(4, 4, 2), TransformerDecoder(4, 1, 2, 4, **small)
    codes = CodesPrior(hidden_dim=2, steps=2, batch_size=4)
    yield _tokenizer(CharacterTokenizer()), SequenceAutoencoder(*parts, embedding_dim=3), [codes]
    parts = LSTMEncoder(3, **small), GaussianLatent(4), LSTMDecoder(3, **small)
    lstm = SequenceAutoencoder(*parts, embedding_dim=3, head="linear")
    yield _tokenizer(WordTokenizer(normalization="basic_english")), lstm, []
    parts = GRUEncoder(3, **small), DeterministicLatent(4, "layer"), GRUDecoder(3, **small)
    noisy = SequenceAutoencoder(*parts, embedding_dim=3, latent_noise=LatentNoise())
    yield _tokenizer(WordTokenizer()), noisy, [NeighbourhoodPrior()]
    parts = GRUEncoder(3, **small), DeterministicLatent(4), TransformerDecoder(4, 1, 2, 4, **small)
    named = SequenceAutoencoder(*parts, embedding_dim=3, content=ContentEncoder(4, 8))
    yield _tokenizer(UnigramTokenizer(264)), named, []
    parts = GRUEncoder(3, **small), DeterministicLatent(4), AttentionGRUDecoder(4, num_heads=2)
    copying = SequenceAutoencoder(*parts, embedding_dim=3, copying=Copying(2))
    yield _tokenizer(WordTokenizer()), copying, []
    parts = DenseEncoder(3), VonMisesFisherLatent(4), AttentionTransformerDecoder(4, 1, 2, 4)
    yield _tokenizer(CharacterTokenizer()), SequenceAutoencoder(*parts, embedding_dim=3), []


def write_bases(folder: Path) -> list[Path]:
    """Write the good bundles, and return their folders."""
    folders = []
    for number, (tokenizer, autoencoder, priors) in enumerate(_models()):
        torch.manual_seed(number)
        autoencoder.build(tokenizer.vocabulary, 12).eval()
        if autoencoder.content is not None:
            autoencoder.content.read_tokens(tokenizer.token_bytes())
        model = TextAutoencoder(autoencoder, tokenizer)
        written = model.reconstruct(TEXTS, too_long="truncate")
        rows = zip(TEXTS, written, strict=True)
        model.details = {
            "metrics": {"val/exact_match": 0.25, "val/loss": 1.5},
            "training": {"steps": 2, "config": {"data": {"too_long": "truncate"}}},
            "selftest": [{"text": text, "reconstruction": other} for text, other in rows],
        }
        folders.append(model.save(folder / str(number)))
        if priors:
            texts = [f"{a} {b}" for a in TEXTS for b in ("cat", "mat", "sat", "é")]
            latents = model.encode(texts, "truncate")
            for prior in priors:
                prior.prepare(autoencoder.latent)
            add_priors(folders[-1], fit_priors(priors, latents))
    return folders


def seeds(bases: Sequence[Path]) -> list[Input]:
    """A good input for each bundle, and for each file of it."""
    names = [[name for name in NAMES if (base / name).exists()] for base in bases]
    whole = [Input(number) for number in range(len(bases))]
    return whole + [
        Input(number, files={name: (bases[number] / name).read_bytes()})
        for number in range(len(bases))
        for name in names[number]
    ]


# One input


def materialise(given: Input, bases: Sequence[Path], folder: Path) -> None:
    """Write the bundle of an input; the folder must not exist."""
    base, files = bases[given.base % len(bases)], dict(given.files)
    if "config.json" in files and given.flags & FITS_WEIGHTS and "model.safetensors" not in files:
        _fit_weights(files, base)
    if "tokenizer.json" in files and not given.flags & KEEPS_CONFIG:
        _fit_config(files, base)
    folder.mkdir()
    for path in base.iterdir():
        if path.name not in files:
            os.link(path, folder / path.name)
    for name, data in files.items():
        (folder / name).write_bytes(data)
    if MANIFEST not in files and not given.flags & KEEPS_MANIFEST:
        digests = {
            path.name: hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(folder.iterdir())
            if path.name in NAMES[:-1] and path.name not in (MANIFEST, CARD)
        }
        (folder / MANIFEST).unlink()
        lines = [f"{digest}  {name}\n" for name, digest in digests.items()]
        (folder / MANIFEST).write_text("".join(lines))


def _fit_config(files: dict[str, bytes], base: Path) -> None:
    """Let the configuration say what the changed tokenizer is."""
    with contextlib.suppress(ValueError, LookupError, TypeError, AttributeError, RecursionError):
        config = json.loads(files.get("config.json") or (base / "config.json").read_bytes())
        document = json.loads(files["tokenizer.json"])
        config["tokenizer_sha256"] = hashlib.sha256(files["tokenizer.json"]).hexdigest()
        config["tokenizer"] = document["post_processor"]["seqae"]
        config["vocabulary"]["size"] = len(document["model"]["vocab"])
        files["config.json"] = json.dumps(config).encode()


def _fit_weights(files: dict[str, bytes], base: Path) -> None:
    """Make weights up for the changed configuration, if it is one of a small model."""
    try:
        config = json.loads(files["config.json"])
        model = SequenceAutoencoder.from_config(config["autoencoder"])
        with torch.device("meta"):
            model.build(Vocabulary(**config["vocabulary"]), config["max_length"])
        shapes = {name: (t.shape, t.dtype) for name, t in model.state_dict().items()}
        if sum(np.prod(shape) for shape, _ in shapes.values()) > MAX_WEIGHTS:
            return
        generator = torch.Generator().manual_seed(0)
        files["model.safetensors"] = safetensors.torch.save(
            {
                name: torch.randn(shape, generator=generator).mul(2).to(dtype)
                for name, (shape, dtype) in shapes.items()
            }
        )
    except Exception:  # such a configuration is what the code under test refuses
        return


class Watch:
    """Note what no bundle may do: write elsewhere, open a socket, start a process, unpickle.

    Args:
        folder: in which files may be written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.seen, self.is_on = str(folder), list[str](), False
        self.thread = threading.get_ident()
        sys.addaudithook(self._hook)

    def _hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.is_on or threading.get_ident() != self.thread:
            return
        if event == "open":
            path, mode, flags = arguments
            is_written = flags & WRITING or set(mode or "") & set("wax+")
            if isinstance(path, (str, bytes)) and is_written:
                whole = os.path.abspath(os.fsdecode(path))
                if not whole.startswith((self.folder, "/dev/null")):
                    self.seen.append(f"opened {path!r} to write")
        elif event.startswith(FORBIDDEN):
            self.seen.append(f"{event}{arguments!r}")


class Finding(AssertionError):
    """What must not come of a bundle."""


def attempt(folder: Path, watch: Watch) -> str:
    """Check a bundle, and use it; say in a word what came of it.

    Raises:
        Finding: if that is neither success nor one line of a ValueError or OSError.
    """
    watch.seen.clear()
    watch.is_on = True
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            check(str(folder))
            model = seqae.load(folder)
            model_card(read_facts(folder, model), given_of(folder, model))
            for kind in model.priors:
                model.sample(2, kind, seed=0)
        result = "success"
    except (ValueError, OSError) as error:
        text = str(error)
        if len(text) > MAX_MESSAGE or "\n" in text or not text.rstrip():
            raise Finding(f"{type(error).__name__} of {len(text)}: {text[:300]!r}") from error
        result = "refused"
    except Exception as error:
        raise Finding(f"{type(error).__name__}: {str(error)[:300]}") from error
    finally:
        watch.is_on = False
    if watch.seen:
        raise Finding(watch.seen[0])
    return result


def run(data: bytes, bases: Sequence[Path], folder: Path, watch: Watch) -> str:
    """Write the bundle of an input, attempt it, and remove it."""
    try:
        materialise(Input.unpack(data), bases, folder)
        return attempt(folder, watch)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def place_of(error: BaseException) -> str:
    """Where in the package an error was raised, which tells findings apart."""
    cause, place = error.__cause__ or error, "?"
    step = cause.__traceback__
    while step is not None:
        name = step.tb_frame.f_code.co_filename
        if f"{os.sep}seqae{os.sep}" in name and f"{os.sep}tests{os.sep}" not in name:
            place = f"{Path(name).name}:{step.tb_lineno}"
        step = step.tb_next
    return f"{type(cause).__name__} at {place}"


def counts(results: Mapping[str, int]) -> str:
    """In one line."""
    return ", ".join(f"{count:,} {name}" for name, count in sorted(results.items()))
