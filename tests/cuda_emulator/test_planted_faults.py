"""Faults planted in csrc/cuda turn checks red that are green without: those of the engine alone, and the suite's."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import pytest
from cuda_emulator.build import ROOT, Patch, environment
from cuda_emulator.engine.program import ASAN, PLAIN, RACE, TSAN, run
from support import emulated

from genkern import _backend


@dataclass(frozen=True)
class Fault:
    name: str
    patch: Patch
    check: str  # of engine/main.cpp
    wrong: str = ""  # what the plain build says; "" if only ThreadSanitizer sees it
    race: str = ""  # the function of the race

    def __str__(self) -> str:
        return self.name


FAULTS = [
    Fault(
        "store-one-too-many",
        ("storage.cuh", "k >= from && k < to", "k >= from && k <= to"),
        check="visits",
        wrong="visits: wrong",
    ),
    Fault(
        "head-one-off",
        ("engine.cuh", "static_cast<int>(-s.elem) : 0", "static_cast<int>(-s.elem) + 1 : 0"),
        check="visits",
        wrong="visits: wrong",
    ),
    Fault(
        "plan-without-heads",
        ("plan.h", "(extent.length + 2 * width - 2) / width", "(extent.length + width - 1) / width"),
        check="visits",
        wrong="visits: wrong",
    ),
    Fault(
        "shuffle-of-half-the-width",
        ("engine.cuh", "value, offset, width)", "value, offset, width / 2)"),
        check="sums",
        wrong="sum: wrong",
    ),
    Fault(
        "no-barrier-before-a-blocks-sum-is-read",
        (
            "engine.cuh",
            "warps[threadIdx.x / kWarp] = value;\n  __syncthreads();\n",
            "warps[threadIdx.x / kWarp] = value;\n",
        ),
        check="sums",
        wrong="sum: wrong",
        race="block_sum",
    ),
    Fault(
        "no-barrier-before-a-blocks-next-sum",
        ("engine.cuh", "  __syncthreads();  // an earlier sum may still be read\n", ""),
        check="sums",
        race="block_sum",
    ),
    Fault(
        "no-barrier-before-the-key-is-read",
        (
            "noise.cuh",
            "store_key(source.out, shared);\n  }\n  __syncthreads();\n",
            "store_key(source.out, shared);\n  }\n",
        ),
        check="keys",
        wrong="key: wrong",
        race="block_key",
    ),
    Fault(
        "no-barrier-before-the-last-block-is-known",
        ("engine.cuh", "  __syncthreads();\n  return last;", "  return last;"),
        check="sums",
        wrong="can never go on",
        race="last_block",
    ),
    Fault(
        "last-block-one-too-early",
        ("engine.cuh", "== gridDim.x - 1;", "== gridDim.x - 2;"),
        check="sums",
        wrong="ticket: wrong",
        race="reduce_kernel",
    ),
    Fault(
        "ticket-without-an-atomic",
        ("engine.cuh", "atomicAdd(ticket, 1u)", "(*ticket)++"),
        check="sums",
        race="last_block",
    ),
]


@pytest.mark.parametrize("fault", [f for f in FAULTS if f.wrong], ids=str)
def test_a_fault_gives_a_wrong_result(fault: Fault) -> None:
    done = run(fault.check, PLAIN, fault.patch)
    assert done.returncode in (1, 2)
    assert fault.wrong in done.stderr


@pytest.mark.parametrize("fault", [f for f in FAULTS if f.race], ids=str)
def test_what_nothing_orders_is_a_race(fault: Fault) -> None:
    done = run(fault.check, TSAN, fault.patch)
    assert done.returncode == RACE
    places = re.findall(r"SUMMARY: ThreadSanitizer: data race .* in .*", done.stderr)
    assert any(fault.race in place for place in places), done.stderr


# Reads stay within, so that it is the store that is caught.
STORE_BEYOND: Patch = ("storage.cuh", "if (s.has(k)) p[", "if (s.has(k) || k == s.to) p[")


def assert_store_out_of_bounds(output: str) -> None:
    assert "AddressSanitizer: heap-buffer-overflow" in output, output
    assert re.search(r"WRITE of size \d.*\n *#0 .* in .*genkern::cuda::", output), output


def test_a_store_beyond_the_end_is_out_of_bounds() -> None:
    assert_store_out_of_bounds(run("keys", ASAN, STORE_BEYOND).stderr)


# The suite's own assertions: each has the kernels compiled once more


def suite(tests: str, *patches: Patch, sanitize: Sequence[str] = PLAIN) -> subprocess.CompletedProcess[str]:
    """Tests of the project on its emulated kernels, which are compiled without optimization: in seconds."""
    library = emulated.library(sanitize=sanitize, patches=patches, extra_flags=("-O0",))
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "--capture=sys", *tests.split()]
    variables = {**os.environ, **environment(sanitize, preload=True), "GENKERN_EMULATOR_LIBRARY": str(library)}
    return subprocess.run(
        [*command, "-k", "cuda-emulated and (gaussian_kl or rsample_kl or box_muller)"],
        cwd=ROOT,
        env=variables,
        capture_output=True,
        text=True,
        timeout=600,
    )


ACCURATE = "tests/test_matrix.py::test_results_and_gradients_are_as_accurate_as_plain_torch"
NORMAL = "tests/test_random.py::test_normals_are_the_box_muller_transform_of_the_words"
needs_binary = pytest.mark.skipif(_backend.native is None, reason=f"no compiled kernels: {_backend.reason}")


@pytest.mark.full
@needs_binary
def test_the_suite_is_green_without_a_fault() -> None:
    done = suite(f"{ACCURATE} {NORMAL}")
    assert done.returncode == 0, done.stdout
    assert "passed" in done.stdout and "skipped" not in done.stdout


@pytest.mark.full
@needs_binary
@pytest.mark.parametrize(
    ("name", "tests"),
    [
        ("store-one-too-many", ACCURATE),
        ("shuffle-of-half-the-width", ACCURATE),
        ("no-barrier-before-a-blocks-sum-is-read", ACCURATE),
        ("no-barrier-before-the-key-is-read", NORMAL),
    ],
    ids=lambda value: value.rpartition("::")[2],
)
def test_a_fault_turns_the_suite_red(name: str, tests: str) -> None:
    done = suite(tests, next(fault.patch for fault in FAULTS if fault.name == name))
    assert done.returncode == 1, done.stdout
    assert re.search(r"^E +(AssertionError|assert )", done.stdout, re.MULTILINE), done.stdout


@pytest.mark.full
@needs_binary
def test_the_address_sanitizer_knows_the_end_of_a_tensor() -> None:
    done = suite(ACCURATE, STORE_BEYOND, sanitize=ASAN)
    assert done.returncode not in (0, 5)
    assert_store_out_of_bounds(done.stderr)
    assert re.search(r"0 bytes (to the right of|after) .*\nallocated by .*\n.*\n.* in c10::alloc_cpu", done.stderr), (
        done.stderr
    )
