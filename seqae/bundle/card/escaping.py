"""Text of others in Markdown: shown as it is, and never a table, a link, an image, code or HTML."""

from __future__ import annotations

import re

from seqae.terminal import visible

MAX_WIDTH = 400  # characters of a sentence in a table

_MARKUP = re.compile(r"(?<!&)#|[\\|\[\]`*_~$!]")  # but not the # of an entity
_LINKS = re.compile(r"(?<=:)//|(?<=[wW])\.|@")  # of which readers of Markdown make links
_ENTITIES = {"//": "&#47;/", ".": "&#46;", "@": "&#64;"}


def plain(text: str, width: int | None = MAX_WIDTH) -> str:
    """Escape a text for one line or cell of Markdown.

    Line ends become blanks; control characters and those that change the direction of the text
    around them are spelt out.

    Args:
        text: any text.
        width: most characters of it; a longer one is cut, and ends in an ellipsis.
    """
    shown = visible(" ".join(text.splitlines()), width)
    shown = shown.replace("&", "&amp;")
    shown = _LINKS.sub(lambda match: _ENTITIES[match[0]], shown)
    shown = shown.replace("<", "&lt;").replace(">", "&gt;")
    return _MARKUP.sub(r"\\\g<0>", shown)
