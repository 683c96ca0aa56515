"""What parts of a model refuse to stand beside each other."""

from __future__ import annotations

from seqae.component import Component, check_part
from seqae.model.adaptive.adaptive_softmax import AdaptiveSoftmax
from seqae.model.content.content_encoder import ContentEncoder
from seqae.model.decoders.base import AttentionDecoder, Decoder
from seqae.model.latents import DeterministicLatent, Latent
from seqae.model.latents.latent_noise import LatentNoise
from seqae.model.memory.copying import Copying
from seqae.model.memory.cross_attention import Memory


def check_together(
    latent: Latent,
    decoder: Decoder,
    head: str,
    nested_dropout: float,
    latent_noise: LatentNoise | None,
    content: ContentEncoder | None,
    copying: Copying | None,
    adaptive: AdaptiveSoftmax | None,
) -> None:
    """Check the optional parts of a model, and that all parts fit each other.

    Args:
        latent: as of the model, as the next ones.
        decoder: of the model.
        head: of the model.
        nested_dropout: of the model.
        latent_noise: None leaves it out, as with the next ones.
        content: of the model.
        copying: of the model.
        adaptive: of the model.

    Raises:
        ValueError: naming the argument that does not fit.
    """
    optional: dict[str, tuple[Component | None, type[Component]]] = {
        "latent_noise": (latent_noise, LatentNoise),
        "content": (content, ContentEncoder),
        "copying": (copying, Copying),
        "adaptive": (adaptive, AdaptiveSoftmax),
    }
    for key, (part, kind) in optional.items():
        if part is not None:
            check_part(key, part, kind)
    if latent_noise is not None:
        check_noise(latent, decoder, copying)
    if content is not None:
        check_content(latent)
    if nested_dropout:
        check_nested(latent_noise, content)
    if adaptive is not None:
        check_adaptive(head, copying)


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


def check_adaptive(head: str, copying: Copying | None) -> None:
    """Refuse what needs the logits of all words."""
    if head == "nearest":
        raise ValueError(
            "`head` must be tied or linear beside `adaptive`, but it is nearest instead: the "
            "likeliest word would no longer be the nearest one. Set `model.autoencoder.head: "
            "tied`, or leave out `adaptive`."
        )
    if copying is not None:
        raise ValueError(
            "`copying` must be null beside `adaptive`, but it is set instead: a tokenizer that "
            "spells every word, which copying needs, has few tokens. Leave out one of them."
        )


def check_memory(reads_memory: bool, memory: Memory | None) -> None:
    """Refuse latents alone for a decoder that looks back at the text."""
    if reads_memory and memory is None:
        raise ValueError(
            "`latents` must not be decoded alone by a model whose decoder looks back at the "
            "text, as one with attention does. Give it texts: `seqae reconstruct` writes what "
            "it makes of each."
        )
