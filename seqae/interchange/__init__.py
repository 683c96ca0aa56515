"""What other libraries take our models as.

embedded_part.py           which part of a latent is an embedding
sentence_encoder.py        the module that sentence-transformers runs
sentence_transformers.py   a SentenceTransformer of a model, and the folder of one
native_folder.py           the folder of an LSTM encoder in that library's own modules
transformer_card.py        the model card of such a folder
onnx/                      a folder of graphs that needs neither torch nor seqae
output_folder.py           what may be replaced

These names are imported on first use, which imports the other library.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from seqae.interchange.native_folder import export_native as export_native
    from seqae.interchange.onnx.onnx_folder import export_onnx as export_onnx
    from seqae.interchange.sentence_transformers import (
        export_sentence_transformer as export_sentence_transformer,
    )
    from seqae.interchange.sentence_transformers import sentence_transformer as sentence_transformer

_HOME = {
    "export_native": "seqae.interchange.native_folder",
    "export_onnx": "seqae.interchange.onnx.onnx_folder",
    "export_sentence_transformer": "seqae.interchange.sentence_transformers",
    "sentence_transformer": "seqae.interchange.sentence_transformers",
}

__all__ = ["export_native", "export_onnx", "export_sentence_transformer", "sentence_transformer"]

if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        if name not in _HOME:
            raise AttributeError(f"module 'seqae.interchange' has no attribute {name!r}")
        return getattr(import_module(_HOME[name]), name)
