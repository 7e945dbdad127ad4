"""Write what benchmarks/results holds into README.md and docs, draw the pictures, and put all of it on one page.

python -m benchmarks.report [--check] [--results FOLDER] [--root FOLDER] [--html FILE]
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks import highlights, page, plot, predictions, results, tables, verdicts
from benchmarks.chapter import Chapter, Measured
from benchmarks.chapters import CHAPTERS
from benchmarks.results import FOLDER, Results

BEGIN, END = "<!-- benchmarks:start -->", "<!-- benchmarks:end -->"
_ROOT = Path(__file__).parents[1]


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code 0; 1 where a page is not what the files say (with --check); 2 where something cannot be read."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.report", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing; fail where a page differs from the files")
    parser.add_argument("--results", type=Path, default=FOLDER, metavar="FOLDER", help="where the JSON files lie")
    parser.add_argument("--root", type=Path, default=_ROOT, metavar="FOLDER", help="where README.md and docs lie")
    parser.add_argument("--html", type=Path, metavar="FILE", help="the page (default: build/benchmarks.html)")
    options = parser.parse_args(argv)
    html = options.html or options.root / "build" / "benchmarks.html"
    try:
        machines = [results.load(path) for path in sorted(options.results.glob("*.json"))]
        texts, new = _pages(machines, options.results, options.root, draw=not options.check)
        stale = [path for path in texts if new[path] != texts[path]]
        if options.check:
            for path in stale:
                print(f"{path.name}: not what the result files say; run `python -m benchmarks.report`", file=sys.stderr)
            return 1 if stale else 0
        for path in stale:
            results.write(path, new[path])
        page.write(options.results, html)
    except (OSError, ValueError) as error:
        print(f"benchmarks.report: {error}", file=sys.stderr)
        return 2
    print(f"{len(machines)} machine(s); written: {', '.join(path.name for path in stale) or 'nothing, all is current'}")
    print(html)
    return 0


def replace_block(name: str, text: str, block: str, begin: str = BEGIN, end: str = END) -> str:
    """`text` with `block` between the markers, which stay; ValueError unless there is one pair of them."""
    before, opened, rest = text.partition(begin)
    _, closed, after = rest.partition(end)
    if not opened or not closed or begin in rest or end in before + after:
        raise ValueError(f"{name}: expected one pair of {begin} and {end}")
    return f"{before}{begin}\n{block.strip()}\n{end}{after}"


def _pages(
    machines: Sequence[Results], folder: Path, root: Path, draw: bool
) -> tuple[dict[Path, str], dict[Path, str]]:
    """What they hold and what they should hold, of pictures that are drawn on the way."""
    if draw and not plot.available():
        print("matplotlib is not installed: no pictures", file=sys.stderr)
        draw = False
    if draw:
        highlights.draw(machines, root)
    readme, performance = root / "README.md", root / "docs" / "performance.md"
    every = root / "benchmarks" / "results" / "README.md"

    def of_machine(found: Results) -> dict[str, str]:
        if draw:
            plot.draw(found, folder)
        paths = {shown.title: shown.path(found, folder) for shown in plot.PLOTS}
        return {title: _address(path, every) for title, path in paths.items() if path.exists()}

    blocks = [
        (readme, highlights.table(machines), BEGIN, END),
        (performance, tables.summaries(machines), BEGIN, END),
        (performance, tables.short(machines), "<!-- operations:start -->", "<!-- operations:end -->"),
        (performance, tables.moved(), "<!-- bytes:start -->", "<!-- bytes:end -->"),
        (performance, verdicts.block(machines), verdicts.BEGIN, verdicts.END),
        (every, tables.full(machines, of_machine), BEGIN, END),
        (every.with_name("cuda.md"), predictions.table(machines), predictions.BEGIN, predictions.END),
    ]
    for chapter in CHAPTERS:
        path = root / chapter.page
        blocks.append((path, chapter.tell(folder, _drawer(chapter, path, draw)), chapter.begin, chapter.end))
    texts = {path: path.read_text(encoding="utf-8") for path, *_ in blocks}
    new = dict(texts)
    for path, block, begin, end in blocks:
        new[path] = replace_block(path.name, new[path], block, begin, end)
    return texts, new


def _drawer(chapter: Chapter, page: Path, draw: bool) -> Callable[[Path, Measured], str | None]:
    """Of a chapter's picture, which lies beside its file."""

    def picture(path: Path, measured: Measured) -> str | None:
        drawn = path.with_suffix(".png")
        if draw and chapter.draw:
            chapter.draw(measured, drawn)
        return _address(drawn, page) if drawn.exists() else None

    return picture


def _address(picture: Path, page: Path) -> str:
    return Path(os.path.relpath(picture, page.parent)).as_posix()


if __name__ == "__main__":
    sys.exit(main())
