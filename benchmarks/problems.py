"""Rows put together: the contestants of one problem, the problems of one family."""

from __future__ import annotations

from collections.abc import Iterable

from benchmarks.cases import GENKERN, OPERATIONS, RIVALS
from benchmarks.results import Row, speedup

Contestants = dict[str, Row]

_FAMILIES = {op.name: op.family for op in OPERATIONS}
_PLACES = {name: place for place, name in enumerate(_FAMILIES)}


def problems(rows: Iterable[Row]) -> list[Contestants]:
    """Contestants by name, genkern among them, in the order in which operations are declared."""
    found: dict[tuple[object, ...], Contestants] = {}
    for row in sorted(rows, key=place):
        found.setdefault(row.problem, {})[row.rival] = row
    return [contestants for contestants in found.values() if GENKERN in contestants]


def place(row: Row) -> int:
    """Of its operation among those declared; others come after them."""
    return _PLACES.get(row.op, len(_PLACES))


def rivals(rows: Iterable[Row]) -> list[str]:
    present = {row.rival for row in rows}
    return [name for name in RIVALS if name in present]


def others(rows: Iterable[Row]) -> list[str]:
    """Rivals that are not genkern in another way."""
    return [name for name in rivals(rows) if not name.startswith(GENKERN)]


def family(row: Row) -> str:
    """Of an operation that is measured no longer, the first word of its name."""
    return _FAMILIES.get(row.op, row.op.partition("_")[0])


def families(rows: Iterable[Row]) -> list[str]:
    return list(dict.fromkeys(family(row) for row in sorted(rows, key=place)))


def ratios(rows: Iterable[Row], rival: str) -> list[float | None]:
    """How many times faster than `rival`, problem by problem; None where the spread allows no ratio."""
    return [
        speedup(contestants[GENKERN], contestants[rival])
        for contestants in problems(rows)
        if rival in contestants and contestants[rival].median is not None
    ]


def longest(rows: Iterable[Row]) -> list[Row]:
    """Forward and backward, and forward of operations that have no backward."""
    rows = list(rows)
    both = {row.op for row in rows if row.mode == "forward_backward"}
    return [row for row in rows if row.mode == "forward_backward" or row.op not in both]


def share_of_floor(row: Row) -> float | None:
    """In per cent, where a floor is known."""
    return 100 * row.floor / row.median if row.floor and row.median else None
