"""docs/tutorials: each page asks its question first and ends with three things to try; the table names all. The site
runs them.
"""

import re
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "docs" / "tutorials"
PAGES = sorted(FOLDER.glob("[0-9]*.md"))
_LINK = re.compile(r"\[([^\]]*)\]\([^)]*\)")


def text_of(page: Path) -> str:
    """The page behind its header."""
    return page.read_text(encoding="utf-8").split("---\n", 2)[2].strip()


def title_and_question(page: Path) -> tuple[str, str]:
    title, paragraph, _ = text_of(page).split("\n\n", 2)
    asked, mark, _ = _LINK.sub(r"\1", paragraph.replace("\n", " ")).partition("?")
    return title.removeprefix("# "), asked + mark


def test_the_table_has_every_tutorial_with_its_question() -> None:
    rows = re.findall(r"^\| \[(.*)\]\((.*)\) \| (.*) \|$", (FOLDER / "index.md").read_text("utf-8"), re.M)
    assert rows == [(title, page.name, question) for page in PAGES for title, question in [title_and_question(page)]]
    assert len(PAGES) == 8


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_tutorial_begins_with_a_question_and_ends_with_three_things_to_try(page: Path) -> None:
    assert title_and_question(page)[1].endswith("?")
    assert "At the end of this page" in text_of(page).split("\n\n")[1].replace("\n", " ")
    heading, things = text_of(page).split("\n## ")[-1].split("\n", 1)
    assert heading == "Three things to try"
    assert len(re.findall(r"^- ", things, re.M)) == 3
