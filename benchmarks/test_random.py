"""Noise."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from benchmarks.cases import Case, cases


@pytest.mark.parametrize("case", cases("random"), ids=str)
def test_random(case: Case, arena: Callable[[Case], None]) -> None:
    arena(case)
