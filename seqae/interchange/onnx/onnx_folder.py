"""export_onnx: a folder of three graphs, the tokenizer, what to know about them, and a runner.

    encoder.onnx        token_ids, lengths -> latents
    decoder_init.onnx   latents -> the decoder's first state
    decoder_step.onnx   token, state -> logits, state
    tokenizer.json      text to token ids and back
    onnx.json           sizes, special ids, normalization, hashes, and how closely the graphs agree
    run.py              encodes and decodes with onnxruntime, tokenizers and numpy alone

Any runtime of ONNX can load the graphs, and who only encodes needs the first alone.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from seqae.bundle.text_autoencoder import TextAutoencoder
from seqae.extras import installed_version
from seqae.files import replace_folder, reporting
from seqae.interchange.onnx import agreement
from seqae.interchange.onnx.decoder_graphs import graphs_of
from seqae.interchange.onnx.graph import OPSET
from seqae.interchange.onnx.model_graphs import write_graphs
from seqae.interchange.output_folder import check_output_folder
from seqae.version import __version__

FORMAT = 1
ABOUT, TOKENIZER, RUNNER = "onnx.json", "tokenizer.json", "run.py"
GRAPHS = ("encoder", "decoder_init", "decoder_step")
NAMES = (*(f"{name}.onnx" for name in GRAPHS), ABOUT, TOKENIZER, RUNNER)


def export_onnx(model: TextAutoencoder, folder: str | Path) -> dict[str, Any]:
    """Write a model as ONNX, once its graphs have given what the model gives.

    Both run on random tokens, in right-padded batches of 1 and 5 rows of up to 1, 2, 7 and 64
    tokens; latents and logits may differ by at most 1e-4 of the largest.

    Args:
        model: from `seqae.load`.
        folder: new, empty, or an earlier export, which is replaced.

    Returns:
        What onnx.json holds.

    Raises:
        ValueError: if the folder holds something else, the model has a part that cannot be written
            as ONNX, or a graph differs from it. Nothing is written then.
        OSError: if the folder cannot be written; an export that was there is unchanged.
    """
    folder = Path(folder)
    check_output_folder(folder, ABOUT, NAMES.__contains__)
    about = describe(model)
    metadata = {key: _to_text(value) for key, value in about.items()}
    graphs = write_graphs(model.autoencoder, metadata)
    differences = agreement.largest_differences(model.autoencoder, graphs)
    examples = [row["text"] for row in model.details.get("selftest", [])]
    agreement.check_tokenizer(model.tokenizer, [model.normalization(text) for text in examples])
    contents = {f"{name}.onnx": data for name, data in graphs.items()}
    contents[TOKENIZER] = model.tokenizer.to_json().encode()
    contents[RUNNER] = Path(__file__).with_name("onnx_runner.py").read_bytes()
    about["largest_difference"] = {name: float(f"{d:.2g}") for name, d in differences.items()}
    about["compared_with"] = {
        package: installed_version(package) for package in ("torch", "onnxruntime")
    }
    about["sha256"] = {name: hashlib.sha256(data).hexdigest() for name, data in contents.items()}
    contents[ABOUT] = (json.dumps(about, indent=2, ensure_ascii=False) + "\n").encode()
    with reporting(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        replace_folder(folder, contents)
    return about


def describe(model: TextAutoencoder) -> dict[str, Any]:
    """Say what a runner must know of a model; the metadata of each graph has it, too."""
    autoencoder = model.autoencoder
    assert autoencoder.vocabulary is not None
    parts = autoencoder.encoder, autoencoder.latent, autoencoder.decoder
    return {
        "format": FORMAT,
        "seqae": __version__,
        "opset": OPSET,
        "parts": [type(part).__name__ for part in parts],
        "latent_dim": model.latent_dim,
        "latent_parts": {
            name: [columns.start, columns.stop] for name, columns in autoencoder.parts.items()
        },
        "max_length": autoencoder.max_length,
        "vocabulary": asdict(autoencoder.vocabulary),
        "unk_text": model.tokenizer.unk_text,
        "normalization": asdict(model.normalization),
        "tokenizer_sha256": model.tokenizer.fingerprint,
        "reads_noise": autoencoder.latent_noise is not None,
        "state": [part.name for part in graphs_of(autoencoder).state()],
    }


def _to_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
