"""The covering set of a test: of all combinations of its parameters, as many as meet each other.

A test that crosses backends, cases, dtypes, shapes and options has thousands of items, most of which differ from others
in what the test has met already. The default run keeps, of each test function, items in which every pair of values
occurs that occurs in all of them, and every triple of values of which one is a backend: so each backend meets each
case with each dtype, each shape, each option, but not with each dtype and each shape at once. Two parameters, or a
backend and two, are therefore never thinned. `--full` keeps everything.

The set is chosen among the items that pytest collects, by a greedy choice that is the same in every process. What is
chosen first meets the most, so it runs first, and the first minute of a run has tried nearly all that the run tries. A
generator of covering arrays (allpairspy) would make combinations of its own, of factors that are free; here many are
tied (a layout fits some shapes, an operation some dimensions), and what is kept must be tests of the full run.
"""

from __future__ import annotations

import zlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from itertools import combinations
from typing import Any

import pytest

from support.backends import Backend

Options = dict[str, Any]
Covered = Callable[[Sequence[Options]], Sequence[Options]]  # the fixture: see conftest.py
KERNELS = "whose kernels"
Row = tuple[int, ...]  # the value of each factor, as a number


def keep(items: Sequence[pytest.Item]) -> list[pytest.Item]:
    """The items of the default run: the first choice of each test function, then the second of each, and so on."""
    by_function: defaultdict[str, list[int]] = defaultdict(list)
    for place, item in enumerate(items):
        by_function[item.nodeid.partition("[")[0]].append(place)
    kept: list[tuple[int, int]] = []
    for places in by_function.values():
        of_function = [items[place] for place in places]
        if len(places) > 1 and not any(item.get_closest_marker("crossed") for item in of_function):
            rows, strong = factors([parameters(item) for item in of_function])
            names = [item.nodeid.partition("[")[2] for item in of_function]  # the same choice for the same parameters
            places = [places[row] for row in covering(rows, strong, names)]
        kept += enumerate(places)
    return [items[place] for _, place in sorted(kept)]


def keep_options(options: Sequence[Options]) -> list[Options]:
    """The same of options that a test crosses by itself: every pair of values that two of them have together."""
    rows, _ = factors(options)
    return [options[place] for place in sorted(covering(rows, None, [repr(chosen) for chosen in options]))]


def parameters(item: pytest.Item) -> dict[str, Any]:
    """Whose kernels run is a parameter besides the backend: each instruction set of a CPU is a backend."""
    found: dict[str, Any] = dict(item.callspec.params) if hasattr(item, "callspec") else {}
    for value in list(found.values()):
        if isinstance(value, Backend):
            found[KERNELS] = value.kernels
    return found


def factors(calls: Sequence[dict[str, Any]]) -> tuple[list[Row], int | None]:
    """The values of the parameters that vary, and which of these is whose kernels run."""
    names = sorted({name for call in calls for name in call})
    columns = {name: _numbered([call.get(name) for call in calls]) for name in names}
    varying = {name: column for name, column in columns.items() if len(set(column)) > 1}
    strong = list(varying).index(KERNELS) if KERNELS in varying else None
    return list(zip(*varying.values(), strict=True)) or [()] * len(calls), strong


def covering(rows: Sequence[Row], strong: int | None, names: Sequence[str]) -> list[int]:
    """Places of rows in which all interactions of all rows occur, as they are chosen; among equals, the names decide.

    Each choice is a row with the most interactions that are not met yet. A row's number of them only falls, so it is
    counted again when the row's turn comes, and the row waits for a later turn if it has fallen.
    """
    of_rows = [set(interactions(row, strong)) for row in rows]
    unmet = set().union(*of_rows)
    turns: defaultdict[int, list[int]] = defaultdict(list)
    for place in sorted(range(len(rows)), key=lambda place: zlib.crc32(names[place].encode())):
        turns[len(of_rows[place])].append(place)
    kept = []
    for count in range(max(turns, default=0), 0, -1):
        for place in turns[count]:
            new = unmet & of_rows[place]
            if len(new) == count:
                kept.append(place)
                unmet -= new
            else:
                turns[len(new)].append(place)
    return kept


def interactions(row: Row, strong: int | None) -> Iterator[tuple[int, ...]]:
    """The pairs of values of a row, and its triples that contain the value of the strong factor."""
    places = range(len(row))
    yield row if len(row) < 2 else ()
    for i, j in combinations(places, 2):
        yield i, j, row[i], row[j]
        if strong is not None and strong not in (i, j):
            yield i, j, row[i], row[j], row[strong]


def _numbered(values: Sequence[object]) -> list[int]:
    """The same number for the same value, by itself or, where it has no hash, by its identity."""
    numbers: dict[object, int] = {}
    found = []
    for value in values:
        try:
            key: object = (type(value), value)
            hash(key)
        except TypeError:
            key = id(value)
        found.append(numbers.setdefault(key, len(numbers)))
    return found
