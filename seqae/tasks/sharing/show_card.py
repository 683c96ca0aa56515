"""`seqae card`: show the model card of a bundle, or write it anew."""

from __future__ import annotations

import re
from pathlib import Path

from rich.console import Console
from rich.markdown import Markdown
from rich.syntax import Syntax

from seqae.bundle.card.bundle_evaluation import evaluation_to_bytes, read_evaluation
from seqae.bundle.card.given import make_given, split_front_matter
from seqae.bundle.card.model_card import model_card
from seqae.bundle.find_bundle import DEMO_FOLDER
from seqae.bundle.io import load
from seqae.bundle.manifest import CARD, EVALUATION
from seqae.bundle.rewriting import given_of, is_ours, read_facts, rewrite_bundle
from seqae.bundle.sharing.address import find_checked_bundle, is_address
from seqae.files import atomic_write
from seqae.terminal import table_console, visible
from seqae.untrusted import read_capped

_COMMENT = re.compile(r"<!--.*?-->\n?", re.DOTALL)


def card(
    model: str,
    licence: str | None = None,
    language: str | None = None,
    evaluation: str | None = None,
    no_examples: bool = False,
    write: bool = False,
    replace: bool = False,
) -> None:
    """Show the model card of a bundle, or write it anew.

    Without `write`, what it would say is shown. The licence and the language are those that you
    give, at `seqae fit` or here, and stay when the card is written again.

    Example:
        seqae evaluate runs/mine --output measured.json
        seqae card runs/mine --evaluation measured.json --licence mit --language en --write

    Args:
        model: a bundle, the folder of a run, an address, or `demo`.
        licence: of the model, by its name on the Hugging Face hub: apache-2.0, mit, cc-by-4.0,
            other ...
        language: of its text, by codes of ISO 639: en, or en,de for several.
        evaluation: a .json file of `seqae evaluate`, to put beside the model, without its
            sentences, and into the card: metrics beside baselines.
        no_examples: take the sentences of the data out of the bundle, and the prior that holds
            latents of training sentences; `seqae check` then tries sentences of seqae's own.
        write: write the card into the bundle.
        replace: also over a card that somebody has edited, or an early version has written.
    """
    given = make_given(licence, language)
    folder = find_checked_bundle(model).folder
    changes = bool(licence or language or evaluation or no_examples or write)
    if not changes and (folder / CARD).exists():
        show(read_capped(folder / CARD).decode("utf-8", "replace"))
        return
    if write:
        _check_writable(model, folder, replace)
    loaded = load(folder)
    measured = None
    if evaluation is not None:
        measured = read_evaluation(Path(evaluation), folder)
    if write and no_examples:
        rewrite_bundle(folder, given=given, examples=False, evaluation=measured)
    facts = read_facts(folder, load(folder) if write and no_examples else loaded)
    if not write and no_examples:
        facts = facts.without_examples()
    if measured is not None:
        facts = facts.with_evaluation(measured)
    text = model_card(facts, given.over(given_of(folder, loaded)))
    if not write:
        show(text)
        return
    if measured is not None:
        atomic_write(folder / EVALUATION, evaluation_to_bytes(measured))
    atomic_write(folder / CARD, text)
    print(f"card: {folder / CARD}")


def show(text: str) -> None:
    """Print a card: its front matter as YAML, and the Markdown as it is meant.

    Args:
        text: of any origin; nothing in it reaches the terminal as a control character.
    """
    console: Console = table_console()
    lines = [visible(line.replace("\t", "    ")) for line in text.splitlines()]
    header, body = split_front_matter("\n".join(lines) + "\n")
    if header:
        console.print(Syntax(header, "yaml", background_color="default", word_wrap=True))
        console.print()
    console.print(Markdown(_COMMENT.sub("", body), hyperlinks=False))


def _check_writable(model: str, folder: Path, replace: bool) -> None:
    """Refuse to write where others read, or over what somebody has written."""
    if is_address(model) or folder == DEMO_FOLDER:
        raise ValueError(
            f"`model` must be a folder of your own to be written to, but it is {model} instead. "
            f"Leave out `--write`, or copy it first: `seqae pull` or `seqae upgrade --output`."
        )
    if not replace and not is_ours(folder):
        raise ValueError(
            f"`replace` must be given where {CARD} has been edited, or an early version has "
            f"written it, but it is not. Look at {folder / CARD} first; then write over it with "
            f"`--replace`."
        )
