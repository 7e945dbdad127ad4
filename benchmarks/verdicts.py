"""Results held to the targets: how many rows meet each, and which miss it and why."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from benchmarks.cases import GENKERN
from benchmarks.machine import title
from benchmarks.problems import Contestants, place, problems, share_of_floor
from benchmarks.results import Results, Row, speedup
from benchmarks.tables import MODES, NONE, NOTHING, UNCLEAR, Table, shape
from benchmarks.targets import FLOOR, REASONS, TARGETS, Target

BEGIN, END = "<!-- targets:start -->", "<!-- targets:end -->"
_MET = "met"
_NO_REASON = "**No reason yet.** These have not been looked into."
_TOTALS = "How often a row meets a target that it is held to, of the ratios that are stated:"
_COUNTED = (
    f"{UNCLEAR.capitalize()}: the spread exceeds the difference, so that no ratio is stated, and the target may lie "
    "within it. *From [128, 10] on*: of as many elements or more."
)
_MISSED = (
    f"Each reason, and the rows that it explains: ranges over the shapes and dtypes that miss. {_MET.capitalize()}: "
    "none of them misses there. ≤: how much faster is unclear, but the best of the spread falls short, too."
)


@dataclass(frozen=True)
class Verdict:
    """Says of a row whether it meets a target; `met` is None where that is unclear.

    `measured` is the ratio, or the best of its spread where no ratio is `stated`.
    """

    row: Row
    met: bool | None
    measured: float
    stated: bool = True


def block(machines: Sequence[Results]) -> str:
    """For docs/performance.md: totals, a line a target, and what is missed, by reason."""
    judged = {title(found.machine): {target: judge(target, found) for target in TARGETS} for found in machines}
    judged = {name: of for name, of in judged.items() if any(of.values())}
    if not judged:
        return NOTHING
    totals = "\n".join(
        f"- **{name}**: {_count(verdict for of in found.values() for verdict in of)}" for name, found in judged.items()
    )
    parts = [_TOTALS, totals, _COUNTED, _counts(judged).markdown]
    missed = _missed(judged)
    if missed:
        parts += ["### Where a target is missed", _MISSED]
    for text, table in missed.items():
        parts += [text, table.markdown]
    return "\n\n".join(part.strip() for part in parts)


def judge(target: Target, found: Results) -> list[Verdict]:
    """The rows that the target is for and that can be held to it."""
    if target.isa not in (None, found.machine.get("isa")):
        return []
    rows = [row for row in found.rows if row in target.rows]
    return [verdict for contestants in problems(rows) if (verdict := _judged(target, contestants))]


def _judged(target: Target, contestants: Contestants) -> Verdict | None:
    own, rival = contestants[GENKERN], contestants.get(target.rival)
    measured = share_of_floor(own) if target.rival == FLOOR else speedup(own, rival)
    if measured is not None:
        return Verdict(own, measured >= target.least, measured)
    if rival is None or not rival.q80 or not own.q20:
        return None
    most = rival.q80 / own.q20
    return Verdict(own, False if most < target.least else None, most, stated=False)


def reason(target: Target, row: Row) -> str:
    return next((known.text for known in REASONS if known.explains(target, row)), _NO_REASON)


Judged = dict[str, dict[Target, list[Verdict]]]
"""The verdicts of each target, under the title of the machine."""
Line = tuple[str, str, str]
"""Operation, mode and goal."""
Problem = tuple[object, ...]
"""The problem that rows of several machines have in common."""


def _counts(judged: Judged) -> Table:
    lines = [
        [
            target.name,
            ", ".join(target.rows.dtypes) or "all",
            ", ".join(MODES[mode].lower() for mode in target.rows.modes) or "both",
            target.goal,
            *(_count(found[target]) for found in judged.values()),
        ]
        for target in TARGETS
    ]
    return Table(["rows", "dtype", "mode", "target", *judged], lines)


def _count(verdicts: Iterable[Verdict]) -> str:
    said = [verdict.met for verdict in verdicts]
    unclear = said.count(None)
    if not said:
        return NONE
    return f"{said.count(True)} of {len(said) - unclear}" + (f" ({unclear} more {UNCLEAR})" if unclear else "")


def _missed(judged: Judged) -> dict[str, Table]:
    """A table for each reason, in the order of the reasons, and last one of the rows without."""
    rows: dict[str, dict[Line, dict[Problem, Row]]] = {known.text: {} for known in REASONS} | {_NO_REASON: {}}
    for target in TARGETS:
        for row in (v.row for found in judged.values() for v in found[target] if v.met is False):
            line = row.op, row.mode, target.goal
            rows[reason(target, row)].setdefault(line, {})[row.problem] = row
    return {text: _table(lines, judged) for text, lines in rows.items() if lines}


def _table(lines: dict[Line, dict[Problem, Row]], judged: Judged) -> Table:
    """The lines are in the order of the operations; machines that measured none of them have no column."""
    cells = []
    for (op, mode, goal), missed in sorted(lines.items(), key=lambda line: place(next(iter(line[1].values())))):
        measured = []
        for found in judged.values():
            of_goal = (v for target, verdicts in found.items() if target.goal == goal for v in verdicts)
            measured.append(_measured({v.row.problem: v for v in of_goal if v.row.problem in missed}.values()))
        dtypes = dict.fromkeys(row.dtype for row in missed.values())
        shapes = dict.fromkeys(shape(row.shape) for row in sorted(missed.values(), key=lambda row: row.numel))
        cells.append([f"`{op}`", ", ".join(dtypes), ", ".join(shapes), MODES[mode].lower(), goal, *measured])
    header = ["operation", "dtype", "shape", "mode", "target", *judged]
    present = [column for column in range(len(header)) if any(line[column] != NONE for line in cells)]
    return Table([header[column] for column in present], [[line[column] for column in present] for line in cells])


def _measured(verdicts: Iterable[Verdict]) -> str:
    """The cell of a line and a machine: the range of the ratios that miss."""
    said = list(verdicts)
    missed = [v for v in said if v.met is False]
    if missed:
        stated = sorted(v.measured for v in missed if v.stated)
        beyond = [v.measured for v in missed if not v.stated]
        parts = [" – ".join(dict.fromkeys(map(_figure, (stated[0], stated[-1]))))] if stated else []
        return ", ".join([*parts, f"≤ {_figure(max(beyond))}"] if beyond else parts)
    if not said:
        return NONE
    return _MET if any(v.met for v in said) else UNCLEAR


def _figure(measured: float) -> str:
    """Rounded down, lest what misses a target reads as the target."""
    digits = 2 if measured < 10 else 1
    return f"{math.floor(measured * 10**digits) / 10**digits:.{digits}f}"
