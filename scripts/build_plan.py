"""What setup.py builds on this machine: decided here, apart from setuptools, so that tests can ask.

The decision never looks for a GPU: a machine without one builds for those that have one.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

OLDEST_TORCH = (2, 11)  # as pyproject.toml has it, which pip reads only after the build
DEFAULT_CUDA_ARCHS = "8.0;9.0;10.0;12.0+PTX"
SYSTEM = Path("/usr/local")  # where NVIDIA's installers put toolkits
GIB_PER_JOB = 2.0  # a file that includes torch/extension.h takes 1.5


# No fast-math: log, exp and the tails of the densities would lose digits. -fno-math-errno and -fno-trapping-math give
# up only what nothing here reads; -ffp-contract=off leaves multiply-adds to the code, which says where it wants them.
COMMON_FLAGS = ["-O3", "-fvisibility=hidden", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=off"]
# Vectors are written out, and GCC 12 crashes in its own of basic blocks for AVX-512.
CXX_FLAGS = [*COMMON_FLAGS, "-fno-tree-slp-vectorize", "-std=c++20", "-Wall", "-Wextra", "-g0"]
NVCC_FLAGS = [
    "-O3",
    "-std=c++17",
    "-fmad=false",  # as -ffp-contract=off: a sample has the same bits on every device
    "--expt-relaxed-constexpr",  # the constexpr functions of kernels.h serve both sides
    f"-Xcompiler={','.join([*COMMON_FLAGS[1:], '-Wall', '-Wextra'])}",
    # torch turns the half types' own operators off; the kernels hold no torch type and want them.
    "-U__CUDA_NO_HALF_OPERATORS__",
    "-U__CUDA_NO_HALF_CONVERSIONS__",
    "-U__CUDA_NO_BFLOAT16_CONVERSIONS__",
    "-U__CUDA_NO_HALF2_OPERATORS__",
]


def wheel_flags(root: Path) -> list[str]:
    """An old C library's symbols, and no word of where the sources lay."""
    return [f"-include{root / 'csrc' / 'manylinux.h'}", f"-ffile-prefix-map={root}=."]


class BuildError(RuntimeError):
    """The user demanded what this machine cannot build."""


@dataclass(frozen=True)
class Torch:
    """The facts about the installed torch that decide a build."""

    version: str
    cuda: str | None
    cxx11_abi: bool
    packages: Path  # site-packages: where CUDA toolkits from PyPI lie beside torch

    @classmethod
    def running(cls) -> Torch:
        import torch

        return cls(
            version=torch.__version__,
            cuda=torch.version.cuda,
            cxx11_abi=torch.compiled_with_cxx11_abi(),
            packages=Path(torch.__file__).parents[1],
        )


@dataclass(frozen=True)
class Toolkit:
    """A CUDA toolkit that has headers and a compiler."""

    root: Path
    version: str

    @property
    def major(self) -> str:
        return self.version.split(".")[0]


@dataclass(frozen=True)
class Plan:
    """What to build and, for each part that is left out, the full reason."""

    compiler: str | None  # the command, as CXX takes it
    native_reason: str | None  # None: native code is built
    on_request: bool  # pure Python is what the user asked for, or all there is for the system
    toolkit: Toolkit | None
    cuda_reason: str | None  # None: CUDA is built
    cuda_archs: str

    @property
    def native(self) -> bool:
        return self.native_reason is None

    @property
    def cuda(self) -> bool:
        return self.native and self.cuda_reason is None


def decide(env: Mapping[str, str], torch: Torch | None, system: str = sys.platform) -> Plan:
    """Choose what to build from the environment, the torch that is installed and the operating system."""
    want_native = _switch(env, "GENKERN_NATIVE")
    want_cuda = _switch(env, "GENKERN_CUDA")
    archs = env.get("TORCH_CUDA_ARCH_LIST") or DEFAULT_CUDA_ARCHS

    compiler: str | None = None
    if want_native is False:
        native_reason: str | None = "GENKERN_NATIVE=0 was set when genkern was built"
    elif system == "win32":
        native_reason = "genkern has no compiled kernels for Windows"
    else:
        compiler, native_reason = find_compiler(env)
        if native_reason is None and torch is None:
            raise BuildError(
                "genkern compiles against the torch it will run with, and this build environment "
                "has none. Install torch first, then: pip install --no-build-isolation . "
                "(or set GENKERN_NATIVE=0 for a pure-Python install)"
            )
        if native_reason is None and torch and _release(torch.version) < OLDEST_TORCH:
            raise BuildError(
                f"torch {torch.version} is installed, and genkern needs {'.'.join(map(str, OLDEST_TORCH))} or newer: "
                "upgrade torch first"
            )

    if native_reason and want_native:
        raise BuildError(f"GENKERN_NATIVE=1, but {native_reason}")

    toolkit: Toolkit | None = None
    if native_reason or torch is None:
        cuda_reason: str | None = f"no native code was built: {native_reason}"
    elif want_cuda is False:
        cuda_reason = "GENKERN_CUDA=0 was set when genkern was built"
    else:
        toolkit, cuda_reason = find_toolkit(env, torch)
    if cuda_reason and want_cuda:
        raise BuildError(f"GENKERN_CUDA=1, but {cuda_reason}")

    return Plan(compiler, native_reason, want_native is False or system == "win32", toolkit, cuda_reason, archs)


def find_compiler(env: Mapping[str, str]) -> tuple[str | None, str | None]:
    """The C++ compiler's command, or None and the reason."""
    wanted = env.get("CXX")
    if wanted and _which(shlex.split(wanted)[0], env):
        return wanted, None
    if wanted:
        return None, f"there is no C++ compiler: CXX={wanted} was not found"
    names = ("c++", "g++", "clang++")
    for name in names:
        if _which(name, env):
            return name, None
    return None, f"there is no C++ compiler: none of {', '.join(names)} is on PATH"


def find_toolkit(env: Mapping[str, str], torch: Torch) -> tuple[Toolkit | None, str | None]:
    """The CUDA toolkit that fits torch, or None and the reason."""
    if torch.cuda is None:
        return None, f"torch {torch.version} was built without CUDA"
    major = torch.cuda.split(".")[0]
    others: list[Toolkit] = []
    for root in _toolkit_roots(env, torch, major):
        version = toolkit_version(root)
        if version is None or not (root / "bin" / "nvcc").is_file():
            continue
        toolkit = Toolkit(root, version)
        if toolkit.major == major:
            return toolkit, None
        others.append(toolkit)
    if others:
        seen = ", ".join(f"{kit.version} in {kit.root}" for kit in others)
        return None, (
            f"torch {torch.version} was built with CUDA {torch.cuda}, and a toolkit of the same "
            f"major version is needed; found {seen}"
        )
    return None, (
        f"torch {torch.version} was built with CUDA {torch.cuda}, and no CUDA toolkit was found "
        "(a folder with include/cuda_runtime.h and bin/nvcc); set CUDA_HOME to its root"
    )


def toolkit_version(root: Path) -> str | None:
    """The version its headers state; None where there are no headers."""
    try:
        header = (root / "include" / "cuda_runtime_api.h").read_text(errors="replace")
    except OSError:
        return None
    found = re.search(r"#define\s+CUDART_VERSION\s+(\d+)", header)
    if found is None or not (root / "include" / "cuda_runtime.h").is_file():
        return None
    number = int(found[1])
    return f"{number // 1000}.{number % 1000 // 10}"


def _toolkit_roots(env: Mapping[str, str], torch: Torch, major: str) -> Iterator[Path]:
    for name in ("CUDA_HOME", "CUDA_PATH"):
        if env.get(name):
            yield Path(env[name])
    if nvcc := _which("nvcc", env):
        yield Path(nvcc).resolve().parents[1]
        # PATH's nvcc may be a script that calls the real one, which alone knows where it lies.
        dry = subprocess.run(
            [nvcc, "--dryrun", "-x", "cu", "-E", os.devnull],
            capture_output=True,
            text=True,
            check=False,
        )
        if home := re.search(r"^#\$ _HERE_=(.+)$", dry.stderr, re.MULTILINE):
            yield Path(home[1]).parent
    yield SYSTEM / "cuda"
    yield from sorted(SYSTEM.glob("cuda-*"), reverse=True)
    yield torch.packages / "nvidia" / f"cu{major}"


def gencode(archs: str, *, ptx: bool) -> list[str]:
    """nvcc's options for a list such as 8.0;9.0+PTX; without `ptx`, for the GPUs alone that it names."""
    options = []
    for arch in archs.replace(";", " ").split():
        number = arch.removesuffix("+PTX").replace(".", "")
        code = [f"sm_{number}", *([f"compute_{number}"] if ptx and arch.endswith("+PTX") else [])]
        options += [f"-gencode=arch=compute_{number},code={each}" for each in code]
    return options


ISAS = ("avx512", "avx2", "neon", "baseline")  # those of another architecture are empty
TORCH_IN_PYTHON = ("autograd.cpp", "call.cpp")  # of csrc/ops: they take more of torch's headers than the others


def family_sources(csrc: Path, folder: Path) -> list[Path]:
    """A translation unit for each instruction set and family: a change of a family's tiles compiles that one alone."""
    return [
        _written(
            folder / f"{isa}_{family.stem}.cpp",
            f'#include "cpu/{isa}.h"\n#ifdef GENKERN_ISA\n#include "cpu/launch.h"\n#include "tiles/{family.stem}.h"\n'
            f'#define GK_KERNELS "launches/{family.name}"\n#include "launches/define.h"\n'
            f'#include "cpu/end.h"\n#endif\n',
        )
        for isa in ISAS
        for family in sorted(csrc.glob("launches/*.def"))
    ]


def kernel_sources(csrc: Path, folder: Path, cpu: bool, cuda: bool) -> list[Path]:
    """What knows no torch."""
    kinds = [*(["cpu/*.cpp"] if cpu else []), *(["cuda/*.cpp", "cuda/*.cu"] if cuda else [])]
    made = family_sources(csrc, folder) if cpu else []
    return [*made, *(path for kind in kinds for path in sorted(csrc.glob(kind)))]


def op_sources(csrc: Path, folder: Path) -> list[Path]:
    """The ops, several in one translation unit: torch's headers take most of the time that one takes."""
    ops = sorted(csrc.glob("ops/*.cpp"))
    alone = [op for op in ops if op.name in TORCH_IN_PYTHON]
    others = [op for op in ops if op not in alone]
    parts = [part for part in (others[first::3] for first in range(3)) if part]
    texts = ["".join(f'#include "ops/{op.name}"\n' for op in part) for part in parts]
    return [*alone, *(_written(folder / f"ops_{i}.cpp", text) for i, text in enumerate(texts))]


def _written(path: Path, text: str) -> Path:
    """A file that has this text; one that has it already keeps its time, so that it is not compiled again."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists() or path.read_text() != text:
        path.write_text(text)
    return path


def job_count(env: Mapping[str, str]) -> int:
    """Compilers to run at once: one a core, as far as memory goes."""
    if env.get("MAX_JOBS"):
        return int(env["MAX_JOBS"])
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, min(cores or 1, int(_available_gib() / GIB_PER_JOB)))


def _available_gib() -> float:
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30]
    for path, pattern, scale in (
        ("/proc/meminfo", r"MemAvailable:\s+(\d+) kB", 2**20),
        ("/sys/fs/cgroup/memory.max", r"^(\d+)$", 2**30),  # a container's own limit
    ):
        try:
            found = re.search(pattern, Path(path).read_text(), re.MULTILINE)
        except OSError:
            continue
        if found:
            limits.append(int(found[1]) / scale)
    return min(limits)


def _release(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".")[:2])


def _switch(env: Mapping[str, str], name: str) -> bool | None:
    value = env.get(name, "")
    if value not in ("", "0", "1"):
        raise BuildError(f"{name}: expected 0, 1 or unset, got {value!r}")
    return None if value == "" else value == "1"


def _which(command: str, env: Mapping[str, str]) -> str | None:
    return shutil.which(command, path=env.get("PATH", os.defpath))
