"""Samples, divergences and likelihoods of diagonal Gaussians."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from benchmarks.cases import Case, cases


@pytest.mark.parametrize("case", cases("gaussian"), ids=str)
def test_gaussian(case: Case, arena: Callable[[Case], None]) -> None:
    arena(case)
