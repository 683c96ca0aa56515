"""What parts of a model refuse to stand beside each other."""

from __future__ import annotations

from seqae.model.content.content_encoder import ContentEncoder
from seqae.model.decoders.base import AttentionDecoder, Decoder
from seqae.model.latents import DeterministicLatent, Latent
from seqae.model.latents.latent_noise import LatentNoise
from seqae.model.memory.copying import Copying


def check_content(latent: Latent) -> None:
    """Refuse a latent layer that has more to say of its latents than where they are."""
    if not isinstance(latent, DeterministicLatent):
        raise ValueError(
            f"`latent` must be a DeterministicLatent beside `content`, but it is "
            f"{type(latent).__name__} instead. Set `model.autoencoder.latent: "
            f"DeterministicLatent`, or leave out `content`."
        )


def check_noise(latent: Latent, decoder: Decoder, copying: Copying | None) -> None:
    """Refuse parts that `latent_noise` does not fit."""
    if not latent.has_unit_scale:
        raise ValueError(
            f"`latent` must be of unit scale under `latent_noise`, but this "
            f"{type(latent).__name__} is not. Set `model.autoencoder.latent: "
            f"DeterministicLatent` and `model.autoencoder.latent.normalize: layer`, or leave out "
            f"`latent_noise`."
        )
    if copying is not None or isinstance(decoder, AttentionDecoder):
        raise ValueError(
            "`latent_noise` must be null for a decoder that looks back at the text and so needs no "
            "latent, but it is set instead. Leave it out, or leave out `copying` and attention: "
            "set `model.autoencoder.decoder: GRUDecoder`."
        )
    if not decoder.autoregressive:
        raise ValueError(
            f"`decoder` must read the tokens before the one to write under `latent_noise`, but it "
            f"is {type(decoder).__name__} instead. Set `model.autoencoder.decoder: GRUDecoder`, or "
            f"leave out `latent_noise`."
        )


def check_nested(latent_noise: LatentNoise | None, content: ContentEncoder | None) -> None:
    """Refuse what gives the numbers of a latent another meaning than their order."""
    for key, part in (("latent_noise", latent_noise), ("content", content)):
        if part is not None:
            raise ValueError(
                f"`{key}` must be null under `nested_dropout`, but it is a {type(part).__name__} "
                f"instead. Leave out one of them."
            )
