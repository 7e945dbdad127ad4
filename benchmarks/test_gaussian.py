"""Samples, divergences and likelihoods of diagonal Gaussians."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.cases import Case

FAMILY = "gaussian"


def test_gaussian(case: Case, arena: Callable[[Case], None]) -> None:
    arena(case)
