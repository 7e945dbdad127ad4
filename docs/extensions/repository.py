"""Links as GitHub follows them, between any two files of the checkout, made links between pages of the site."""

from __future__ import annotations

import os
import re
from pathlib import Path

from sphinx.application import Sphinx

# Files outside docs/ that a page shows.
PAGES = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "benchmarks/README.md": "benchmarks.md",
    "benchmarks/results/README.md": "measurements.md",
    "benchmarks/results/cuda.md": "cuda-resources.md",
    "tests/cuda_emulator/README.md": "cuda-emulator.md",
}
_LINK = re.compile(r"\]\((?!\w+:|#)([^)#\s]+)(#[^)\s]*)?\)")


def setup(app: Sphinx) -> dict[str, bool]:
    docs = Path(app.srcdir)

    def read(app: Sphinx, name: str, content: list[str]) -> None:
        page = Path(app.env.doc2path(name))
        if page.suffix == ".md":
            content[0] = rewritten(content[0], page, page, docs)

    def include(app: Sphinx, path: Path, parent: str, content: list[str]) -> None:
        content[0] = rewritten(content[0], docs / path, Path(app.env.doc2path(parent)), docs)

    app.connect("source-read", read)
    app.connect("include-read", include)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def rewritten(text: str, source: Path, page: Path, docs: Path) -> str:
    """`text` of the file `source`, shown by `page`, with its relative links as the page must have them."""

    def link(found: re.Match[str]) -> str:
        target = (source.parent / found[1]).resolve()
        shown = PAGES.get(target.relative_to(docs.parent.resolve()).as_posix())
        target = docs.resolve() / shown if shown else target
        return f"]({Path(os.path.relpath(target, page.parent.resolve())).as_posix()}{found[2] or ''})"

    return _LINK.sub(link, text)
