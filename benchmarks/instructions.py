"""Instructions an operation executes: what the CPU kernels cost without a clock, and a guard that none grows unseen.

python -m benchmarks.instructions            counts, and keeps the counts
python -m benchmarks.instructions --check    counts, and fails where one is more than 3 % from what is kept
"""

from __future__ import annotations

import argparse
import json
import math
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import genkern as gk
from benchmarks import machine, results
from benchmarks.callgrind import Counts, Missing, count, disassembly
from benchmarks.cases import MODES, OPERATIONS, OTHER_DTYPES, Case, dtype_name
from benchmarks.chapter import Chapter, Measured

TOLERANCE = 0.03
ISA = "avx2"  # the widest that valgrind executes
FAMILIES = tuple(dict.fromkeys(op.family for op in OPERATIONS))


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code 0; 1 where a count is off (with --check); 2 where nothing can be counted or compared."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.instructions", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--check", action="store_true", help="keep nothing; fail where a count is not what is kept")
    parser.add_argument("--family", action="append", choices=FAMILIES, help="these only (default: all)")
    parser.add_argument("--results", type=Path, default=results.FOLDER, metavar="FOLDER", help="where counts are kept")
    options = parser.parse_args(argv)
    families = options.family or list(FAMILIES)
    try:
        merged = options.family and _path(options.results).exists()  # a count of all families replaces the file
        kept = load(options.results) if options.check or merged else {}
        rows = rows_of(families)
    except (Missing, OSError) as error:
        print(f"benchmarks.instructions: {error}", file=sys.stderr)
        return 2
    if options.check:
        faults = differences(rows, kept)
        print(*faults, sep="\n", end="\n" if faults else "", file=sys.stderr)
        print(f"{len(rows)} counts, {len(faults)} of them not within {TOLERANCE:.0%} of what is kept")
        return 1 if faults else 0
    counted = {_case_of(row): row for row in rows}
    rows = [counted.pop(_case_of(row), row) for row in kept.get("rows", [])]  # in their order
    rows += counted.values()
    where = {"machine": {**machine.describe(), "isa": ISA}, "run": machine.describe_run(), **_environment()}
    results.write(_path(options.results), json.dumps({**where, "rows": rows}, indent=1) + "\n")
    print(f"{_path(options.results)}\ntables: python -m benchmarks.report")
    return 0


def rows_of(families: Sequence[str], isa: str = ISA) -> list[dict[str, Any]]:
    """A row a case."""
    counted = count(families, isa)
    code = Code(disassembly())
    return [_row_of(case, counts, code) for case, counts in counted]


def _row_of(case: Case, counts: Counts, code: Code) -> dict[str, Any]:
    """A step's instructions in genkern's binary, those in kernels, and of these the kinds."""
    executed: Counter[str] = Counter()
    for of in counts.kernels.values():
        for address, times in of.items():
            executed[code.kinds[address]] += times
    written = code.of_wider({name for name, of in counts.kernels.items() if sum(of.values()) > counts.in_kernels / 50})
    return {
        "op": case.op.name,
        "mode": case.mode,
        "dtype": dtype_name(case.dtype),
        "shape": list(case.shape),
        "total": counts.total,
        "kernels": counts.in_kernels,
        **{kind: executed[kind] for kind in KINDS},
        "avx512": {kind: written[kind] for kind in KINDS},
    }


def differences(rows: Sequence[dict[str, Any]], kept: Measured) -> list[str]:
    """A line for each count that is off. Counts of another compiler or torch say nothing of the code."""
    environment = _environment()
    if off := [name for name, value in environment.items() if kept[name] != value]:
        return [f"{name}: kept are counts of {kept[name]}, this is {environment[name]}: count anew" for name in off]
    before = {_case_of(row): row for row in kept["rows"]}
    faults = []
    for row in rows:
        name = f"{row['op']} {row['dtype']} {row['mode'].replace('_', ' + ')} {row['shape']}"
        old = before.get(_case_of(row))
        if old is None or old["shape"] != row["shape"]:
            faults.append(f"{name}: not kept yet: python -m benchmarks.instructions")
            continue
        for what in ("total", "kernels"):
            change = row[what] / old[what] - 1
            if abs(change) > TOLERANCE:
                faults.append(f"{name}, {what}: {row[what]} instructions, kept {old[what]}: {change:+.1%}")
    return faults


def _case_of(row: dict[str, Any]) -> tuple[str, str, str]:
    return row["op"], row["mode"], row["dtype"]


# Kinds of instructions, by the text of the disassembly.

KINDS = ("vector", "narrow", "scalar_float", "other")


def kind_of(text: str) -> str:
    """Of whole vectors of 256 or 512 bits, of 128, of one floating-point number, or none of these."""
    mnemonic = text.split()[0]
    if "%ymm" in text or "%zmm" in text:
        return "vector"
    if "%xmm" not in text:
        return "other"
    return "scalar_float" if re.search(r"s[sd][lq]?$", mnemonic) else "narrow"


class Code:
    """The binary's instructions: the kind of each, and by function how many of each kind are written there."""

    def __init__(self, instructions: Iterable[tuple[str, int, str]]) -> None:
        self.kinds: dict[int, str] = {}
        self._written: dict[str, Counter[str]] = defaultdict(Counter)
        for function, address, text in instructions:
            if "genkern::avx" in function or "genkern::baseline" in function:
                self.kinds[address] = kind_of(text)
                self._written[_name(function)][self.kinds[address]] += 1

    def of_wider(self, functions: set[str]) -> Counter[str]:
        """In the same functions as compiled for AVX-512, which valgrind does not execute."""
        found: Counter[str] = Counter()
        for function in functions:
            found += self._written.get(_name(function).replace("avx2", "avx512"), Counter())
        return found


def _name(function: str) -> str:
    """Without what the compiler says of a copy that it made of a function."""
    return re.sub(r" \[clone [^\]]*\]", "", function)


# The file, and what the page says of it.


def _environment() -> dict[str, str]:
    info = gk.info()
    return {"compiler": str(info["compiler"]), "torch": info["torch"]["running"].partition("+")[0]}


def _path(folder: Path) -> Path:
    return folder / "instructions" / f"{ISA}.json"


def load(folder: Path) -> Measured:
    found: Measured = json.loads(_path(folder).read_text(encoding="utf-8"))
    return found


def block(measured: Measured, picture: str | None) -> str:
    """float32 in all, of the other dtypes what an element takes."""
    rows: dict[str, dict[str, dict[str, dict[str, Any]]]] = {}
    for row in measured["rows"]:
        rows.setdefault(row["op"], {}).setdefault(row["dtype"], {})[row["mode"]] = row
    header = ["operation", "shape", "kernels, forward", "and backward", "the rest, a call", "and backward"]
    header += ["of whole vectors", "one float at a time", "AVX-512: of 512 bits, of one float"]
    lines = [header, ["---", "---", *["---:"] * (len(header) - 2)]]
    others = [dtype_name(dtype) for dtype in OTHER_DTYPES]
    compact = [["operation", *others], ["---", *["---:"] * len(others)]]
    for name, of_dtypes in rows.items():
        modes = of_dtypes["float32"]
        forward, longest = modes[MODES[0]], modes.get(MODES[1])
        of = longest or forward
        numel = math.prod(of["shape"])
        compact.append([f"`{name}`", *(_an_element(of_dtypes[dtype]) for dtype in others)])
        lines.append(
            [
                f"`{name}`",
                str(of["shape"]),
                _per_element(forward),
                _per_element(longest) if longest else "–",
                str(forward["total"] - forward["kernels"]),
                str(longest["total"] - longest["kernels"]) if longest else "–",
                f"{of['vector'] / of['kernels']:.0%}",
                f"{of['scalar_float'] / numel:.2f}",
                f"{of['avx512']['vector']}, {of['avx512']['scalar_float']}",
            ]
        )
    return "\n".join(
        [
            f"{ISA.upper()}, {measured['compiler']}, torch {measured['torch']}, {measured['run']['date'][:10]}. "
            "Instructions an element in the kernels; in the rest of the binary, which checks, allocates and records "
            "the graph, a call. Of the kernels' instructions, the share that works on whole vectors of 256 bits; those "
            "that work on one floating-point number, an element. Of AVX-512, how many instructions of either kind the "
            "same functions hold. float32.\n",
            *(f"| {' | '.join(cells)} |" for cells in lines),
            "\nInstructions an element in the kernels in the other dtypes, of the same shapes: forward / forward and "
            "backward.\n",
            *(f"| {' | '.join(cells)} |" for cells in compact),
        ]
    )


def _an_element(modes: dict[str, dict[str, Any]]) -> str:
    """Of one operation and dtype, in every mode."""
    return " / ".join(_per_element(modes[mode]) for mode in MODES if mode in modes)


def _per_element(row: dict[str, Any]) -> str:
    return f"{row['kernels'] / math.prod(row['shape']):.3g}"


CHAPTER = Chapter("instructions", "benchmarks/results/README.md", block)


if __name__ == "__main__":
    sys.exit(main())
