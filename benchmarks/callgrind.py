"""Instructions that genkern's binary executes, counted by Valgrind's callgrind: the same number in every run.

python -m benchmarks.callgrind FOLDER ISA FAMILY ...   under callgrind: runs the cases, a dump each into FOLDER
"""

from __future__ import annotations

import ctypes
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from benchmarks.cases import DTYPES, OPERATIONS, Case, step
from genkern import _backend

_ROOT = Path(__file__).parents[1]
_KERNEL = re.compile(r"genkern::(avx2|avx512|baseline)::")
# Client requests are macros of C. Instrumentation begins after the imports, which it leaves quick, and stays: each time
# that it is toggled, all code is translated anew.
_REQUESTS = """
#include <valgrind/callgrind.h>
void begin(void) { CALLGRIND_START_INSTRUMENTATION; }
void start(void) { CALLGRIND_ZERO_STATS; }
void stop(const char *name) { CALLGRIND_DUMP_STATS_AT(name); }
"""


class Missing(Exception):
    """What counting needs and is not there."""


@dataclass(frozen=True)
class Counts:
    """Executions of one step, by function and address in genkern's binary; of the C library's mathematics, all."""

    functions: dict[str, dict[int, int]]
    libm: int

    @property
    def kernels(self) -> dict[str, dict[int, int]]:
        """Functions compiled for an instruction set; the rest checks, allocates, records the graph."""
        return {name: of for name, of in self.functions.items() if _KERNEL.search(name)}

    @property
    def in_kernels(self) -> int:
        """With what they ask of the C library: nothing else here does."""
        return _sum(self.kernels) + self.libm

    @property
    def total(self) -> int:
        return _sum(self.functions) + self.libm


def _sum(functions: dict[str, dict[int, int]]) -> int:
    return sum(sum(of.values()) for of in functions.values())


def count(families: Sequence[str], isa: str) -> list[tuple[Case, Counts]]:
    """What each case of the families executes, once warm, on one thread. Valgrind knows vectors of up to 256 bits."""
    if _backend.native is None:
        raise Missing(f"no compiled kernels: {_backend.reason}")
    if isa not in _backend.native.isas():
        raise Missing(f"this processor has no {isa}")
    for program in ("valgrind", "cc", "c++filt"):
        if shutil.which(program) is None:
            raise Missing(f"{program} is not installed")
    with tempfile.TemporaryDirectory(prefix="genkern-callgrind-") as name:
        folder = Path(name)
        (folder / "requests.c").write_text(_REQUESTS)
        built = ["cc", "-shared", "-fPIC", "-O1", str(folder / "requests.c"), "-o", str(folder / "requests.so")]
        if (done := subprocess.run(built, capture_output=True, text=True)).returncode:
            raise Missing(f"valgrind's headers: {done.stderr.strip().splitlines()[0]}")
        options = ["--tool=callgrind", "--instr-atstart=no", "--dump-instr=yes", "--compress-pos=no"]
        options += ["--compress-strings=no", "--demangle=no", f"--callgrind-out-file={folder / 'out'}"]
        done = subprocess.run(
            ["valgrind", *options, sys.executable, "-m", "benchmarks.callgrind", str(folder), isa, *families],
            # One thread counts for all, and no hash that differs from run to run decides an order.
            env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONHASHSEED": "0"},
            cwd=_ROOT,
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise RuntimeError(f"the counted process failed:\n{done.stderr[-2000:]}")
        return [(case, parse(readable(folder / f"out.{n}"))) for n, case in enumerate(_cases(families), start=1)]


def readable(dump: Path) -> str:
    """The dump with the names that objdump gives functions; Valgrind itself cannot demangle those of some lambdas."""
    with dump.open() as text:
        return subprocess.run(["c++filt"], stdin=text, capture_output=True, text=True, check=True).stdout


def parse(dump: str) -> Counts:
    """Of callgrind's format, uncompressed, the self cost of functions in genkern's binary and in libm."""
    functions: dict[str, dict[int, int]] = defaultdict(lambda: defaultdict(int))
    ours, in_libm, libm, function, inclusive = False, False, 0, "", False
    for line in dump.splitlines():
        if line.startswith("ob="):
            ours, in_libm = "genkern/_C." in line, "/libm." in line or "/libm-" in line
        elif line.startswith("fn="):
            function = line[3:]
        elif line.startswith("calls="):
            inclusive = True  # the next line is what the callee took
        elif line.startswith("0x"):
            address, *_, cost = line.split()
            if ours and not inclusive:
                functions[function][int(address, 16)] += int(cost)
            elif in_libm and not inclusive:
                libm += int(cost)
            inclusive = False
    return Counts({name: dict(of) for name, of in functions.items()}, libm)


def disassembly() -> Iterator[tuple[str, int, str]]:
    """Function, address and text of every instruction of genkern's binary."""
    if shutil.which("objdump") is None:
        raise Missing("objdump is not installed")
    binary = str(_backend.native.__file__)
    done = subprocess.run(["objdump", "-dC", "--no-show-raw-insn", binary], capture_output=True, text=True, check=True)
    function = ""
    for line in done.stdout.splitlines():
        if line.endswith(">:"):
            function = line.partition(" <")[2][:-2]
            continue
        address, colon, text = line.partition(":\t")
        if colon:
            yield function, int(address, 16), text


def _cases(families: Sequence[str]) -> list[Case]:
    """Of the largest of the small shapes: enough elements for loops to show, few enough to count."""
    ops = [op for op in OPERATIONS if op.family in families]
    return [
        Case(op, "small", op.shapes["small"][-1], dtype, mode) for op in ops for dtype in DTYPES for mode in op.modes
    ]


def _run(folder: Path, isa: str, families: Sequence[str]) -> None:
    """In the process that is counted."""
    _backend.native.set_isa(isa)
    requests = ctypes.CDLL(str(folder / "requests.so"))
    torch.set_num_threads(1)
    requests.begin()
    for case in _cases(families):
        torch.manual_seed(0)
        run = step(case.op.genkern, case.op.make_inputs(case.shape, case.dtype), case.mode)
        run()
        requests.start()
        run()
        requests.stop(str(case).encode())


if __name__ == "__main__":
    _run(Path(sys.argv[1]), sys.argv[2], sys.argv[3:])
