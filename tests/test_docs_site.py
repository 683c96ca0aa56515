"""The site of docs/: no page is lost, no link is dead, and the pages show what commands print.

`scripts/docs` builds it with warnings as errors (17 s of a core), and the commands of the tutorials
train: both are slow. The default run reads the pages only.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
from site_pages import DOCS, NEW, ROOT, RUN, is_as_shown, run_block, shown_blocks
from test_help_pages import parser_of

from seqae.cli import COMPLETION, RECIPES, TASKS, TRAINING
from seqae.parser import options_of
from seqae.synonyms import OPTIONS

sys.path.append(str(DOCS))

from generators.check_links import check  # noqa: E402
from generators.docstrings import as_restructured_text  # noqa: E402
from generators.drawings import DRAWINGS  # noqa: E402

PAGES = [page for page in sorted(DOCS.rglob("*.md")) if DOCS / "generated" not in page.parents]
FENCED = re.compile(r"^(`{3,}).*?^\1$", re.MULTILINE | re.DOTALL)


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub and MyST name them."""
    text = FENCED.sub("", page.read_text(encoding="utf-8"))
    titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def test_every_page_is_in_the_contents() -> None:
    trees = re.findall(r"^```\{toctree\}\n(.*?)^```$", NEW[0].read_text(), re.MULTILINE | re.DOTALL)
    entries = {line for tree in trees for line in tree.splitlines() if line[:1] not in ("", ":")}
    written = {str(page.relative_to(DOCS).with_suffix("")) for page in PAGES}
    assert written - entries == {"index", "api"}  # api.md is for readers of the repository
    assert {entry for entry in entries - written if not entry.startswith("generated/")} == set()


def test_every_anchor_that_is_linked_to_is_there() -> None:
    for page in PAGES:
        for name, anchor in re.findall(r"\]\(([\w./-]*)#([\w-]+)\)", page.read_text("utf-8")):
            target = page.parent / name if name else page
            if target.suffix == ".md":
                assert anchor in anchors(target), f"{page.name}: {name}#{anchor}"


def test_every_command_and_option_of_the_new_pages_exists() -> None:
    known = {**COMPLETION, **RECIPES, **TASKS, **TRAINING}
    found = 0
    for page in NEW:
        blocks = re.findall(r"^```(?:bash|sh)\n(.*?)^```$", page.read_text("utf-8"), re.M | re.S)
        for line in "".join(blocks).replace("\\\n", " ").splitlines():
            if not line.lstrip().startswith("seqae "):
                continue
            words = shlex.split(re.split(r" [|>] | > ", line)[0])
            command = words[1] if words[1] in known else " ".join(words[1:3])
            assert command in known, f"{page.name}: {line}"
            if command in TASKS or command in TRAINING:
                options = {option.dest for option in options_of(parser_of(command))} | {"resume"}
                given = [word[2:].split("=")[0] for word in words if word.startswith("--")]
                synonyms = OPTIONS if command in TRAINING else {}
                names = {synonyms.get(name, name) for name in given}
                parts = [name for name in names if name.startswith("model.autoencoder.")]
                assert names.difference(parts) <= options, f"{page.name}: {line}"
            found += 1
    assert found > 20


def test_every_output_is_compared() -> None:
    """No block of outputs is empty, and those that stand under `bash` are found."""
    for page in NEW:
        assert "```text\n```" not in page.read_text("utf-8"), page.name
        assert "```text\n…\n```" not in page.read_text("utf-8"), f"{page.name} shows nothing"
    assert sum(block.output is not None for page in NEW for block in shown_blocks(page)) > 15


@pytest.mark.parametrize(
    ("shown", "alike"),
    [
        ("a 98.0 %\nb\n", True),
        ("a 97.1 %\n", True),
        ("…\nb\n…\n", True),
        ("a 30.0 %\n", False),
        ("b\n…\na 98.0 %\n", False),
        ("c\n", False),
    ],
)
def test_outputs_are_compared_by_words_and_about_by_numbers(shown: str, alike: bool) -> None:
    assert is_as_shown("a 98.0 %\nb\n", shown) is alike


def test_drawings_are_well_formed_and_say_what_they_show() -> None:
    for name, draw in DRAWINGS.items():
        svg = ElementTree.fromstring(draw())[0]
        assert svg.get("role") == "img", name
        assert len(svg.get("aria-label", "")) > 40, name
        assert draw() == draw(), name


def test_docstrings_are_read_as_they_are_written() -> None:
    lines = ["Return `{a: 1,", "    b}` of |x|, and ``as it is``."]
    assert as_restructured_text(lines) == [r"Return ``{a: 1, b}`` of \|x\|, and ``as it is``."]
    lines = ["Do it.", "", "    do(1)", "    do(2)", "", "Args:", "    a: b."]
    assert as_restructured_text(lines) == [*lines[:2], "::", "", *lines[2:]]


def test_dead_links_and_loads_from_elsewhere_are_found(tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text('<a href="b.html#there">.</a><img src="http://x.y/z.png">')
    (tmp_path / "b.html").write_text('<a href="a.html#here">.</a><a href="c.html">.</a>')
    wrong, outside = check(tmp_path)
    assert outside == {"http://x.y/z.png"}
    assert [line.split(",")[0] for line in wrong] == [
        "a.html links to b.html#there",
        "a.html loads http://x.y/z.png",
        "b.html links to a.html#here",
        "b.html links to c.html",
    ]


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_site_is_built_without_a_warning(tmp_path: Path) -> None:
    output = [str(tmp_path / "doctrees"), str(ROOT / "docs"), str(tmp_path / "html")]
    options = ["-b", "html", "-n", "-W", "--keep-going", "-q", "-d"]
    words = [sys.executable, "-m", "sphinx", *options, *output]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "HTTPS_PROXY": "http://127.0.0.1:9"}
    done = subprocess.run(words, capture_output=True, text=True, timeout=280, env=environment)
    assert done.returncode == 0, done.stderr
    wrong, _ = check(tmp_path / "html")
    assert wrong == []
    assert (tmp_path / "html" / "index.html").stat().st_size > 0


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("page", NEW, ids=lambda page: page.stem)
def test_commands_print_what_the_page_shows(page: Path, tmp_path: Path) -> None:
    assert bool(shown_blocks(page)) is bool(RUN.search(page.read_text("utf-8")))
    for block in shown_blocks(page):
        printed = run_block(block.code, tmp_path)
        if block.output is not None:
            assert is_as_shown(printed, block.output), f"{block.code}\n{printed}"
