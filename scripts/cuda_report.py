"""The blocks of docs/performance.md that the compiled kernels fill: made, written, compared."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path

import cuda_floors
import cuda_sass
from cuda_resources import Use, readable_names, table

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "performance.md"
TOOLS = ROOT / "build" / "cuda-tools"  # where make puts the disassembler if the toolkit has none

_RESOURCES = """\
nvcc {nvcc}. Registers of a thread, and the warps that an SM holds in percent of those it could hold, by NVIDIA's
[occupancy calculation](https://docs.nvidia.com/cuda/cuda-c-best-practices-guide/#calculating-occupancy); shared memory
is static, in bytes a block. No kernel spills a register or has a frame in local memory: that fails the check.

{table}"""

_FLOORS = """\
**Computed, not measured**, from machine code (nvcc {nvcc}, sm_90) and these figures of an H200-class GPU: {sms} SMs at
{clock} GHz, {copy} TB/s for a copy; an SM issues {issue} lanes a clock, and its units serve
{lanes}. Times are picoseconds an element on the whole GPU. A prediction is the
slowest of memory, issue and units, as if all overlapped perfectly: a real kernel waits besides.

### Noise

scripts/noise_probe.cu, a thread's instructions less those of a kernel that stores without making noise. The uniform
datapath runs once for a warp but takes a turn at the scheduler. A loop can hoist the key's schedule, 20 of the uniform
instructions a counter.

{noise}

### What bounds each operation

Bytes that must move, and the noise alone, with no other arithmetic. Losses reduced, prior N(0, I), a scale an element.

{operations}

### What bounds each kernel

Instructions an element on the cheapest way once through the main loop that reads by 16-byte accesses, writes every
result and makes the noise; slow paths for denormals and the like are left out, the start and the end of a block are not
counted. Loads and stores on that way, by width in bits. Kernels for any storage type have no such way.

{kernels}

### All instructions of each kernel

Every path counted once; slow routines that are called are left out.

{counts}"""


def resources_block(nvcc: str, uses: Iterable[Use], threads: Mapping[str, int], names: Mapping[str, str]) -> str:
    return _RESOURCES.format(nvcc=nvcc, table="\n".join(table(uses, threads, names)))


def floors_block(nvcc: str, probe: str, listings: Iterable[str]) -> str:
    """Of the disassembled noise probe and of the disassembled kernels."""
    kernels = [kernel for listing in listings for kernel in cuda_sass.parse(listing)]
    names = readable_names(kernel.name for kernel in kernels)
    named = {names[kernel.name]: kernel for kernel in kernels}
    costs = cuda_floors.noise_costs(cuda_sass.parse(probe))
    return _FLOORS.format(
        nvcc=nvcc,
        sms=cuda_floors.SMS,
        clock=cuda_floors.CLOCK_GHZ,
        copy=cuda_floors.COPY_TB_S,
        issue=cuda_floors.ISSUE,
        lanes=", ".join(f"{unit} {lanes}" for unit, lanes in cuda_floors.LANES.items()),
        noise="\n".join(cuda_floors.noise_table(costs)),
        operations="\n".join(cuda_floors.operation_table(costs["a normal, float"])),
        kernels="\n".join(cuda_floors.kernel_table(named)),
        counts="\n".join(cuda_floors.count_table(named)),
    )


def settle(page: Path, name: str, block: str, nvcc: str, write: bool) -> str | None:
    """Write the block, or say what differs; a block that another nvcc made is not compared."""
    text = page.read_text(encoding="utf-8")
    old = read_block(text, name)
    if old == block:
        print(f"{page.name}: {name}: as committed")
    elif write:
        page.write_text(replace_block(text, name, block), encoding="utf-8")
        print(f"{page.name}: {name}: written")
    elif (made_by := re.search(r"nvcc (\d[\d.]*\d)", old)) and made_by[1] != nvcc:
        print(f"{page.name}: {name}: not compared, nvcc {made_by[1]} made it and {nvcc} runs here")
    else:
        changed = sorted(set(block.splitlines()) ^ set(old.splitlines()), key=lambda line: line.split("|")[1:2])
        shown = "\n".join(f"  {'+' if line in block else '-'} {line}" for line in changed[:40])
        return f"{page.name}: {name}: differs from the kernels; `make cuda-tables` writes it\n{shown}"
    return None


def read_block(text: str, name: str) -> str:
    before, after = _around(text, name)
    return text[len(before) : len(text) - len(after)].strip()


def replace_block(text: str, name: str, block: str) -> str:
    before, after = _around(text, name)
    return f"{before}\n{block.strip()}\n{after}"


def _around(text: str, name: str) -> tuple[str, str]:
    begin, end = f"<!-- {name}:start -->", f"<!-- {name}:end -->"
    if text.count(begin) != 1 or text.count(end) != 1 or text.index(begin) > text.index(end):
        raise ValueError(f"expected one pair of {begin} and {end}")
    return text[: text.index(begin) + len(begin)], text[text.index(end) :]


def find_disassembler(nvcc: str) -> str | None:
    """nvdisasm: on PATH, beside nvcc, or of the package nvidia-cuda-nvdisasm under TOOLS."""
    unpacked = (str(path) for path in TOOLS.glob("nvidia/*/bin/nvdisasm"))
    candidates = ["nvdisasm", str(Path(nvcc).resolve().parent / "nvdisasm"), *unpacked]
    return next((found for candidate in candidates if (found := shutil.which(candidate))), None)


def disassemble(nvdisasm: str, cubin: Path) -> str:
    return subprocess.run([nvdisasm, "-c", str(cubin)], capture_output=True, text=True, check=True).stdout
