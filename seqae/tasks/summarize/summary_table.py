"""The table of `seqae summarize-eval`, and examples to read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from seqae.terminal import table_console, visible

# The metric, its heading, whether it is a share in per cent, and what it means.
Column = tuple[str, str, bool, str]

COLUMNS: tuple[Column, ...] = (
    ("rouge1_f1", "R-1", True, "ROUGE-1 F1: words in common with the reference"),
    ("rouge2_f1", "R-2", True, "ROUGE-2 F1: pairs of words"),
    ("rougeL_f1", "R-L", True, "ROUGE-L F1: the longest common subsequence"),
    ("rouge1_recall_bytes", "R-1 rec.", True, "ROUGE-1 recall of what is cut to --recall_bytes"),
    ("words", "words", False, "length"),
    ("copied", "copied", True, "words in stretches that are copied from the document"),
    ("novel_2", "new 2", True, "pairs of words that the document does not have"),
    ("new_numbers", "new №", True, "numbers that it does not have, a proxy of untruth"),
    ("new_names", "new names", True, "words with a capital that it does not have, a proxy"),
    ("unseen_recall", "unseen rec.", True, "words that training never had, of those to copy"),
    ("unseen_precision", "unseen prec.", True, "words that training never had, not garbled"),
    ("repeated", "again", True, "trigrams that the summary has had before"),
)
ALPHA = 0.05
TESTED = ("rouge1_f1", "rouge2_f1", "rougeL_f1")


def show_table(
    info: Mapping[str, Any], results: Mapping[str, Mapping[str, Any]], explain: bool
) -> None:
    """Print the table, the best ROUGE-1 first.

    Args:
        info: what was measured: `file`, `documents`, `budget`, `rouge_words`, `baseline`.
        results: of each row and metric `mean`, `low`, `high`, and `p` if it is tested.
        explain: whether to define the columns.
    """
    console = table_console()
    length = ", ".join(f"{name} {value}" for name, value in info["budget"].items())
    documents = f"{info['documents']:,} document{'s' * (info['documents'] != 1)}"
    title = f"{documents}: {info['file']}; {length}"
    console.print(Text(visible(title)))
    columns = [column for column in COLUMNS if any(column[0] in row for row in results.values())]
    table, shown = _table(results, columns), len(columns)
    # A number that is cut is worse than one that is not shown.
    unbounded = console.options.update_width(10_000)
    while console.measure(table, options=unbounded).maximum > console.width and shown > 1:
        shown -= 1
        table = _table(results, columns[:shown])
    console.print(table)
    if shown < len(columns):
        left_out = ", ".join(heading for _, heading, _, _ in columns[shown:])
        console.print(Text(f"A wider terminal also shows: {left_out}."))
    console.print(
        Text(
            f"ROUGE in per cent with 95 % intervals; words: {info['rouge_words']}. ▲ ▼: better or "
            f"worse than {info['baseline']}, p < {ALPHA}."
        )
    )
    if explain:
        for _, heading, _, meaning in columns:
            console.print(Text(f"{heading}: {meaning}"))


def _table(results: Mapping[str, Mapping[str, Any]], columns: Sequence[Column]) -> Table:
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
    table.add_column("method", no_wrap=True)
    for _, heading, _, _ in columns:
        table.add_column(heading, justify="right", no_wrap=True)
    for row in sorted(results, key=lambda row: -_mean(results[row], "rouge1_f1")):
        cells = [_cell(results[row].get(name), name, share) for name, _, share, _ in columns]
        table.add_row(Text(visible(row)), *cells)
    return table


def show_summaries(examples: Sequence[Mapping[str, Any]]) -> None:
    """Print documents with their summaries."""
    console = table_console()
    for example in examples:
        lines = [f"document: {visible(example['document'], 400)}"]
        lines += [f"reference: {visible(text)}" for text in example["references"]]
        lines += [f"{row}: {visible(text)}" for row, text in example["summaries"].items()]
        console.print(Text("\n".join([*lines, ""])))


def _mean(row: Mapping[str, Any], name: str) -> float:
    return float(row[name]["mean"]) if name in row else 2.0  # references, which have none, first


def _cell(entry: Mapping[str, Any] | None, name: str, is_share: bool) -> Text:
    if entry is None:
        return Text("")
    factor = 100 if is_share else 1
    mean, low, high = (factor * entry[key] for key in ("mean", "low", "high"))
    if name not in TESTED:
        return Text(f"{mean:.1f}")
    p = entry.get("p")
    sign = "" if p is None or p >= ALPHA else _direction(entry)
    return Text(f"{mean:.1f}{sign}\n{low:.1f}–{high:.1f}")


def _direction(entry: Mapping[str, Any]) -> str:
    return " ▲" if entry["better"] else " ▼"
