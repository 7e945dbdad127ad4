"""Pairs of points: densities of mixtures, total correlation, maximum mean discrepancy."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.cases import Case

FAMILY = "mixture"


def test_mixture(case: Case, arena: Callable[[Case], None]) -> None:
    arena(case)
