"""Cost growth: the time an element takes, from ten thousand elements to a hundred million.

python -m benchmarks.growth [--family gan] [--largest N]   measures; benchmarks.report writes the tables
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from benchmarks import machine, plot
from benchmarks.cases import COPY, GENKERN, OPERATIONS, Case, Operation, Shape, step
from benchmarks.chapter import Chapter, Measured, provenance
from benchmarks.measure import alternate
from benchmarks.results import FOLDER

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Elements, and rounds: a large call takes up to a second, and varies less.
_ROUNDS = {10**4: 21, 10**5: 21, 10**6: 11, 10**7: 5, 10**8: 3}
# Below, what a call takes of its own is a large part of the time.
_GROWTH_FROM = 10**5
# Images: statistics over a batch need one. Tensors: a training step updates several.
_FEWEST = 4

_COPY = Operation(
    COPY,
    COPY,
    lambda shape, dtype: (torch.zeros(shape, dtype=dtype), torch.zeros(shape, dtype=dtype)),
    lambda target, source: (target.copy_(source),),
    rivals={},
    moved=(2, 0),
    modes=("forward",),
)
_CLONE = Operation(
    "clone",
    COPY,
    lambda shape, dtype: (torch.zeros(shape, dtype=dtype),),
    lambda source: (source.clone(),),
    rivals={},
    moved=(2, 0),
    modes=("forward",),
)
"""The same into memory that is new, as a result's is: what the system takes for its pages shows."""
_MEASURED = {op.name: op for op in (_COPY, _CLONE, *OPERATIONS)}

_COPIES = (("--", "copy"), (":", "clone: a copy into new memory"))


def main(argv: Sequence[str] | None = None) -> int:
    families = list(dict.fromkeys(op.family for op in OPERATIONS))
    parser = argparse.ArgumentParser(prog="python -m benchmarks.growth", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--family", choices=families, help="default: all")
    parser.add_argument("--largest", type=int, default=max(_ROUNDS), metavar="N", help="elements (default: 10⁸)")
    parser.add_argument("--memory", type=float, default=16, metavar="GIB", help="of a step, at most (default: 16)")
    parser.add_argument(
        "--results", type=Path, default=FOLDER, metavar="FOLDER", help="where growth/<machine>.json goes"
    )
    options = parser.parse_args(argv)
    sizes = [numel for numel in _ROUNDS if numel <= options.largest]
    ops = [op for op in _MEASURED.values() if options.family in (None, op.family) or op.family == COPY]
    curves = [_curve(op, sizes, options.memory * 2**30) for op in ops]
    print(CHAPTER.keep(options.results, {"curves": curves}))
    print("tables: python -m benchmarks.report")
    return 0


def shape_for(op: Operation, numel: int) -> Shape:
    """About `numel` elements, as the operation's own large shape has them.

    Of pairs both sets grow. Of all others the batch does, with sizes as they are; what is too small for a batch of four
    has smaller images, or shorter tensors.
    """
    _, *sizes = op.shapes["large"][0]
    if op.of_pairs:
        points = round(math.sqrt(numel / sizes[-1]))
        return points, points, sizes[-1]
    of_one = math.prod(sizes)
    if numel >= _FEWEST * of_one:
        return round(numel / of_one), *sizes
    kept = sizes[: len(sizes) // 2]  # of an image, the channels
    factor = (numel / (_FEWEST * of_one)) ** (1 / (len(sizes) - len(kept)))
    return _FEWEST, *kept, *(round(factor * size) for size in sizes[len(kept) :])


def _curve(op: Operation, sizes: Sequence[int], memory: float) -> dict[str, Any]:
    mode, points = op.modes[-1], []
    # A process a point, forked from one that has allocated nothing. Else an output may lie in pages that inputs of the
    # point before it have left, and the system's part in its time would come and go with the order of points.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["benchmarks.cases"])
    for numel in sizes:
        case = Case(op, "large", shape_for(op, numel), torch.float32, mode)
        held = case.bytes_per_element * case.numel  # at most: all that is read or written, as if none were freed
        if held > memory:
            print(f"{case}: left out, {held / 2**30:.3g} GiB", flush=True)
            continue
        with ProcessPoolExecutor(1, context) as process:
            points.append(process.submit(_point, op.name, case.shape, mode, _ROUNDS[numel]).result())
        print(f"{case}: {_nanoseconds(points[-1]):.3g} ns an element", flush=True)
    return {"op": op.name, "family": op.family, "mode": mode, "points": points}


def _point(name: str, shape: Shape, mode: str, rounds: int) -> dict[str, Any]:
    torch.set_num_threads(1)
    # glibc gives a block back to the system at once where it is larger than any that was freed before, and always above
    # 32 MiB: here as in a program that has freed such a one.
    torch.empty(2**23 - 2**16)
    op = _MEASURED[name]
    inputs = op.make_inputs(shape, torch.float32)
    timing = alternate({GENKERN: step(op.genkern, inputs, mode)}, rounds)[GENKERN]
    return {"shape": list(shape), "numel": torch.Size(shape).numel(), **asdict(timing)}


def _nanoseconds(point: dict[str, Any]) -> float:
    """An element's."""
    return point["median"] / point["numel"] * 1e9


def draw(measured: Measured, path: Path) -> None:
    """A panel a family, with the same two copies in each."""
    from matplotlib.figure import Figure

    lines: dict[str, list[dict[str, Any]]] = {}
    for curve in measured["curves"]:
        lines.setdefault(curve["family"], []).append(curve)
    copies = lines.pop(COPY)
    columns = min(3, len(lines))
    rows = math.ceil(len(lines) / columns)
    figure = Figure(figsize=(4.3 * columns, 5.2 * rows + 0.6), layout="constrained")
    axes = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    for ax, (family, curves) in zip(axes.flat, lines.items(), strict=False):
        _panel(ax, curves)
        handles = [
            ax.plot(*_line(curve), color="0.45", linestyle=dashes, label=label, linewidth=1.6, zorder=1)[0]
            for curve, (dashes, label) in zip(copies, _COPIES, strict=True)
        ]
        ax.set(title=family, xlabel="elements")
    for ax in axes[:, 0]:
        ax.set_ylabel("ns an element")
    for ax in axes.flat[len(lines) :]:
        ax.remove()
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False)
    figure.suptitle(f"{machine.title(measured['machine'])}; 1 thread, float32", fontsize=11)
    plot.save(figure, path)


def _panel(ax: Axes, curves: Sequence[dict[str, Any]]) -> None:
    for place, curve in enumerate(curves):
        color, marker = plot.STYLES[place % len(plot.STYLES)]
        ax.plot(*_line(curve), color=color, marker=marker, label=curve["op"], linewidth=1.6, markersize=6)
    ax.set(xscale="log", yscale="log")
    ax.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    ax.tick_params(which="both", labelbottom=True, labelleft=True)
    plot.plain(ax)
    ax.legend(loc="upper left", bbox_to_anchor=(0, -0.16), frameon=False, fontsize=9)


def _line(curve: dict[str, Any]) -> tuple[list[int], list[float]]:
    return [point["numel"] for point in curve["points"]], [_nanoseconds(point) for point in curve["points"]]


def block(measured: Measured, picture: str | None) -> str:
    tables = [{_power(point): _nanoseconds(point) for point in curve["points"]} for curve in measured["curves"]]
    powers = sorted(set().union(*tables))
    header = ["operation", *(f"10{str(power).translate(_RAISED)}" for power in powers), "growth"]
    rows = [
        [_title(curve), *(f"{table[power]:.3g}" if power in table else "–" for power in powers), _growth(table)]
        for curve, table in zip(measured["curves"], tables, strict=True)
    ]
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join(
        [
            f"{provenance(measured)}. Nanoseconds an element, float32, one thread, forward and backward; medians.\n",
            *([f"![Time an element over elements]({picture})\n"] if picture else []),
            *(f"| {' | '.join(cells)} |" for cells in lines),
        ]
    )


_RAISED = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")


def _power(point: dict[str, Any]) -> int:
    return round(math.log10(point["numel"]))


def _title(curve: dict[str, Any]) -> str:
    forward_alone = curve["mode"] == "forward" and curve["family"] != COPY
    return f"`{curve['op']}`{', forward' if forward_alone else ''}"


def _growth(table: dict[int, float]) -> str:
    """The most that an element takes at a size beyond the one where it takes least."""
    times = [table[power] for power in sorted(table) if 10**power >= _GROWTH_FROM]
    if not times:
        return "–"
    least = min(times)
    return f"{max(times[times.index(least) :]) / least:.2f}"


CHAPTER = Chapter("growth", "benchmarks/results/README.md", block, draw)

if __name__ == "__main__":
    sys.exit(main())
