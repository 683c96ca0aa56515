"""A page in a notebook: what it holds, and that it stays in its frame."""

from __future__ import annotations

from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import contracts
import numpy as np
import pytest

import seqae
from seqae.bundle.operations.pictures import Picture
from seqae.web.columns import numbers
from seqae.web.projection import plane

TEXTS = ["the cat sat", "a dog ran home", "she sings </script><b>", "the house & the river"]


@pytest.fixture(scope="module")
def model() -> seqae.TextAutoencoder:
    return seqae.load("demo")


@pytest.fixture(scope="module")
def shown(model: seqae.TextAutoencoder) -> Picture:
    return model.show(TEXTS)


def frames(html: str) -> Iterator[dict[str, Any]]:
    """The attributes of each element, which must be nothing but frames."""
    found: list[dict[str, Any]] = []

    class Reader(HTMLParser):
        def handle_starttag(self, tag: str, attrs: Any) -> None:
            assert tag == "iframe"
            found.append(dict(attrs))

        def handle_data(self, data: str) -> None:
            assert not data.strip(), "text outside of the frame"

    Reader().feed(html)
    yield from found


def test_a_map_has_the_places_of_the_latents(model: seqae.TextAutoencoder) -> None:
    found = model.map(TEXTS, labels=[1, 2, 1, 1]).latent_map
    expected = plane(model.encode(TEXTS)).points
    places = np.stack([numbers(found["x"]), numbers(found["y"])], axis=1)
    np.testing.assert_allclose(places, expected, atol=np.ptp(expected) / 2**15)
    assert found["texts"] == TEXTS
    assert [found["categories"]["label"][int(i)] for i in numbers(found["colours"]["label"])] == [
        *("1", "2", "1", "1")
    ]


def test_what_is_shown_is_what_the_model_does(model: seqae.TextAutoencoder, shown: Picture) -> None:
    (own,) = shown.payload["models"]
    written = model.reconstruct(TEXTS)
    assert [row["prediction"] for row in own["reconstructions"]] == written
    first = own["reconstructions"][0]
    assert (first["error"] == 0) == (first["prediction"] == TEXTS[0])
    (path,) = own["paths"]
    assert path["texts"] == model.interpolate(TEXTS[0], TEXTS[1])
    assert [row["text"] for row in own["samples"]] == model.sample(5)
    assert {fact["name"]: fact["value"] for fact in own["facts"]}["latent"] == "256 numbers"
    assert shown.payload["door"] == "notebook"
    assert repr(shown).startswith("Picture('GRUEncoder · DeterministicLatent · GRUDecoder on 4 ")
    assert len(repr(shown)) < 160
    one = model.show("a text").payload["models"][0]
    assert "map" not in one
    own_texts = [row["text"] for row in model.details["selftest"]]
    assert [row["reference"] for row in model.show().payload["models"][0]["reconstructions"]] == (
        own_texts
    )


def test_the_page_is_alone_in_a_frame(shown: Picture, tmp_path: Path) -> None:
    (frame,) = frames(shown._repr_html_())
    assert frame["sandbox"] == "allow-scripts"  # and no allow-same-origin
    assert "src" not in frame
    saved = shown.save(tmp_path / "page.html").read_text(encoding="utf-8")
    assert frame["srcdoc"] == saved
    assert "connect-src 'none'" in saved.replace("&#x27;", "'")
    assert "</script><b>" not in saved


def test_what_cannot_be_shown(model: seqae.TextAutoencoder) -> None:
    said = contracts.refusal(model.map, TEXTS, ["a"])
    assert (
        said
        == "`labels` must be as many as `texts`, 4, but there are 1 instead. Give one for each."
    )
    assert contracts.refusal(model.map, []).startswith("`texts` must ")
    with pytest.raises(ValueError, match="`texts` must be at least two for a map"):
        _ = model.show("a text").latent_map
