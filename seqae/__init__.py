"""seqae: compress sentences into vectors and reconstruct them.

The public names are loaded on first use, so that `import seqae` costs next to nothing and imports
neither torch nor lightning.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from seqae.version import __version__ as __version__

if TYPE_CHECKING:
    from seqae.bundle.text_autoencoder import TextAutoencoder, load
    from seqae.data.datamodule import TextDataModule
    from seqae.model.autoencoder import SequenceAutoencoder
    from seqae.training.module import AutoencoderModule

_HOME = {
    "load": "seqae.bundle.text_autoencoder",
    "TextAutoencoder": "seqae.bundle.text_autoencoder",
    "TextDataModule": "seqae.data.datamodule",
    "SequenceAutoencoder": "seqae.model.autoencoder",
    "AutoencoderModule": "seqae.training.module",
}

__all__ = [
    "AutoencoderModule",
    "SequenceAutoencoder",
    "TextAutoencoder",
    "TextDataModule",
    "load",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'seqae' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])
