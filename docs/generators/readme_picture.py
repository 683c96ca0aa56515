"""Draw the picture of README.md: a map of latents on which every point can be decoded.

    python docs/generators/readme_picture.py RUN > docs/map.svg

RUN is a model that writes between sentences, of the recipe `fluent`. Small dots are sentences of
the test split at their places; the words at the rings are what the model writes for these places,
which belong to no sentence.
"""

from __future__ import annotations

import sys
from html import escape

import numpy as np

import seqae
from seqae.data.builtin import load_builtin
from seqae.web.projection import plane

SENTENCES = 1500
WIDTH, HEIGHT, MARGIN = 860, 470, 26
ROWS = 7  # of places that are decoded, two in each
STYLE = """
  text { font: 13px system-ui, sans-serif; fill: #1f2937; paint-order: stroke; stroke: #fff;
    stroke-width: 4px; stroke-linejoin: round; }
  .small { font-size: 12px; fill: #6b7280; }
  .dot { fill: #3b82f6; opacity: .45; } .ring { fill: none; stroke: #d9580d; stroke-width: 2; }
  .back { fill: #fff; }
  @media (prefers-color-scheme: dark) {
    text { fill: #e5e7eb; stroke: #0d1117; } .small { fill: #9ca3af; } .back { fill: #0d1117; }
    .dot { fill: #60a5fa; } .ring { stroke: #fb923c; }
  }
"""


def places() -> np.ndarray:
    """Return shares of width and height, (n, 2): two in each row, beside those of the next row."""
    rows = np.linspace(0.04, 0.96, ROWS)
    return np.array(
        [(left + 0.09 * (i % 2), y) for i, y in enumerate(rows) for left in (0.05, 0.5)]
    )


def draw(where: str) -> str:
    """Return the picture.

    Args:
        where: the model.
    """
    model = seqae.load(where)
    texts = [
        text for text in load_builtin("wordnet-examples", "test") if 3 <= len(text.split()) <= 9
    ]
    latents = model.encode(texts[:SENTENCES])
    made = plane(latents)
    low, high = np.percentile(made.points, [1.5, 98.5], axis=0)
    size = np.array([WIDTH - 2 * MARGIN, HEIGHT - 2 * MARGIN - 24])

    def place(points: np.ndarray) -> np.ndarray:
        scaled: np.ndarray = MARGIN + (points - low) / (high - low) * size
        return scaled

    shown = place(made.points)
    inside = ((shown > MARGIN) & (shown < MARGIN + size)).all(1)
    chosen = low + places() * (high - low)
    written = model.decode(made.latents_at(chosen).astype(np.float32), noise=1.0)
    parts = [f'<circle class="dot" cx="{x:.0f}" cy="{y:.0f}" r="2"/>' for x, y in shown[inside]]
    for (x, y), text in zip(place(chosen), written, strict=True):
        parts.append(f'<circle class="ring" cx="{x:.0f}" cy="{y:.0f}" r="6"/>')
        parts.append(f'<text x="{x + 11:.0f}" y="{y + 4:.0f}">{escape(text)}</text>')
    caption = (
        f"{int(inside.sum()):,} sentences at their places (blue), and what the model writes at "
        f"{len(chosen)} places between them (rings)"
    )
    parts.append(f'<text class="small" x="{MARGIN}" y="{HEIGHT - 12}">{caption}</text>')
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img"'
    body = "\n".join(parts)
    back = f'<rect class="back" width="{WIDTH}" height="{HEIGHT}" rx="8"/>'
    return f'{head} aria-label="{caption}">\n<style>{STYLE}</style>\n{back}\n{body}\n</svg>\n'


if __name__ == "__main__":
    print(draw(sys.argv[1]), end="")
