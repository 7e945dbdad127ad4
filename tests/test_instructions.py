"""Instructions are counted of genkern's binary alone, and a kernel that takes more than it did is found."""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1]))  # for `from benchmarks import ...`

from benchmarks import callgrind, instructions, results
from benchmarks.cases import DTYPES, OPERATIONS, dtype_name

_DUMP = """
ob=/lib/libtorch_cpu.so
fn=at::empty
0x10 0 5
ob=/site-packages/genkern/_C.cpython-311-x86_64-linux-gnu.so
fn=genkern::avx2::fill_normal(genkern::Key)
0x20 0 7
0x24 0 3
calls=2 0x99 0
0x24 0 1000
fn=genkern::(anonymous namespace)::run(_object*)
0x30 0 11
ob=/lib/x86_64-linux-gnu/libm.so.6
fn=exp
0x40 0 13
"""


def test_a_dump_is_read_without_what_callees_took() -> None:
    counts = callgrind.parse(_DUMP)
    assert counts.kernels == {"genkern::avx2::fill_normal(genkern::Key)": {0x20: 7, 0x24: 3}}
    assert counts.libm == 13 and counts.in_kernels == 7 + 3 + 13 and counts.total == counts.in_kernels + 11


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("vfmadd213ps (%rdi),%ymm3,%ymm3", "vector"),
        ("vmulps %zmm1,%zmm2,%zmm3", "vector"),
        ("vmulps %xmm1,%xmm2,%xmm3", "narrow"),
        ("vpaddd %xmm1,%xmm2,%xmm3", "narrow"),
        ("vaddss (%rax),%xmm0,%xmm0", "scalar_float"),
        ("vcvtsi2ssl %eax,%xmm0,%xmm0", "scalar_float"),
        ("cvtss2sd %xmm0,%xmm0", "scalar_float"),
        ("mov 0x8(%rax),%rdx", "other"),
    ],
)
def test_instructions_are_told_apart_by_what_they_work_on(text: str, kind: str) -> None:
    assert instructions.kind_of(text) == kind


def test_a_count_that_changes_is_named_with_its_change() -> None:
    kept = _kept(_row(total=1000, kernels=800))
    assert instructions.differences([_row(total=1029, kernels=777)], kept) == []
    slower = instructions.differences([_row(total=1040, kernels=840)], kept)
    assert slower == [
        "gaussian_kl float32 forward + backward [2, 4], total: 1040 instructions, kept 1000: +4.0%",
        "gaussian_kl float32 forward + backward [2, 4], kernels: 840 instructions, kept 800: +5.0%",
    ]
    assert len(instructions.differences([_row(total=1000, kernels=760)], kept)) == 1
    assert "not kept yet" in instructions.differences([{**_row(1000, 800), "op": "new"}], kept)[0]
    assert "not kept yet" in instructions.differences([{**_row(1000, 800), "dtype": "float16"}], kept)[0]
    other = instructions.differences([_row(1000, 800)], {**kept, "compiler": "another"})
    assert len(other) == 1 and other[0].startswith("compiler: kept are counts of another")


def test_a_dtype_is_compared_with_itself() -> None:
    half = {**_row(500, 400), "dtype": "float16"}
    kept = _kept(_row(1000, 800), half)
    assert instructions.differences([half, _row(1000, 800)], kept) == []
    faults = instructions.differences([{**half, "kernels": 800}], kept)
    assert faults == ["gaussian_kl float16 forward + backward [2, 4], kernels: 800 instructions, kept 400: +100.0%"]


def test_every_operation_is_kept_and_told_in_every_dtype() -> None:
    kept = instructions.load(results.FOLDER)
    found = [(row["op"], row["mode"], row["dtype"]) for row in kept["rows"]]
    assert len(found) == len(set(found))
    assert set(found) == {
        (op.name, mode, dtype_name(dtype)) for op in OPERATIONS for mode in op.modes for dtype in DTYPES
    }
    for row in kept["rows"]:
        assert row["total"] > row["kernels"] > 0
        assert sum(row[kind] for kind in instructions.KINDS) <= row["kernels"]  # the rest is the C library's
    told = instructions.block(kept, None)
    assert "| operation | float64 | float16 | bfloat16 |" in told
    assert all(told.count(f"| `{op.name}` |") == 2 for op in OPERATIONS)


def test_the_table_of_other_dtypes_has_instructions_an_element_of_either_mode() -> None:
    rows = [
        {**_row(100, kernels), "mode": mode, "dtype": dtype_name(dtype)}
        for n, dtype in enumerate(DTYPES)
        for mode, kernels in (("forward", 8 * (n + 1)), ("forward_backward", 20 * (n + 1)))
    ]
    where = {"compiler": "a compiler", "torch": "2.13", "run": {"date": "2026-01-01"}}
    told = instructions.block({**where, "rows": rows}, None).splitlines()
    assert "| `gaussian_kl` | 2 / 5 | 3 / 7.5 | 4 / 10 |" in told
    assert any(line.startswith("| `gaussian_kl` | [2, 4] | 1 | 2.5 | 92 | 80 |") for line in told)


@pytest.mark.full  # two programs under Valgrind; `make instructions` counts every kernel
def test_a_slower_kernel_turns_the_guard_red() -> None:
    """The kernel of narrower vectors stands in for one that has become slower; the counts as they are, for the kept."""
    try:
        rows = {isa: instructions.rows_of(["random"], isa) for isa in ("avx2", "baseline")}
    except callgrind.Missing as error:
        pytest.skip(str(error))
    kept = json.loads(json.dumps(_kept(*rows["avx2"])))
    assert instructions.differences(rows["avx2"], kept) == []
    faults = instructions.differences(rows["baseline"], kept)
    assert any(
        fault.startswith("random_normal float32 forward [256, 64], kernels: ") and "+" in fault for fault in faults
    )


def _row(total: int, kernels: int) -> dict:
    kinds = Counter(dict.fromkeys(instructions.KINDS, kernels // 4))
    return {
        "op": "gaussian_kl",
        "mode": "forward_backward",
        "dtype": "float32",
        "shape": [2, 4],
        "total": total,
        "kernels": kernels,
        **kinds,
        "avx512": kinds,
    }


def _kept(*rows: dict) -> dict:
    return {**instructions._environment(), "rows": list(rows)}
