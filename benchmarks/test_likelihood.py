"""Likelihoods of data."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.cases import Case

FAMILY = "likelihood"


def test_likelihood(case: Case, arena: Callable[[Case], None]) -> None:
    arena(case)
