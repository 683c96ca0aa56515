"""Compress sentences into vectors and reconstruct them.

    >>> import seqae
    >>> model = seqae.fit(["the cat sat on the mat", "a dog ran home", ...], max_steps=2000)
    >>> model = seqae.load("runs/seqae/RUN")  # or a bundle that somebody gave you
    >>> latent = model.encode("the cat sat on the mat")
    >>> model.decode(latent)
    'the cat sat on the mat'

Train and use a model:

    fit                  train on sentences, by a recipe, as the command `seqae fit` does
    load                 load a trained model from a bundle or the folder of a run
    TextAutoencoder      a trained model with its tokenizer: encode, decode, sample, save ...
    LongLatents          a latent for each stretch of long texts, of TextAutoencoder.encode_long
    Candidate            a text and its score, of TextAutoencoder.candidates
    Neighbour            a text and its similarity, of TextAutoencoder.neighbours
    Decoding             how latents are decoded: greedily, by beam search, by drawing tokens
    between              latents on the path between two
    nearest              the nearest latents among many

Train in a script of your own:

    TextDataModule       text to batches, a LightningDataModule
    AutoencoderModule    the training of a SequenceAutoencoder, a LightningModule
    SequenceAutoencoder  the model alone, in pure torch: token ids to logits
    Batch                padded sentences, as the model takes them
    collate              token ids to a Batch

The parts (encoders, latents, decoders, objectives, tokenizers) are in seqae.model, seqae.objectives
and seqae.data.tokenizers; seqae.sklearn has a transformer for scikit-learn. docs/api.md lists all.

These names are imported on first use: `import seqae` takes no time and imports neither torch nor
lightning. The command `seqae --help` lists what can be done from a shell.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from seqae.version import __version__ as __version__

# There is no `__all__`: `help(seqae)` would show all that these classes inherit from Lightning.
if TYPE_CHECKING:
    from seqae.batch import Batch as Batch
    from seqae.bundle.io import load as load
    from seqae.bundle.operations.latent_ops import between as between
    from seqae.bundle.operations.latent_ops import nearest as nearest
    from seqae.bundle.operations.long_texts import LongLatents as LongLatents
    from seqae.bundle.operations.text_decoding import Candidate as Candidate
    from seqae.bundle.operations.text_operations import Neighbour as Neighbour
    from seqae.bundle.text_autoencoder import TextAutoencoder as TextAutoencoder
    from seqae.data.batches.padding import collate as collate
    from seqae.data.datamodule import TextDataModule as TextDataModule
    from seqae.generation.options import Decoding as Decoding
    from seqae.model.autoencoder import SequenceAutoencoder as SequenceAutoencoder
    from seqae.training.fit import fit as fit
    from seqae.training.module import AutoencoderModule as AutoencoderModule

_HOME = {
    "AutoencoderModule": "seqae.training.module",
    "Batch": "seqae.batch",
    "Candidate": "seqae.bundle.operations.text_decoding",
    "Decoding": "seqae.generation.options",
    "LongLatents": "seqae.bundle.operations.long_texts",
    "Neighbour": "seqae.bundle.operations.text_operations",
    "SequenceAutoencoder": "seqae.model.autoencoder",
    "TextAutoencoder": "seqae.bundle.text_autoencoder",
    "TextDataModule": "seqae.data.datamodule",
    "between": "seqae.bundle.operations.latent_ops",
    "collate": "seqae.data.batches.padding",
    "fit": "seqae.training.fit",
    "load": "seqae.bundle.io",
    "nearest": "seqae.bundle.operations.latent_ops",
}


if not TYPE_CHECKING:  # or a type checker would take every name for one of these

    def __getattr__(name: str) -> Any:
        if name not in _HOME:
            raise AttributeError(f"module 'seqae' has no attribute {name!r}")
        return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])
