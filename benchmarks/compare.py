"""Two files of results side by side: what became faster, what slower, and what cannot be told."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks.cases import EAGER, GENKERN
from benchmarks.results import Results, Row, speedup


@dataclass(frozen=True)
class Change:
    """One problem that both files hold."""

    before: Row
    after: Row
    ratio: float | None
    """How many times faster genkern is in the second; None where the spread exceeds the difference."""
    eager: float | None
    """The same of eager torch, which tells how much the machine has changed."""

    @property
    def verdict(self) -> str:
        return "unclear" if self.ratio is None else "faster" if self.ratio > 1 else "slower"


def changes(before: Results, after: Results) -> Iterator[Change]:
    """In the order of the second file."""
    old = {(row.problem, row.rival): row for row in before.rows}
    new = {(row.problem, row.rival): row for row in after.rows}
    for (problem, rival), row in new.items():
        earlier = old.get((problem, rival))
        if rival == GENKERN and earlier is not None:
            eager = speedup(new.get((problem, EAGER)), old.get((problem, EAGER)))
            yield Change(earlier, row, speedup(row, earlier), eager)


def differing_conditions(before: Results, after: Results) -> list[str]:
    """What else than the code differs: a ratio of two machines or two versions of torch says little of genkern."""

    def versions(results: Results) -> str:
        return ", ".join(sorted({run["versions"]["torch"] for run in results.runs.values()}))

    told = []
    if before.machine != after.machine:
        told.append(f"measured on {before.machine['name']} and on {after.machine['name']}")
    if versions(before) != versions(after):
        told.append(f"with torch {versions(before)} and with torch {versions(after)}")
    return told
