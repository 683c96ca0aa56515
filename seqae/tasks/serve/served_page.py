"""The page that the server sends."""

from __future__ import annotations

from collections.abc import Sequence

from seqae.bundle.sharing.address import find_bundle, is_address
from seqae.tasks.report.model_report import at_a_glance
from seqae.tasks.serve.model_answers import ModelAnswers
from seqae.web.page import content_security_policy, page
from seqae.web.payload import Model, payload_of


def served_page(models: Sequence[str], answers: Sequence[ModelAnswers]) -> tuple[str, str]:
    """Make the page of models.

    Args:
        models: what the user named.
        answers: of each.

    Returns:
        An HTML document and its Content-Security-Policy.
    """
    title = " and ".join(answer.name for answer in answers)
    shown = [_shown(where, own) for where, own in zip(models, answers, strict=True)]
    payload = payload_of("serve", title, shown)
    return page(payload, api="api"), content_security_policy(calls=True)


def _shown(where: str, own: ModelAnswers) -> Model:
    model = own.model
    # What was fetched is found again at the commit that it was fetched at.
    found = find_bundle((model.origin or where) if is_address(where) else where, "models")
    shown, _ = at_a_glance(where, own.name, found, model)
    shown["map"] = own.map.drawn
    shown["notes"].append(f"What comes back by error and length: `seqae report {where}`.")
    return shown
