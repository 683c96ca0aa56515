"""`seqae evaluate` and `seqae compare`: every group of figures, the table, what they refuse."""

from __future__ import annotations

import itertools
import json
import math
import shutil
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import torch
from rich.cells import cell_len
from small import SENTENCES, run_seqae, write_text

from seqae.bundle.text_autoencoder import TextAutoencoder
from seqae.data.tokenizers import ByteTokenizer
from seqae.metrics.definitions import METRICS
from seqae.metrics.metric import GROUPS
from seqae.model.autoencoder import SequenceAutoencoder
from seqae.model.decoders import GRUDecoder
from seqae.model.encoders import GRUEncoder
from seqae.model.latents import Latent
from seqae.model.latents.gaussian import GaussianLatent
from seqae.model.latents.vector_quantised import VectorQuantisedLatent
from seqae.tasks.compare import flatten
from seqae.tasks.evaluate import table
from seqae.tasks.evaluate.annotations import LabelledData
from seqae.tasks.evaluate.groups import interpolation, posterior
from seqae.tasks.evaluate.language_model import LanguageModel
from seqae.tasks.evaluate.run import Evaluation

Out = pytest.CaptureFixture[str]


def error_of(capsys: Out) -> str:
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert said.err.startswith("seqae: error: ")
    return said.err


def untrained(latent: Latent) -> TextAutoencoder:
    tokenizer = ByteTokenizer()
    tokenizer.train(SENTENCES)
    model = SequenceAutoencoder(GRUEncoder(8), latent, GRUDecoder(8), embedding_dim=8)
    model.build(tokenizer.vocabulary, 64).eval()
    return TextAutoencoder(model, tokenizer)


def evaluation(model: TextAutoencoder) -> Evaluation:
    texts = list(SENTENCES)
    return Evaluation(model, texts, texts, texts, seed=0)


# The command


def test_all_groups_at_once(overfit_run: Path, tmp_path: Path, capsys: Out) -> None:
    pairs, labels, output = (tmp_path / name for name in ("sts.tsv", "labels.jsonl", "out.json"))
    pairs.write_text("the cat sees the mat\tthe cat likes the mat\t4\nnull\t[a]\t1\na\tb\t2\n")
    rows = [{"text": text, "label": text.split()[2]} for text in SENTENCES[8:]]
    labels.write_text("".join(json.dumps(row) + "\n" for row in rows))
    options = ["--metrics", *GROUPS, "--pairs", pairs, "--labels", labels]
    options += ["--output", output, "--samples", 40, "--steps", 5, "--explain"]
    options += ["--plot", tmp_path / "curve.svg", "--temperature", 0.5]
    assert run_seqae("evaluate", overfit_run, *options) == 0
    said = capsys.readouterr().out
    assert max(map(cell_len, said.splitlines())) <= 100
    found = json.loads(output.read_text())
    own = found["scores"]["model"]
    assert own["exact_match"] == own["unigram_bleu"] == 1.0
    assert own["edit_distance"] == own["duplicates"] == 0.0
    assert own["shuffle_gap"] > 1.0
    assert own["neighbour_accuracy"] > found["scores"]["chance"]["neighbour_accuracy"]
    # Its latent is deterministic: there is no likelihood, and that is said.
    assert not {"nll", "negative_elbo", "kl", "mutual_information"} & set(own)
    assert "has no cost" in found["notes"]["likelihood"]
    assert "no prior" in found["notes"]["generation"]
    assert found["scores"]["token frequencies"]["bits_per_byte"] > 0
    # These unseen sentences are those of the training, too.
    real = found["scores"]["real text"]
    assert real["copies"] == real["memorised"] == 1.0
    assert real["unknown_words"] == 0.0
    assert found["scores"]["words shuffled"]["judge_perplexity"] > real["judge_perplexity"]
    assert {"forward_perplexity", "reverse_perplexity"} <= set(found["scores"]["n-gram sampler"])
    assert len(found["samples"]) == 32
    assert found["settings"]["decoding"]["temperature"] == 0.5
    assert set(found["midpoints"][0]) == {"start", "midpoint", "end"}
    curve = found["robustness"]["model"]
    assert curve["exact_match"][0] == 1.0
    assert len(curve["bleu"]) == len(found["robustness"]["noise"]) == 9
    assert own["noise_bleu_area"] < 100.0
    ElementTree.parse(tmp_path / "curve.svg")
    sentences = sum(row["sentences"] for row in found["by_length"].values())
    assert sentences == found["sentences"] == 32
    assert "|eff:no|tok:13a+char|" in found["bleu_signature"]
    assert found["bleu_signature"] in said
    for key in own:
        assert METRICS[key].label in said


def test_some_groups(overfit_run: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.json"
    options = ["--metrics", "latent", "--output", output, "--examples", 0]
    assert run_seqae("evaluate", overfit_run, *options) == 0
    scores = json.loads(output.read_text())["scores"]
    assert set(scores) == {"model", "TF-IDF + SVD"}
    assert "exact_match" not in scores["model"]


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("pairs.csv", "a,b,1\n", "must be a .tsv or .jsonl file"),
        ("pairs.tsv", "a\tb\n", "line 1 of"),
        ("pairs.tsv", "a\tb\t1\nfirst\tsecond\tscore\n", "a finite number as the score"),
        ("pairs.tsv", "a\tb\t1\nc\td\tnan\n", "a finite number as the score"),
        ("pairs.jsonl", '{"first": "a", "second": "b", "score": Infinity}\n', "a finite number"),
        ("pairs.jsonl", '{"first": "a", "second": "b", "score": true}\n', "a finite number"),
        ("pairs.jsonl", '{"first": null, "second": "b", "score": 1}\n', "line 1 of"),
        ("pairs.jsonl", "[" * 100_000 + "\n", "line 1 of"),
        ("pairs.jsonl", '{"first": "a"}\n', "line 1 of"),
        ("pairs.jsonl", "7\n", "line 1 of"),
        ("pairs.tsv", "a\tb\t1\n", "two pairs or more"),
        ("pairs.tsv", None, "pairs.tsv is none: No such file"),
        ("pairs.tsv", "a\tb\t\udcff\n", "pairs.tsv is none: invalid"),
    ],
)
def test_bad_pairs(
    overfit_run: Path, tmp_path: Path, capsys: Out, name: str, text: str | None, said: str
) -> None:
    if text is not None:
        (tmp_path / name).write_text(text, errors="surrogateescape")
    assert run_seqae("evaluate", overfit_run, "--pairs", tmp_path / name) == 1
    line = error_of(capsys)
    assert line.startswith("seqae: error: `pairs` must")
    assert said in line


def test_bad_labels(overfit_run: Path, tmp_path: Path, capsys: Out) -> None:
    (tmp_path / "labels.tsv").write_text("a\tx\n" * 9 + "b\ty\n")
    assert run_seqae("evaluate", overfit_run, "--labels", tmp_path / "labels.tsv") == 1
    assert "and 1 of 'y'" in error_of(capsys)


def test_embedding_needs_judged_sentences(overfit_run: Path, capsys: Out) -> None:
    assert run_seqae("evaluate", overfit_run, "--metrics", "embedding") == 1
    assert "neither `pairs`, `labels` nor `paraphrases` is given" in error_of(capsys)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["FILE", "--split", "val"], "`split` must be left out if a file is named"),
        (["--samples", 9, "--metrics", "latent"], "`samples` must be left out if generation is"),
        (["--steps", 9, "--metrics", "latent"], "`steps` must be left out"),
        (["--noise", 1, "--metrics", "latent"], "`noise` must be left out if generation is not"),
        (["--prior", "mixture", "--metrics", "latent"], "`prior` must be left out if generation"),
        (["--plot", "a.svg", "--metrics", "latent"], "`plot` must be left out if robustness is"),
        (["--plot", "a.png"], "`plot` must end in .svg"),
        (["--importance_samples", 9, "--metrics", "latent"], "`importance_samples` must be left"),
        (["--examples", -1], "`examples` must be between 0"),
        (["--limit", -1], "`limit` must be between 0"),
        (["--seed", -1], "`seed` must be between 0 and 4,294,967,295"),
        (["--seed", 2**65], "`seed` must be between 0"),
    ],
)
def test_options_that_would_be_ignored_or_fail_are_refused_first(
    tmp_path: Path, capsys: Out, options: list[object], said: str
) -> None:
    """Before a model is looked for: there is none."""
    text = write_text(tmp_path / "text.txt")
    options = [text if option == "FILE" else option for option in options]
    assert run_seqae("evaluate", tmp_path / "none", *options) == 1
    assert said in error_of(capsys)


@pytest.mark.parametrize(
    ("unseen", "train", "said"),
    [
        (["the cat"], SENTENCES, "of the sentences of `file` 1 of 1 has"),
        (["x" * 999] * 3, SENTENCES, "of the sentences of `file` 0 of 3 have"),
        (SENTENCES, ["x" * 999] * 3, "of the training sentences 0 of 3 have"),
    ],
)
def test_generation_with_too_few_sentences_is_refused(
    overfit_run: Path, tmp_path: Path, capsys: Out, unseen: list[str], train: list[str], said: str
) -> None:
    files = [write_text(tmp_path / "a.txt", unseen), "--train_file"]
    files.append(write_text(tmp_path / "b.txt", train))
    assert run_seqae("evaluate", overfit_run, *files, "--metrics", "generation") == 1
    assert said in error_of(capsys)


def test_sentences_with_square_brackets(overfit_run: Path, tmp_path: Path, capsys: Out) -> None:
    """What rich would take for markup stands as it is, also in names."""
    texts = ["a [/b] closes nothing", "[red]the cat[/red]", "the :cat: likes the mat"]
    text, output = write_text(tmp_path / "text.txt", texts), tmp_path / "a [red].json"
    assert run_seqae("evaluate", overfit_run, text, "--output", output) == 0
    said = capsys.readouterr().out
    assert all(text in said for text in texts)
    assert run_seqae("compare", output, overfit_run) == 0
    assert "a [red].json" in capsys.readouterr().out.replace("\n", "")
    table.show("from [red] [/b].txt", {"model": {"bleu": 1.0}}, {"latent": "[/b]"}, True)
    said = capsys.readouterr().out
    assert "from [red] [/b].txt" in said
    assert "latent: [/b]" in said


@pytest.mark.parametrize("train", [["the cat"], ["!!", "??"], ["word word", "word"]])
def test_too_little_to_train_baselines_on(
    overfit_run: Path, tmp_path: Path, capsys: Out, train: list[str]
) -> None:
    files = [write_text(tmp_path / "a.txt"), "--train_file"]
    files.append(write_text(tmp_path / "b.txt", train))
    assert run_seqae("evaluate", overfit_run, *files) == 1
    assert "`train_file` must hold two sentences and two different words" in error_of(capsys)


def test_a_flag_that_stands_alone(overfit_run: Path, tmp_path: Path, capsys: Out) -> None:
    rest = [overfit_run, write_text(tmp_path / "text.txt"), "--metrics", "reconstruction"]
    for flag, is_explained in ((["--explain"], True), (["--explain", "false"], False)):
        assert run_seqae("evaluate", *flag, *rest, "--examples", 0) == 0
        assert ("\nexact match: share of" in capsys.readouterr().out) == is_explained


def test_a_file_behind_the_groups(overfit_run: Path, capsys: Out) -> None:
    assert run_seqae("evaluate", overfit_run, "--metrics", "latent", "my.txt") == 2
    said = error_of(capsys)
    assert said.endswith("but it is my.txt instead. Put other arguments before `--metrics`.\n")


def test_help_names_each_choice_once(capsys: Out) -> None:
    assert run_seqae("evaluate", "--help", "all") == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "--split {test,val}" in said
    assert "--metrics GROUP [GROUP ...]" in said
    assert said.count("'reconstruction'") == 1


def test_an_unknown_group(overfit_run: Path, capsys: Out) -> None:
    assert run_seqae("evaluate", overfit_run, "--metrics", "reconstructions") == 2
    assert "metrics" in error_of(capsys)


# Groups


def test_the_likelihood_of_a_posterior() -> None:
    found = evaluation(untrained(GaussianLatent(4)))
    found.likelihood_and_latent(["likelihood", "latent"], 5)
    own = found.scores["model"]
    tokens = sum(len(s.encode()) + 1 for s in SENTENCES)
    size = tokens - len(SENTENCES)
    assert own["nll_per_token"] * tokens == pytest.approx(own["nll"] * 32)
    assert own["perplexity"] == pytest.approx(math.exp(own["nll_per_token"]))
    assert own["bits_per_byte"] == pytest.approx(own["nll"] * 32 / math.log(2) / size)
    assert own["mutual_information_limit"] == pytest.approx(math.log(32))
    assert found.notes["likelihood"] == "NLL with 5 importance-weighted draws"


def test_the_likelihood_of_codes_is_a_bound() -> None:
    found = evaluation(untrained(VectorQuantisedLatent(8, num_codes=16, num_groups=2)))
    found.likelihood_and_latent(["likelihood"], 5)
    own = found.scores["model"]
    paid = own["nll"] - own["conditional_nll"] * own["nll"] / own["nll_per_token"]
    assert paid == pytest.approx(2 * math.log(16))
    assert own["nll"] == own["negative_elbo"]


def test_paired_text_is_scored_against_what_is_due() -> None:
    """Read one sentence, write another: the likelihood is that of the other."""
    model = untrained(GaussianLatent(4))
    due = [text[::-1] + "!" for text in SENTENCES]
    found = posterior(model, list(SENTENCES), due)
    assert found.tokens == sum(len(text.encode()) + 1 for text in due)
    same = posterior(model, list(SENTENCES), list(SENTENCES))
    assert same.nll != found.nll
    assert same.output.latent.equal(found.output.latent)


def test_sentences_that_do_not_fit_are_left_out_and_it_is_said() -> None:
    found = evaluation(untrained(GaussianLatent(4)))
    found.inputs = found.references = [*SENTENCES, "x" * 100]
    found.likelihood_and_latent(["likelihood"], 2)
    note = "of the 32 sentences that fit the model"
    assert found.notes["likelihood"].startswith(f"{note}; NLL with 2")
    assert "latent" not in found.notes  # was not asked for
    found.likelihood_and_latent(["latent"], 2)
    assert found.notes["latent"] == note


def test_one_sentence_is_said_to_be_too_few(overfit_run: Path, capsys: Out) -> None:
    options = ["--limit", 1, "--metrics", "likelihood", "latent", "--examples", 0]
    assert run_seqae("evaluate", overfit_run, *options) == 0
    assert capsys.readouterr().out.splitlines() == [
        "1 sentence: unseen, from the test split",
        "likelihood: fewer than two sentences fit the model; nothing measured",
        "latent: fewer than two sentences fit the model; nothing measured",
    ]


def test_interpolation_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two pairs: one word at a time, and all four at once."""
    ways = {
        "even": ["a b c d", "x b c d", "x y c d", "x y z d", *["x y z w"] * 5],
        "jump": [*["a b c d"] * 4, *["x y z w"] * 5],
        "detour": ["a", "b", *["a"] * 6, "c"],
    }
    model = untrained(GaussianLatent(2))

    def decode(self: TextAutoencoder, latents: Any, sources: Any, *how: Any) -> list[str]:
        assert len(latents) == len(sources[0]) == 9 * len(chosen)
        return [text for name in chosen for text in ways[name]]

    monkeypatch.setattr(TextAutoencoder, "decode_near", decode)
    expected = {"even": (1.0, 0.25), "jump": (1.0, 1.0), "detour": (3.0, 1 / 3)}
    for name, (detour, largest) in expected.items():
        chosen = [name]
        found = interpolation(model, ["p", "q"])
        assert found == pytest.approx({"detour": detour, "largest_step": largest})
    chosen = ["even", "jump"]
    assert interpolation(model, list("pqrs"))["largest_step"] == pytest.approx(0.625)


def test_embeddings_of_nothing_in_common() -> None:
    found = evaluation(untrained(GaussianLatent(4)))
    found.embedding(LabelledData(pairs=[("a", "b", 1.0), ("the cat", "the mat", 2.0)]))
    assert set(found.scores) == {"model", "TF-IDF + SVD", "mean word vectors"}


# Generation


def test_groups_that_were_not_asked_for_may_be_left_out(overfit_run: Path, tmp_path: Path) -> None:
    """One sentence has neither a curve nor a midpoint: that is said, and the rest is measured."""
    output = tmp_path / "out.json"
    assert run_seqae("evaluate", overfit_run, "--limit", 1, "--output", output) == 0
    found = json.loads(output.read_text())
    assert found["scores"]["model"]["exact_match"] == 1.0
    assert "nothing measured" in found["notes"]["generation"]
    assert "nothing measured" in found["notes"]["robustness"]


# Language models


def test_a_language_model_learns_and_is_the_same_again() -> None:
    tokenizer = ByteTokenizer()
    tokenizer.train(SENTENCES)
    rows = tokenizer.encode(list(SENTENCES[8:]))
    state = torch.get_rng_state()
    found = [
        LanguageModel(tokenizer.vocabulary, 64, 32, 16).fit(rows, steps).perplexity(rows)
        for steps in (1, 60, 60)
    ]
    assert found[0] > 100
    assert found[1] == found[2] < 30
    assert torch.equal(state, torch.get_rng_state())


# Compare


def test_compare_two_runs(overfit_run: Path, tmp_path: Path, capsys: Out) -> None:
    text, other, output = tmp_path / "text.txt", tmp_path / "other", tmp_path / "compared.json"
    write_text(text)
    options = ["--data.train", text, "--run_dir", other, "--model.learning_rate", 0.001]
    config = overfit_run.parent / "small.yaml"
    assert run_seqae("fit", "-c", config, *options, "--trainer.max_epochs", 1) == 0
    assert run_seqae("evaluate", other, text, "--output", other / "evaluation.json") == 0
    capsys.readouterr()
    assert run_seqae("compare", overfit_run, other, "--output", output) == 0
    said = capsys.readouterr().out
    assert "model.learning_rate" in said
    found = json.loads(output.read_text())
    assert found["settings"]["model.learning_rate"] == [0.01, 0.001]
    assert "model.seed" not in found["settings"]  # equal
    exact = found["figures"]["exact_match"]
    assert exact[0] is None  # was not evaluated
    assert exact[1] < 1.0
    assert found["figures"]["val/exact_match"][0] == 1.0


def test_compare_evaluations_and_bundles(overfit_run: Path, tmp_path: Path, capsys: Out) -> None:
    output = tmp_path / "out.json"
    assert run_seqae("evaluate", overfit_run, "--limit", 4, "--output", output) == 0
    assert run_seqae("compare", overfit_run / "bundle", output) == 0
    rows = [line.strip("│\n").split("│") for line in capsys.readouterr().out.splitlines()]
    cells = [[cell.strip() for cell in row] for row in rows]
    assert ["val/exact_match", "%", "100.0", "–"] in cells
    assert ["exact match", "%", "–", "100.0"] in cells
    assert ["BLEU", "0 to 100", "–", "100.0"] in cells


@pytest.mark.parametrize("text", [None, "{", "[]", '{"scores": 1}'])
def test_compare_refuses_what_is_no_run(tmp_path: Path, capsys: Out, text: str | None) -> None:
    path = tmp_path / "what.json"
    if text is not None:
        path.write_text(text)
    assert run_seqae("compare", path) == 1
    assert "`runs` must be" in error_of(capsys)


@pytest.mark.parametrize(
    "scores",
    ['{"bleu": "abc"}', '{"bleu": [1]}', '{"bleu": true}', '{"bleu": 1' + "0" * 400 + "}", "[1]"],
)
def test_compare_refuses_figures_that_are_no_numbers(
    overfit_run: Path, tmp_path: Path, capsys: Out, scores: str
) -> None:
    bundle = tmp_path / "bundle"
    shutil.copytree(overfit_run / "bundle", bundle)
    (bundle / "metrics.json").write_text(scores)
    assert run_seqae("compare", bundle) == 1
    assert "metrics.json is damaged" in error_of(capsys)


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 100_000, " " * (2**22 + 1)])
def test_compare_refuses_files_without_end(tmp_path: Path, capsys: Out, text: str) -> None:
    (tmp_path / "what.json").write_text(text)
    assert run_seqae("compare", tmp_path / "what.json") == 1
    assert "what.json is damaged" in error_of(capsys)


@pytest.mark.parametrize(
    "text",
    [
        *("a: [", "[" * 5_000, "\x00", "&a {data: *a}", "data: {train: &a [*a]}", "a: 2020-01-01"),
        "a: &a ["
        + "0," * 99
        + "]"
        + "".join(  # ten lines, 1e20 numbers
            f"\n{n}: &{n} [" + f"*{b}," * 99 + "]" for b, n in itertools.pairwise("abcdefghij")
        ),
    ],
)
def test_a_damaged_config_of_a_run(
    overfit_run: Path, tmp_path: Path, capsys: Out, text: str
) -> None:
    shutil.copytree(overfit_run / "bundle", tmp_path / "run" / "bundle")
    (tmp_path / "run" / "config.yaml").write_text(text)
    assert run_seqae("compare", tmp_path / "run", "--output", tmp_path / "both.json") == 1
    assert "config.yaml is damaged" in error_of(capsys)
    assert run_seqae("evaluate", tmp_path / "run") == 1
    assert "config.yaml is damaged" in error_of(capsys)


def test_flatten() -> None:
    part = {"class_path": "seqae.model.GRUEncoder", "init_args": {"hidden_dim": 8}}
    flat = flatten({"model": {"encoder": part, "seed": 0}, "threads": 1})
    assert flat == {
        "model.encoder": "GRUEncoder",
        "model.encoder.hidden_dim": 8,
        "model.seed": 0,
        "threads": 1,
    }


# The table


def test_the_table_fits_into_80_columns(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("seqae.terminal.WIDTH", 80)
    group = dict.fromkeys(METRICS, 0.9)
    names = ["model", "nearest by TF-IDF", "most frequent sentence"]
    table.show("", dict.fromkeys(names, group), {}, explain=False)
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) == 80
    cells = [[cell.strip() for cell in line.split("│")] for line in lines]
    assert ["exact match", "%", "90.0", "90.0", "90.0"] in cells
    assert ["negative ELBO", "nats/sentence", "0.90", "0.90", "0.90"] in cells
    headings = [[cell.strip() for cell in line.split("┃")] for line in lines]
    assert ["reconstruction", "unit", "model", "TF-IDF", "sentence"] in headings
    for width in (80, 100):
        monkeypatch.setattr("seqae.terminal.WIDTH", width)
        columns = ["model", "real text", "n-gram sampler", "words shuffled"]
        rows = {
            key: 645_635.8 if metric.unit in ("words", "tokens") else 1.0
            for key, metric in METRICS.items()
            if metric.group == "generation"
        }
        table.show("", dict.fromkeys(columns, rows), {}, explain=False)
        lines = capsys.readouterr().out.splitlines()
        assert max(map(len, lines)) <= width
        assert "…" not in "".join(lines)


def test_every_figure_has_a_name_of_its_own_and_a_meaning() -> None:
    labels = [(metric.group, metric.label) for metric in METRICS.values()]
    assert len(set(labels)) == len(labels)
    assert all(len(metric.label) <= 26 and len(metric.meaning) > 20 for metric in METRICS.values())
