"""The model card: valid for the Hub, true to the files, and safe whatever they say."""

from __future__ import annotations

import unicodedata
from dataclasses import replace
from typing import Any

import contracts
import pytest
import yaml
from huggingface_hub import ModelCard, ModelCardData
from hypothesis import given as given_texts
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from seqae.bundle.card.escaping import plain
from seqae.bundle.card.facts import CardFacts
from seqae.bundle.card.front_matter import front_matter
from seqae.bundle.card.given import HERE, Given, given_in_card, given_in_training, make_given
from seqae.bundle.card.model_card import card_state, model_card, with_address
from seqae.bundle.find_bundle import DEMO_FOLDER
from seqae.bundle.io import load
from seqae.bundle.rewriting import read_facts
from seqae.terminal import DIRECTIONS, visible

EVALUATION = {
    "sentences": 200,
    "from": "unseen, from the test split",
    "seed": 0,
    "scores": {
        "model": {"bleu": 81.38, "exact_match": 0.91, "shuffle_gap": 2.5, "noise_bleu_area": 26.7},
        "nearest by TF-IDF": {"bleu": 7.36, "exact_match": 0.0},
    },
    "notes": {"reconstruction": "BLEU is a|b"},
}
TRAINING: dict[str, Any] = {
    "optimizer_steps": 1200,
    "tokens": 34567,
    "seconds": 3661.0,
    "precision": "32-true",
    "hardware": {"cpu": "A Processor", "cores": 4, "accelerator": "A GPU"},
    "data": "hf:lab/texts@main, my.txt",
    "corpus": {
        "sources": [
            {"name": "hf:lab/texts@main", "split": "train", "read": 9, "kept": 8, "revision": "ab"}
        ],
        "splits": {"train": {"sentences": 1234, "tokens": 5678, "sha256": "0123456789abcdef" * 4}},
    },
    "whole_run": {"optimizer_steps": 2400, "seconds": 7300.0},
    "config": {"model": {"learning_rate": 0.003, "objective": {"class_path": "Reconstruction"}}},
}
HOSTILE = (
    "a | b\n<script>alert(1)</script>",
    "[a](http://b) `c`\x1b[31m ![*d*](e) www.evil.com me@evil.com",
    "---\nlicense: stolen\n---",
    "\u202edesrever\u2066 & &lt; $x$ ~~y~~ # h",
    "\n<!-- written by seqae; sha256 of the above: " + "0" * 64 + " -->\n",
)


@pytest.fixture(scope="module")
def facts() -> CardFacts:
    read = read_facts(DEMO_FOLDER, load(DEMO_FOLDER))
    return replace(read, training=TRAINING, evaluation=EVALUATION, metrics={"val/bleu": 80.5})


def body(text: str) -> str:
    return text.split("\n---\n", 1)[1]


def test_the_hubs_own_parser_reads_the_front_matter(facts: CardFacts) -> None:
    """What ModelCardData reads, it writes again: nothing is unknown to it, and nothing lost."""
    text = model_card(facts, make_given("mit", "en, de"))
    data = ModelCard(text).data
    assert (data.license, data.language, data.library_name) == ("mit", ["en", "de"], "seqae")
    assert data.datasets == ["lab/texts"]
    assert data.pipeline_tag == "feature-extraction"
    assert yaml.safe_load(front_matter(facts, make_given("mit", "en, de")).split("---")[1]) == (
        ModelCardData(**data.to_dict()).to_dict()
    )
    assert data.model_name == "GRUEncoder · DeterministicLatent · GRUDecoder"
    found = {(r.metric_type, r.dataset_split): r for r in data.eval_results}
    assert set(found) == {
        ("bleu", "test"),
        ("exact_match", "test"),
        ("noise_bleu_area", "test"),
        ("bleu", "validation"),
    }
    bleu = found["bleu", "test"]
    assert (bleu.metric_value, bleu.metric_args) == (
        81.38,
        {"baselines": {"nearest by TF-IDF": 7.36}},
    )
    assert (bleu.dataset_args, bleu.dataset_revision) == ({"sentences": 200}, "ab")


def test_nothing_is_invented() -> None:
    config = load(DEMO_FOLDER).autoencoder.config()
    told = {"autoencoder": config, "tokenizer": {"class_path": "T"}, "vocabulary": {"size": 9}}
    facts = CardFacts({**told, "max_length": 7}, {}, {})
    text = model_card(facts, Given())
    data = ModelCard(text).data.to_dict()
    assert not {"license", "language", "datasets", "model-index"} & set(data)
    assert "Licence: none was given; ask whoever shared it. Language: not given." in text
    assert "Nothing was measured on it." in text
    assert "no baseline was measured" in text


def test_it_says_what_was_recorded(facts: CardFacts) -> None:
    text = model_card(facts, Given())
    for line in (
        "It squeezes a sentence into one vector of 256 numbers and writes it back.",
        "| BLEU | 0 to 100 | 81.4 | 7.4 |",
        "| shuffle gap | nats/token | 2.500 |",
        "| AuBLEU | 0 to 100 | 26.7 |",
        "### In training, on the validation split",
        "| hf:lab/texts&#64;main | train | 9 | 8 | ab |",
        "| training | 1,234 | 5,678 | 0123456789abcdef |",
        "| learning rate | 0.003 |",
        "| time until then | 61 minutes |",
        "| time of the whole run | 2.0 hours |",
        "| hardware | A GPU, A Processor, 4 cores |",
        "- It carries 8 sentences of its data, here and in `selftest.json`; "
        "`seqae card --no_examples --write` takes them out.",
    ):
        assert line in text.splitlines(), line
    assert "stand alone" not in text
    resumed = replace(facts, training={**TRAINING, "resumed": True})
    assert "| time until then since the last resume | 61 minutes |" in model_card(resumed, Given())


def test_the_lines_of_the_card_run(facts: CardFacts, monkeypatch: pytest.MonkeyPatch) -> None:
    code = model_card(facts, Given()).split("```python\n")[1].split("```")[0]
    assert len([line for line in code.splitlines() if line and "import" not in line]) == 3
    names: dict[str, Any] = {}
    exec(code.replace(HERE, "demo"), names)
    assert names["latents"].shape == (1, 256)


@given_texts(st.text(max_size=60))
def test_any_text_is_shown_in_a_table_as_it_is(text: str) -> None:
    """Markdown's reference parser finds one cell with this text in it and nothing else."""
    reader = MarkdownIt("commonmark").enable(["table", "strikethrough"])
    tokens = reader.parse(f"| a | b |\n|---|---|\n| {plain(text)} | x |\n")
    cells = [token for token in tokens if token.type == "inline"]
    assert [cell.content for cell in cells[:2] + cells[3:]] == ["a", "b", "x"]
    children = cells[2].children or []
    assert {child.type for child in children} <= {"text", "text_special"}
    shown = "".join(child.content for child in children)
    # The parser strips a cell of every blank that Unicode has.
    assert shown.strip() == visible(" ".join(text.splitlines())).strip()


def test_hostile_files_change_no_line_but_their_own(facts: CardFacts) -> None:
    for text in HOSTILE:
        rows = [{"text": text, "reconstruction": text}]
        source = {"name": text, "split": text, "read": text, "kept": True, "revision": text}
        training = {
            **TRAINING,
            "data": text,
            "corpus": {"sources": [source, 7], "splits": {"train": {"sha256": text}, "val": text}},
            "hardware": text,
            "precision": text,
            text: text,
        }
        evaluation = {"scores": {"model": {"bleu": 1.0}, text: {"bleu": 2.0}}, "from": text}
        spoilt = CardFacts(
            {**facts.config, "tokenizer": {"class_path": text}},
            {text: 1.0, f"val/{text}": float("nan"), "val/bleu": text},
            training,
            {text: text},
            rows,
            evaluation,
        )
        card = model_card(spoilt, Given("mit"))
        assert card_state(card) == "as written"
        assert ModelCard(card).data.license == "mit"
        assert given_in_card(card) == Given("mit")
        assert not {c for c in card if c in DIRECTIONS or unicodedata.category(c) == "Cc"} - {"\n"}
        tokens = MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(body(card))
        kinds = {child.type for token in tokens for child in token.children or []}
        assert kinds <= {"text", "text_special", "code_inline", "softbreak", "em_open", "em_close"}
        html = [token.content for token in tokens if token.type == "html_block"]
        assert len(html) == 1  # the seal
        headings = [token for token in tokens if token.type == "heading_open"]
        assert len(headings) == 1 + 7 + 2  # the title, its sections, and two tables of metrics


def test_an_edit_is_noticed_by_the_seal(facts: CardFacts) -> None:
    text = model_card(facts, Given("mit", ("en",)))
    assert card_state(text) == card_state(text.replace("\n", "\r\n")) == "as written"
    assert card_state(text.replace("mit", "apache-2.0")) == "edited"
    assert card_state(text + "more\n") == "edited"
    assert card_state("# Mine\n") == card_state("") == "without seal"
    elsewhere = with_address(text, "hf:lab/model")
    assert card_state(elsewhere) == "as written"
    assert given_in_card(elsewhere) == Given("mit", ("en",), "hf:lab/model")
    assert model_card(facts, given_in_card(elsewhere)) == elsewhere


@pytest.mark.parametrize("licence", ["MIT", "mit\nx: y", "", "a b", "-", "x" * 99])
def test_a_licence_that_the_hub_would_not_take_is_refused(licence: str) -> None:
    assert contracts.refusal(make_given, licence, None, "card.").startswith("`card.licence` must")


@pytest.mark.parametrize("language", ["english", "e", "en;de", "en\n-"])
def test_a_language_is_a_code(language: str) -> None:
    assert contracts.refusal(make_given, None, language).startswith("`language` must be codes")


@pytest.mark.parametrize(
    "text", ["", "---\n", "---\n[1]\n---\n", "---\n" + "a: &a [" * 99 + "\n---\n", "---\n\0\n---\n"]
)
def test_a_damaged_front_matter_gives_nothing(text: str) -> None:
    assert given_in_card(text) == Given()


def test_what_is_said_now_wins() -> None:
    before = given_in_training({"card": {"licence": "mit", "language": ["en", "!"], "x": 1}})
    assert before == Given("mit", ("en",))
    assert Given("apache-2.0").over(before) == Given("apache-2.0", ("en",))
    assert given_in_training({"card": 7}) == Given()
