"""Results as pictures: speed-up by size, and how near large shapes come to the floor."""

from __future__ import annotations

import importlib.util
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from benchmarks.cases import GENKERN, OPERATIONS
from benchmarks.machine import title
from benchmarks.problems import families, family, longest, others, place, problems, ratios, share_of_floor
from benchmarks.results import Results, Row, speedup
from benchmarks.tables import with_threads

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's palette, told apart with any colour vision; markers differ, too.
STYLES = (
    ("#0072B2", "o"),
    ("#E69F00", "s"),
    ("#009E73", "^"),
    ("#D55E00", "D"),
    ("#CC79A7", "v"),
    ("#56B4E9", "P"),
    ("#000000", "X"),
    ("#999999", "<"),
)
_MODES = {"forward": "forward", "forward_backward": "forward and backward"}
_TARGET = 70
"""Per cent of the floor that large shapes are to reach on a CPU."""


@dataclass(frozen=True)
class Plot:
    """`figure` gives None where nothing of it is recorded; the file is the machine's name with `suffix`."""

    suffix: str
    title: str
    figure: Callable[[Results], Figure | None]

    def path(self, results: Results, folder: Path, kind: str = "png") -> Path:
        return folder / f"{results.machine['name']}{self.suffix}.{kind}"


def available() -> bool:
    return importlib.util.find_spec("matplotlib") is not None


def draw(results: Results, folder: Path, kind: str = "png") -> dict[str, Path]:
    """Every plot of which something is recorded, by title."""
    drawn = {}
    for plot in PLOTS:
        if figure := plot.figure(results):
            drawn[plot.title] = plot.path(results, folder, kind)
            save(figure, drawn[plot.title])
    return drawn


def save(figure: Figure, path: Path) -> None:
    """In the format of the name; beside and renamed. The same figure is the same file, whenever it is drawn."""
    from matplotlib import rc_context

    beside = path.with_name(f"{path.stem}.part{path.suffix}")
    keys = ("Creator", "Date", "Format", "Type") if path.suffix == ".svg" else ("Software",)
    with rc_context({"svg.hashsalt": "genkern"}):
        figure.savefig(beside, dpi=144, metadata=dict.fromkeys(keys))
    os.replace(beside, path)


def plain(ax: Axes, grid: Literal["both", "x", "y"] = "both") -> None:
    """Thin lines behind what is drawn, and no frame."""
    ax.grid(True, which="major", axis=grid, color="0.9")
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)


def speedups(results: Results) -> Figure | None:
    """Families below each other, rivals side by side; float32."""
    from matplotlib.figure import Figure

    rows = longest(_on_fewest_threads(results))
    columns = [name for name in others(rows) if any(ratios(rows, name))]
    lines = {name: [row for row in rows if family(row) == name] for name in families(rows)}
    lines = {name: found for name, found in lines.items() if any(any(ratios(found, rival)) for rival in columns)}
    if not lines:
        return None
    figure = Figure(figsize=(2.55 * len(columns) + 3.2, 2.1 * len(lines) + 0.9), layout="constrained")
    grid = figure.subplots(len(lines), len(columns), sharex=True, sharey="row", squeeze=False)
    for axes, (name, found) in zip(grid, lines.items(), strict=True):
        _family(axes, name, found, columns)
    for ax, rival in zip(grid[0], columns, strict=True):
        ax.set_title(f"× {rival}", fontsize=11)
    for ax in grid[-1]:
        ax.set_xlabel("elements")
    figure.suptitle(
        f"Times faster, forward and backward, by size. {_where(results, rows)}", fontsize=11, x=0.01, ha="left"
    )
    return figure


def floors(results: Results) -> Figure | None:
    """Large shapes in float32, operation by operation."""
    from matplotlib.figure import Figure

    rows = [row for row in _on_fewest_threads(results) if row.size == "large" and row.rival == GENKERN]
    shares: dict[str, dict[str, float]] = {}
    for row in sorted(rows, key=place):
        if (share := share_of_floor(row)) is not None:
            shares.setdefault(row.op, {})[row.mode] = share
    if not shares:
        return None
    figure = Figure(figsize=(8.6, 0.27 * len(shares) + 1.5), layout="constrained")
    ax = figure.subplots()
    for y, found in enumerate(shares.values()):
        ax.plot([min(found.values()), max(found.values())], [y, y], color="0.8", linewidth=2.5, zorder=1)
    for (mode, label), (color, marker) in zip(_MODES.items(), (STYLES[0], STYLES[3]), strict=True):
        places = [y for y, found in enumerate(shares.values()) if mode in found]
        measured = [found[mode] for found in shares.values() if mode in found]
        if measured:
            ax.scatter(measured, places, color=color, marker=marker, label=label, s=42, zorder=2)
    ax.axvline(100, color="0.35", linewidth=1.2)
    ax.axvline(_TARGET, color="0.35", linewidth=0.8, linestyle=(0, (4, 3)))
    for x, label in ((100, "floor"), (_TARGET, "target")):
        ax.annotate(label, (x, 1), (0, 3), ("data", "axes fraction"), "offset points", ha="center", color="0.35")
    ax.set(xlim=(0, None), ylim=(len(shares) - 0.4, -0.6), yticks=range(len(shares)), xlabel="% of floor")
    ax.set_yticklabels(shares, family="monospace", fontsize=9)
    _mark_families(ax, list(shares), rows)
    plain(ax, "x")
    figure.legend(loc="outside lower center", ncols=2, frameon=False)
    figure.suptitle(f"Large shapes against the floor. {_where(results, rows)}", fontsize=11, x=0.01, ha="left")
    return figure


def _family(axes: Sequence[Axes], name: str, rows: Sequence[Row], columns: Sequence[str]) -> None:
    measured = dict.fromkeys(row.op for row in rows)
    # Colours stay, whatever else of the family was measured.
    ops = list(dict.fromkeys([*(op.name for op in OPERATIONS if op.family == name), *measured]))
    handles: dict[str, Any] = {}
    for ax, rival in zip(axes, columns, strict=True):
        for op in ops:
            points = _points([row for row in rows if row.op == op], rival)
            if any(not math.isnan(y) for _, y in points):
                color, marker = STYLES[ops.index(op) % len(STYLES)]
                (handles[op],) = ax.plot(
                    *zip(*points, strict=True), color=color, marker=marker, linewidth=1.5, markersize=5.5
                )
        if not ax.lines:
            ax.text(0.5, 0.5, "not measured", transform=ax.transAxes, ha="center", va="center", color="0.6")
        ax.axhline(1, color="0.35", linewidth=1, linestyle="--")
        ax.set_xscale("log")
        ax.set_yscale("log", base=2)
        ax.yaxis.set_major_formatter(lambda value, _: f"{value:g}×")
        plain(ax)
    axes[0].set_ylabel(name, fontsize=11, fontweight="bold")
    lowest = axes[0].get_ylim()[0]
    for ax in axes:
        ax.axhspan(lowest, 1, color="0.95", zorder=0)
        ax.set_ylim(bottom=lowest)
    forward = {row.op for row in rows if row.mode == "forward"}
    shown = [op for op in ops if op in handles]
    axes[-1].legend(
        [handles[op] for op in shown],
        [f"{op} (forward)" if op in forward else op for op in shown],
        loc="center left",
        bbox_to_anchor=(1.02, 0.5),
        frameon=False,
        prop={"family": "monospace", "size": 8.5},
    )


def _points(rows: Sequence[Row], rival: str) -> list[tuple[int, float]]:
    """By size; where the spread does not allow a ratio, the line has a gap."""
    found = []
    for contestants in problems(rows):
        if rival in contestants:
            ratio = speedup(contestants[GENKERN], contestants[rival])
            found.append((contestants[GENKERN].numel, math.nan if ratio is None else ratio))
    return sorted(found)


def _mark_families(ax: Axes, ops: Sequence[str], rows: Sequence[Row]) -> None:
    """A line between them, and the name at the first operation of each."""
    of = {row.op: family(row) for row in rows}
    for y, op in enumerate(ops):
        if y and of[ops[y - 1]] != of[op]:
            ax.axhline(y - 0.5, color="0.8", linewidth=0.8)
        if y == 0 or of[ops[y - 1]] != of[op]:
            ax.annotate(of[op], (1.01, y), xycoords=("axes fraction", "data"), va="center", fontweight="bold")


def _on_fewest_threads(results: Results) -> list[Row]:
    """float32; on a CPU one thread, where it was measured."""
    fewest = min((row.threads for row in results.rows), default=1)
    return [row for row in results.rows if row.threads == fewest and row.dtype == "float32"]


def _where(results: Results, rows: Sequence[Row]) -> str:
    return f"{title(results.machine)}{with_threads(results, rows[0].threads)}, float32"


PLOTS = (
    Plot("", "Speed-up by size, forward and backward", speedups),
    Plot("-floor", "Large shapes in % of the floor", floors),
)
