"""The least time that a GPU's data sheet allows a case, beside the time it took: benchmarks/results/cuda.md."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.cases import GENKERN, OPERATIONS, Case, cases, dtype_name
from benchmarks.machine import gpu_name
from benchmarks.results import Results, Row, format_time
from benchmarks.tables import Table

BEGIN, END = "<!-- predictions:start -->", "<!-- predictions:end -->"


@dataclass(frozen=True)
class GPU:
    """Peaks a second, of the data sheet and of the CUDA programming guide's table of throughputs."""

    name: str
    bandwidth: float  # bytes
    multiprocessors: int
    clock: float
    special: int = 16  # results of the special-function unit a clock and multiprocessor
    integer: int = 64  # 32-bit integer results, multiplications among them


H200 = GPU("NVIDIA H200", 4.8e12, 132, 1.98e9)
INTEGERS_PER_WORD = 15
"""Ten rounds of Philox on four words; a round has two 64-bit products, two exclusive ors of three, two additions."""


def bound(case: Case, gpu: GPU) -> dict[str, float]:
    """The seconds that each part of a GPU needs for it, at the least."""
    each_clock = gpu.multiprocessors * gpu.clock
    return {
        "memory": case.bytes_per_element * case.numel / gpu.bandwidth,
        "special functions": case.exps_per_element * case.numel / (gpu.special * each_clock),
        "Philox": case.words_per_element * INTEGERS_PER_WORD * case.numel / (gpu.integer * each_clock),
    }


def table(machines: Sequence[Results], gpu: GPU = H200) -> str:
    measured = {
        (row.op, row.shape, row.dtype, row.mode): row
        for results in machines
        if results.machine["name"] == gpu_name(gpu.name)
        for row in results.rows
        if row.rival == GENKERN
    }
    header = ["operation", "shape", "forward, at least", "bound by", "measured", "with backward, at least", "bound by"]
    lines = []
    families = dict.fromkeys(op.family for op in OPERATIONS)
    found: dict[tuple[object, ...], dict[str, Case]] = {}
    for case in (case for family in families for case in cases(family, "cuda")):
        if case.size == "large" and not case.op.of_pairs:
            found.setdefault((case.op.name, case.shape, case.dtype), {})[case.mode] = case
    for (name, shape, dtype), modes in found.items():
        line = [f"`{name}` {dtype_name(dtype)}", str(list(shape))]
        for mode in ("forward", "forward_backward"):
            line += _cells(modes.get(mode), gpu, measured)
        lines.append(line)
    return f"{_note(gpu)}\n\n{Table([*header, 'measured'], lines).markdown}"


def _cells(case: Case | None, gpu: GPU, measured: dict[tuple[object, ...], Row]) -> list[str]:
    if case is None:
        return ["–"] * 3
    parts = bound(case, gpu)
    by = max(parts, key=lambda part: parts[part])
    row = measured.get((case.op.name, case.shape, dtype_name(case.dtype), case.mode))
    taken = "" if row is None or row.median is None else f"{format_time(row.median)}, {parts[by] / row.median:.0%}"
    return [format_time(parts[by]), by, taken]


def _note(gpu: GPU) -> str:
    return (
        f"{gpu.name}: {gpu.bandwidth / 1e12:g} TB/s, {gpu.multiprocessors} multiprocessors at {gpu.clock / 1e9:g} GHz, "
        f"of which each gives {gpu.special} results of special functions and {gpu.integer} of 32-bit integers a clock; "
        f"Philox takes {INTEGERS_PER_WORD} integer instructions a word. The longest of the three bounds a case from "
        "below. Measured: the time, and the bound in per cent of it; empty until a run on such a GPU fills it "
        "(`scripts/gpu_check.sh`)."
    )
