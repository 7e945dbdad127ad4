"""Results as tables: by family and short for docs/performance.md, all for benchmarks/results and the page."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmarks.cases import APART, COMPILE, EAGER, GENKERN, OPERATIONS
from benchmarks.machine import title
from benchmarks.problems import families, family, longest, others, problems, ratios, rivals, share_of_floor
from benchmarks.results import Results, Row, format_time, speedup

_SHORT_SHAPES = ((128, 10), (8192, 512), (65536, 512), (1024, 1024, 64), (2048, 2048, 64))
MODES = {"forward": "Forward", "forward_backward": "Forward and backward"}
NAMES = ("family", "operation", "rows", "dtype", "shape", "mode", "target", "machine", "date", "commit")
"""Columns of words; all others hold figures."""
UNCLEAR = "unclear"
_NAMED = 10
"""So many cases that are slower are named, of more their number is told."""
NONE = "–"
_LAUNCHES = (
    "Operations of one call in float32 as torch dispatches them, without views: on a GPU each is a launch or more. Of "
    "`torch.compile`, the kernels that it generates, forward and backward."
)
NOTHING = "No results are recorded yet: `make bench`, then `python -m benchmarks.report`.\n"

LEGEND = (
    f"Speed-ups are medians over the same, alternating rounds; {UNCLEAR}: the spread (20–80 % quantiles) exceeds the "
    "difference, so no ratio is stated. % of floor: time to move each input and output once at the bandwidth of a copy "
    "or, marked exp, to take the exponentials at the rate of `torch.exp` in the cache, whichever is longer; measured "
    "in the same rounds, over the time taken (reading alone can be faster than copying). Pairs have the shape [points, "
    "points or components, dimensions]. Peak memory is what one call adds to its inputs."
)

SUMMARY = (
    "Medians over the operations, shapes, dtypes and modes of a family, of the ratios that are stated; in brackets, "
    "how many more are unclear."
)


@dataclass(frozen=True)
class Table:
    """Cells are Markdown, without a line break. `families` has that of each line, where lines are operations."""

    header: Sequence[str]
    lines: Sequence[Sequence[str]]
    families: Sequence[str] = ()

    @property
    def markdown(self) -> str:
        # Names to the left, figures to the right.
        rule = ["---" if name in NAMES else "---:" for name in self.header]
        return "".join("| " + " | ".join(cells) + " |\n" for cells in [self.header, rule, *self.lines])


@dataclass(frozen=True)
class Section:
    """`note` is a paragraph of Markdown."""

    title: str
    note: str
    table: Table


def short(machines: Sequence[Results]) -> str:
    """One thread, float32, with backward where there is one: a small and a large shape of each operation."""
    if not machines:
        return NOTHING
    parts = []
    for results in machines:
        rows = [
            row
            for row in longest(results.rows)
            if row.shape in _SHORT_SHAPES and row.dtype == "float32" and row.threads == 1
        ]
        if rows:
            heading = f"**{title(results.machine)}**{with_threads(results, 1)}, float32. {provenance(results, rows)}\n"
            parts += [heading, f"{slower(results)}\n", _speeds(rows, memory=True).markdown]
    return "\n".join([*parts, LEGEND, ""])


def full(machines: Sequence[Results], pictures: Callable[[Results], dict[str, str]]) -> str:
    """Everything that is recorded; `pictures` gives the addresses of those of a machine, by what they show."""
    if not machines:
        return NOTHING
    parts = [LEGEND, ""]
    for results in machines:
        parts += [f"## {title(results.machine)}\n", f"{slower(results)}\n"]
        parts += [f"![{shown}]({address})\n" for shown, address in pictures(results).items()]
        for section in sections(results):
            parts += [f"### {section.title}\n", f"{section.note}\n", section.table.markdown]
        if note := compile_note(results):
            parts += [f"{note}\n"]
    return "\n".join(parts)


def sections(results: Results) -> list[Section]:
    """Of each number of threads: times of both modes, memory, launches."""
    found = []
    for threads in sorted({row.threads for row in results.rows}):
        where = with_threads(results, threads)
        own = [row for row in results.rows if row.threads == threads]
        for mode, name in MODES.items():
            if rows := [row for row in own if row.mode == mode]:
                found.append(Section(f"{name}{where}", provenance(results, rows), _speeds(rows)))
        if rows := [row for row in own if row.peak_memory is not None]:
            found.append(Section(f"Peak memory{where}", _memory_note(results), _memory(rows)))
        if rows := [row for row in own if row.launches is not None and row.dtype == "float32"]:
            found.append(Section(f"Launches{where}", _LAUNCHES, _launches(rows)))
    return found


def summary(results: Results) -> Table:
    """By family: the median of the ratios that are stated, and beside it how many are not; the median % of floor."""
    names = others(results.rows)
    lines = []
    for name in families(results.rows):
        rows = [row for row in results.rows if family(row) == name]
        shares = [share for row in rows if row.rival == GENKERN and (share := share_of_floor(row)) is not None]
        lines.append(
            [
                name,
                str(len({row.op for row in rows})),
                str(len(problems(rows))),
                *(_median(ratios(rows, rival)) for rival in names),
                _per_cent(statistics.median(shares) if shares else None),
            ]
        )
    return Table(["family", "operations", "cases", *(f"× {name}" for name in names), "% of floor"], lines)


def summaries(machines: Sequence[Results]) -> str:
    """The summary of every machine, by family."""
    if not machines:
        return NOTHING
    return "\n".join(
        f"**{title(found.machine)}.** {SUMMARY}\n\n{summary(found).markdown}\n{slower(found)}\n" for found in machines
    )


def slower(results: Results) -> str:
    """Than eager, and where operations are fused, than those they are made of."""
    return " ".join(told for rival in (EAGER, APART) if (told := _slower(results, rival)))


def _slower(results: Results, rival: str) -> str:
    """On one thread: in how many of the cases whose ratio is stated, and in which if they are few."""
    rows = [row for row in results.rows if row.threads == 1 or "gpu" in results.machine]
    found = [
        (contestants[GENKERN], speedup(contestants[GENKERN], contestants[rival]))
        for contestants in problems(rows)
        if rival in contestants and contestants[rival].median is not None
    ]
    if not found:
        return ""
    stated = [(own, ratio) for own, ratio in found if ratio is not None]
    behind = [own for own, ratio in stated if ratio < 1]
    dtypes = " and ".join(", ".join(dict.fromkeys(own.dtype for own, _ in found)).rsplit(", ", 1))
    told = f"Slower than {rival}: {len(behind)} of {len(stated)} cases in {dtypes}{with_threads(results, 1)}"
    if unclear := len(found) - len(stated):
        told += f" ({unclear} more {UNCLEAR}, not counted)"
    if 0 < len(behind) <= _NAMED:
        told += ": " + "; ".join(f"{_operation(own)} {shape(own.shape)} {MODES[own.mode].lower()}" for own in behind)
    return f"{told}."


def moved() -> str:
    """The bytes that the floor counts."""
    lines = [[f"`{op.name}`", *(str(4 * n) if n else NONE for n in op.moved)] for op in OPERATIONS if not op.of_pairs]
    return Table(["operation", "forward", "backward"], lines).markdown


def runs(machines: Sequence[Results]) -> Table:
    """What the figures belong to."""
    header = ["machine", "date", "commit", "genkern", "torch", "python", "load before", "rows"]
    lines = [
        [
            title(results.machine),
            run["date"],
            f"`{run['commit']}`" if run["commit"] else NONE,
            *(run["versions"][name] for name in ("genkern", "torch", "python")),
            f"{run['load_before']:g}",
            str(sum(row.run == date for row in results.rows)),
        ]
        for results in machines
        for date, run in results.runs.items()
    ]
    return Table(header, lines)


def provenance(results: Results, rows: Sequence[Row]) -> str:
    """Which versions; several where the rows were not measured together."""
    said = set()
    for run in (results.runs[row.run] for row in rows):
        commit = f" at {run['commit']}" if run["commit"] else ""
        versions = run["versions"]
        said.add(f"torch {versions['torch']}, genkern {versions['genkern']}{commit}, {run['date'][:10]}")
    return "; ".join(sorted(said)) + "."


def compile_note(results: Results) -> str | None:
    times = [row.compile_time for row in results.rows if row.rival == COMPILE and row.compile_time is not None]
    if not times:
        return None
    return (
        f"`torch.compile` took {format_time(min(times))} to {format_time(max(times))} to compile a formula "
        "for a shape, with an empty cache and the compiler itself already started; no timing above contains it."
    )


def with_threads(results: Results, threads: int) -> str:
    """Of the CPU's, which matter where it computes."""
    return "" if "gpu" in results.machine else f", {threads} thread{'s' * (threads != 1)}"


def _speeds(rows: Sequence[Row], memory: bool = False) -> Table:
    names = rivals(rows)
    header = ["operation", "shape", "genkern", *(f"× {name}" for name in names), "% of floor"]
    if not memory:
        header[3:3] = ["20–80 %", "ns / element"]
    if memory:
        header += ["peak memory", "peak memory, eager"]
    lines, of = [], []
    for contestants in problems(rows):
        own = contestants[GENKERN]
        line = [_operation(own), shape(own.shape), format_time(own.median)]
        if not memory:
            line += [f"{format_time(own.q20)} – {format_time(own.q80)}", _per_element(own)]
        line += [ratio(own, contestants.get(name)) for name in names]
        line += [_per_cent(share_of_floor(own)) + (" exp" if own.floor and own.bound_by_exps else "")]
        if memory:
            line += [size(own), size(contestants.get("eager"))]
        lines.append(line)
        of.append(family(own))
    return Table(header, lines, of)


def _memory(rows: Sequence[Row]) -> Table:
    names = rivals(rows)
    lines, of = [], []
    for contestants in problems(rows):
        own = contestants[GENKERN]
        shown = [size(contestants.get(name)) for name in (GENKERN, *names)]
        lines.append([_operation(own), shape(own.shape), MODES[own.mode].lower(), *shown])
        of.append(family(own))
    return Table(["operation", "shape", "mode", GENKERN, *names], lines, of)


def _launches(rows: Sequence[Row]) -> Table:
    """Shapes rarely matter: they are told where they do."""
    names = rivals(rows)
    found: dict[tuple[str, str], dict[tuple[str, ...], list[Row]]] = {}
    for contestants in problems(rows):
        own = contestants[GENKERN]
        counts = tuple(_count(contestants.get(name)) for name in (GENKERN, *names))
        found.setdefault((_operation(own), own.mode), {}).setdefault(counts, []).append(own)
    lines, of = [], []
    for (operation, mode), groups in found.items():
        for counts, own_rows in groups.items():
            shapes = "all" if len(groups) == 1 else ", ".join(shape(row.shape) for row in own_rows)
            lines.append([operation, shapes, MODES[mode].lower(), *counts])
            of.append(family(own_rows[0]))
    return Table(["operation", "shape", "mode", GENKERN, *names], lines, of)


def _memory_note(results: Results) -> str:
    if "gpu" in results.machine:
        return "Growth of what torch has allocated on the GPU, at its peak."
    return "Growth of the resident set at its peak (the kernel's VmHWM, reset before the call)."


def _operation(row: Row) -> str:
    return f"`{row.op}`" + (f" {row.dtype}" if row.dtype != "float32" else "")


def shape(sizes: Sequence[int]) -> str:
    return "[" + ", ".join(map(str, sizes)) + "]"


def ratio(own: Row, rival: Row | None) -> str:
    if rival is None or rival.median is None:
        return NONE
    ratio = speedup(own, rival)
    return UNCLEAR if ratio is None else _times(ratio)


def _median(found: Sequence[float | None]) -> str:
    stated = [ratio for ratio in found if ratio is not None]
    unclear = len(found) - len(stated)
    if not stated:
        return f"{unclear} {UNCLEAR}" if unclear else NONE
    return _times(statistics.median(stated)) + (f" ({unclear} {UNCLEAR})" if unclear else "")


def _times(ratio: float) -> str:
    return f"{ratio:.2f}" if ratio < 2 else f"{ratio:.1f}"


def _per_cent(share: float | None) -> str:
    return NONE if share is None else f"{share:.0f} %"


def _per_element(row: Row) -> str:
    if row.median is None:
        return NONE
    ns = row.median / row.numel * 1e9
    return f"{ns:.0f}" if ns >= 100 else f"{ns:.3g}"


def size(row: Row | None) -> str:
    if row is None or row.peak_memory is None:
        return NONE
    return f"{row.peak_memory / 2**20:.1f} MiB"


def _count(row: Row | None) -> str:
    return NONE if row is None or row.launches is None else str(row.launches)
