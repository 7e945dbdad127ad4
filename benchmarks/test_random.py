"""Noise."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.cases import Case

FAMILY = "random"


def test_random(case: Case, arena: Callable[[Case], None]) -> None:
    arena(case)
