"""One HTML file of a payload: its style, its script and its data are inside, nothing is fetched.

The Content-Security-Policy names the hash of the one style and of the one script, so nothing else
runs, whatever a text says; the data are a block of JSON, which no browser executes.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
from functools import cache
from importlib.resources import files

from seqae.units import without_nan
from seqae.web.payload import Payload

# In the order in which the script reads them.
SCRIPTS = (
    "values.js",
    "elements.js",
    "chart.js",
    "glance.js",
    "sentences.js",
    "points.js",
    "map.js",
    "requests.js",
    "live.js",
    "main.js",
)


def page(payload: Payload, *, api: str | None = None) -> str:
    """Make the page.

    Args:
        payload: what it shows.
        api: prefix of the URLs that the page may call, as `api`; None for a page that calls none.

    Returns:
        An HTML document, which opens from a file as from a server.
    """
    style, script = assets()
    document = asset("page.html")
    for mark, text in (
        ("TITLE", html.escape(payload.get("title", "seqae"))),
        ("POLICY", html.escape(content_security_policy(calls=api is not None))),
        ("API", html.escape(api or "")),
        ("STYLE", style),
        ("SCRIPT", script),
        ("PAYLOAD", data_block(payload)),  # last: its texts may hold the other marks
    ):
        document = document.replace(f"<!--{mark}-->", text, 1)
    return document


def content_security_policy(*, calls: bool) -> str:
    """Return the policy that the page sets, for a server's header.

    Args:
        calls: whether the page may call the server that it came from.
    """
    style, script = assets()
    connect = "'self'" if calls else "'none'"
    return (
        f"default-src 'none'; script-src '{_hash(script)}'; style-src '{_hash(style)}'; "
        f"img-src data: blob:; connect-src {connect}; base-uri 'none'; form-action 'none'"
    )


def data_block(payload: Payload) -> str:
    """Write a payload as JSON that cannot end its element: no `<`, no line separators.

    Numbers that are not finite, which JSON has no word for, are null: a training may go astray.
    """
    text = json.dumps(without_nan(payload), ensure_ascii=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    # A lone surrogate has no UTF-8; it is shown as what it is, an unknown character.
    return text.encode("utf-8", "replace").decode("utf-8")


@cache
def assets() -> tuple[str, str]:
    """Return the page's style and its script."""
    script = "\n".join(asset(name) for name in SCRIPTS)
    return asset("page.css"), f'"use strict";\n(() => {{\n{script}\n}})();\n'


@cache
def asset(name: str) -> str:
    """Return the text of a file of the page."""
    return (files("seqae.web") / "assets" / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    digest = hashlib.sha256(text.encode("utf-8")).digest()
    return f"sha256-{base64.b64encode(digest).decode('ascii')}"
