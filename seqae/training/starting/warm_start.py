"""WarmStart: a bundle's weights, for a training that goes on from them with new data."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, NoReturn

import torch
from torch import Tensor, nn

from seqae.bundle.io import load
from seqae.bundle.manifest import MANIFEST
from seqae.bundle.sharing.address import find_bundle
from seqae.bundle.text_autoencoder import TextAutoencoder
from seqae.bundle.weights import WithoutInit
from seqae.data.datamodule import TextDataModule
from seqae.data.sources.discovery import without_path
from seqae.data.tokenizers import Tokenizer
from seqae.model.autoencoder import SequenceAutoencoder
from seqae.remote.url import is_url
from seqae.training.checkpoints.resume import differences
from seqae.training.starting.bundle_settings import PART_OF, check_parts, part_of_weight

if TYPE_CHECKING:
    from lightning.pytorch import Trainer

# Arguments that say how a part is trained, and not what it computes.
FREE = (
    *("dropout", "embedding_dropout", "nested_dropout", "train_embedding"),
    *("share", "blank"),  # of latent_noise
    *("commitment", "decay", "restart_below"),  # of VectorQuantisedLatent
)


@dataclass(frozen=True)
class WarmStart:
    """A bundle that a training starts from.

    Attributes:
        name: of the bundle, without its path; an address names the commit.
        sha256: of its manifest, which has the hash of each file.
        parts: of the model that are taken; all if there are none.
        bundle: the model itself.
    """

    name: str
    sha256: str
    parts: tuple[str, ...]
    bundle: TextAutoencoder

    @classmethod
    def read(cls, where: str, parts: Sequence[str] = ()) -> WarmStart:
        """Read a bundle.

        Args:
            where: a bundle's folder, the folder of a run, `demo`, or an address.
            parts: names of those to take.

        Raises:
            ValueError: if it is no bundle, is damaged, or has no such part.
            OSError: if it cannot be fetched.
        """
        found = find_bundle(where, "init")
        # Its origin is only what its folder says of itself, and may be anywhere.
        bundle = load(found.folder, with_priors=False)
        check_parts(bundle, parts)
        digest = hashlib.sha256((found.folder / MANIFEST).read_bytes()).hexdigest()
        is_public = found.origin is not None and not is_url(found.origin)  # a bucket is like a path
        name = found.origin if is_public else without_path(where)
        return cls(str(name), digest, tuple(parts), bundle)

    @property
    def record(self) -> dict[str, Any]:
        """What the run and its bundle keep of it: plain data, and no path."""
        return {"bundle": self.name, "sha256": self.sha256, "parts": [*self.parts] or "all"}

    def takes(self, name: str) -> bool:
        """Say whether a weight of this name is taken from the bundle."""
        return not self.parts or part_of_weight(name) in self.parts

    def check(self, model: SequenceAutoencoder, data: TextDataModule) -> None:
        """Refuse settings that contradict the bundle; have the data use its tokenizer.

        Args:
            model: which is to have the weights; it need not be built.
            data: before it is prepared.

        Raises:
            ValueError: naming both.
        """
        self._check_tokenizer(data.tokenizer)
        data.tokenizer = self.bundle.tokenizer
        wanted = asdict(self.bundle.normalization)
        for name, found in asdict(data.cleaning.normalization).items():
            if found != wanted[name]:
                self._refuse(f"data.cleaning.{name}", wanted[name], found)
        old, new = (part.config()["init_args"] for part in (self.bundle.autoencoder, model))
        for key, before, now in differences(old, new):
            part = PART_OF.get(key.partition(".")[0])
            if self.parts and part not in self.parts:
                continue
            if key.rpartition(".")[2] not in FREE or before is None:
                self._refuse(f"model.autoencoder.{key}", before, now)
        with torch.device("meta"), WithoutInit():
            blank = SequenceAutoencoder.from_config(model.config())
            blank.build(self.bundle.tokenizer.vocabulary, data.max_length)
        self._fitted(blank)

    def _check_tokenizer(self, given: Tokenizer) -> None:
        own = self.bundle.tokenizer
        for key, before, now in differences(own.config(), given.config()):
            self._refuse(f"data.tokenizer.{key}", before, now)
        if given.is_trained and given.fingerprint != own.fingerprint:
            self._refuse("data.tokenizer", "the tokenizer", "another one")

    def _refuse(self, key: str, wanted: object, found: object) -> NoReturn:
        raise ValueError(
            f"`{key}` must be {wanted} as in the bundle {self.name}, but it is {found} instead. "
            f"Leave it out, or train without `init`."
        )

    def _fitted(self, model: nn.Module) -> dict[str, Tensor]:
        """Return the bundle's weights in the model's shapes: more positions share the last vector.

        That is what the bundle itself does with positions beyond its `max_length`.
        """
        weights = {
            name: weight
            for name, weight in self.bundle.autoencoder.state_dict().items()
            if self.takes(name)
        }
        expected = model.state_dict()
        extra = getattr(model, "max_length", 0) - self.bundle.autoencoder.max_length
        for name, weight in weights.items():
            shape = expected[name].shape if name in expected else None
            if shape == weight.shape:
                continue
            if shape is None or shape[1:] != weight.shape[1:] or len(shape) != 2:
                self._refuse_shape(name, weight, shape)
            if shape[0] - len(weight) != extra or "positions" not in name:
                self._refuse_shape(name, weight, shape)
            rows = torch.arange(shape[0]).clamp(max=len(weight) - 1)
            weights[name] = weight[rows]
        return weights

    def _refuse_shape(self, name: str, weight: Tensor, shape: object) -> NoReturn:
        longest = self.bundle.autoencoder.max_length
        raise ValueError(
            f"`{name}` of the model must be {tuple(weight.shape)} as in the bundle {self.name}, "
            f"which was trained with `data.max_length` {longest}, but it is "
            f"{tuple(shape) if isinstance(shape, torch.Size) else 'missing'} instead. Set that, or "
            f"leave out what changes the model."
        )

    def load_into(self, model: SequenceAutoencoder, trainer: Trainer) -> None:
        """Give a model the weights.

        Args:
            model: built, on the CPU.
            trainer: of the training.

        Raises:
            ValueError: if another process has found another bundle under this name.
        """
        if trainer.strategy.broadcast(self.sha256) != self.sha256:
            raise ValueError(
                f"`init` must be the same bundle for all processes, but process "
                f"{trainer.global_rank} has found another {self.name}. Copy it to each machine."
            )
        weights = self._fitted(model)
        rest = [name for name in model.state_dict() if name not in weights]
        model.load_state_dict(weights, strict=False)
        if trainer.is_global_zero:
            total = sum(weight.numel() for weight in weights.values())
            anew = sorted({part_of_weight(name) for name in rest})
            print(
                f"started from {self.name} (manifest {self.sha256[:12]}): {total:,} weights of "
                f"{', '.join(self.parts) or 'the whole model'}"
                + f"; anew: {', '.join(anew)}"
                * bool(anew),
                flush=True,
            )
