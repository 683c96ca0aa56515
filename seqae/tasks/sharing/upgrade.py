"""`seqae upgrade`: write an old bundle in today's form."""

from __future__ import annotations

from pathlib import Path

from seqae.bundle.find_bundle import DEMO_FOLDER
from seqae.bundle.manifest import CARD
from seqae.bundle.rewriting import is_ours, rewrite_bundle
from seqae.bundle.sharing.address import find_checked_bundle, is_address


def upgrade(model: str, output: str | None = None, replace_card: bool = False) -> None:
    """Write a bundle of an earlier version in today's form: its files, its priors and its card.

    The new one is written beside the old one and compared with it: weights, latents, texts and
    draws must be the same to the last bit before it takes the old one's place. A bundle need not be
    upgraded to be used; every earlier form is still read.

    Example:
        seqae upgrade old_bundle --output new_bundle

    Args:
        model: a bundle, the folder of a run, an address, or `demo`.
        output: the folder for the new one; by default it replaces the old one.
        replace_card: in place, write the card anew even if somebody may have edited it; into
            another folder a new card always goes.
    """
    folder = find_checked_bundle(model).folder
    if output is None and (is_address(model) or folder == DEMO_FOLDER):
        raise ValueError(
            f"`output` must be given where the bundle is not in a folder of your own, but for "
            f"{model} it is not. Name a folder: `--output upgraded`."
        )
    new_card = output is not None or replace_card or is_ours(folder)
    written = rewrite_bundle(folder, None if output is None else Path(output), new_card=new_card)
    if not new_card:
        print(f"note: {CARD} is as it was, since somebody may have edited it; see --replace_card")
    print(f"{written}: in today's form, and equal to the last bit")
