"""Results of benchmarks as tests make them up: rows, and files of chapters."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[2]))  # for `from benchmarks import ...`

from benchmarks.results import Results, Row

RUN: dict[str, Any] = {
    "date": "2026-01-01T00:00:00Z",
    "commit": "abc",
    "versions": {"python": "3.11", "torch": "2.13", "genkern": "0.1"},
    "isa": "avx2",
    "load_before": 0.0,
}
MACHINE = {"name": "machine", "cpu": "A CPU", "cores": 2, "isa": "avx2"}
_PEAKS = {"genkern": [[128, 3 * 2**20], [256, 5 * 2**30]], "eager": [[128, 2**30]]}
MEMORY = {"machine": MACHINE, "run": RUN, "dims": 64, "peaks": _PEAKS}
_STEP = {"step": "a `step`", "before": {"median": 2.0, "quantiles": [1.9, 2.1]}}
DROP_IN = {
    "machine": MACHINE,
    "run": RUN,
    "rows": [{**_STEP, "after": {"median": 0.5, "quantiles": [0.4, 0.6]}}],
}


def results_of(*rows: Row) -> Results:
    return Results(MACHINE, {RUN["date"]: RUN}, rows)


def row_of(rival: str, median: float, spread: float = 0.0) -> Row:
    return Row(
        op="gaussian_kl",
        size="large",
        shape=(8192, 512),
        dtype="float32",
        device="cpu",
        threads=1,
        mode="forward_backward",
        rival=rival,
        run="2026-01-01T00:00:00Z",
        median=median,
        q20=median - spread / 2,
        q80=median + spread / 2,
        rounds=11,
        calls=1,
        bytes_per_element=24,
        copy_bandwidth=2.5e10,
        floor=median / 2,
        peak_memory=2**25,
        compile_time=None,
        reason=None,
    )


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
