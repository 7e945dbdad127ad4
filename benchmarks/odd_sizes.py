"""Odd sizes: the time of rows whose length fills no vectors, over that of as many rows of the next length that does.

python -m benchmarks.odd_sizes [--family gan]   measures; benchmarks.report writes the tables
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from benchmarks.cases import OPERATIONS, Operation, Shape, step
from benchmarks.chapter import Chapter, Measured, provenance
from benchmarks.measure import alternate
from benchmarks.results import FOLDER

BOUND = 1.5
_LENGTHS = {3: 4, 7: 8, 15: 16, 31: 32, 63: 64, 65: 80, 257: 272, 511: 512}
"""What each is padded to: the next power of two, or multiple of 16."""
_NUMEL, _ROUNDS = 10**6, 15
# Whose tensors are flat: no row begins where a vector does not.
_WITHOUT_ROWS = ("ema_update_", "random_normal", "random_uniform")


def main(argv: Sequence[str] | None = None) -> int:
    ops = [op for op in OPERATIONS if op.name not in _WITHOUT_ROWS]
    families = list(dict.fromkeys(op.family for op in ops))
    parser = argparse.ArgumentParser(prog="python -m benchmarks.odd_sizes", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--family", choices=families, help="default: all")
    parser.add_argument(
        "--results", type=Path, default=FOLDER, metavar="FOLDER", help="where odd_sizes/<machine>.json goes"
    )
    options = parser.parse_args(argv)
    torch.set_num_threads(1)
    rows = []
    for op in ops:
        if options.family in (None, op.family):
            rows.append(_row(op))
            print(op.name, *(f"{length['odd']}: {_ratio(length):.2f}" for length in rows[-1]["lengths"]), flush=True)
    print(CHAPTER.keep(options.results, {"rows": rows}))
    print("tables: python -m benchmarks.report")
    return 0


def shape_for(op: Operation, length: int, rows_as_of: int) -> Shape:
    """Rows of `length` elements: as many as hold about a million elements where their length is `rows_as_of`.

    A row is one of classes or of dimensions where there are such, and of an image a channel.
    """
    _, *sizes = op.shapes["large"][0]
    if op.of_pairs:
        points = round(math.sqrt(_NUMEL / rows_as_of))
        return points, points, length
    between = (sizes[0], 1) if len(sizes) == 3 else sizes[:-1]
    return round(_NUMEL / (math.prod(between) * rows_as_of)), *between, length


def _row(op: Operation) -> dict[str, Any]:
    mode, lengths = op.modes[-1], []
    for odd, padded in _LENGTHS.items():
        steps = {}
        for name, length in (("time", odd), ("padded_time", padded)):
            inputs = op.make_inputs(shape_for(op, length, rows_as_of=odd), torch.float32)
            steps[name] = step(op.genkern, inputs, mode)
        timings = {name: asdict(timing) for name, timing in alternate(steps, _ROUNDS).items()}
        lengths.append({"odd": odd, "padded": padded, **timings})
    return {"op": op.name, "family": op.family, "mode": mode, "lengths": lengths}


def _ratio(length: dict[str, Any]) -> float:
    return length["time"]["median"] / length["padded_time"]["median"]


def block(measured: Measured, picture: str | None) -> str:
    """The largest ratio of each operation in bold, and which of all exceed the bound."""
    rows = measured["rows"]
    lengths = {(length["odd"], length["padded"]): None for row in rows for length in row["lengths"]}
    header = ["operation", *(f"{odd} : {padded}" for odd, padded in lengths)]
    lines = [header, ["---", *["---:"] * len(lengths)]]
    beyond = []
    for row in rows:
        ratios = {length["odd"]: _ratio(length) for length in row["lengths"]}
        largest = max(ratios.values())
        texts = [f"**{ratio:.2f}**" if ratio == largest else f"{ratio:.2f}" for ratio in ratios.values()]
        lines.append([f"`{row['op']}`", *texts])
        beyond += [f"`{row['op']}` at {odd}" for odd, ratio in ratios.items() if ratio > BOUND]
    return "\n".join(
        [
            f"{provenance(measured)}. Time of the odd rows over that of the padded ones, float32, one thread, forward "
            "and backward; medians of alternating rounds. In bold: each operation's largest.\n",
            *(f"| {' | '.join(cells)} |" for cells in lines),
            f"\nAbove {BOUND:g}: {', '.join(beyond) or 'none'}.",
        ]
    )


CHAPTER = Chapter("odd_sizes", "benchmarks/results/README.md", block)

if __name__ == "__main__":
    sys.exit(main())
