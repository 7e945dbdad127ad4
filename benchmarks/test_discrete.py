"""Entropies, divergences and relaxed samples of discrete distributions."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.cases import Case

FAMILY = "discrete"


def test_discrete(case: Case, arena: Callable[[Case], None]) -> None:
    arena(case)
