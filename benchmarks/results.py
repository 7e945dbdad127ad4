"""Results as files: one JSON a machine, a row a contestant, newer measurements of a case in place of older ones."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from benchmarks.cases import COPY, EXP, GENKERN, Case, dtype_name
from benchmarks.measure import EXPS, Timing

FORMAT = "genkern.benchmarks/1"
FOLDER = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Row:
    """One contestant of one case. Times are seconds a call, memory is bytes, `run` is the date of its run.

    A contestant that could not run has its `reason` and no figures. `floor` is known where a copy and exponentials
    were measured beside: the bytes over the bandwidth or the exponentials over their rate, whichever takes longer.
    `launches` is what `benchmarks.launches` counts.
    """

    op: str
    size: str
    shape: tuple[int, ...]
    dtype: str
    device: str
    threads: int
    mode: str
    rival: str
    run: str
    median: float | None
    q20: float | None
    q80: float | None
    rounds: int
    calls: int
    bytes_per_element: int
    copy_bandwidth: float | None
    floor: float | None
    peak_memory: int | None
    compile_time: float | None
    reason: str | None
    exps_per_element: float = 0
    exp_rate: float | None = None
    launches: int | None = None

    @property
    def bound_by_exps(self) -> bool:
        """Whether its floor is that of the exponentials."""
        moved = self.bytes_per_element / self.copy_bandwidth if self.copy_bandwidth else 0.0
        return bool(self.exp_rate) and self.exps_per_element / (self.exp_rate or 1) > moved

    @property
    def problem(self) -> tuple:
        """What contestants are compared on."""
        return self.op, self.shape, self.dtype, self.device, self.threads, self.mode

    @property
    def numel(self) -> int:
        count = 1
        for n in self.shape:
            count *= n
        return count


@dataclass(frozen=True)
class Results:
    machine: dict[str, Any]
    runs: dict[str, dict[str, Any]]
    rows: tuple[Row, ...]

    def updated(self, run: dict[str, Any], rows: Sequence[Row]) -> Results:
        """With `rows` in place of those of the same problems; runs that no row refers to are dropped."""
        measured = {row.problem for row in rows}
        kept = (*(row for row in self.rows if row.problem not in measured), *rows)
        runs = {**self.runs, run["date"]: run}
        return Results(self.machine, {date: runs[date] for date in sorted({row.run for row in kept})}, kept)


def case_rows(
    case: Case,
    threads: int,
    run: str,
    timings: dict[str, Timing],
    peaks: dict[str, int | None],
    compile_times: dict[str, float],
    launches: dict[str, int],
    failed: dict[str, str],
) -> list[Row]:
    bandwidth = exp_rate = None
    floors = []
    if COPY in timings:
        bandwidth = 2 * case.numel * case.dtype.itemsize / timings[COPY].median
        floors.append(case.bytes_per_element * case.numel / bandwidth)
    if EXP in timings:
        exp_rate = threads * EXPS / timings[EXP].median
        floors.append(case.exps_per_element * case.numel / exp_rate)
    rows = []
    for name in [*timings, *failed]:
        t = timings.get(name)
        rows.append(
            Row(
                op=case.op.name,
                size=case.size,
                shape=case.shape,
                dtype=dtype_name(case.dtype),
                device=case.device,
                threads=threads,
                mode=case.mode,
                rival=name,
                run=run,
                median=t.median if t else None,
                q20=t.quantiles[0] if t else None,
                q80=t.quantiles[1] if t else None,
                rounds=t.rounds if t else 0,
                calls=t.calls if t else 0,
                bytes_per_element=case.bytes_per_element,
                copy_bandwidth=bandwidth,
                floor=max(floors, default=0.0) or None,
                peak_memory=peaks.get(name),
                compile_time=compile_times.get(name),
                reason=failed.get(name),
                exps_per_element=case.exps_per_element,
                exp_rate=exp_rate,
                launches=launches.get(name),
            )
        )
    return rows


def speedup(own: Row | None, rival: Row | None) -> float | None:
    """How many times faster `own` is; None where a side is missing, or the spread exceeds the difference."""
    if own is None or rival is None or own.median is None or rival.median is None:
        return None
    spread = max((row.q80 or 0.0) - (row.q20 or 0.0) for row in (own, rival))
    return None if spread >= abs(rival.median - own.median) else rival.median / own.median


def summary_line(rows: Sequence[Row]) -> str:
    """One case in one line, for the terminal."""
    by_name = {row.rival: row for row in rows}
    own = by_name[GENKERN]
    parts = [f"{format_time(own.median)}"]
    for name, row in by_name.items():
        if name in (GENKERN, COPY, EXP):
            continue
        ratio = speedup(own, row)
        parts.append(f"{name} {'failed' if row.reason else 'unclear' if ratio is None else f'{ratio:.3g}×'}")
    if own.floor and own.median:
        parts.append(f"{100 * own.floor / own.median:.0f} % of the floor")
    return f"{own.op} {list(own.shape)} {own.dtype} {own.mode}: " + ", ".join(parts)


def format_time(seconds: float | None) -> str:
    if seconds is None:
        return "–"
    for unit, scale in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= 0.9995 * scale:  # 999.6 µs are 1 ms
            return f"{seconds / scale:.3g} {unit}"
    return f"{seconds / 1e-9:.3g} ns"


def load(path: Path) -> Results:
    """ValueError, naming the file, where it is not one of these."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if data["format"] != FORMAT:
            raise ValueError(f"format {data['format']!r}, expected {FORMAT!r}")
        names = {f.name for f in fields(Row)}
        rows = [Row(**{**row, "shape": tuple(row["shape"])}) for row in data["rows"] if names >= set(row)]
        if len(rows) != len(data["rows"]):
            raise ValueError("rows have unknown fields")
        return Results(data["machine"], data["runs"], tuple(rows))
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path.name}: not a file of benchmark results ({error})") from error


def save(path: Path, results: Results) -> None:
    rows = [{**asdict(row), "shape": list(row.shape)} for row in results.rows]
    # A row a line keeps the file readable and its history in version control small.
    lines = ",\n    ".join(json.dumps(row) for row in rows)
    text = (
        f'{{\n  "format": {json.dumps(FORMAT)},\n  "machine": {json.dumps(results.machine)},\n'
        f'  "runs": {json.dumps(results.runs)},\n  "rows": [\n    {lines}\n  ]\n}}\n'
    )
    write(path, text)


def write(path: Path, text: str) -> None:
    """Beside and renamed: a reader, or a full disk, never leaves half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f"{path.name}.part")
    with beside.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(beside, path)
