"""The faults that the emulator is there to show, planted, do show; and kernels without them do not."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
from cuda_emulator.build import HERE, Patch, build, environment
from cuda_emulator.selftest.library import KERNELS, load, reverse, row_sums

MAIN = HERE / "selftest" / "main.cpp"
ASAN = ("address", "undefined")
TSAN = ("thread",)

NO_BARRIER: Patch = ("kernels.cu", "  __syncthreads();\n  value = threadIdx.x <", "  value = threadIdx.x <")
NO_SYNCWARP: Patch = ("kernels.cu", "  __syncwarp();\n", "")
WRONG_WIDTH: Patch = ("kernels.cu", "value, offset, 32)", "value, offset, 16)")
ONE_TOO_MANY: Patch = (
    "kernels.cu",
    "if (threadIdx.x < n) out[threadIdx.x] = static_cast",
    "if (threadIdx.x <= n) out[threadIdx.x] = static_cast",
)
PLAIN_TICKET: Patch = ("kernels.cu", "atomicInc(ticket, gridDim.x - 1)", "(*ticket)++ % gridDim.x")


def test_a_missing_barrier_gives_a_wrong_sum():
    x = np.random.default_rng(0).integers(1, 100, (50, 300)).astype(np.float32)
    assert (row_sums(load(KERNELS, NO_BARRIER), x) != x.sum(1)).any()


def test_a_missing_syncwarp_gives_a_wrong_order():
    x = np.arange(96, dtype=np.int32)
    assert (reverse(load(KERNELS, NO_SYNCWARP), x) != x.reshape(3, 32)[:, ::-1].ravel()).any()


def test_a_wrong_shuffle_width_gives_a_wrong_sum():
    x = np.random.default_rng(0).integers(1, 100, (50, 300)).astype(np.float32)
    assert (row_sums(load(KERNELS, WRONG_WIDTH), x) != x.sum(1)).any()


def run_main(name: str, *patches: Patch) -> subprocess.CompletedProcess[str]:
    program = build([KERNELS, MAIN], sanitize=TSAN, patches=patches, out="selftest")
    variables = {**os.environ, **environment(TSAN, preload=False)}
    return subprocess.run([program, name], env=variables, capture_output=True, text=True, timeout=300)


@pytest.mark.parametrize("name", ["row_sums", "total", "reverse"])
def test_a_right_kernel_has_no_race(name):
    done = run_main(name)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "name, patches, where",
    [
        ("row_sums", [NO_BARRIER, NO_SYNCWARP], "block_sum"),
        ("reverse", [NO_BARRIER, NO_SYNCWARP], "reverse"),
        ("total", [PLAIN_TICKET], "total"),  # between blocks
    ],
)
def test_what_nothing_orders_is_a_race(name, patches, where):
    done = run_main(name, *patches)
    assert done.returncode == 66
    assert "WARNING: ThreadSanitizer: data race" in done.stderr
    assert where in done.stderr.partition("SUMMARY: ThreadSanitizer: data race")[2].splitlines()[0]


# A launch in a Python that has loaded the sanitizer's runtime. `memory` is 16-byte aligned and belongs to the library's
# allocator, which knows its end.
IN_PYTHON = """
import ctypes, sys
library = ctypes.CDLL(sys.argv[1])
malloc = ctypes.CDLL(None).malloc
malloc.restype = ctypes.c_void_p
memory = lambda size, offset=0: ctypes.c_void_p(malloc(ctypes.c_size_t(size)) + offset)
{code}
"""


def run_in_python(code: str, *patches: Patch) -> subprocess.CompletedProcess[str]:
    library = build([KERNELS], sanitize=ASAN, patches=patches, out="kernels.so")
    variables = {**os.environ, **environment(ASAN, preload=True)}
    command = [sys.executable, "-c", IN_PYTHON.format(code=code), str(library)]
    return subprocess.run(command, env=variables, capture_output=True, text=True, timeout=300)


def test_a_right_kernel_passes_the_address_sanitizer_in_python():
    reverse = "assert library.run_reverse(64, memory(256), memory(256)) == 0"
    # A launch that fails leaves frames behind; the ones after it must not trip over them.
    done = run_in_python(f"{reverse}\nassert library.run_ragged(0) == 719\n{reverse}\nprint('done')")
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr


def test_a_store_out_of_bounds_is_caught():
    fill = "assert library.run_fill(37, memory(148)) == 0"
    assert run_in_python(fill).returncode == 0
    done = run_in_python(fill, ONE_TOO_MANY)
    assert done.returncode != 0
    assert "AddressSanitizer: heap-buffer-overflow" in done.stderr
    assert "WRITE of size 4" in done.stderr and "in fill" in done.stderr


def test_a_read_beyond_dynamic_shared_memory_is_caught():
    # The last warp has 6 elements, and reverses 32.
    done = run_in_python("library.run_reverse(70, memory(280), memory(280))")
    assert done.returncode != 0
    assert "AddressSanitizer: heap-buffer-overflow" in done.stderr
    assert "READ of size 4" in done.stderr and "in reverse" in done.stderr


def test_a_misaligned_vector_is_caught():
    copy = "assert library.run_copy4(4, memory(80, {}), memory(80)) == 0"
    assert run_in_python(copy.format(0)).returncode == 0
    done = run_in_python(copy.format(4))
    assert done.returncode != 0
    assert "misaligned address" in done.stderr and "requires 16 byte alignment" in done.stderr


def test_a_patch_that_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="occurs 0 times in kernels.cu"):
        build([KERNELS], patches=[("kernels.cu", "no such text", "")], out="kernels.so")
    with pytest.raises(ValueError, match=r"occurs \d+ times in kernels.cu"):
        build([KERNELS], patches=[("kernels.cu", "__syncthreads();", "")], out="kernels.so")
    with pytest.raises(ValueError, match="0 file names"):
        build([KERNELS], patches=[("nowhere.cu", "a", "b")], out="kernels.so")
