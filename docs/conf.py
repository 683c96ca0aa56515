"""The documentation site: `scripts/docs` builds it, offline and with warnings as errors.

The pages are Markdown. Three parts are made before Sphinx reads them, in docs/generated/: the
reference of commands, that of Python, and the pictures.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent), str(HERE)]

from generators.command_reference import write_command_reference  # noqa: E402
from generators.docstrings import as_restructured_text  # noqa: E402
from generators.notebook_pages import write_notebook_pages  # noqa: E402
from generators.picture_gallery import write_pictures  # noqa: E402
from generators.python_reference import write_python_reference  # noqa: E402
from generators.repository_pages import (  # noqa: E402
    link_to_repository_pages,
    write_repository_pages,
)

import seqae  # noqa: E402

project = "seqae"
author = "the authors of seqae"
copyright = "the authors of seqae, Apache-2.0"  # noqa: A001
release = seqae.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
]
exclude_patterns = ["api.md", "generators", "static", "notebooks/.ipynb_checkpoints"]
suppress_warnings = ["myst.xref_ambiguous"]

myst_enable_extensions = ["colon_fence", "deflist", "attrs_block"]
myst_heading_anchors = 4
smartquotes = False  # `--train` is not a dash

napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
python_maximum_signature_line_length = 90
# Types of other libraries would be looked up in their inventories, over a network.
nitpick_ignore_regex = [("py:.*", ".*")]

html_theme = "furo"
html_title = "seqae"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_show_sphinx = False
html_copy_source = False
html_theme_options = {"navigation_with_keys": True}
copybutton_exclude = ".linenos, .gp, .go"
copybutton_selector = "div:not(.highlight-text) > div.highlight > pre"  # outputs are not typed


def read_page(app: Sphinx, name: str, source: list[str]) -> None:
    """Point links to the repository's own pages to their pages here."""
    source[0] = link_to_repository_pages(name, source[0])


def read_docstring(
    app: Sphinx, what: str, name: str, value: Any, options: Any, lines: list[str]
) -> None:
    """Read a docstring as it is written, before its sections are."""
    lines[:] = as_restructured_text(lines)


def generate(app: Sphinx) -> None:
    """Write what is made of the code."""
    folder = HERE / "generated"
    write_command_reference(folder)
    write_python_reference(folder)
    write_repository_pages(folder)
    write_notebook_pages(folder)
    write_pictures(folder)


def setup(app: Sphinx) -> None:
    """Register what happens before the pages are read."""
    app.connect("builder-inited", generate)
    app.connect("source-read", read_page)
    app.connect("autodoc-process-docstring", read_docstring, priority=400)  # before napoleon
