"""The stream: its order on any number of ranks and workers, and going on exactly where it was."""

from __future__ import annotations

import gzip
import itertools
import json
import os
import pickle
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from small import numbered, read_rows, run_seqae, write_recipe, write_text

from seqae.batch import Batch
from seqae.data.batches.batching import Rounding, plan_batches
from seqae.data.config import CorpusConfig
from seqae.data.prepared.corpus import Rows
from seqae.data.sentences.preprocessing import Pipeline
from seqae.data.sources.formats import reader as reader_module
from seqae.data.streaming import stream as stream_module
from seqae.data.streaming.shard import ShardState, StreamCounts, StreamOptions, StreamShard
from seqae.data.streaming.stream import StreamBatch, TokenStream, merge_states, summarize
from seqae.data.tokenizers import ByteTokenizer

# A loader worker is forked while other threads may exist; Python 3.12 tells of it.
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")

SENTENCES = numbered(900)


def use_small_blocks(patch: pytest.MonkeyPatch) -> None:
    """So that a small text has many blocks, and can be cut to many parts."""
    patch.setattr(stream_module, "BLOCK_BYTES", 512)
    patch.setattr(reader_module, "MIN_SPAN_BYTES", 256)


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    use_small_blocks(monkeypatch)


@pytest.fixture
def texts(tmp_path: Path) -> tuple[str, ...]:
    """A large file, a folder of files of unequal sizes, a packed file, JSON lines."""
    folder = tmp_path / "folder"
    folder.mkdir()
    for number, (start, end) in enumerate(itertools.pairwise([400, 401, 410, 470, 600])):
        write_text(folder / f"{number}.txt", SENTENCES[start:end])
    packed = tmp_path / "packed.txt.gz"
    packed.write_bytes(gzip.compress("".join(f"{s}\n" for s in SENTENCES[600:750]).encode()))
    rows = tmp_path / "rows.jsonl"
    rows.write_text("".join(json.dumps({"text": s}) + "\n" for s in SENTENCES[750:]))
    return (
        str(write_text(tmp_path / "large.txt", SENTENCES[:400])),
        str(folder),
        str(packed),
        str(rows),
    )


def make(texts: str | Sequence[str], **changes: Any) -> TokenStream:
    """A stream of 8 shards, with small windows; changes are of StreamOptions or CorpusConfig."""
    chosen = {"batch_tokens": 128, "shards": 8, "shuffle_buffer": 40, "seed": 3}
    given = {"val_percent": 10, "test_percent": 5, "max_length": 64}
    for name, value in changes.items():
        (given if name in CorpusConfig.__dataclass_fields__ else chosen)[name] = value
    named = (texts,) if isinstance(texts, str) else tuple(texts)
    settings = CorpusConfig(train=named, **given)
    tokenizer = ByteTokenizer()
    tokenizer.train(["a"])
    sources = settings.open_sources()["train"]
    return TokenStream(sources, Pipeline(settings, tokenizer), StreamOptions(**chosen))


def training_split(stream: TokenStream) -> Counter[str]:
    """What a map-style corpus of the same sources holds: one pass, in the order of reading."""
    pipeline = stream.shards[0].pipeline
    found: Counter[str] = Counter()
    for source in pipeline.config.open_sources()["train"]:
        for block in source.blocks():
            rows = pipeline(block, "train").rows["train"]
            ends = rows.lengths.cumsum()
            found.update(
                shown(rows.ids[end - n : end]) for end, n in zip(ends, rows.lengths, strict=True)
            )
    return found


def shown(ids: Any) -> str:
    return bytes(int(i) for i in ids).hex() if max(ids) < 256 else " ".join(map(str, ids))


def sentences(batch: Batch) -> list[str]:
    rows = zip(batch.token_ids.numpy(), batch.lengths.tolist(), strict=True)
    return [shown(row[:length].tolist()) for row, length in rows]


class Ranks:
    """Ranks of a training, played in turn: each is a stream of its own, as in its own process."""

    def __init__(
        self,
        make_stream: Callable[[], TokenStream],
        world_size: int,
        num_workers: int,
        state: dict[str, Any] | None = None,
    ) -> None:
        self.streams = [make_stream() for _ in range(world_size)]
        for stream in self.streams:
            if state is not None:
                stream.load_state_dict(state)
        self.iterators = [
            iter(stream.loader(rank, world_size, num_workers))
            for rank, stream in enumerate(self.streams)
        ]

    def step(self) -> list[StreamBatch]:
        """One batch of each rank."""
        items = [next(iterator) for iterator in self.iterators]
        for stream, item in zip(self.streams, items, strict=True):
            stream.consumed(item)
        return items

    def steps(self, count: int) -> list[StreamBatch]:
        """All ranks' batches of some steps, in the global order."""
        return [item for _ in range(count) for item in self.step()]

    def stop(self) -> dict[str, Any]:
        """The state of all ranks, as it comes back from a file."""
        state = merge_states([stream.rank_state() for stream in self.streams])
        return json.loads(json.dumps(state))


def until_all_passes(items: Iterator[StreamBatch], shards: int, passes: int) -> list[StreamBatch]:
    """Batches until each shard is through with so many passes; they come from all ranks in turn."""
    taken, through = [], set()
    for item in items:
        if item.state.passes >= passes:
            through.add(item.shard)
        if len(through) == shards:
            return taken
        taken.append(item)
    raise AssertionError("a stream has no end")


def same(one: Sequence[StreamBatch], other: Sequence[StreamBatch]) -> bool:
    return len(one) == len(other) and all(
        torch.equal(a.batch.token_ids, b.batch.token_ids)
        and torch.equal(a.batch.lengths, b.batch.lengths)
        and (a.shard, a.state) == (b.shard, b.state)
        for a, b in zip(one, other, strict=True)
    )


# What is in it


def test_a_pass_is_the_map_style_epoch_with_a_stop_in_the_middle(texts: tuple[str, ...]) -> None:
    """Two ranks with two workers each, stopped and gone on with."""
    first = Ranks(lambda: make(texts), 2, 2)
    before = first.steps(31)
    second = Ranks(lambda: make(texts), 2, 2, first.stop())
    after = until_all_passes((item for _ in itertools.count() for item in second.step()), 8, 1)
    seen = Counter(
        sentence
        for item in before + after
        if item.state.passes == 0
        for sentence in sentences(item.batch)
    )
    expected = training_split(make(texts))
    assert not expected - seen, "a sentence is missing"
    assert not seen - expected, "a sentence came twice"
    assert 700 < sum(seen.values()) < 850  # some are held out


def test_passes_differ_in_their_order_and_not_in_what_they_hold(texts: tuple[str, ...]) -> None:
    stream = make(texts)
    taken = until_all_passes(iter(stream.loader()), 8, 3)
    passes = [
        [s for item in taken if item.state.passes == number for s in sentences(item.batch)]
        for number in range(3)
    ]
    assert Counter(passes[0]) == Counter(passes[1]) == Counter(passes[2])
    assert passes[0] != passes[1] != passes[2] != passes[0]
    shares = [
        frozenset(
            s
            for item in taken
            if (item.shard, item.state.passes) == (0, number)
            for s in sentences(item.batch)
        )
        for number in range(3)
    ]
    assert len(set(shares)) == 3, "a shard has another share in each pass"


def test_in_as_many_passes_as_there_are_lanes_each_lane_reads_all(texts: tuple[str, ...]) -> None:
    stream = make(texts)
    for shard in stream.shards:
        read = [part for passes in range(8, 16) for part in shard.parts_of_pass(passes)]
        assert Counter(map(repr, read)) == Counter(map(repr, stream.parts))
    for passes in (0, 3, 8):
        read = [part for shard in stream.shards for part in shard.parts_of_pass(passes)]
        assert Counter(map(repr, read)) == Counter(map(repr, stream.parts))


@pytest.mark.parametrize("name", ["text.txt", "text.txt.gz"])
def test_fewer_sentences_than_lanes(tmp_path: Path, name: str) -> None:
    """A shard without a share of a pass begins the next; every rank has a batch at each step."""
    text = write_text(tmp_path / "text.txt", SENTENCES[:3])
    if name.endswith("gz"):
        text = tmp_path / name
        text.write_bytes(gzip.compress("".join(f"{s}\n" for s in SENTENCES[:3]).encode()))
    ranks = Ranks(lambda: make(str(text), val_percent=0, test_percent=0), 4, 2)
    taken = until_all_passes((item for _ in itertools.count() for item in ranks.step()), 8, 16)
    times = Counter(s for item in taken if item.state.passes < 16 for s in sentences(item.batch))
    assert len(times) == 3
    assert set(times.values()) == {16}


def test_the_parts_of_a_source_that_can_be_cut_are_more_than_the_lanes(
    texts: tuple[str, ...],
) -> None:
    assert len(make(texts[0]).parts) == 8 * stream_module.PARTS_PER_SHARD
    packed = make(texts[2]).parts  # each of these reads all of the file
    assert [part.stride for part in packed] == [8] * 8


def test_batches_keep_the_budget_and_are_padded_little(texts: tuple[str, ...]) -> None:
    stream = make(texts, shuffle_buffer=1000, batch_tokens=512, shards=2)
    taken = until_all_passes(iter(stream.loader()), 2, 1)
    batches = [item.batch for item in taken if item.state.passes == 0]
    assert max(batch.token_ids.numel() for batch in batches) <= 512
    tokens = sum(int(batch.lengths.sum()) for batch in batches)
    padding = 1 - tokens / sum(batch.token_ids.numel() for batch in batches)
    lengths = np.concatenate([batch.lengths.numpy() for batch in batches]).astype(np.int32)
    plan = plan_batches(lengths, 512, 0, 0)
    whole = 1 - tokens / sum(len(rows) * int(lengths[rows].max()) for rows in plan)
    assert padding < whole + 0.02


def test_batches_are_rounded(texts: tuple[str, ...]) -> None:
    stream = make(texts, rounding=Rounding(8, 4, 64), batch_tokens=512, shuffle_buffer=200)
    batches = [item.batch for item in itertools.islice(stream.loader(), 60)]
    assert all(batch.token_ids.shape[1] % 8 == 0 for batch in batches)
    assert sum(len(batch) % 4 == 0 for batch in batches) > 40


def test_paired_text_stays_together() -> None:
    def rows(texts: Sequence[Sequence[int]], target: Rows | None = None) -> Rows:
        lengths = np.asarray([len(text) for text in texts], dtype=np.int64)
        ids = np.asarray([i for text in texts for i in text], dtype=np.uint16)
        return Rows(ids, lengths, np.zeros(len(texts), dtype=np.uint64), target)

    from seqae.data.streaming.shard import _Window

    window = _Window.join(
        [
            rows([[2, 7, 3]], rows([[2, 3]])),
            rows([[2, 3], [2, 8, 8, 3]], rows([[2, 9, 9, 9, 3], [2, 5, 3]])),
        ]
    )
    assert window.batch_lengths.tolist() == [3, 5, 4]
    batch = window.gather(np.asarray([2, 1]), pad_id=0)
    assert batch.token_ids.tolist() == [[2, 8, 8, 3], [2, 3, 0, 0]]
    assert batch.lengths.tolist() == [4, 2]
    assert batch.targets is not None
    assert batch.targets.token_ids.tolist() == [[2, 5, 3, 0, 0], [2, 9, 9, 9, 3]]


# Its order


@pytest.mark.parametrize(("world_size", "num_workers"), [(1, 2), (2, 0), (2, 2), (4, 1), (8, 0)])
def test_the_order_is_the_same_on_all_ranks_and_workers(
    texts: tuple[str, ...], world_size: int, num_workers: int
) -> None:
    alone = Ranks(lambda: make(texts), 1, 0).steps(96)
    assert [item.shard for item in alone] == [*range(8)] * 12
    shared = Ranks(lambda: make(texts), world_size, num_workers).steps(96 // world_size)
    assert same(shared, alone)


def test_another_seed_is_another_order(texts: tuple[str, ...]) -> None:
    one, other = (Ranks(lambda n=n: make(texts, seed=n), 1, 0).steps(16) for n in (3, 4))
    assert not same(one, other)


def test_lanes_do_not_read_their_windows_at_the_same_step(texts: tuple[str, ...]) -> None:
    taken = until_all_passes(iter(make(texts).loader()), 8, 1)
    first = Counter(item.shard for item in taken if item.state.progress[:2] == (0, 0))
    assert first[0] < first[7]


# Going on


def test_going_on_is_exact_after_every_batch(texts: tuple[str, ...]) -> None:
    def few() -> TokenStream:  # few batches in a window
        return make(texts, batch_tokens=512)

    whole = Ranks(few, 1, 0)
    expected, states = [], [whole.stop()]
    for _ in range(150):
        expected += whole.step()
        states.append(whole.stop())
    assert {item.state.passes for item in expected} >= {0, 1, 2}
    assert max(item.state.window for item in expected) > 1
    for k in range(140):
        resumed = Ranks(few, 1, 0, states[k])
        assert same(resumed.steps(9), expected[k : k + 9]), k
        assert resumed.stop() == states[k + 9], k


def test_going_on_over_and_over_is_exact(texts: tuple[str, ...]) -> None:
    whole = Ranks(lambda: make(texts), 1, 0).steps(120)
    state, seen = None, []
    for _ in range(40):
        ranks = Ranks(lambda: make(texts), 1, 0, state)
        seen += ranks.steps(3)
        state = ranks.stop()
    assert same(seen, whole)


def test_going_on_on_other_ranks_and_workers(texts: tuple[str, ...]) -> None:
    whole = Ranks(lambda: make(texts), 1, 0).steps(2 * 13 + 7 + 4 * 5 + 2 * 4)
    state, seen = None, []
    for world_size, num_workers, steps in ((2, 2, 13), (1, 0, 7), (4, 1, 5), (2, 2, 4)):
        ranks = Ranks(lambda: make(texts), world_size, num_workers, state)
        seen += ranks.steps(steps)
        state = ranks.stop()
    assert same(seen, whole)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_what_was_fetched_ahead_is_not_consumed(texts: tuple[str, ...], num_workers: int) -> None:
    whole = Ranks(lambda: make(texts), 1, 0).steps(12)
    stream = make(texts)
    ahead = list(itertools.islice(stream.loader(num_workers=num_workers), 9))
    for item in ahead[:5]:
        stream.consumed(item)
    again = list(itertools.islice(stream.loader(num_workers=num_workers), 7))
    assert same(ahead[:5] + again, whole)


def test_a_batch_whose_training_did_not_end_is_given_again(texts: tuple[str, ...]) -> None:
    whole = Ranks(lambda: make(texts), 1, 0).steps(12)
    stream, resumed = make(texts), make(texts)
    for item in itertools.islice(stream.loader(), 5):
        stream.consumed(item)
    resumed.load_state_dict(merge_states([stream.rank_state(without_last=True)]))
    assert same(list(itertools.islice(resumed.loader(), 8)), whole[4:])


def test_a_state_is_small_plain_data(texts: tuple[str, ...]) -> None:
    ranks = Ranks(lambda: make(texts), 2, 0)
    ranks.steps(40)
    state = merge_states([stream.rank_state() for stream in ranks.streams])
    assert json.loads(json.dumps(state)) == {
        **state,
        "shards": {str(number): shard for number, shard in state["shards"].items()},
    }
    assert len(json.dumps(state)) < 8 * 800


@pytest.mark.parametrize("kind", range(4))
@pytest.mark.parametrize("shards", [1, 8])
def test_a_part_gives_the_same_blocks_wherever_reading_began(
    texts: tuple[str, ...], kind: int, shards: int
) -> None:
    """What exactness rests on, and for parts that take turns with blocks, completeness too."""
    for part in make(texts[kind], shards=shards).parts:
        blocks = list(part.blocks())
        for index, block in enumerate(blocks):
            rest = list(part.blocks(block.end))
            assert [b.texts for b in rest] == [b.texts for b in blocks[index + 1 :]]
            assert [b.end for b in rest] == [b.end for b in blocks[index + 1 :]]


# With Lightning, which fetches a batch ahead of a loader without a length


def trained(folder: Path, world_size: int) -> list[list[str]]:
    """The sentences of each batch of a training, in the global order."""
    ranks = [read_rows(folder / f"rank{rank}.jsonl") for rank in range(world_size)]
    return [row["sentences"] for step in zip(*ranks, strict=True) for row in step]


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")
def test_two_processes_and_one_that_goes_on_see_what_one_sees(
    texts: tuple[str, ...], tmp_path: Path
) -> None:
    two, one, whole = (tmp_path / name for name in ("two", "one", "whole"))
    program = Path(__file__).with_name("stream_training.py")
    command = [sys.executable, str(program), str(two), texts[0], "2", "2", "7"]
    environment = dict(os.environ, OMP_NUM_THREADS="1")
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    from stream_training import train

    for folder in (one, whole):
        folder.mkdir()
    train(str(one), texts[0], 1, 0, 15, str(two / "step=5.ckpt"))
    train(str(whole), texts[0], 1, 2, 20)
    expected = trained(whole, 1)
    assert trained(two, 2) == expected[:14]
    assert trained(one, 1) == expected[10:20]


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")
def test_what_lightning_calls_an_epoch_begins_where_the_last_one_ended(
    texts: tuple[str, ...], tmp_path: Path
) -> None:
    from stream_training import train

    train(str(tmp_path), texts[0], 1, 2, 10, steps_per_epoch=4)
    rows = read_rows(tmp_path / "rank0.jsonl")
    assert [row["epoch"] for row in rows] == [0, 0, 0, 0, 1, 1, 1, 1, 2, 2]
    expected = Ranks(lambda: make(texts[0]), 1, 0).steps(10)
    assert [len(row["sentences"]) for row in rows] == [len(item.batch) for item in expected]
    ids = [int(row["sentences"][0].split()[1]) for row in rows]
    assert ids == [int(item.batch.token_ids[0, 1]) for item in expected]


# What it counts


def test_counts_are_of_all_that_was_read_once(texts: tuple[str, ...]) -> None:
    blank = Path(texts[0])
    blank.write_text(blank.read_text(encoding="utf-8") + "\n\n\n", encoding="utf-8")
    ranks = Ranks(lambda: make(texts), 2, 0)
    seen = ranks.steps(41)
    again = Ranks(lambda: make(texts), 2, 0, ranks.stop())
    seen += until_all_passes((item for _ in itertools.count() for item in again.step()), 8, 1)
    last = {item.shard: item.state for item in seen if item.state.passes == 0}
    total = sum((state.counts for state in last.values()), StreamCounts())
    assert total.records.to_dict() == {
        "read": 903,
        "kept": 900,
        "dropped": {"blank": 3},
        "repaired": 0,
    }
    expected = training_split(make(texts))
    assert total.trained == sum(expected.values())
    first = [item for item in seen if item.state.passes == 0]
    assert total.tokens == sum(int(item.batch.lengths.sum()) for item in first)
    summary = summarize(again.stop())
    assert summary["passes"] >= 2
    assert summary["records"]["read"] > 903  # the shards that are through have begun the next pass


# Errors


def refusal(call: Callable[[], Any], kind: type[Exception] = ValueError) -> str:
    """Give the one line with which something is refused."""
    with pytest.raises(kind) as caught:
        call()
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize("num_workers", [0, 2])
def test_wrong_bytes_are_named_in_one_line(tmp_path: Path, num_workers: int) -> None:
    path = tmp_path / "text.txt"
    path.write_bytes("".join(f"{s}\n" for s in SENTENCES[:100]).encode() + b"caf\xe9\n")
    message = refusal(lambda: list(make(str(path)).loader(num_workers=num_workers)))
    assert message.startswith("`data.train` must be UTF-8 text, but line ")
    assert "text.txt" in message
    assert "0xe9 at byte 4" in message


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_long_sentence_is_named_in_one_line(tmp_path: Path, num_workers: int) -> None:
    path = write_text(tmp_path / "text.txt", ["short", "long " * 30, "short"] * 9)
    message = refusal(lambda: list(make(str(path)).loader(num_workers=num_workers)))
    assert message.startswith("`data.max_length` must be at least the length of every sentence")
    assert "text.txt" in message


def test_a_file_that_has_gone_is_named_in_one_line(tmp_path: Path) -> None:
    path = write_text(tmp_path / "text.txt", SENTENCES)
    stream = make(str(path))
    path.unlink()
    message = refusal(lambda: list(stream.loader(num_workers=1)), FileNotFoundError)
    assert message.startswith("`data.train` must be")


def test_nothing_left_to_train_on(tmp_path: Path) -> None:
    path = write_text(tmp_path / "text.txt", ["long " * 30] * 9)
    message = refusal(lambda: list(make(str(path), too_long="drop").loader()))
    assert message.startswith("`data.train` must have sentences for training, but none is left")


KILLED = """
import os, signal, sys, torch
from test_stream import make

iterator = iter(make(sys.argv[1]).loader(num_workers=2))
next(iterator)
os.kill(torch.multiprocessing.active_children()[0].pid, signal.SIGKILL)
list(iterator)
"""


@pytest.mark.slow  # test_failures.py kills a worker of text that is prepared
def test_a_killed_worker_ends_the_training(texts: tuple[str, ...]) -> None:
    command = [sys.executable, "-c", KILLED, texts[0]]
    done = subprocess.run(
        command, cwd=Path(__file__).parent, capture_output=True, text=True, timeout=100
    )
    # Torch tells it from a signal handler, too, which can interrupt the printing of what we tell.
    assert done.returncode != 0
    assert "DataLoader worker" in done.stderr


def test_a_pipe_cannot_be_streamed(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    message = refusal(lambda: make(str(tmp_path / "pipe")))
    assert "can be read only once" in message
    assert message.startswith("`data.train` must be files or a data set to be streamed")


@pytest.mark.parametrize(
    ("world_size", "num_workers", "key", "way_out"),
    [
        (3, 0, "data.stream_shards", "Set it to 9."),
        (2, 3, "data.num_workers", "Choose 0, 1, 2, 4."),
        (16, 0, "data.stream_shards", "Set it to 16."),
    ],
)
def test_lanes_that_cannot_be_divided(
    texts: tuple[str, ...], world_size: int, num_workers: int, key: str, way_out: str
) -> None:
    message = refusal(lambda: make(texts).loader(0, world_size, num_workers))
    assert message.startswith(f"`{key}` must ")
    assert message.endswith(way_out)


def test_another_order_is_refused_when_going_on(texts: tuple[str, ...]) -> None:
    state = merge_states([make(texts).rank_state()])
    changes = {
        "data.batch_tokens": {"batch_tokens": 64},
        "data.seed": {"seed": 4},
        "data.stream_shards": {"shards": 16},
        "data.shuffle_buffer": {"shuffle_buffer": 50},
        "data.round_length": {"rounding": Rounding(length=8)},
        "data.min_rows": {"rounding": Rounding(min_rows=8)},
    }
    order = {key: value for key, value in state["order"].items() if key != "data.min_rows"}
    make(texts).load_state_dict({**state, "order": order})  # of before that option: it was 1
    for key, change in changes.items():
        message = refusal(lambda change=change: make(texts, **change).load_state_dict(state))
        assert message.startswith(f"`{key}` must be ")
    with Path(texts[0]).open("a") as file:
        file.write("one more\n")
    message = refusal(lambda: make(texts).load_state_dict(state))
    assert message.startswith("`data.train` must be the text of ")


def test_text_that_moved_is_the_same_text(texts: tuple[str, ...], tmp_path: Path) -> None:
    state = merge_states([make(texts).rank_state()])
    (tmp_path / "elsewhere").mkdir()
    moved = [Path(name).rename(tmp_path / "elsewhere" / Path(name).name) for name in texts]
    make([str(path) for path in moved]).load_state_dict(state)


def test_a_lane_can_be_sent_to_a_spawned_worker(texts: tuple[str, ...]) -> None:
    shard = make(texts).shards[5]
    copy: StreamShard = pickle.loads(pickle.dumps(shard))
    (one, _), (other, _) = (next(each.batches(ShardState())) for each in (shard, copy))
    assert torch.equal(one.token_ids, other.token_ids)


def test_fit_trains_on_a_stream(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no training corpus then to look at: no prior and no neighbours, but a bundle."""
    from seqae.training.callbacks import latent_tables

    tables: list[str] = []
    logger = SimpleNamespace(log_table=lambda name, columns, rows: tables.append(name))
    monkeypatch.setattr(latent_tables, "table_loggers", lambda trainer: [logger])
    run = tmp_path / "run"
    options = ["--data.train", write_text(tmp_path / "text.txt", SENTENCES), "--run_dir", run]
    options += ["--data.streaming", "true", "--trainer.max_epochs", -1, "--trainer.max_steps", 4]
    options += ["--trainer.val_check_interval", 2, "--samples", 2]
    assert run_seqae("fit", "-c", write_recipe(tmp_path), *options) == 0
    assert run_seqae("check", run) == 0
    assert json.loads((run / "data_stream.json").read_text())
    assert set(tables) == {"interpolations"}
