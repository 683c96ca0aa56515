"""The API's document is valid, and says what the check of requests does."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from seqae.tasks.serve.openapi import CALLS, curl_example, openapi_document
from seqae.tasks.serve.request_check import read_request

DOCUMENT = openapi_document()


def validator(name: str) -> Draft202012Validator:
    schema = {"$ref": f"#/components/schemas/{name}", "components": DOCUMENT["components"]}
    return Draft202012Validator(schema)


def test_the_document_holds_together() -> None:
    text = json.dumps(DOCUMENT)
    schemas = DOCUMENT["components"]["schemas"]
    for schema in schemas.values():
        Draft202012Validator.check_schema(schema)
    assert set(re.findall(r"#/components/schemas/(\w+)", text)) == set(schemas)
    for path, operations in DOCUMENT["paths"].items():
        for operation in operations.values():
            assert {"200", "400", "401", "403", "503"} <= set(operation["responses"]), path


def test_each_example_is_of_its_shape() -> None:
    for call in CALLS:
        if call.request is not None:
            assert read_request(json.dumps(call.example).encode(), call.request) == call.example
            assert validator(call.request.__name__).is_valid(call.example)
        assert f"/api/{call.name}" in curl_example(call, "http://127.0.0.1:1", "t")


@pytest.mark.parametrize(
    ("call", "body", "key"),
    [
        ("reconstruct", {}, "`texts` must be given"),
        ("reconstruct", {"texts": []}, "`texts` must have 1 to 64 items"),
        ("reconstruct", {"texts": "a"}, "`texts` must be a list"),
        ("reconstruct", {"texts": [1]}, r"`texts\[0\]` must be a text"),
        ("reconstruct", {"texts": ["a" * 4001]}, r"`texts\[0\]` must have 0 to 4,000 char"),
        ("reconstruct", {"texts": ["a"], "model": True}, "`model` must be a whole number"),
        ("reconstruct", {"texts": ["a"], "model": 2}, "`model` must be between 0 and 1"),
        ("reconstruct", {"texts": ["a"], "path": "x"}, "`key` must be one of texts, model"),
        ("decode_point", {"x": 1}, "`y` must be given"),
        ("decode_point", {"x": 1, "y": "2"}, "`y` must be a number"),
        ("decode_point", {"x": 1, "y": 10**400}, "`y` must be between"),
        ("interpolate", {"a": "a", "b": {"x": 1}}, r"`b.y` must be given"),
        ("interpolate", {"a": "a", "b": None}, r"`b` must be an object"),
        ("sample", {"count": 1.5}, "`count` must be a whole number"),
        ("sample", {"count": 10**30}, "`count` must be between 1 and 64"),
        ("summarize", {"text": []}, "`text` must be a text"),
    ],
)
def test_what_the_document_refuses_the_check_does_too(call: str, body: Any, key: str) -> None:
    shape = next(one.request for one in CALLS if one.name == call)
    assert not validator(shape.__name__).is_valid(body)
    with pytest.raises(ValueError, match=rf"^{key}") as error:
        read_request(json.dumps(body).encode(), shape)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"\xff",
        b"[" * 30_000,
        b'{"x": NaN, "y": 0}',
        b'{"x": 1e999, "y": 0}',
        b'{"x": 1, "x": 2, "y": 0}',
        b'{"x": ' + b"9" * 5_000 + b', "y": 0}',
        b"null",
    ],
)
def test_what_is_no_json_is_refused_in_a_line(body: bytes) -> None:
    shape = next(one.request for one in CALLS if one.name == "decode_point")
    with pytest.raises(ValueError, match=r"^`[\w.]+` must be") as error:
        read_request(body, shape)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 400
