"""Which part of a latent is the embedding of a text."""

from __future__ import annotations

from typing import Literal, get_args

from seqae.bundle.text_autoencoder import TextAutoencoder
from seqae.component import check_choice

EmbeddedPart = Literal["content", "order", "whole"]


def embedded_part(model: TextAutoencoder, part: EmbeddedPart | None) -> EmbeddedPart:
    """Choose the part that says what is said if the user has chosen none.

    Raises:
        ValueError: if the model's latents have no such part.
    """
    if part is None:
        return model.compared_part or "whole"
    check_choice("part", part, get_args(EmbeddedPart))
    columns(model, part)
    return part


def columns(model: TextAutoencoder, part: EmbeddedPart) -> slice:
    """Say which numbers of a latent are the part; raises as `embedded_part`."""
    return model.columns(None if part == "whole" else part)
