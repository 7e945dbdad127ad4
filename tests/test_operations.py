"""Every operation has every property that is asked of one: no cell of the matrix is empty without a reason.

What the tests cover is read from what pytest collects of the whole suite, not from a list.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from support import matrix
from support.matrix import PROPERTIES, ROWS, Table, covers

import genkern as gk

ROOT = Path(__file__).parents[1]


def test_no_cell_of_the_matrix_is_empty_without_a_reason(request: pytest.FixtureRequest) -> None:
    """By what this run has collected, if that is everything, or else by what another one collects."""
    session = request.session
    files = {item.path for item in session.items}
    chosen = any(getattr(session.config.option, name, None) for name in ("keyword", "markexpr", "deselect", "lf"))
    if not chosen and files.issuperset(Path(__file__).parent.rglob("test_*.py")):
        assert Table.of(session.items).missing() == []
        return
    command = [sys.executable, "-m", "pytest", "--operations", "-q", "-p", "no:cacheprovider", "tests"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_public_function_and_every_op_is_registered() -> None:
    assert matrix.unregistered() == []


def test_functions_that_are_no_rows_are_there_and_are_tested() -> None:
    for name, file in matrix.APART.items():
        assert name in gk.functional.__all__
        assert f"gk.{name}(" in (ROOT / file).read_text()


def test_an_op_and_a_function_without_a_case_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(ROWS, "gaussian_entropy")
    monkeypatch.delitem(ROWS, "random.split")
    found = matrix.unregistered()
    assert "gaussian_entropy has no Case" in found
    assert "genkern::gaussian_entropy has no Case or Noise" in found
    assert "random.split has no Noise" in found
    assert "genkern::key_split has no Case or Noise" in found


def full() -> Table:
    """A table in which each cell that is asked for has a test."""
    table = Table()
    table.tests.update((n, p) for n, row in ROWS.items() for p, why_not in PROPERTIES.items() if not why_not(row))
    return table


def test_a_full_table_lacks_nothing() -> None:
    assert full().missing() == []


def test_what_is_missing_is_named() -> None:
    table = full()
    del table.tests["gaussian_kl", "vmap"]
    for name in ROWS:
        del table.tests[name, "jvp"]
    assert table.missing() == ["no test covers 'vmap' of gaussian_kl", "no test covers 'jvp'"]
    table.excepted["gaussian_kl", "vmap"] = "because"
    assert table.missing() == ["no test covers 'jvp'"]


def test_an_exception_from_what_is_tested_is_refused() -> None:
    table = full()
    table.excepted["gaussian_kl", "vmap"] = "because"
    assert table.missing() == ["gaussian_kl is excepted from 'vmap' and tested"]


def test_a_declaration_of_what_does_not_exist_is_refused() -> None:
    with pytest.raises(ValueError, match="expected one of matrix.PROPERTIES, got 'vmop'"):
        covers("vmop")
    with pytest.raises(ValueError, match="expected the name of a case, got 'gaussian'"):
        covers("vmap", except_={"gaussian": "because"})
    with pytest.raises(ValueError, match="expected a reason for gaussian_kl"):
        covers("vmap", except_={"gaussian_kl": ""})


@pytest.mark.parametrize("value", [ROWS["gaussian_kl-prior"], ROWS["random.split"], "gaussian_kl"], ids=str)
def test_the_operations_of_a_test_are_those_among_its_parameters(request: pytest.FixtureRequest, value: object) -> None:
    forms = ["gaussian_kl", "gaussian_kl-prior"] if value == "gaussian_kl" else [str(value)]
    request.node.add_marker(covers("vmap", "jvp"))
    table = Table()
    table.add(request.node)
    assert set(table.tests) == {(name, property) for name in forms for property in ("vmap", "jvp")}


def test_a_test_that_covers_no_operation_is_found(request: pytest.FixtureRequest) -> None:
    request.node.add_marker(covers("vmap"))
    table = full()
    table.add(request.node)
    assert table.missing() == [f"{request.node.nodeid} covers vmap of no operation"]
