"""The notebooks as pages, without outputs: a reader runs them, and the tests do."""

from __future__ import annotations

import json
from pathlib import Path

from generators.write import write_if_changed

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"


def write_notebook_pages(folder: Path) -> None:
    """Write `notebook-NAME.md` for each, and `notebooks.md`, which lists them.

    Args:
        folder: of what is generated.
    """
    lines = ["# Notebooks", "", "Two to run yourself; the tests run them from top to bottom.", ""]
    names = sorted(path.stem for path in NOTEBOOKS.glob("*.ipynb"))
    tree = ["```{toctree}", "", *(f"notebook-{name}" for name in names), "```", ""]
    write_if_changed(folder / "notebooks.md", "\n".join([*lines, *tree]))
    for name in names:
        cells = json.loads((NOTEBOOKS / f"{name}.ipynb").read_text(encoding="utf-8"))["cells"]
        parts = ["".join(cell["source"]).strip() for cell in cells]
        for i, cell in enumerate(cells):
            if cell["cell_type"] == "code":
                code = parts[i].replace("%matplotlib inline\n", "")
                parts[i] = f"```python\n{code}\n```"
        text = "\n\n".join(parts)
        for other in names:
            text = text.replace(f"]({other}.ipynb)", f"](notebook-{other}.md)")
        source = f"[Download this page as a notebook](../notebooks/{name}.ipynb)."
        title, _, rest = text.partition("\n\n")
        write_if_changed(folder / f"notebook-{name}.md", f"{title}\n\n{source}\n\n{rest}\n")
