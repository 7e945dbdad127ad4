"""Largest errors of the kernels, in ulp of the true value: the tables of docs/numerics.md.

    python docs/measure_errors.py            in float32
    python docs/measure_errors.py float64

Every row is one public operation over one range of arguments. The true values come from mpmath with 50 digits, for the
arguments as they are. "as written" is the usual formula in eager torch, in the same type.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from mpmath import mp, mpf
from torch import Tensor

import genkern as gk
from genkern import _backend
from genkern.reference.random import philox4x32

mp.dps = 50
WIDE = "float64" in sys.argv
DTYPE = torch.float64 if WIDE else torch.float32
DIGITS, LOWEST = (52, -1022) if WIDE else (23, -126)  # of a number, behind the first; its exponent
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
    return (lo + (hi - lo) * torch.rand(POINTS, generator=RANDOM, dtype=torch.float64)).to(DTYPE)


def magnitudes(lo: float, hi: float) -> Tensor:
    """Both signs, as many points in each decade."""
    size = torch.exp(even(float(np.log(lo)), float(np.log(hi))).double())
    return (size * torch.where(torch.rand(POINTS, generator=RANDOM) < 0.5, -1.0, 1.0)).to(DTYPE)


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


def cdf_below(z: mpf, cdf: str) -> mpf:
    if cdf == "exact":
        return mp.erfc(-z / mp.sqrt(2)) / 2
    return 1 / (1 + mp.exp(-2 * mp.sqrt(2 / mp.pi) * (z + mpf("0.044715") * z**3)))


def bin_nll(x: mpf, loc: mpf, log_sigma: mpf, cdf: str) -> mpf:
    """Of a bin of 1/128 below the mean."""
    a, b = ((x - loc + side * mpf(1) / 256) / mp.exp(log_sigma) for side in (-1, 1))
    return -mp.log(cdf_below(b, cdf) - cdf_below(a, cdf))


def bin_as_written(x: Tensor, loc: Tensor, log_sigma: Tensor, cdf: str) -> Tensor:
    plus, minus = ((x - loc + side / 256) / log_sigma.exp() for side in (1, -1))
    if cdf == "exact":
        return -(torch.special.ndtr(plus) - torch.special.ndtr(minus)).clamp(min=1e-12).log()
    plus, minus = (0.5 * (1 + torch.tanh((2 / torch.pi) ** 0.5 * (z + 0.044715 * z**3))) for z in (plus, minus))
    return -(plus - minus).clamp(min=1e-12).log()


def log_masses(logits: Sequence[mpf]) -> list[mpf]:
    total = mp.log(mp.fsum(mp.exp(a) for a in logits))
    return [a - total for a in logits]


def entropy(masses: Sequence[mpf]) -> mpf:
    return -mp.fsum(p * mp.log(p) for p in masses)


def entropy_of_logits(logits: Sequence[mpf]) -> mpf:
    return -mp.fsum(mp.exp(a) * a for a in log_masses(logits))


def kl_of_logits(*logits: mpf) -> mpf:
    """The first half of them against the second."""
    half = len(logits) // 2
    log_q, log_p = log_masses(logits[:half]), log_masses(logits[half:])
    return mp.fsum(mp.exp(a) * (a - b) for a, b in zip(log_q, log_p, strict=True))


def kl_of_logits_as_written(*logits: Tensor) -> Tensor:
    log_q, log_p = (torch.log_softmax(half, dim=-1) for half in torch.stack(logits, dim=-1).chunk(2, dim=-1))
    return (log_q.exp() * (log_q - log_p)).sum(dim=-1)


def categorical_kl(*logits: Tensor) -> Tensor:
    half = len(logits) // 2
    return gk.categorical_kl(torch.stack(logits[:half], 1), torch.stack(logits[half:], 1))


def logistic_params(loc: Tensor, log_scale: Tensor) -> Tensor:
    """Of one component of grey pixels."""
    return torch.stack((torch.zeros_like(loc), loc, log_scale), dim=1)


def logistic_nll(x: Tensor, loc: Tensor, log_scale: Tensor) -> Tensor:
    return gk.discretized_logistic_mixture_nll(
        x.unsqueeze(1), logistic_params(loc, log_scale), mixtures=1, rgb_coupling=False
    )


def logistic_as_written(x: Tensor, loc: Tensor, log_scale: Tensor) -> Tensor:
    """PixelCNN++ between the outermost bins."""
    inverse = torch.exp(-log_scale)
    plus, minus, middle = (inverse * (x - loc + side / 255) for side in (1, -1, 0))
    mass = torch.sigmoid(plus) - torch.sigmoid(minus)
    density = middle - log_scale - 2 * torch.nn.functional.softplus(middle) - float(np.log(127.5))
    return -torch.where(mass > 1e-5, torch.log(mass.clamp(min=1e-12)), density)


def logistic_bin(x: mpf, loc: mpf, log_scale: mpf) -> mpf:
    a, b = ((x - loc + side * mpf(1) / 255) * mp.exp(-log_scale) for side in (-1, 1))
    return -mp.log(1 / (1 + mp.exp(-b)) - 1 / (1 + mp.exp(-a)))


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
    q = (p.double() * (1 + magnitudes(1e-6, 1e-1).double())).to(DTYPE)
    yield Row(
        "KL(q ‖ p), logvar, q ≈ p", "relative difference 1e-6 … 0.1", (q, p), kl,
        lambda a, b: -0.5 * (1 + a - b - (a - b).exp()), lambda a, b: kl_of_ratio(a - b),
    )  # fmt: skip
    p = torch.exp(even(-5, 5))
    q = (p.double() * (1 + magnitudes(1e-5, 1e-1).double())).to(DTYPE)
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
    white, logits = (even(0, 1) > 0.5).to(DTYPE), even(-80, 80)
    yield Row(
        "Bernoulli nll", "logits −80 … 80, x = 0 or 1", (white, logits),
        lambda x, z: gk.bernoulli_nll(x, z, reduction="none"), lambda x, z: functional.softplus(z) - x * z,
        lambda x, z: mp.log1p(mp.exp(-z if x else z)),
    )  # fmt: skip
    yield Row(
        "∂Bernoulli nll/∂logits", "logits −80 … 80, x = 0 or 1", (logits, white),
        slope(lambda z, x: gk.bernoulli_nll(x, z, reduction="none")), lambda z, x: torch.sigmoid(z) - x,
        lambda z, x: -1 / (1 + mp.exp(z)) if x else 1 / (1 + mp.exp(-z)),
    )  # fmt: skip
    poisson = partial(gk.poisson_nll, reduction="none")
    by_rate = slope(lambda rate, x: poisson(x, rate))
    small, large = even(0, 20).round(), torch.exp(even(3, 13)).round()
    for name, x, rate in (("small counts", small, even(-7, 7).exp()), ("near the mean", large, large * even(0.9, 1.1))):
        yield Row(
            f"Poisson nll, {name}", f"x {x.min():.0f} … {x.max():.0f}", (x, rate), poisson,
            lambda x, m: m - torch.xlogy(x, m) + torch.lgamma(x + 1),
            lambda x, m: m - x * mp.log(m) + mp.loggamma(x + 1),
            lambda x, m: max(1, abs(m - x * mp.log(m) + mp.loggamma(x + 1))),
        )  # fmt: skip
        yield Row(
            f"∂Poisson nll/∂rate, {name}", f"x {x.min():.0f} … {x.max():.0f}", (rate, x), by_rate,
            lambda m, x: 1 - x / m, lambda m, x: 1 - x / m,
        )  # fmt: skip
    b = even(-20, 20)
    yield Row(
        "Laplace nll, logvar", "logvar −20 … 20", (x, loc, b),
        lambda x, m, s: gk.laplace_nll(x, m, s, reduction="none", full=False),
        lambda x, m, s: (x - m).abs() / (0.5 * s).exp() + 0.5 * s,
        lambda x, m, s: abs(x - m) * mp.exp(-HALF * s) + HALF * s,
        lambda x, m, s: max(abs(x - m) * mp.exp(-HALF * s), abs(HALF * s)),
    )  # fmt: skip
    for cdf in ("exact", "tanh"):
        for name, where in (("narrow bin", (-3, 5)), ("one side", (-9, -6))):
            grey, log_sigma = even(-0.9, 0.9), even(*where)
            away = grey + 0.1 * (1 + even(0, 1))
            yield Row(
                f"bin, {cdf}: {name}", f"log σ {where[0]} … {where[1]}".replace("-", "−"), (grey, away, log_sigma),
                partial(gk.discretized_gaussian_nll, scale_param="logstd", reduction="none", cdf=cdf, bins=257),
                partial(bin_as_written, cdf=cdf), partial(bin_nll, cdf=cdf),
            )  # fmt: skip
    mean = even(-1e3, 1)
    yield Row(
        "tail", "1 σ inside … 1000 σ outside", (mean,),
        lambda m: gk.discretized_gaussian_nll(torch.ones_like(m), m, 0.0, reduction="none", bins=2),
        lambda m: -torch.special.ndtr(m).log(), lambda m: -mp.log(mp.erfc(-m / mp.sqrt(2)) / 2),
    )  # fmt: skip
    for name, where, distance in (("narrow bin", (-1, 5), 0.2), ("steep", (-6, -3), 0.05), ("one side", (-7, -6), 0.5)):
        grey, log_scale = even(-0.9, 0.9), even(*where)
        away = (grey + distance * (1 + even(-1, 1))).to(DTYPE)
        yield Row(
            f"logistic bin: {name}", f"log scale {where[0]} … {where[1]}".replace("-", "−"), (grey, away, log_scale),
            logistic_nll, logistic_as_written, logistic_bin,
        )  # fmt: skip

    masses = tuple(torch.softmax(torch.stack([even(-20, 20) for _ in range(3)]), dim=0))
    yield Row(
        "Σ −p log p", "3 masses 1e-18 … 1", masses, lambda *p: gk.discrete_entropy(torch.stack(p, 1)),
        lambda *p: -(torch.stack(p, 1) * torch.stack(p, 1).log()).sum(dim=1), lambda *p: entropy(p),
        lambda *p: max(abs(v * mp.log(v)) for v in p),
    )  # fmt: skip
    others = tuple(torch.softmax(torch.stack([even(-20, 20) for _ in range(3)]), dim=0))
    yield Row(
        "Σ p log(p/q)", "3 masses 1e-18 … 1", (*masses, *others),
        lambda *v: gk.discrete_kl(torch.stack(v[:3], 1), torch.stack(v[3:], 1)),
        lambda *v: sum(p * torch.log(p / q) for p, q in zip(v[:3], v[3:], strict=True)),  # type: ignore[arg-type,return-value]
        lambda *v: mp.fsum(p * mp.log(p / q) for p, q in zip(v[:3], v[3:], strict=True)),
        lambda *v: max(abs(p * mp.log(p / q)) for p, q in zip(v[:3], v[3:], strict=True)),
    )  # fmt: skip
    for size in (1.0, 20.0):
        logits = tuple(even(-size, size) for _ in range(4))
        text = f"4 logits ±{size:g}"
        yield Row(
            "categorical entropy", text, logits, lambda *a: gk.categorical_entropy(torch.stack(a, 1)),
            lambda *a: -(torch.stack(a, 1).softmax(1) * torch.stack(a, 1).log_softmax(1)).sum(dim=1),
            lambda *a: entropy_of_logits(a),
        )  # fmt: skip
        other = tuple(even(-size, size) for _ in range(4))
        yield Row("categorical KL", text, (*logits, *other), categorical_kl, kl_of_logits_as_written, kl_of_logits)
    near = tuple((a.double() + magnitudes(1e-5, 1e-1).double()).to(DTYPE) for a in logits)
    yield Row(
        "categorical KL, q ≈ p", "difference 1e-5 … 0.1", (*near, *logits),
        categorical_kl, kl_of_logits_as_written, kl_of_logits,
    )  # fmt: skip
    var = torch.exp(even(-87, 88))
    yield Row(
        "entropy, var", "1e-38 … 1e38", (var,), lambda v: gk.gaussian_entropy(v, scale_param="var", reduction="none"),
        lambda v: 0.5 * torch.log(2 * np.pi * np.e * v), lambda v: HALF * (mp.log(v) + 1 + mp.log(2 * mp.pi)),
        lambda v: HALF * max(abs(mp.log(v)), 1 + mp.log(2 * mp.pi)),
    )  # fmt: skip


def gan_rows() -> Iterator[Row]:
    logits = even(-80, 80)
    loss = partial(gk.gan_generator_loss, kind="non_saturating", reduction="none")
    yield Row(
        "softplus loss of a GAN", "logits −80 … 80", (logits,), lambda z: loss(fake=z),
        lambda z: -torch.log(torch.sigmoid(z)), lambda z: softplus(-z),
    )  # fmt: skip
    yield Row(
        "its derivative", "logits −80 … 80", (logits,), slope(lambda z: loss(fake=z)),
        lambda z: torch.sigmoid(z) - 1, lambda z: -1 / (1 + mp.exp(z)),
    )  # fmt: skip
    eps = (even(0, 1) * 2**24).floor() / 2**24
    yield Row(
        "interpolate", "±1e-3 … 1e3", (magnitudes(1e-3, 1e3), magnitudes(1e-3, 1e3), eps),
        lambda r, f, e: gk.interpolate(r, f, eps=e), lambda r, f, e: f + e * (r - f),
        lambda r, f, e: e * r + (1 - e) * f, lambda r, f, e: max(abs(e * r), abs((1 - e) * f)),
    )  # fmt: skip
    yield Row(
        "(‖g‖ − 1)², g of two elements", "±1e-3 … 1e3", (magnitudes(1e-3, 1e3), magnitudes(1e-3, 1e3)),
        lambda a, b: gk.gradient_norm_penalty(torch.stack((a, b), 1), reduction="none"),
        lambda a, b: (torch.stack((a, b), 1).norm(dim=1) - 1) ** 2, lambda a, b: (mp.hypot(a, b) - 1) ** 2,
        lambda a, b: max(mp.hypot(a, b), 1) ** 2,
    )  # fmt: skip
    one = even(0.5, 2)
    other = (one.double() * (1 + magnitudes(1e-6, 1e-1).double())).to(DTYPE)
    yield Row(
        "minibatch_stddev, groups of two", "relative difference 1e-6 … 0.1", (one, other),
        lambda a, b: gk.minibatch_stddev(torch.cat((a, b)).unsqueeze(1), 2)[: len(a), 1],
        lambda a, b: (torch.stack((a, b)).var(dim=0, correction=0) + 1e-8).sqrt(),
        lambda a, b: mp.sqrt((a - b) ** 2 / 4 + mpf(1e-8)),
    )  # fmt: skip
    yield Row(
        "ema_update_, decay 0.999", "±1e-3 … 1e3", (magnitudes(1e-3, 1e3), magnitudes(1e-3, 1e3)), averaged,
        lambda a, v: 0.999 * a + (1 - 0.999) * v, lambda a, v: a + mpf(1 - 0.999) * (v - a),
        lambda a, v: max(abs(a), abs(v) / 1000),
    )  # fmt: skip


def count_rows() -> Iterator[Row]:
    """Errors are relative to the larger of 1 and the truth. Means lie within a factor of 100 of the counts, or far."""
    random = torch.Generator().manual_seed(1)

    def powers(lo: float, hi: float) -> Tensor:
        return (10 ** (lo + (hi - lo) * torch.rand(POINTS, generator=random, dtype=torch.float64))).to(DTYPE)

    def counts(most: float) -> Tensor:
        return torch.where(torch.rand(POINTS, generator=random) < 0.5, 0.0, powers(0, most).round()).to(DTYPE)

    def at_least_one(truth: Callable[..., mpf]) -> Callable[..., mpf]:
        return lambda *given: max(mpf(1), abs(truth(*given)))

    near, far = (counts(6), counts(6))
    for name, x, mean in (
        ("mean about the count", near, ((near + 0.5) * powers(-2, 2)).to(DTYPE)),
        ("mean 1e-30 … 1e30", far, powers(-30, 30)),
    ):
        text = f"{name}, θ 1e-6 … 1e12"
        arguments = (mean, powers(-6, 12), x)
        for what, ours, written, truth in (
            ("negative binomial nll", binomial, binomial_as_written, binomial_truth),
            ("its derivative by the mean", slope(binomial), slope(binomial_as_written), by_mean),
        ):
            yield Row(what, text, arguments, ours, written, truth, at_least_one(truth))
        by_dispersion = (arguments[1], arguments[0], x)
        yield Row(
            "its derivative by θ", text, by_dispersion, slope(swapped(binomial)), slope(swapped(binomial_as_written)),
            by_theta, at_least_one(by_theta),
        )  # fmt: skip


def swapped(of: Callable[..., Tensor]) -> Callable[..., Tensor]:
    return lambda theta, mean, x: of(mean, theta, x)


def binomial(mean: Tensor, theta: Tensor, x: Tensor) -> Tensor:
    return gk.negative_binomial_nll(x, mean, theta, reduction="none")


def binomial_as_written(m: Tensor, t: Tensor, x: Tensor) -> Tensor:
    gammas = torch.lgamma(x + t) - torch.lgamma(t) - torch.lgamma(x + 1)
    return -(gammas + t * (t.log() - (t + m).log()) + x * (m.log() - (t + m).log()))


def binomial_truth(m: mpf, t: mpf, x: mpf) -> mpf:
    gammas = mp.loggamma(x + t) - mp.loggamma(t) - mp.loggamma(x + 1)
    return -(gammas + t * mp.log(t / (t + m)) + x * mp.log(m / (t + m)))


def by_mean(m: mpf, t: mpf, x: mpf) -> mpf:
    return t * (m - x) / (m * (t + m))


def by_theta(t: mpf, m: mpf, x: mpf) -> mpf:
    return mp.digamma(t) - mp.digamma(x + t) - mp.log(t / (t + m)) - (m - x) / (t + m)


def averaged(average: Tensor, value: Tensor) -> Tensor:
    updated = average.clone()
    gk.ema_update_([updated], [value], 0.999)
    return updated


def ulps(result: Tensor, true: list[mpf], size: list[mpf]) -> float:
    errors = (abs(mpf(r) - t) / spacing(s) for r, t, s in zip(result.tolist(), true, size, strict=True))
    return float(max(errors))


def spacing(value: mpf) -> mpf:
    """An ulp at this value; the smallest subnormal number below the normal ones."""
    return TWO ** ((max(int(mp.floor(mp.log(abs(value), 2))), LOWEST) if value else LOWEST) - DIGITS)


def normals() -> Row:
    """Standard normal noise from its words; an ulp is that of the value, or of 1/8 for smaller ones."""
    words = philox4x32(torch.tensor(7), torch.arange(POINTS // (2 if WIDE else 4)))
    if WIDE:
        pairs = (words[:2], words[2:])
        u = [(a.double() * 2.0**-32 + b.double() * 2.0**-64 + 2.0**-65).tolist() for a, b in pairs]
    else:
        u = [(w.to(torch.float32) * 2.0**-32 + 2.0**-33).tolist() for w in words]
    true = []
    for values in zip(*u, strict=True):
        for a, b in zip(values[::2], values[1::2], strict=True):
            radius, angle = mp.sqrt(-2 * mp.log(a)), TWO * mp.pi * mpf(b)
            true += [radius * mp.cos(angle), radius * mp.sin(angle)]
    place = torch.arange(len(true))
    text = f"{len(true)} values"
    noise = lambda _: gk.random.normal(gk.random.key(7), (len(true),), dtype=DTYPE)  # noqa: E731
    return Row(
        "normal noise",
        text,
        (place,),
        noise,
        None,
        lambda i: true[int(i)],
        lambda i: max(abs(true[int(i)]), mpf(0.125)),
    )


def discrepancies(isas: list[str]) -> None:
    """Of the MMD of two sets of 512 points with 64 dimensions: absolute errors over eps; kernel values are 0 to 1."""
    draws = torch.randn(2, 512, 64, generator=RANDOM, dtype=DTYPE)

    def by_products(x: Tensor, y: Tensor, kernel: str) -> Tensor:
        def mean(a: Tensor, b: Tensor) -> Tensor:
            squared = torch.cdist(a, b, compute_mode="use_mm_for_euclid_dist").square()
            return (torch.exp(-squared / 128) if kernel == "rbf" else 128 / (128 + squared)).mean()

        return mean(x, x) + mean(y, y) - 2 * mean(x, y)

    print("\n| kernel | centre | as written | reference | " + " | ".join(isas) + " |")
    print("|---|---|" + "---:|" * (2 + len(isas)))
    for kernel in ("rbf", "imq"):
        for centre in (0, 30, 1000):
            x, y = draws[0] + centre + 0.5, draws[1] + centre
            options = {"kernel": kernel, "scales": (128.0,), "estimator": "v"}
            with gk.use_backend("reference"):
                true = gk.mmd(x.double(), y.double(), **options)  # type: ignore[arg-type]
                values = [by_products(x, y, kernel), gk.mmd(x, y, **options)]  # type: ignore[arg-type]
            for isa in isas:
                _backend.native.set_isa(isa)  # type: ignore[union-attr]
                values.append(gk.mmd(x, y, **options))  # type: ignore[arg-type]
            errors = [(v.double() - true).abs().item() / torch.finfo(DTYPE).eps for v in values]
            print(f"| {kernel} | {centre} | " + " | ".join(f"{e:.2g}" for e in errors) + " |")


def main() -> None:
    isas = _backend.native.isas() if _backend.native else []
    print("| operation | range | as written | reference | " + " | ".join(isas) + " |")
    print("|---|---|" + "---:|" * (2 + len(isas)))
    for row in (*rows(), *gan_rows(), *count_rows(), normals()):
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
    if not WIDE:
        discrepancies(isas)


if __name__ == "__main__":
    main()
