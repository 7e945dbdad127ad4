"""Results as Markdown tables: a short one for README, all of it for docs/performance.md."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from benchmarks.cases import COMPILE, GENKERN, RIVALS
from benchmarks.machine import title
from benchmarks.results import Results, Row, format_time, speedup

_SHORT_SHAPES = ((128, 10), (8192, 512), (65536, 512), (1024, 1024, 64), (2048, 2048, 64))
_MODES = {"forward": "Forward", "forward_backward": "Forward and backward"}
_NOISY = "unclear"
_NOTHING = "No results are recorded yet: `make bench`, then `python -m benchmarks.report`.\n"

_LEGEND = (
    f"Speed-ups are medians over the same, alternating rounds; {_NOISY}: the spread (20–80 % quantiles) exceeds the "
    "difference, so no ratio is stated. % of floor: time to move each input and output once at the bandwidth of a copy "
    "measured in the same rounds, over the time taken (reading alone can be faster than copying). Pairs have the shape "
    "[points, points or components, dimensions]. Peak memory is what one call adds to its inputs."
)


def short(machines: Sequence[Results]) -> str:
    """One thread, float32, with backward where there is one: a small and a large shape of each operation."""
    if not machines:
        return _NOTHING
    parts = []
    for results in machines:
        rows = [
            row
            for row in results.rows
            if row.shape in _SHORT_SHAPES and row.dtype == "float32" and row.threads == 1 and _longest(row, results)
        ]
        if rows:
            parts += [_heading(results, rows), _speed_table(rows, memory=True)]
    return "\n".join([*parts, _LEGEND, ""])


def full(machines: Sequence[Results], picture: Callable[[str], str | None]) -> str:
    """Everything that is recorded; `picture` gives the address of a machine's plot, if there is one."""
    if not machines:
        return _NOTHING
    parts = [_LEGEND, ""]
    for results in machines:
        parts += [f"## {title(results.machine)}\n"]
        if address := picture(results.machine["name"]):
            parts += [f"![Speed-up by size, forward and backward]({address})\n"]
        for threads in sorted({row.threads for row in results.rows}):
            for mode, name in _MODES.items():
                rows = [row for row in results.rows if row.threads == threads and row.mode == mode]
                if rows:
                    heading = f"### {name}{_with_threads(results, threads)}\n"
                    parts += [heading, _provenance(results, rows), _speed_table(rows)]
            parts += _memory_section(results, threads)
        parts += _compile_section(results)
    return "\n".join(parts)


def _heading(results: Results, rows: Sequence[Row]) -> str:
    return f"**{title(results.machine)}**{_with_threads(results, 1)}, float32. {_provenance(results, rows)}"


def _provenance(results: Results, rows: Sequence[Row]) -> str:
    """Which versions; several where the rows were not measured together."""
    said = set()
    for run in (results.runs[row.run] for row in rows):
        commit = f" at {run['commit']}" if run["commit"] else ""
        versions = run["versions"]
        said.add(f"torch {versions['torch']}, genkern {versions['genkern']}{commit}, {run['date'][:10]}")
    return "; ".join(sorted(said)) + ".\n"


def _speed_table(rows: Sequence[Row], memory: bool = False) -> str:
    rivals = [name for name in RIVALS if any(row.rival == name for row in rows)]
    header = ["operation", "shape", "genkern", *(f"× {name}" for name in rivals), "% of floor"]
    if not memory:
        header[3:3] = ["20–80 %", "ns / element"]
    if memory:
        header += ["peak memory", "peak memory, eager"]
    lines = []
    for contestants in _problems(rows):
        own = contestants[GENKERN]
        line = [_operation(own), _shape(own.shape), format_time(own.median)]
        if not memory:
            line += [f"{format_time(own.q20)} – {format_time(own.q80)}", _per_element(own)]
        line += [_ratio(own, contestants.get(name)) for name in rivals]
        line += [f"{100 * own.floor / own.median:.0f} %" if own.floor and own.median else "–"]
        if memory:
            line += [_bytes(own), _bytes(contestants.get("eager"))]
        lines.append(line)
    return _table(header, lines)


def _memory_section(results: Results, threads: int) -> list[str]:
    rows = [row for row in results.rows if row.threads == threads and row.peak_memory is not None]
    if not rows:
        return []
    rivals = [name for name in RIVALS if any(row.rival == name for row in rows)]
    lines = [
        [_operation(own), _shape(own.shape), _MODES[own.mode].lower(), _bytes(own)]
        + [_bytes(contestants.get(name)) for name in rivals]
        for contestants in _problems(rows)
        for own in [contestants[GENKERN]]
    ]
    return [
        f"### Peak memory{_with_threads(results, threads)}\n",
        "Growth of what torch has allocated on the GPU, at its peak.\n"
        if "gpu" in results.machine
        else "Growth of the resident set at its peak (the kernel's VmHWM, reset before the call).\n",
        _table(["operation", "shape", "mode", "genkern", *rivals], lines),
    ]


def _compile_section(results: Results) -> list[str]:
    times = [row.compile_time for row in results.rows if row.rival == COMPILE and row.compile_time is not None]
    if not times:
        return []
    return [
        f"`torch.compile` took {format_time(min(times))} to {format_time(max(times))} to compile a formula "
        "for a shape, with an empty cache and the compiler itself already started; no timing above contains it.\n"
    ]


def _longest(row: Row, results: Results) -> bool:
    return row.mode == "forward_backward" or not any(
        other.op == row.op and other.mode == "forward_backward" for other in results.rows
    )


def _problems(rows: Iterable[Row]) -> list[dict[str, Row]]:
    found: dict[tuple, dict[str, Row]] = {}
    for row in rows:
        found.setdefault(row.problem, {})[row.rival] = row
    return [contestants for contestants in found.values() if GENKERN in contestants]


def _operation(row: Row) -> str:
    return f"`{row.op}`" + (f" {row.dtype}" if row.dtype != "float32" else "")


def _shape(shape: Sequence[int]) -> str:
    return "[" + ", ".join(map(str, shape)) + "]"


def _with_threads(results: Results, threads: int) -> str:
    """Of the CPU's, which matter where it computes."""
    return "" if "gpu" in results.machine else f", {threads} thread{'s' * (threads != 1)}"


def _ratio(own: Row, rival: Row | None) -> str:
    if rival is None or rival.median is None:
        return "–"
    ratio = speedup(own, rival)
    return _NOISY if ratio is None else f"{ratio:.2f}" if ratio < 2 else f"{ratio:.1f}"


def _per_element(row: Row) -> str:
    if row.median is None:
        return "–"
    ns = row.median / row.numel * 1e9
    return f"{ns:.0f}" if ns >= 100 else f"{ns:.3g}"


def _bytes(row: Row | None) -> str:
    if row is None or row.peak_memory is None:
        return "–"
    return f"{row.peak_memory / 2**20:.1f} MiB"


def _table(header: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    # Names to the left, figures to the right.
    rule = ["---" if name in ("operation", "shape", "mode") else "---:" for name in header]
    return "".join("| " + " | ".join(cells) + " |\n" for cells in [header, rule, *lines])
