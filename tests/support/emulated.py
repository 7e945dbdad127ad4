"""The CUDA kernels on the CPU (tests/cuda_emulator), as one more instruction set of the compiled library.

GENKERN_EMULATOR_SANITIZE=address,undefined takes a build with those sanitizers, whose runtime must be preloaded.
"""

from __future__ import annotations

import ctypes
import functools
import os
import shutil
from pathlib import Path

from cuda_emulator.build import build

from genkern import _backend

ROOT = Path(__file__).resolve().parents[2]
SOURCES = (
    *sorted((ROOT / "csrc" / "cuda").glob("*.cu")),
    ROOT / "csrc" / "cuda" / "dispatch.cpp",
    ROOT / "tests" / "cuda_emulator" / "kernels.cpp",
)


def missing() -> str | None:
    """What this machine lacks to build the emulated kernels."""
    return None if shutil.which("g++") else "the emulated CUDA kernels need g++"


@functools.cache
def load() -> ctypes.CDLL:
    """Build the library (minutes, once), and offer its kernels to genkern._C."""
    sanitize = tuple(filter(None, os.environ.get("GENKERN_EMULATOR_SANITIZE", "").split(",")))
    library = ctypes.CDLL(str(build(SOURCES, sanitize=sanitize, out="genkern_emulated.so")))
    library.emulated_kernels.restype = ctypes.c_void_p
    _backend.native.add_kernels(library.emulated_kernels())
    return library
