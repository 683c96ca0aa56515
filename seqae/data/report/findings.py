"""What stands out in a data report: the fact, why it matters, and which option changes it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from os.path import join
from typing import Any

from seqae.data.sentences.cleaning import TOO_MANY_CHARACTERS, TOO_SHORT
from seqae.data.sentences.language import UNCLEAR_LANGUAGE
from seqae.data.sentences.preprocessing import LINE_ENDS, QUOTED, TRUNCATED
from seqae.data.sources.discovery import for_people
from seqae.data.sources.records import BLANK, MALFORMED, NO_TEXT, NOT_UTF8, TOO_LONG
from seqae.data.sources.walking import describe_left_out
from seqae.terminal import visible
from seqae.units import with_unit

# The smallest shares worth a word. Leakage always is.
UNKNOWN_SHARE = 0.01
DROPPED_SHARE = 0.01
TRUNCATED_SHARE = 0.01
REPEATED_SHARE = 0.01
UNUSED_SHARE = 0.25
LARGE_VOCABULARY = 1000  # a smaller one, such as the 256 bytes, always has many unused tokens
ONE_TOKEN = 3  # with bos and eos
DOCUMENT_TOKENS = 200  # if half of the sentences are longer, they are probably documents

RECORD_REMEDIES = {
    TOO_LONG: "Raise `data.reading.max_line_bytes` if such long lines are text.",
    NOT_UTF8: "`data.reading.errors: strict` says where it is not UTF-8, `replace` keeps it.",
    NO_TEXT: "Look whether `data.reading.column` is the right one.",
    MALFORMED: "`data.reading.errors: strict` says where they are malformed.",
}
SENTENCE_REMEDIES = {
    TOO_LONG: "Raise `data.max_length`, or set `data.too_long` to truncate or split.",
    TOO_SHORT: "Lower `data.cleaning.min_characters` to keep the short ones.",
    TOO_MANY_CHARACTERS: "Raise `data.cleaning.max_characters` to keep the long ones.",
    UNCLEAR_LANGUAGE: "Lower `data.cleaning.language_probability` to keep what may be in one.",
}

# What is odd in one sentence, in several, and what to do.
REMARKS = {
    LINE_ENDS: (
        "has a line end or a tab inside",
        "have a line end or a tab inside",
        "If records were taken for one, look at `data.reading.quoting`; if it is a table, set "
        "`data.reading.format`; if they are documents, `data.cleaning.split_sentences` or "
        "`collapse_whitespace`.",
    ),
    QUOTED: (
        "is in quotes, with doubled quotes inside",
        "are in quotes, with doubled quotes inside",
        "`data.reading.quoting: minimal` takes what is in the quotes.",
    ),
}

Finding = tuple[str, list[str]]  # a statement, and examples


def find(report: Mapping[str, Any]) -> Iterator[Finding]:
    """Find what stands out, the most serious first.

    Args:
        report: from `measure`, with what `prepare` adds to it.
    """
    yield from _leakage(report)
    yield from _unknown(report)
    for source in report["sources"]:
        yield from _left_out(source)
        yield from _dropped(source)
        yield from _odd(source)
        yield from _truncated(source, report["settings"])
    for name, split in report["splits"].items():
        yield from _too_long(name, split)
        yield from _repeated(name, split)
    yield from _documents(report)
    yield from _single_tokens(report)
    yield from _unused(report)


def percent(share: float) -> str:
    """Format a share, as 0 % or 100 % only if it is exactly that."""
    if 0 < share < 0.0005:
        return "<0.1 %"
    if 0.9995 <= share < 1:
        return ">99.9 %"
    return f"{100 * int(share)} %" if share in (0, 1) else with_unit(share, "%")


def _leakage(report: Mapping[str, Any]) -> Iterator[Finding]:
    for pair, shared in report["overlaps"].items():
        first, second = pair.split("/")
        if shared["distinct"]:
            total = report["splits"][second]["sentences"]
            yield (
                f"Leakage: {percent(shared[second] / total)} of the sentences of {second} "
                f"({shared[second]:,}) are also in {first}, so metrics on {second} are too good. "
                f"`data.cleaning.deduplicate: true` takes them out of {first}.",
                shared["examples"],
            )


def _unknown(report: Mapping[str, Any]) -> Iterator[Finding]:
    sides = dict(report["splits"])
    sides |= {f"the targets of {k}": v["target"] for k, v in sides.items() if "target" in v}
    for name, side in sides.items():
        if side["unknown_share"] >= UNKNOWN_SHARE:
            sentences = percent(side["sentences_with_unknown"] / side["sentences"])
            yield (
                f"{percent(side['unknown_share'])} of the tokens of {name} are unknown to the "
                f"tokenizer, in {sentences} of the sentences, which cannot be reconstructed "
                f"exactly. Train the tokenizer on text like this, with a larger `vocab_size`; or "
                f"use BPETokenizer, which knows all text.",
                [],
            )


def _dropped(source: Mapping[str, Any]) -> Iterator[Finding]:
    for unit, remedies in (("records", RECORD_REMEDIES), ("sentences", SENTENCE_REMEDIES)):
        counts = source[unit]
        dropped = {reason: n for reason, n in counts["dropped"].items() if reason != BLANK}
        if sum(dropped.values()) >= DROPPED_SHARE * max(1, counts["read"]):
            share = percent(sum(dropped.values()) / counts["read"])
            reasons = ", ".join(f"{count:,} {reason}" for reason, count in dropped.items())
            ways = " ".join(remedies[reason] for reason in dropped if reason in remedies)
            name = for_people(source["name"])
            yield f"{share} of the {unit} of {name} were dropped: {reasons}. {ways}", []


def _left_out(source: Mapping[str, Any]) -> Iterator[Finding]:
    """Name the files of a folder that were not read."""
    if left_out := source["left_out"]:
        count = sum(some["files"] for some in left_out.values())
        files = "file was" if count == 1 else "files were"
        yield (
            f"{count:,} {files} left out of {for_people(source['name'])}: "
            f"{visible(describe_left_out(left_out))}. A pattern reads those of an ending as "
            f"text, such as {visible(join(source['name'], '*.md'))}.",
            [],
        )


def _odd(source: Mapping[str, Any]) -> Iterator[Finding]:
    """Report sentences that seem to have been read wrongly, however few they are."""
    for odd, remark in source["remarks"].items():
        one, several, remedy = REMARKS[odd]
        count, name = remark["count"], for_people(source["name"])
        what = f"{count:,} sentences of {name} {several}"
        if count == 1:
            what = f"1 sentence of {name} {one}"
        yield f"{what}. {remedy} For example:", remark["examples"]


def _truncated(source: Mapping[str, Any], settings: Mapping[str, Any]) -> Iterator[Finding]:
    count, kept = source["altered"].get(TRUNCATED, 0), source["sentences"]["kept"]
    if count and count >= TRUNCATED_SHARE * kept:
        yield (
            f"{percent(count / kept)} of the sentences of {for_people(source['name'])} were "
            f"truncated to {settings['max_length']:,} tokens. Raise `data.max_length`, or set "
            f"`data.too_long: split` to keep all of their text.",
            [],
        )


def _too_long(name: str, split: Mapping[str, Any]) -> Iterator[Finding]:
    """Report sentences over the `max_length` that the user gave to `seqae data report`."""
    if count := split.get("over_max_length", {}).get("sentences"):
        yield (
            f"{percent(count / split['sentences'])} of the sentences of {name} ({count:,}) have "
            f"more than {split['over_max_length']['max_length']:,} tokens; training would stop at "
            f"the first of them. Raise `data.max_length`, or set `data.too_long` to truncate, "
            f"drop or split.",
            [],
        )


def _repeated(name: str, split: Mapping[str, Any]) -> Iterator[Finding]:
    repetitions = split["repetitions"]
    if repetitions["repeated"] >= REPEATED_SHARE * split["sentences"]:
        yield (
            f"{percent(repetitions['repeated'] / split['sentences'])} of the sentences of {name} "
            f"({repetitions['repeated']:,}) repeat another one. `data.cleaning.deduplicate: true` "
            f"keeps one of each. The most frequent:",
            [f"{row['count']:,} times: {row['text']}" for row in repetitions["most_repeated"]],
        )


def _documents(report: Mapping[str, Any]) -> Iterator[Finding]:
    for name, split in report["splits"].items():
        median = split["lengths"]["p50"]
        # A document with a summary is one text.
        is_one = "target" in split or report["settings"]["cleaning"]["split_sentences"]
        if median > DOCUMENT_TOKENS and not is_one:
            yield (
                f"Half of the sentences of {name} have {median:,} tokens or more. If they are "
                f"documents, `data.cleaning.split_sentences: en` (or de, zh ...) splits them into "
                f"sentences.",
                [],
            )


def _single_tokens(report: Mapping[str, Any]) -> Iterator[Finding]:
    train = report["splits"].get("train")
    if train and train["lengths"]["p95"] <= ONE_TOKEN:
        own = report["tokenizer"]["class_path"]
        # BPE has learnt most sentences whole: they are few, or a word each.
        first = "a smaller `vocab_size`" if own == "BPETokenizer" else "BPETokenizer"
        yield (
            f"Nearly every sentence of train is a single token to the {own}. If it should see what "
            f"they are made of, as where no blanks separate words, use {first} or "
            f"CharacterTokenizer.",
            [],
        )


def _unused(report: Mapping[str, Any]) -> Iterator[Finding]:
    size, train = report["tokenizer"]["vocab_size"], report["splits"].get("train")
    if train and size > LARGE_VOCABULARY and train["vocabulary_used_share"] < 1 - UNUSED_SHARE:
        yield (
            f"Only {percent(train['vocabulary_used_share'])} of the vocabulary of {size:,} tokens "
            f"occur in train. A smaller `vocab_size` makes the model smaller and no worse.",
            [],
        )
