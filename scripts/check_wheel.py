"""Installs a wheel beside each of several torch releases, without a compiler, and runs the core tests on it.

python scripts/check_wheel.py dist/genkern-….whl [--env PYTHON ...]

The environments are those that build_wheel.py made, unless others are named; each has torch. The wheel goes to a folder
of its own, so nothing of a checkout is imported, and pip looks nothing up.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import tempfile
import time
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
    parser.add_argument("wheel", type=Path)
    parser.add_argument("--env", nargs="+", type=Path, metavar="PYTHON", help="default: build/wheels/env-*/bin/python")
    options = parser.parse_args()
    made = sorted((ROOT / "build" / "wheels").glob("env-*/bin/python"))
    for python in options.env or made:
        check(python, options.wheel.resolve())


def check(python: Path, wheel: Path) -> None:
    run([python, "-m", "pip", "-q", "install", *NEEDED])
    with tempfile.TemporaryDirectory() as folder:
        site, tests = Path(folder) / "site", Path(folder) / "tests"
        begun = time.monotonic()
        # PATH holds Python's folder alone, so that no compiler is found.
        bare = {**os.environ, "PATH": str(python.parent), "PYTHONPATH": str(site), "GENKERN_BACKEND": "native"}
        run([python, "-m", "pip", "-q", "install", "--no-index", "--no-deps", "--target", site, wheel], env=bare)
        run([python, "-c", FIRST], cwd=folder, env=bare)
        print(f"installed and run in {time.monotonic() - begun:.1f} s", flush=True)
        shutil.copytree(ROOT / "tests", tests, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "pyproject.toml", folder)
        shutil.copytree(ROOT / "scripts", Path(folder) / "scripts", ignore=shutil.ignore_patterns("__pycache__"))
        names = [f"tests/{name}" for name in TESTS]
        run(
            [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "not emulated and not the_page", *names],
            cwd=folder,
            env={**bare, "PATH": os.environ["PATH"], "OMP_NUM_THREADS": "1"},
        )


def run(command: list[Path | str], **options: object) -> None:
    print("+", " ".join(map(str, command)), flush=True)
    subprocess.run(list(map(str, command)), check=True, **options)  # type: ignore[call-overload]


main()
