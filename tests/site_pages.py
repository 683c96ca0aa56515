"""Runs the commands of a page of the site, and compares what they print with what the page shows.

A block that is marked `bash` is run by bash, all blocks of a page in one folder, in their order. A
`text` block right after it is what its commands print; a line `…` in it stands for lines that are
left out. A block marked `sh` needs a cluster, a network or an hour, and is not run.

    python tests/site_pages.py docs/first-hour.md    # write what its commands print now
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
NEW = [DOCS / "index.md", DOCS / "first-hour.md", *sorted((DOCS / "tutorials").glob("*.md"))]
RUN = re.compile(r"^```bash\n(.*?)^```\n(?:\n```text\n(.*?)^```\n)?", re.MULTILINE | re.DOTALL)
NUMBER = re.compile(r"\d[\d,]*(?:\.\d+)?")
TOLERANCE = 0.4  # of numbers: times and scores differ between machines
LIMIT = 600  # seconds for a block


@dataclass(frozen=True)
class Shown:
    """A block of commands, and the output that the page shows, if it shows one."""

    code: str
    output: str | None


def shown_blocks(page: Path) -> list[Shown]:
    """The blocks of a page that are run; what installs is not run again."""
    text = page.read_text(encoding="utf-8")
    return [Shown(m[1], m[2]) for m in RUN.finditer(text) if "pip install" not in m[1]]


def run_block(code: str, place: Path) -> str:
    """What the commands of a block print, with its errors; they must succeed."""
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "COLUMNS": "88",
        "OMP_NUM_THREADS": "1",
        "PYTHONIOENCODING": "utf-8",
        "XDG_CACHE_HOME": str(place / ".cache"),
    }
    done = subprocess.run(
        ["bash", "-e", "-o", "pipefail", "-c", code],
        cwd=place,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=LIMIT,
    )
    assert done.returncode == 0, f"{code}\n{done.stdout}"
    return "\n".join(line.rstrip() for line in done.stdout.strip("\n").splitlines()) + "\n"


def is_as_shown(printed: str, shown: str) -> bool:
    """Whether the lines that are shown are printed, in their order; numbers may differ a little."""
    lines = printed.splitlines()
    for part in re.split(r"^…\n", shown, flags=re.MULTILINE):
        wanted = part.splitlines()
        starts = range(len(lines) - len(wanted) + 1)
        found = [i for i in starts if all(map(is_alike, lines[i : i + len(wanted)], wanted))]
        if not found:
            return False
        lines = lines[found[0] + len(wanted) :]
    return True


def is_alike(one: str, other: str) -> bool:
    """Whether two lines have the same words, and numbers that are near each other."""
    if NUMBER.sub("0", one).split() != NUMBER.sub("0", other).split():
        return False
    pairs = zip(NUMBER.findall(one), NUMBER.findall(other), strict=True)
    numbers = [(float(a.replace(",", "")), float(b.replace(",", ""))) for a, b in pairs]
    return all(abs(a - b) <= 1 + TOLERANCE * max(a, b) for a, b in numbers)


def renewed(page: Path) -> str:
    """The page with what its commands print now; an output with lines left out stays."""
    with tempfile.TemporaryDirectory() as folder:

        def renew(match: re.Match[str]) -> str:
            code, shown = match[1], match[2]
            if "pip install" in code:
                return match[0]
            printed = run_block(code, Path(folder))
            print(f"$ {code}{printed}", file=sys.stderr)
            if shown is None or ("…\n" in shown and is_as_shown(printed, shown)):
                return match[0]
            return f"```bash\n{code}```\n\n```text\n{printed}```\n"

        return RUN.sub(renew, page.read_text(encoding="utf-8"))


if __name__ == "__main__":
    for name in sys.argv[1:]:
        text = renewed(Path(name))
        Path(name).write_text(text, encoding="utf-8")
