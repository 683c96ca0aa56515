"""seqae.web: columns, differences, projections, clusters and the map that joins them."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.manifold import trustworthiness as reference_trustworthiness

from seqae.web.clusters import cluster_words, clusters
from seqae.web.columns import column, numbers
from seqae.web.differences import difference, words
from seqae.web.latent_map import latent_map, neighbours
from seqae.web.projection import plane, trustworthiness

RANDOM = np.random.default_rng(0)
LATENTS = (RANDOM.normal(size=(150, 6)) * [5, 3, 1, 1, 1, 0.5] + 2).astype(np.float32)


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        ([0, 255], "uint8"),
        ([0, 256], "uint16"),
        ([0, 2**16], "uint32"),
        ([-1, 2], "float32"),
        ([0.5], "float32"),
        ([], "float32"),
    ],
)
def test_a_column_takes_the_smallest_type_that_holds_it(values: list[float], dtype: str) -> None:
    packed = column(np.asarray(values))
    assert packed["dtype"] == dtype
    assert numbers(packed).tolist() == values


@given(st.lists(st.floats(-1e6, 1e6), min_size=1))
def test_steps_are_as_near_as_promised(values: list[float]) -> None:
    packed = column(values, steps=True)
    error = np.abs(numbers(packed) - values).max()
    assert error <= (max(values) - min(values)) / 131_070 + 1e-9


def test_steps_refuse_what_is_not_finite() -> None:
    with pytest.raises(ValueError, match="`values` must be finite"):
        column([1.0, float("nan")], steps=True)


SENTENCE = st.lists(st.sampled_from(["a", "dog", "ran", ",", ".", "don't", "犬", "が"])).map(
    " ".join
)


def _edits(own: list[str], other: list[str]) -> int:
    """Levenshtein by its recursive definition, a row at a time."""
    row = list(range(len(other) + 1))
    for i, word in enumerate(own, 1):
        above, row = row, [i]
        for j, new in enumerate(other, 1):
            row.append(min(above[j] + 1, row[-1] + 1, above[j - 1] + (word != new)))
    return row[-1]


@given(SENTENCE, SENTENCE)
def test_pieces_make_up_both_texts_with_the_fewest_edits(reference: str, prediction: str) -> None:
    found = difference(reference, prediction)
    kept = [piece for piece in found.pieces if piece["kind"] != "added"]
    assert "".join(piece["text"] for piece in kept) == reference
    others = "".join(piece["text"] for piece in found.pieces if piece["kind"] != "missing")
    assert others.split() == prediction.split() or others.replace(" ", "") == prediction.replace(
        " ", ""
    )
    own, other = ([word.strip() for word in words(text)] for text in (reference, prediction))
    assert found.error == pytest.approx(_edits(own, other) / max(len(own), 1))


def test_a_difference_shows_what_is_missing_before_what_was_added() -> None:
    found = difference("The dog ran, home .", "The cat ran home now .")
    assert [(piece["kind"], piece["text"]) for piece in found.pieces] == [
        ("same", "The"),
        ("missing", " dog"),
        ("added", " cat"),
        ("same", " ran"),
        ("missing", ","),
        ("same", " home"),
        ("added", " now"),
        ("same", " ."),
    ]
    assert found.error == 3 / 6


def test_very_long_middles_are_one_replacement() -> None:
    found = difference("a " * 1500 + "end", "b " * 1500 + "end")
    assert [piece["kind"] for piece in found.pieces] == ["missing", "added", "same"]


def test_pca_is_that_of_scikit_learn_and_inverts() -> None:
    made, reference = plane(LATENTS), PCA(2).fit(LATENTS)
    points = reference.transform(LATENTS)
    assert np.abs(made.points) == pytest.approx(np.abs(points), abs=1e-3)
    assert made.explained == pytest.approx(reference.explained_variance_ratio_.sum(), abs=1e-5)
    anywhere = RANDOM.normal(size=(9, 2)) * 5
    assert made.project(made.inverse(anywhere)) == pytest.approx(anywhere, abs=1e-4)
    assert made.project(made.latents_at(anywhere)) == pytest.approx(anywhere, abs=1e-3)


@pytest.mark.parametrize("method", ["pca", "tsne"])
def test_the_place_of_a_latent_gives_that_latent(method: str) -> None:
    if method == "tsne" and importlib.util.find_spec("openTSNE") is None:
        pytest.skip("without the extra map")
    made = plane(LATENTS, method)  # type: ignore[arg-type]
    assert made.latents_at(made.points) == pytest.approx(LATENTS, abs=1e-3)
    assert made.project(LATENTS) == pytest.approx(made.points, abs=1e-3)
    assert made.distances(made.points) == pytest.approx(np.zeros(len(LATENTS)), abs=1e-3)


@pytest.mark.parametrize("shape", [(1, 3), (2, 1), (3, 2), (4, 1), (30, 1)])
def test_small_and_narrow_latents_have_a_map(shape: tuple[int, int]) -> None:
    latents = RANDOM.normal(size=shape).astype(np.float32)
    drawn, _ = latent_map(latents, ["a text"] * shape[0])
    assert len(numbers(drawn["x"])) == shape[0]


def test_umap_says_what_it_needs() -> None:
    if importlib.util.find_spec("umap") is not None:
        pytest.skip("umap-learn is installed")
    with pytest.raises(ModuleNotFoundError, match="pip install umap-learn"):
        plane(LATENTS, "umap")


def test_trustworthiness_is_that_of_scikit_learn() -> None:
    points = LATENTS[:, 2:4]
    found, over = trustworthiness(LATENTS, points, 10)
    assert (found, over) == (
        pytest.approx(reference_trustworthiness(LATENTS, points, n_neighbors=10)),
        10,
    )
    assert trustworthiness(LATENTS, LATENTS)[0] == 1
    assert trustworthiness(LATENTS[:2], points[:2]) == (None, 0)


def test_neighbours_are_those_of_brute_force() -> None:
    unit = LATENTS / np.linalg.norm(LATENTS, axis=1, keepdims=True)
    similarities = unit @ unit.T
    np.fill_diagonal(similarities, -2)
    assert (neighbours(LATENTS, 5) == np.argsort(-similarities, axis=1)[:, :5]).all()
    assert neighbours(LATENTS[:1]).shape == (1, 0)


def test_clusters_are_as_tight_as_those_of_scikit_learn() -> None:
    centres = np.repeat(RANDOM.normal(size=(4, 6)) * 20, [60, 50, 40, 30], axis=0)
    rows = (centres + RANDOM.normal(size=centres.shape)).astype(np.float32)
    groups = clusters(rows, 4)
    assert np.bincount(groups).tolist() == [60, 50, 40, 30]
    means = np.stack([rows[groups == group].mean(axis=0) for group in range(4)])
    inertia = KMeans(4, n_init=10, random_state=0).fit(rows).inertia_
    assert ((rows - means[groups]) ** 2).sum() == pytest.approx(inertia, rel=1e-4)
    assert clusters(np.ones((100, 3), np.float32)).max() == 0


def test_the_words_of_a_cluster_are_its_own() -> None:
    texts = ["the cat is on the mat"] * 30 + ["the ship is at the sea"] * 30
    found = cluster_words(texts, np.repeat([0, 1], 30))
    assert set(found[0][:3]) == {"cat", "on", "mat"}
    assert set(found[1][:3]) == {"ship", "at", "sea"}


def test_a_map_has_a_column_for_each_colour() -> None:
    labels = ["odd" if row % 3 else "even" for row in range(150)]
    drawn, _ = latent_map(
        LATENTS, ["two words"] * 150, {"kind": labels}, {"error": np.linspace(0, 1, 150)}, total=999
    )
    assert drawn["projection"]["total"] == 999
    assert drawn["categories"]["kind"] == ["odd", "even"]
    assert numbers(drawn["colours"]["kind"])[:3].tolist() == [1, 0, 0]
    assert set(drawn["colours"]) == {"length", "error", "kind", "cluster"}
    assert sum(group["count"] for group in drawn["clusters"]) == 150
    assert drawn["neighbours"] is not None
    assert len(numbers(drawn["neighbours"])) == 150 * drawn["neighbour_count"]
    with pytest.raises(ValueError, match="`kind` must have one value for each of the 150 latents"):
        latent_map(LATENTS, ["a"] * 150, {"kind": ["b"]})
    many, _ = latent_map(LATENTS, ["a"] * 150, {"id": [str(row) for row in range(150)]}, groups=0)
    assert len(many["categories"]["id"]) == 150
