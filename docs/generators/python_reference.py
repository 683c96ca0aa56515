"""The reference of Python: which names have a page; Sphinx's autodoc writes it from docstrings.

The names are those of docs/api.md, which has them all on one page for readers of the repository:
scripts/dev/api_page lists them for both.
"""

from __future__ import annotations

import inspect
import runpy
from importlib import import_module
from pathlib import Path
from typing import Any

import seqae
from generators.write import write_if_changed
from seqae.component import concrete_subclasses

ROOT = Path(__file__).parents[2]
SUMMARIES = {
    "Train and use a model": "What most people need: `import seqae`.",
    "In a script of your own": "The ordinary PyTorch and Lightning classes below `seqae.fit`.",
    "seqae.sklearn": "A transformer for pipelines and grid searches.",
    "seqae.interchange": "Models in the forms of other libraries.",
    "seqae.generation": "From latents to tokens.",
}


def write_python_reference(folder: Path) -> None:
    """Write a page for each group of names, and `python.md`, which lists the pages.

    Args:
        folder: of what is generated.
    """
    script = runpy.run_path(str(ROOT / "scripts" / "dev" / "api_page"))
    pages: dict[str, tuple[str, str]] = {}
    for title, names in script["TOP"]:
        found = [(f"seqae.{name}", getattr(seqae, name)) for name in names.split()]
        pages[slug(title)] = (title, page(title, SUMMARIES[title], found, script))
    for module, names in script["MODULES"].items():
        members = import_module(module)
        wanted = [name for name in names or members.__all__ if name not in seqae._HOME]
        found = [(f"{module}.{name}", getattr(members, name)) for name in wanted]
        summary = SUMMARIES.get(module, "")
        pages[slug(module)] = (module, page(module, summary, found, script))
    for title, module, kind in script["PARTS"]:
        classes = [cls for cls in concrete_subclasses(kind) if cls.__module__.startswith("seqae.")]
        found = [(home(module, cls), cls) for cls in dict.fromkeys([*classes, kind])]
        summary = "[What each is for](../models.md), and what goes together."
        pages[slug(title)] = (title, page(title, summary, found, script))
    for name, (_, text) in pages.items():
        write_if_changed(folder / f"python-{name}.md", text)
    rows = [f"- [{title}](python-{name}.md)" for name, (title, _) in pages.items()]
    tree = ["```{toctree}", ":hidden:", "", *(f"python-{name}" for name in pages), "```"]
    intro = "All public names, from their docstrings. `help(seqae.fit)` says the same."
    text = "\n".join(["# Python", "", intro, "", *rows, "", *tree])
    write_if_changed(folder / "python.md", f"{text}\n")


def slug(title: str) -> str:
    """Return the name of a group's page."""
    return title.lower().replace(" ", "-").replace(".", "-")


def home(module: str, cls: type) -> str:
    """Return the name by which a part is imported: from its package, if that exports it."""
    exported = getattr(import_module(module), cls.__name__, None) is cls
    return f"{module if exported else cls.__module__}.{cls.__name__}"


def page(title: str, summary: str, found: list[tuple[str, Any]], script: dict[str, Any]) -> str:
    """Return a page of directives for autodoc.

    Args:
        title: of the page.
        summary: its first line.
        found: names and what they name.
        script: scripts/dev/api_page, which says which members a user calls.
    """
    lines = [f"# {title}", "", summary, "", "````{eval-rst}"]
    for name, value in found:
        if not inspect.isclass(value):
            lines += [f".. autofunction:: {name}", ""]
            continue
        members = [key for key, _ in script["public_members"](value)]
        lines += [f".. autoclass:: {name}"]
        if members:
            lines += [f"   :members: {', '.join(members)}"]
        lines += [""]
    return "\n".join([*lines, "````", ""])
