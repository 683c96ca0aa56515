"""Write the data report for people, in 80 columns: tables, a histogram, and what stands out."""

from __future__ import annotations

import io
import logging
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from rich.console import Console
from rich.padding import Padding
from rich.table import Table

from seqae.data.report.findings import find, percent
from seqae.data.sentences.split import SPLITS
from seqae.data.sources.discovery import for_people
from seqae.terminal import visible

log = logging.getLogger(__name__)

WIDTH = 80
BAR_COLUMNS = 32  # of the longest bar
EIGHTHS = ("", *"▏▎▍▌▋▊▉")
EXAMPLE_CHARACTERS = 60
NOTHING = (
    "Nothing: no sentence is in two splits, and less than 1 % are repeated, dropped, truncated "
    "or unknown to the tokenizer."
)

Described = Mapping[str, Any]
Row = tuple[str, Callable[[Described], str]]

ROWS: tuple[Row, ...] = (
    ("sentences", lambda split: f"{split['sentences']:,}"),
    ("  repeated", lambda split: f"{split['repetitions']['repeated']:,}"),
    ("tokens, with begin and end", lambda split: f"{split['tokens']:,}"),
    ("  unknown", lambda split: percent(split["unknown_share"])),
    ("vocabulary in use", lambda split: percent(split["vocabulary_used_share"])),
)
LENGTH_ROWS: tuple[Row, ...] = (
    ("  shortest", lambda lengths: f"{lengths['min']:,}"),
    ("  median", lambda lengths: f"{lengths['p50']:,}"),
    ("  mean", lambda lengths: f"{lengths['mean']:,.1f}"),
    ("  95 % up to", lambda lengths: f"{lengths['p95']:,}"),
    ("  99 % up to", lambda lengths: f"{lengths['p99']:,}"),
    ("  longest", lambda lengths: f"{lengths['max']:,}"),
)


def to_text(report: Mapping[str, Any]) -> str:
    """Write a data report for people.

    Args:
        report: from `measure`, with what `prepare` adds to it.
    """
    file = io.StringIO()
    # A name such as "[red]" or ":bug:" is text, not a command to rich.
    console = Console(
        file=file, width=WIDTH, markup=False, emoji=False, highlight=False, color_system=None
    )
    for title, parts in _sections(report):
        console.print("", title, "─" * len(title), sep="\n")
        for part in parts:
            console.print(part)
    return "".join(f"{line.rstrip()}\n" for line in file.getvalue().strip().split("\n"))


def log_report(report: Mapping[str, Any]) -> None:
    """Log how much data there is, and warn of what stands out in it.

    Args:
        report: from `measure`, with what `prepare` adds to it.
    """
    splits, settings = report["splits"], report["settings"]
    counts = {split: splits.get(split, {"sentences": 0})["sentences"] for split in SPLITS}
    if settings["streaming"]:
        del counts["train"]
        tokens = f"a stream of {', '.join(settings['train'])} to train on"
    else:
        tokens = f"{splits['train']['tokens']:,} training tokens"
    sizes = ", ".join(f"{count:,} {split}" for split, count in counts.items())
    size = report["tokenizer"]["vocab_size"]
    log.info(f"data: {sizes} sentences; {tokens}; vocabulary of {size:,}")
    if not counts["val"]:
        log.warning(
            "There are no sentences for validation, so nothing will be measured and the last "
            "model is kept. Set `data.val`, or `data.val_percent` above 0."
        )
    for finding, examples in find(report):
        example = f" {visible(examples[0], EXAMPLE_CHARACTERS)}" if finding.endswith(":") else ""
        log.warning(f"data: {finding}{example}")


def _sections(report: Mapping[str, Any]) -> Iterator[tuple[str, list[Any]]]:
    yield "What was read", [_sources(report["sources"])]
    yield "What is left", [_splits(report)]
    if report["splits"]:
        name, split = next(iter(report["splits"].items()))
        yield f"Tokens a sentence: {name}", _lengths(split["lengths"], report["settings"])
        if "target" in split:
            yield f"Tokens a target: {name}", [_histogram(split["target"]["lengths"])]
    if examples := report.get("near_duplicates_left_out", {}).get("examples"):
        yield "Near-duplicates, as they were compared", [_near(examples)]
    findings = [_finding(text, examples) for text, examples in find(report)]
    yield "What stands out", findings or [NOTHING]


def _sources(sources: list[dict[str, Any]]) -> Table:
    """Show what became of the records of each source, and of their sentences if that differs."""
    table = _table("source", "split", "", "read", "kept", "left out", numbers=(3, 4))
    for source in sources:
        records, sentences = source["records"], source["sentences"]
        altered = [f"{count:,} {word}" for word, count in source["altered"].items() if count]
        if records["repaired"]:
            altered.append(f"{records['repaired']:,} repaired")
        name = (for_people(source["name"]), source["split"])
        if sentences["read"] == records["kept"] and not sentences["dropped"]:
            table.add_row(*name, "records", *_counts(records, altered))
        else:
            table.add_row(*name, "records", *_counts(records, []))
            table.add_row("", "", "sentences", *_counts(sentences, altered))
    return table


def _counts(counts: Mapping[str, Any], altered: list[str]) -> tuple[str, str, str]:
    dropped = [f"{count:,} {reason}" for reason, count in counts["dropped"].items()]
    remarks = [*dropped, *(f"(kept: {remark})" for remark in altered)]
    return f"{counts['read']:,}", f"{counts['kept']:,}", "\n".join(remarks)


def _splits(report: Mapping[str, Any]) -> Table:
    splits: dict[str, Any] = report["splits"]
    tokenizer = "{class_path}, {vocab_size:,}".format(**report["tokenizer"])
    table = _table(tokenizer, *splits, numbers=range(1, len(splits) + 1))

    def add(rows: tuple[Row, ...], described: list[Described]) -> None:
        for label, show in rows:
            table.add_row(label, *map(show, described))

    add(ROWS, list(splits.values()))
    if left_out := report["repetitions_left_out"]:
        table.add_row("repetitions left out", *(f"{left_out[split]:,}" for split in splits))
    if near := report.get("near_duplicates_left_out", {}).get("near"):
        totals = {split: sum(near[split].values()) for split in splits}
        table.add_row("near-duplicates left out", *(f"{totals[split]:,}" for split in splits))
        for other in ("val", "test"):
            if any(near[split][other] for split in splits if split != other):
                counts = (f"{near[split][other]:,}" for split in splits)
                table.add_row(f"  of a sentence in {other}", *counts)
    table.add_row("tokens a sentence")
    add(LENGTH_ROWS, [split["lengths"] for split in splits.values()])
    if any("target" in split for split in splits.values()):
        table.add_row("tokens a target")
        add(LENGTH_ROWS, [split["target"]["lengths"] for split in splits.values()])
    return table


def _lengths(lengths: Mapping[str, Any], settings: Mapping[str, Any]) -> list[Any]:
    parts: list[Any] = [_histogram(lengths)]
    if lengths["p99"] < lengths["max"] < settings["max_length"]:
        advice = f"`data.max_length: {lengths['max']}` takes them all, {lengths['p99']} takes 99 %."
        parts.append(Padding(advice, (1, 0, 0, 0)))
    return parts


def _histogram(lengths: Mapping[str, Any]) -> Table:
    bins = lengths["histogram"]
    total = sum(row["sentences"] for row in bins)
    most = max(row["sentences"] for row in bins)
    table = _table("", "", "", "", numbers=(0, 2, 3), with_header=False)
    for row in bins:
        count = row["sentences"]
        eighths = -(-count * BAR_COLUMNS * 8 // most)  # rounded up, so that no bar vanishes
        bar = "█" * (eighths // 8) + EIGHTHS[eighths % 8]
        low, high = f"{row['from']:,}", f"{row['to']:,}"
        name = low if low == high else f"{low} to {high}"
        table.add_row(name, bar, f"{count:,}", percent(count / total))
    return table


def _near(examples: list[list[str]]) -> Table:
    table = _table("", "", with_header=False)
    for dropped, kept in examples:
        table.add_row("left out", visible(dropped, EXAMPLE_CHARACTERS))
        table.add_row("kept", visible(kept, EXAMPLE_CHARACTERS))
    return table


def _finding(text: str, examples: list[str]) -> Table:
    table = _table("", "", with_header=False)
    table.add_row("!", text)
    for example in examples:
        table.add_row("", f"   {visible(example, EXAMPLE_CHARACTERS)}")
    return table


def _table(*columns: str, numbers: Any = (), with_header: bool = True) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, show_header=with_header)
    for index, name in enumerate(columns):
        is_number = index in numbers
        table.add_column(name, justify="right" if is_number else "left", no_wrap=is_number)
    return table
