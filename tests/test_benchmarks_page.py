"""The page of results stands alone, is well-formed, and has everything that the files say."""

from __future__ import annotations

import base64
import dataclasses
import html
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from support.measured import DROP_IN, MACHINE, MEMORY, RUN, results_of, row_of, write

from benchmarks import page, plot, results
from benchmarks.cases import COMPILE, EAGER, GENKERN


def test_the_page_is_well_formed_and_has_no_address_outside_itself(folder: Path, tmp_path: Path) -> None:
    read = _read(folder, tmp_path / "page.html")
    assert not read.open and not read.errors
    assert all(address.startswith(("data:", "#")) for address in read.addresses), read.addresses
    assert not re.search(r"url\(|@import|(?:src|href)\s*=\s*[\"']?(?:https?:)?//", read.text)
    targets = {address[1:] for address in read.addresses if address.startswith("#")}
    assert targets == {"how", "machine", "memory", "drop_in", "versions"} and targets <= read.ids
    for image in read.images:
        kind, _, data = image.partition(",")
        svg = base64.b64decode(data).decode()
        # What is left of addresses are names of XML's own.
        assert kind == "data:image/svg+xml;base64" and svg.startswith("<svg")
        assert set(re.findall(r"https?:[^\"' ]+", svg)) <= {
            "http://www.w3.org/2000/svg",
            "http://www.w3.org/1999/xlink",
        }
    assert len(read.images) == 3 * plot.available()


def test_the_page_has_every_row_and_every_chapter(folder: Path, tmp_path: Path) -> None:
    read = _read(folder, tmp_path / "page.html")
    for row in results.load(folder / "machine.json").rows:
        if row.rival == GENKERN:
            shape, seconds = str(list(row.shape)), results.format_time(row.median)
            assert any(cells[:3] == [row.op, shape, seconds] for cells in read.rows), (row.op, shape)
    assert ["128", "3 MiB", "1 GiB"] in read.rows
    assert ["a step", "2 s", "500 ms", "4.00"] in read.rows
    assert [RUN["date"], "abc"] in [cells[1:3] for cells in read.rows]


def test_the_page_has_every_row_that_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without pictures, as where matplotlib is not installed."""
    monkeypatch.setattr(plot, "available", lambda: False)
    read = _read(results.FOLDER, tmp_path / "page.html")
    assert not read.open and not read.errors and not read.images
    rows = {tuple(cells[:3]) for cells in read.rows}
    for path in results.FOLDER.glob("*.json"):
        for row in results.load(path).rows:
            if row.rival == GENKERN:
                name = row.op + (f" {row.dtype}" if row.dtype != "float32" else "")
                assert (name, str(list(row.shape)), results.format_time(row.median)) in rows


def test_what_a_file_says_is_text(folder: Path, tmp_path: Path) -> None:
    """Of markup, too."""
    name = '<img src="//x">'
    rows = [dataclasses.replace(row_of(rival, 1.0), op=f"a<b{name}") for rival in (GENKERN, EAGER)]
    found = dataclasses.replace(results_of(*rows), machine={**MACHINE, "cpu": f"CPU {name}"})
    results.save(folder / "machine.json", found)
    said = {**DROP_IN, "rows": [{**DROP_IN["rows"][0], "step": f"step [link](https://x.y) {name}"}]}
    write(folder / "drop_in" / "machine.json", json.dumps(said))
    read = _read(folder, tmp_path / "page.html")
    assert not read.open and not read.errors
    assert f"a<b{name}" in {cells[0] for cells in read.rows}
    assert "a&lt;b" in read.text and "<b<" not in read.text and name not in read.text
    assert all(address.startswith(("data:", "#")) for address in read.addresses)


@pytest.mark.parametrize("rows", [0, 1, 2])
def test_a_page_of_next_to_nothing(tmp_path: Path, rows: int) -> None:
    """No file, a row without a rival, and a quick run's rival."""
    folder = tmp_path / "quick"
    if rows:
        small = [dataclasses.replace(row_of(name, 1.0), floor=None, peak_memory=None) for name in (GENKERN, EAGER)]
        results.save(folder / "machine.json", results_of(*small[:rows]))
    read = _read(folder, tmp_path / "page.html")
    assert not read.open and not read.errors
    assert ("gaussian_kl" in {cells[0] for cells in read.rows}) == (rows > 0)
    assert ("No results are recorded yet" in read.text) == (rows == 0)


def test_a_browser_shows_the_page_and_asks_for_nothing(folder: Path, tmp_path: Path) -> None:
    """Pictures are decoded, a click sorts, a word filters, and a narrow window needs no scrolling sideways."""
    found = _browse(folder, tmp_path, width=500)
    assert found["images"] == [True] * (3 * plot.available())
    assert all(name.startswith("data:") for name in found["resources"])
    assert found["sorted"] == ["mmd", "gaussian_kl"] and found["filtered"] == ["mmd"]
    assert not found["violations"] and found["sideways"] == 0


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two operations of one machine, and two chapters, one of which has a picture."""
    kl = [row_of(GENKERN, 2e-3), row_of(EAGER, 7e-3), row_of(COMPILE, 1e-3)]
    rows = [*kl, *(dataclasses.replace(row_of(rival, 1e-4), op="mmd", floor=None) for rival in (GENKERN, EAGER))]
    folder = tmp_path / "results"
    results.save(folder / "machine.json", results_of(*rows))
    write(folder / "memory" / "machine.json", json.dumps(MEMORY))
    write(folder / "drop_in" / "machine.json", json.dumps(DROP_IN))
    return folder


_PROBE = """
<script>
const probe = { violations: [] };
addEventListener("securitypolicyviolation", (event) => probe.violations.push(event.blockedURI));
addEventListener("load", async () => {
  const images = [...document.images];
  await Promise.all(images.map((image) => image.decode().catch(() => null)));
  probe.images = images.map((image) => image.naturalWidth > 0);
  probe.resources = performance.getEntriesByType("resource").map((entry) => entry.name);
  probe.sideways = document.documentElement.scrollWidth - document.documentElement.clientWidth;
  const table = document.querySelector("details table");
  const names = () =>
    [...table.tBodies[0].rows].filter((row) => !row.hidden).map((row) => row.cells[0].textContent);
  table.tHead.rows[0].cells[2].firstChild.click();
  probe.sorted = names();
  const input = document.querySelector("input.filter");
  input.value = "mixture";
  input.dispatchEvent(new Event("input"));
  probe.filtered = names();
  document.body.dataset.probe = JSON.stringify(probe);
});
</script>
"""


def _browse(folder: Path, tmp_path: Path, width: int) -> dict[str, Any]:
    names = ("chromium", "chromium-browser", "google-chrome")
    browser = next(filter(None, map(shutil.which, names)), None)
    if browser is None:
        pytest.skip("chromium is not installed")
    path = tmp_path / "page.html"
    page.write(folder, path)
    # Before the page's own scripts, so that nothing that it asks for is missed.
    path.write_text(path.read_text(encoding="utf-8").replace("</head>", f"{_PROBE}</head>"), encoding="utf-8")
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    options += ["--host-resolver-rules=MAP * ~NOTFOUND", f"--user-data-dir={tmp_path / 'profile'}"]
    options += [f"--window-size={width},900", "--virtual-time-budget=10000", "--dump-dom", path.as_uri()]
    done = subprocess.run([browser, *options], capture_output=True, text=True, timeout=120, check=True)
    shown = re.search(r'data-probe="([^"]*)"', done.stdout)
    assert shown, done.stderr
    found: dict[str, Any] = json.loads(html.unescape(shown[1]))
    return found


class _Page(HTMLParser):
    """What a browser would find: what is left open, addresses, the cells of every row."""

    _VOID = frozenset({"meta", "link", "img", "br", "wbr", "input"})
    _ADDRESSES = frozenset({"src", "href", "srcset", "data", "action", "poster", "xlink:href"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text
        self.open: list[str] = []
        self.errors: list[str] = []
        self.addresses: list[str] = []
        self.images: list[str] = []
        self.ids: set[str] = set()
        self.rows: list[list[str]] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self.addresses += [values[name] for name in self._ADDRESSES & values.keys()]
        self.images += [values["src"]] if tag == "img" else []
        if values.get("id") in self.ids:
            self.errors.append(f"two of {values['id']}")
        self.ids |= {values["id"]} if "id" in values else set()
        if tag not in self._VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open[-1] != tag:
            self.errors.append(f"</{tag}> closes {self.open[-1:]}")
        else:
            self.open.pop()

    def handle_data(self, data: str) -> None:
        if {"td", "th"} & set(self.open):
            self.rows[-1][-1] += data


def _read(folder: Path, path: Path) -> _Page:
    page.write(folder, path)
    assert [file.name for file in path.parent.glob("page*")] == [path.name]
    return _Page(path.read_text(encoding="utf-8"))
