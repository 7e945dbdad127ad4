"""The pages that messages name are there, and describe what the messages are about."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from support import markdown

import genkern as gk
from genkern import _help
from genkern.cli.errors import CommandError, with_page

ROOT = Path(gk.__file__).parents[1]
NAMES = {name: told for name, told in vars(_help).items() if name.isupper() and isinstance(told, str)}


@pytest.mark.parametrize("name", NAMES)
def test_a_page_that_messages_name_is_there_with_its_anchor(name: str) -> None:
    path, _, anchor = _help.page(NAMES[name]).partition("#")
    assert Path(path).is_file() and Path(path).name in _help.PAGES
    assert anchor in {"", *markdown.anchors(Path(path).read_text(encoding="utf-8"))}


def test_info_names_the_page_that_says_what_to_do() -> None:
    assert gk.info()["help"] == _help.page(_help.PLAIN_TORCH)


@pytest.mark.parametrize(
    ("said", "page"),
    [
        ("--data: expected a folder, got nothing", _help.DATA),
        ("--conditional: expected images of two classes", _help.CLASSES),
        ("--device: expected a device that torch finds here", _help.OPTIONS),
        ("run/checkpoint.safetensors: cannot be written", None),
    ],
)
def test_an_error_of_a_command_names_the_page_of_its_option(said: str, page: str | None) -> None:
    told = with_page(CommandError(said))
    assert told == (said if page is None else f"{said}; see {_help.page(page)}")


def test_every_cause_that_the_page_explains_is_one_that_genkern_tells() -> None:
    """The table has the words of the messages, with … for what they fill in."""
    text = Path(_help.page("install.md")).read_text(encoding="utf-8")
    table = text.partition("## Plain torch where kernels were expected")[2].partition("\n\n`GENKERN_BACKEND")[0]
    causes = re.findall(r"\*([^*\n]+)\*", table)
    sources = "".join((ROOT / name).read_text() for name in ("genkern/_backend.py", "scripts/build_plan.py"))
    assert len(causes) > 4
    for cause in causes:
        for part in cause.split("…"):
            assert part.strip(" ,") in sources, cause
