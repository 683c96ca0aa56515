"""from_training: the model that a Trainer has trained, as a TextAutoencoder."""

from __future__ import annotations

from typing import TYPE_CHECKING

from seqae.bundle.text_autoencoder import TextAutoencoder
from seqae.data.sources.discovery import without_path

if TYPE_CHECKING:  # which import lightning
    from seqae.data.datamodule import TextDataModule
    from seqae.training.module import AutoencoderModule

SELFTEST_SENTENCES = 8


def from_training(module: AutoencoderModule, data: TextDataModule) -> TextAutoencoder:
    """Use a trained model without a copy; see `TextAutoencoder.from_module`.

    Args:
        module: after `trainer.fit`.
        data: the data module that it was trained with; it gives the sentences of the self-test.
    """
    if module.autoencoder.vocabulary is None:
        raise ValueError(
            "`module` must be trained, but its model has no weights yet. Call "
            "`trainer.fit(module, datamodule=data)` first."
        )
    size, wanted = module.autoencoder.vocabulary.size, data.vocabulary.size
    if module.autoencoder.vocabulary != data.vocabulary:
        raise ValueError(
            f"`data` must be what `module` was trained with, but its tokenizer has {wanted:,} "
            f"tokens instead of {size:,}, or other special ones. Give the data module of that "
            f"training."
        )
    normalization = data.cleaning.normalization
    module.unsharded.autoencoder.longest_target = data.corpora["train"].longest_target
    known = {"training": {"is_paired": data.is_paired}}
    model = TextAutoencoder(
        module.unsharded.autoencoder, data.tokenizer, known, normalization=normalization
    )
    corpus = data.corpora["val" if len(data.corpora["val"]) else "train"]
    rows = [corpus[int(index)].tolist() for index in corpus.spread(SELFTEST_SENTENCES)]
    texts = data.tokenizer.decode(rows)
    decoded = model.reconstruct(texts, too_long="truncate")
    model.details = {
        "metrics": module.measured,
        "training": {
            "data": ", ".join(map(without_path, data.source_names["train"])),
            "is_paired": data.is_paired,
            "config": {"data": {"too_long": data.too_long}},
        },
        "selftest": [
            {"text": text, "reconstruction": reconstruction}
            for text, reconstruction in zip(texts, decoded, strict=True)
        ],
    }
    return model
