"""Check a bundle step by step, and say what each step has found.

`seqae check` shows the steps; `push` and whoever else passes a bundle on calls `check_bundle`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from seqae.bundle.card.bundle_evaluation import read_evaluation
from seqae.bundle.card.model_card import card_state
from seqae.bundle.io import environment
from seqae.bundle.manifest import (
    CARD,
    EVALUATION,
    MANIFEST,
    check_hashes,
    check_names,
    unknown_files,
)
from seqae.bundle.probe_sentences import probe_rows, repeated_rows
from seqae.bundle.reading import (
    longest_target,
    read_autoencoder,
    read_config,
    read_details,
    read_json,
    read_normalization,
    read_tokenizer,
)
from seqae.bundle.sharing.address import find_bundle
from seqae.bundle.stored_priors import read_priors
from seqae.bundle.text_autoencoder import TextAutoencoder
from seqae.bundle.weights import stored_dtypes
from seqae.untrusted import read_capped, shown

Status = Literal["ok", "warning", "failed", "not checked"]

MAX_NAMED = 3  # files, of many, that a row names

# Characters of the self-test that are repeated. A hostile tokenizer takes 1.6 seconds for 10,000
# characters (Unigram, each token a beginning of the next); a self-test of ours has about 500.
MAX_REPEATED = 20_000


@dataclass(frozen=True)
class Row:
    """One thing that was checked.

    Attributes:
        check: what.
        status: `warning` if nothing is broken, but a pipeline may want to stop.
        found: what is there, in a few words.
    """

    check: str
    status: Status
    found: str


@dataclass(frozen=True)
class Probe:
    """A sentence that was reconstructed.

    Attributes:
        text: the sentence.
        reconstruction: what the model makes of it here.
        stored: what it made of it when the bundle was written; None if the bundle has no sentences.
    """

    text: str
    reconstruction: str
    stored: str | None

    @property
    def is_as_stored(self) -> bool:
        """Whether the model still does what it did."""
        return self.stored in (None, self.reconstruction)


@dataclass
class Examination:
    """What was found in a bundle.

    Attributes:
        folder: of the bundle.
        rows: what was checked, in this order; after a failure nothing more is.
        probes: sentences, and what comes back.
        error: why the bundle must not be used; None if nothing has failed.
        model: the loaded model, if all of it could be read.
    """

    folder: Path
    rows: list[Row] = field(default_factory=list)
    probes: list[Probe] = field(default_factory=list)
    error: ValueError | None = None
    model: TextAutoencoder | None = None

    @property
    def warnings(self) -> list[Row]:
        """What a strict check refuses."""
        return [row for row in self.rows if row.status == "warning"]


def check_bundle(where: str | Path, strict: bool = False) -> Examination:
    """Check all of a bundle, and reconstruct the sentences of its self-test.

    Args:
        where: a bundle, the folder of a run that has one, an address, or `demo`.
        strict: refuse also what is only unusual: an edited or missing card, files that are no part
            of a bundle, other versions of the libraries than those that wrote it.

    Raises:
        ValueError: if a file is missing, changed or invalid, or a sentence comes back otherwise
            than when the bundle was written.
    """
    examination = examine(where)
    if examination.error is not None:
        raise examination.error
    if strict and (warnings := examination.warnings):
        raise strict_error(examination.folder, warnings)
    return examination


def strict_error(folder: Path, warnings: list[Row]) -> ValueError:
    """Make the error of a strict check from the rows that it refuses."""
    told = "; ".join(f"{row.check}: {row.found}" for row in warnings)
    return ValueError(
        f"`strict` must find nothing unusual in {folder}, but there is: {told}. Mend that, or "
        f"check without `strict`."
    )


def examine(where: str | Path) -> Examination:
    """Check a bundle as `check_bundle` does, but put a failure into the result.

    Args:
        where: a bundle, the folder of a run that has one, an address, or `demo`.

    Raises:
        ValueError: if there is no such folder.
        OSError: if it cannot be fetched.
    """
    folder = find_bundle(where).folder
    if not folder.is_dir():
        check_names(folder)  # says which folder may be meant
    examination = Examination(folder)
    steps = _Steps(folder, examination)
    for name, step in steps.in_order().items():
        if examination.error is not None:
            examination.rows.append(Row(name, "not checked", ""))
            continue
        try:
            status, found = step()
        except ValueError as error:
            examination.error = error
            status, found = "failed", str(error)
        examination.rows.append(Row(name, status, found))
    return examination


Found = tuple[Status, str]


class _Steps:
    """The steps of a check; each keeps what the next one needs."""

    def __init__(self, folder: Path, examination: Examination) -> None:
        self.folder, self.examination = folder, examination

    def in_order(self) -> Mapping[str, Callable[[], Found]]:
        """List the steps by name."""
        return {
            "manifest": self.manifest,
            "hashes": self.hashes,
            "config": self.config,
            "tokenizer": self.tokenizer,
            "weights": self.weights,
            "records": self.records,
            "priors": self.priors,
            "card": self.card,
            "evaluation": self.evaluation,
            "other files": self.other_files,
            "versions": self.versions,
            "sentences": self.sentences,
        }

    def manifest(self) -> Found:
        self.listed = check_names(self.folder)
        size = sum((self.folder / name).stat().st_size for name in self.listed)
        return "ok", f"lists the {len(self.listed)} files that are here, {size / 2**20:,.1f} MiB"

    def hashes(self) -> Found:
        check_hashes(self.folder, self.listed)
        return "ok", f"the SHA-256 of each file is that of {MANIFEST}"

    def config(self) -> Found:
        self.settings = read_config(self.folder)
        self.normalization = read_normalization(self.settings)
        return "ok", f"format {self.settings['format']}"

    def tokenizer(self) -> Found:
        self.words = read_tokenizer(self.folder, self.settings)
        kind, size = type(self.words).__name__, self.words.vocab_size
        return "ok", f"{kind} of {size:,} tokens, hash {self.words.fingerprint[:8]}, as in config"

    def weights(self) -> Found:
        self.autoencoder = read_autoencoder(self.folder, self.settings, self.words)
        tensors = self.autoencoder.state_dict()
        count = sum(tensor.numel() for tensor in tensors.values())
        parts = self.autoencoder.encoder, self.autoencoder.latent, self.autoencoder.decoder
        kinds = ", ".join(stored_dtypes(self.folder / "model.safetensors"))
        return "ok", (
            f"{count:,} numbers in {len(tensors)} tensors ({kinds}), all finite, in the shapes of "
            f"{' · '.join(type(part).__name__ for part in parts)}"
        )

    def records(self) -> Found:
        self.details = read_details(self.folder)
        self.autoencoder.longest_target = longest_target(self.details["training"])
        told = read_json(self.folder / "environment.json")
        self.written_by = told if isinstance(told, dict) else {}
        metrics, selftest = len(self.details["metrics"]), len(self.details["selftest"])
        return "ok", f"{metrics} metrics, how it was trained, {selftest} sentences"

    def priors(self) -> Found:
        priors = read_priors(self.folder, self.autoencoder.latent_dim)
        self.model = TextAutoencoder(
            self.autoencoder, self.words, self.details, self.normalization, priors
        )
        self.examination.model = self.model
        return "ok", ", ".join(priors) or "none"

    def card(self) -> Found:
        try:
            state = card_state(read_capped(self.folder / CARD).decode())
        except FileNotFoundError:
            return "warning", f"there is no {CARD}, the model card"
        except (OSError, ValueError) as error:
            return "warning", f"{CARD} cannot be read: {error}"
        if state == "as written":
            return "ok", f"{CARD} is as it was written"
        return "warning", (
            f"{CARD}, the model card, has been edited"
            f"{', or another version has written it' if state == 'without seal' else ''}"
        )

    def evaluation(self) -> Found:
        path = self.folder / EVALUATION
        if not path.exists():
            return "ok", "none"
        try:
            read_evaluation(path, self.folder)
        except (OSError, ValueError) as error:
            return "warning", f"{EVALUATION} is left out of the card: {error}"
        return "ok", f"{EVALUATION} is of these weights"

    def other_files(self) -> Found:
        unknown = unknown_files(self.folder)
        if not unknown:
            return "ok", "none"
        named = ", ".join(unknown[:MAX_NAMED])
        more = f" and {len(unknown) - MAX_NAMED} more" if len(unknown) > MAX_NAMED else ""
        return "warning", f"{named}{more}: no part of a bundle, and never read"

    def versions(self) -> Found:
        here = environment()
        others = [
            f"{name} {version} ({here[name]} here)"
            for name, version in self.written_by.items()
            if name in here and here[name] != version
        ]
        if others:
            return "warning", f"written by {', '.join(others)}"
        return "ok", f"those that wrote it: seqae {here['seqae']}, torch {here['torch']} …"

    def sentences(self) -> Found:
        stored, characters = [], 0
        for row in self.details["selftest"]:
            characters += len(row["text"])
            if characters <= MAX_REPEATED:
                stored.append(row)
        rows = repeated_rows(self.model, stored) if stored else probe_rows(self.model)
        expected = [row["reconstruction"] for row in stored] or [None] * len(rows)
        probes = [
            Probe(row["text"], row["reconstruction"], then)
            for row, then in zip(rows, expected, strict=True)
        ]
        self.examination.probes = probes
        if other := next((probe for probe in probes if not probe.is_as_stored), None):
            raise ValueError(
                f"`selftest` must give the reconstructions that the bundle stores, but "
                f"{shown(other.text)} gives {shown(other.reconstruction)} instead of "
                f"{shown(other.stored)}. "
                f"Compare `environment.json` with your versions."
            )
        if not self.details["selftest"]:
            return "ok", f"none stored; {len(probes)} of our own were encoded and decoded"
        if left := len(self.details["selftest"]) - len(stored):
            return "warning", (
                f"{len(stored)} are reconstructed as when it was written; {left} more are too long "
                f"to try"
            )
        return "ok", f"{len(probes)} of {len(probes)} are reconstructed as when it was written"
