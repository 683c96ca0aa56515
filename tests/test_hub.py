"""Data sets of the hub, through the real libraries, from a stand-in of the hub on loopback.

Two processes read them, one with a network and one without, both with the same cache.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hub_server import HubServer, serve
from hub_user import (
    DOWNLOAD,
    STREAM,
    User,
    open_while_datasets_falls_back,
    read,
    read_around,
    read_in_pieces,
    read_large,
    start_user,
    tell,
)
from small import COMMAND, SENTENCES, write_recipe

from seqae.data.sources.formats.reader import Keys
from seqae.data.sources.hubs import hub_readers
from seqae.data.sources.hubs.hub import HubName
from seqae.data.sources.records import Block, Counts

SHARDS = [[f"Sentence {row} of shard {shard}." for row in range(25)] for shard in range(3)]
ALL = sum(SHARDS, [])
CONFIGS = """---
configs:
- config_name: short
  data_files: short/*.parquet
- config_name: long
  data_files: long/*.parquet
---
"""


@pytest.fixture(scope="module")
def hub() -> Iterator[HubServer]:
    with serve() as server:
        shards = {
            f"data/train-{index:05}-of-00003.parquet": parquet(text=texts, n=range(25))
            for index, texts in enumerate(SHARDS)
        }
        test = {"data/test-00000-of-00001.parquet": parquet(text=["Only one."], n=[1])}
        server.commit("lab/plain", {**shards, **test}, tag="v1")
        rows = [{"text": "One."}, {"text": None}, {"text": " \t"}, {"text": "x" * 50}, {}]
        rows += [{"text": "  Six. ", "title": "6"}]
        lines = "".join(json.dumps({"title": None, **row}) + "\n" for row in rows)
        server.commit("lab/lines", {"train.jsonl": lines.encode()})
        short, long = parquet(text=["Short."]), parquet(text=["Long, long."])
        files = {"short/train.parquet": short, "long/train.parquet": long}
        server.commit("lab/configs", {"README.md": CONFIGS.encode(), **files})
        pairs = parquet(document=["A long text.", "Lost.", "B."], summary=["A.", None, "b"])
        server.commit("lab/pairs", {"train.parquet": pairs})
        rows = [
            {"en": "One.", "de": "Eins."},
            None,
            {"en": None, "de": "x"},
            {"en": "b", "de": "c"},
        ]
        server.commit("lab/nested", {"train.parquet": parquet(id=range(4), translation=rows)})
        lines = "".join(json.dumps({"translation": row}) + "\n" for row in rows)
        server.commit("lab/nested-lines", {"train.jsonl": lines.encode()})
        server.commit("lab/script", {"script.py": b"raise SystemExit", "train.parquet": short})
        server.commit("lab/empty", {"README.md": b"Nothing yet."})
        server.commit("lab/gated", {"train.parquet": short})
        server.private.add("lab/gated")
        server.renamed["old"] = "lab/lines"
        yield server


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("hub")


@pytest.fixture(scope="module")
def user(hub: HubServer, home: Path) -> Iterator[User]:
    yield from start_user(home, hub.environment(home))


@pytest.fixture(scope="module")
def user_offline(hub: HubServer, home: Path) -> Iterator[User]:
    yield from start_user(home, {**hub.environment(home), "HF_HUB_OFFLINE": "1"})


def parquet(**columns: Any) -> bytes:
    file = io.BytesIO()
    pq.write_table(pa.table(columns), file, row_group_size=10)
    return file.getvalue()


def texts(parts: list[list[Block]]) -> list[str]:
    return [text for blocks in parts for block in blocks for text in block.texts]


@pytest.mark.parametrize("mode", [STREAM, DOWNLOAD])
def test_reads_a_split_in_order(user: User, hub: HubServer, mode: str) -> None:
    assert texts(user(read, "hf:lab/plain", hub=mode)) == ALL
    assert texts(user(read, "hf:lab/plain#test", hub=mode)) == ["Only one."]


def test_only_the_download_is_kept(user: User, hub: HubServer) -> None:
    user(read, "hf:lab/plain", hub=DOWNLOAD)
    hub.requests.clear()
    user(read, "hf:lab/plain", hub=DOWNLOAD)
    assert not any("GET" in request and "parquet" in request for request in hub.requests)
    user(read, "hf:lab/plain", hub=STREAM)
    assert any("GET" in request and "parquet" in request for request in hub.requests)


@pytest.mark.parametrize(
    ("mode", "place"),
    [(STREAM, "hf:lab/plain, shard 2 of 3:3"), (DOWNLOAD, "hf:lab/plain:28")],
)
def test_says_where_a_record_is(user: User, mode: str, place: str) -> None:
    [blocks] = user(read, "hf:lab/plain", rows=4, hub=mode)
    places = {
        text: block.where(index) for block in blocks for index, text in enumerate(block.texts)
    }
    assert places["Sentence 2 of shard 1."] == place


@pytest.mark.parametrize("mode", [STREAM, DOWNLOAD])
@pytest.mark.parametrize("wanted", [2, 3, 5, 8])
def test_parts_give_each_record_once(user: User, mode: str, wanted: int) -> None:
    parts = user(read, "hf:lab/plain", wanted, rows=4, hub=mode)
    assert len(parts) >= wanted
    assert sorted(texts(parts)) == sorted(ALL)


@pytest.mark.parametrize("mode", [STREAM, DOWNLOAD])
@pytest.mark.parametrize("wanted", [1, 2, 8])
def test_goes_on_behind_any_block(user: User, mode: str, wanted: int) -> None:
    whole = user(read, "hf:lab/plain", wanted, rows=10, hub=mode)
    assert user(read_in_pieces, "hf:lab/plain", wanted, 10, hub=mode) == whole


def test_large_texts_come_in_small_blocks(user: User) -> None:
    sizes = user(read_large, "hf:lab/plain")
    assert sum(sizes) == 75
    assert max(sizes) < 10


@pytest.mark.parametrize("mode", [STREAM, DOWNLOAD])
def test_counts_what_it_drops(user: User, mode: str) -> None:
    [[block]] = user(read, "hf:lab/lines", hub=mode, max_line_bytes=40)
    assert block.texts == ["One.", "Six."]
    assert list(block.numbers) == [1, 6]
    assert block.counts == Counts(6, Counter({"no text": 2, "too long": 1, "blank": 1}))


@pytest.mark.parametrize("mode", [STREAM, DOWNLOAD])
@pytest.mark.parametrize("name", ["nested", "nested-lines"])
def test_a_column_inside_of_another(user: User, mode: str, name: str) -> None:
    options = {"hub": mode, "target_column": "translation.de"}
    [[block]] = user(read, f"hf:lab/{name}#train.translation.en", **options)
    assert (block.texts, block.targets) == (["One.", "b"], ["Eins.", "c"])
    assert block.counts.dropped["no text"] == 2
    message = user.refusal(f"hf:lab/{name}#train.translation.fr")
    assert "Choose one of: translation.en, translation.de." in message


@pytest.mark.parametrize("mode", [STREAM, DOWNLOAD])
def test_pairs(user: User, mode: str) -> None:
    options = {"column": "document", "target_column": "summary"}
    [[block]] = user(read, "hf:lab/pairs", hub=mode, **options)
    assert (block.texts, block.targets) == (["A long text.", "B."], ["A.", "b"])
    assert block.counts.to_dict()["dropped"] == {"no text": 1}


def test_the_record_pins_the_revision(user: User, hub: HubServer) -> None:
    record, _, _ = user(tell, "hf:lab/plain@v1:default#train.text")
    assert record == {
        "dataset": "lab/plain",
        "config": "default",
        "split": "train",
        "column": "text",
        "revision": hub.repositories["lab/plain"].refs["v1"],
    }


def test_an_old_name_is_recorded_as_the_new_one(user: User) -> None:
    record, _, _ = user(tell, "hf:old")
    assert record["dataset"] == "lab/lines"


def test_the_fingerprint_changes_with_what_is_read(user: User) -> None:
    names = ["hf:lab/configs:short", "hf:lab/configs:long", "hf:lab/plain", "hf:lab/plain#test"]
    told = [user(tell, name)[1] for name in names]
    told.append(user(tell, "hf:lab/plain", max_line_bytes=99)[1])
    assert len(set(told)) == 5
    assert user(tell, "hf:lab/plain@v1")[1] == user(tell, "hf:lab/plain")[1]


def test_the_size_is_what_the_weights_add_up_to(user: User) -> None:
    assert user(tell, "hf:lab/plain")[2] is None
    size = user(tell, "hf:lab/plain", hub=DOWNLOAD)[2]
    [blocks] = user(read, "hf:lab/plain", rows=10, hub=DOWNLOAD)
    assert sum(block.weight for block in blocks) == pytest.approx(size, rel=0.05)


def test_reads_the_commit_that_it_opened(user: User, hub: HubServer, tmp_path: Path) -> None:
    shards = {f"train-{i}-of-2.parquet": parquet(text=[f"Old {i}."]) for i in range(2)}
    before = hub.commit("lab/moving", shards)
    begun, moved = tmp_path / "begun", tmp_path / "moved"
    reading = user.pool.submit(read_around, "hf:lab/moving", str(begun), str(moved))
    while not begun.exists():
        assert not reading.done()
    after = hub.commit("lab/moving", {"train.parquet": parquet(text=["New."])})
    moved.touch()
    assert reading.result(timeout=100) == ["Old 0.", "Old 1."]
    assert texts(user(read, "hf:lab/moving")) == ["New."]
    assert texts(user(read, f"hf:lab/moving@{before}")) == ["Old 0.", "Old 1."]
    assert user(tell, "hf:lab/moving")[0]["revision"] == after


@pytest.mark.parametrize(
    ("name", "kind", "told"),
    [
        ("hf:lab/none", FileNotFoundError, "there is no lab/none that you may read"),
        ("hf:lab/gated", PermissionError, "hf auth login"),
        ("hf:lab/plain@v9", FileNotFoundError, "there is no 'v9'"),
        ("hf:lab/configs", ValueError, "it names none instead. Choose one of: short, long."),
        ("hf:lab/configs:tall", ValueError, "no 'tall' instead. Choose one of: short, long."),
        ("hf:lab/plain#valid", ValueError, "no 'valid' instead. Choose one of: train, test."),
        ("hf:lab/plain#train.body", ValueError, "no 'body' instead. Choose one of: text."),
        ("hf:lab/plain#train.n", ValueError, "'n' holds int64 instead. Choose one of: text."),
        ("hf:lab/script", ValueError, "needs its own code (script.py)"),
        ("hf:lab/empty", OSError, "cannot instead (EmptyDatasetError: "),
        ("hf:a/b/c", ValueError, "written hf:OWNER/NAME"),
        ("hf:lab/--x", ValueError, "lab/--x cannot be a name"),
    ],
)
def test_refuses(user: User, name: str, kind: type[Exception], told: str) -> None:
    assert told in user.refusal(name, kind)


def test_another_commit_than_the_pinned_one_is_not_read(user: User) -> None:
    with pytest.raises(OSError, match=r"revision \w{40} cannot be reached"):
        user(open_while_datasets_falls_back, "hf:lab/plain")


def test_a_target_column_must_be_there(user: User) -> None:
    message = user.refusal("hf:lab/pairs", column="document", target_column="gist")
    assert "no 'gist' instead. Choose one of: document, summary." in message


def test_says_that_the_hub_is_down(user: User, hub: HubServer) -> None:
    hub.broken = True
    try:
        assert "503" in user.refusal("hf:lab/plain", ConnectionError)
    finally:
        hub.broken = False


def test_what_was_downloaded_is_read_offline(user: User, user_offline: User) -> None:
    names = ["hf:lab/plain", "hf:lab/plain@v1", "hf:lab/configs:short", "hf:lab/configs:long"]
    for name in names:
        online = user(tell, name, hub=DOWNLOAD)
        assert user_offline(tell, name, hub=DOWNLOAD) == online
    assert texts(user_offline(read, "hf:lab/plain", 2, hub=DOWNLOAD)) == ALL
    revision = online[0]["revision"]
    message = user_offline.refusal(f"hf:lab/configs@{revision}", hub=DOWNLOAD)
    assert "it names none instead. Choose one of: long, short." in message


def test_offline_another_commit_is_not_taken(
    user: User, user_offline: User, hub: HubServer
) -> None:
    first = hub.commit("lab/two", {"train.parquet": parquet(text=["First."])})
    user(tell, "hf:lab/two", hub=DOWNLOAD)
    second = hub.commit("lab/two", {"train.parquet": parquet(text=["Second."])})
    user(tell, f"hf:lab/two@{second}", hub=DOWNLOAD)
    assert texts(user_offline(read, f"hf:lab/two@{first}", hub=DOWNLOAD)) == ["First."]
    assert texts(user_offline(read, f"hf:lab/two@{second}", hub=DOWNLOAD)) == ["Second."]


@pytest.mark.parametrize(("name", "mode"), [("lab/plain", STREAM), ("lab/new", DOWNLOAD)])
def test_offline_what_is_not_there_is_refused(user_offline: User, name: str, mode: str) -> None:
    message = user_offline.refusal(f"hf:{name}", ConnectionError, hub=mode)
    assert "offline mode is enabled" in message
    assert "`data.reading.hub: download`" in message


def test_the_libraries_are_silent(user: User, user_offline: User) -> None:
    user(read, "hf:lab/pairs@main", hub=DOWNLOAD, column="document")
    user_offline(tell, "hf:lab/pairs", hub=DOWNLOAD, column="summary")
    assert user.log.read_text() == user_offline.log.read_text() == ""


# These need neither a hub nor a process.


@pytest.mark.parametrize(
    ("name", "parsed"),
    [
        ("hf:imdb", HubName("imdb")),
        ("hf:a/b#train.text", HubName("a/b", split="train", column="text")),
        ("hf:a/b:en-de#validation", HubName("a/b", config="en-de", split="validation")),
        ("hf:a/b@refs/pr/3:c.1#s.x.y z", HubName("a/b", "refs/pr/3", "c.1", "s", "x.y z")),
    ],
)
def test_names(name: str, parsed: HubName) -> None:
    assert HubName.parse(name, "data.train") == parsed


@pytest.mark.parametrize(
    "name",
    ["hf:", "hf:/b", "hf:a/", "hf:a b", "hf:a/b:", "hf:a/b@", "hf:a#", "hf:a#s.", "hf:a#s[:9]"],
)
def test_names_of_another_form(name: str) -> None:
    with pytest.raises(ValueError, match="^`data.train` must be written hf:OWNER/NAME"):
        HubName.parse(name, "data.train")


def test_says_how_far_reading_came(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken:
        def shard(self, *_: Any, **__: Any) -> Broken:
            return self

        skip = with_format = shard

        def iter(self, _: int) -> Iterator[pa.Table]:
            yield pa.table({"text": ["a", "b"]})
            raise RuntimeError("the line was cut\nand so on")

    monkeypatch.setattr(hub_readers, "open_stream", lambda location: Broken())
    location = hub_readers.HubLocation("a/b", "0" * 40, "default", "train", ("text",), ("text",))
    keys = Keys("data.train", "data.reading.")
    blocks = hub_readers.StreamReader("hf:a/b", location, keys, 100, (0, 1), 1).blocks()
    assert next(blocks).texts == ["a", "b"]
    with pytest.raises(OSError, match="failed after row 2 instead") as caught:
        next(blocks)
    assert str(caught.value) == (
        "`data.train` must be readable to its end, but reading hf:a/b failed after row 2 instead "
        "(RuntimeError: the line was cut). Run the same command again, or set "
        "`data.reading.hub: download`."
    )


@pytest.mark.slow
def test_a_run_keeps_to_the_commit_that_it_began_with(hub: HubServer, tmp_path: Path) -> None:
    """On several processes, in a resume and in a test, whatever is pushed meanwhile."""
    before = hub.commit("lab/running", {"train.parquet": parquet(text=list(SENTENCES) * 2)})
    run, recipe = tmp_path / "run", write_recipe(tmp_path)
    environment = {**os.environ, **hub.environment(tmp_path / "hub"), "OMP_NUM_THREADS": "1"}

    def seqae(*arguments: object) -> str:
        words = [str(argument) for argument in (COMMAND, *arguments)]
        done = subprocess.run(
            words, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=200
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    options = ["-c", recipe, "--data.train", "hf:lab/running", "--data.cache_dir", tmp_path / "c"]
    hub.requests.clear()
    ranks = ["--trainer.strategy", "ddp", "--trainer.devices", 2]
    seqae("fit", *options, *ranks, "--run_dir", run)
    # Which commit it is was asked by the first process only, to check the name and to prepare.
    assert hub.requests.count("GET /api/datasets/lab/running") == 2
    after = hub.commit("lab/running", {"train.parquet": parquet(text=["Something else."] * 40)})
    shutil.rmtree(tmp_path / "c")  # nor from the cache
    seqae("fit", "--resume", run, "--trainer.max_epochs", 4, *ranks)
    report = json.loads((run / "data_report.json").read_text())
    (source,) = report["sources"]
    assert (source["name"], source["record"]["revision"]) == ("hf:lab/running", before)
    seqae("test", run)
    assert not any(after in request for request in hub.requests)
