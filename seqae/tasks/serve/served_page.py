"""The page that the server sends."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timezone

from seqae.tasks.serve.model_answers import ModelAnswers
from seqae.version import __version__
from seqae.web.page import content_security_policy, page
from seqae.web.payload import SCHEMA, Model, Payload


def served_page(
    models: Sequence[str], answers: Sequence[ModelAnswers], seed: int = 0
) -> tuple[str, str]:
    """Make the page of models.

    Args:
        models: what the user named.
        answers: of each.
        seed: of what is drawn.

    Returns:
        An HTML document and its Content-Security-Policy.
    """
    payload: Payload = {
        "schema": SCHEMA,
        "door": "serve",
        "title": " and ".join(answer.name for answer in answers),
        "made": datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "version": __version__,
        "models": [_shown(where, own) for where, own in zip(models, answers, strict=True)],
        "runs": [],
    }
    return page(payload, api="api"), content_security_policy(calls=True)


def _shown(where: str, own: ModelAnswers) -> Model:
    autoencoder = own.model.autoencoder
    weights = sum(weight.numel() for weight in autoencoder.parameters())
    size = own.model.tokenizer.vocab_size
    return {
        "name": own.name,
        "facts": [
            {"name": "latent", "value": f"{own.model.latent_dim:,} numbers for each sentence"},
            {"name": "weights", "value": f"{weights:,}"},
            {"name": "vocabulary", "value": f"{size:,} tokens"},
            {"name": "longest sentence", "value": f"{autoencoder.max_length:,} tokens"},
        ],
        "map": own.map.drawn,
        "notes": [f"How well it works, `seqae report {where}` shows."],
    }
