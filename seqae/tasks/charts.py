"""Draw line charts as SVG by hand, so that `evaluate --plot` and the benchmarks need no library.

Figures for papers are drawn by matplotlib, for whoever has installed it: seqae.tasks.plot.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

WIDTH, HEIGHT = 460, 340  # of a panel
LEFT, RIGHT, TOP, BOTTOM = 48, 64, 56, 48
INK, FAINT, GRID = "#1f2933", "#61707f", "#e4e9ee"
FONT = "font-family=\"system-ui, -apple-system, 'Segoe UI', Helvetica, Arial, sans-serif\""


@dataclass(frozen=True)
class Line:
    """One line of a chart.

    Attributes:
        name: written at its right end; empty for none.
        values: one for each tick of the x axis; None leaves a gap.
        color: as CSS names it.
    """

    name: str
    values: Sequence[float | None]
    color: str


@dataclass(frozen=True)
class Panel:
    """A chart with evenly spaced ticks.

    Attributes:
        title: what is drawn.
        x_label: what the ticks are.
        ticks: their names.
        lines: the lines.
        top: highest value of the y axis, which starts at 0.
        show_values: whether each point is labelled with its value.
    """

    title: str
    x_label: str
    ticks: Sequence[str]
    lines: Sequence[Line]
    top: float = 100.0
    show_values: bool = False


def shades(count: int) -> list[str]:
    """Choose colours of one hue from light to dark, for lines that have an order."""
    light, dark = (143, 193, 227), (13, 59, 102)
    steps = [index / max(1, count - 1) for index in range(count)]
    mixed = [[round(a + (b - a) * s) for a, b in zip(light, dark, strict=True)] for s in steps]
    return ["#" + "".join(f"{channel:02x}" for channel in color) for color in mixed]


def draw(panels: Sequence[Panel], caption: str) -> str:
    """Draw panels side by side over a caption: the text of an .svg file."""
    width, height = WIDTH * len(panels), HEIGHT + 28
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}" role="img" {FONT}>',
        f"<title>{escape(caption)}</title>",
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
    ]
    for index, panel in enumerate(panels):
        parts.append(f'<g transform="translate({index * WIDTH} 0)">')
        parts += [*_axes(panel), *_lines(panel), "</g>"]
    parts.append(_text(LEFT, height - 12, caption, size=11, color=FAINT))
    return "\n".join([*parts, "</svg>"]) + "\n"


def _axes(panel: Panel) -> list[str]:
    parts = [_text(LEFT, 28, panel.title, size=15, weight=600)]
    for step in range(5):
        value = panel.top * step / 4
        y = _y(panel, value)
        parts.append(_rule(LEFT, y, WIDTH - RIGHT, y, GRID))
        parts.append(_text(LEFT - 8, y + 4, f"{value:g}", color=FAINT, anchor="end"))
    for index, name in enumerate(panel.ticks):
        x = _x(panel, index)
        parts.append(_text(x, HEIGHT - BOTTOM + 18, name, color=FAINT, anchor="middle"))
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(_text(middle, HEIGHT - 10, panel.x_label, color=FAINT, anchor="middle"))
    return parts


def _lines(panel: Panel) -> list[str]:
    parts = []
    ends: list[tuple[float, Line]] = []
    for line in panel.lines:
        segments: list[list[tuple[float, float, float]]] = [[]]
        for index, value in enumerate(line.values):
            if value is None:
                segments.append([])
            else:
                segments[-1].append((_x(panel, index), _y(panel, value), value))
        for segment in segments:
            path = " ".join(f"{x:.1f},{y:.1f}" for x, y, _ in segment)
            if len(segment) > 1:
                parts.append(
                    f'<polyline points="{path}" fill="none" stroke="{line.color}" '
                    f'stroke-width="2.5" stroke-linejoin="round" stroke-linecap="round"/>'
                )
        points = [point for segment in segments for point in segment]
        for x, y, value in points:
            parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{line.color}"/>')
            if panel.show_values:
                parts.append(_text(x - 8, y - 9, f"{value:.1f}", anchor="middle", weight=600))
        if points and line.name:
            ends.append((points[-1][1], line))
    # Names at the ends of lines stay one line's height apart; names of ends that coincide follow
    # the order of the lines.
    below = float("inf")
    for y, line in sorted(ends, key=lambda end: (-round(end[0] / 14), mean_of(end[1]))):
        below = min(y, below - 14)
        name_x = WIDTH - RIGHT + 12
        parts.append(_text(name_x, below + 4, line.name, color=line.color, weight=600))
    return parts


def mean_of(line: Line) -> float:
    """Compute the mean of a line's values, gaps left out."""
    values = [value for value in line.values if value is not None]
    return sum(values) / len(values)


def _x(panel: Panel, index: int) -> float:
    inner = WIDTH - LEFT - RIGHT - 32
    return LEFT + 16 + inner * index / max(1, len(panel.ticks) - 1)


def _y(panel: Panel, value: float) -> float:
    return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * value / panel.top


def _rule(x1: float, y1: float, x2: float, y2: float, color: str) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{color}"/>'


def _text(
    x: float,
    y: float,
    text: str,
    size: int = 12,
    color: str = INK,
    anchor: str = "start",
    weight: int = 400,
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" fill="{color}" '
        f'text-anchor="{anchor}" font-weight="{weight}">{escape(text)}</text>'
    )
