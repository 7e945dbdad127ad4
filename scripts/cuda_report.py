"""The table of benchmarks/results/cuda.md, which the compiled kernels fill: made, written, compared."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from cuda_resources import Use, table

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "benchmarks" / "results" / "cuda.md"

_RESOURCES = """\
nvcc {nvcc}. Registers of a thread, and the warps that an SM holds in percent of those it could hold, by NVIDIA's
[occupancy calculation](https://docs.nvidia.com/cuda/cuda-c-best-practices-guide/#calculating-occupancy); shared memory
is static, in bytes a block. No kernel spills a register or has a frame in local memory: that fails the check.

{table}"""


def resources_block(nvcc: str, uses: Iterable[Use], threads: Mapping[str, int], names: Mapping[str, str]) -> str:
    return _RESOURCES.format(nvcc=nvcc, table="\n".join(table(uses, threads, names)))


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
