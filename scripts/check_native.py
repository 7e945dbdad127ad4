"""Compiles the torch-free sources with warnings as errors: `check_native.py cpp` or `check_native.py cuda [--write]`.

Those for the CPU are compiled by the system's compiler and by clang, where there is one.
No output is kept. The CUDA check compiles for every architecture of a default build, fails on register spills and on
local memory, and compares benchmarks/results/cuda.md with what the kernels take of an SM; --write updates the page.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cuda_report
from build_plan import CXX_FLAGS, DEFAULT_CUDA_ARCHS, NVCC_FLAGS, family_sources, gencode
from cuda_resources import Use, faults, launch_bounds, parse_ptxas, readable_names

CSRC = Path(__file__).resolve().parents[1] / "csrc"
AT_ONCE = 2
COMPILERS = ("c++", "clang++")


def main(what: str, *options: str) -> int:
    if what == "cpp":
        if not (names := [name for name in COMPILERS if shutil.which(name)]):
            print(f"none of {', '.join(COMPILERS)} is on PATH")
            return 1
        with tempfile.TemporaryDirectory() as folder:
            sources = [*family_sources(CSRC, Path(folder)), *sorted(CSRC.glob("cpu/*.cpp"))]
            check = [*CXX_FLAGS, "-Werror", "-fsyntax-only", f"-I{CSRC}"]
            commands = {f"{name} {source.name}": [name, *check, str(source)] for name in names for source in sources}
            found = run(commands)
        for name in COMPILERS:
            if name not in names:
                print(f"{name} is not on PATH: nothing was compiled by it")
        return 0 if len(found) == len(commands) else 1
    nvcc = shutil.which("nvcc") or shutil.which("/usr/local/cuda/bin/nvcc")
    if nvcc is None:
        print("cuda-check: skipped, there is no nvcc on PATH or in /usr/local/cuda")
        return 0
    with tempfile.TemporaryDirectory() as folder:
        return check_cuda(nvcc, Path(folder), write="--write" in options)


def check_cuda(nvcc: str, folder: Path, write: bool) -> int:
    """Each file is compiled once, for all architectures: warnings, resources and code are of one compilation."""
    commands = cuda_commands(nvcc, folder)
    outputs = run(commands)
    if len(outputs) < len(commands):
        return 1
    uses = [use for output in outputs.values() for use in parse_ptxas(output)]
    names = readable_names(use.function for use in uses)
    threads = {k: n for ptx in folder.glob("*/*.ptx") for k, n in launch_bounds(ptx.read_text()).items()}
    kernels = {use.function for use in uses if use.kernel}
    print(f"{len(kernels)} kernels; the longest in ptxas: {slowest(uses, names)}")

    version = nvcc_version(nvcc)
    problems = faults(uses, names)
    if not problems:
        block = cuda_report.resources_block(version, uses, threads, names)
        problems += filter(None, [cuda_report.settle(cuda_report.PAGE, "resources", block, version, write)])
    for problem in problems:
        print(f"FAIL {problem}")
    return 1 if problems else 0


def cuda_commands(nvcc: str, folder: Path) -> dict[str, list[str]]:
    """All architectures at once, so that the host's side is compiled once; what nvcc makes on the way is kept."""
    code = gencode(DEFAULT_CUDA_ARCHS, ptx=False)
    compile_ = [nvcc, *NVCC_FLAGS, "-Werror=all-warnings", f"-I{CSRC}"]
    commands = {}
    # The largest first, so that the last to finish is a small one.
    for source in sorted(CSRC.glob("cuda/*.cu"), key=lambda source: source.stat().st_size, reverse=True):
        kept = folder / source.stem
        kept.mkdir()
        keep = ["--keep", f"--keep-dir={kept}", "-o", str(kept / "object.o")]
        commands[f"cuda/{source.name}"] = [*compile_, "-Xptxas=-Werror,-v", *code, *keep, "-c", str(source)]
    return commands


def run(commands: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Run all, show the output of those that fail; what those that succeed said."""
    outputs: dict[str, str] = {}
    with ThreadPoolExecutor(AT_ONCE) as pool:
        done = pool.map(lambda command: subprocess.run(command, capture_output=True, text=True), commands.values())
        for name, result in zip(commands, done, strict=True):
            print(f"{'ok  ' if result.returncode == 0 else 'FAIL'} {name}", flush=True)
            if result.returncode:
                print(result.stdout + result.stderr, flush=True)
            else:
                outputs[name] = result.stdout + result.stderr
    print(f"{len(outputs)} of {len(commands)} compiled without a warning")
    return outputs


def slowest(uses: Sequence[Use], names: Mapping[str, str]) -> str:
    """The kernels that cost the build most, all architectures together."""
    spent: Counter[str] = Counter()
    for use in uses:
        spent[names[use.function]] += round(use.compile_ms)
    return ", ".join(f"{name} {ms / 1000:.1f} s" for name, ms in spent.most_common(3))


def nvcc_version(nvcc: str) -> str:
    shown = subprocess.run([nvcc, "--version"], capture_output=True, text=True, check=True).stdout
    found = re.search(r"\bV(\d+[.\d]*\d)", shown)
    if found is None:
        raise ValueError(f"{nvcc} --version: no version in {shown!r}")
    return found[1]


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
