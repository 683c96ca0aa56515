"""scripts/data/public_summaries.py on small samples of the shape that each set has."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
from small import ROOT

from seqae.data.datamodule import TextDataModule
from seqae.data.sources.records import ReadOptions
from seqae.data.tokenizers import ByteTokenizer

spec = importlib.util.spec_from_file_location(
    "public_summaries", ROOT / "scripts/data/public_summaries.py"
)
assert spec is not None
assert spec.loader is not None
summaries = importlib.util.module_from_spec(spec)
spec.loader.exec_module(summaries)

PACKAGES = """\
Package: flim
Version: 1
Description: library about messages

Package: libflim-doc
Source: flim (1.1)
Description: library about messages - documentation

"""
TRANSLATION = """\
Package: flim
Description-md5: 0
Description-en: library about messages
 FLIM is a library that provides basic functions about the representation of
 messages and their encoding for all Emacsen.
 .
 It has several modules.

Package: libflim-doc
Description-md5: 1
Description-en: library about messages - documentation
 FLIM is a library that provides basic functions about the representation of
 messages. These are all of its manuals and pages.

Package: short
Description-en: says too little
 Says too little.
"""


def parquet(path: Path, rows: list[dict[str, Any]]) -> Path:
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    return path


def written(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("name", "document"),
    [("xsum", "document"), ("cnn_dailymail", "article"), ("samsum", "dialogue")],
)
def test_tables_of_two_columns(name: str, document: str, tmp_path: Path) -> None:
    summary = "highlights" if name == "cnn_dailymail" else "summary"
    rows = [{document: "A: one\nB: two ", summary: "One .\nTwo .", "id": "1"}]
    rows.append({document: "", summary: "of nothing", "id": "2"})
    expected = [{"document": "A: one B: two", "summary": "One . Two ."}]
    files = [
        parquet(tmp_path / "a.parquet", rows),
        written(tmp_path / "a.json", json.dumps(rows)),
        written(tmp_path / "a.jsonl", "".join(f"{json.dumps(row)}\n" for row in rows)),
    ]
    for file in files:
        assert list(summaries.pairs(name, [file])) == expected


def test_gigaword_is_two_texts(tmp_path: Path) -> None:
    files = [
        written(tmp_path / name, text) for name, text in (("s", "a b\nc\n"), ("t", "a\nc d\n"))
    ]
    expected = [{"document": "a b", "summary": "a"}, {"document": "c", "summary": "c d"}]
    assert list(summaries.pairs("gigaword", files)) == expected
    with pytest.raises(SystemExit, match="equally many lines"):
        list(summaries.pairs("gigaword", [files[0], written(tmp_path / "u", "a\n")]))


def test_opinions_have_several_reviews_and_summaries(tmp_path: Path) -> None:
    amazon = written(
        tmp_path / "a.tsv", "prod_id\tcat\trev1\trev2\tsumm1\tsumm2\np\tc\tA\tB\tC\tD\n"
    )
    review = "Input.original_review_"
    yelp = f"Input.business_id,{review}0,{review}1,Answer.summary\nb,A,B,C\n"
    coop = json.dumps([{"reviews": ["A", "B"], "summary": "C"}])
    reviews = ["A", "B"]
    for file, expected in (
        (amazon, ["C", "D"]),
        (written(tmp_path / "y.csv", yelp), ["C"]),
        (written(tmp_path / "c.json", coop), ["C"]),
    ):
        found = list(summaries.pairs("opinions", [file]))
        assert found == [{"document": reviews, "summary": expected}]


def test_debian_keeps_a_source_in_one_split(tmp_path: Path) -> None:
    files = [written(tmp_path / "p", PACKAGES), written(tmp_path / "t", TRANSLATION)]
    split = summaries.split_of("flim")
    found = {
        name: list(summaries.pairs("debian", files, name)) for name in ("train", "val", "test")
    }
    assert [name for name, rows in found.items() if rows] == [split]
    assert len(found[split]) == (2 if split == "train" else 1)
    assert found[split][0]["summary"] == "library about messages"
    assert found[split][0]["document"].endswith("for all Emacsen. It has several modules.")
    with pytest.raises(SystemExit, match="split"):
        list(summaries.pairs("debian", files))


def test_debian_translated_to_chinese(tmp_path: Path) -> None:
    stanza = "Package: {}\nDescription-md5: 0\nDescription-zh_CN: {}\n {}\n {}\n\n"
    first = (
        "FLIM 是一个库，提供处理电子邮件的基本功能，",
        "包括编码和解码，以及其它许多功能，支持多种语言。",
    )
    translation = stanza.format("flim", "关于消息的库", *first)
    translation += stanza.format("libflim-doc", "关于消息的库（文档）", *first[::-1])
    translation += stanza.format("short", "太短", "太短了", "。")
    translation += stanza.format("other", "一个 library", "is a library that is not", "yet 翻译")
    files = [written(tmp_path / "p", PACKAGES), written(tmp_path / "t", translation)]
    assert list(summaries.pairs("debian", files, "all")) == [
        {"document": "".join(first), "summary": "关于消息的库"}
    ]


def test_seqae_reads_the_lines(tmp_path: Path) -> None:
    rows = [{"document": f"the document {i}", "summary": f"number {i}"} for i in range(20)]
    lines = "".join(
        f"{json.dumps(row)}\n"
        for row in summaries.pairs("xsum", [parquet(tmp_path / "x.parquet", rows)])
    )
    data = TextDataModule(
        ByteTokenizer(),
        train=str(written(tmp_path / "x.jsonl", lines)),
        reading=ReadOptions(column="document", target_column="summary"),
        cache_dir=str(tmp_path / "cache"),
    )
    data.prepare_data()
    data.setup("fit")
    batch = next(iter(data.train_dataloader()))
    written_ids = [
        row[: row.index(ByteTokenizer().eos_id)] for row in batch.targets.token_ids.tolist()
    ]
    assert all(
        text.startswith("number ")
        for text in ByteTokenizer().decode([ids[1:] for ids in written_ids])
    )


def test_odd_lines_and_cells(tmp_path: Path) -> None:
    lines = tmp_path / "a.jsonl"
    lines.write_text(
        '{"document": "one\u2028two", "summary": "x"}\n\n{"document": null, "summary": "y"}\n'
    )
    assert [*summaries.pairs("xsum", [lines])] == [{"document": "one two", "summary": "x"}]
    table = tmp_path / "a.csv"
    table.write_text(f"document,summary\n{'word ' * 40_000},short\n")
    assert [pair["summary"] for pair in summaries.pairs("gigaword", [table])] == ["short"]
    other = tmp_path / "a.txt"
    other.touch()
    for name, file in (("gigaword", other), ("samsum", lines), ("opinions", lines)):
        with pytest.raises(SystemExit, match="must"):
            [*summaries.pairs(name, [file])]
    with pytest.raises(SystemExit, match="must be two files"):
        [*summaries.pairs("debian", [other], "test")]
