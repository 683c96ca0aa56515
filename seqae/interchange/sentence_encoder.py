"""SentenceEncoder: the module by which sentence-transformers runs our encoder.

A folder for sentence-transformers names this class by its path in `modules.json`, so that the path
must stay as it is. The folder is also a bundle: the class reads that, by the same checks as
`seqae.load`, and a JSON file with the options of its own.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any, final

from torch import Tensor
from typing_extensions import override

from seqae.batch import Batch
from seqae.bundle.codec import cut_rows
from seqae.bundle.io import load
from seqae.bundle.manifest import prior_files
from seqae.bundle.text_autoencoder import TextAutoencoder
from seqae.component import check_whole
from seqae.data.batches.padding import collate
from seqae.extras import extra
from seqae.interchange.embedded_part import EmbeddedPart, columns, embedded_part
from seqae.untrusted import load_json, read_capped

with extra("sentence-transformers"):
    from sentence_transformers.base.modules import InputModule
    from sentence_transformers.util import load_dir_path

OPTIONS = "sentence_encoder.json"


@final
class SentenceEncoder(InputModule):  # type: ignore[misc] # the library is not typed for us
    """Texts to latents, as the only module of a SentenceTransformer.

    The weights are the model's own, not a copy of them: training the SentenceTransformer trains the
    model.

    Args:
        model: a trained model.
        part: as `sentence_transformer`.
        max_seq_length: as the attribute; by default as many as the model accepts.

    Attributes:
        max_seq_length: most tokens of a text, bos and eos counted; longer ones are cut.
    """

    config_file_name = OPTIONS
    config_keys = ["part", "max_seq_length"]

    def __init__(
        self,
        model: TextAutoencoder,
        part: EmbeddedPart | None = None,
        max_seq_length: int | None = None,
    ) -> None:
        super().__init__()
        self.model = model
        self.autoencoder = model.autoencoder  # a submodule, which moves with the others
        self.part = embedded_part(model, part)
        self.max_seq_length = model.autoencoder.max_length
        if max_seq_length is not None:
            self.max_seq_length = max_seq_length

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an attribute; users set `max_seq_length` of the SentenceTransformer at any time."""
        if name == "max_seq_length":
            value = check_whole("max_seq_length", value, 3, self.model.autoencoder.max_length)
        super().__setattr__(name, value)

    @property
    def tokenizer(self) -> Any:
        """The model's tokenizer."""
        return self.model.tokenizer

    @override
    def preprocess(
        self, inputs: list[str], prompt: str | None = None, **kwargs: Any
    ) -> dict[str, Tensor]:
        """Tokenize, cut and pad texts, in the library's names for ids and mask."""
        texts = self._prepend_prompt(inputs, prompt) if prompt else inputs
        rows = self.model.tokenizer.encode([self.model.normalization(text) for text in texts])
        rows = cut_rows(rows, self.max_seq_length, self.model.tokenizer.eos_id)
        batch = collate(rows, self.model.tokenizer.vocabulary)
        return {"input_ids": batch.token_ids, "attention_mask": batch.mask.long()}

    @override
    def forward(self, features: dict[str, Tensor], **kwargs: Any) -> dict[str, Tensor]:
        """Add `sentence_embedding`, (B, D) float32."""
        batch = Batch(features["input_ids"], features["attention_mask"].sum(dim=1))
        latent = self.autoencoder.encode(batch).latent.float()
        features["sentence_embedding"] = latent[:, self._columns]
        return features

    def get_embedding_dimension(self) -> int:
        """Count the numbers of an embedding."""
        return len(range(self.model.latent_dim)[self._columns])

    @property
    def _columns(self) -> slice:
        return columns(self.model, self.part)

    @override
    def save(self, output_path: str, *args: Any, **kwargs: Any) -> None:
        """Write the bundle and the options into a folder that may have other files.

        Raises:
            ValueError: as `TextAutoencoder.save`.
            OSError: if it cannot be written.
        """
        with tempfile.TemporaryDirectory(dir=output_path) as beside:
            bundle = self.model.save(Path(beside) / "bundle")
            for name in prior_files(Path(output_path)):  # those of an older model
                (Path(output_path) / name).unlink()
            for path in bundle.iterdir():
                os.replace(path, Path(output_path) / path.name)
        self.save_config(output_path)

    @classmethod
    @override
    def load(
        cls,
        model_name_or_path: str,
        subfolder: str = "",
        token: bool | str | None = None,
        cache_folder: str | None = None,
        revision: str | None = None,
        local_files_only: bool = False,
        **kwargs: Any,
    ) -> SentenceEncoder:
        """Read the bundle of a folder or a repository; nothing in it is run.

        Raises:
            ValueError: if it is no bundle, or a file of it is not what its manifest says.
        """
        folder = load_dir_path(
            model_name_or_path,
            subfolder,
            token=token,
            cache_folder=cache_folder,
            revision=revision,
            local_files_only=local_files_only,
        )
        if folder is None:
            raise ValueError(
                f"`model_name_or_path` must be a folder or a repository of the hub, but "
                f"{model_name_or_path} is neither. Check the path."
            )
        return cls(load(folder), **read_options(Path(folder) / OPTIONS))


def read_options(path: Path) -> dict[str, Any]:
    """Read the options of a SentenceEncoder, which may come from a stranger.

    Raises:
        ValueError: if the file is not what `SentenceEncoder.save` writes.
    """
    options = load_json(read_capped(path))
    if not isinstance(options, dict) or set(options) != set(SentenceEncoder.config_keys):
        raise ValueError(
            f"{path} must be JSON with {' and '.join(SentenceEncoder.config_keys)}, but it is "
            f"{str(options)[:80]} instead. Get the folder again."
        )
    return options
