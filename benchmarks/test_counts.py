"""Likelihoods of counts."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.cases import Case

FAMILY = "counts"


def test_counts(case: Case, arena: Callable[[Case], None]) -> None:
    arena(case)
