"""The map as a figure: every point where it belongs, in the colour of its label."""

from __future__ import annotations

from pathlib import Path

import contracts
import numpy as np
import pytest
from matplotlib.colors import to_hex
from small import run_seqae

from seqae.tasks.plot import map_figure, save_figure
from seqae.tasks.plot.figure_style import COLORS
from seqae.tasks.plot.map_figure import MOST_VECTORS, OTHERS, describe
from seqae.web.columns import column
from seqae.web.payload import LatentMap


def make_map(labels: list[int], names: list[str]) -> LatentMap:
    count = len(labels)
    return {
        "projection": {
            **{"method": "pca", "part": None, "seed": 0, "invertible": True, "neighbours": 5},
            **{"trustworthiness": 0.914, "explained": 0.25, "shown": count, "total": 5000},
        },
        "x": column(np.arange(count, dtype=np.float32)),
        "y": column(np.arange(count, dtype=np.float32) ** 2),
        "texts": ["a text"] * count,
        "predictions": None,
        "colours": {
            "label": column(np.asarray(labels, np.int64)),
            "length": column(np.arange(count, dtype=np.float32)),
        },
        "categories": {"label": names},
        "clusters": [
            {"words": ["cat", "dog"], "count": 2, "x": 0.0, "y": 0.0},
            {"words": ["hidden"], "count": 1, "x": 0.0, "y": 0.1},
        ],
        "neighbour_count": 0,
        "neighbours": None,
    }


def test_points_and_colours_are_those_of_the_map() -> None:
    figure = map_figure(make_map([1, 0, 1], ["first", "$second$"]))
    (axes,) = figure.axes
    (points,) = axes.collections
    assert points.get_offsets().tolist() == [[0, 0], [1, 1], [2, 4]]
    colors = [to_hex(color).upper() for color in points.get_facecolors()]
    assert colors == [COLORS[0], COLORS[1], COLORS[0]]  # the most frequent has the first
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["$second$", "first"]
    assert [text.get_text() for text in axes.texts] == ["cat, dog"]  # the other has no room


def test_many_labels_are_grey() -> None:
    labels = [*range(12), *range(6)]
    figure = map_figure(make_map(labels, [f"label {i}" for i in range(12)]), "label")
    rest, chosen = figure.axes[0].collections
    assert len(rest.get_offsets()) == 6
    assert to_hex(rest.get_facecolors()[0]) == OTHERS
    assert len(chosen.get_offsets()) == 12
    assert [text.get_text() for text in figure.legends[0].get_texts()][-1] == "others"


def test_numbers_have_a_bar_and_one_colour_has_none() -> None:
    found = make_map([0, 0, 0], ["one"])
    figure = map_figure(found, "length")
    assert [axes.get_ylabel() for axes in figure.axes] == ["PC 2", "length (words)"]
    assert len(map_figure(found, "none").axes) == 1
    said = contracts.refusal(map_figure, found, "error")
    assert said.startswith("`color` must be one of label, length, none, but it is error instead.")


def test_the_plane_is_described() -> None:
    projection = make_map([0], ["one"])["projection"]
    assert describe(projection) == (
        "PCA, 25 % of the variance, trustworthiness 0.91 (k = 5); 1 of 5,000 texts"
    )
    projection |= {"method": "tsne", "part": "content", "seed": 3, "explained": None}
    assert describe(projection).startswith("t-SNE of the content, seed 3, trustworthiness")


@pytest.mark.parametrize(("count", "most"), [(MOST_VECTORS + 1, 250_000), (0, 60_000)])
def test_many_points_are_an_image_in_the_file(tmp_path: Path, count: int, most: int) -> None:
    found = make_map([0] * count, ["one"])
    paths = [tmp_path / "a.svg", tmp_path / "b.svg"]
    for path in paths:
        save_figure(map_figure(found, "none"), path)
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert (b"<image" in paths[0].read_bytes()) == (count > MOST_VECTORS)
    assert paths[0].stat().st_size < most


def test_the_command_maps_a_model(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    rows = [f"the {what} is {how}\t{what}\n" for what in ("cat", "dog") for how in COLOURS]
    Path("labels.tsv").write_text("".join(rows))
    for color in ("label", "error"):
        arguments = ["--labels", "labels.tsv", "--color", color, "--output", f"{color}.svg"]
        assert run_seqae("plot", "map", "demo", *arguments) == 0
    capsys.readouterr()
    for arguments, said in REFUSED.items():
        assert run_seqae("plot", *arguments.split(), "--output", "a.svg") == 1
        assert capsys.readouterr().err.startswith(f"seqae: error: {said}"), arguments
    assert not Path("a.svg").exists()


COLOURS = ("red", "black", "white", "brown", "grey", "old", "young")
REFUSED = {
    "map demo demo": "`runs` must be one model for `map`",
    "map demo --names a": "`names` must be left out for `map`",
    "map demo --labels labels.tsv --input labels.tsv": "`labels` must be left out beside `input`",
    "map demo --input none.txt": "`input` must be a file",
    "curves demo --color error": "`color` must be left out for `curves`, but it is error instead.",
    "curves demo --reading.column a": "`reading` must be left out for `curves`, but it is given.",
}
