"""The coefficients of scaled_tail in csrc/math/numeric.h: (1 + t) exp(t² / 2) Q(t), a polynomial in (t − k)/(t + k).

    python docs/fit_tail.py

The Chebyshev expansion (Shepherd & Laframboise 1981), computed by mpmath, as powers.
"""

from __future__ import annotations

from mpmath import mp, mpf

mp.dps = 40
FITS = (("float", 3, 10, 10), ("double", 4, 24, 17))  # type, k, degree, digits


def scaled_tail(t: mpf) -> mpf:
    """exp(t² / 2) times the mass of N(0, 1) beyond t; by its continued fraction where the product is of extremes."""
    if t < 100:
        return mp.exp(t * t / 2) * mp.erfc(t / mp.sqrt(2)) / 2
    below = t
    for k in range(40, 0, -1):
        below = t + k / below
    return 1 / (below * mp.sqrt(2 * mp.pi))


def chebyshev(k: int, degree: int) -> list[mpf]:
    """Of the function on the half line, mapped to [-1, 1], by interpolation at more nodes than are kept."""
    nodes = degree + 30
    angles = [mp.pi * (i + mpf(1) / 2) / nodes for i in range(nodes)]
    values = []
    for angle in angles:
        t = k * (1 + mp.cos(angle)) / (1 - mp.cos(angle))
        values.append((1 + t) * scaled_tail(t))
    expansion = [
        2 * mp.fsum(v * mp.cos(n * a) for v, a in zip(values, angles, strict=True)) / nodes for n in range(degree + 1)
    ]
    expansion[0] /= 2
    return expansion


def powers(expansion: list[mpf]) -> list[mpf]:
    result = [mpf(0)] * len(expansion)
    before, polynomial = [mpf(0)], [mpf(1)]  # T_{n - 1}, T_n
    for n, coefficient in enumerate(expansion):
        for i, c in enumerate(polynomial):
            result[i] += coefficient * c
        shifted = [mpf(0), *(c * (1 if n == 0 else 2) for c in polynomial)]
        for i, c in enumerate(before):
            shifted[i] -= c if n else 0
        before, polynomial = polynomial, shifted
    return result


def main() -> None:
    for name, k, degree, digits in FITS:
        print(f"{name}, k = {k}: " + ", ".join(mp.nstr(c, digits) for c in powers(chebyshev(k, degree))))


if __name__ == "__main__":
    main()
