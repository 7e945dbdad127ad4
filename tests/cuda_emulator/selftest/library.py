"""The self-test's libraries, loaded."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from cuda_emulator.build import HERE, Patch, build

KERNELS = HERE / "selftest" / "kernels.cu"
CONVERSIONS = HERE / "selftest" / "conversions.cu"
LAUNCH_FAILURE = 719


def load(source: Path, *patches: Patch, extra_flags: Sequence[str] = ()) -> ctypes.CDLL:
    library = ctypes.CDLL(str(build([source], patches=patches, out=f"{source.stem}.so", extra_flags=extra_flags)))
    if source == KERNELS:
        library.failure.restype = ctypes.c_char_p
        library.run_nothing.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t]
    return library


def pointer(array: np.ndarray) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)


def row_sums(library: ctypes.CDLL, x: np.ndarray) -> np.ndarray:
    out = np.empty(len(x), np.float32)
    assert library.run_row_sums(*x.shape, pointer(x), pointer(out)) == 0
    return out


def reverse(library: ctypes.CDLL, x: np.ndarray) -> np.ndarray:
    out = np.full_like(x, -1)
    assert library.run_reverse(len(x), pointer(x), pointer(out)) == 0
    return out
