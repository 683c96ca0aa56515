"""The data report: figures worked by hand or held against sets and sorted lists; what it says."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from small import run_seqae, write_text

from seqae.data.prepared import corpus_writer as corpus_file
from seqae.data.prepared.corpus import Rows, TokenizedCorpus
from seqae.data.prepared.corpus_writer import CorpusWriter
from seqae.data.report.findings import find, percent
from seqae.data.report.measure import describe_lengths, measure
from seqae.data.report.render import to_text
from seqae.data.sentences import duplicates as repetitions
from seqae.data.sentences.duplicates import PairHashes, first_occurrences
from seqae.data.sentences.preprocessing import LINE_ENDS, QUOTED
from seqae.data.sentences.split import hash_texts
from seqae.data.tokenizers import ByteTokenizer, Tokenizer, WordTokenizer

Out = pytest.CaptureFixture[str]


def words(*texts: str, **arguments: Any) -> WordTokenizer:
    tokenizer = WordTokenizer(**arguments)
    tokenizer.train(texts)
    return tokenizer


def tokenized(
    folder: Path,
    tokenizer: Tokenizer,
    texts: Sequence[str],
    targets: Sequence[str] | None = None,
    keep: Sequence[bool] | None = None,
    at_once: int = 3,
) -> TokenizedCorpus:
    """A corpus on disk, written a few sentences at a time."""

    def rows(some: Sequence[str]) -> Rows:
        return Rows(*tokenizer.encode_to_arrays(some), hash_texts(some))

    writer = CorpusWriter(folder, np.dtype(np.uint16), tokenizer.pad_id, targets is not None)
    for start in range(0, len(texts), at_once):
        block = rows(texts[start : start + at_once])
        block.target = None if targets is None else rows(targets[start : start + at_once])
        writer.append(block)
    return writer.finish(None if keep is None else np.asarray(keep))


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hashes are read and sorted a few at a time, as if there were millions."""
    monkeypatch.setattr(repetitions, "BLOCK", 7)
    monkeypatch.setattr(repetitions, "PART", 5)


# Repetitions


@pytest.mark.usefixtures("small_parts")
@given(st.lists(st.integers(0, 2**64 - 1) | st.integers(0, 7).map(lambda n: n << 61)))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_first_occurrences(numbers: list[int]) -> None:
    is_first = [number not in numbers[:index] for index, number in enumerate(numbers)]
    assert first_occurrences(np.asarray(numbers, np.uint64)).tolist() == is_first


def test_many_hashes_are_sorted_in_parts() -> None:
    distinct = np.random.default_rng(0).integers(0, 2**64, repetitions.PART + 9, dtype=np.uint64)
    is_first = first_occurrences(np.concatenate([distinct, distinct[:1000]]))
    assert is_first.sum() == len(distinct)
    assert not is_first[len(distinct) :].any()


def test_pairs_are_equal_where_both_sides_are() -> None:
    one, other = hash_texts(["a", "a", "b", "a", "c"]), hash_texts(["x", "y", "x", "x", "c"])
    pairs = PairHashes(one, other)
    assert first_occurrences(pairs).tolist() == [True, True, True, False, True]
    assert len({*pairs[0:5].tolist(), 0}) == 5


@pytest.mark.usefixtures("small_parts")
@given(st.lists(st.lists(st.sampled_from("abcdefgh"), max_size=20), min_size=2, max_size=3))
@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=30
)
def test_repetitions_and_overlaps_are_those_of_the_texts(
    tmp_path_factory: pytest.TempPathFactory, splits: list[list[str]]
) -> None:
    folder, tokenizer = tmp_path_factory.mktemp("corpora"), ByteTokenizer()
    texts = dict(zip(("train", "val", "test"), splits, strict=False))
    told = measure(
        {split: tokenized(folder / split, tokenizer, some) for split, some in texts.items()},  # type: ignore[misc]
        tokenizer,
    )
    texts = {split: some for split, some in texts.items() if some}
    assert set(told["splits"]) == set(texts)
    for split, some in texts.items():
        found, counts = told["splits"][split]["repetitions"], Counter(some)
        assert (found["distinct"], found["repeated"]) == (len(counts), len(some) - len(counts))
        often = [(n, text) for text, n in counts.most_common() if n > 1][:3]  # in order of first
        assert [(row["count"], row["text"]) for row in found["most_repeated"]] == often
    for pair, shared in told["overlaps"].items():
        a, b = pair.split("/")
        common = set(texts[a]) & set(texts[b])
        assert shared["distinct"] == len(common)
        assert shared[a] == sum(text in common for text in texts[a])
        assert shared[b] == sum(text in common for text in texts[b])
        first = [text for text in dict.fromkeys(texts[b]) if text in common]
        assert shared["examples"] == first[:3]
    assert len(told["overlaps"]) == math.comb(len(texts), 2)


# Tokens and lengths


def test_figures_worked_by_hand(tmp_path: Path) -> None:
    # The vocabulary: pad, unk, bos, eos; the, cat, dog, sees.
    tokenizer = words("the cat sees the dog")
    train = tokenized(tmp_path / "train", tokenizer, ["the cat", "a big cat", "the cat", "the"])
    told = measure({"train": train}, tokenizer)
    lengths = {"min": 3, "mean": 4.0, "max": 5, "p50": 4, "p90": 5, "p95": 5, "p99": 5}
    histogram = [{"from": n, "to": n, "sentences": count} for n, count in ((3, 1), (4, 2), (5, 1))]
    assert told == {
        "tokenizer": {"class_path": "WordTokenizer", "vocab_size": 8},
        "splits": {
            "train": {
                "sentences": 4,
                "tokens": 16,
                "unknown": 2,
                "unknown_share": 0.25,  # 2 of 8 words: bos and eos are not counted
                "sentences_with_unknown": 1,
                "vocabulary_used": 2,
                "vocabulary_used_share": 0.5,  # the, cat; not dog, sees
                "lengths": {**lengths, "histogram": histogram},
                "repetitions": {
                    "distinct": 3,
                    "repeated": 1,
                    "most_repeated": [{"count": 2, "text": "the cat"}],
                },
            }
        },
        "overlaps": {},
    }
    assert json.loads(json.dumps(told)) == told


def test_what_was_left_out_is_not_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corpus_file, "SHARD_TOKENS", 8)  # so that there are several
    tokenizer = words("a b c d e f")
    texts = ["a", "x x x", "b b", "x", "c", "c", "d", "e x", "f"]
    keep = [text.count("x") == 0 for text in texts]
    kept = tokenized(tmp_path / "kept", tokenizer, texts, keep=keep, at_once=2)
    assert len(kept.shards) > 2
    clean = [text for text in texts if "x" not in text]
    assert measure({"train": kept}, tokenizer) == measure(
        {"train": tokenized(tmp_path / "clean", tokenizer, clean)}, tokenizer
    )


def test_of_pairs_both_sides_are_measured(tmp_path: Path) -> None:
    tokenizer = words("a b c")
    texts, targets = ["a b c", "a b c", "a b c", "b"], ["a", "a", "b", "x"]
    train = tokenized(tmp_path / "train", tokenizer, texts, targets)
    val = tokenized(tmp_path / "val", tokenizer, ["b"], ["c"])
    told = measure({"train": train, "val": val}, tokenizer)
    split = told["splits"]["train"]
    assert (split["tokens"], split["target"]["tokens"]) == (5 + 5 + 5 + 3, 4 * 3)
    assert (split["unknown"], split["target"]["unknown"]) == (0, 1)
    assert split["repetitions"]["repeated"] == 1  # the same text and the same target
    # A text that training had is known, whatever is to be written for it.
    assert told["overlaps"]["train/val"] == {"distinct": 1, "train": 1, "val": 1, "examples": ["b"]}


@given(st.lists(st.integers(2, 9000), min_size=1))
def test_lengths_against_sorting(lengths: list[int]) -> None:
    told = describe_lengths(np.bincount(lengths))
    assert (told["min"], told["max"]) == (min(lengths), max(lengths))
    assert told["mean"] == pytest.approx(sum(lengths) / len(lengths))
    for share in (50, 90, 95, 99):
        nearest_rank = sorted(lengths)[-(-len(lengths) * share // 100) - 1]
        assert told[f"p{share}"] == nearest_rank
    bins = told["histogram"]
    assert sum(found["sentences"] for found in bins) == len(lengths)
    assert bins[0]["from"] <= min(lengths)
    assert bins[-1]["to"] >= max(lengths)
    assert len(bins) <= 13
    assert all(a["to"] + 1 == b["from"] for a, b in zip(bins, bins[1:], strict=False))


def test_bins_are_round() -> None:
    counts = np.zeros(301, np.int64)
    counts[[4, 20, 33, 300]] = [300, 500, 197, 3]
    ends = [(found["from"], found["to"]) for found in describe_lengths(counts)["histogram"]]
    assert ends == [(1, 5), (6, 10), (11, 15), (16, 20), (21, 25), (26, 30), (31, 35), (36, 300)]


# What stands out


def test_shares_are_told_honestly() -> None:
    told = [percent(share) for share in (0, 1, 0.5, 0.0001, 0.99999, 0.123456, 0.0005)]
    assert told == ["0 %", "100 %", "50.0 %", "<0.1 %", ">99.9 %", "12.3 %", "0.1 %"]


def counts(read: int = 1000, repaired: int = 0, **dropped: int) -> dict[str, Any]:
    reasons = {reason.replace("_", " "): count for reason, count in dropped.items()}
    kept = read - sum(dropped.values())
    return {"read": read, "kept": kept, "dropped": reasons, "repaired": repaired}


def report_of(**changes: Any) -> dict[str, Any]:
    """What is said of a split, or a side of it, in which nothing stands out."""
    lengths = {"p50": 10, "p95": 20, "p99": 30, "min": 3, "mean": 10, "max": 40}
    return {
        "sentences": 1000,
        "tokens": 10_000,
        "unknown_share": 0.0,
        "sentences_with_unknown": 0,
        "vocabulary_used_share": 0.99,
        "lengths": lengths | {"histogram": [{"from": 1, "to": 40, "sentences": 1000}]},
        "repetitions": {"repeated": 0, "most_repeated": []},
    } | changes


def report(
    source: Mapping[str, Any] = MappingProxyType({}),
    train: Mapping[str, Any] = MappingProxyType({}),
) -> dict[str, Any]:
    """A report in which nothing stands out, but for what is changed."""
    read = {"name": "a.txt", "split": "train", "altered": {}, "remarks": {}, "left_out": {}}
    return {
        "sources": [read | {"records": counts(), "sentences": counts()} | dict(source)],
        "tokenizer": {"class_path": "BPETokenizer", "vocab_size": 2000},
        "splits": {"train": report_of(**train)},
        "overlaps": {},
        "repetitions_left_out": {},
        "settings": {"max_length": 128, "cleaning": {"split_sentences": None}},
    }


FINDINGS: dict[str, tuple[dict[str, Any], str, str]] = {
    "unknown": (
        {"train": {"unknown_share": 0.2, "sentences_with_unknown": 500}},
        "20.0 % of the tokens of train are unknown to the tokenizer, in 50.0 % of the sentences,",
        "`vocab_size`",
    ),
    "unknown targets": (
        {"train": {"target": report_of(unknown_share=0.01, sentences_with_unknown=10)}},
        "1.0 % of the tokens of the targets of train are unknown to the tokenizer, in 1.0 % of the",
        "`vocab_size`",
    ),
    "dropped records": (
        {"source": {"records": counts(malformed=10, blank=500)}},
        "1.0 % of the records of a.txt were dropped: 10 malformed.",
        "`data.reading.errors: strict`",
    ),
    "dropped sentences": (
        {"source": {"sentences": counts(too_long=100)}},
        "10.0 % of the sentences of a.txt were dropped: 100 too long.",
        "`data.max_length`",
    ),
    "truncated": (
        {"source": {"altered": {"truncated": 50}}},
        "5.0 % of the sentences of a.txt were truncated to 128 tokens.",
        "`data.too_long: split`",
    ),
    "line ends": (
        {"source": {"remarks": {LINE_ENDS: {"count": 6, "examples": ["a.txt:2  b\nc"]}}}},
        "6 sentences of a.txt have a line end or a tab inside.",
        "`data.reading.quoting`",
    ),
    "doubled quotes": (
        {"source": {"remarks": {QUOTED: {"count": 1, "examples": ['a.txt:2  "b ""c""']}}}},
        "1 sentence of a.txt is in quotes, with doubled quotes inside.",
        "`data.reading.quoting: minimal`",
    ),
    "files left out": (
        {"source": {"left_out": {".md": {"files": 4, "first": ["a.md", "b.md"]}}}},
        "4 files were left out of a.txt: 4 .md ('a.md', 'b.md', ...).",
        "A pattern reads those of an ending as text",
    ),
    "longer than asked about": (
        {"train": {"over_max_length": {"max_length": 32, "sentences": 1}}},
        "0.1 % of the sentences of train (1) have more than 32 tokens; training would stop",
        "`data.max_length`",
    ),
    "repeated": (
        {"train": {"repetitions": {"repeated": 10, "most_repeated": [{"count": 11, "text": "a"}]}}},
        "1.0 % of the sentences of train (10) repeat another one.",
        "`data.cleaning.deduplicate: true`",
    ),
    "documents": (
        {"train": {"lengths": {"p50": 400, "p95": 900}}},
        "Half of the sentences of train have 400 tokens or more. If they are documents,",
        "`data.cleaning.split_sentences: en`",
    ),
    "single tokens": (
        {"train": {"lengths": {"p50": 3, "p95": 3}}},
        "Nearly every sentence of train is a single token to the BPETokenizer.",
        "use a smaller `vocab_size` or CharacterTokenizer.",
    ),
    "unused vocabulary": (
        {"train": {"vocabulary_used_share": 0.3}},
        "Only 30.0 % of the vocabulary of 2,000 tokens occur in train.",
        "`vocab_size`",
    ),
}


@pytest.mark.parametrize("what", FINDINGS)
def test_what_stands_out(what: str) -> None:
    changes, said, option = FINDINGS[what]
    ((text, _),) = find(report(**changes))
    assert text.startswith(said)
    assert option in text


def test_nothing_stands_out() -> None:
    assert list(find(report())) == []
    assert "Nothing: no sentence is in two splits" in to_text(report())


# The command

REPORT = """\
What was read
─────────────
source         split             read  kept  left out
[b]a:bug:.txt  train  records     104   102  2 blank
                      sentences   102   101  1 too short
val.txt        val    records       2     2

What is left
────────────
WordTokenizer, 97           train     val
sentences                     101       2
  repeated                     12       0
tokens, with begin and end    753       6
  unknown                     0 %  50.0 %
vocabulary in use           100 %   1.1 %
tokens a sentence
  shortest                      3       3
  median                        7       3
  mean                        7.5     3.0
  95 % up to                    9       3
  99 % up to                    9       3
  longest                       9       3

Tokens a sentence: train
────────────────────────
3  █▍                                 1   1.0 %
4                                     0     0 %
5                                     0     0 %
6  ████████████████████████████████  25  24.8 %
7  ████████████████████████████████  25  24.8 %
8  ████████████████████████████████  25  24.8 %
9  ████████████████████████████████  25  24.8 %

What stands out
───────────────
!  Leakage: 50.0 % of the sentences of val (1) are also in train, so metrics on
   val are too good. `data.cleaning.deduplicate: true` takes them out of train.
      end\\x1b[2J\\u202e
!  50.0 % of the tokens of val are unknown to the tokenizer, in 50.0 % of the
   sentences, which cannot be reconstructed exactly. Train the tokenizer on text
   like this, with a larger `vocab_size`; or use BPETokenizer, which knows all
   text.
!  24.8 % of the sentences of train (25) have more than 8 tokens; training would
   stop at the first of them. Raise `data.max_length`, or set `data.too_long` to
   truncate, drop or split.
!  11.9 % of the sentences of train (12) repeat another one.
   `data.cleaning.deduplicate: true` keeps one of each. The most frequent:
      2 times: number 0 is nice
      2 times: number 1 is very nice
      2 times: number 2 is very very nice
"""


def test_the_report_as_a_person_reads_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Out
) -> None:
    monkeypatch.chdir(tmp_path)
    lines = [f"number {i % 88} is {'very ' * (i % 4)}nice" for i in range(100)]
    write_text(tmp_path / "[b]a:bug:.txt", [*lines, "", "  ", "end\x1b[2J\u202e", "hi"])
    write_text(tmp_path / "val.txt", ["end\x1b[2J\u202e", "所有的字都不认识"])
    options = ["--val", "val.txt", "--tokenizer", "WordTokenizer", "--cleaning.min_characters", 3]
    assert run_seqae("data", "report", "[b]a:bug:.txt", *options, "--max_length", 8) == 0
    said = capsys.readouterr()
    assert said.err == ""
    assert said.out == REPORT


def read_report(path: Path) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return told


def test_as_json(tmp_path: Path, capsys: Out) -> None:
    text, output = write_text(tmp_path / "a.txt"), tmp_path / "report.json"
    options = ["--val_percent", 20, "--tokenizer", "ByteTokenizer", "--output", output]
    assert run_seqae("data", "report", text, text, *options) == 0
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "")
    told = read_report(output)
    assert [source["records"]["kept"] for source in told["sources"]] == [32, 32]
    assert told["splits"]["train"]["sentences"] + told["splits"]["val"]["sentences"] == 64
    assert told["splits"]["train"]["repetitions"]["repeated"] > 0
    assert told["overlaps"]["train/val"]["distinct"] == 0  # a hash of the sentence decides


def test_as_text_in_a_file(tmp_path: Path) -> None:
    output = tmp_path / "report.txt"
    assert run_seqae("data", "report", "hsk", "--vocab_size", 300, "--output", output) == 0
    said = output.read_text(encoding="utf-8")
    assert said.startswith("What was read\n")
    assert "BPETokenizer, 300" in said
    assert max(map(len, said.splitlines())) <= 80


def test_what_repeats_is_left_out_on_request(tmp_path: Path) -> None:
    text, output = write_text(tmp_path / "a.txt", ["a b"] * 3 + ["c"]), tmp_path / "report.json"
    options = ["--val", text, "--cleaning.deduplicate", "true", "--output", output]
    assert run_seqae("data", "report", text, "--test", "hsk", *options) == 1  # nothing is left
    text = write_text(tmp_path / "b.txt", ["a b", "b c", "b c"])
    assert run_seqae("data", "report", text, *options) == 0
    told = read_report(output)
    assert told["repetitions_left_out"] == {"test": 0, "val": 2, "train": 2}
    assert told["overlaps"]["train/val"]["distinct"] == 0
    assert re.search("repetitions left out +2 +2\n", to_text(told))


@pytest.mark.parametrize("where", ["", "bundle", "bundle/tokenizer.json"])
def test_with_the_tokenizer_of_a_model(overfit_run: Path, tmp_path: Path, where: str) -> None:
    text, output = write_text(tmp_path / "a.txt"), tmp_path / "report.json"
    options = ["--tokenizer", overfit_run / where, "--output", output]
    assert run_seqae("data", "report", text, *options) == 0
    trained = Tokenizer.load(overfit_run / "bundle" / "tokenizer.json")
    assert read_report(output)["tokenizer"]["vocab_size"] == trained.vocab_size


def test_nothing_stays_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Out) -> None:
    monkeypatch.setenv("SEQAE_CACHE", str(tmp_path / "cache"))
    assert run_seqae("data", "report", write_text(tmp_path / "a.txt")) == 0
    assert run_seqae("data", "report", write_text(tmp_path / "empty.txt", [" "])) == 1
    assert not list((tmp_path / "cache").iterdir())


REFUSED = {
    "no file": ([], 2, "`files` must be given."),
    "a file that is not there": (["none.txt"], 1, "`data.train` must be a file, "),
    "tokenizer": (["hsk", "--tokenizer", "none"], 1, "`tokenizer` must be one of BPETokenizer, "),
    "size of bytes": (
        ["hsk", "--tokenizer", "ByteTokenizer", "--vocab_size", "9"],
        1,
        "`vocab_size` must be left out for ByteTokenizer, ",
    ),
    "max_length": (["hsk", "--max_length", "1"], 1, "`max_length` must be between 3 and "),
    "output": (["hsk", "--output", "a.html"], 1, "`output` must end in .json or .txt, "),
    "language": (
        ["hsk", "--cleaning.split_sentences", "xx"],
        1,
        "`data.cleaning.split_sentences` must be one of am, ",
    ),
    "key": (
        ["hsk", "--cleaning.lowercas", "true"],
        2,
        "`cleaning.lowercas` is not known. Did you mean `cleaning.lowercase`?",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_refused(what: str, capsys: Out) -> None:
    arguments, status, message = REFUSED[what]
    assert run_seqae("data", "report", *arguments) == status
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"seqae: error: {message}")


def test_a_misspelt_command_of_data(capsys: Out) -> None:
    assert run_seqae("data", "rport") == 2
    assert capsys.readouterr().err.endswith("Did you mean `seqae data report`?\n")


def test_every_option_is_documented(capsys: Out) -> None:
    assert run_seqae("data", "report", "--help", "all") == 0
    said = " ".join(capsys.readouterr().out.partition("options:")[2].split())
    assert not re.findall(r"--\w+ (?:[A-Z_]+|\{[^}]*\}) \(", said)
    assert "write everything in lower case" in said


def test_documents_with_summaries(tmp_path: Path, capsys: Out) -> None:
    rows = [{"text": f"Dr. No {n}. " * 60, "summary": f"number {n}"} for n in range(50)]
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    assert run_seqae("data", "report", path, "--tokenizer", "ByteTokenizer") == 0
    assert "`data.cleaning.split_sentences: en`" in " ".join(capsys.readouterr().out.split())
    options = ["--tokenizer", "ByteTokenizer", "--reading.target_column", "summary"]
    assert run_seqae("data", "report", path, *options) == 0
    said = capsys.readouterr().out
    assert "Tokens a target: train" in said
    assert "split_sentences" not in said  # pairs are not split


def test_a_source_given_as_in_fit(capsys: Out) -> None:
    assert run_seqae("data", "report", "--train", "my.txt") == 2
    said = "`train` is not known. Leave out its name: `seqae data report TRAIN`.\n"
    assert capsys.readouterr().err.endswith(said)
