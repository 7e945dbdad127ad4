"""The CPU's kernels for 64-bit Arm (tests/aarch64), run by qemu, as one more instruction set of the compiled library.

GENKERN_AARCH64=1 makes it a backend of the tests; `make neon` does.
"""

from __future__ import annotations

import atexit
import ctypes
import functools
import os
import subprocess

from aarch64 import build

from genkern import _backend

ASKED_FOR = os.environ.get("GENKERN_AARCH64") == "1"
NAME = "neon-emulated"
missing = build.missing


@functools.cache
def load() -> ctypes.CDLL:
    """Start the machine, and offer its kernels to genkern._C."""
    library = ctypes.CDLL(str(build.client()))
    library.remote_kernels.restype = ctypes.c_void_p
    library.kernel_name.restype = ctypes.c_char_p
    library.kernel_launches.restype = ctypes.c_int64
    machine = subprocess.Popen(
        [str(build.runner()), str(build.machine())], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
    )
    assert machine.stdin and machine.stdout
    atexit.register(lambda: (machine.stdin.close(), machine.wait()))  # it ends when its input does
    address = library.remote_kernels(machine.stdin.fileno(), machine.stdout.fileno())
    _backend.native.add_kernels(address)
    return library


def launches() -> dict[str, int]:
    """How often this process has had each kernel run."""
    library, found, place = load(), {}, 0
    while name := library.kernel_name(place):
        found[name.decode()] = library.kernel_launches(place)
        place += 1
    return found
