"""Conversions, device functions and vector types are those of CUDA."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest
from cuda_emulator.selftest.library import CONVERSIONS, load, pointer


@pytest.fixture(scope="module")
def conversions() -> ctypes.CDLL:
    library = load(CONVERSIONS)
    library.reciprocal_root.argtypes, library.reciprocal_root.restype = [ctypes.c_float], ctypes.c_float
    return library


def around(values: np.ndarray) -> np.ndarray:
    """float32 values, the midpoints between neighbours, and each one's neighbours in float32, of both signs.

    Rounding is a step function: right on either side of each step it is right everywhere.
    """
    values = np.sort(values.astype(np.float64))
    beyond = values[-1] + (values[-1] - values[-2])
    middle = ((values + np.append(values[1:], beyond)) / 2).astype(np.float32)
    steps = np.concatenate([values.astype(np.float32), middle])
    up, down = (np.nextafter(steps, np.float32(limit)) for limit in (np.inf, -np.inf))
    with np.errstate(over="ignore"):
        special = np.array([np.inf, np.nan, 0, 1e-45, 1.1754942e-38, 3.4028235e38], np.float32)
    every = np.concatenate([steps, up, down, special])
    return np.concatenate([every, -every])


def assert_same_bits(actual: np.ndarray, expected: np.ndarray, infinity: int) -> None:
    nan = (expected & 0x7FFF) > infinity
    np.testing.assert_array_equal(actual[~nan], expected[~nan])
    assert (actual[nan] == 0x7FFF).all()


def test_half_converts_as_ieee_says(conversions):
    bits = np.arange(65536, dtype=np.uint16)
    out = np.empty(65536, np.float32)
    conversions.from_half(pointer(bits), pointer(out), ctypes.c_long(65536))
    np.testing.assert_array_equal(out, bits.view(np.float16).astype(np.float32))
    np.testing.assert_array_equal(np.signbit(out), bits >= 0x8000)

    x = around(bits[:0x7C00].view(np.float16))
    x = x[: len(x) // 2 * 2]
    with np.errstate(over="ignore"):
        expected = x.astype(np.float16).view(np.uint16)
    for name in ("to_half", "to_half2"):
        actual = np.empty(len(x), np.uint16)
        getattr(conversions, name)(pointer(x), pointer(actual), ctypes.c_long(len(x)))
        assert_same_bits(actual, expected, 0x7C00)


def test_bfloat16_converts_as_ieee_says(conversions):
    bits = np.arange(65536, dtype=np.uint16)
    exact = (bits.astype(np.uint32) << 16).view(np.float32)
    out = np.empty(65536, np.float32)
    conversions.from_bfloat16(pointer(bits), pointer(out), ctypes.c_long(65536))
    np.testing.assert_array_equal(out.view(np.uint32), exact.view(np.uint32))

    x = around(exact[:0x7F80])
    # The nearest of all, ties to the even one, computed in float64 where both differences are exact.
    size = np.abs(x.astype(np.float64))
    finite = np.append(exact[:0x7F80].astype(np.float64), 2.0**128)
    below = np.clip(np.searchsorted(finite, size, side="right") - 1, 0, 0x7F7F)
    low, high = size - finite[below], finite[below + 1] - size
    nearest = below + ((high < low) | ((high == low) & (below % 2 == 1)))
    expected = np.where(np.isnan(x), 0x7FC0, np.where(np.isinf(x), 0x7F80, nearest)).astype(np.uint16)
    expected |= np.where(np.signbit(x), 0x8000, 0).astype(np.uint16)
    for name in ("to_bfloat16", "to_bfloat162"):
        actual = np.empty(len(x), np.uint16)
        getattr(conversions, name)(pointer(x), pointer(actual), ctypes.c_long(len(x)))
        assert_same_bits(actual, expected, 0x7F80)


def test_sincospi_is_exact_at_quarters_and_close_elsewhere(conversions):
    x = np.concatenate([np.arange(-16, 17) / 2, np.linspace(-3, 3, 1001), [np.inf, np.nan]])
    sin, cos = np.empty_like(x), np.empty_like(x)
    sinf, cosf = np.empty(len(x), np.float32), np.empty(len(x), np.float32)
    conversions.sin_cos_pi(*map(pointer, (x, sin, cos, sinf, cosf)), ctypes.c_long(len(x)))
    assert (sin[:33] == np.tile([0, 1, 0, -1], 9)[:33]).all()  # -8 is a whole number of turns
    assert (cos[:33] == np.tile([1, 0, -1, 0], 9)[:33]).all()
    with np.errstate(invalid="ignore"):
        np.testing.assert_allclose(sin, np.sin(np.pi * x), rtol=0, atol=4e-15)
        np.testing.assert_allclose(cos, np.cos(np.pi * x), rtol=0, atol=4e-15)
        single = x.astype(np.float32).astype(np.float64)
        np.testing.assert_allclose(sinf, np.sin(np.pi * single), rtol=0, atol=6e-8)
        np.testing.assert_allclose(cosf, np.cos(np.pi * single), rtol=0, atol=6e-8)


def test_bit_functions(conversions):
    out = np.zeros(5, np.int32)
    conversions.bits(0x00F00010, 0x80000001, pointer(out))
    assert out.tolist() == [5, 8, 5, 0x00F00010 * 0x80000001 >> 32, 0x00F00010]
    conversions.bits(0, 5, pointer(out))
    assert out.tolist() == [0, 32, 0, 0, 0]
    assert conversions.reciprocal_root(4.0) == 0.5


# float2 float3 float4 double2 double4 int2 uint4 short4 ushort2 uchar4 longlong2 half half2 bfloat16 bfloat162
LAYOUTS = [8, 8, 12, 4, 16, 16, 16, 16, 32, 16, 8, 8, 16, 16, 8, 8, 4, 4, 4, 4, 16, 16, 2, 2, 4, 4, 2, 2, 4, 4]


def test_vector_types_have_cudas_sizes_and_alignments(conversions):
    out = np.zeros(30, np.int32)
    conversions.layouts(pointer(out))
    assert out.tolist() == LAYOUTS
