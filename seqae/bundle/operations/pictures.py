"""PictureOperations: what a model does, as a page in a notebook."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, SupportsIndex, final

import numpy as np

from seqae.bundle.operations.long_texts import LongTextOperations
from seqae.component import check_seed, check_whole
from seqae.data.containers import list_items, read_texts
from seqae.files import write_output
from seqae.web.payload import Fact, LatentMap, Model, Payload, payload_of

if TYPE_CHECKING:
    from seqae.web.projection import Method

SHOWN = 5  # sentences that are drawn, and points of a path
HEIGHT = 820  # pixels of the frame in a notebook
LABEL = "label"


@final
class Picture:
    """A page about a model: shown in a notebook, or saved as a file that opens offline.

    In a notebook it stands in a frame of its own (`<iframe sandbox>`), whose scripts reach neither
    the notebook nor the network.

    Args:
        payload: what the page is given; see seqae.web.payload.
        height: of the frame, in pixels.
    """

    def __init__(self, payload: Payload, height: int = HEIGHT) -> None:
        self.payload, self.height = payload, check_whole("height", height, 100, 10_000)

    @property
    def latent_map(self) -> LatentMap:
        """The map that is shown, for `seqae.tasks.plot.map_figure`.

        Raises:
            ValueError: if there is none.
        """
        found = [model["map"] for model in self.payload["models"] if "map" in model]
        if not found:
            raise ValueError(
                "`texts` must be at least two for a map, but they are fewer instead. Give more."
            )
        return found[0]

    def save(self, path: str | Path) -> Path:
        """Write the page to a file, which needs no network and no other file.

        Args:
            path: of an .html file.

        Returns:
            The path.

        Raises:
            OSError: if it cannot be written.
        """
        write_output(path, self._page())
        return Path(path)

    def _page(self) -> str:
        from seqae.web.page import page

        return page(self.payload)

    def _repr_html_(self) -> str:
        # Without allow-same-origin: its scripts run, as if from a place that nobody else is at.
        style = "width: 100%; border: 0; border-radius: 6px"
        return (
            f'<iframe sandbox="allow-scripts" title="{escape(self.payload["title"])}" '
            f'height="{self.height}" style="{style}" srcdoc="{escape(self._page())}"></iframe>'
        )

    def __repr__(self) -> str:
        parts = [name for model in self.payload["models"] for name in model if name != "name"]
        return f"Picture({self.payload['title']!r}: {', '.join(parts)})"


class PictureOperations(LongTextOperations):
    """What is done with texts to look at."""

    def map(
        self,
        texts: Any,
        labels: Any = None,
        method: Method = "pca",
        seed: SupportsIndex = 0,
    ) -> Picture:
        """Put texts on a map: a page to hover over, search, zoom and colour.

        Latents that have a content part are compared by it. Texts that are too long are cut.

        Args:
            texts: as the class says, at least one.
            labels: a label for each text, to colour by; they are written as text.
            method: how latents become two coordinates: `pca`, `tsne` (the extra `map`), or `umap`
                if umap-learn is installed.
            seed: of the projection and the clusters.

        Returns:
            A Picture, which a notebook shows; `latent_map` of it is what
            `seqae.tasks.plot.map_figure` draws.

        Raises:
            ValueError: if there are no texts, or not as many labels.
        """
        texts = _read_some(texts)
        named = None if labels is None else [str(own) for own in list_items("labels", labels)]
        model: Model = {
            "name": self._name,
            "facts": [],  # the map is what a frame of this height is to show
            "map": self._latent_map(texts, named, None, method, check_seed(seed)),
        }
        return _picture(f"Map of {_count(texts)}", model)

    def show(self, texts: Any = None, seed: SupportsIndex = 0) -> Picture:
        """Show what this model is and does: reconstructions, a path, samples, a map.

        Args:
            texts: sentences to try it on, as the class says; by default those that its bundle is
                tested with.
            seed: of the samples and the clusters.

        Raises:
            ValueError: if there are no texts.
        """
        from seqae.web.differences import reconstructions

        seed = check_seed(seed)
        read = self._own_texts() if texts is None else _read_some(texts)
        written: list[str] = self.reconstruct(read, "truncate")
        model: Model = {
            "name": self._name,
            "facts": self._facts(),
            "reconstructions": reconstructions(map(self.normalization, read), written),
        }
        if len(read) > 1:
            path = self.interpolate(read[0], read[1], SHOWN, too_long="truncate")
            positions = np.linspace(0, 1, SHOWN).tolist()
            model["paths"] = [{"positions": positions, "texts": path}]
            model["map"] = self._latent_map(read, None, written, "pca", seed)
        model["samples"] = [
            {"text": text, "nearest": None, "similarity": None, "copied": False}
            for text in self.sample(SHOWN, seed=seed)
        ]
        model["notes"] = ["`seqae report` also shows the training, and measures beside baselines."]
        return _picture(f"{self._name} on {_count(read)}", model)

    @property
    def _name(self) -> str:
        parts = self.autoencoder.encoder, self.autoencoder.latent, self.autoencoder.decoder
        return " · ".join(type(part).__name__ for part in parts)

    def _facts(self) -> list[Fact]:
        """List what this model is, in one glance."""
        model, tokenizer = self.autoencoder, self.tokenizer
        weights = sum(weight.numel() for weight in model.parameters())
        facts = {
            "latent": f"{self.latent_dim:,} numbers",
            "reads": f"up to {model.max_length:,} tokens at once",
            "tokenizer": f"{type(tokenizer).__name__} of {tokenizer.vocab_size:,} tokens",
            "weights": f"{weights:,}",
        }
        if model.parts:
            sizes = {name: len(range(self.latent_dim)[own]) for name, own in model.parts.items()}
            facts["parts"] = ", ".join(f"{name} of {size:,}" for name, size in sizes.items())
        return [{"name": name, "value": value} for name, value in facts.items()]

    def _own_texts(self) -> list[str]:
        """Return the sentences of the bundle's self-test, or else some of seqae's own."""
        from seqae.bundle.probe_sentences import PROBES

        rows = self.details.get("selftest") or [{"text": text} for text in PROBES]
        return [row["text"] for row in rows]

    def _latent_map(
        self,
        texts: Sequence[str],
        labels: Sequence[str] | None,
        written: Sequence[str] | None,
        method: Method,
        seed: int,
    ) -> LatentMap:
        from seqae.web.differences import reconstructions
        from seqae.web.latent_map import latent_map

        if labels is not None and len(labels) != len(texts):
            raise ValueError(
                f"`labels` must be as many as `texts`, {len(texts):,}, but there are "
                f"{len(labels):,} instead. Give one for each."
            )
        part = self.compared_part
        latents = self.encode(list(texts), "truncate", part=part)
        errors = {}
        if written is not None:
            rows = reconstructions(map(self.normalization, texts), written)
            errors = {"error": [row["error"] for row in rows]}
        named = {} if labels is None else {LABEL: labels}
        return latent_map(latents, texts, named, errors, written, method, seed, part)[0]


def _read_some(texts: Any) -> list[str]:
    found, _ = read_texts("texts", texts)
    if not found:
        raise ValueError("`texts` must be one text or more, but there is none instead. Give some.")
    return found


def _picture(title: str, model: Model) -> Picture:
    return Picture(payload_of("notebook", title, [model]))


def _count(texts: Sequence[str]) -> str:
    return "1 text" if len(texts) == 1 else f"{len(texts):,} texts"
