"""Speed-up by size as a picture."""

from __future__ import annotations

import math
import os
from pathlib import Path

from benchmarks.cases import GENKERN
from benchmarks.machine import title
from benchmarks.results import Results, Row, speedup

_PANELS = ("eager", "torch.distributions", "torch.compile")
# Okabe and Ito's palette and four of Tol's, told apart with any colour vision; markers differ, too.
_STYLES = [
    ("#0072B2", "o"),
    ("#E69F00", "s"),
    ("#009E73", "^"),
    ("#D55E00", "D"),
    ("#CC79A7", "v"),
    ("#56B4E9", "P"),
    ("#000000", "X"),
    ("#999999", "<"),
    ("#882255", ">"),
    ("#44AA99", "p"),
    ("#332288", "*"),
]


def draw(results: Results, path: Path) -> bool:
    """The plot of forward and backward, float32, one thread; False where nothing of that is recorded."""
    from matplotlib.figure import Figure

    lines = {panel: _lines(results, panel) for panel in _PANELS}
    panels = [panel for panel in _PANELS if lines[panel]]
    if not panels:
        return False
    ops = list(dict.fromkeys(row.op for row in results.rows))
    figure = Figure(figsize=(4.2 * len(panels), 4.4), layout="constrained")
    axes = figure.subplots(1, len(panels), sharex=True, sharey=True, squeeze=False)[0]
    for ax, panel in zip(axes, panels, strict=True):
        for op, points in lines[panel].items():
            color, marker = _STYLES[ops.index(op) % len(_STYLES)]
            ax.plot(*zip(*points, strict=True), color=color, marker=marker, label=op, linewidth=1.6, markersize=6)
        ax.axhline(1, color="0.35", linewidth=1, linestyle="--")
        ax.set(xscale="log", title=f"against {panel}", xlabel="elements")
        ax.set_yscale("log", base=2)
        ax.yaxis.set_major_formatter(lambda value, _: f"{value:g}×")
        ax.grid(True, which="major", color="0.9")
        ax.set_axisbelow(True)
        ax.spines[["top", "right"]].set_visible(False)
    axes[0].set_ylabel("times faster, forward and backward")
    # One legend for all panels; an operation may have points in one and none in another.
    handles = {label: handle for ax in axes for handle, label in zip(*ax.get_legend_handles_labels(), strict=True)}
    figure.legend(handles.values(), handles, loc="outside lower center", ncols=3, frameon=False)
    threads = "" if "gpu" in results.machine else "1 thread, "
    figure.suptitle(f"{title(results.machine)}; {threads}float32", fontsize=11)
    beside = path.with_name(f"{path.stem}.part.png")
    figure.savefig(beside, dpi=144, metadata={"Software": None})
    os.replace(beside, path)
    return True


def _lines(results: Results, rival: str) -> dict[str, list[tuple[int, float]]]:
    """Points of each operation by size; where the spread does not allow a ratio, the line has a gap."""
    problems: dict[tuple, dict[str, Row]] = {}
    for row in results.rows:
        if row.threads == 1 and row.dtype == "float32" and row.mode == "forward_backward":
            problems.setdefault(row.problem, {})[row.rival] = row
    lines: dict[str, list[tuple[int, float]]] = {}
    for contestants in problems.values():
        own = contestants.get(GENKERN)
        ratio = speedup(own, contestants.get(rival))
        if own is not None and rival in contestants:
            lines.setdefault(own.op, []).append((own.numel, math.nan if ratio is None else ratio))
    return {op: sorted(points) for op, points in lines.items() if not all(math.isnan(y) for _, y in points)}
