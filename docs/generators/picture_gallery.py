"""The gallery: figures that `seqae plot` draws, of the demo and of what is in docs/examples."""

from __future__ import annotations

from pathlib import Path

from generators.drawings import DRAWINGS
from generators.paper_figures import write_figures
from generators.write import write_if_changed

GALLERY = """\
# Gallery

What the ideas behind the models look like.

"""
GALLERY += "".join(f"```{{raw}} html\n:file: {name}.svg\n```\n\n" for name in DRAWINGS)


def write_pictures(folder: Path) -> None:
    """Write the drawings of the concepts, and the figures for papers.

    Args:
        folder: of what is generated.
    """
    for name, draw in DRAWINGS.items():
        write_if_changed(folder / f"{name}.svg", draw())
    figures = f"## Figures for papers\n\n{write_figures(folder)}"
    write_if_changed(folder / "gallery.md", GALLERY + figures)
