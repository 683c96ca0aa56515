"""Compress sentences into vectors and reconstruct them.

    >>> import seqae
    >>> model = seqae.load("runs/seqae/RUN")
    >>> latents = model.encode(["the cat sat on the mat"])
    >>> model.decode(latents)
    ['the cat sat on the mat']

fit                  train a model on sentences, by a recipe; as the command `seqae fit` does
load                 load a trained model from a bundle or the folder of a run
TextAutoencoder      a trained model with its tokenizer: encode, decode, sample, interpolate ...
Decoding             how latents are decoded: greedily, by beam search, by drawing tokens
between              latents on the path between two
SequenceAutoencoder  the model alone, in pure torch: token ids to logits
TextDataModule       text files to batches, a LightningDataModule
AutoencoderModule    the training of a SequenceAutoencoder, a LightningModule

These names are imported on first use: `import seqae` takes no time and imports neither torch nor
lightning. The command `seqae --help` lists what can be done from a shell.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from seqae.version import __version__ as __version__

if TYPE_CHECKING:
    from seqae.batch import Batch
    from seqae.bundle.io import load
    from seqae.bundle.latent_ops import between
    from seqae.bundle.text_autoencoder import TextAutoencoder
    from seqae.data.batching import collate
    from seqae.data.datamodule import TextDataModule
    from seqae.generation.options import Decoding
    from seqae.model.autoencoder import SequenceAutoencoder
    from seqae.training.fit import fit
    from seqae.training.module import AutoencoderModule

_HOME = {
    "Batch": "seqae.batch",
    "collate": "seqae.data.batching",
    "load": "seqae.bundle.io",
    "between": "seqae.bundle.latent_ops",
    "Decoding": "seqae.generation.options",
    "TextAutoencoder": "seqae.bundle.text_autoencoder",
    "TextDataModule": "seqae.data.datamodule",
    "SequenceAutoencoder": "seqae.model.autoencoder",
    "AutoencoderModule": "seqae.training.module",
    "fit": "seqae.training.fit",
}

__all__ = [
    "AutoencoderModule",
    "Batch",
    "Decoding",
    "SequenceAutoencoder",
    "TextAutoencoder",
    "TextDataModule",
    "between",
    "collate",
    "fit",
    "load",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'seqae' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])
