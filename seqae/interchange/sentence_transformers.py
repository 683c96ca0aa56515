"""A model as a SentenceTransformer, in this process or as a folder for everybody.

The folder is a bundle with four more files: `modules.json`, which names our class by its path,
`config_sentence_transformers.json`, which says what must be installed, the options of our class,
and a card that says how to load it. So `seqae.load` and `seqae check` read it, too.
"""

from __future__ import annotations

import json
import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seqae.bundle.find_bundle import is_own_file
from seqae.bundle.io import load
from seqae.bundle.manifest import (
    CARD,
    EVALUATION,
    FILES,
    MANIFEST,
    ORIGIN,
    is_prior_file,
    prior_files,
)
from seqae.bundle.sharing.address import find_bundle
from seqae.bundle.text_autoencoder import TextAutoencoder
from seqae.extras import extra
from seqae.files import replace_folder, reporting
from seqae.interchange.embedded_part import EmbeddedPart, embedded_part
from seqae.interchange.output_folder import check_output_folder
from seqae.interchange.transformer_card import transformer_card
from seqae.untrusted import read_capped
from seqae.version import __version__

if TYPE_CHECKING:
    with extra("sentence-transformers"):
        from sentence_transformers import SentenceTransformer

MODULES = "modules.json"
CONFIG = "config_sentence_transformers.json"
ENCODER = "seqae.interchange.sentence_encoder.SentenceEncoder"
OPTIONS = "sentence_encoder.json"  # as `SentenceEncoder.config_file_name`
# Of both kinds of folder: ours, which is a bundle as well, and that of the library's own modules.
NAMES = (
    *(*FILES, MANIFEST, CARD, EVALUATION, ORIGIN, MODULES, CONFIG, OPTIONS),
    *("wordembedding_config.json", "tokenizer_config.json", "special_tokens_map.json"),
)
MODULE_FOLDER = re.compile(r"\d+_\w+")


def sentence_transformer(
    model: TextAutoencoder | str | Path, part: EmbeddedPart | None = None
) -> SentenceTransformer:
    """Make a SentenceTransformer of a model, for whatever takes one: mteb, BERTopic, KeyBERT.

    It computes where the model does, with the model's own weights, and cuts texts that are too long
    for it. `save_pretrained` writes a folder, too; that of `export_sentence_transformer` also has a
    card that says how it is loaded, and what must be installed.

    Args:
        model: a model, or a bundle as `seqae.load` takes it.
        part: what of a latent is the embedding: `content` or `order`, if it has such parts, or the
            `whole`; by default the content if there is one.

    Raises:
        ValueError: if the model's latents have no such part, or there is no bundle.
    """
    with extra("sentence-transformers"):
        from sentence_transformers import SentenceTransformer

    from seqae.interchange.sentence_encoder import SentenceEncoder

    loaded = model if isinstance(model, TextAutoencoder) else load(model)
    encoder = SentenceEncoder(loaded, part)
    return SentenceTransformer(modules=[encoder], device=str(loaded.device))


def export_sentence_transformer(
    model: TextAutoencoder | str | Path, folder: str | Path, part: EmbeddedPart | None = None
) -> Path:
    """Write a folder that `SentenceTransformer(folder, trust_remote_code=True)` reads.

    The library wants that flag for a folder that names a class of another package, ours. The folder
    holds JSON and safetensors and no code; what runs is the seqae that is installed.

    Args:
        model: a model, or a bundle as `seqae.load` takes it, whose files are copied.
        folder: new, empty, or what this function wrote before.
        part: as `sentence_transformer`.

    Returns:
        The folder.

    Raises:
        ValueError: as `sentence_transformer`, or if the folder holds something else.
        OSError: if it cannot be written; what was there is unchanged.
    """
    folder = Path(folder)
    check_folder(folder)
    loaded = model if isinstance(model, TextAutoencoder) else load(model)
    options = {
        "part": embedded_part(loaded, part),
        "max_seq_length": loaded.autoencoder.max_length,
    }
    contents = bundle_contents(loaded if isinstance(model, TextAutoencoder) else model)
    contents[CARD] = transformer_card(contents[CARD].decode(), needs_us=True).encode()
    contents[OPTIONS] = _to_json(options)
    contents[MODULES] = _to_json([{"idx": 0, "name": "0", "path": "", "type": ENCODER}])
    contents[CONFIG] = _to_json(model_config())
    with reporting(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        replace_folder(folder, contents)
    return folder


def model_config() -> dict[str, Any]:
    """Return what `config_sentence_transformers.json` says of the whole."""
    return {
        "model_type": "SentenceTransformer",
        "prompts": {"query": "", "document": ""},
        "default_prompt_name": None,
        "similarity_fn_name": "cosine",
        "requirements": {"seqae": f">={__version__}", "sentence-transformers": ">=6"},
    }


def check_folder(folder: Path) -> None:
    """Refuse to replace what is no folder for sentence-transformers, or has files of others.

    Raises:
        ValueError: if it holds something else.
    """
    wanted = "new, empty or one for sentence-transformers"
    check_output_folder(folder, CONFIG, _is_known, "folder", wanted)


def _is_known(name: str) -> bool:
    return name in NAMES or is_prior_file(name) or MODULE_FOLDER.fullmatch(name) is not None


def bundle_contents(model: TextAutoencoder | str | Path) -> dict[str, bytes]:
    """Read the files of a bundle, or write those of a model, by name."""
    if isinstance(model, TextAutoencoder):
        with tempfile.TemporaryDirectory() as temporary:
            return bundle_contents(model.save(Path(temporary) / "bundle"))
    folder = find_bundle(model).folder
    names = [*FILES, *prior_files(folder), MANIFEST]
    contents = {name: (folder / name).read_bytes() for name in names}
    card = folder / CARD  # which no manifest holds to anything: a link may lead to a secret
    is_there = card.is_file() and is_own_file(card)
    return {**contents, CARD: read_capped(card) if is_there else b""}


def _to_json(value: Any) -> bytes:
    return (json.dumps(value, indent=2) + "\n").encode()
