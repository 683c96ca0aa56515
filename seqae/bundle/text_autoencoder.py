"""TextAutoencoder: texts in, texts out; `seqae.load(where)` returns one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, SupportsIndex, final, overload

import numpy as np
import torch
from torch import Tensor
from typing_extensions import override

from seqae.bundle.codec import check_lengths, cut_rows, encode_rows
from seqae.bundle.operations.document_vectors import DocumentOperations
from seqae.bundle.operations.latent_ops import Latents
from seqae.bundle.operations.pictures import PictureOperations
from seqae.bundle.operations.summaries import SummaryOperations
from seqae.bundle.operations.text_operations import Part, TooLong
from seqae.component import check_choice
from seqae.data.containers import read_texts
from seqae.data.sentences.cleaning import Normalization
from seqae.data.tokenizers import Tokenizer
from seqae.model.autoencoder import SequenceAutoencoder
from seqae.model.int8 import ComputeType, check_int8
from seqae.priors import Prior

if TYPE_CHECKING:  # which import lightning
    from seqae.data.datamodule import TextDataModule
    from seqae.training.module import AutoencoderModule


@final
class TextAutoencoder(DocumentOperations, SummaryOperations, PictureOperations):
    """A trained model with its tokenizer.

    Texts may be a list, a tuple, a Series, an array, a column of a data set or an iterator; one
    text that is not in a list gives one latent, and one latent gives one text. Latents may be
    arrays, tensors or lists. Many methods share these parameters:

    - `options` control the decoding, which is greedy by default; so do keywords such as
      `temperature=0.8`, which win over them. `Decoding` has them all.
    - `seed` seeds all random draws.
    - `too_long` says whether a text with more tokens than the model accepts is an `error` or is cut
      (`truncate`).
    - `batch_size` is how many are computed at once; by default what has measured fast. It does not
      change the results, except for rounding.
    - `show_progress_bar` shows a bar on a terminal if it takes longer than two seconds.

    Args:
        autoencoder: a built model.
        tokenizer: the tokenizer that it was trained with.
        details: the bundle's other JSON files, by name.
        normalization: what was done to the training text; it is done to texts before encoding.
        priors: fitted to the training latents, to sample from, by kind.
    """

    def __init__(
        self,
        autoencoder: SequenceAutoencoder,
        tokenizer: Tokenizer,
        details: dict[str, Any] | None = None,
        normalization: Normalization = Normalization(),  # noqa: B008 - it is frozen
        priors: Mapping[str, Prior] | None = None,
    ) -> None:
        self.autoencoder, self.tokenizer = autoencoder, tokenizer
        self.details = details or {}
        self.normalization, self.priors = normalization, dict(priors or {})
        self.origin: str | None = None  # the address and commit that it was loaded from

    # What these call imports this module, and so is imported here.

    @staticmethod
    def from_pretrained(
        where: str | Path,
        device: str | torch.device = "cpu",
        revision: str | None = None,
        local_files_only: bool = False,
        compute_type: ComputeType = "float32",
    ) -> TextAutoencoder:
        """Load a bundle; the same as `seqae.load`, which describes the arguments.

        Raises:
            ValueError: if it is no bundle or is damaged; nothing in it was run.
            OSError: if it cannot be fetched.
        """
        from seqae.bundle.io import load

        how: Any = {"revision": revision, "local_files_only": local_files_only}
        return load(where, device, compute_type=compute_type, **how)

    @staticmethod
    def from_module(module: AutoencoderModule, data: TextDataModule) -> TextAutoencoder:
        """Use a model that a Trainer has trained, without a copy of its weights.

        Args:
            module: after `trainer.fit`.
            data: the data module that it was trained with.

        Raises:
            ValueError: if the module has not been trained, or with a tokenizer of another size.
        """
        from seqae.bundle.from_training import from_training

        return from_training(module, data)

    def save(self, folder: str | Path, examples: bool = True) -> Path:
        """Write a bundle: a folder to share, which `seqae.load` and the command read.

        Args:
            folder: new, empty, or a bundle, which is replaced.
            examples: False leaves out the sentences of its data, and the prior that holds their
                latents; sentences of seqae's own take their place.

        Returns:
            The folder.

        Raises:
            ValueError: if the folder holds something else, or a weight is not finite.
            OSError: if it cannot be written; a bundle that was there is unchanged.
        """
        from seqae.bundle.save import save

        return save(self, Path(folder), examples)

    def push_to_hub(
        self,
        repository: str,
        private: bool = False,
        revision: str | None = None,
        create_pr: bool = False,
        message: str | None = None,
        examples: bool = True,
    ) -> str:
        """Send it to the Hugging Face hub as a bundle, after the check of `seqae check`.

        Args:
            repository: `OWNER/NAME`, with or without `hf:`; it is made if there is none.
            private: make a repository that others cannot see.
            revision: a branch to push to, which is made if there is none; by default the main one.
            create_pr: propose it as a pull request instead.
            message: of the commit.
            examples: as in `save`.

        Returns:
            The address at the commit, `hf:OWNER/NAME@COMMIT`, as `seqae.load` takes it.

        Raises:
            ValueError: if its self-test is not reproduced, or a weight is not finite.
            OSError: if the repository may not be written, or the hub cannot be reached.
        """
        from seqae.bundle.sharing.push_model import push_model

        return push_model(self, repository, private, revision, create_pr, message, examples)

    @property
    @override
    def latent_dim(self) -> int:
        """Z, the size of a latent."""
        return self.autoencoder.latent_dim

    @property
    def device(self) -> torch.device:
        """Where the model computes."""
        return next(self.autoencoder.parameters()).device

    def to(self, device: str | torch.device) -> TextAutoencoder:
        """Move the model to a device and return it.

        Args:
            device: by its name in torch, such as `cuda`; `auto` takes a GPU if there is one.

        Raises:
            ValueError: if this machine has no such device, or the weights are in 8 bits.
        """
        if self.autoencoder.is_int8:
            check_int8(device)
            return self
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        try:
            torch.zeros((), device=device).item()  # fails on `meta`, which holds no numbers
            self.autoencoder.to(device)
        except (RuntimeError, AssertionError) as error:
            raise ValueError(
                f"`device` must be one that this machine has, but it is {device} instead "
                f"({str(error).splitlines()[0]}). Choose cpu, or auto."
            ) from error
        return self

    def __repr__(self) -> str:
        parts = self.autoencoder.encoder, self.autoencoder.latent, self.autoencoder.decoder
        weights = sum(weight.numel() for weight in self.autoencoder.parameters())
        return (
            f"TextAutoencoder({' · '.join(type(part).__name__ for part in parts)}, "
            f"latent_dim={self.latent_dim}, max_length={self.autoencoder.max_length}, "
            f"{type(self.tokenizer).__name__} of {self.tokenizer.vocab_size:,} tokens, "
            f"{weights:,} weights, device={self.device})"
        )

    @overload
    def encode(
        self,
        texts: Any,
        too_long: TooLong = "error",
        *,
        batch_size: SupportsIndex | None = None,
        show_progress_bar: bool = False,
        normalize: bool = False,
        part: Part | None = None,
        convert_to_tensor: Literal[False] = False,
    ) -> Latents: ...

    @overload
    def encode(
        self,
        texts: Any,
        too_long: TooLong = "error",
        *,
        batch_size: SupportsIndex | None = None,
        show_progress_bar: bool = False,
        normalize: bool = False,
        part: Part | None = None,
        convert_to_tensor: Literal[True],
    ) -> Tensor: ...

    def encode(
        self,
        texts: Any,
        too_long: TooLong = "error",
        *,
        batch_size: SupportsIndex | None = None,
        show_progress_bar: bool = False,
        normalize: bool = False,
        part: Part | None = None,
        convert_to_tensor: bool = False,
    ) -> Latents | Tensor:
        """Encode n texts to latents, (n, Z) float32 in their order, or one text to (Z,).

        Args:
            texts: as the class says.
            too_long: as the class says.
            batch_size: texts encoded at once; by default as many as 8,192 tokens hold.
            show_progress_bar: as the class says.
            normalize: divide each latent by its norm, so that products are cosines. Such latents
                are for comparison; decode those that are as they were encoded.
            part: `content` or `order` returns this part of the latents alone, (n, C) or (n, Z - C);
                by default they are whole.
            convert_to_tensor: return a tensor on the model's device, not an array.

        Raises:
            ValueError: if a text is too long and `too_long` is `error`, a latent is not finite, or
                the latent has no parts.
        """
        texts, is_one = read_texts("texts", texts)
        columns = self.columns(part)
        check_choice("too_long", too_long, ("error", "truncate"))
        rows = self._tokenize(texts)
        if too_long == "error":
            check_lengths(rows, texts, self.autoencoder.max_length)
        rows = cut_rows(rows, self.autoencoder.max_length, self.tokenizer.eos_id)
        latents = encode_rows(self.autoencoder, rows, batch_size, show_progress_bar)[:, columns]
        if normalize:
            latents /= np.maximum(np.linalg.norm(latents, axis=1, keepdims=True), 1e-12)
        found: Latents = latents[0] if is_one else latents
        return torch.from_numpy(found).to(self.device) if convert_to_tensor else found

    @override
    def _tokenize_word(self, word: str) -> list[list[int]]:
        """Tokenize a word at the beginning of a text and after a blank."""
        word = self.normalization(word)
        ((_, *first, _),) = self.tokenizer.encode([word])
        rows = [first, *self.tokenizer.encode_inside([word, f" {word}"])]
        return [row for row in rows if self.tokenizer.unk_id not in row]
