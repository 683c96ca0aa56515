"""What a bundle records of its training: the data with its hash and counts, and the hardware."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from seqae.bundle.card.given import make_given
from seqae.data.datamodule import TextDataModule
from seqae.data.sources.discovery import without_path


@dataclass
class CardOptions:
    """What a person says of the bundle, and which sentences it carries.

    Args:
        licence: of the model, by its name on the Hugging Face hub: apache-2.0, mit, cc-by-4.0,
            other ...; by default the card says that none was given.
        language: of the text, by codes of ISO 639: en, or en,de for several.
        examples: carry a few validation sentences beside their reconstructions, in the card and for
            `seqae check`; otherwise sentences of seqae's own, and no latents of training sentences.
    """

    licence: str | None = None
    language: str | None = None
    examples: bool = True

    def to_plain(self) -> dict[str, Any]:
        """Return what was given, for `training.json`.

        Raises:
            ValueError: if it is no licence or language that the Hub would take.
        """
        given = make_given(self.licence, self.language, "card.").to_plain()
        return given if self.examples else {**given, "examples": False}


def describe_corpus(data: TextDataModule) -> dict[str, Any]:
    """Say what was trained on: sources without paths, sentences, tokens and a hash of each split.

    Args:
        data: after `setup`.
    """
    sources = [
        {
            "name": without_path(source["name"]),
            "split": source["split"],
            "read": source["records"]["read"],
            "kept": source["sentences"]["kept"],
            "revision": source["record"].get("revision"),
        }
        for source in data.report["sources"]
    ]
    splits = {
        split: {
            "sentences": len(corpus),
            "tokens": corpus.num_tokens,
            "sha256": corpus.fingerprint,
        }
        for split, corpus in data.corpora.items()
        if len(corpus)
    }
    return {"sources": sources, "splits": splits}


def describe_hardware(device: torch.device) -> dict[str, Any]:
    """Name the processor, its cores, and the accelerator if the model computes on one."""
    named: dict[str, Any] = {"cpu": _processor(), "cores": os.cpu_count()}
    if device.type == "cuda":
        named["accelerator"] = torch.cuda.get_device_name(device)
    elif device.type != "cpu":
        named["accelerator"] = device.type
    return named


def _processor() -> str:
    """Return the model of the processor, as the system names it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return next(iter(models), "") or platform.processor() or platform.machine()
