"""Loads genkern._C once, says what is available and, if something is not, why.

The build leaves a record, genkern/_build.json. It is read before the binary is: C++ has no stable ABI across
releases of torch, and a binary built for another one can crash as soon as it is loaded. A wheel has a folder of record
and binary for each release that it was built for, genkern/_binaries/torch-2.13/, torch-2.13-cuda13/ and so on, and
genkern.rebuild makes such folders; an own build goes first, and one with CUDA before one without.
"""

import importlib.util
import json
import os
import platform
import re
import struct
import sys
import warnings
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from genkern._help import PLAIN_TORCH, page
from genkern._version import __version__

MODES = ("auto", "native", "reference")

_folder = Path(__file__).parent


def has_native(device_type: str) -> bool:
    """Whether compiled kernels serve tensors of this device type (``"cpu"``, ``"cuda"``, ...).

    Raises
    ------
    TypeError, ValueError
        `device_type` is no str, or names one device, such as ``"cuda:0"``.

    See Also
    --------
    info : what runs and why
    use_backend : choose what runs

    Examples
    --------
    >>> import genkern as gk
    >>> gk.has_native("cpu") == (gk.info()["reason"] is None)
    True
    """
    if not isinstance(device_type, str):
        raise TypeError(f"device_type: expected a str, got {type(device_type).__name__}")
    if ":" in device_type:
        raise ValueError(f"device_type: expected a type of device, such as 'cpu' or 'cuda', got {device_type!r}")
    return why_not(device_type) is None


def why_not(device_type: str) -> str | None:
    """Why no compiled kernel serves this device type; None where one does."""
    if native is None:
        return reason
    if device_type in _devices:
        return None
    if device_type == "cuda":
        return _record["cuda"]["reason"]
    return f"genkern has no compiled kernels for {device_type} devices"


def backend() -> str:
    """The mode in force: ``"auto"``, ``"native"`` or ``"reference"``."""
    return mode


class use_backend:
    """Choose which kernels run, as a function or, restoring the choice before, as a context manager.

    ``"auto"`` takes compiled kernels where there are any and the reference elsewhere; ``"native"`` raises where no
    compiled kernel serves a call; ``"reference"`` always takes the definitions in plain torch. The environment
    variable ``GENKERN_BACKEND`` sets the first choice.

    The choice is one for the whole process: backward runs on autograd's own threads, which a thread-local or a
    context variable would not reach, and every call reads it. Threads that need different backends at the same
    time must take turns. Under ``torch.compile`` it is a guard: changing it compiles anew.

    Raises
    ------
    TypeError, ValueError
        The name is no str, or none of the three.
    RuntimeError
        ``"native"``, and no binary is loaded; the message says why.

    See Also
    --------
    info : what is in force, and why
    has_native : whether there are kernels for a type of device

    Examples
    --------
    >>> import genkern as gk
    >>> with gk.use_backend("reference"):
    ...     gk.info()["backend"]
    'reference'
    """

    def __init__(self, name: str) -> None:
        global mode
        self._before = mode
        mode = _checked("name", name)
        if mode == "native" and native is None:
            mode = self._before
            raise RuntimeError(f"backend 'native' is not available: {reason}; see {page(PLAIN_TORCH)}")

    def __enter__(self) -> None:
        pass

    def __exit__(self, *exception: object) -> None:
        global mode
        mode = self._before


def info() -> dict[str, Any]:
    """Facts about what is installed, what runs and, for whatever does not, the reason in full.

    Returns
    -------
    dict
        ``reason`` is None where compiled kernels run, else why they do not; ``help`` is the page that says what to do.

    See Also
    --------
    has_native : the same for one type of device, as a bool
    use_backend : choose what runs

    Examples
    --------
    >>> import genkern as gk
    >>> gk.info()["mode"] in ("auto", "native", "reference")
    True
    """
    cuda = _record.get("cuda", {})
    return {
        "genkern": __version__,
        "backend": "native" if native is not None and mode != "reference" else "reference",
        "mode": mode,
        "reason": reason,
        "help": page(PLAIN_TORCH),
        "python": platform.python_version(),
        "torch": {"running": torch.__version__, "built_against": _record.get("torch")},
        "compiler": _record.get("compiler"),
        "binary": str(_home / f"_C{EXTENSION_SUFFIXES[0]}") if native else None,
        "isa": {"chosen": native.isa(), "available": native.isas()} if native else None,
        "threads": native.num_threads() if native else torch.get_num_threads(),
        "cuda": {
            "built": has_native("cuda"),
            "reason": why_not("cuda"),
            "toolkit": cuda.get("toolkit"),
            "archs": cuda.get("archs"),
            **_cuda_device(),
        },
    }


def _cuda_device() -> dict[str, str | None]:
    if torch.version.cuda is None:
        return {"device": None, "device_reason": f"torch {torch.__version__} was built without CUDA"}
    try:
        return {"device": torch.cuda.get_device_name(), "device_reason": None}
    except (AssertionError, RuntimeError) as error:
        return {"device": None, "device_reason": str(error)}


def _checked(what: str, name: str) -> str:
    if not isinstance(name, str):
        raise TypeError(f"{what}: expected a str, got {type(name).__name__}")
    if name not in MODES:
        raise ValueError(f"{what}: expected 'auto', 'native' or 'reference', got {name!r}")
    return name


def _choose() -> tuple[Path, dict[str, Any], str | None]:
    """The folder of the binary for the running torch, its record, and why it cannot be used, if it cannot."""
    record, refused = _usable(_folder)
    paths = [] if refused is None else sorted((_folder / "_binaries").glob("*/_build.json"))
    if not paths:
        return _folder, record, refused
    others = [(path.parent, *_usable(path.parent)) for path in paths]
    if fitting := [found for found in others if found[2] is None]:
        return min(fitting, key=lambda found: (bool(found[1].get("wheel")), not found[1]["cuda"]["toolkit"]))
    running = _series(torch.__version__)
    for _, record, refused in others:
        if _series(str(record.get("torch"))) == running:
            return _folder, {}, refused
    versions = ", ".join(dict.fromkeys(str(record.get("torch")) for _, record, _ in others))
    reason = f"genkern has binaries for torch {versions}, and torch {torch.__version__} is running"
    return _folder, {}, f"{reason}; build one: run {rebuild_command()!r}"


def _usable(folder: Path) -> tuple[dict[str, Any], str | None]:
    record, refused = _read_record(folder)
    return record, refused or _refusal(record)


def _read_record(folder: Path) -> tuple[dict[str, Any], str | None]:
    """The record that the build left there, and why it cannot be used, if it cannot."""
    try:
        record = json.loads((folder / "_build.json").read_text(encoding="utf-8"))
        if not isinstance(record, dict):
            raise ValueError(f"expected an object, got {record!r:.40}")
        return record, None
    except FileNotFoundError:
        return {}, f"genkern was never built here; run {rebuild_command()!r}"
    except (OSError, ValueError) as error:
        return {}, f"the build record genkern/_build.json cannot be read ({error}); {_rebuild()}"


def _refusal(record: dict[str, Any]) -> str | None:
    """Why the binary of this record must not be loaded into the running process."""
    if record.get("native") is False:
        return record["reason"]
    # A wheel's binary serves every release of its series, with CUDA or without.
    of_torch = [_series(str(v)) if record.get("wheel") else v for v in (record.get("torch"), torch.__version__)]
    cuda, of_cuda = ((v or "none").split(".")[0] for v in (record.get("cuda", {}).get("toolkit"), torch.version.cuda))
    for what, built, running in (
        ("genkern", record.get("genkern"), __version__),  # also any record of another layout
        ("torch", *of_torch),
        ("torch's C++11 ABI", record.get("cxx11_abi"), torch.compiled_with_cxx11_abi()),
        ("CUDA", cuda, cuda if cuda == "none" else of_cuda),  # without, it serves a torch with CUDA, too
        ("Python ABI", record.get("extension_suffix"), EXTENSION_SUFFIXES[0]),
    ):
        if built != running:
            return f"genkern's binary was built for {what} {built}, but {what} {running} is running; {_rebuild()}"
    return None


def _series(version: str) -> str:
    """2.13 of a final release 2.13.1+cpu; all of another."""
    found = re.fullmatch(r"(\d+\.\d+)\.\d+(\+.*)?", version)
    return found[1] if found else version


def _load(folder: Path) -> tuple[ModuleType | None, str | None]:
    """The compiled module, or None and the full reason."""
    binary = folder / f"_C{EXTENSION_SUFFIXES[0]}"
    try:
        _check_complete(binary)
        spec = importlib.util.spec_from_file_location("genkern._C", binary)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        sys.modules[module.__name__] = module
        return module, None
    except (ImportError, OSError) as error:
        return None, f"genkern's binary cannot be loaded ({error}); {_rebuild()}"


def _check_complete(binary: Path) -> None:
    """Refuse a file that was cut short: the loader maps it unchecked and dies at the first missing page."""
    with binary.open("rb") as file:
        header = file.read(64)
        size = file.seek(0, os.SEEK_END)
    if not header.startswith(b"\x7fELF"):
        return  # another platform's format: the loader's to judge
    if len(header) == 64:
        # The table of sections ends an ELF file (elf.h, Elf64_Ehdr: e_shoff, e_shentsize, e_shnum).
        (start,), (entry, count) = struct.unpack_from("<Q", header, 0x28), struct.unpack_from("<HH", header, 0x3A)
        if size >= start + entry * count:
            return
    raise OSError(f"{binary.name} is cut short at {size} bytes")


def rebuild_command() -> str:
    """The command that builds a binary for the running torch in any environment (genkern/rebuild.py)."""
    return f"{'GENKERN_BACKEND=auto ' if mode == 'native' else ''}python -m genkern.rebuild"


def _rebuild() -> str:
    return f"rebuild it: run {rebuild_command()!r}"


mode = _checked("GENKERN_BACKEND", os.environ.get("GENKERN_BACKEND") or "auto")
_home, _record, reason = _choose()
native: ModuleType | None = None
if reason is None:
    native, reason = _load(_home)
_devices = frozenset(native.devices() if native else ())  # once: torch.compile does not trace into the binary
if native is None and mode == "native":
    raise ImportError(f"GENKERN_BACKEND=native, but {reason}; see {page(PLAIN_TORCH)}")
if native is None and mode == "auto" and not _record.get("on_request"):
    warnings.warn(f"genkern runs on the reference: {reason}; see {page(PLAIN_TORCH)}", RuntimeWarning, stacklevel=2)
