"""Compile the CPU's kernels for 64-bit Arm, without torch, and what carries launches to them.

What is made lies under `build/aarch64/`, by the hash of everything that went into it, and is made once.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.append(str(ROOT / "scripts"))

from build_plan import CXX_FLAGS, family_sources, find_compiler  # noqa: E402

CROSS = shlex.split(os.environ.get("GENKERN_AARCH64_CXX") or "aarch64-linux-gnu-g++")
OPTIMIZE = os.environ.get("GENKERN_AARCH64_OPTIMIZE") or "-O1"  # -O3, as shipped, takes twice as long to compile
PARTS = ("*.h", "*.def", "launches/*", "math/*", "tiles/*", "cpu/*")  # of csrc: what knows no torch
RUNNERS = ("qemu-aarch64-static", "qemu-aarch64")
PACKAGES = "g++-aarch64-linux-gnu and qemu-user-static"


def missing() -> str | None:
    """What this machine lacks to run programs for 64-bit Arm."""
    if platform.machine() == "aarch64":
        return "this machine is one: its kernels are those of the other tests"
    if reason := find_compiler(os.environ)[1]:
        return reason
    if shutil.which(CROSS[0]) is None:
        return f"{CROSS[0]} is not on PATH (on Debian and Ubuntu: {PACKAGES})"
    if runner() is None:
        return f"none of {', '.join(RUNNERS)} is on PATH (on Debian and Ubuntu: {PACKAGES})"
    return None


def runner() -> str | None:
    """The command that runs a program for 64-bit Arm."""
    return next(filter(None, map(shutil.which, RUNNERS)), None)


def machine() -> Path:
    """The program that runs launches (machine.cpp), linked with the kernels."""
    optimized = [OPTIMIZE if flag == "-O3" else flag for flag in CXX_FLAGS]
    return _made("machine", CROSS, [*optimized, "-Werror"], ["-static"])


def client() -> Path:
    """The library that hands launches over (kernels.cpp)."""
    host = shlex.split(find_compiler(os.environ)[0] or "")
    return _made("client.so", host, ["-std=c++20", "-O1", "-fPIC", "-Wall", "-Wextra", "-Werror"], ["-shared"])


def _made(name: str, compiler: Sequence[str], flags: Sequence[str], link: Sequence[str]) -> Path:
    csrc = [path for part in PARTS for path in sorted((ROOT / "csrc").glob(part))]
    files = [*csrc, *sorted(HERE.glob("*.h")), *sorted(HERE.glob("*.cpp"))]
    version = subprocess.run([*compiler, "--version"], capture_output=True, text=True, check=True).stdout
    digest = hashlib.sha256("\0".join([*compiler, version, *flags]).encode())
    for path in (*files, ROOT / "scripts" / "build_plan.py"):
        digest.update(str(path.relative_to(ROOT)).encode() + b"\0" + path.read_bytes())
    target = ROOT / "build" / "aarch64" / digest.hexdigest()[:20] / name
    if target.exists():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        folder = Path(scratch)
        sources = [HERE / "kernels.cpp"]
        if name == "machine":
            kernels = [path for path in family_sources(ROOT / "csrc", folder) if path.name.startswith("neon_")]
            sources = [*kernels, ROOT / "csrc" / "cpu" / "neon.cpp", ROOT / "csrc" / "cpu" / "dispatch.cpp"]
            sources.append(HERE / "machine.cpp")

        def compiled(source: Path) -> Path:
            made = folder / f"{source.stem}.o"
            _run([*compiler, *flags, f"-I{ROOT / 'csrc'}", f"-I{HERE}", "-c", source, "-o", made])
            return made

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            objects = list(pool.map(compiled, sources))
        _run([*compiler, *objects, *link, "-o", folder / name])
        os.replace(folder / name, target)
    return target


def _run(command: Sequence[str | Path]) -> None:
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}")
