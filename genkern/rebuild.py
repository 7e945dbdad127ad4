"""Builds the binary for the running torch, in place: ``python -m genkern.rebuild``, or ``genkern rebuild``.

For a torch that none of the installed binaries was built for. It takes the sources of the checkout, or those that an
installed genkern carries, a C++ compiler, setuptools and ninja, and some minutes; nothing is downloaded. Binaries for
other releases of torch, or other Pythons, stay beside it, so one checkout serves several environments.
"""

import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import torch

from genkern import _backend

_NEEDED = ("setuptools", "ninja")
_OF_WHEELS = ("GENKERN_WHEEL", "GENKERN_KERNELS")  # variables of a build of wheels


class RebuildError(RuntimeError):
    """No binary was built; the message says why."""


def rebuild() -> Path:
    """Build the binary and put it where the next ``import genkern`` finds it.

    Returns
    -------
    Path
        The binary.

    Raises
    ------
    RebuildError
        The sources, a tool or the right to write are missing, or the compiler failed; what was there is left as it was.
    """
    package = Path(__file__).resolve().parent
    checkout = package.parent
    source = checkout if (checkout / "csrc").is_dir() else package / "_source"
    if not (source / "csrc").is_dir():
        raise RebuildError(f"there are no sources in {source}")
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise RebuildError(f"{' and '.join(missing)} must be installed: pip install 'setuptools>=77' ninja")
    home = _target(package)
    if not os.access(package, os.W_OK):
        raise RebuildError(f"{package} cannot be written to")
    with tempfile.TemporaryDirectory(prefix="genkern-rebuild-") as scratch:
        tree = source
        if source != checkout:  # an installed package has no place for objects
            tree = Path(scratch) / "source"
            shutil.copytree(source, tree)
        built = Path(scratch) / "built"
        command = [sys.executable, "setup.py", "build_ext", "--build-lib", str(built)]
        environment = {name: value for name, value in os.environ.items() if name not in _OF_WHEELS}
        done = subprocess.run(command, cwd=tree, env={**environment, "GENKERN_NATIVE": "1"}, check=False)
        if done.returncode:
            raise RebuildError("the build failed; the compiler's own words are above")
        return _move(built / "genkern", home)


def _target(package: Path) -> Path:
    """Where it goes: in place of a binary for the same torch, else to a folder of its own."""
    if _backend._usable(package)[1] is None:
        return package
    return package / "_binaries" / f"own-torch-{torch.__version__}-{sys.implementation.cache_tag}"


def _move(built: Path, home: Path) -> Path:
    """The binary, then its record, each written beside and renamed."""
    home.mkdir(parents=True, exist_ok=True)
    (binary,) = built.glob("_C*")
    for path in (binary, built / "_build.json"):
        beside = home / f"{path.name}.new"
        shutil.copy2(path, beside)
        beside.replace(home / path.name)
    return home / binary.name


def main() -> int:
    try:
        binary = rebuild()
    except RebuildError as error:
        print(f"genkern: {error}", file=sys.stderr)
        return 2
    print(f"genkern: built for torch {torch.__version__}: {binary}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
