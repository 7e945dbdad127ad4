"""Every operation, forward and backward, on the GPU, beside the CPU; few launches, so that a sanitizer may watch them.

python tests/every_kernel_once.py   needs no pytest; exit status 1 where a result is off, or there is no GPU
"""

from __future__ import annotations

import sys

import torch
from support.cases import CASES, KEY, Case, Options, evaluate
from support.inputs import DTYPES, LAYOUTS, Shape, fits, lay_out, normal
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
    faults += noise() + mixtures() + discrepancies() + averages()
    print(*faults, sep="\n", end="\n" if faults else "")
    print(f"{len(calls())} calls of {len(CASES)} operations and forms, {len(faults)} results not those of the CPU")
    return min(len(faults), 1)


def calls() -> list[tuple[Case, Shape]]:
    return [(case, shape) for shape in SHAPES for case in CASES if len(shape) >= case.least_ndim]


def compare(case: Case, shape: Shape, number: int) -> list[str]:
    """Dtypes, reductions, layouts and places of the key in turn, so that all occur with every operation."""
    dtype, layout = DTYPES[number % 4], [name for name in LAYOUTS if fits(name, shape)][number % 3]
    options: Options = {"reduction": case.reductions[number % len(case.reductions)]} if case.reduces else {}
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


def mixtures() -> list[str]:
    faults = []
    for points, components, dims in ((1, 1, 1), (3, 200, 5), (70, 65, 33)):
        for dtype in (torch.float64, torch.float32):
            shapes = [(points, dims), (components, dims), (components,), (points, components)]
            on_cpu = [normal(shape, seed, dtype) for seed, shape in enumerate(shapes)]
            results = []
            for leaves in (on_cpu, [t.cuda() for t in on_cpu]):
                z, loc, scale, log_weights = (t.requires_grad_() for t in leaves)
                with gk.use_backend("native"):
                    both = gk.gaussian_mixture_log_prob(z, loc, scale, log_weights=log_weights, marginals=True)
                    grads = torch.autograd.grad(both[0].sum() + both[1].sum(), (z, loc, scale, log_weights))
                results.append([t.detach().cpu() for t in (*both, *grads)])
            what = f"gaussian_mixture_log_prob {points, components, dims} {dtype}"
            faults += [f"{what}: {i}" for i, (a, b) in enumerate(zip(*results, strict=True)) if not close(b, a)]
    return faults


def discrepancies() -> list[str]:
    faults = []
    for number, (x_rows, y_rows, dims) in enumerate(((2, 3, 1), (70, 65, 33), (200, 3, 5))):
        for dtype in (torch.float64, torch.float32):
            on_cpu = [normal((rows, dims), seed, dtype) for seed, rows in enumerate((x_rows, y_rows))]
            options: Options = {
                "kernel": ("rbf", "imq")[number % 2],
                "scales": (1.0, 9.0),
                "estimator": "uv"[number % 2],
            }
            results = []
            for leaves in (on_cpu, [t.cuda() for t in on_cpu]):
                x, y = (t.requires_grad_() for t in leaves)
                with gk.use_backend("native"):
                    value = gk.mmd(x, y, **options)
                    grads = torch.autograd.grad(value, (x, y))
                results.append([t.detach().cpu() for t in (value, *grads)])
            what = f"mmd {x_rows, y_rows, dims} {dtype} {options}"
            faults += [f"{what}: {i}" for i, (a, b) in enumerate(zip(*results, strict=True)) if not close(b, a)]
    return faults


def averages() -> list[str]:
    """Many tensors of every dtype, and more of them than a launch takes."""
    results = []
    for device in ("cpu", "cuda"):
        tensors = [normal((1 + 37 * (i % 90),), i, DTYPES[i % 4]).to(device) for i in range(1000)]
        values = [normal(t.shape, 1000 + i, DTYPES[i // 4 % 4]).to(device) for i, t in enumerate(tensors)]
        with gk.use_backend("native"):
            gk.ema_update_(tensors, values, 0.75)
        results.append([t.cpu() for t in tensors])
    pairs = enumerate(zip(*results, strict=True))
    return [f"ema_update_: tensor {i} of 1000" for i, (a, b) in pairs if not close(b, a)]


def close(value: Tensor, expected: Tensor) -> bool:
    largest = expected.abs().nan_to_num().max().item() if expected.numel() else 0.0
    allowed = CLOSE[value.dtype] * max(1.0, largest)
    return torch.allclose(value.double(), expected.double(), rtol=0, atol=allowed, equal_nan=True)


if __name__ == "__main__":
    sys.exit(main())
