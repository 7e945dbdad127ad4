"""Links of a built site that lead nowhere within it.

python scripts/site_links.py FOLDER
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit


def broken(site: Path) -> list[str]:
    """`page: link` for each link, picture, style or script within the site whose file or anchor is not there."""
    pages = {path: _Page(path) for path in sorted(site.rglob("*.html"))}
    return [f"{path.relative_to(site)}: {link}" for path, page in pages.items() for link in _nowhere(path, page, pages)]


def elsewhere(site: Path) -> set[str]:
    """Addresses on other sites that opening a page would fetch; links that are followed by hand are none."""
    pages = [_Page(path) for path in site.rglob("*.html")]
    return {link for page in pages for link in page.fetched if urlsplit(link).netloc}


def _nowhere(path: Path, page: _Page, pages: dict[Path, _Page]) -> Iterator[str]:
    for link in page.links:
        parts = urlsplit(link)
        if parts.scheme or parts.netloc:
            continue
        target = Path(os.path.normpath(path.parent / unquote(parts.path))) if parts.path else path
        anchors = pages[target].anchors if target in pages else {unquote(parts.fragment)}
        if not target.exists() or unquote(parts.fragment) not in anchors:
            yield link


class _Page(HTMLParser):
    """The links and the anchors of a page."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.fetched: list[str] = []
        self.anchors = {"", "top"}
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        for name, value in attributes:
            if value is None:
                continue
            if name == "id" or (name == "name" and tag == "a"):
                self.anchors.add(value)
            elif name in ("href", "src"):
                self.links.append(value)
                if name == "src" or tag == "link":
                    self.fetched.append(value)


if __name__ == "__main__":
    found = broken(Path(sys.argv[1]))
    print(*found, sep="\n", file=sys.stderr)
    sys.exit(bool(found))
