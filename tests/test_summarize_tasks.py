"""`seqae summarize` and `seqae summarize-eval`, and the page that leads through them."""

from __future__ import annotations

import json
import re
import shlex
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from small import ROOT, read_rows, run_seqae
from test_latent_space_tasks import Out, give_input, refused

import seqae
from seqae.cli import help_page
from seqae.metrics.summaries.rouge import rouge
from seqae.summarizers import summarizers
from seqae.tasks.evaluate.texts import Texts
from seqae.tasks.summarize.choices import choose_methods
from seqae.tasks.summarize.documents import Reading, read_records

PAGE = (ROOT / "docs" / "summarization.md").read_text(encoding="utf-8")
BOOK = "The cat sat on the mat. It was hot in May.\n\nDogs ran all day. The cat slept."
PAIRS: list[dict[str, Any]] = [
    {"document": BOOK, "summary": "A cat slept on a mat."},
    {"document": ["今天天气很好。", "我们去公园吧！"], "summary": ["天气好。", "去公园。"]},
]


@pytest.fixture(autouse=True)
def few_sentences(monkeypatch: pytest.MonkeyPatch) -> None:
    """For word vectors; those of the training of `demo` take ten seconds."""
    few = Texts(["the cat sat", "a dog ran all day"])
    monkeypatch.setattr("seqae.tasks.summarize.choices.read_split", lambda *given: few)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "book.txt").write_text(BOOK, encoding="utf-8")
    lines = "".join(json.dumps(pair, ensure_ascii=False) + "\n" for pair in PAIRS)
    (tmp_path / "pairs.jsonl").write_text(lines, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_text_is_one_document(place: Path, capsys: Out) -> None:
    assert run_seqae("summarize", "demo", "book.txt", "--method", "lead", "--words", 8) == 0
    assert capsys.readouterr().out == "The cat sat on the mat. It was\n"
    assert run_seqae("summarize", "demo", "book.txt", "--output", "s.jsonl", "--with_document") == 0
    (row,) = read_rows(place / "s.jsonl")
    summary = seqae.load("demo").summarize(BOOK)
    assert row["summary"] == str(summary)
    for sentence in row["sentences"]:
        assert [row["document"][i] for i in sentence["evidence"]] == [sentence["text"]]


def test_documents_of_standard_input(
    place: Path, capsys: Out, monkeypatch: pytest.MonkeyPatch
) -> None:
    give_input(monkeypatch, *(place / "pairs.jsonl").read_text(encoding="utf-8").splitlines(), "")
    assert run_seqae("summarize", "demo", "-", "--method", "random", "--sentences", 1) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2
    give_input(monkeypatch, "One cat. ", "Two dogs.")
    assert run_seqae("summarize", "demo", "-", "--method", "lead", "--sentences", 1) == 0
    assert capsys.readouterr().out == "One cat.\n"


def test_records_are_read_one_by_one(place: Path) -> None:
    """What comes later is not looked at, so memory does not grow with their number."""
    with (place / "pairs.jsonl").open("a") as file:
        file.write("no JSON\n")
    (place / "lone.jsonl").write_text('\n{"document": "a \\ud800"}\n')
    with pytest.raises(ValueError, match=r"lone surrogate .* It is in line 2 of lone\.jsonl\."):
        list(read_records("lone.jsonl", Reading()))
    records = read_records("pairs.jsonl", Reading(target_column="summary"))
    first, second = next(records), next(records)
    assert first.references == [("A cat slept on a mat.",)]
    assert second.references == [("天气好。",), ("去公园。",)]
    with pytest.raises(ValueError, match=r"`file` must have one JSON object a line, but line 3"):
        next(records)


@pytest.mark.parametrize("name", ["t.csv", "t.jsonl"])
def test_blank_records_are_left_out_of_every_format(place: Path, capsys: Out, name: str) -> None:
    pairs = [("A cat. A dog.", "Pets."), ("", "x"), (" ", ""), ("One. Two.", "")]
    rows = [json.dumps({"document": a, "summary": b}) for a, b in pairs]
    if name == "t.csv":
        rows = ["document,summary", *(f'"{a}","{b}"' for a, b in pairs)]
    Path(name).write_text("\n".join(rows) + "\n")
    assert run_seqae("summarize", "demo", name, "--method", "lead", "--sentences", 1) == 0
    assert capsys.readouterr() == (
        "A cat.\nOne.\n",
        "seqae: left out of 4 records: 2 blank\n",
    )
    arguments = [name, "--methods", "lead", "--output", "s.json"]
    assert run_seqae("summarize-eval", "demo", *arguments) == 0
    assert "seqae: left out of 4 records: 3 blank\n" in capsys.readouterr().err
    found = json.loads(Path("s.json").read_text(encoding="utf-8"))
    assert (found["documents"], found["notes"]) == (1, ["left out of 4 records: 3 blank"])


def test_a_file_without_documents_is_refused(place: Path, capsys: Out) -> None:
    Path("blank.txt").write_text(" \n")
    said = refused(capsys, "summarize", "demo", "blank.txt", "--output", "s.jsonl")
    assert "there is none in blank.txt: 0 of 1 kept (1 blank)" in said
    assert not Path("s.jsonl").exists()


def test_rows_that_are_too_long_are_refused(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("seqae.tasks.summarize.documents.MAX_BYTES", 1 << 20)
    for name, begin in (("t.csv", "document\n"), ("t.jsonl", '{"document": "')):
        Path(name).write_text(begin + "a" * (1 << 21) + ("\n" if name == "t.csv" else '"}\n'))
        with pytest.raises(ValueError, match=r"`file` must have documents of at most 1 MiB, but"):
            list(read_records(name, Reading()))


def test_a_table_has_columns(place: Path) -> None:
    (place / "t.csv").write_text('article,short\n"A cat. A dog.",Pets.\n')
    (record,) = read_records("t.csv", Reading("article", "short"))
    assert record.document.sentences == ("A cat.", "A dog.")
    assert record.references == [("Pets.",)]
    (record,) = read_records("t.csv#short", Reading())
    assert record.document.sentences == ("Pets.",)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--words", 1, "--bytes", 1], "`budget` must be one of"),
        (["--method", "best"], "`method` must be one of centroid"),
        (["--settings", '{"lambda": 1}'], "`settings` of centroid must be among"),
        (["--column", "text"], "`text` must be a text or a list of texts, but in line 1 of"),
        (
            ["--settings", '{"noises": []}', "--method", "reconstruct"],
            "`noises` must be one number",
        ),
        (["--with_document"], "`with_document` must be given with an output"),
        (["--method", "mean", "--space", "tfidf"], "`space` must be latent for the method mean"),
        (["--method", "lead", "--space", "tfidf"], "`space` must be left out for the method lead"),
        (["--train_file", "book.txt"], "`train_file` must be left out where no method reads"),
    ],
)
def test_refusals(place: Path, capsys: Out, options: list[object], message: str) -> None:
    assert message in refused(capsys, "summarize", "demo", "pairs.jsonl", *options)


def test_text_is_utf_8_or_refused(
    place: Path, capsys: Out, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("latin.txt").write_bytes("Hot.\nA café.".encode("latin-1"))
    said = refused(capsys, "summarize", "demo", "latin.txt", "--method", "lead")
    assert "`file` must be UTF-8 text, but line 2 of latin.txt has the invalid byte 0xe9" in said
    Path("mark.txt").write_bytes(b"\xef\xbb\xbfA cat. A dog.")
    (record,) = read_records("mark.txt", Reading())
    assert record.document.sentences == ("A cat.", "A dog.")
    give_input(monkeypatch, '\ufeff{"document": "One cat. Two dogs."}')
    (record,) = read_records("-", Reading())
    assert record.document.sentences == ("One cat.", "Two dogs.")


def test_records_name_their_files(place: Path) -> None:
    Path("folder").mkdir()
    for name in ("a", "b"):
        Path(f"folder/{name}.txt").write_text(f"{name}.")
    assert run_seqae("summarize", "demo", "folder", "--method", "lead", "--output", "s.jsonl") == 0
    rows = read_rows(place / "s.jsonl")
    assert [Path(row["file"]).name for row in rows] == ["a.txt", "b.txt"]


def test_long_lines_are_read_whole(place: Path) -> None:
    text = "A cat. " * 40_000
    Path("long.jsonl").write_text(json.dumps({"document": text}) + "\n" + '{"document": "B."}')
    first, second = read_records("long.jsonl", Reading())
    assert len(first.document) == 40_000
    assert (second.number, second.document.sentences) == (2, ("B.",))


def test_methods_are_chosen_before_documents_are_read(place: Path, capsys: Out) -> None:
    arguments = ["summarize-eval", "demo", "pairs.jsonl", "--output", "s.json", "--sentences", 1]
    assert run_seqae(*arguments, "--methods", "codes", "random") == 0
    assert "without codes/latent: `method` must be another" in capsys.readouterr().err
    found = json.loads(Path("s.json").read_text(encoding="utf-8"))
    assert found["documents"] == 2
    assert set(found["rows"]) == {"lead", "random", "oracle", "reference"}
    said = refused(capsys, *arguments, "--methods", "lead", "codes", "--baseline", "codes")
    assert "`baseline` must be a method that this model can run, but it is codes/latent" in said
    said = refused(capsys, *arguments, "--methods", "codes")
    assert "`method` must be another for a model without a codebook" in said


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--settings", '{"mmr": {}}'], "`settings` must be of methods that are compared, lead,"),
        (["--settings", '{"lead": {"x": 1}}'], "`settings` of lead must be left out"),
        (["--settings", '{"best": {}}'], "`settings` must be one of centroid"),
        (["--baseline", "centroid"], "`baseline` must be one of centroid/latent"),
        (["--train_file", "book.txt"], "`train_file` must be left out where no method reads"),
    ],
)
def test_what_would_be_ignored_is_refused(
    place: Path, capsys: Out, options: list[object], message: str
) -> None:
    arguments = ["summarize-eval", "demo", "pairs.jsonl", "--methods", "lead"]
    assert message in refused(capsys, *arguments, *options)


def test_names_of_methods_may_have_spaces() -> None:
    assert ("centroid", "tfidf") in choose_methods(["all/tfidf"])
    assert {space for _, space in choose_methods(["all/tfidf"])} == {"tfidf"}
    with pytest.raises(ValueError, match=r"`methods` must be one of lead, but it is 'lead/latent'"):
        choose_methods(["lead/latent"])


@pytest.mark.parametrize(
    "given", [{"space": "tfidf"}, {"method": 3}, {"words": 2.5}, {"sentences": True}]
)
def test_python_refuses_in_one_line(given: dict[str, Any]) -> None:
    (key,) = given
    with pytest.raises(ValueError, match=rf"^`{key}` must be"):
        seqae.load("demo").summarize(BOOK, **given)


def aim(row: dict[str, Any]) -> float:
    """What the oracle chooses for."""
    return float(row["rouge1_f1"]["mean"] + row["rouge2_f1"]["mean"])


def test_summaries_are_scored_beside_baselines(place: Path, capsys: Out) -> None:
    arguments = ["--sentences", 1, "--methods", "lead", "textrank", "centroid/tfidf"]
    arguments += ["--output", "s.json", "--explain", "--recall_bytes", 20]
    Path("seen.jsonl").write_text('{"document": "The cat sat on", "summary": "a mat 今天"}\n')
    arguments += ["--seen_file", "seen.jsonl", "--settings", '{"centroid": {"position": 0.5}}']
    assert run_seqae("summarize-eval", "demo", "pairs.jsonl", *arguments) == 0
    said = capsys.readouterr().out
    assert "words: rouge-score+unicode" in said
    found = json.loads((place / "s.json").read_text(encoding="utf-8"))
    assert set(found["rows"]) == {"lead", "textrank", "centroid/tfidf", "oracle", "reference"}
    scores = [
        rouge(["The cat sat on the mat."], [["A cat slept on a mat."]])["rouge1"].f1,
        rouge(["今天天气很好。"], [["天气好。"], ["去公园。"]])["rouge1"].f1,
    ]
    lead = found["rows"]["lead"]
    assert lead["rouge1_f1"]["mean"] == pytest.approx(sum(scores) / 2)
    assert "p" not in lead["rouge1_f1"]
    assert lead["unseen_recall"]["mean"] == pytest.approx((0 + 2 / 5) / 2)  # slept; 气好去公园
    assert lead["unseen_precision"]["mean"] == 1
    gain = found["rows"]["textrank"]["rouge1_f1"]
    assert gain["difference"]["mean"] == pytest.approx(gain["mean"] - lead["rouge1_f1"]["mean"])
    assert found["rows"]["oracle"]["rouge1_f1"]["p"] <= 1
    assert aim(found["rows"]["oracle"]) >= max(map(aim, (lead, found["rows"]["textrank"])))
    assert "rouge1_recall_bytes" in lead
    example = found["examples"][0]
    assert example["summaries"]["lead"] == "The cat sat on the mat."


def test_every_method_of_a_model_is_compared(place: Path, capsys: Out) -> None:
    assert run_seqae("summarize-eval", "demo", "pairs.jsonl", "--output", "s.json") == 0
    said = capsys.readouterr().err
    assert "without codes/latent: `method` must be another" in said
    rows = json.loads((place / "s.json").read_text(encoding="utf-8"))["rows"]
    assert {row.partition("/")[0] for row in rows} >= set(summarizers()) - {"codes", "supervised"}


def test_the_table_is_logged(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    logged: dict[str, Any] = {}

    class Table:
        def __init__(self, columns: list[str]) -> None:
            self.columns, self.rows = columns, list[tuple[Any, ...]]()

        def add_data(self, *row: Any) -> None:
            assert len(row) == len(self.columns)
            self.rows.append(row)

    class Run:
        def __enter__(self) -> Run:
            return self

        def __exit__(self, *error: object) -> None: ...

        def log(self, content: dict[str, Any]) -> None:
            logged.update(content)

    fake = SimpleNamespace(Table=Table, init=lambda **given: Run())
    monkeypatch.setitem(sys.modules, "wandb", fake)
    arguments = ["--methods", "lead", "random", "--examples", 1, "--wandb", "mine"]
    assert run_seqae("summarize-eval", "demo", "pairs.jsonl", *arguments) == 0
    scores = logged["summaries/scores"]
    rows = {row[0]: dict(zip(scores.columns, row, strict=True)) for row in scores.rows}
    assert list(rows) == ["lead", "random", "oracle", "reference"]
    random = rows["random"]
    assert random["rouge1_f1_low"] <= random["rouge1_f1"] <= random["rouge1_f1_high"]
    assert rows["lead"]["rouge1_f1_p"] is None
    assert 0 < random["rouge1_f1_p"] <= 1
    assert len(logged["summaries/examples"].rows) == 3


def test_all_methods_are_in_the_help_and_on_the_page() -> None:
    for name in summarizers():
        assert name in help_page("summarize")
        assert f"`{name}`" in PAGE


def test_all_examples_are_on_the_page() -> None:
    for name in ("descriptions", "opinions"):
        rows = read_rows(ROOT / "docs" / "examples" / f"{name}.jsonl")
        assert len(rows) == 10
        for row in rows:
            assert all(sentence in PAGE for sentence in row["document"])


def test_the_commands_of_the_page_run(place: Path, capsys: Out) -> None:
    blocks = re.findall(r"^```bash\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    lines = "".join(blocks).replace("\\\n", " ").splitlines()
    commands = [words for line in lines if (words := shlex.split(line, comments=True))]
    assert len(commands) >= 4
    for words in commands:
        assert words[0] == "seqae"
        assert run_seqae(*words[1:]) == 0, (words, capsys.readouterr().err)


def test_the_python_of_the_page_runs(place: Path) -> None:
    codes = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    assert codes
    for code in codes:
        exec(compile(code, "summarization.md", "exec"), {})
