"""The coefficients of csrc/math by Chebyshev expansions, computed by mpmath, as powers.

    python docs/fit.py

scaled_tail (numeric.h): (1 + t) exp(t² / 2) Q(t), a polynomial in (t − k)/(t + k) (Shepherd & Laframboise 1981). In
double (elementary.h): exp and expm1, (exp(r) − 1 − r)/r², whose first term, 1/2, expm1 takes by itself; log, what
2 artanh(s)/s has besides 2, over s², in s², and in float too; sine and cosine of r π/2, sin/r and (cos − 1)/r², in r².
near_masses (discrete.h): 1 − tanh(h)/h over h², in h². stirling_error (counts.h): z times it, and z² times its
derivative, in 2/z − 1.
"""

from __future__ import annotations

from collections.abc import Callable

from mpmath import mp, mpf

mp.dps = 50

Function = Callable[[mpf], mpf]


def scaled_tail(t: mpf) -> mpf:
    """exp(t² / 2) times the mass of N(0, 1) beyond t; by its continued fraction where the product is of extremes."""
    if t < 100:
        return mp.exp(t * t / 2) * mp.erfc(t / mp.sqrt(2)) / 2
    below = t
    for k in range(40, 0, -1):
        below = t + k / below
    return 1 / (below * mp.sqrt(2 * mp.pi))


def tail_of(k: int) -> Function:
    """The half line, mapped to [-1, 1]."""

    def function(place: mpf) -> mpf:
        t = k * (1 + place) / (1 - place)
        return (1 + t) * scaled_tail(t)

    return function


def expm1_tail(r: mpf) -> mpf:
    return (mp.expm1(r) - r) / r**2 if r else mpf(1) / 2


def artanh_tail(s2: mpf) -> mpf:
    s = mp.sqrt(s2)
    return (2 * mp.atanh(s) / s - 2) / s2


def tanh_lacking(h2: mpf) -> mpf:
    h = mp.sqrt(h2)
    return (1 - mp.tanh(h) / h) / h2


def sine(r2: mpf) -> mpf:
    r = mp.sqrt(r2)
    return mp.sin(r * mp.pi / 2) / r


def cosine(r2: mpf) -> mpf:
    return (mp.cos(mp.sqrt(r2) * mp.pi / 2) - 1) / r2


def stirling_error(place: mpf) -> mpf:
    z = 2 / (1 + place)
    return z * (mp.loggamma(z + 1) - (z + mpf(1) / 2) * mp.log(z) + z - mp.log(2 * mp.pi) / 2)


def stirling_slope(place: mpf) -> mpf:
    z = 2 / (1 + place)
    return z**2 * (mp.digamma(z + 1) - mp.log(z) - (z + mpf(1) / 2) / z + 1)


def expansion(f: Function, low: mpf, high: mpf, degree: int) -> list[mpf]:
    """Of the function on [low, high], in the place from -1 to 1, by interpolation at more nodes than are kept."""
    nodes = degree + 30
    angles = [mp.pi * (i + mpf(1) / 2) / nodes for i in range(nodes)]
    values = [f((low + high) / 2 + (high - low) / 2 * mp.cos(angle)) for angle in angles]
    found = [
        2 * mp.fsum(v * mp.cos(n * a) for v, a in zip(values, angles, strict=True)) / nodes for n in range(degree + 1)
    ]
    found[0] /= 2
    return found


def powers(coefficients: list[mpf]) -> list[mpf]:
    """Of the place, from those of Chebyshev's polynomials."""
    result = [mpf(0)] * len(coefficients)
    before, polynomial = [mpf(0)], [mpf(1)]  # T_{n - 1}, T_n
    for n, coefficient in enumerate(coefficients):
        for i, c in enumerate(polynomial):
            result[i] += coefficient * c
        shifted = [mpf(0), *(c * (1 if n == 0 else 2) for c in polynomial)]
        for i, c in enumerate(before):
            shifted[i] -= c if n else 0
        before, polynomial = polynomial, shifted
    return result


def moved(coefficients: list[mpf], low: mpf, high: mpf) -> list[mpf]:
    """Powers of x in [low, high], from those of its place."""
    middle, half = (low + high) / 2, (high - low) / 2
    result = [mpf(0)] * len(coefficients)
    for n, c in enumerate(coefficients):
        for i in range(n + 1):
            result[i] += c * mp.binomial(n, i) * (-middle) ** (n - i) / half**n
    return result


def show(name: str, f: Function, low: mpf, high: mpf, degree: int, digits: int = 17) -> None:
    found = moved(powers(expansion(f, low, high, degree)), low, high)
    print(f"{name}: " + ", ".join(mp.nstr(c, digits) for c in found))


def main() -> None:
    show("tail, float, k = 3", tail_of(3), mpf(-1), mpf(1), 10, digits=10)
    show("tail, double, k = 4", tail_of(4), mpf(-1), mpf(1), 24)
    log2, beyond = mp.log(2), mpf("1.0001")  # a little beyond the range, whose end a reduction may round to
    show("exp", expm1_tail, -log2 / 2 * beyond, log2 / 2 * beyond, 10)
    show("expm1", expm1_tail, -log2 * beyond, log2 * beyond, 12)
    largest = (mp.sqrt(2) - 1) / (mp.sqrt(2) + 1)
    show("log", artanh_tail, mpf(0), largest**2 * beyond, 6)
    show("log's artanh, float", artanh_tail, mpf(0), largest**2 * beyond, 2, digits=10)
    show("tanh, float", tanh_lacking, mpf(0), mpf(1) / 64, 2, digits=10)
    show("tanh, double", tanh_lacking, mpf(0), mpf(1) / 64, 5)
    show("sine", sine, mpf(0), mpf(1) / 4, 6)
    show("cosine", cosine, mpf(0), mpf(1) / 4, 6)
    for name, f, narrow, wide in (("Stirling", stirling_error, 6, 21), ("Stirling's slope", stirling_slope, 8, 23)):
        show(f"{name}, float", f, mpf(-1), mpf(1), narrow, digits=10)
        show(f"{name}, double", f, mpf(-1), mpf(1), wide)


if __name__ == "__main__":
    main()
