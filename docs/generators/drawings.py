"""The drawings of docs/concepts.md: SVG that stands in the page, so that it follows its theme."""

from __future__ import annotations

import math
import random
from collections.abc import Callable

BLUE, ORANGE, GREEN = "#3b82f6", "#e0781f", "#10a37f"


def picture(width: int, height: int, label: str, parts: list[str]) -> str:
    """Join the parts of a drawing.

    Args:
        width: in units of the drawing.
        height: in the same.
        label: what the drawing shows, for whoever cannot see it.
        parts: its elements.
    """
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img"'
    body = "\n".join(parts)
    return f'<figure class="drawing">{head} aria-label="{label}">\n{body}\n</svg></figure>\n'


def text(
    x: float, y: float, words: str, size: int = 14, anchor: str = "middle", **more: str
) -> str:
    """Write words; `kind` is a class of site.css."""
    kind = f' class="{more["kind"]}"' if "kind" in more else ""
    fill = f' style="fill:{more["fill"]}"' if "fill" in more else ""
    return (
        f'<text x="{x:g}" y="{y:g}" font-size="{size}" text-anchor="{anchor}"{kind}{fill}>'
        f"{words}</text>"
    )


def box(x: float, y: float, width: float, height: float) -> str:
    """Draw a card."""
    return f'<rect class="card" x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="8"/>'


def dot(x: float, y: float, radius: float, fill: str, opacity: float = 1.0) -> str:
    """Draw a point."""
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:g}" fill="{fill}" opacity="{opacity:g}"/>'


def line(x1: float, y1: float, x2: float, y2: float, stroke: str = "", dashed: bool = False) -> str:
    """Draw a line, in the colour of quiet text unless another is given."""
    colour = f'stroke="{stroke}"' if stroke else 'class="line"'
    dash = ' stroke-dasharray="5 5"' if dashed else ""
    ends = f'x1="{x1:g}" y1="{y1:g}" x2="{x2:g}" y2="{y2:g}"'
    return f'<line {ends} {colour} stroke-width="2"{dash}/>'


def arrow(x1: float, y1: float, x2: float, y2: float, stroke: str = "") -> str:
    """Draw a line with a head."""
    angle = math.atan2(y2 - y1, x2 - x1)
    wings = [
        (x2 - 9 * math.cos(angle + turn), y2 - 9 * math.sin(angle + turn)) for turn in (-0.5, 0.5)
    ]
    drawn = [line(x1, y1, x2, y2, stroke), *(line(x2, y2, *wing, stroke) for wing in wings)]
    return "".join(drawn)


def latent() -> str:
    """Draw a sentence that becomes a row of numbers and a sentence again."""
    random.seed(4)
    sentence = "the cat sat on the mat"
    parts = [box(10, 20, 190, 50), text(105, 50, sentence), text(105, 95, "22 characters", 12)]
    parts += [arrow(205, 45, 265, 45), text(235, 32, "encode", 12, kind="quiet")]
    for i in range(16):
        value = random.gauss(0, 1)
        fill = BLUE if value > 0 else ORANGE
        opacity = min(0.15 + abs(value) / 2, 1)
        parts.append(
            f'<rect x="{275 + 11 * i}" y="20" width="10" height="50" fill="{fill}" '
            f'opacity="{opacity:.2f}"/>'
        )
    parts += [text(363, 95, "the latent: 256 numbers", 12)]
    parts += [arrow(458, 45, 518, 45), text(488, 32, "decode", 12, kind="quiet")]
    parts += [
        box(525, 20, 190, 50),
        text(620, 50, sentence),
        text(620, 95, "read from them alone", 12),
    ]
    label = "A sentence is encoded to a row of numbers, from which alone it is decoded again."
    return picture(725, 112, label, parts)


def noise() -> str:
    """Draw a latent with three rings, and what is decoded in each."""
    random.seed(2)
    parts = []
    for radius, fill, opacity in ((105, ORANGE, 0.13), (70, GREEN, 0.17), (32, BLUE, 0.25)):
        parts.append(dot(150, 125, radius, fill, opacity))
    for _ in range(26):
        angle, far = random.random() * 2 * math.pi, random.random() ** 0.5 * 118
        parts.append(dot(150 + far * math.cos(angle), 125 + far * math.sin(angle), 3, "#888", 0.8))
    parts += [dot(150, 125, 6, BLUE)]
    rows = (
        (60, BLUE, "noise 0: the exact sentence", "the whole latent is trusted"),
        (125, GREEN, "noise 0.5: something close to it", "what several neighbours share"),
        (190, ORANGE, "noise 1: a likely sentence", "little more than the language is left"),
    )
    for y, fill, words, reason in rows:
        parts += [dot(315, y - 5, 8, fill), text(335, y, words, 15, "start")]
        parts += [text(335, y + 20, reason, 12, "start", kind="quiet")]
    label = "Three rings around a latent: the more noise, the likelier and the less exact the text."
    return picture(640, 245, label, parts)


def position_binding() -> str:
    """Draw the long path through two recurrences and the short one by multiplication."""
    words = ["the", "cat", "sat"]
    parts = []
    for i, word in enumerate(words):
        parts += [text(80 + 110 * i, 230, word, 15), text(440 + 110 * i, 230, word, 15)]
        for start in (80, 440):
            parts.append(f'<circle class="card" cx="{start + 110 * i}" cy="185" r="15"/>')
            parts.append(line(start + 110 * i, 202, start + 110 * i, 214))
    for start in (80, 440):
        parts += [arrow(start + 110 * i + 17, 185, start + 110 * i + 92, 185) for i in (0, 1)]
    parts += [arrow(317, 185, 422, 185)]
    parts += [text(370, 175, "latent", 12, kind="quiet")]
    said = "recurrence: three steps from “cat” to “cat”, more in a longer sentence"
    parts += [text(370, 262, said, 13, kind="quiet")]
    parts += [dot(370, 60, 22, BLUE, 0.9), text(370, 65, "+", 20, fill="#fff")]
    for i in range(3):
        stroke = BLUE if i == 1 else ""
        parts += [arrow(80 + 110 * i, 168, 345, 66, stroke)]
        parts += [arrow(395, 66, 440 + 110 * i, 166, stroke)]
        parts += [text(62 + 110 * i, 155, f"× p{i + 1}", 12)]
        parts += [text(468 + 110 * i, 155, f"÷ p{i + 1}", 12)]
    parts += [text(370, 24, "binding: one step, for every word", 13, fill=BLUE)]
    label = (
        "Each word is multiplied by a vector of its position, added into the latent, and "
        "multiplied out again: a path of one step, beside the long one through two recurrences."
    )
    return picture(740, 275, label, parts)


def collapse() -> str:
    """Draw a used latent space beside one that says nothing."""
    random.seed(7)
    parts = []
    for left, title, caption in (
        (0, "used", "each sentence has a place of its own"),
        (340, "collapsed", "all share one; the decoder ignores it"),
    ):
        parts += [box(left + 10, 35, 300, 170), text(left + 160, 24, title, 15)]
        parts += [text(left + 160, 228, caption, 12, kind="quiet")]
    places = [(60, 80), (130, 150), (200, 90), (260, 160), (95, 175), (240, 65)]
    colours = [BLUE, ORANGE, GREEN]
    for i, (x, y) in enumerate(places):
        colour = colours[i % 3]
        parts += [dot(x, y, 16, colour, 0.2), dot(x, y, 5, colour)]
        parts += [dot(500, 120, 46 + i, colour, 0.06)]
        parts += [dot(500 + random.gauss(0, 7), 120 + random.gauss(0, 7), 5, colour)]
    label = "On the left every sentence has a place of its own; on the right all lie on each other."
    return picture(660, 240, label, parts)


DRAWINGS: dict[str, Callable[[], str]] = {
    "latent": latent,
    "noise": noise,
    "position_binding": position_binding,
    "collapse": collapse,
}
