"""The few measurements that README shows, as a table and as a picture."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import plot, tables
from benchmarks.cases import COMPILE, EAGER, GENKERN
from benchmarks.machine import title
from benchmarks.problems import Contestants, longest, problems
from benchmarks.results import Results, speedup

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PICTURE = Path("docs") / "speed-and-memory.png"
_ROWS, _PAIRS = (8192, 512), (1024, 1024, 64)
SHOWN = {
    "gaussian_rsample_kl": _ROWS,
    "gaussian_residual_rsample_kl": _ROWS,
    "gaussian_kl": _ROWS,
    "bernoulli_nll": _ROWS,
    "discretized_gaussian_nll": _ROWS,
    "gan_discriminator_loss_hinge": _ROWS,
    "total_correlation": _PAIRS,
    "mmd": _PAIRS,
}
"""The operations of README, and the shape of each: the head of a VAE, likelihoods of pixels, a GAN, pairs of points."""
_RIVALS = (EAGER, COMPILE)
_COLORS = {GENKERN: plot.STYLES[0][0], EAGER: "0.6", COMPILE: plot.STYLES[1][0]}


def table(machines: Sequence[Results]) -> str:
    """The rows of the machine on which most of SHOWN were measured."""
    found = _chosen(machines)
    if found is None:
        return tables.NOTHING
    results, cases = found
    lines = [
        [
            f"`{case[GENKERN].op}`",
            tables.shape(case[GENKERN].shape),
            tables.format_time(case[GENKERN].median),
            *(tables.ratio(case[GENKERN], case.get(rival)) for rival in _RIVALS),
            *(tables.size(case.get(name)) for name in (GENKERN, *_RIVALS)),
        ]
        for case in cases
    ]
    memory = ["peak memory", *(f"of {rival}" for rival in _RIVALS)]
    header = ["operation", "shape", "genkern", *(f"× {rival}" for rival in _RIVALS), *memory]
    rows = [case[GENKERN] for case in cases]
    where = f"{title(results.machine)}{tables.with_threads(results, 1)}, float32, forward and backward."
    return f"{tables.Table(header, lines).markdown}\n{where} {tables.provenance(results, rows)}\n"


def draw(machines: Sequence[Results], root: Path) -> None:
    """The same as bars, in the file that README shows; nothing where nothing is recorded."""
    if found := _chosen(machines):
        plot.save(_figure(*found), root / PICTURE)


def _chosen(machines: Sequence[Results]) -> tuple[Results, list[Contestants]] | None:
    found = [(results, cases) for results in machines if (cases := _cases(results))]
    return max(found, key=lambda pair: len(pair[1]), default=None)


def _cases(results: Results) -> list[Contestants]:
    rows = [
        row
        for row in longest(results.rows)
        if SHOWN.get(row.op) == row.shape and row.dtype == "float32" and row.threads == 1
    ]
    order = list(SHOWN)
    return sorted(problems(rows), key=lambda case: order.index(case[GENKERN].op))


def _figure(results: Results, cases: Sequence[Contestants]) -> Figure:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 0.42 * len(cases) + 1.5), layout="constrained")
    times, memory = figure.subplots(1, 2, sharey=True)
    ratios = {
        rival: [speedup(case[GENKERN], case[rival]) if rival in case else None for case in cases] for rival in _RIVALS
    }
    sizes = {name: [case[name].peak_memory if name in case else None for case in cases] for name in (GENKERN, *_RIVALS)}
    _bars(times, ratios, tables.UNCLEAR, lambda ratio: f"{ratio:.0f}×" if ratio >= 10 else f"{ratio:.1f}×")
    _bars(
        memory, {name: [peak and peak / 2**20 for peak in peaks] for name, peaks in sizes.items()}, "", "{:,.0f}".format
    )
    times.set_xlabel("times as fast: genkern beside …")
    memory.set_xlabel("MiB that a call adds to its inputs, at its peak")
    times.set_yticks(range(len(cases)), [case[GENKERN].op for case in cases], family="monospace", fontsize=9)
    times.set_ylim(len(cases) - 0.4, -0.6)
    handles, names = memory.get_legend_handles_labels()
    figure.legend(handles, names, loc="outside upper right", ncols=3, frameon=False)
    where = f"{title(results.machine)}{tables.with_threads(results, 1)}, float32, forward and backward"
    figure.suptitle(where, fontsize=10, x=0.01, ha="left")
    return figure


def _bars(
    ax: Axes, values: dict[str, list[float | None]], unknown: str, said: Callable[[float], str], least: float = 1.0
) -> None:
    """A group of bars for each operation, from `least`, or from less where a value is."""
    height = 0.8 / len(values)
    for place, (name, measured) in enumerate(values.items()):
        ys = [y - 0.4 + height * (place + 0.5) for y in range(len(measured))]
        bars = ax.barh(ys, [value or least for value in measured], height * 0.92, color=_COLORS[name], label=name)
        labels = [unknown if value is None else said(value) for value in measured]
        ax.bar_label(bars, labels, padding=3, fontsize=7.5, color="0.35")
        least = min([least, *(0.8 * value for value in measured if value)])
    ax.set_xscale("log")
    ax.margins(x=0.14)
    ax.set_xlim(left=least)
    ax.xaxis.set_major_formatter("{x:g}")
    plot.plain(ax, "x")
