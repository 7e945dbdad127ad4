"""The built site: its links lead somewhere, nothing is fetched, and the reference has every public name."""

from __future__ import annotations

import re
from pathlib import Path

import site_links
from sphinx.util.inventory import InventoryFile
from support import public


def test_every_link_and_anchor_within_the_site_is_there(site: Path) -> None:
    assert site_links.broken(site) == []


def test_nothing_is_fetched_from_another_site(site: Path) -> None:
    assert site_links.elsewhere(site) == set()
    styles = "".join(path.read_text(encoding="utf-8") for path in site.rglob("*.css"))
    assert re.findall(r"url\(['\"]?(?:https?:)?//[^)]*\)|@import[^;]*//[^;]*;", styles) == []


def test_the_reference_has_every_public_name_and_no_other(site: Path) -> None:
    inventory = InventoryFile.loads((site / "objects.inv").read_bytes(), uri="").data
    items = [item for kind in ("function", "class", "data") for item in inventory[f"py:{kind}"].items()]
    described = {item.uri.partition("#")[2].replace("$", name) for name, item in items}  # one name of those it has
    assert described == set(public.names())
    assert set(inventory["py:module"]) == {*public.MODULES, "genkern.functional"}


def test_no_docstring_of_the_reference_lacks_anything() -> None:
    lacks = {name: public.lacking(found.__doc__ or "") for name, found in public.documented()}
    assert {name: lack for name, lack in lacks.items() if lack} == {}


_WITHOUT_A_QUESTION = {"index", "changelog", "security", "genindex", "py-modindex", "search"}


def test_every_page_begins_with_the_question_that_it_answers(site: Path) -> None:
    pages = {
        path.relative_to(site).with_suffix("").as_posix(): path.read_text("utf-8") for path in site.rglob("*.html")
    }
    found = {name: re.search(r"</h1>.*?<p>(.*?)</p>", text, re.DOTALL) for name, text in pages.items()}
    asked = {name for name, paragraph in found.items() if paragraph and "?" in paragraph[1]}
    assert set(pages) - asked - _WITHOUT_A_QUESTION == set()


def test_no_described_method_is_private(site: Path) -> None:
    inventory = InventoryFile.loads((site / "objects.inv").read_bytes(), uri="").data
    members = [name for kind in ("method", "attribute", "property") for name in inventory.get(f"py:{kind}", {})]
    assert members and [name for name in members if name.rpartition(".")[2].startswith("_")] == []
