"""Check every link of the built site: the page or file must be there, and the anchor on it.

python docs/generators/check_links.py FOLDER; links that lead elsewhere are printed, not followed.
"""

from __future__ import annotations

import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag, urlsplit


class Links(HTMLParser):
    """Collects what a page links to or loads, and the anchors that it has."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.anchors: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note the links and anchors of an element."""
        values = {key: value for key, value in attrs if value}
        self.anchors |= {values[key] for key in ("id", "name") if key in values}
        if "href" in values:
            (self.loads if tag == "link" else self.links).append(values["href"])
        if "src" in values:
            self.loads.append(values["src"])


def check(folder: Path) -> tuple[list[str], set[str]]:
    """Return what is wrong with the links of a site, and the addresses that lead elsewhere.

    Args:
        folder: of the built site.
    """
    pages: dict[Path, Links] = {}
    for path in sorted(folder.rglob("*.html")):
        pages[path.resolve()] = links = Links()
        links.feed(path.read_text(encoding="utf-8"))
    wrong, outside = [], set()
    for path, page in pages.items():
        for link in [*page.links, *page.loads]:
            parts = urlsplit(link)
            if parts.scheme in ("http", "https", "mailto"):
                outside.add(link)
                if link in page.loads:
                    wrong.append(f"{path.name} loads {link}, of another machine")
                continue
            if parts.scheme or parts.netloc:
                continue
            name, anchor = urldefrag(link)
            target = (path.parent / unquote(urlsplit(name).path)).resolve() if name else path
            if not target.exists():
                wrong.append(f"{path.name} links to {link}, which is not there")
            elif anchor and target in pages and unquote(anchor) not in pages[target].anchors:
                wrong.append(f"{path.name} links to {link}, but the page has no such anchor")
    return wrong, outside


if __name__ == "__main__":
    found, elsewhere = check(Path(sys.argv[1]))
    print(*sorted(elsewhere), sep="\n")
    for line in found:
        print(line, file=sys.stderr)
    sys.exit(bool(found))
