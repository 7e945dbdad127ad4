"""Every operation, forward and backward, on the GPU, beside the CPU; few launches, so that a sanitizer may watch them.

python tests/every_kernel_once.py   needs no pytest; exit status 1 where a result is off, or there is no GPU
"""

from __future__ import annotations

import sys

import torch
from support.cases import CASES, KEY, Case, Options, evaluate
from support.inputs import DTYPES, LAYOUTS, REDUCTIONS, Shape, fits, lay_out
from torch import Tensor

import genkern as gk

SHAPES: tuple[Shape, ...] = ((0, 8), (1, 1), (7, 3), (33, 10), (9, 257), (2, 20_011), (2, 6, 5, 7))
# Rough, relative to the largest value: the matrix of tests has the real bounds.
CLOSE = {torch.float64: 1e-10, torch.float32: 1e-4, torch.bfloat16: 4e-2, torch.float16: 5e-3}


def main() -> int:
    cuda = gk.info()["cuda"]
    if reason := cuda["device_reason"] or cuda["reason"]:
        print(f"no GPU: {reason}" if cuda["device_reason"] else f"no CUDA kernels: {reason}")
        return 1
    faults = [fault for number, (case, shape) in enumerate(calls()) for fault in compare(case, shape, number)]
    faults += noise()
    print(*faults, sep="\n", end="\n" if faults else "")
    print(f"{len(calls())} calls of {len(CASES)} operations and forms, {len(faults)} results not those of the CPU")
    return min(len(faults), 1)


def calls() -> list[tuple[Case, Shape]]:
    return [(case, shape) for shape in SHAPES for case in CASES if len(shape) >= case.least_ndim]


def compare(case: Case, shape: Shape, number: int) -> list[str]:
    """Dtypes, reductions, layouts and places of the key in turn, so that all occur with every operation."""
    dtype, layout = DTYPES[number % 4], [name for name in LAYOUTS if fits(name, shape)][number % 3]
    options: Options = {"reduction": REDUCTIONS[number % 5]} if case.reduces else {}
    on_cpu = {name: lay_out(t, layout) for name, t in case.inputs(shape, dtype).items()}
    on_gpu = {name: lay_out(t.cuda(), layout) for name, t in case.inputs(shape, dtype).items()}
    with gk.use_backend("native"):
        expected = evaluate(case, on_cpu, options)
        if case.keyed:
            evaluate(case, on_gpu, {**options, "generator": None})
            options["key"] = KEY.cuda() if number % 2 else KEY
        result = evaluate(case, on_gpu, options)
    return [
        f"{case} {shape} {dtype} {layout} {options}: {name}"
        for name, value in expected.items()
        if not close(result[name].cpu(), value)
    ]


def noise() -> list[str]:
    with gk.use_backend("native"):
        drawn = {
            (draw.__name__, dtype): [
                draw(KEY, (1003,), dtype=dtype, element_offset=3, device=d) for d in ("cuda", "cpu")
            ]
            for draw in (gk.random.normal, gk.random.uniform)
            for dtype in DTYPES
        }
    return [f"random {what}" for what, (on_gpu, on_cpu) in drawn.items() if not close(on_gpu.cpu(), on_cpu)]


def close(value: Tensor, expected: Tensor) -> bool:
    largest = expected.abs().nan_to_num().max().item() if expected.numel() else 0.0
    allowed = CLOSE[value.dtype] * max(1.0, largest)
    return torch.allclose(value.double(), expected.double(), rtol=0, atol=allowed, equal_nan=True)


if __name__ == "__main__":
    sys.exit(main())
