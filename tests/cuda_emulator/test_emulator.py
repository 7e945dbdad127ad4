"""The emulator does what CUDA says of indices, launches, warps, blocks and atomics."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest
from cuda_emulator.build import ROOT, _included, _patched
from cuda_emulator.selftest.library import KERNELS, LAUNCH_FAILURE, load, pointer, reverse, row_sums

FULL = 0xFFFFFFFF
INVALID_VALUE, INVALID_CONFIGURATION = 1, 9


@pytest.fixture(scope="module")
def kernels() -> ctypes.CDLL:
    return load(KERNELS)


def triple(*values: int) -> ctypes.Array:
    return (ctypes.c_uint * 3)(*values)


# Indices and launches


@pytest.mark.parametrize("grid, block", [((1, 1, 1), (1, 1, 1)), ((2, 3, 4), (5, 3, 2)), ((7, 1, 2), (1024, 1, 1))])
def test_every_thread_of_every_block_runs_once_in_its_place(kernels, grid, block):
    out = np.full((*grid[::-1], *block[::-1], 6), 99, np.uint32)
    assert kernels.run_indices(triple(*grid), triple(*block), pointer(out)) == 0
    z, y, x, tz, ty, tx = np.indices(out.shape[:-1])
    np.testing.assert_array_equal(out, np.stack([x, y, z, tx, ty, tz], -1))


@pytest.mark.parametrize(
    "grid, block, shared, error",
    [
        ((1, 65535, 1), (1, 1, 1), 0, 0),
        ((1, 1, 1), (2, 8, 64), 48 * 1024, 0),
        ((0, 1, 1), (1, 1, 1), 0, INVALID_CONFIGURATION),
        ((1, 1, 1), (0, 1, 1), 0, INVALID_CONFIGURATION),
        ((2**31, 1, 1), (1, 1, 1), 0, INVALID_CONFIGURATION),
        ((1, 65536, 1), (1, 1, 1), 0, INVALID_CONFIGURATION),
        ((1, 1, 65536), (1, 1, 1), 0, INVALID_CONFIGURATION),
        ((1, 1, 1), (1025, 1, 1), 0, INVALID_CONFIGURATION),
        ((1, 1, 1), (32, 33, 1), 0, INVALID_CONFIGURATION),
        ((1, 1, 1), (1, 1, 65), 0, INVALID_CONFIGURATION),
        ((1, 1, 1), (1, 1, 1), 48 * 1024 + 1, INVALID_VALUE),
    ],
)
def test_a_launch_has_the_limits_of_a_gpu(kernels, grid, block, shared, error):
    assert kernels.run_nothing(triple(*grid), triple(*block), shared) == error
    assert kernels.last_error() == error
    assert kernels.last_error() == 0


def test_a_kernel_may_ask_for_more_shared_memory():
    library = load(KERNELS, ("kernels.cu", "__global__ void nothing() {}", "__global__ void nothing() { ; }"))
    one = triple(1, 1, 1)
    assert library.run_nothing(one, one, 100 * 1024) == INVALID_VALUE
    assert library.allow_nothing(100 * 1024) == 0
    assert library.run_nothing(one, one, 100 * 1024) == 0
    assert library.allow_nothing(228 * 1024) == INVALID_VALUE


# Warps


def source_lane(kind: int, lane: int, argument: int, width: int) -> int:
    """The lane that a shuffle reads, by the CUDA programming guide."""
    first = lane // width * width
    if kind == 0:
        return first + argument % width
    if kind == 1:
        return lane - argument if lane - argument >= first else lane
    if kind == 2:
        return lane + argument if lane + argument < first + width else lane
    return lane ^ argument if lane ^ argument < first + width else lane


@pytest.mark.parametrize("width", [1, 2, 4, 8, 16, 32])
@pytest.mark.parametrize("kind", range(4), ids=["idx", "up", "down", "xor"])
def test_a_shuffle_reads_the_lane_it_names(kernels, kind, width):
    for argument in range(32):
        out = np.zeros(64, np.int32)
        assert kernels.shuffle_i32(64, kind, ctypes.c_uint(FULL), argument, width, pointer(out)) == 0
        expected = [source_lane(kind, lane, argument, width) - 5 for lane in range(32)] * 2
        assert out.tolist() == expected, argument


@pytest.mark.parametrize(
    "name, dtype, base",
    [
        ("u32", np.uint32, 0xFFFFFF00),
        ("i64", np.int64, -(1 << 40)),
        ("f32", np.float32, 0.5),
        ("f64", np.float64, 2.0**40),
    ],
)
def test_a_shuffle_carries_every_type(kernels, name, dtype, base):
    out = np.zeros(32, dtype)
    assert getattr(kernels, f"shuffle_{name}")(32, 3, ctypes.c_uint(FULL), 1, 32, pointer(out)) == 0
    np.testing.assert_array_equal(out, np.asarray([lane ^ 1 for lane in range(32)]).astype(dtype) + dtype(base))


def test_a_lane_outside_the_mask_gives_all_ones(kernels):
    out = np.zeros(32, np.int32)
    assert kernels.shuffle_i32(32, 2, 0x00FF, 4, 32, pointer(out)) == 0
    assert out.tolist() == [-1, 0, 1, 2] + [-1] * 4 + [0] * 24  # lanes 4 to 7 read 8 to 11


@pytest.mark.parametrize("threads", [32, 41, 96])
@pytest.mark.parametrize("mask", [FULL, 0x1FF, 0x155])
@pytest.mark.parametrize("predicates", [0, FULL, 0x1FF, 0x10])
def test_votes_count_the_lanes_of_the_mask(kernels, threads, mask, predicates):
    out = np.full((threads, 6), 7, np.uint32)
    assert kernels.run_votes(threads, ctypes.c_uint(mask), ctypes.c_uint(predicates), pointer(out)) == 0
    for thread in range(threads):
        lanes = min(32, threads - thread // 32 * 32)
        voters = mask & ((1 << lanes) - 1)
        if not voters >> thread % 32 & 1:
            assert out[thread].tolist() == [7] * 6
            continue
        ballot = predicates & voters
        assert out[thread].tolist() == [ballot, ballot != 0, ballot == voters, 7, 7, 7]


def test_lanes_meet_through_syncwarp(kernels):
    x = np.arange(96, dtype=np.int32)
    np.testing.assert_array_equal(reverse(kernels, x), x.reshape(3, 32)[:, ::-1].ravel())


# Blocks


@pytest.mark.parametrize("threads, least", [(1, 0), (70, 0), (70, 69), (256, 256), (1024, 512)])
def test_a_barrier_counts_predicates(kernels, threads, least):
    out = np.zeros((threads, 3), np.uint32)
    assert kernels.run_block_votes(threads, least, pointer(out)) == 0
    assert (out == [threads - least, least < threads, least == 0]).all()


def test_a_block_adds_up_its_row(kernels):
    x = np.random.default_rng(0).integers(-100, 100, (50, 300)).astype(np.float32)
    np.testing.assert_array_equal(row_sums(kernels, x), x.sum(1))


@pytest.mark.parametrize("n", [1, 128, 5000])
def test_the_last_block_adds_up_all(kernels, n):
    x = np.random.default_rng(0).integers(-100, 100, n).astype(np.float32)
    parts, out, ticket = np.empty(n // 128 + 1, np.float32), np.zeros(1, np.float32), ctypes.c_uint(0)
    for _ in range(10):  # in as many orders of the blocks
        out[0] = 0.5
        assert kernels.run_total(n, pointer(x), pointer(parts), ctypes.byref(ticket), pointer(out)) == 0
        assert out[0] == x.sum()
        assert ticket.value == 0


@pytest.mark.parametrize(
    "name, dtype", [("i32", np.int32), ("u64", np.uint64), ("f32", np.float32), ("f64", np.float64)]
)
def test_atomics(kernels, name, dtype):
    total, wrapped = np.zeros(1, dtype), np.zeros(1, np.int32)
    extremes = np.array([0, 1000, 0, FULL, 0], np.uint32)
    assert getattr(kernels, f"count_{name}")(pointer(total), pointer(extremes), pointer(wrapped)) == 0
    assert total[0] == 192
    assert extremes[:4].tolist() == [191, 0, FULL, 0]
    assert 1 <= extremes[4] <= 192
    assert wrapped[0] == (192 * 0x7FFFFFFF + 2**31) % 2**32 - 2**31


# What cannot go on


@pytest.mark.parametrize(
    "kind, says",
    [
        (0, ["thread (40, 0, 0) and 23 more ended", "thread (0, 0, 0) and 39 more wait at __syncthreads"]),
        (1, ["wait at __syncthreads", "waits at __syncwarp with mask 0x00000003", "__syncwarp with mask 0xffffffff"]),
        (2, ["thread (5, 0, 0) and 1 more ended", "wait at __shfl_sync with mask 0xffffffff"]),
        (3, ["calls a warp operation with a mask that does not name it"]),
        (4, ["width that is no power of two"]),
        (5, ["and 31 more wait at __syncthreads_or", "and 31 more wait at __syncthreads_and"]),
    ],
)
def test_threads_that_can_never_go_on_are_reported(kernels, kind, says):
    assert kernels.run_ragged(kind) == LAUNCH_FAILURE
    assert kernels.last_error() == LAUNCH_FAILURE
    message = kernels.failure().decode()
    assert "block (0, 0, 0)" in message
    for text in says:
        assert text in message
    x = np.arange(64, dtype=np.int32)  # and the next launch is none the worse
    np.testing.assert_array_equal(reverse(kernels, x), x.reshape(2, 32)[:, ::-1].ravel())


def test_ucontext_serves_where_there_is_no_switch_by_hand():
    library = load(KERNELS, extra_flags=("-DEMULATOR_UCONTEXT",))
    x = np.random.default_rng(0).integers(-100, 100, (50, 300)).astype(np.float32)
    np.testing.assert_array_equal(row_sums(library, x), x.sum(1))
    assert library.run_ragged(0) == LAUNCH_FAILURE
    np.testing.assert_array_equal(row_sums(library, x), x.sum(1))


def test_a_source_is_compiled_with_what_it_includes_and_nothing_else():
    source = ROOT / "csrc" / "cuda" / "gan.cu"
    texts = _patched([source], [("tiles/gan.h", "#pragma once", "#pragma once  // patched")])
    included = {str(path.relative_to(ROOT)): text for path, text in _included(source, texts).items()}
    assert included.keys() >= {"csrc/cuda/gan.cu", "csrc/cuda/engine.cuh", "csrc/tiles/gan.h", "csrc/math/philox.h"}
    assert "// patched" in included["csrc/tiles/gan.h"]
    assert not [path for path in included if path.startswith(("csrc/ops", "csrc/cpu", "csrc/tiles/hierarchical"))]
