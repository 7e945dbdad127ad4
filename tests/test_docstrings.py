"""Every public name explains itself: in one line, by an example, and by what else there is."""

from __future__ import annotations

import inspect
import re

import pytest
from support import public

PUBLIC = dict(public.documented())


@pytest.mark.parametrize("name", PUBLIC)
def test_a_public_name_has_a_summary_an_example_and_what_else_there_is(name: str) -> None:
    assert public.lacking(PUBLIC[name].__doc__ or "") == []


@pytest.mark.parametrize("name", [name for name, found in PUBLIC.items() if inspect.isroutine(found)])
def test_the_parameters_of_a_docstring_are_those_of_its_function(name: str) -> None:
    doc = inspect.getdoc(PUBLIC[name]) or ""
    section = re.search(r"^Parameters\n-+\n(.*?)(?=\n\n\S[^\n]*\n---|\Z)", doc, re.MULTILINE | re.DOTALL)
    told = re.findall(r"^(\w[\w, ]*?)(?: : .*)?$", section[1], re.MULTILINE) if section else []
    parameters = inspect.signature(PUBLIC[name]).parameters
    assert [each for group in told for each in group.split(", ") if each not in parameters] == []


@pytest.mark.parametrize(
    ("doc", "expected"),
    [
        ("", 3),
        ("A sum of two numbers.\n\nSee Also\n--------\nother\n\nExamples\n--------\n>>> 1 + 1\n2", 0),
        ("A sum of two numbers.\n\nSee Also\n--------\nother", 1),
        ("A sum of two numbers.\n\nExamples\n--------\n>>> 1 + 1\n2", 1),
        ("A sum\nof two numbers.\n\nSee Also\n--------\nother\n\nExamples\n--------\n>>> 1 + 1\n2", 1),
        ("A sum, as :func:`other`.\n\nSee Also\n--------\nother\n\nExamples\n--------\n>>> 1 + 1\n2", 1),
    ],
)
def test_what_a_docstring_lacks_is_found(doc: str, expected: int) -> None:
    assert len(public.lacking(doc)) == expected
