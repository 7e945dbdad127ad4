"""The CPU's kernels for 64-bit Arm, run by qemu beside this machine's: `make neon`.

First a table: every operation in every dtype against the definition in float64, and how much of its results has the
bits of another instruction set. Then the tests of SUITE, backend `neon-emulated`, or, with --all, of every file.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from aarch64.build import ROOT
from support import aarch64
from support.backends import Backend, oracle
from support.cases import CASES, KEY, Case, evaluate, evaluate_oracle
from support.inputs import DTYPES, lay_out, normal
from support.tolerance import assert_same_class, error_bound
from torch import Tensor

import genkern as gk
from genkern import _backend

SHAPES = ((7, 3), (9, 130), (2, 6, 5, 7))
SUITE = ("gaussian", "gaussian_head", "mixture", "mmd", "noise", "numeric_kernels", "random")
NEON = Backend(aarch64.NAME, "native", isa=aarch64.NAME)


@dataclass
class Row:
    """What was found of one operation in one dtype."""

    name: str
    dtype: torch.dtype
    calls: int = 0
    numbers: int = 0
    equal: int = 0
    noise_apart: int = 0  # of samples, which have the same bits wherever multiply-adds are fused
    error: float | None = 0.0  # the largest, over what is allowed

    def add(self, value: Tensor, other: Tensor, *, sample: bool) -> None:
        equal = int(((value == other) | (value.isnan() & other.isnan())).sum())
        self.numbers += value.numel()
        self.equal += equal
        self.noise_apart += (value.numel() - equal) * sample

    def __str__(self) -> str:
        bits = 100 * self.equal / max(self.numbers, 1)
        dtype = str(self.dtype).removeprefix("torch.")
        error = "" if self.error is None else f"{self.error:.3f}"
        return f"{self.name:52}{dtype:9}{self.calls:6}{self.numbers:9}{error:>9}{bits:9.2f} %"


def main(*arguments: str) -> int:
    if missing := aarch64.missing() or (f"no compiled kernels: {_backend.reason}" if not _backend.native else None):
        print(f"make neon: skipped, {missing}")
        return 0
    begun = time.monotonic()
    aarch64.build.client(), aarch64.build.machine()
    print(f"compiled in {time.monotonic() - begun:.0f} s", flush=True)
    faults = table()
    print(f"{time.monotonic() - begun:.0f} s", flush=True)
    for fault in faults:
        print(f"FAIL {fault}")
    if faults:
        return 1
    suite = ["tests"] if "--all" in arguments else [f"tests/test_{name}.py" for name in SUITE]
    command = [sys.executable, "-m", "pytest", *suite, "-k", aarch64.NAME, "-n", "auto", "--dist", "worksteal"]
    environment = {**os.environ, "GENKERN_AARCH64": "1", "PYTHONDONTWRITEBYTECODE": ""}
    return subprocess.run(command, cwd=ROOT, env=environment).returncode


def table() -> list[str]:
    """Prints a row for each operation and dtype; gives what is wrong."""
    other = next(isa for isa in ("avx2", "baseline") if isa in _backend.native.isas())
    print(f"{'operation':52}{'dtype':9}{'calls':>6}{'numbers':>9}{'error':>9}{f'as {other}':>11}")
    faults = []
    for row in rows(Backend(other, "native", isa=other)):
        print(row, flush=True)
        if row.error is not None and not row.error <= 1.0:
            faults.append(f"{row.name} {row.dtype}: {row.error:.2f} times the error that is allowed")
        if row.noise_apart and other != "baseline":
            faults.append(f"{row.name} {row.dtype}: {row.noise_apart} numbers of samples have other bits")
    print(
        "calls: forward and backward; error: the largest over what is allowed (tests/support/tolerance.py), where the"
    )
    print(f"suite below does not say it alone; as {other}: results with the same bits")
    faults += [f"{name} never ran" for name, count in aarch64.launches().items() if count == 0]
    return faults


def rows(other: Backend) -> Iterator[Row]:
    for case in CASES:
        for dtype in DTYPES:
            row = Row(str(case), dtype)
            for shape in SHAPES:
                if len(shape) >= case.least_ndim:
                    row.calls += 1
                    compare(row, case, shape, other)
            yield row
    yield from others(other)


def compare(row: Row, case: Case, shape: tuple[int, ...], other: Backend) -> None:
    layout = ("contiguous", "chunk", "transposed")[row.calls % 3]
    tensors = {name: lay_out(t, layout) for name, t in case.inputs(shape, row.dtype).items()}
    options = case.losses[row.calls % len(case.losses)] if case.reduces else {}
    with NEON.use():
        result = evaluate(case, tensors, options)
    with other.use():
        beside = evaluate(case, tensors, options)
    options = {**options, **case.noise(shape, row.dtype)}
    with oracle():
        plain = evaluate(case, tensors, options)
    expected = evaluate_oracle(case, tensors, options, [result[n].dtype for n in result if not n.startswith("grad")])
    for name, value in result.items():
        terms = case.terms(name.removeprefix("gradient of "), shape) if name.startswith("gradient") else 1
        value, wanted = value.detach(), expected[name].detach()
        assert_same_class(f"{case} {name}", value, wanted.to(value.dtype))
        finite = wanted.isfinite() & wanted.to(value.dtype).isfinite()
        error = (value.double() - wanted).abs() / error_bound(wanted, plain[name].detach(), value.dtype, terms)
        row.error = torch.cat([error[finite].flatten(), torch.tensor([row.error]).double()]).max().item()  # nan stays
        row.add(value, beside[name].detach(), sample=case.keyed and name.startswith("sample"))


def others(other: Backend) -> Iterator[Row]:
    """What is no case of the suite's matrix, by its bits alone: noise, keys, pairs of points, averages."""

    def of(name: str, dtype: torch.dtype, call: Callable[..., Sequence[Tensor]], *tensors: Tensor) -> Row:
        row = Row(name, dtype, calls=1, error=None)
        found = []
        for backend in (NEON, other):
            leaves = [t.clone().requires_grad_() for t in tensors]
            with backend.use():
                results = [*call(*leaves)]
                if results[0].requires_grad:
                    results += torch.autograd.grad([r.sum() for r in results], leaves)
            found.append(results)
        for value, beside in zip(*found, strict=True):
            row.add(value.detach(), beside.detach(), sample=name.startswith("random"))
        return row

    def mixture(z: Tensor, loc: Tensor, scale: Tensor, log_weights: Tensor) -> Sequence[Tensor]:
        return gk.gaussian_mixture_log_prob(z, loc, scale, log_weights=log_weights, marginals=True)

    def average(kept: Tensor, value: Tensor) -> list[Tensor]:
        result = kept.detach().clone()
        gk.ema_update_([result], [value.detach()], 0.75)
        return [result]

    for dtype in DTYPES:
        for draw in (gk.random.normal, gk.random.uniform):
            options = {"shape": (1003,), "dtype": dtype, "element_offset": 3}
            yield of(f"random.{draw.__name__}", dtype, lambda draw=draw, options=options: [draw(KEY, **options)])
        yield of("ema_update_", dtype, average, normal((70, 33), 4, dtype), normal((70, 33), 5, dtype))
    yield of("random.split", torch.uint64, lambda: [gk.random.split(KEY, 7).view(torch.int64)])
    for dtype in DTYPES[:2]:
        z, loc, scale, log_weights = (normal(s, i, dtype) for i, s in enumerate([(70, 33), (65, 33), (65, 33), (65,)]))
        yield of("gaussian_mixture_log_prob", dtype, mixture, z, loc, scale, log_weights)
        for kernel in ("rbf", "imq"):
            mmd = partial(gk.mmd, kernel=kernel, scales=(1.0, 9.0), estimator="u")
            yield of(f"mmd-{kernel}", dtype, lambda *t, mmd=mmd: [mmd(*t)], z, loc)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
