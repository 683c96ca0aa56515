"""An LSTM encoder as a folder of sentence-transformers' own modules, compared before it is written.

What is compared is what the library makes of the folder itself, in the numbers of `encode`.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from seqae.bundle.io import load
from seqae.bundle.manifest import CARD
from seqae.bundle.text_autoencoder import TextAutoencoder
from seqae.extras import extra
from seqae.files import replace_folder, reporting
from seqae.interchange.sentence_transformers import bundle_contents, check_folder
from seqae.interchange.transformer_card import transformer_card

TOLERANCE = 1e-5  # of the largest number; what rounding has left of it was 1e-6 at most

# Beside the bundle's own sentences: an empty text, one word, other scripts and blanks.
PROBES = ("", "a", "The cat sat on the mat.", "你好,世界。", "two  blanks \u00a0 here", "ΣΑΣ 😀")


def export_native(model: TextAutoencoder | str | Path, folder: str | Path) -> Path:
    """Write a folder that `SentenceTransformer(folder)` reads without our package.

    It is for models with an `LSTMEncoder` whose pooling is `last` or `mean_max` and whose latent is
    a vector without codes or parts. Embeddings are those of `encode`, except for texts that are
    longer than the model accepts: the library cuts them without an end token.

    Args:
        model: a model, or a bundle as `seqae.load` takes it.
        folder: new, empty, or what this function wrote before.

    Returns:
        The folder.

    Raises:
        ValueError: if the library's modules cannot compute the model, or what they compute differs;
            or the folder holds something else.
        OSError: if it cannot be written; what was there is unchanged.
    """
    with extra("sentence-transformers"):
        from sentence_transformers import SentenceTransformer

    from seqae.interchange.native_modules import native_modules

    folder = Path(folder)
    check_folder(folder)
    loaded = model if isinstance(model, TextAutoencoder) else load(model)
    with tempfile.TemporaryDirectory() as temporary:
        made = SentenceTransformer(modules=native_modules(loaded), device="cpu")
        made.save_pretrained(temporary, create_model_card=False)
        check_equal(loaded, SentenceTransformer(temporary, device="cpu").encode)
        files = [path for path in Path(temporary).rglob("*") if path.is_file()]
        contents = {str(path.relative_to(temporary)): path.read_bytes() for path in files}
    card = bundle_contents(loaded if isinstance(model, TextAutoencoder) else model)[CARD]
    contents[CARD] = transformer_card(card.decode(), needs_us=False).encode()
    with reporting(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        replace_folder(folder, contents)
    return folder


def check_equal(model: TextAutoencoder, encode: object) -> None:
    """Compare what another library makes of probe texts with what the model makes of them.

    Args:
        model: that was exported.
        encode: texts to embeddings, (n, Z).

    Raises:
        ValueError: if any number differs by more than rounding.
    """
    assert callable(encode)
    texts = [*PROBES, *(row["text"] for row in model.details.get("selftest", []))]
    lengths = model.lengths(texts)
    fitting = [
        text
        for text, length in zip(texts, lengths, strict=True)
        if length <= model.autoencoder.max_length
    ]
    ours = model.encode(fitting)
    difference = np.abs(np.asarray(encode(fitting)) - ours)
    if not (difference.max() <= TOLERANCE * max(1.0, np.abs(ours).max())):
        worst = fitting[int(difference.max(axis=1).argmax())]
        raise ValueError(
            f"`model` must have the same embeddings in sentence-transformers' own modules, but "
            f"those of {worst[:40]!r} differ by {difference.max():.1e}. Use `--format "
            f"sentence-transformers`, which runs our own code."
        )
