"""What the default run keeps of a crossed test: every pair of values, every triple with a backend, and few items."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from itertools import combinations, product
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.backends import AUTO, BACKENDS, ELSEWHERE, EVERY_ISA, NATIVE, OTHER_ISAS, REFERENCE
from support.covering import covering, keep, keep_options, parameters

SIZES = (3, 20, 10, 4)  # backends, cases, shapes, dtypes
CROSSED = list(product(*map(range, SIZES)))


def names(rows: Sequence[object]) -> list[str]:
    return [f"test_x[{row}]" for row in rows]


def tuples(rows: Sequence[Sequence[Any]], columns: Sequence[int]) -> set[tuple[Any, ...]]:
    return {tuple(row[column] for column in columns) for row in rows}


def item(test: str, *markers: str, **params: Any) -> Any:
    return SimpleNamespace(
        nodeid=f"{test}[{'-'.join(map(str, params.values()))}]",
        callspec=SimpleNamespace(params=params),
        get_closest_marker=lambda name: name if name in markers else None,
    )


def test_every_pair_and_every_triple_with_a_backend_occurs_in_a_quarter_of_the_items() -> None:
    kept = [CROSSED[place] for place in covering(CROSSED, 0, names(CROSSED))]
    for columns in [*combinations(range(4), 2), *((0, *pair) for pair in combinations((1, 2, 3), 2))]:
        assert tuples(kept, columns) == tuples(CROSSED, columns)
    assert len(kept) <= 1.05 * 3 * 20 * 10  # the largest triples


def test_without_a_backend_pairs_are_enough() -> None:
    kept = [CROSSED[place] for place in covering(CROSSED, None, names(CROSSED))]
    for columns in combinations(range(4), 2):
        assert tuples(kept, columns) == tuples(CROSSED, columns)
    assert len(kept) <= 1.2 * 20 * 10


@given(
    rows=st.lists(st.tuples(*[st.integers(0, 3)] * 4), min_size=1, max_size=60, unique=True),
    strong=st.sampled_from([None, 0, 3]),
)
def test_of_items_that_are_no_full_cross_every_combination_that_occurs_is_kept(
    rows: list[tuple[int, ...]], strong: int | None
) -> None:
    places = covering(rows, strong, names(rows))
    assert len(places) == len(set(places))
    kept = [rows[place] for place in places]
    columns = [*combinations(range(4), 2)]
    columns += [c for c in combinations(range(4), 3) if strong in c]
    assert all(tuples(kept, c) == tuples(rows, c) for c in columns)


def test_every_process_keeps_the_same() -> None:
    program = f"""
from itertools import product
from support.covering import covering
rows = list(product(*map(range, {SIZES})))
print(covering(rows, 0, [f"test_x[{{row}}]" for row in rows]))
"""
    tests = str(Path(__file__).parent)
    environment = {**os.environ, "PYTHONHASHSEED": "1", "PYTHONPATH": os.pathsep.join([*sys.path, tests])}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(covering(CROSSED, 0, names(CROSSED)))


def test_what_is_chosen_first_meets_the_most() -> None:
    kept = [CROSSED[place] for place in covering(CROSSED, 0, names(CROSSED))]
    first = kept[: len(kept) // 4]
    for columns in combinations(range(4), 2):
        assert len(tuples(first, columns)) > 0.6 * len(tuples(CROSSED, columns))


def test_functions_take_turns_and_are_apart() -> None:
    items = [item(test, a=a, b=b, c=c) for a, b, c in product(range(3), repeat=3) for test in ("test_x", "test_y")]
    kept = keep(items)
    turns = [i.nodeid.partition("[")[0] for i in kept]
    assert all({*pair} == {"test_x", "test_y"} for pair in zip(turns[0:12:2], turns[1:12:2], strict=True))
    for test in ("test_x", "test_y"):
        assert keep([i for i in items if i.nodeid.startswith(test)]) == [i for i in kept if i.nodeid.startswith(test)]
    assert len(kept) < len(items)


def test_what_is_not_crossed_is_kept() -> None:
    alone = SimpleNamespace(nodeid="test_a", get_closest_marker=lambda name: None)
    once = [item("test_b", a=a) for a in range(5)]
    twice = [item("test_c", a=a, b=b) for a in range(3) for b in range(4)]
    on_backends = [item("test_d", backend=b, case=c, option=o) for b in BACKENDS for c in range(3) for o in range(4)]
    items = [alone, *once, *twice, *on_backends]
    assert sorted(map(id, keep(items))) == sorted(map(id, items))


def test_a_test_may_ask_for_every_combination() -> None:
    items = [item("test_x", "crossed", a=a, b=b, c=c) for a, b, c in product(range(3), repeat=3)]
    assert keep(items) == items


def test_values_are_the_same_by_value_or_else_by_identity() -> None:
    cases = [{"options": {}} for _ in range(3)]  # equal, but others: these have no hash
    items = [item("test_x", case=c, shape=(2, s), one=o) for c in cases for s in range(3) for o in (1, True, 1.0)]
    kept = [
        (id(i.callspec.params["case"]), i.callspec.params["shape"], repr(i.callspec.params["one"])) for i in keep(items)
    ]
    for columns in combinations(range(3), 2):
        assert len(tuples(kept, columns)) == 9


def test_instruction_sets_meet_every_value_and_the_backends_that_have_them_every_pair() -> None:
    items = [item("test_x", every_isa=b, a=a, b=o) for b in EVERY_ISA for a in range(6) for o in range(6)]
    kept = [{**parameters(i)} for i in keep(items)]
    assert {(p["every_isa"].name, p["a"]) for p in kept} == {(b.name, a) for b in EVERY_ISA for a in range(6)}
    triples = {(p["every_isa"].kernels, p["a"], p["b"]) for p in kept}
    assert len(triples) == len({b.kernels for b in EVERY_ISA}) * 36
    assert len(kept) < len(items)


@pytest.mark.parametrize(("backend", "kernels"), [(REFERENCE, "reference"), (NATIVE, "native"), (AUTO, "auto")])
def test_kernels_have_the_name_of_their_backend(backend: Any, kernels: str) -> None:
    assert backend.kernels == kernels


def test_all_instruction_sets_of_the_cpu_are_one_backend() -> None:
    assert [b.kernels for b in EVERY_ISA if b.isa and b.isa not in ELSEWHERE] == ["native"] * len(OTHER_ISAS)
    assert [b.kernels for b in BACKENDS] == [b.name for b in BACKENDS]


def test_of_options_that_are_crossed_every_pair_of_values_is_kept() -> None:
    values = {"reduction": ("none", "event", "sum"), "units": ("nats", "bits"), "event_ndim": (0, 1, 2)}
    options = [dict(zip(values, chosen, strict=True)) for chosen in product(*values.values())]
    kept = keep_options([*options, {}])
    assert kept == [o for o in [*options, {}] if o in kept] and {} in kept
    for names in combinations(values, 2):
        assert {tuple(o.get(n) for n in names) for o in kept} == {
            tuple(o.get(n) for n in names) for o in [*options, {}]
        }
    assert len(kept) < len(options)
