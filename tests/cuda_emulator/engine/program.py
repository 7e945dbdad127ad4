"""The engine of csrc/cuda by itself: launches.cu as a library, and checked against plain loops by main.cpp."""

from __future__ import annotations

import ctypes
import os
import subprocess
from collections.abc import Sequence

from cuda_emulator.build import HERE, Patch, build, environment

LAUNCHES, MAIN = HERE / "engine" / "launches.cu", HERE / "engine" / "main.cpp"
QUICK = ("-O0",)  # to compile, which is most of the time
CHECKS = ("sums", "visits", "keys")

PLAIN = ()
ASAN = ("address", "undefined")
TSAN = ("thread",)
RACE = 66  # the exit status of ThreadSanitizer's reports


def run(check: str, sanitize: Sequence[str] = PLAIN, *patches: Patch) -> subprocess.CompletedProcess[str]:
    program = build([LAUNCHES, MAIN], sanitize=sanitize, patches=patches, out="engine", extra_flags=QUICK)
    variables = {**os.environ, **environment(sanitize, preload=False)}
    return subprocess.run([program, check], env=variables, capture_output=True, text=True, timeout=300)


def load() -> ctypes.CDLL:
    library = ctypes.CDLL(str(build([LAUNCHES], out="engine.so", extra_flags=QUICK)))
    library.visit.restype = library.reduce.restype = ctypes.c_char_p
    library.reduce_workspace.restype = ctypes.c_int64
    return library


def int64s(*values: int) -> ctypes.Array:
    return (ctypes.c_int64 * len(values))(*values)
