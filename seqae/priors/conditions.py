"""Conditions: the length and the label of a sentence, as the networks of priors read them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from seqae.priors.base import Drawing

DROPOUT = 0.1  # of what is known of a sentence, so that guidance knows what is likely without it
LENGTH_FEATURES = 3  # whether it is known, its standardised logarithm, the square of that
MAX_LABELS, MAX_LABEL = 1000, 200  # labels, and characters of one


@dataclass(frozen=True)
class Conditions:
    """What a prior was told of the sentences that it was fitted to.

    Args:
        labels: all that there were, sorted.
        length_scale: (2,), mean and deviation of the logarithms of the lengths, in tokens; zeros
            if no lengths were told.
    """

    labels: list[str]
    length_scale: Tensor

    def __post_init__(self) -> None:
        check_labels(self.labels)
        if self.has_lengths and not 1e-3 < float(self.length_scale[1]) < 1e3:
            raise ValueError(
                f"`length_scale` must have a deviation from 0.001 to 1,000, but it is "
                f"{float(self.length_scale[1]):g} instead."
            )

    @classmethod
    def of(cls, lengths: Tensor | None, labels: Sequence[str] | None) -> Conditions:
        """Read them off the sentences: lengths (n,) in tokens, and n labels."""
        if lengths is None:
            return cls(sorted(set(labels or ())), torch.zeros(2))
        logs = lengths.float().log().cpu()
        scale = torch.stack([logs.mean(), logs.std().clamp(min=1e-2)])
        return cls(sorted(set(labels or ())), scale)

    @property
    def has_lengths(self) -> bool:
        """Whether lengths were told."""
        return bool(self.length_scale.any())

    def features(self, logs: Tensor) -> Tensor:
        """Standardise logarithms of lengths, (n,) to (n, LENGTH_FEATURES)."""
        value = (logs - self.length_scale[0]) / self.length_scale[1]
        return torch.stack([torch.ones_like(value), value, value**2], dim=1)

    def of_sentences(
        self, count: int, lengths: Tensor | None, labels: Sequence[str] | None
    ) -> tuple[Tensor, Tensor]:
        """Return what is known of sentences.

        Args:
            count: n.
            lengths: (n,), in tokens; None if they are not known, or if none were told in fitting.
            labels: n of those that the prior knows; None if they are not known.

        Returns:
            Features of the lengths (n, LENGTH_FEATURES), zeros where they are not known; and
            indices of the labels (n,), the number of labels where they are not known.
        """
        features = torch.zeros(count, LENGTH_FEATURES)
        if lengths is not None and self.has_lengths:
            features = self.features(lengths.float().log().cpu())
        if not labels:
            return features, torch.full((count,), len(self.labels))
        index = {label: i for i, label in enumerate(self.labels)}
        return features, torch.tensor([index[label] for label in labels], dtype=torch.int64)

    def asked(self, count: int, drawing: Drawing, kind: str) -> tuple[Tensor, Tensor]:
        """Return what a draw of `count` sentences asks for, as `of_sentences` does.

        Raises:
            ValueError: if the prior, of that kind, was not fitted with it.
        """
        if drawing.length is not None and not self.has_lengths:
            raise ValueError(
                f"`length` must be left out for a prior that was fitted without lengths, but it is "
                f"{drawing.length} instead. Fit it again: `seqae prior MODEL --kind {kind}`."
            )
        if drawing.label is not None and drawing.label not in self.labels:
            known = ", ".join(self.labels[:20]) or "none"
            raise ValueError(
                f"`label` must be one that the prior was fitted with ({known}), but it is "
                f"{drawing.label[:80]} instead. Fit it again: `seqae prior MODEL --kind {kind} "
                f"--labels FILE`."
            )
        features = torch.zeros(count, LENGTH_FEATURES)
        if drawing.length is not None:
            features = self.features(torch.full((count,), math.log(drawing.length)))
        index = len(self.labels) if drawing.label is None else self.labels.index(drawing.label)
        return features, torch.full((count,), index)


def check_labels(labels: Any) -> None:
    """Check labels that may come from a stranger.

    Raises:
        ValueError: if there are too many, or one is no text or too long.
    """
    is_short = isinstance(labels, list) and len(labels) <= MAX_LABELS
    if not is_short or not all(isinstance(a, str) and len(a) <= MAX_LABEL for a in labels):
        raise ValueError(
            f"`labels` must be at most {MAX_LABELS:,} texts of at most {MAX_LABEL} characters, but "
            f"they are not. Drop rare labels, or shorten them."
        )
