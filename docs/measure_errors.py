"""Largest errors of the float32 kernels, in ulp of the true value: the table of docs/numerics.md.

    python docs/measure_errors.py

Every row is one public operation over one range of arguments. The true values come from mpmath with 40 digits, for the
float32 arguments as they are. "as written" is the usual formula in eager torch, float32.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from mpmath import mp, mpf
from torch import Tensor

import genkern as gk
from genkern import _backend
from genkern.reference.random import philox4x32

mp.dps = 40
POINTS = 20000
RANDOM = torch.Generator().manual_seed(0)
HALF, TWO = mpf("0.5"), mpf(2)


@dataclass(frozen=True)
class Row:
    name: str
    range: str
    arguments: tuple[Tensor, ...]
    compute: Callable[..., Tensor]
    as_written: Callable[..., Tensor] | None
    truth: Callable[..., mpf]
    largest_term: Callable[..., mpf] | None = None  # where terms cancel, an ulp is that of the largest


def even(lo: float, hi: float) -> Tensor:
    """Random points, as many in each part of the range."""
    return (lo + (hi - lo) * torch.rand(POINTS, generator=RANDOM, dtype=torch.float64)).float()


def magnitudes(lo: float, hi: float) -> Tensor:
    """Both signs, as many points in each decade."""
    size = torch.exp(even(float(np.log(lo)), float(np.log(hi))).double())
    return (size * torch.where(torch.rand(POINTS, generator=RANDOM) < 0.5, -1.0, 1.0)).float()


def sigma(**options: object) -> Callable[[Tensor], Tensor]:
    """The standard deviation itself: a sample around 0 of which the noise is 1."""
    return lambda s: gk.gaussian_rsample(torch.zeros_like(s), s, eps=torch.ones_like(s), **options)  # type: ignore[arg-type]


def slope(of: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """The derivative by the first argument."""

    def derivative(*arguments: Tensor) -> Tensor:
        leaf = arguments[0].clone().requires_grad_()
        return torch.autograd.grad(of(leaf, *arguments[1:]).sum(), leaf)[0]

    return derivative


def kl(s: Tensor, *prior: Tensor, **options: object) -> Tensor:
    zero = torch.zeros_like(s)
    return gk.gaussian_kl(zero, s, zero if prior else None, *prior, reduction="none", **options)  # type: ignore[arg-type]


def softplus(x: mpf) -> mpf:
    return mp.log1p(mp.exp(x))


def kl_of_ratio(d: mpf) -> mpf:
    return HALF * (mp.expm1(d) - d)


def rows() -> Iterator[Row]:
    wide = even(-87, 88)
    yield Row("σ, logvar", "−87 … 88", (wide,), sigma(), lambda s: torch.exp(0.5 * s), lambda s: mp.exp(HALF * s))
    std = even(-87, 88)
    yield Row("σ, logstd", "−87 … 88", (std,), sigma(scale_param="logstd"), torch.exp, mp.exp)
    soft, functional = even(-87, 88), torch.nn.functional
    yield Row("σ, softplus", "−87 … 88", (soft,), sigma(scale_param="softplus"), functional.softplus, softplus)
    d_soft = slope(sigma(scale_param="softplus"))
    yield Row("∂σ/∂scale, softplus", "−87 … 88", (soft,), d_soft, torch.sigmoid, lambda x: 1 / (1 + mp.exp(-x)))
    clip = sigma(scale_param="std", clamp=(-6.0, 6.0), clamp_mode="tanh")
    x = magnitudes(1e-6, 40)
    yield Row(
        "clamp tanh, c = 6", "±1e-6 … 40", (x,), clip, lambda v: 6 * torch.tanh(v / 6), lambda v: 6 * mp.tanh(v / 6)
    )
    yield Row(
        "its derivative",
        "±1e-6 … 40",
        (x,),
        slope(clip),
        lambda v: 1 - torch.tanh(v / 6) ** 2,
        lambda v: mp.sech(v / 6) ** 2,
    )

    for lo, hi, text in ((1e-7, 1e-2, "±1e-7 … 0.01"), (1e-2, 1, "±0.01 … 1"), (1, 87, "±1 … 87")):
        raw = magnitudes(lo, hi)
        yield Row("KL to N(0, I), loc = 0", text, (raw,), kl, lambda s: -0.5 * (1 + s - s.exp()), kl_of_ratio)
    raw = magnitudes(1e-7, 87)
    yield Row(
        "its derivative", "±1e-7 … 87", (raw,), slope(kl), lambda s: 0.5 * (s.exp() - 1), lambda s: HALF * mp.expm1(s)
    )
    p = even(-10, 10)
    q = (p.double() * (1 + magnitudes(1e-6, 1e-1).double())).float()
    yield Row(
        "KL(q ‖ p), logvar, q ≈ p", "relative difference 1e-6 … 0.1", (q, p), kl,
        lambda a, b: -0.5 * (1 + a - b - (a - b).exp()), lambda a, b: kl_of_ratio(a - b),
    )  # fmt: skip
    p = torch.exp(even(-5, 5))
    q = (p.double() * (1 + magnitudes(1e-5, 1e-1).double())).float()
    yield Row(
        "KL(q ‖ p), std, q ≈ p", "relative difference 1e-5 … 0.1", (q, p), lambda a, b: kl(a, b, scale_param="std"),
        lambda a, b: torch.log(b / a) + a**2 / (2 * b**2) - 0.5, lambda a, b: kl_of_ratio(2 * mp.log(a / b)),
    )  # fmt: skip

    x, loc, s = magnitudes(1e-3, 1e3), magnitudes(1e-3, 1e3), even(-20, 20)
    yield Row(
        "nll, logvar", "logvar −20 … 20", (x, loc, s),
        lambda x, m, s: gk.gaussian_nll(x, m, s, reduction="none", full=False),
        lambda x, m, s: 0.5 * ((x - m) ** 2 / s.exp() + s), lambda x, m, s: HALF * ((x - m) ** 2 * mp.exp(-s) + s),
        lambda x, m, s: HALF * max((x - m) ** 2 * mp.exp(-s), abs(s)),
    )  # fmt: skip
    var = torch.exp(even(-87, 88))
    yield Row(
        "entropy, var", "1e-38 … 1e38", (var,), lambda v: gk.gaussian_entropy(v, scale_param="var", reduction="none"),
        lambda v: 0.5 * torch.log(v) + 1.4189385332, lambda v: HALF * (mp.log(v) + 1 + mp.log(2 * mp.pi)),
        lambda v: HALF * max(abs(mp.log(v)), 1 + mp.log(2 * mp.pi)),
    )  # fmt: skip


def ulps(result: Tensor, true: list[mpf], size: list[mpf]) -> float:
    errors = (abs(mpf(r) - t) / spacing(s) for r, t, s in zip(result.tolist(), true, size, strict=True))
    return float(max(errors))


def spacing(value: mpf) -> mpf:
    """An ulp of float32 at this value; the smallest subnormal number below the normal ones."""
    return TWO ** (max(int(mp.floor(mp.log(abs(value), 2))), -126) - 23) if value else TWO**-149


def normals() -> Row:
    """Standard normal noise from its words; an ulp is that of the value, or of 1/8 for smaller ones."""
    counter = torch.arange(POINTS // 4)
    words = philox4x32(torch.tensor(7), counter)
    u = [(w.to(torch.float32) * 2.0**-32 + 2.0**-33).tolist() for w in words]
    true = []
    for i in range(len(counter)):
        for a, b in ((u[0][i], u[1][i]), (u[2][i], u[3][i])):
            radius, angle = mp.sqrt(-2 * mp.log(a)), TWO * mp.pi * mpf(b)
            true += [radius * mp.cos(angle), radius * mp.sin(angle)]
    place = torch.arange(len(true))
    text = f"{len(true)} values"
    noise = lambda _: gk.random.normal(gk.random.key(7), (len(true),))  # noqa: E731
    return Row(
        "normal noise",
        text,
        (place,),
        noise,
        None,
        lambda i: true[int(i)],
        lambda i: max(abs(true[int(i)]), mpf(0.125)),
    )


def main() -> None:
    isas = _backend.native.isas() if _backend.native else []
    print("| operation | range | as written | reference | " + " | ".join(isas) + " |")
    print("|---|---|" + "---:|" * (2 + len(isas)))
    for row in (*rows(), normals()):
        exact = [[mpf(v) for v in a.tolist()] for a in row.arguments]
        true = [row.truth(*v) for v in zip(*exact, strict=True)]
        size = [row.largest_term(*v) for v in zip(*exact, strict=True)] if row.largest_term else true
        figures = [ulps(row.as_written(*row.arguments), true, size) if row.as_written else None]
        with gk.use_backend("reference"):
            figures.append(ulps(row.compute(*row.arguments), true, size))
        for isa in isas:
            _backend.native.set_isa(isa)  # type: ignore[union-attr]
            figures.append(ulps(row.compute(*row.arguments), true, size))
        shown = ["" if f is None else f"{f:.2g}" if f < 1e4 else f"{f:.0e}" for f in figures]
        print(f"| {row.name} | {row.range} | " + " | ".join(shown) + " |", flush=True)


if __name__ == "__main__":
    main()
