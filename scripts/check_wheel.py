"""Installs a wheel or a source archive beside each of several torch releases and runs the core tests on it.

python scripts/check_wheel.py dist/genkern-….whl [--env PYTHON ...]

The environments are those that build_wheel.py made, unless others are named; each has torch. genkern goes to a fresh
one that sees the other's packages, pip looks nothing up, and for a wheel no compiler is on PATH.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TESTS = (
    "test_gaussian.py",
    "test_gaussian_head.py",
    "test_random.py",
    "test_likelihood.py",
    "test_discrete.py",
    "test_gan.py",
)
NEEDED = [
    "pytest",
    "pytest-benchmark",
    "hypothesis",
    "mpmath",
    "numpy",
    "scipy",
    "scikit-learn",
    "pillow",
    "typer",
    "rich",
    "expecttest",
]
FIRST = (
    "import pathlib; import genkern as gk, torch; i = gk.info(); "
    "gk.gaussian_kl(*torch.ones(2, 3, 4)).sum(); "
    "assert pathlib.Path(i['help'].partition('#')[0]).is_file(); "
    "print('torch', i['torch']['running'], 'by the binary for', i['torch']['built_against'], i['isa']['available'])"
)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("package", type=Path, help="a wheel or a source archive")
    parser.add_argument("--env", nargs="+", type=Path, metavar="PYTHON", help="default: build/wheels/env-*/bin/python")
    options = parser.parse_args()
    made = sorted((ROOT / "build" / "wheels").glob("env-*/bin/python"))
    pythons = options.env or made
    if not pythons or not options.package.is_file():
        parser.error(f"{options.package} is not there, or no environment to check it in")
    for python in pythons:
        check(python, options.package.resolve())


def check(python: Path, package: Path) -> None:
    run([python, "-m", "pip", "-q", "--disable-pip-version-check", "install", *NEEDED])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        own = beside(python, folder / "env")
        begun = time.monotonic()
        env = {**os.environ, "GENKERN_BACKEND": "native"}
        if package.suffix == ".whl":
            env["PATH"] = str(own.parent)
        pip: list[Path | str] = [own, "-m", "pip", "--disable-pip-version-check"]
        run([*pip, "-q", "install", "--no-index", "--no-build-isolation", package], env=env)
        run([own, "-c", FIRST], cwd=folder, env=env)
        print(f"installed and run in {time.monotonic() - begun:.1f} s", flush=True)
        run([*pip, "check"])
        shutil.copytree(ROOT / "tests", folder / "tests", ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copytree(ROOT / "scripts", folder / "scripts", ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "pyproject.toml", folder)
        names = [f"tests/{name}" for name in TESTS]
        run(
            [own, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "not emulated and not the_page", *names],
            cwd=folder,
            env={**env, "PATH": os.environ["PATH"], "OMP_NUM_THREADS": "1"},
        )


def beside(python: Path, folder: Path) -> Path:
    """The interpreter of a fresh environment that sees the packages of another one."""
    run([python, "-m", "venv", "--without-pip", folder])  # nothing of its own stands before theirs
    packages = "import sys; print(*(path for path in sys.path if path.endswith('-packages')), sep='\\n')"
    own = folder / "bin" / "python"
    theirs, mine = (
        subprocess.run([each, "-c", packages], capture_output=True, text=True, check=True).stdout
        for each in (python, own)
    )
    (Path(mine.strip()) / "beside.pth").write_text(theirs)
    return own


def run(command: Sequence[Path | str], **options: object) -> None:
    print("+", " ".join(map(str, command)), flush=True)
    subprocess.run(list(map(str, command)), check=True, **options)  # type: ignore[call-overload]


main()
