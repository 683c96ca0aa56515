"""`seqae report`: one HTML file that opens anywhere, of a model or of several runs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from seqae.bundle.find_bundle import find_folder
from seqae.bundle.sharing.address import is_address
from seqae.component import check_range, check_seed
from seqae.files import check_output, write_output
from seqae.tasks.plot.figure_inputs import METRICS_FILE, names_of
from seqae.tasks.report.model_report import Choices, model_report
from seqae.tasks.report.report_curves import collapse_curves, curves_of
from seqae.terminal import working
from seqae.units import without_nan
from seqae.web.page import page
from seqae.web.payload import Model, Payload, RunCurves, payload_of
from seqae.web.projection import Method

REPORT = "report.html"


def report(
    runs: list[str],
    output: str | None = None,
    input: str | None = None,  # noqa: A002 - the name of the option
    labels: str | None = None,
    map: Method = "pca",  # noqa: A002 - the name of the option
    points: int = 5000,
    seed: int = 0,
    seconds: float = 2.0,
) -> None:
    """Make a page of a model: what it is, how well it works, its curves and its map.

    It is one file, which opens in any browser and asks no server for anything. It holds sentences:
    share it as you would share them.

    Example:
        seqae report runs/mine
        seqae report runs/mine runs/other --output both.html --input unseen.txt

    Args:
        runs: folders of runs or bundles, addresses, or `demo`; of all but the first, curves and
            figures alone are shown.
        output: an .html file, or .json for what the page is made of; by default report.html, in
            the run's folder if it is a run.
        input: sentences to show: a file, or anything else that `data.train` accepts; by default
            those of the training's data, held out and trained on.
        labels: a .tsv or .jsonl file of text, label: sentences to show, the map coloured by label.
        map: how latents come onto the plane: pca, tsne (which keeps neighbours together; extra
            `map`) or umap (if umap-learn is installed).
        points: of the map at most; 0 for none.
        seed: of what is drawn: sentences, samples, noise, and t-SNE.
        seconds: to spend on computing, apart from loading and drawing; with more, more is decoded.
    """
    target = output or str(default_output(runs[0]))
    read = [f"{find_folder(run)}/{METRICS_FILE}" for run in runs if not is_address(run)]
    check_output(target, (".html", ".json"), [input, labels, *read])
    check_range("points", points, 0, 100_000)
    check_range("seconds", seconds, 0, 86_400)
    check_seed(seed)
    if input is not None and labels is not None:
        raise ValueError(
            f"`labels` must be left out beside `input`, since it brings its own sentences, but "
            f"they are {labels} and {input} instead. Leave out one of the two."
        )
    with working("report"):
        choices = Choices(input, labels, map, points, seed, seconds)
        write_report(collected(runs, choices), target)
    print(f"report: {target}")


def default_output(run: str) -> Path:
    """Say where a report goes: into the folder of a run, else here.

    Args:
        run: what was named.

    Raises:
        ValueError: if it is a link: in a stranger's run that may lead anywhere.
    """
    if is_address(run):
        return Path(REPORT)
    folder = find_folder(run)
    is_run = (folder / "config.yaml").is_file() and not (folder / "config.json").exists()
    target = folder / REPORT if is_run else Path(REPORT)
    if target.is_symlink():
        raise ValueError(
            f"`output` must be given where {target} is a link, which would be followed. Write "
            f"`--output FILE.html`, or remove the link."
        )
    return target


def collected(runs: Sequence[str], choices: Choices) -> Payload:
    """Collect what the page is made of.

    Args:
        runs: folders of runs or bundles, addresses, or `demo`.
        choices: what the user has chosen.

    Raises:
        ValueError: if one is neither a run nor a bundle, or is damaged.
        OSError: if it cannot be fetched.
    """
    names = names_of(runs)
    models: list[Model] = []
    curves: list[RunCurves] = []
    for run, name in zip(runs, names, strict=True):
        shown = model_report(run, name, choices, is_whole=not models)
        has_log = not is_address(run) and (find_folder(run) / METRICS_FILE).is_file()
        if has_log:
            own = curves_of(run, name)
            curves.append(own)
            shown["curves"] = [*shown.get("curves", []), *collapse_curves(own["series"])]
        else:
            shown["notes"].append(
                "A bundle has no curves of its training; the folder of its run has."
            )
        models.append(shown)
    title = " and ".join(names[:3]) + (" …" if len(names) > 3 else "")
    return payload_of("report", title, models, curves)


def write_report(payload: Payload, output: str) -> None:
    """Write the page, or what it is made of.

    Args:
        payload: what it is made of.
        output: an .html or .json file.
    """
    if output.endswith(".json"):
        text = json.dumps(without_nan(payload), ensure_ascii=False) + "\n"
    else:
        text = page(payload)
    write_output(output, text)
