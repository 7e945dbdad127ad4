"""Peak memory over the batch: the three parts of a KL term, forward and backward, by genkern and in eager torch.

python -m benchmarks.memory [--largest B] [--largest-eager B]   measures; benchmarks.report writes the tables
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from benchmarks import machine, plot
from benchmarks.cases import EAGER, GENKERN, OPERATIONS, step
from benchmarks.chapter import Chapter, Measured, provenance, size_text
from benchmarks.measure import peak_memory
from benchmarks.results import FOLDER

_DIMS, _SMALLEST = 64, 128
_STYLES = {GENKERN: plot.STYLES[0], EAGER: plot.STYLES[3]}


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.memory", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--largest", type=int, default=16384, metavar="B", help="of genkern (default: 16384)")
    parser.add_argument("--largest-eager", type=int, default=1024, metavar="B", help="2048 takes 10 GB (default: 1024)")
    parser.add_argument(
        "--results", type=Path, default=FOLDER, metavar="FOLDER", help="where memory/<machine>.json goes"
    )
    options = parser.parse_args(argv)
    found = {GENKERN: _curve(GENKERN, options.largest), EAGER: _curve(EAGER, options.largest_eager)}
    if any(peak is None for points in found.values() for _, peak in points):
        print("benchmarks.memory: the system does not tell a process its peak memory", file=sys.stderr)
        return 2
    print(CHAPTER.keep(options.results, {"dims": _DIMS, "peaks": found}))
    print("tables: python -m benchmarks.report")
    return 0


def _curve(contestant: str, largest: int) -> list[tuple[int, int | None]]:
    """Bytes that a call adds, for batches that double."""
    op = next(op for op in OPERATIONS if op.name == "total_correlation")
    formula = op.genkern if contestant == GENKERN else op.rivals[contestant]
    points = []
    for doubled in range(round(math.log2(largest / _SMALLEST)) + 1):
        batch = _SMALLEST << doubled
        inputs = op.make_inputs((batch, batch, _DIMS), torch.float32)
        points.append((batch, peak_memory(step(formula, inputs, "forward_backward"))))
        print(f"{contestant}, B = {batch}: {size_text(points[-1][1])}", flush=True)
    return points


def draw(measured: Measured, path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4.2), layout="constrained")
    ax = figure.subplots()
    for contestant, points in measured["peaks"].items():
        color, marker = _STYLES[contestant]
        ax.plot(*zip(*points, strict=True), color=color, marker=marker, label=contestant, linewidth=1.6, markersize=6)
    ax.set(xlabel="batch", ylabel="peak memory of a call")
    ax.set_xscale("log", base=2)
    ax.set_yscale("log", base=2)
    ax.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    ax.yaxis.set_major_formatter(lambda value, _: size_text(value))
    plot.plain(ax)
    ax.legend(frameon=False)
    figure.suptitle(
        f"total_correlation, forward and backward, D = {measured['dims']}, float32\n"
        f"{machine.title(measured['machine'])}",
        fontsize=11,
    )
    plot.save(figure, path)


def block(measured: Measured, picture: str | None) -> str:
    peaks = {name: dict(points) for name, points in measured["peaks"].items()}
    batches = sorted(set().union(*peaks.values()))
    rows = [[str(b), *(size_text(points.get(b)) for points in peaks.values())] for b in batches]
    header = ["batch", *peaks]
    lines = [header, ["---:"] * len(header), *rows]
    return "\n".join(
        [
            *([f"![Peak memory over the batch]({picture})\n"] if picture else []),
            f"{provenance(measured)}.\n",
            *(f"| {' | '.join(cells)} |" for cells in lines),
        ]
    )


CHAPTER = Chapter("memory", "docs/performance.md", block, draw)

if __name__ == "__main__":
    sys.exit(main())
