"""Builds genkern._C with torch.utils.cpp_extension; everything static is in pyproject.toml.

Environment: GENKERN_NATIVE=0|1, GENKERN_CUDA=0|1, TORCH_CUDA_ARCH_LIST, CUDA_HOME, CXX, MAX_JOBS; of
scripts/build_wheel.py, GENKERN_WHEEL=1 and GENKERN_KERNELS, archives of the kernels.
What was built, and why not more, is written to genkern/_build.json, which genkern reads at import.
"""

from __future__ import annotations

import json
import os
import platform
import runpy
import shlex
import shutil
import subprocess
import sys
import sysconfig
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import setuptools
from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
WHEEL = os.environ.get("GENKERN_WHEEL") == "1"
KERNELS = [path for path in os.environ.get("GENKERN_KERNELS", "").split(os.pathsep) if path]
CSRC = ROOT / "csrc"
SOURCES = (
    "csrc/**/*",
    "setup.py",
    "pyproject.toml",
    "scripts/build_plan.py",
    "genkern/_version.py",
    "README.md",
    "LICENSE",
)
sys.path.insert(0, str(ROOT / "scripts"))

from build_plan import (  # noqa: E402
    CXX_FLAGS,
    NVCC_FLAGS,
    BuildError,
    Plan,
    Torch,
    decide,
    job_count,
    kernel_sources,
    op_sources,
    wheel_flags,
)


def installed_torch() -> Torch | None:
    try:
        return Torch.running()
    except ModuleNotFoundError as error:
        if error.name == "torch":
            return None
        raise  # a torch that is there, but broken


def build_record(plan: Plan, torch: Torch | None) -> dict[str, object]:
    return {
        "genkern": runpy.run_path(str(ROOT / "genkern" / "_version.py"))["__version__"],
        "native": plan.native,
        "reason": plan.native_reason,
        "on_request": plan.on_request,
        "torch": torch.version if torch else None,
        "wheel": WHEEL,
        "cxx11_abi": torch.cxx11_abi if torch else None,
        "python": platform.python_version(),
        "extension_suffix": EXTENSION_SUFFIXES[0],
        "compiler": compiler_version(plan.compiler) if plan.compiler else None,
        "cuda": {
            "toolkit": plan.toolkit.version if plan.toolkit else None,
            "archs": plan.cuda_archs if plan.cuda else None,
            "reason": plan.cuda_reason,
        },
    }


def compiler_version(command: str) -> str:
    """The first line of --version: name, distribution and number."""
    shown = subprocess.run([*shlex.split(command), "--version"], capture_output=True, text=True, check=True)
    return shown.stdout.splitlines()[0]


def write_record(folder: Path, plan: Plan, torch: Torch | None) -> None:
    """Write beside and rename: a reader sees the old record or the new one, never half of one."""
    path = folder / "genkern" / "_build.json"
    beside = path.with_suffix(".json.tmp")
    beside.write_text(json.dumps(build_record(plan, torch), indent=2) + "\n", encoding="utf-8")
    beside.replace(path)


def announce(plan: Plan) -> None:
    if not plan.native:
        print(f"genkern: pure-Python install, {plan.native_reason}", file=sys.stderr)
    elif not plan.cuda:
        print(f"genkern: building for CPU; CUDA is left out: {plan.cuda_reason}", file=sys.stderr)
    else:
        print(f"genkern: building for CPU and CUDA ({plan.cuda_archs})", file=sys.stderr)


class BuildPy(build_py):
    """A wheel carries, within the package, the benchmark suite for `genkern bench`, the sources of the binary for
    `genkern rebuild`, and the pages that messages name.
    """

    def run(self) -> None:
        super().run()
        if self.editable_mode:
            return
        package = Path(self.build_lib) / "genkern"
        pages = runpy.run_path(str(ROOT / "genkern" / "_help.py"))["PAGES"]
        copied = {"_suite": ["benchmarks/*.*"], "_source": SOURCES}
        for under in (*copied, "_docs"):  # what an earlier build left there
            shutil.rmtree(package / under, ignore_errors=True)
        for under, patterns in copied.items():
            for path in (path for pattern in patterns for path in sorted(ROOT.glob(pattern)) if path.is_file()):
                _copy(path, package / under / path.relative_to(ROOT))
        for name in pages:
            _copy(ROOT / "docs" / name, package / "_docs" / name)


def _copy(path: Path, to: Path) -> None:
    to.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(path, to)


def pure_python(plan: Plan, torch: Torch | None) -> dict[str, object]:
    class WithRecord(BuildPy):
        def run(self) -> None:
            super().run()
            write_record(ROOT if self.editable_mode else Path(self.build_lib), plan, torch)

    return {"cmdclass": {"build_py": WithRecord}}


def native(plan: Plan, torch: Torch) -> dict[str, object]:
    assert plan.compiler
    os.environ["CXX"] = plan.compiler
    os.environ["MAX_JOBS"] = str(job_count(os.environ))
    if plan.toolkit:
        # Before cpp_extension is imported: it would take the folder of PATH's nvcc, which may be a
        # wrapper script far from the toolkit.
        os.environ["CUDA_HOME"] = str(plan.toolkit.root)
        os.environ["TORCH_CUDA_ARCH_LIST"] = plan.cuda_archs
    # ninja beside this interpreter is found, whether or not its environment is activated.
    os.environ["PATH"] = os.pathsep.join([sysconfig.get_path("scripts"), os.environ.get("PATH", os.defpath)])
    from torch.utils import cpp_extension

    # pip builds in a fresh temporary folder each time; ninja needs a lasting one.
    tag = f"{sys.implementation.cache_tag}-torch{torch.version}{'-cuda' if plan.cuda else ''}"
    folder = ROOT / "build" / f"{'wheel' if WHEEL else 'native'}-{tag}"
    paths = [*op_sources(CSRC, folder / "made"), CSRC / "module.cpp"]
    paths += sorted(CSRC.glob("ops/cuda/*.cpp")) if plan.cuda else []
    paths += [] if KERNELS else kernel_sources(CSRC, folder / "made", cpu=True, cuda=plan.cuda)
    make = cpp_extension.CUDAExtension if plan.cuda else cpp_extension.CppExtension
    extension = make(
        "genkern._C",
        [str(path.relative_to(ROOT)) for path in paths],
        include_dirs=[str(CSRC)],
        define_macros=[("GENKERN_WITH_CUDA", "1")] if plan.cuda else [],
        extra_objects=KERNELS,
        depends=[*KERNELS, *map(str, CSRC.rglob("*.*"))],
        extra_compile_args={"cxx": list(CXX_FLAGS), "nvcc": list(NVCC_FLAGS)},
        # No -fopenmp: torch carries an OpenMP runtime of its own, under a name of its own in some builds. Through
        # libtorch_cpu our OpenMP symbols (csrc/ops/device.cpp) resolve to that one, so that no second runtime with a
        # second pool of threads is loaded.
    )
    if plan.toolkit:
        # By its full name: the runtime from PyPI, the one beside torch, comes without the short one.
        runtime = extension.libraries.index("cudart")
        extension.libraries[runtime] = f":libcudart.so.{plan.toolkit.major}"
    if WHEEL:
        extension.extra_compile_args["cxx"] += wheel_flags(ROOT)
    # As system headers, torch's do not drown our own warnings.
    ours, theirs = extension.include_dirs[:1], extension.include_dirs[1:]
    extension.include_dirs = ours
    extension.extra_compile_args["cxx"] += [f"-isystem{folder}" for folder in theirs]

    class BuildExt(cpp_extension.BuildExtension):
        def finalize_options(self) -> None:
            super().finalize_options()
            self.build_temp = str(folder)

        def run(self) -> None:
            super().run()
            write_record(ROOT if self.inplace else Path(self.build_lib), plan, torch)

    return {"ext_modules": [extension], "cmdclass": {"build_ext": BuildExt, "build_py": BuildPy}}


def main() -> None:
    if int(setuptools.__version__.split(".")[0]) < 77:
        # Without build isolation nobody has looked at build-system.requires.
        sys.exit(f"genkern: setuptools 77 or newer is needed, not {setuptools.__version__}: pip install -U setuptools")
    verbs = ("bdist", "build", "develop", "editable", "install")
    if not any(argument.startswith(verbs) for argument in sys.argv[1:]):
        setup()  # sdist or metadata: nothing is compiled, so torch need not be there
        return
    torch = installed_torch()
    try:
        plan = decide(os.environ, torch)
    except BuildError as error:
        sys.exit(f"genkern: {error}")
    announce(plan)
    setup(**(native(plan, torch) if plan.native and torch else pure_python(plan, torch)))


main()
