"""What `fit` sends to Weights & Biases beside metrics: a link in a registry, latents."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from seqae.bundle.sharing.address import ArtifactAddress
from seqae.bundle.sharing.wandb_upload import check_sendable, registry_path
from seqae.component import check_range

MAX_ROWS = 10_000  # of a table of W&B


@dataclass
class WandbOptions:
    """What a W&B logger (`-c overlays/wandb`) gets beside metrics and the bundle.

    Args:
        registry: link the bundle to this collection of a registry, as
            wandb-registry-NAME/COLLECTION, with :ALIAS if it is to have one.
        latents: after the training, log the latents of so many validation sentences as a table
            with a column for each dimension, which W&B's projector draws; the sentences are in it.
    """

    registry: str | None = None
    latents: int = 0

    @property
    def collection(self) -> ArtifactAddress | None:
        """The collection of the registry, if one is named."""
        if self.registry is None:
            return None
        return registry_path(self.registry, "wandb.registry")


def check_wandb_options(options: Any) -> None:
    """Refuse what would be ignored without a W&B logger, or could not be done in the end.

    Args:
        options: all options of `fit`.

    Raises:
        ValueError: if there is something to refuse.
    """
    chosen = WandbOptions(**options.wandb)
    check_range("wandb.latents", chosen.latents, 0, MAX_ROWS)
    given = options.trainer.logger
    loggers = given if isinstance(given, list) else [given]
    has_logger = any(str(getattr(x, "class_path", "")).endswith("WandbLogger") for x in loggers)
    if (chosen.registry is not None or chosen.latents) and not has_logger:
        name = "registry" if chosen.registry is not None else "latents"
        raise ValueError(
            f"`wandb.{name}` must be left out without a logger of W&B, but it is "
            f"{getattr(chosen, name)} instead. Add `-c overlays/wandb`."
        )
    if chosen.collection is not None:
        check_sendable(chosen.collection, "wandb.registry")
        if any(_is_offline(logger) for logger in loggers):
            raise ValueError(
                f"`wandb.registry` must be left out where the logger is offline, but it is "
                f"{chosen.registry} instead. Leave out `offline` or this."
            )


def _is_offline(logger: Any) -> bool:
    return bool(getattr(getattr(logger, "init_args", None), "offline", False))
