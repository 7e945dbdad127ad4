"""Peak memory over the batch: the three parts of a KL term, forward and backward, by genkern and in eager torch.

python -m benchmarks.memory [--largest B] [--largest-eager B]   measures, and draws what it measured
python -m benchmarks.memory --draw                              draws what is recorded
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks import machine
from benchmarks.cases import EAGER, GENKERN, OPERATIONS, step
from benchmarks.measure import peak_memory
from benchmarks.report import replace_block
from benchmarks.results import FOLDER

BEGIN, END = "<!-- memory:start -->", "<!-- memory:end -->"
_ROOT = Path(__file__).parents[1]
_DIMS, _SMALLEST = 64, 128
_STYLES = {GENKERN: ("#0072B2", "o"), EAGER: ("#D55E00", "D")}


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.memory", description=__doc__.splitlines()[0])
    parser.add_argument("--largest", type=int, default=16384, metavar="B", help="of genkern (default: 16384)")
    parser.add_argument("--largest-eager", type=int, default=1024, metavar="B", help="2048 takes 10 GB (default: 1024)")
    parser.add_argument("--results", type=Path, default=FOLDER / "memory", metavar="FOLDER", help="where the JSON lies")
    parser.add_argument("--root", type=Path, default=_ROOT, metavar="FOLDER", help="where docs lies")
    parser.add_argument("--draw", action="store_true", help="measure nothing")
    options = parser.parse_args(argv)
    path = options.results / f"{machine.describe()['name']}.json"
    if not options.draw:
        found = {GENKERN: _curve(GENKERN, options.largest), EAGER: _curve(EAGER, options.largest_eager)}
        if any(peak is None for points in found.values() for _, peak in points):
            print("benchmarks.memory: the system does not tell a process its peak memory", file=sys.stderr)
            return 2
        measured = {"machine": machine.describe(), "run": machine.describe_run(), "dims": _DIMS, "peaks": found}
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(measured, indent=2) + "\n", encoding="utf-8")
    elif not path.exists():
        print(f"benchmarks.memory: nothing is recorded in {path}", file=sys.stderr)
        return 2
    measured = json.loads(path.read_text(encoding="utf-8"))
    picture, page = options.root / "docs" / "memory-over-batch.png", options.root / "docs" / "performance.md"
    draw(measured, picture)
    text = page.read_text(encoding="utf-8")
    page.write_text(replace_block(page.name, text, block(measured, picture.name), BEGIN, END), encoding="utf-8")
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
        print(f"{contestant}, B = {batch}: {_text(points[-1][1])}", flush=True)
    return points


def draw(measured: dict[str, Any], path: Path) -> None:
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
    ax.yaxis.set_major_formatter(lambda value, _: _text(value))
    ax.grid(True, which="major", color="0.9")
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(frameon=False)
    figure.suptitle(
        f"total_correlation, forward and backward, D = {measured['dims']}, float32\n"
        f"{machine.title(measured['machine'])}",
        fontsize=11,
    )
    beside = path.with_name(f"{path.stem}.part.png")
    figure.savefig(beside, dpi=144, metadata={"Software": None})
    os.replace(beside, path)


def block(measured: dict[str, Any], picture: str) -> str:
    peaks = {name: dict(points) for name, points in measured["peaks"].items()}
    run, batches = measured["run"], sorted(set().union(*peaks.values()))
    rows = [[str(b), *(_text(points.get(b)) for points in peaks.values())] for b in batches]
    header = ["batch", *peaks]
    lines = [header, ["---:"] * len(header), *rows]
    return "\n".join(
        [
            f"![Peak memory over the batch]({picture})\n",
            f"{machine.title(measured['machine'])}; torch {run['versions']['torch']}, genkern "
            f"{run['versions']['genkern']} at {run['commit']}, {run['date'][:10]}.\n",
            *(f"| {' | '.join(cells)} |" for cells in lines),
        ]
    )


def _text(size: float | None) -> str:
    if size is None:
        return "–"
    return f"{size / 2**30:.3g} GiB" if size >= 2**30 else f"{size / 2**20:.3g} MiB"


if __name__ == "__main__":
    sys.exit(main())
