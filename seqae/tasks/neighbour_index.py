"""The index of `seqae neighbours`: latents of the searched sentences, kept for the next time.

It is a .npy file in the run's folder, or for a bundle alone in the cache. Its name holds a hash of
where the sentences come from, and one of the model and the sentences: another model or another text
has another name, and replaces the file.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch

from seqae.bundle.find_bundle import bundle_folder
from seqae.bundle.operations.latent_ops import Latents
from seqae.bundle.sharing.address import is_address
from seqae.bundle.text_autoencoder import TextAutoencoder
from seqae.data.config import default_cache_dir
from seqae.files import replacing
from seqae.version import __version__

MIN_SENTENCES = 1000  # fewer are encoded in a second or two, on any machine
MAX_HEADER_BYTES = 256  # of a .npy file of two dimensions: numpy pads it to 128


def encode_searched(
    model: TextAutoencoder, where: str, texts: Sequence[str], source: str | None
) -> Latents:
    """Encode the sentences to search, or read their latents from the index.

    Args:
        model: loaded from `where`.
        where: a bundle, or the folder of a run.
        texts: the sentences; those that are too long are truncated.
        source: the file that they come from; None for the training sentences.

    Returns:
        (n, Z) float32, or the content part alone if there is one.
    """
    if len(texts) < MIN_SENTENCES or source == "-":
        return _encode(model, texts)
    folder = _index_folder(where)
    origin = "train" if source is None else _digest(str(Path(source).absolute()).encode())[:8]
    path = folder / f"neighbours-{origin}-{_key(model, texts)}.npy"
    latents = _read(path, (len(texts), model.part_dim(model.compared_part)))
    if latents is not None:
        _say(f"{len(texts):,} latents come from {path}")
        return latents
    older = [other for other in folder.glob(f"neighbours-{origin}-*.npy") if other != path]
    if not sys.stderr.isatty():  # where there is no bar
        _say(f"encoding {len(texts):,} sentences")
    latents = _encode(model, texts)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with replacing(path) as unfinished, unfinished.open("wb") as file:
            np.save(file, latents)
        for outdated in older:
            outdated.unlink(missing_ok=True)
    except OSError:  # a folder that only others write to, or a full disk: it works without
        return latents
    changed = "; the model or the sentences had changed" if older else ""
    _say(f"kept {len(texts):,} latents for the next time in {path}{changed}")
    return latents


def _encode(model: TextAutoencoder, texts: Sequence[str]) -> Latents:
    return model.encode(texts, "truncate", show_progress_bar=True, part=model.compared_part)


def _index_folder(where: str) -> Path:
    """Return the run's folder if that was named: what lies beside a bundle may be anyone's."""
    bundle = Path(where) if is_address(where) else bundle_folder(where)
    if bundle == Path(where) / "bundle":
        return Path(where)
    place = str(where if is_address(where) else bundle.resolve())
    return default_cache_dir() / "neighbours" / _digest(place.encode())[:16]


def _read(path: Path, shape: tuple[int, int]) -> Latents | None:
    """Read an index, which may come from a stranger; None if it is none, or not of this shape."""
    size = shape[0] * shape[1] * np.dtype(np.float32).itemsize
    try:
        if not size < path.stat().st_size <= size + MAX_HEADER_BYTES:
            return None
        latents = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError):
        return None
    if latents.shape != shape or latents.dtype != np.float32 or not np.isfinite(latents).all():
        return None
    found: Latents = np.array(latents)
    return found


def _key(model: TextAutoencoder, texts: Sequence[str]) -> str:
    """Hash all that latents depend on."""
    settings = [
        __version__,
        model.autoencoder.config(),
        model.autoencoder.max_length,
        model.tokenizer.fingerprint,
        asdict(model.normalization),
    ]
    parts = [json.dumps(settings).encode()]
    for name, weight in sorted(model.autoencoder.state_dict().items()):
        data = weight.detach().cpu().reshape(-1).view(torch.uint8).numpy().tobytes()
        parts += [name.encode(), data]
    return _digest(*parts, *(text.encode("utf-8", "surrogatepass") for text in texts))[:32]


def _digest(*parts: bytes) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(f"{len(part)}:".encode())  # so that no two lists of parts look alike
        digest.update(part)
    return digest.hexdigest()


def _say(line: str) -> None:
    print(f"seqae: {line}", file=sys.stderr)
