"""The calls of the JSON API, and their description as an OpenAPI document.

All are POST with a JSON object, but for `models` and `openapi.json`, which are GET. Each needs the
token that `seqae serve` prints, in the header `X-Seqae-Token` or as `?token=`. An error is
`{"error": "one line"}` with a status from 400 on.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, get_args

from typing_extensions import get_type_hints, is_typeddict

from seqae.tasks.serve import api_shapes as shapes
from seqae.tasks.serve.request_check import object_schema, schema_of
from seqae.version import __version__

TOKEN_HEADER = "X-Seqae-Token"  # noqa: S105 - its name
PREFIX = "/api/"
JSON_TYPE = "application/json"

STATUSES = {
    400: "The request is not of its shape, or the model cannot do that",
    401: "The token is missing or wrong",
    403: "The request comes from another site",
    404: "There is no such call",
    405: "The call has another method",
    408: "The body did not come in time",
    413: "The body is larger than 64 kB",
    415: "The body is not declared as application/json",
    429: "This client asks too often; `Retry-After` says when it may again",
    500: "The server failed; its terminal says why",
    503: "Too many requests wait; `Retry-After` says when to ask again",
    504: "It took too long",
}


@dataclass(frozen=True)
class Call:
    """A call of the API.

    Attributes:
        name: below `/api/`.
        summary: what it does.
        request: a TypedDict, or None for a GET.
        response: the type of the answer.
        example: of the request.
    """

    name: str
    summary: str
    request: Any
    response: Any
    example: dict[str, Any] = field(default_factory=dict)

    @property
    def method(self) -> str:
        """GET or POST."""
        return "GET" if self.request is None else "POST"


CALLS = (
    Call(
        "reconstruct",
        "Encode texts and decode them again, with the probability of each token",
        shapes.ReconstructRequest,
        list[shapes.Reconstructed],
        {"texts": ["the children played in the garden"]},
    ),
    Call(
        "decode_point",
        "Decode a place on the map",
        shapes.DecodePointRequest,
        shapes.Decoded,
        {"x": 0.5, "y": -0.25},
    ),
    Call(
        "interpolate",
        "Decode the path between two texts or places",
        shapes.InterpolateRequest,
        shapes.Interpolated,
        {"a": "she closed the door", "b": {"x": 0.5, "y": -0.25}, "steps": 5},
    ),
    Call(
        "arithmetic",
        "Decode a sum of latents",
        shapes.ArithmeticRequest,
        shapes.Decoded,
        {"plus": ["he is here", "she is"], "minus": ["he is"]},
    ),
    Call(
        "sample",
        "Draw new texts",
        shapes.SampleRequest,
        list[shapes.Sampled],
        {"count": 3, "seed": 7},
    ),
    Call(
        "summarize",
        "Shorten a document, with the evidence of each sentence",
        shapes.SummarizeRequest,
        shapes.Summarized,
        {"text": "It rained. The streets were wet. Nobody went out.", "sentences": 1},
    ),
    Call("models", "List the models that answer", None, list[shapes.ServedModel]),
)


def openapi_document() -> dict[str, Any]:
    """Describe the API as OpenAPI 3.1 (OpenAPI Initiative, 2021), in plain data."""
    named: dict[str, Any] = {}
    for call in CALLS:
        _gather(call.request, named)
        _gather(call.response, named)
    _gather(shapes.Failure, named)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "seqae serve",
            "version": __version__,
            "description": "A model that encodes, decodes, draws and summarizes texts.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "security": [{"token": []}, {"token_of_query": []}],
        "paths": {f"{PREFIX}{call.name}": {call.method.lower(): _operation(call)} for call in CALLS}
        | {f"{PREFIX}openapi.json": {"get": _own_operation()}},
        "components": {
            "schemas": {name: object_schema(named[name]) for name in sorted(named)},
            "securitySchemes": {
                "token": {"type": "apiKey", "in": "header", "name": TOKEN_HEADER},
                "token_of_query": {"type": "apiKey", "in": "query", "name": "token"},
            },
        },
    }


def curl_example(call: Call, url: str, token: str) -> str:
    """Write a call as a command for a shell.

    Args:
        call: one of `CALLS`.
        url: of the server, without a slash at the end.
        token: that it asks for.
    """
    line = f"curl -s -H '{TOKEN_HEADER}: {token}' {url}{PREFIX}{call.name}"
    if call.request is None:
        return line
    return f"{line} \\\n  --json '{json.dumps(call.example)}'"


def _operation(call: Call) -> dict[str, Any]:
    found: dict[str, Any] = {
        "operationId": call.name,
        "summary": call.summary,
        "responses": {
            "200": {
                "description": "The answer",
                "content": {JSON_TYPE: {"schema": schema_of(call.response)}},
            },
            **_failures(),
        },
    }
    if call.request is not None:
        body = {"schema": schema_of(call.request), "example": call.example}
        found["requestBody"] = {"required": True, "content": {JSON_TYPE: body}}
    return found


def _own_operation() -> dict[str, Any]:
    content = {JSON_TYPE: {"schema": {"type": "object"}}}
    return {
        "operationId": "openapi",
        "summary": "This document",
        "responses": {"200": {"description": "OpenAPI 3.1", "content": content}, **_failures()},
    }


def _failures() -> dict[str, Any]:
    content = {JSON_TYPE: {"schema": schema_of(shapes.Failure)}}
    return {
        str(status): {"description": text, "content": content} for status, text in STATUSES.items()
    }


def _gather(hint: Any, named: dict[str, Any]) -> None:
    """Find all TypedDicts that a type is made of."""
    if is_typeddict(hint):
        named[hint.__name__] = hint
        for inner in get_type_hints(hint, include_extras=True).values():
            _gather(inner, named)
    for inner in get_args(hint):
        _gather(inner, named)
