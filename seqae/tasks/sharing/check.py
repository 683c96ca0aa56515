"""`seqae check`: verify a bundle before trusting it."""

from __future__ import annotations

from dataclasses import asdict
from json import dumps
from typing import Any

from rich.table import Table
from rich.text import Text

from seqae.bundle.bundle_check import Examination, Probe, examine, strict_error
from seqae.terminal import table_console, visible

SIGNS = {"ok": "✓", "warning": "!", "failed": "✗", "not checked": ""}
STYLES = {"ok": "green", "warning": "yellow", "failed": "red", "not checked": ""}


def check(model: str, strict: bool = False, json: bool = False) -> None:
    """Check that a bundle is intact and still gives the reconstructions stored in it.

    Nothing in the bundle is run. Each line says what was checked; a warning is no failure, but
    something that a person may want to know: an edited card, unknown files, other versions.

    Args:
        model: a bundle, the folder of a run, an address, or `demo`.
        strict: fail on a warning too, for pipelines.
        json: print the report as JSON.

    Raises:
        ValueError: if a file is missing, changed or invalid, or a reconstruction differs; with
            `strict` also on a warning.
    """
    examination = examine(model)
    error = examination.error
    if error is None and strict and (warnings := examination.warnings):
        error = strict_error(examination.folder, warnings)
    if json:
        print(dumps(_to_plain(model, examination, error), indent=2, ensure_ascii=False))
    elif len([row for row in examination.rows if row.status != "not checked"]) > 1:
        _show(examination)
    if error is not None:
        raise error
    if not json:
        print(f"{model}: intact; {_tried(examination.probes)}.")


def _tried(probes: list[Probe]) -> str:
    if all(probe.stored is None for probe in probes):
        return f"it stores no sentences, and {len(probes)} of ours were encoded and decoded"
    return f"{len(probes)} sentences of the self-test are reconstructed as before"


def _to_plain(model: str, examination: Examination, error: ValueError | None) -> dict[str, Any]:
    return {
        "model": model,
        "passed": error is None,
        "error": None if error is None else str(error),
        "checks": [asdict(row) for row in examination.rows],
        "sentences": [
            {**asdict(probe), "as_stored": probe.is_as_stored} for probe in examination.probes
        ],
    }


def _show(examination: Examination) -> None:
    console = table_console()
    table = Table("", "check", "found", show_edge=False)
    for row in examination.rows:
        sign = Text(SIGNS[row.status], style=STYLES[row.status])
        found = "see the error below" if row.status == "failed" else visible(row.found)
        table.add_row(sign, row.check, Text(found or "not checked"))
    console.print(table)
    if examination.probes:
        _show_probes(examination.probes)


def _show_probes(probes: list[Probe]) -> None:
    table = Table("sentence", "written back", "", show_edge=False)
    for probe in probes:
        sign = "=" if probe.text == probe.reconstruction else "≠"
        table.add_row(Text(visible(probe.text)), Text(visible(probe.reconstruction)), sign)
    console = table_console()
    console.print()
    console.print(table)
