"""From a model and sentences to the map that is drawn."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

from seqae.bundle.io import load
from seqae.component import check_range, check_seed
from seqae.data.sources.records import ReadOptions
from seqae.tasks.evaluate.texts import sentences_or_split
from seqae.tasks.inputs import READING, Instead, check_source
from seqae.web.differences import difference
from seqae.web.latent_map import latent_map
from seqae.web.payload import LatentMap
from seqae.web.projection import Method

LABEL, ERROR = "label", "error"
INSTEAD = Instead("`input`", "seqae plot map MODEL --input FILE")


def read_map(
    model: str,
    source: str | None = None,
    labels: str | None = None,
    method: Method = "pca",
    limit: int = 2000,
    seed: int = 0,
    device: str = "auto",
    reading: ReadOptions = READING,
    with_errors: bool = False,
) -> LatentMap:
    """Map the latents of sentences.

    Args:
        model: a bundle, the folder of a run, an address, or `demo`.
        source: a file of sentences, or anything else that `data.train` accepts; by default the test
            split of the data that the model was trained on.
        labels: a .tsv or .jsonl file of text, label instead.
        method: `pca`, `tsne` or `umap`.
        limit: number of sentences, drawn at random; 0 takes all.
        seed: of the draw, the projection and the clusters.
        device: where to compute.
        reading: how the file is read.
        with_errors: also reconstruct the sentences, for the column `error`.

    Raises:
        ValueError: if there are no sentences, or both `source` and `labels`.
    """
    check_range("limit", limit, 0, 10**7)
    seed = check_seed(seed)
    if source is not None and labels is not None:
        raise ValueError(
            f"`labels` must be left out beside `input`, because its file also holds the sentences, "
            f"but it is {labels} instead. Leave out one of them."
        )
    check_source(source, "input", reading)
    rows = None
    if labels is not None:
        from seqae.tasks.evaluate.annotations import read_labels  # brings scikit-learn, 2 seconds

        rows = read_labels(labels)
    loaded = load(model, device)
    if rows is not None:
        texts = [text for text, _ in rows]
    else:
        texts = sentences_or_split(loaded, Path(model), source, "input", INSTEAD, reading)
    total = len(texts)
    chosen: Sequence[int] = range(total)
    if limit and total > limit:
        chosen = sorted(random.Random(seed).sample(chosen, limit))
    texts = [texts[row] for row in chosen]
    part = loaded.compared_part
    latents = loaded.encode(texts, "truncate", part=part, show_progress_bar=True)
    written = None
    errors = {}
    if with_errors:
        written = loaded.reconstruct(texts, "truncate", show_progress_bar=True)
        pairs = zip(map(loaded.normalization, texts), written, strict=True)
        errors = {ERROR: [difference(text, other).error for text, other in pairs]}
    named = {} if rows is None else {LABEL: [rows[row][1] for row in chosen]}
    found, _ = latent_map(latents, texts, named, errors, written, method, seed, part, total)
    return found
