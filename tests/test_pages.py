"""The pages as GitHub shows them: links lead somewhere, README is read to the end. `make docs` checks the site."""

from __future__ import annotations

from pathlib import Path

import pytest
import site_links
from support import markdown

import genkern as gk

ROOT = Path(gk.__file__).parents[1]
FOLDERS = (".", "benchmarks", "benchmarks/results", "docs", "docs/tutorials", "tests/cuda_emulator")
PAGES = sorted(path.relative_to(ROOT).as_posix() for folder in FOLDERS for path in (ROOT / folder).glob("*.md"))


@pytest.mark.parametrize("page", PAGES)
def test_links_between_files_of_the_repository_lead_somewhere(page: str) -> None:
    assert markdown.broken(ROOT / page) == []


def test_readme_is_read_to_the_end() -> None:
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 120
    assert sum(line.startswith("| `") for line in lines) == 8


def test_links_of_markdown_that_lead_nowhere_are_found(tmp_path: Path) -> None:
    (tmp_path / "other.md").write_text("# A *heading*, twice\n## A heading, twice\n")
    page = tmp_path / "page.md"
    page.write_text(
        "# Here\n[a](other.md) [b](other.md#a-heading-twice-1) [c](#here) [d](https://elsewhere) `[e](e.md)`\n"
        "[f](gone.md) [g](other.md#gone) [h](#gone) ![i](gone.png)\n"
    )
    assert markdown.broken(page) == ["gone.md", "other.md#gone", "#gone", "gone.png"]


def test_links_of_a_site_that_lead_nowhere_are_found(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "other.html").write_text("<h1 id='title'>Other</h1><a href='../page.html#here'>back</a>")
    (tmp_path / "page.html").write_text(
        "<p id='here'><a href='inner/other.html#title'>a</a><a href='#here'>b</a><a href='https://else.where'>c</a></p>"
        "<a href='gone.html'>d</a><a href='inner/other.html#gone'>e</a><a href='#gone'>f</a><img src='gone.png'>"
        "<script src='https://else.where/script.js'></script>"
    )
    lost = ["gone.html", "inner/other.html#gone", "#gone", "gone.png"]
    assert site_links.broken(tmp_path) == [f"page.html: {link}" for link in lost]
    assert site_links.elsewhere(tmp_path) == {"https://else.where/script.js"}
