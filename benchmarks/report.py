"""Write what benchmarks/results holds into README.md and docs/performance.md, and draw the plots.

python -m benchmarks.report [--check] [--results FOLDER] [--root FOLDER]
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks import plot, tables
from benchmarks.results import FOLDER, Results, load

BEGIN, END = "<!-- benchmarks:start -->", "<!-- benchmarks:end -->"
_ROOT = Path(__file__).parents[1]


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code 0; 1 where a page is not what the files say (with --check); 2 where something cannot be read."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.report", description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing; fail where a page differs from the files")
    parser.add_argument("--results", type=Path, default=FOLDER, metavar="FOLDER", help="where the JSON files lie")
    parser.add_argument("--root", type=Path, default=_ROOT, metavar="FOLDER", help="where README.md and docs lie")
    options = parser.parse_args(argv)
    try:
        machines = [load(path) for path in sorted(options.results.glob("*.json"))]
        if not options.check:
            _draw(machines, options.results)
        pages = _pages(machines, options.results, options.root)
        texts = {path: path.read_text(encoding="utf-8") for path in pages}
        new = {path: replace_block(path.name, texts[path], block) for path, block in pages.items()}
    except (OSError, ValueError) as error:
        print(f"benchmarks.report: {error}", file=sys.stderr)
        return 2
    stale = [path for path in pages if new[path] != texts[path]]
    if options.check:
        for path in stale:
            print(f"{path.name}: not what the result files say; run `python -m benchmarks.report`", file=sys.stderr)
        return 1 if stale else 0
    for path in stale:
        beside = path.with_name(f"{path.name}.part")
        beside.write_text(new[path], encoding="utf-8")
        os.replace(beside, path)
    print(f"{len(machines)} machine(s); written: {', '.join(path.name for path in stale) or 'nothing, all is current'}")
    return 0


def replace_block(name: str, text: str, block: str, begin: str = BEGIN, end: str = END) -> str:
    """`text` with `block` between the markers, which stay; ValueError unless there is one pair of them."""
    before, opened, rest = text.partition(begin)
    _, closed, after = rest.partition(end)
    if not opened or not closed or begin in rest or end in before + after:
        raise ValueError(f"{name}: expected one pair of {begin} and {end}")
    return f"{before}{begin}\n{block.strip()}\n{end}{after}"


def _pages(machines: Sequence[Results], folder: Path, root: Path) -> dict[Path, str]:
    def picture(name: str) -> str | None:
        path = folder / f"{name}.png"
        return Path(os.path.relpath(path, root / "docs")).as_posix() if path.exists() else None

    return {
        root / "README.md": tables.short(machines),
        root / "docs" / "performance.md": tables.full(machines, picture),
    }


def _draw(machines: Sequence[Results], folder: Path) -> None:
    for results in machines:
        try:
            plot.draw(results, folder / f"{results.machine['name']}.png")
        except ImportError:
            print("matplotlib is not installed: no plots", file=sys.stderr)
            return


if __name__ == "__main__":
    sys.exit(main())
