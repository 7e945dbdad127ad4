"""What the kernels take of an SM: read from ptxas -v, judged, and put into a table.

A kernel that spills registers or keeps anything in local memory fails: each such access goes through the memory that
the kernels are bound by.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from cuda_occupancy import LIMITS, occupancy

THREADS = 256  # a block of kernels without launch bounds: kThreads of csrc/cuda/engine.cuh

_FUNCTION = re.compile(r"Compiling entry function '(\S+)' for '(\w+)'|Function properties for '?([^\s']+)'?")
_FRAME = re.compile(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads")
_USED = re.compile(r"Used (\d+) registers")
_SHARED = re.compile(r"(\d+) bytes smem")
_TIME = re.compile(r"Compile time = ([\d.]+) ms")
_BOUNDS = re.compile(r"\.entry\s+([\w$]+)\s*\([^{]*?\.maxntid\s+(\d+)(?:\s*,\s*(\d+))?(?:\s*,\s*(\d+))?")


@dataclass(frozen=True)
class Use:
    """One function on one architecture; sizes in bytes."""

    function: str  # as mangled
    arch: str
    registers: int = 0
    shared: int = 0
    frame: int = 0
    spill_stores: int = 0
    spill_loads: int = 0
    kernel: bool = False  # launched by itself; else a routine that was not inlined
    compile_ms: float = 0.0  # in ptxas

    @property
    def fault(self) -> str | None:
        if self.spill_stores or self.spill_loads:
            return f"spills registers ({self.spill_stores} bytes stored, {self.spill_loads} loaded)"
        return f"keeps {self.frame} bytes in local memory" if self.frame else None


def parse_ptxas(output: str) -> list[Use]:
    """What `ptxas -v` says of each function, in its order."""
    uses: list[Use] = []
    arch, entry = "", ""
    for line in output.splitlines():
        if found := _FUNCTION.search(line):
            if found[1]:
                entry, arch = found[1], found[2]
            else:
                uses.append(Use(found[3], arch, kernel=found[3] == entry))
        elif not uses:
            continue
        elif found := _FRAME.search(line):
            frame, stores, loads = map(int, found.groups())
            uses[-1] = replace(uses[-1], frame=frame, spill_stores=stores, spill_loads=loads)
        elif (used := _USED.search(line)) or (found := _TIME.search(line)):
            # Said of the entry, after the functions that it calls.
            at = next(i for i in reversed(range(len(uses))) if uses[i].function == entry)
            if used:
                shared = _SHARED.search(line)
                uses[at] = replace(uses[at], registers=int(used[1]), shared=int(shared[1]) if shared else 0)
            elif found:
                uses[at] = replace(uses[at], compile_ms=float(found[1]))
    return uses


def launch_bounds(ptx: str) -> dict[str, int]:
    """Threads of a block of each kernel that declares them."""
    return {name: int(x) * int(y or 1) * int(z or 1) for name, x, y, z in _BOUNDS.findall(ptx)}


def faults(uses: Iterable[Use], names: Mapping[str, str]) -> list[str]:
    """A line for each function that must not pass."""
    return [f"{names[use.function]} on {use.arch} {use.fault}" for use in uses if use.fault]


def readable_names(mangled: Iterable[str]) -> dict[str, str]:
    """Short names; where two kernels would share one, they keep their namespaces."""
    keys = sorted(set(mangled))
    shown = subprocess.run(["c++filt"], input="\n".join(keys), capture_output=True, text=True, check=True)
    full = dict(zip(keys, shown.stdout.splitlines(), strict=True))
    short = {key: shorten(name) for key, name in full.items()}
    taken = list(short.values())
    return {key: short[key] if taken.count(short[key]) == 1 else full[key] for key in keys}


def shorten(demangled: str) -> str:
    """`void a::(anonymous namespace)::f<float, __nv_bfloat16>(a::X)` is `f<float, bf16>`; see also _ENGINE."""
    name = demangled.replace("(anonymous namespace)::", "")
    name = re.sub(r"\((?:\w+::)*(\w+)\)(\d+)", r"\1 \2", name)  # an enumerator is printed as (Type)number
    name = _without_parameters(name).replace("> >", ">>").replace("> >", ">>")
    if " " in name.split("<")[0]:
        name = name.partition(" ")[2]  # the result's type, which templates are printed with
    name = re.sub(r"\b(?:\w+::)+", "", name)
    for long, brief in (("__nv_bfloat16", "bf16"), ("__half", "f16"), ("unsigned int", "uint")):
        name = name.replace(long, brief)
    return _ENGINE.sub(_of_engine, re.sub(r"(?<=\d)u?l?l?(?=[,>])", "", name))


# The engine's kernels are known by what they are compiled for, a tile.
_ENGINE = re.compile(
    r"^(?P<driver>map|reduce)_kernel<Engine<(?P<types>[^<>]*)>, "
    r"(?P<tile>\w+(?:<\w+>::\w+)?)<Engine<[^<>]*>>(?:, \d+)?, \w+>$"
)


# Elements of a group, by storage type; for any, by that of arithmetic. Another number is said: "bf16 by 4".
_WIDTHS = {"float": 4, "bf16": 8, "f16": 8, "any of float": 2, "any of double": 1}


def _of_engine(found: re.Match[str]) -> str:
    arithmetic, storage, *width = found["types"].replace("Any", "any").split(", ")
    usual = _WIDTHS.get(f"any of {arithmetic}" if storage == "any" else storage)
    if width and int(width[0]) != usual:
        storage += f" by {width[0]}"
    return f"{found['tile']}<{arithmetic}, {storage}> {found['driver']}"


def _without_parameters(name: str) -> str:
    depth = 0
    for at, letter in enumerate(name):
        depth += (letter == "<") - (letter == ">")
        if letter == "(" and depth == 0:
            return name[:at]
    return name


def table(uses: Iterable[Use], threads: Mapping[str, int], names: Mapping[str, str]) -> list[str]:
    """Markdown: a row a kernel, a column an architecture."""
    kernels: dict[str, dict[str, Use]] = {}
    for use in uses:
        if use.kernel:
            kernels.setdefault(use.function, {})[use.arch] = use
    rows = ["| kernel | threads | shared | " + " | ".join(LIMITS) + " |", "|---|---:|---:|" + "---:|" * len(LIMITS)]
    for function in sorted(kernels, key=lambda key: names[key]):
        each = kernels[function]
        block = threads.get(function, THREADS)
        cells = [_cell(each[arch], block) if arch in each else "–" for arch in LIMITS]
        shared = max(use.shared for use in each.values())
        rows.append(f"| `{names[function]}` | {block} | {shared} | {' | '.join(cells)} |")
    return rows


def _cell(use: Use, threads: int) -> str:
    fits = occupancy(use.arch, threads, use.registers, use.shared)
    return f"{use.registers}, {fits.percent} %"
