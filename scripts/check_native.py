"""Compiles the torch-free sources with warnings as errors: `check_native.py cpp` or `check_native.py cuda`.

No output is kept. The CUDA check compiles for every architecture of a default build and fails on register spills.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from build_plan import CXX_FLAGS, DEFAULT_CUDA_ARCHS, NVCC_FLAGS

CSRC = Path(__file__).resolve().parents[1] / "csrc"
AT_ONCE = 2


def main(what: str) -> int:
    if what == "cpp":
        commands = {
            f"cpu/{source.name}": ["c++", *CXX_FLAGS, "-Werror", "-fsyntax-only", f"-I{CSRC}", str(source)]
            for source in sorted(CSRC.glob("cpu/*.cpp"))
        }
        return run(commands)
    nvcc = shutil.which("nvcc") or shutil.which("/usr/local/cuda/bin/nvcc")
    if nvcc is None:
        print("cuda-check: skipped, there is no nvcc on PATH or in /usr/local/cuda")
        return 0
    with tempfile.TemporaryDirectory() as folder:
        strict = ["-Werror=all-warnings", "-Xptxas=-warn-spills,-Werror"]
        archs = [arch.split("+")[0].replace(".", "") for arch in DEFAULT_CUDA_ARCHS.split(";")]
        commands = {
            f"cuda/{source.name} sm_{arch}": [
                *[nvcc, *NVCC_FLAGS, *strict, f"-arch=sm_{arch}", f"-I{CSRC}"],
                *["-c", str(source), "-o", f"{folder}/{source.stem}-{arch}.o"],
            ]
            for source in sorted(CSRC.glob("cuda/*.cu"))
            for arch in archs
        }
        return run(commands)


def run(commands: dict[str, list[str]]) -> int:
    """Run all, show the output of those that fail; the number of failures."""
    failures = 0
    with ThreadPoolExecutor(AT_ONCE) as pool:
        done = pool.map(lambda command: subprocess.run(command, capture_output=True, text=True), commands.values())
        for name, result in zip(commands, done, strict=True):
            print(f"{'ok  ' if result.returncode == 0 else 'FAIL'} {name}", flush=True)
            if result.returncode:
                failures += 1
                print(result.stdout + result.stderr, flush=True)
    print(f"{len(commands) - failures} of {len(commands)} compiled without a warning")
    return min(failures, 1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
