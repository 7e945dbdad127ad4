"""The loops of the CUDA kernels: every element once, every sum whole, no race, whatever the extent."""

from __future__ import annotations

import ctypes
import random
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from cuda_emulator.build import Patch
from cuda_emulator.engine.program import ASAN, CHECKS, PLAIN, TSAN, int64s, load, run
from cuda_emulator.selftest.library import pointer
from hypothesis import given, settings
from hypothesis import strategies as st
from support import emulated

import genkern as gk
from genkern import _backend
from genkern.reference import random as reference

# What needs more than 16384 blocks, or 1056 rows, on a GPU: in little.
FEW_BLOCKS: tuple[Patch, ...] = (
    ("plan.h", "kMostBlocks = 16384;", "kMostBlocks = 4;"),
    ("plan.h", "kFewRows = 1056;", "kFewRows = 2;"),
)
MOST_BLOCKS = 16384
PLACES = 1021
DTYPES = (np.float32, np.float16, np.float32, np.float64)  # by engine
WIDTHS = (4, 8, 2, 1)
ANY_STRIDE = (False, False, True, True)
NONE, EVENT, TOTAL = range(3)


@pytest.fixture(scope="module")
def engine() -> ctypes.CDLL:
    return load()


@pytest.mark.parametrize("patches", [(), FEW_BLOCKS], ids=["", "few-blocks"])
@pytest.mark.parametrize("sanitize", [PLAIN, ASAN, TSAN], ids=["plain", "address", "thread"])
@pytest.mark.parametrize("check", CHECKS)
def test_the_engine_agrees_with_plain_loops(check: str, sanitize: Sequence[str], patches: Sequence[Patch]) -> None:
    done = run(check, sanitize, *patches)
    assert (done.returncode, done.stderr) == (0, "")


# Extents, and where their elements lie


@st.composite
def layouts(draw: st.DrawFn) -> tuple[int, tuple[int, ...], tuple[int, ...], int, int]:
    """An engine, an extent, strides, elements before the first one, and a phase."""
    kind = draw(st.integers(0, 3))
    rows = draw(st.integers(1, 9) | st.integers(1, 300))
    runs = draw(st.integers(1, 5)) if ANY_STRIDE[kind] else 1
    length = draw(st.integers(1, 40) | st.integers(1, 20000 // rows // runs + 1))
    step = draw(st.integers(1, 3)) if ANY_STRIDE[kind] else 1
    run = length * step + draw(st.integers(0, 5))
    row = run * runs + draw(st.integers(0, 9))
    return kind, (rows, runs, length), (row, run, step), draw(st.integers(0, 9)), draw(st.integers(0, WIDTHS[kind] - 1))


def indices(extent: tuple[int, ...], strides: tuple[int, ...]) -> np.ndarray:
    """Where the elements lie, in their logical order."""
    return sum(
        np.arange(n).reshape([-1 if axis == place else 1 for axis in range(3)]) * stride
        for place, (n, stride) in enumerate(zip(extent, strides, strict=True))
    ).ravel()


@settings(max_examples=400, deadline=None)
@given(layout=layouts())
def test_every_element_is_visited_once_and_nothing_else(engine: ctypes.CDLL, layout: tuple) -> None:
    kind, extent, strides, ahead, phase = layout
    at = indices(extent, strides) + ahead
    counts, places = np.zeros(at[-1] + 20, DTYPES[kind]), np.full(at[-1] + 20, -1, DTYPES[kind])
    start = [ctypes.c_void_p(a.ctypes.data + ahead * a.itemsize) for a in (counts, places)]
    assert engine.visit(kind, int64s(*extent), int64s(*strides), phase, *start) is None
    visits, indexed = np.zeros_like(counts), np.full_like(places, -1)
    visits[at], indexed[at] = 1, np.arange(len(at)) % PLACES
    np.testing.assert_array_equal(counts, visits)
    np.testing.assert_array_equal(places, indexed)


@settings(max_examples=400, deadline=None)
@given(layout=layouts(), losses=st.sampled_from([1, 3]), reduction=st.sampled_from([NONE, EVENT, TOTAL]))
def test_every_sum_is_that_of_its_elements(engine: ctypes.CDLL, layout: tuple, losses: int, reduction: int) -> None:
    kind, extent, strides, ahead, phase = layout
    at = indices(extent, strides) + ahead
    x = np.full(at[-1] + 20, np.nan, DTYPES[kind])
    values = np.random.default_rng(0).integers(1, 17, len(at))  # whole numbers, whose sums are exact
    x[at] = values
    each = {NONE: values, EVENT: values.reshape(extent[0], -1).sum(1), TOTAL: values.sum()[None]}[reduction]
    out = np.full((losses, len(each)), -1, np.float64 if kind == 3 else np.float32)
    workspace = np.full(engine.reduce_workspace(int64s(*extent), reduction, losses), np.nan)
    ticket = ctypes.c_uint(0)
    status = engine.reduce(
        *(kind, losses, reduction, int64s(*extent), int64s(*strides), phase, ctypes.c_double(0.5)),
        *(ctypes.c_void_p(x.ctypes.data + ahead * x.itemsize), pointer(out), pointer(workspace), ctypes.byref(ticket)),
    )
    assert status is None
    assert ticket.value == 0
    np.testing.assert_array_equal(out, 0.5 * np.arange(1, losses + 1)[:, None] * each)


# Plans beyond what can be run here


def random_extent(numbers: random.Random) -> tuple[int, int, int]:
    """Of up to 2**46 elements, each factor of any size, powers of two and their neighbours often."""
    sizes, left = [], 46.0
    for _ in range(3):
        bits = numbers.uniform(0, left)
        size = 1 << int(bits) if numbers.random() < 0.4 else int(2**bits)
        size = max(1, size + numbers.choice([0, 0, 1, -1]))
        sizes.append(size)
        left = max(0.0, left - bits)
    numbers.shuffle(sizes)
    rows, runs, length = sizes
    return rows, runs if numbers.random() < 0.5 else 1, length


def test_plans_of_any_size_cover_the_extent_within_the_limits(engine: ctypes.CDLL) -> None:
    """By Python's integers, which do not overflow."""
    numbers = random.Random(0)
    beyond = {"elements": 0, "event": 0, "rows": 0, "pieces": 0, "blocks": 0}
    for _ in range(20_000):
        rows, runs, length = random_extent(numbers)
        width = numbers.choice([1, 2, 4, 8])
        phase = numbers.choice([0, numbers.randrange(width)])
        out = int64s(*[0] * 6)
        engine.plan(int64s(rows, runs, length), width, phase, out)
        groups_a_run, groups, pieces, piece, blocks, items = out
        told = f"[{rows}, {runs}, {length}], width {width}, phase {phase}: {list(out)}"

        # A run that begins `head` elements into a group touches so many; heads recur every `width` runs.
        heads = {(phase + run * length) % width for run in range(min(rows * runs, width))}
        assert groups_a_run >= max((head + length + width - 1) // width for head in heads), told
        assert groups == runs * groups_a_run, told
        assert items == rows * pieces, told
        assert pieces >= 1 and (pieces - 1) * piece < groups <= pieces * piece, told
        assert 1 <= blocks <= MOST_BLOCKS, told
        assert blocks <= items, told  # none without work
        for losses in (1, 3):
            sums = engine.reduce_workspace(int64s(rows, runs, length), EVENT, losses)
            assert sums >= (losses * rows * pieces if pieces > 1 else 0), told
            assert engine.reduce_workspace(int64s(rows, runs, length), TOTAL, losses) >= losses * blocks, told
        beyond["elements"] += rows * runs * length > 2**31
        beyond["event"] += runs * length > 2**31
        beyond["rows"] += rows > 2**31
        beyond["pieces"] += pieces > 1
        beyond["blocks"] += items > 256 * MOST_BLOCKS  # work for a loop, even where a row is a thread's
    assert min(beyond.values()) > 500, beyond


# A key in a generator's raw state, as a captured CUDA graph has it


@pytest.mark.skipif(_backend.native is None, reason=f"no compiled kernels: {_backend.reason}")
@pytest.mark.parametrize("n", [1, 7, 4099])
@pytest.mark.parametrize(
    ("seed", "offset", "added"), [(0, 0, 0), (42, 8, 4), (7, 2**33, 12), (2**64 - 1, 2**64 - 3, 8)]
)
def test_a_generators_state_is_folded_in_the_launch(seed: int, offset: int, added: int, n: int) -> None:
    if missing := emulated.missing():
        pytest.skip(missing)
    draw = emulated.load().draw
    draw.restype = ctypes.c_char_p
    zeros, z, used = np.zeros(n, np.float32), np.full(n + 8, np.nan, np.float32), np.zeros(2, np.uint64)
    state = [ctypes.c_uint64(word) for word in (seed, offset, added)]
    assert draw(*state, ctypes.c_int64(n), pointer(zeros), pointer(z), pointer(used)) is None
    words = torch.tensor([seed, (offset + added) % 2**64], dtype=torch.uint64).view(torch.int64)
    key = reference.fold(*words)
    assert used.tolist() == key.tolist()
    # 4 ulp, or 1e-6 near a zero of sine or cosine (docs/random.md)
    np.testing.assert_allclose(z[:n], gk.random.normal(key, (n,)).numpy(), rtol=4 * 2.0**-23, atol=1e-6)
    assert np.isnan(z[n:]).all()
