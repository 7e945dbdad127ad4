"""Generative adversarial networks: losses, penalties, the statistic of a batch, averages."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.cases import Case

FAMILY = "gan"


def test_gan(case: Case, arena: Callable[[Case], None]) -> None:
    arena(case)
