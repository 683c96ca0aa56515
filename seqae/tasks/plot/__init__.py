"""Figures for papers, by matplotlib: `seqae plot`, and functions that return a Figure.

    >>> from seqae.tasks.plot import curves_figure, read_curves, save_figure
    >>> figure = curves_figure([read_curves("runs/mine")], width=178)
    >>> save_figure(figure, "curves.pdf")

What is drawn is the plain data of the page of `seqae report` (seqae.web.payload).

plot_command.py    the command
figure_inputs.py   from folders and files to plain data
line_figures.py    curves of trainings, and of a measure over noise, length or size
map_inputs.py      from a model and sentences to a map
map_figure.py      the map of latents
figure_style.py    type, lines, colours; the same bytes for the same figure
"""

from seqae.tasks.plot.figure_inputs import (
    read_curves,
    read_lengths,
    read_rates,
    read_robustness,
)
from seqae.tasks.plot.figure_style import save_figure
from seqae.tasks.plot.line_figures import (
    curves_figure,
    lengths_figure,
    panels_figure,
    rate_figure,
)
from seqae.tasks.plot.map_figure import map_figure
from seqae.tasks.plot.map_inputs import read_map

__all__ = [
    "curves_figure",
    "lengths_figure",
    "map_figure",
    "panels_figure",
    "rate_figure",
    "read_curves",
    "read_lengths",
    "read_map",
    "read_rates",
    "read_robustness",
    "save_figure",
]
