"""Compile CUDA sources for the CPU against the emulator in `include/` and `src/`.

    library = build(["csrc/cuda/random.cu", "tests/.../bindings.cpp"], out="random.so")

Objects and results lie under `build/cuda_emulator/`, by the hash of everything that went into them, and are made once:
a change compiles anew the sources that include what has changed.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from filelock import FileLock

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
CACHE = ROOT / "build" / "cuda_emulator"
CXX = "g++"  # clang lacks some of the flags

FLAGS = (
    "-O1",  # -O2 takes half as long again to compile, for tests that then take as long
    "-g1",
    "-std=c++20",
    "-fPIC",
    "-ffp-contract=off",
    "-fno-strict-aliasing",  # kernels read a row of floats as float4; nvcc lets them
    "-fno-gnu-unique",  # two builds of one kernel, loaded side by side, must not share its static variables
    "-Wall",
    "-Wextra",
    "-Wno-unknown-pragmas",  # unroll
)
RUNTIME_FLAGS = (
    "-fvisibility=hidden",
    "-fno-tree-loop-distribute-patterns",  # a loop made into memset would be seen by ThreadSanitizer
)
LINK = ("-Wl,-Bsymbolic", "-pthread")
SANITIZERS = {
    (): (),
    ("address", "undefined"): (
        "-fsanitize=address,undefined",
        "-fno-sanitize-recover=all",
        "-fno-omit-frame-pointer",
    ),
    ("thread",): ("-fsanitize=thread", "-fno-omit-frame-pointer"),
}

_INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]+"([^"]+)"', re.MULTILINE)

Patch = tuple[str, str, str]
Texts = dict[Path, str]


def build(
    sources: Iterable[str | Path],
    *,
    sanitize: Sequence[str] = (),
    patches: Iterable[Patch] = (),
    out: str,
    extra_flags: Sequence[str] = (),
) -> Path:
    """The shared library (`out` ends in .so) or executable made of `sources`, .cu or .cpp.

    `sanitize` is (), ("address", "undefined") or ("thread",). A patch (file suffix, old text, new text) changes a copy
    of `csrc` or of a source's folder before it is compiled; its file and its old text must each be found exactly once.
    """
    if tuple(sanitize) not in SANITIZERS:
        raise ValueError(f"sanitize: expected one of {list(SANITIZERS)}, got {tuple(sanitize)}")
    paths = [(ROOT / source).resolve() for source in sources]
    texts = _patched(paths, list(patches))
    emulator = {path: path.read_text() for part in ("include", "src") for path in _files(HERE / part)}
    include = ("-I", str(HERE / "include"))
    told = [f"-DEMULATOR_{name.upper()}" for name in sanitize]
    flags = [*FLAGS, *SANITIZERS[tuple(sanitize)], *extra_flags]

    CACHE.mkdir(parents=True, exist_ok=True)

    def compiled(path: Path) -> Path:
        if path.parent == HERE / "src":  # without instrumentation but told of it (src/sanitizers.h says why)
            return _compiled(path, [*FLAGS, *RUNTIME_FLAGS, *extra_flags, *told, *include], emulator, {})
        return _compiled(path, [*flags, *include], emulator, _included(path, texts))

    # Tests in several processes want the same objects at once: one makes them, the others find them.
    with FileLock(CACHE / "lock"), ThreadPoolExecutor(os.cpu_count()) as pool:
        objects = list(pool.map(compiled, [*paths, *sorted((HERE / "src").glob("*.cpp"))]))
    target = CACHE / _hash([_compiler(), *flags, *LINK, *(made.name for made in objects)], {}) / out
    if not target.exists():
        target.parent.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE) as scratch:
            made = Path(scratch) / out
            _run([CXX, *flags, *(["-shared"] if target.suffix == ".so" else []), *objects, *LINK, "-o", made])
            os.replace(made, target)
    return target


def environment(sanitize: Sequence[str], *, preload: bool) -> dict[str, str]:
    """Variables for a process that runs what was built with `sanitize`; `preload` if it loads it as a library."""
    # Abandoned fibres count as running threads, for whose end ThreadSanitizer would wait a second.
    variables = {"ASAN_OPTIONS": "detect_leaks=0", "TSAN_OPTIONS": "exitcode=66:atexit_sleep_ms=0"}
    if preload and sanitize:
        runtimes = {"address": "libasan.so", "undefined": "libubsan.so", "thread": "libtsan.so"}
        found = [_run([CXX, f"-print-file-name={runtimes[name]}"]).strip() for name in sanitize]
        variables["LD_PRELOAD"] = " ".join(found)
    return variables


def _patched(paths: list[Path], patches: list[Patch]) -> Texts:
    """The text of every file of csrc, every source and what lies beside it, patched."""
    beside = [file for path in paths for file in _files(path.parent)]
    texts = {path: path.read_text() for path in [*_files(ROOT / "csrc"), *beside]}
    for suffix, old, new in patches:
        files = [path for path in texts if str(path).endswith(suffix)]
        if len(files) != 1:
            raise ValueError(f"patch: {suffix!r} is the end of {len(files)} file names, expected 1")
        count = texts[files[0]].count(old)
        if count != 1:
            raise ValueError(f"patch: {old!r} occurs {count} times in {files[0].name}, expected 1")
        texts[files[0]] = texts[files[0]].replace(old, new)
    return texts


def _included(source: Path, texts: Texts) -> Texts:
    """The source and what it includes of `csrc` and its own folder, whichever lines the preprocessor may skip."""
    found, left = {}, [source]
    while left:
        path = left.pop()
        found[path] = texts[path]
        for name in _INCLUDE.findall(texts[path]):
            candidates = {folder / name for folder in (path.parent, ROOT / "csrc")} & texts.keys()
            left += sorted(candidates - found.keys())
    return found


def _compiled(path: Path, flags: Sequence[str], emulator: Texts, tree: Texts) -> Path:
    """The object made of a source where `tree`, its own text and what it includes, lies as in the repository."""
    target = CACHE / f"{path.stem}-{_hash([_compiler(), str(path), *flags], {**emulator, **tree})}.o"
    if target.exists():
        return target
    with tempfile.TemporaryDirectory(dir=CACHE) as scratch:
        for file, text in tree.items():
            copy = Path(scratch) / file.relative_to(ROOT)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_text(text)
        source = Path(scratch) / path.relative_to(ROOT) if tree else path
        language = ("-x", "c++") if path.suffix == ".cu" else ()
        search = ("-I", f"{scratch}/csrc", f"-ffile-prefix-map={scratch}={ROOT}")
        made = Path(scratch) / target.name
        _run([CXX, *flags, *search, *language, "-c", source, "-o", made])
        os.replace(made, target)
    return target


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.suffix in {".h", ".cuh", ".cu", ".cpp", ".def"})


def _compiler() -> str:
    if shutil.which(CXX) is None:
        raise FileNotFoundError(f"{CXX}: no such compiler")
    return _run([CXX, "--version"]).splitlines()[0]


def _hash(words: Iterable[str], texts: Texts) -> str:
    digest = hashlib.sha256("\0".join(words).encode())
    for path, text in sorted(texts.items()):
        digest.update(f"\0{path.relative_to(ROOT)}\0{text}".encode())
    return digest.hexdigest()[:20]


def _run(command: Sequence[str | Path]) -> str:
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}")
    return done.stdout
