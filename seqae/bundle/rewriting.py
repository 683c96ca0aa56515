"""Write a bundle anew from its own files: with other facts, without examples, in today's form.

The new folder is written beside the old one and compared with it. Only if both give the same
latents, texts and draws does it take the old one's place.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from seqae.bundle.card.bundle_evaluation import evaluation_to_bytes, own_evaluation
from seqae.bundle.card.facts import CardFacts
from seqae.bundle.card.given import Given, given_in_folder, given_in_training
from seqae.bundle.card.model_card import card_state, model_card, with_address
from seqae.bundle.find_bundle import is_own_file
from seqae.bundle.io import bundle_config, facts_of, load, seal_bundle, to_json
from seqae.bundle.manifest import (
    CARD,
    EVALUATION,
    FILES,
    prior_files,
    read_manifest,
    unknown_files,
)
from seqae.bundle.probe_sentences import PROBES, without_examples
from seqae.bundle.reading import read_json
from seqae.bundle.save import check_replaceable
from seqae.bundle.sharing.origin import copy_bundle
from seqae.bundle.stored_priors import prior_file, prior_to_bytes
from seqae.bundle.text_autoencoder import TextAutoencoder
from seqae.files import atomic_write, replace_folder, reporting, sha256_of
from seqae.untrusted import read_capped

DRAWS = 4  # from each prior, to compare


def read_facts(folder: Path, model: TextAutoencoder) -> CardFacts:
    """Collect what the card of a bundle is made of.

    Args:
        folder: the bundle.
        model: as loaded from it.
    """
    told = read_json(folder / "environment.json")
    environment = told if isinstance(told, dict) else {}
    config = read_json(folder / "config.json")
    evaluation = own_evaluation(folder)
    return facts_of(model.autoencoder, config, model.details, environment, evaluation)


def given_of(folder: Path, model: TextAutoencoder) -> Given:
    """Return what a person has said: in the card, or else at `seqae fit`."""
    card = given_in_folder(folder / CARD)
    return card.over(given_in_training(model.details["training"]))


def is_ours(folder: Path) -> bool:
    """Whether a bundle's card can be written over without losing anybody's words."""
    try:
        return card_state(read_capped(folder / CARD).decode()) == "as written"
    except FileNotFoundError:
        return True
    except ValueError:
        return False


def rewrite_bundle(
    folder: Path,
    output: Path | None = None,
    training: Mapping[str, Any] | None = None,
    given: Given | None = None,
    examples: bool = True,
    evaluation: Mapping[str, Any] | None = None,
    new_card: bool = True,
) -> Path:
    """Write a bundle anew, in today's form.

    Args:
        folder: the bundle.
        output: where; by default in its place.
        training: what `training.json` is to hold; by default what it holds.
        given: what a person says now; it wins over what was said before.
        examples: False takes out the sentences of the data, and the prior that holds their latents;
            sentences of our own take the place of those of the self-test.
        evaluation: what was measured on these weights; by default what is there.
        new_card: False keeps the card as it is.

    Returns:
        The folder.

    Raises:
        ValueError: if the bundle is damaged, the folder holds something else that would be lost, or
            the new bundle does not give the same; the old one is then as it was.
        OSError: if it cannot be written; the old one is then as it was.
    """
    target = folder if output is None else output
    if target != folder:
        check_replaceable(target, "output")
    elif unknown := unknown_files(folder):
        raise ValueError(
            f"`model` must be a folder with nothing but a bundle to be written anew, but {folder} "
            f"has {unknown[0]}, too. Move that away, or name another folder with `--output`."
        )
    model = load(folder)
    new = model if examples else without_examples(model)
    details, priors = dict(new.details), new.priors
    if training is not None:
        details["training"] = dict(training)
    measured = own_evaluation(folder) if evaluation is None else evaluation
    config = bundle_config(model.autoencoder, model.tokenizer, model.normalization)
    contents: dict[str, bytes | Path] = {name: folder / name for name in FILES}
    contents["config.json"] = to_json(config)
    for name in ("training", "selftest"):
        if details[name] != model.details[name]:
            contents[f"{name}.json"] = to_json(details[name])
    contents |= {prior_file(kind): prior_to_bytes(prior) for kind, prior in priors.items()}
    versions = read_facts(folder, model).environment
    facts = facts_of(model.autoencoder, config, details, versions, measured)
    said_before = given_of(folder, model)
    card = model_card(facts, given.over(said_before) if given else said_before).encode()
    if not new_card and (folder / CARD).exists() and is_own_file(folder / CARD):
        card = (folder / CARD).read_bytes()
    with reporting(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        replace_folder(
            target,
            seal_bundle(contents, card) | _beside(measured),
            lambda new: check_equal(model, load(new), details["selftest"], [*priors]),
        )
    return target


@contextmanager
def ready_to_send(folder: Path, address: str, examples: bool = True) -> Iterator[Path]:
    """Yield a bundle as others get it: its card loads it from where they find it.

    A card that somebody has edited is sent as it is. The bundle itself stays as it is.

    Args:
        folder: the bundle, which was checked.
        address: where it will be found.
        examples: False takes out the sentences of the data, as `rewrite_bundle` does.
    """
    with TemporaryDirectory(prefix="seqae-") as scratch:
        ready = folder
        if not examples:
            ready = Path(scratch) / "bundle"
            rewrite_bundle(folder, ready, examples=False, new_card=is_ours(folder))
        elif is_ours(folder) and (folder / CARD).exists():
            ready = Path(scratch) / "bundle"
            copy_bundle(folder, ready, None)
        if ready != folder:
            readdress(ready, address)
        yield ready


def readdress(folder: Path, address: str) -> None:
    """Let the card of a bundle load it from an address, unless somebody has edited the card."""
    if is_ours(folder) and (folder / CARD).exists():
        text = read_capped(folder / CARD).decode()
        atomic_write(folder / CARD, with_address(text, address))


def replace_training(folder: Path, more: Mapping[str, Any]) -> None:
    """Add to a bundle's `training.json`, and write its card anew.

    Args:
        folder: a bundle of our own; priors that are damaged go.
        more: entries of `training.json`.

    Raises:
        ValueError: if the bundle is damaged.
        OSError: if it cannot be written; the old one is then as it was.
    """
    model = load(folder, with_priors=False)
    listed = read_manifest(folder)
    priors = [name for name in prior_files(folder) if listed.get(name) == sha256_of(folder / name)]
    contents: dict[str, bytes | Path] = {name: folder / name for name in (*FILES, *priors)}
    model.details["training"] = {**model.details["training"], **more}
    contents["training.json"] = to_json(model.details["training"])
    facts = read_facts(folder, model)
    card = model_card(facts, given_of(folder, model)).encode()
    replace_folder(folder, seal_bundle(contents, card) | _beside(facts.evaluation))


def _beside(evaluation: Mapping[str, Any] | None) -> dict[str, bytes | Path]:
    return {} if evaluation is None else {EVALUATION: evaluation_to_bytes(evaluation)}


def check_equal(
    old: TextAutoencoder, new: TextAutoencoder, selftest: list[dict[str, str]], priors: list[str]
) -> None:
    """Compare two bundles by what they give, to the last bit.

    Args:
        old: the bundle that is replaced.
        new: the one that takes its place.
        selftest: of the new one; its sentences, and ours, are tried.
        priors: kinds that both must have.

    Raises:
        ValueError: naming what differs.
    """
    weights = old.autoencoder.state_dict(), new.autoencoder.state_dict()
    texts = [*PROBES, *(row["text"] for row in selftest)]
    same = {
        "weights": list(weights[0]) == list(weights[1])
        and all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0]),
        "latents": np.array_equal(old.encode(texts, "truncate"), new.encode(texts, "truncate")),
        "texts": old.reconstruct(texts, "truncate") == new.reconstruct(texts, "truncate"),
        "priors": [*new.priors] == priors,
        "draws": all(
            np.array_equal(old.sample_latents(DRAWS, kind, 0), new.sample_latents(DRAWS, kind, 0))
            for kind in priors
        ),
    }
    for what, is_same in same.items():
        if not is_same:
            raise ValueError(
                f"`model` must give the same when it is written anew, but its {what} differ. It is "
                f"left as it was; please report this."
            )
