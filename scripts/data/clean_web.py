#!/usr/bin/env python3
r"""Clean text of the web with datatrove, into shards that seqae trains on.

    pip install 'seqae[web-text]'
    python scripts/data/clean_web.py 'crawl/*.warc.gz' more.jsonl.zst --output clean --languages en
    seqae fit -c gru --data.train 'clean/*.jsonl.gz' --data.cleaning.split_sentences en \
        --data.too_long split

Reads JSON lines (.jsonl, .json), Parquet, WARC and WET, text (a file is a document, or with --lines
each line) and HTML, also as .gz, .bz2, .xz or .zst. A document goes through these steps; --skip
leaves some out:

  url                lists of addresses (for documents that have one)
  language           py3langid; --languages keeps only these
  gopher-repetition  repeated lines, paragraphs and n-grams (Rae 2021)
  gopher-quality     50 to 100,000 words, their lengths, symbols, bullets, stop words (the same)
  c4                 lines that end with a mark; no braces, lorem ipsum, policies (Raffel 2020)
  fineweb            ends and lengths of lines (Penedo 2024)
  near-duplicates    MinHash over word 5-grams, 14 bands of 8 (about 0.75 alike); one of each stays

--output gets the shards, `report.txt` and `report.json` with what each step dropped and why, and
`dropped/STEP`, the first documents that it dropped for each reason. The same command goes on where
it was interrupted. It needs room for a copy of what passes the filters.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import signal
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from seqae.component import check_range
from seqae.data.sentences.cleaning import LANGUAGES
from seqae.data.sources.discovery import find_files
from seqae.extras import extra

try:
    with extra("web-text"):
        from datatrove.executor import LocalPipelineExecutor
        from datatrove.pipeline.dedup import (
            MinhashDedupBuckets,
            MinhashDedupCluster,
            MinhashDedupSignature,
        )
        from datatrove.pipeline.dedup.minhash import MinhashConfig
        from datatrove.utils.hashing import HashConfig
        from datatrove.utils.logging import logger
        from web_files import KINDS, Files, Passed, Samples, Shards, kind_of
        from web_filters import C4, FineWeb, Html, Language, Near, Quality, Repetition, Url, Words
except ModuleNotFoundError as error:
    raise SystemExit(f"clean_web: {error}") from None

STEPS = {
    "url": Url,
    "language": Language,
    "gopher-repetition": Repetition,
    "gopher-quality": Quality,
    "c4": C4,
    "fineweb": FineWeb,
}
NEAR = "near-duplicates"
Report = dict[str, Counter[str]]  # by step, what it counted


def main() -> None:
    """Clean the files that the command line names."""
    assert __doc__ is not None
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("files", nargs="+", help="files, folders or patterns")
    parser.add_argument("--output", required=True, type=Path, help="a folder")
    parser.add_argument("--languages", nargs="+", metavar="CODE", help="keep only these")
    parser.add_argument("--language-probability", type=float, default=0.65)
    parser.add_argument("--skip", nargs="+", choices=[*STEPS, NEAR], default=[])
    parser.add_argument("--column", default="text", help="that holds the text")
    parser.add_argument("--lines", action="store_true", help="a line of a .txt is a document")
    parser.add_argument("--format", choices=("jsonl", "parquet"), default="jsonl")
    parser.add_argument("--sentences", action="store_true", help="write sentences, one a record")
    parser.add_argument("--samples", type=int, default=20, help="dropped documents to keep, by why")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--tasks", type=int, help="parts; one a file, at most 1,000")
    args = parser.parse_args()
    # As Ctrl-C: otherwise datatrove's own processes would stay. Those are to end at once.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    os.register_at_fork(after_in_child=lambda: signal.signal(signal.SIGTERM, signal.SIG_DFL))
    try:
        run(args)
    except KeyboardInterrupt:
        print("clean_web: stopped; the same command goes on from here", file=sys.stderr)
        raise SystemExit(130) from None
    except (ValueError, OSError, ImportError) as error:
        raise SystemExit(f"clean_web: {error}") from None


def run(args: argparse.Namespace) -> None:
    """Run the steps that are left to do, and write the report."""
    check_range("--workers", args.workers, 1, 10_000)
    check_range("--samples", args.samples, 0, 10**9)
    check_range("--language-probability", args.language_probability, 0.0, 1.0)
    if args.tasks is not None:
        check_range("--tasks", args.tasks, 1, 10**6)
    files = paths_of(args.files, args.output)
    tasks = min(args.tasks or 1000, len(files))
    work = args.output / "work"
    check_settings(args, files, tasks)
    report: Report = {}
    filters = [
        step(*given(name, args), Samples(f"{args.output}/dropped/{name}", args.samples))
        for name, step in STEPS.items()
        if name not in args.skip
    ]
    reading = [Files(files, args.column, args.lines), Html(timeout=10), *filters]
    final = Shards(str(args.output), args.format, args.sentences)
    if NEAR in args.skip:
        execute("filtering", [*reading, final], tasks, args.workers, work, report)
    else:
        passed = f"{work}/passed"
        execute("filtering", [*reading, Shards(passed)], tasks, args.workers, work, report)
        report.pop("written")  # what passed, of which near-duplicates still go
        again = Passed(passed)
        # datatrove's default hash fails on str with xxhash 4.
        config, words = MinhashConfig(hash_config=HashConfig(hash_fc="sha1")), Words()
        signing = MinhashDedupSignature(f"{work}/signatures", config, words)
        execute("signing", [again, signing], tasks, args.workers, work)
        buckets = MinhashDedupBuckets(f"{work}/signatures", f"{work}/pairs", config=config)
        execute("comparing", [buckets], config.num_buckets, args.workers, work)
        clusters = MinhashDedupCluster(f"{work}/pairs", f"{work}/remove", config)
        execute("grouping", [clusters], 1, 1, work)
        near = Near(f"{work}/remove", Samples(f"{args.output}/dropped/{NEAR}", args.samples))
        execute("writing", [again, near, final], tasks, args.workers, work, report)
    write_report(args, report)
    for folder in ("passed", "signatures", "pairs", "remove"):
        shutil.rmtree(work / folder, ignore_errors=True)


def paths_of(sources: list[str], output: Path) -> list[str]:
    """Find the files, except for those below `output`; refuse one whose kind is unknown."""
    files: list[str] = []
    for source in sources:
        if Path(source).is_dir():
            found = sorted(str(path) for path in Path(source).rglob("*") if path.is_file())
            files += [path for path in found if kind_of(path)]
        else:
            files += [file.name for file in find_files(source, "FILES").files]
    below = output.resolve()
    files = [path for path in dict.fromkeys(files) if below not in Path(path).resolve().parents]
    for path in files:
        if kind_of(path) is None:
            raise ValueError(
                f"`FILES` must end with {', '.join(KINDS)} (and .gz, .bz2, .xz or .zst), but "
                f"{path} does not. Rename it."
            )
    if not files:
        raise ValueError("`FILES` must name documents, but there are none there. Check the path.")
    return files


def check_settings(args: argparse.Namespace, files: list[str], tasks: int) -> None:
    """Record the settings; refuse to go on with what was begun with others."""
    if args.languages is not None:
        from seqae.data.sentences.language import check_languages

        check_languages("--languages", args.languages)
    settings = {name: value for name, value in vars(args).items() if name != "workers"}
    settings |= {"output": "", "files": files, "tasks": tasks}
    settings["sizes"] = [os.path.getsize(path) for path in files]
    path = args.output / "work" / "settings.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists() and json.loads(path.read_text(encoding="utf-8")) != settings:
        raise ValueError(
            f"`--output` must be a new folder for other files or options, but {args.output} was "
            "begun with different ones. Name another, or delete it."
        )
    path.write_text(json.dumps(settings), encoding="utf-8")


def given(name: str, args: argparse.Namespace) -> tuple[Any, ...]:
    """What a step is given besides where to put what it drops."""
    return (args.languages, args.language_probability) if name == "language" else ()


def execute(
    title: str,
    pipeline: list[Any],
    tasks: int,
    workers: int,
    work: Path,
    report: Report | None = None,
) -> None:
    """Run a pipeline in parts, except for those that were done before; add up what it counted."""
    print(f"{title}: {tasks} parts, {min(workers, tasks)} at a time", file=sys.stderr, flush=True)
    logs = work / "logs" / title
    logs.mkdir(parents=True, exist_ok=True)
    with (logs / "log.txt").open("a") as log, contextlib.redirect_stderr(log):
        logger.remove()  # still writes to the terminal
        logger.add(log)
        LocalPipelineExecutor(
            pipeline, tasks, min(workers, tasks), str(logs), start_method="fork"
        ).run()
    for path in sorted((logs / "stats").glob("*.json")) if report is not None else []:
        for step in json.loads(path.read_text(encoding="utf-8")):
            name = step["name"].rpartition(": ")[2]
            counts = report.setdefault(name, Counter())
            for key, value in step["stats"].items():
                counts[key] += value["total"] if isinstance(value, dict) else value


def write_report(args: argparse.Namespace, report: Report) -> None:
    """Write what became of the documents, for people and for programs."""
    lines = [f"{'step':20}{'documents':>12}{'dropped':>12}  why"]
    for name, counts in report.items():
        if name in ("written", "passed"):
            continue
        dropped = counts["total"] - counts["forwarded"]
        why = {
            key.removeprefix("dropped_").removeprefix("gopher_"): int(count)
            for key, count in counts.items()
            if key.startswith("dropped_") or key in ("timeout", "clean_error", "broken_process")
        }
        reasons = [f"{count:,} {key}" for key, count in sorted(why.items(), key=lambda k: -k[1])]
        first, *rest = reasons or [""]
        lines.append(f"{name:20}{int(counts['total']):12,}{int(dropped):12,}  {first}".rstrip())
        lines += [f"{'':46}{reason}" for reason in rest[:12]]
        if more := rest[12:]:
            lines.append(f"{'':46}and {len(more)} more reasons")
        lines += [
            f"{'':46}({int(count):,} lines: {key.removeprefix('line-filter-')})"
            for key, count in counts.items()
            if key.startswith("line-filter-")
        ]
    written = report["written"]
    total, records = int(written["total"]), int(written["records"])
    size = int(written["characters"])
    lines.append(f"{'written':20}{total:12,}  as {records:,} records, {size:,} characters")
    text = "\n".join(lines) + "\n"
    (args.output / "report.txt").write_text(text, encoding="utf-8")
    data = json.dumps({name: dict(counts) for name, counts in report.items()}, indent=2)
    (args.output / "report.json").write_text(data, encoding="utf-8")
    suffix = "parquet" if args.format == "parquet" else "jsonl.gz"
    code = next((code for code in args.languages or () if code in LANGUAGES), "en")
    split = "" if args.sentences else f" --data.cleaning.split_sentences {code}"
    print(text)
    if not records:
        print(f"Nothing is left. {args.output}/dropped has what the steps dropped; see `--skip`.")
        return
    print(f"seqae fit -c gru --data.train '{args.output}/*.{suffix}'{split} --data.too_long split")


if __name__ == "__main__":
    main()
