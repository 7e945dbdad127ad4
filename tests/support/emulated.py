"""The CUDA kernels on the CPU (tests/cuda_emulator), as one more instruction set of the compiled library.

GENKERN_EMULATOR_SANITIZE=address,undefined takes a build with those sanitizers, whose runtime must be preloaded;
GENKERN_EMULATOR_LIBRARY, one that is there.
"""

from __future__ import annotations

import ctypes
import functools
import os
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path

from cuda_emulator.build import Patch, build

from genkern import _backend

ROOT = Path(__file__).resolve().parents[2]
SOURCES = (
    *sorted((ROOT / "csrc" / "cuda").glob("*.cu")),
    ROOT / "csrc" / "cuda" / "dispatch.cpp",
    ROOT / "tests" / "cuda_emulator" / "kernels.cpp",
)


@functools.cache
def missing() -> str | None:
    """What this machine lacks to build the emulated kernels."""
    found = shutil.which("g++")
    said = subprocess.run([found, "--version"], capture_output=True, text=True).stdout if found else "clang"
    return "the emulated CUDA kernels need GNU's g++" if "clang" in said else None


def library(sanitize: Sequence[str] = (), patches: Iterable[Patch] = (), extra_flags: Sequence[str] = ()) -> Path:
    """The kernels, built (minutes, once)."""
    name = "genkern_emulated.so"
    return build(SOURCES, sanitize=sanitize, patches=patches, extra_flags=extra_flags, out=name)


@functools.cache
def load() -> ctypes.CDLL:
    """Offer the library's kernels to genkern._C."""
    sanitize = tuple(filter(None, os.environ.get("GENKERN_EMULATOR_SANITIZE", "").split(",")))
    loaded = ctypes.CDLL(os.environ.get("GENKERN_EMULATOR_LIBRARY") or str(library(sanitize)))
    loaded.emulated_kernels.restype = ctypes.c_void_p
    _backend.native.add_kernels(loaded.emulated_kernels())
    return loaded
