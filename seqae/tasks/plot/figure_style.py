"""How figures look, whatever they show: small sans-serif type, thin lines, colours for everybody.

Sizes are those of print: a figure is put into a paper as it is, not scaled. Colours are those of
Okabe and Ito (2008), told apart with any colour vision, and never alone: lines also differ by their
markers. No global state of matplotlib changes; neither does pyplot run.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from seqae.component import check_range
from seqae.extras import extra
from seqae.files import output_file
from seqae.version import __version__

if TYPE_CHECKING:
    with extra("plot"):
        from matplotlib.axes import Axes
        from matplotlib.figure import Figure

ENDINGS = (".svg", ".pdf", ".png")
COLUMN, PAGE = 85.0, 178.0  # mm: of a paper in two columns
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
FAINT, GRID = "#6b7280", "#e5e7eb"
INCH = 25.4  # mm
DOTS_PER_INCH = 300

# Fonts that have the scripts which matplotlib's own has not; those that are installed are used.
OTHER_SCRIPTS = (
    "Noto Sans CJK JP",
    "Noto Sans CJK SC",
    "Source Han Sans SC",
    "WenQuanYi Micro Hei",
    "PingFang SC",
    "Hiragino Sans",
    "Microsoft YaHei",
    "Noto Sans Devanagari",
    "Noto Sans Thai",
)

STYLE: dict[str, Any] = {
    "axes.axisbelow": True,
    "axes.edgecolor": FAINT,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.labelsize": 8,
    "axes.linewidth": 0.6,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "figure.constrained_layout.use": True,
    "font.size": 8,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "legend.fontsize": 7.5,
    "legend.frameon": False,
    "legend.handlelength": 1.6,
    "lines.linewidth": 1.3,
    "lines.markersize": 3.2,
    "pdf.fonttype": 42,  # TrueType: publishers refuse Type 3
    "savefig.dpi": DOTS_PER_INCH,
    "svg.fonttype": "path",  # looks the same where the font is missing
    "svg.hashsalt": "seqae",  # ids would be random
    "text.parse_math": False,  # a dollar in a name is a dollar
    "xtick.color": FAINT,
    "xtick.labelcolor": "black",
    "xtick.labelsize": 7.5,
    "xtick.major.width": 0.6,
    "ytick.color": FAINT,
    "ytick.labelcolor": "black",
    "ytick.labelsize": 7.5,
    "ytick.major.width": 0.6,
}


class Look(NamedTuple):
    """How one line is drawn, so that it is told apart also in grey."""

    color: str
    marker: str


def looks(count: int) -> list[Look]:
    """Choose how to draw so many lines; after seven colours the markers move on."""
    return [
        Look(COLORS[i % len(COLORS)], MARKERS[(i + i // len(COLORS)) % len(MARKERS)])
        for i in range(count)
    ]


@contextmanager
def styled() -> Iterator[None]:
    """Draw in our style within a block, and leave that of the program as it was."""
    with extra("plot"):
        import matplotlib as mpl
        from matplotlib.font_manager import fontManager

    installed = {font.name for font in fontManager.ttflist}
    fonts = ["DejaVu Sans", *(name for name in OTHER_SCRIPTS if name in installed)]
    with mpl.rc_context():
        mpl.rcdefaults()
        settings: Any = {**STYLE, "font.family": fonts}
        mpl.rcParams.update(settings)
        yield


def new_figure(width: float, count: int, aspect: float) -> tuple[Figure, list[Axes]]:
    """Make a figure of panels: side by side where each is at least 50 mm wide, else on rows.

    Args:
        width: in mm.
        count: of the panels.
        aspect: height of a panel, as a share of its width.

    Raises:
        ValueError: if the width is that of no figure.
    """
    with extra("plot"):
        from matplotlib.figure import Figure

    check_range("width", width, 30, 1000)
    columns = max(1, min(count, int(width // 50)))
    rows = -(-count // columns)
    height = rows * (width / columns * aspect + 4)
    figure = Figure(figsize=(width / INCH, height / INCH))
    grid = figure.subplots(rows, columns, squeeze=False)
    axes = list(grid.flat)
    for empty in axes[count:]:
        empty.remove()
    return figure, axes[:count]


def add_legend(figure: Figure, handles: Sequence[Any], width: float) -> None:
    """Put a legend above all panels, where it hides no data, in as many rows as it needs."""
    if not handles:
        return
    longest = max(len(str(handle.get_label())) for handle in handles)
    columns = max(1, min(len(handles), int(width // (longest * 1.5 + 9))))
    figure.legend(handles=list(handles), loc="outside upper left", ncols=columns)


def save_figure(figure: Figure, output: str | Path) -> None:
    """Write a figure to a file; the same figure gives the same bytes.

    Args:
        figure: of one of the functions of this package.
        output: a .svg, .pdf or .png file, which has 300 dots per inch.

    Raises:
        ValueError: if the name has another ending.
    """
    ending = Path(output).suffix.lower()
    if ending not in ENDINGS:
        raise ValueError(
            f"`output` must end in {' or '.join(ENDINGS)}, but it is {output} instead. "
            f"Choose a name with one of these endings."
        )
    program = f"seqae {__version__}"
    said: dict[str, dict[str, Any]] = {
        ".svg": {"Date": None, "Creator": program},
        ".pdf": {"CreationDate": None, "Creator": program, "Producer": program},
        ".png": {"Software": program},
    }
    with styled(), warnings.catch_warnings(record=True) as caught, output_file(output) as file:
        warnings.simplefilter("always")
        figure.savefig(file, format=ending[1:], metadata=said[ending])
    if any("missing from" in str(warning.message) for warning in caught):
        print(
            "seqae: no font that is installed has all characters of this figure; boxes stand for "
            "them. Install one, such as Noto Sans CJK",
            file=sys.stderr,
        )
