"""What a report shows of a model at work: what comes back, and what it writes by itself."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from seqae.bundle.operations.latent_ops import Latents, nearest
from seqae.bundle.operations.text_operations import LongPolicy
from seqae.bundle.text_autoencoder import TextAutoencoder
from seqae.metrics.definitions import LENGTHS
from seqae.metrics.segmenter import blank_separated
from seqae.tasks.evaluate.noise_levels import NOISE, noisy_latents
from seqae.tasks.plot.figure_inputs import LONG, SHORT
from seqae.tasks.report.time_limit import TimeLimit
from seqae.web.differences import difference, reconstructions
from seqae.web.payload import Curve, LengthGroup, Path, Reconstruction, Sample, Series

BLOCK = 128  # sentences that are decoded at once
SHOWN = 100  # reconstructions on the page
NOISY = 32  # sentences of the robustness curve
PATHS, STEPS = 4, 7
SAMPLES = 12

_BLANKS = re.compile(r"\s+")


def written_back(
    model: TextAutoencoder, texts: Sequence[str], limit: TimeLimit, share: float
) -> list[str]:
    """Reconstruct as many texts as time allows, in their order, one block at least.

    Args:
        model: the model.
        texts: normalized ones.
        limit: the time there is.
        share: of it that this may take.
    """
    predictions: list[str] = []
    policy: LongPolicy = "split" if model.policy == "split" else "truncate"
    for block in limit.blocks(texts, BLOCK, share):
        predictions += model.reconstruct(list(block), policy)
    return predictions


def from_worst_to_best(
    texts: Sequence[str], predictions: Sequence[str], shown: int = SHOWN
) -> list[Reconstruction]:
    """Compare texts with what came back, the greatest errors first.

    If there are more than are shown, these are spread evenly over all, from the worst to the best.

    Args:
        texts: the references.
        predictions: as many.
        shown: how many at most.
    """
    rows = reconstructions(texts, predictions)
    rows.sort(key=lambda row: -row["error"])
    if len(rows) > shown:
        rows = [rows[place] for place in np.linspace(0, len(rows) - 1, shown).round().astype(int)]
    return rows


def length_groups(
    model: TextAutoencoder, texts: Sequence[str], predictions: Sequence[str]
) -> list[LengthGroup]:
    """Measure reconstructions by the number of words, as `seqae evaluate` groups them.

    Args:
        model: its tokenizer counts the tokens.
        texts: the references.
        predictions: as many.
    """
    rows = list(
        zip(
            (len(blank_separated(text)) for text in texts),
            (text == prediction for text, prediction in zip(texts, predictions, strict=True)),
            model.tokenizer.encode(list(texts)),
            model.tokenizer.encode(list(predictions)),
            strict=True,
        )
    )
    keys = LONG if any(row[0] > LENGTHS["to_35"][1] for row in rows) else SHORT
    groups: list[LengthGroup] = []
    for key in keys:
        low, high = LENGTHS[key]
        own = [row for row in rows if low <= row[0] <= high]
        if not own:
            continue
        right = sum(a == b for *_, old, new in own for a, b in zip(old[1:], new[1:], strict=False))
        groups.append(
            {
                "low": low,
                "high": high,
                "count": len(own),
                "exact_match": sum(row[1] for row in own) / len(own),
                "token_accuracy": right / sum(len(row[2]) - 1 for row in own),
            }
        )
    return groups


def noise_curves(model: TextAutoencoder, texts: Sequence[str], seed: int) -> list[Curve]:
    """Measure what comes back under noise, on a few sentences.

    Args:
        model: whose decoder reads the latent alone.
        texts: at least one.
        seed: of the noise.
    """
    own = list(texts[:NOISY])
    noisy = np.concatenate(noisy_latents(model, model.encode(own, "truncate"), seed))
    lengths = [*model.lengths(own)] * len(NOISE)
    ways: dict[str, Latents | None] = {"the model": None}
    if model.autoencoder.latent_noise is not None:
        told = np.repeat(np.asarray(NOISE, np.float32), len(own))
        ways = {"noise unknown to the decoder": None, "noise told": told}
    unchanged: dict[str, Series] = {}
    kept: dict[str, Series] = {}
    for name, noise in ways.items():
        rows = model.decode_ids(noisy, lengths=lengths, default_noise=noise)
        pairs = zip(own * len(NOISE), model.tokenizer.decode(rows), strict=True)
        errors = np.asarray([min(1.0, error_of(*pair)) for pair in pairs]).reshape(len(NOISE), -1)
        unchanged[name] = _series((errors == 0).mean(axis=1))
        kept[name] = _series(1 - errors.mean(axis=1))
    return [
        {
            "title": label,
            "x_label": "noise of the latent (standard deviations)",
            "y_label": "",
            "lines": lines,
            "meaning": f"What comes back of {len(own)} sentences when noise is added to their "
            f"latents. A curve that falls slowly means that near latents mean near texts.",
        }
        for label, lines in (("Sentences unchanged (%)", unchanged), ("Words right (%)", kept))
    ]


def error_of(text: str, prediction: str) -> float:
    """Return edits for each word; most sentences come back whole, which is seen at once.

    Args:
        text: the reference.
        prediction: what came back.
    """
    return 0.0 if text == prediction else difference(text, prediction).error


def _series(shares: NDArray[np.float64]) -> Series:
    return {"steps": list(NOISE), "values": (100 * shares).tolist()}


def paths(model: TextAutoencoder, texts: Sequence[str]) -> list[Path]:
    """Decode the way from one sentence to another, for a few pairs of short ones.

    Args:
        model: whose decoder reads the latent alone.
        texts: to choose from.
    """
    chosen = list(dict.fromkeys(text for text in texts if 3 <= len(text.split()) <= 9))
    positions = [round(step / (STEPS - 1), 3) for step in range(STEPS)]
    found: list[Path] = []
    for start, end in zip(chosen[0::2], chosen[1::2], strict=False):
        if len(found) == PATHS:
            break
        decoded = model.interpolate(start, end, STEPS, too_long="truncate")
        found.append({"positions": positions, "texts": decoded})
    return found


def samples(
    model: TextAutoencoder,
    known: Sequence[str],
    latents: Latents,
    all_known: Sequence[str],
    seed: int,
) -> list[Sample]:
    """Draw sentences, each beside the nearest of some training sentences.

    Args:
        model: whose decoder reads the latent alone.
        known: training sentences, with
        latents: (n, C), the part that is compared.
        all_known: all training sentences that were read, to recognise copies.
        seed: of the draw.
    """
    texts = model.sample(SAMPLES, seed=seed)
    copies = {_plain(text): text for text in all_known}
    nearest_of: list[tuple[str | None, float | None]] = [(None, None)] * len(texts)
    if len(known):
        encoded = model.encode(texts, "truncate", part=model.compared_part)
        values, rows = nearest(encoded, latents, 1)
        nearest_of = [
            (known[row], float(value))
            for (row,), (value,) in zip(rows.tolist(), values.tolist(), strict=True)
        ]
    found: list[Sample] = []
    for text, (other, similarity) in zip(texts, nearest_of, strict=True):
        copied = copies.get(_plain(text))
        found.append(
            {
                "text": text,
                "nearest": other if copied is None else copied,
                "similarity": similarity if copied is None else 1.0,
                "copied": copied is not None,
            }
        )
    return found


def _plain(text: str) -> str:
    return _BLANKS.sub("", text).lower()
