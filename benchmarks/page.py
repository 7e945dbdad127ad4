"""A folder of results as one page of HTML, which opens from a file, without a network."""

from __future__ import annotations

import html
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks import markup, plot, results, tables
from benchmarks.chapter import Chapter, Measured
from benchmarks.chapters import CHAPTERS
from benchmarks.machine import title
from benchmarks.problems import others, problems, ratios
from benchmarks.results import Results

_HOW = (
    "Every figure is a ratio measured side by side in one run: in each round every contestant has its turn, in random "
    "order; kept are the median over rounds and the 20 % and 80 % quantiles. Inputs are leaves that require gradients, "
    "gradients are dense and random, and noise is drawn inside the timed region on all sides. `eager` is the formula "
    "as people write it by hand; `torch.compile` compiles that formula, and its compile time is stated apart."
)
# Whatever a result or a chapter may say, a browser that opens the page fetches nothing.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"


def write(folder: Path, path: Path) -> None:
    """The machines of `folder` and, in the folders in it, its chapters. ValueError names a file that is none."""
    machines = [results.load(file) for file in sorted(folder.glob("*.json"))]
    with tempfile.TemporaryDirectory(prefix="genkern-page-") as drawn:
        parts = [_machine(found, Path(drawn)) for found in machines]
        chapters = [chapter for chapter in CHAPTERS if chapter.files(folder)]
        parts += [_chapter(chapter, folder, Path(drawn)) for chapter in chapters]
    if machines:
        parts.append(_section("versions", "Versions and commits", markup.of_table(tables.runs(machines))))
    links = [(found.machine["name"], title(found.machine)) for found in machines]
    links += [(chapter.name, chapter.title) for chapter in chapters]
    links += [("versions", "Versions")] if machines else []
    results.write(path, _document(machines, links, "".join(parts)))


def _document(machines: Sequence[Results], links: Sequence[tuple[str, str]], body: str) -> str:
    where = " · ".join(title(found.machine) for found in machines) or tables.NOTHING
    how = _section("how", "How it is measured", _text(f"{_HOW}\n\n{tables.LEGEND}"))
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n<link rel="icon" href="data:,">\n'
        f"<title>genkern benchmarks</title>\n<style>\n{_beside('.css')}</style>\n</head>\n<body>\n"
        f"<header>\n<h1>genkern benchmarks</h1>\n{_text(where)}<nav>"
        + " ".join(f'<a href="#{html.escape(to)}">{html.escape(name)}</a>' for to, name in [("how", "Method"), *links])
        + f"</nav>\n</header>\n<main>\n{how}{body}</main>\n<script>\n{_beside('.js')}</script>\n</body>\n</html>\n"
    )


def _machine(found: Results, drawn: Path) -> str:
    parts = [_verdicts(found), "<h3>By family</h3>\n", _text(tables.SUMMARY), markup.of_table(tables.summary(found))]
    if plot.available():
        for shown, path in plot.draw(found, drawn, "svg").items():
            parts.append(f"<figure>{markup.picture(path, shown)}</figure>\n")
    else:
        parts.append(_text("There are no pictures: matplotlib is not installed."))
    for section in tables.sections(found):
        parts.append(
            f"<details open>\n<summary><h3>{html.escape(section.title)}</h3></summary>\n"
            f"{_text(section.note)}{markup.of_table(section.table)}</details>\n"
        )
    if note := tables.compile_note(found):
        parts.append(_text(note))
    return _section(found.machine["name"], title(found.machine), "".join(parts))


def _verdicts(found: Results) -> str:
    """How often genkern was faster, and how often it was not."""
    lines = []
    for rival in others(found.rows):
        measured = ratios(found.rows, rival)
        counts = {
            "faster": sum(ratio is not None and ratio > 1 for ratio in measured),
            "unclear": measured.count(None),
            "slower": sum(ratio is not None and ratio <= 1 for ratio in measured),
        }
        parts = "".join(f'<i class="{name}" style="flex-grow: {n}"></i>' for name, n in counts.items() if n)
        said = ", ".join(f"{n} {name}" for name, n in counts.items() if n)
        lines.append(f'<dt>{html.escape(rival)}</dt>\n<dd><span class="bar">{parts}</span> <span>{said}</span></dd>\n')
    cases = len(problems(found.rows))
    operations = len({row.op for row in found.rows})
    heading = f"genkern in {cases} case{'s' * (cases != 1)} of {operations} operation{'s' * (operations != 1)}, against"
    return f'<h3>{heading}</h3>\n<dl class="verdicts">\n{"".join(lines)}</dl>\n' if lines else ""


def _chapter(chapter: Chapter, folder: Path, drawn: Path) -> str:
    pictures: dict[str, str] = {}

    def picture(path: Path, measured: Measured) -> str | None:
        if not chapter.draw or not plot.available():
            return None
        file = drawn / f"{chapter.name}-{path.stem}.svg"
        chapter.draw(measured, file)
        if not file.exists():
            return None
        pictures[file.name] = markup.picture(file, chapter.title)
        return file.name

    text = chapter.tell(folder, picture)
    return _section(chapter.name, chapter.title, _text(CHAPTERS[chapter]) + markup.of_markdown(text, pictures))


def _section(name: str, heading: str, body: str) -> str:
    return f'<section id="{html.escape(name)}">\n<h2>{html.escape(heading)}</h2>\n{body}</section>\n'


def _text(paragraphs: str) -> str:
    return markup.of_markdown(paragraphs, {})


def _beside(suffix: str) -> str:
    return Path(__file__).with_suffix(suffix).read_text(encoding="utf-8")
