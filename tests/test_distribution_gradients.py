"""Gradients of genkern.distributions where masses are 0 and parameters differ in kind: finite where torch's are."""

import itertools
import math
from collections.abc import Callable

import mpmath
import pytest
import torch
from support.backends import Backend
from torch import Tensor
from torch import distributions as td

from genkern import distributions as gd

F64 = torch.float64
MASSES = {
    "without zeros": [0.2, 0.3, 0.5],
    "a zero": [0.0, 0.4, 0.6],
    "another zero": [0.7, 0.0, 0.3],
    "two zeros": [0.0, 0.0, 1.0],
}
CLASSES = ("Categorical", "OneHotCategorical", "OneHotCategoricalStraightThrough")


def leaf(masses: list[float], kind: str) -> Tensor:
    value = torch.tensor([masses, [0.1, 0.2, 0.7]], dtype=F64)
    return (value if kind == "probs" else value.log()).requires_grad_()


def gradients(value: Tensor, *leaves: Tensor) -> tuple[Tensor, ...]:
    return torch.autograd.grad(value.sum(), leaves, retain_graph=True, allow_unused=True, materialize_grads=True)


@pytest.mark.parametrize("masses", list(itertools.product(MASSES.values(), repeat=2)), ids=lambda m: "-")
@pytest.mark.parametrize("kinds", list(itertools.product(("probs", "logits"), repeat=2)), ids="-".join)
@pytest.mark.parametrize("modules", [(gd, gd), (gd, td), (td, gd)], ids=["ours", "torch's second", "torch's first"])
@pytest.mark.parametrize("name", CLASSES)
def test_divergences_of_classes(name: str, modules: tuple, kinds: tuple, masses: tuple, chosen: Backend) -> None:
    leaves = [leaf(m, kind) for m, kind in zip(masses, kinds, strict=True)]

    def divergence(*of: object) -> Tensor:
        made = [
            getattr(module, name)(**{kind: value}, validate_args=False)
            for module, kind, value in zip(of, kinds, leaves, strict=True)
        ]
        return td.kl_divergence(*made)

    kl, expected = divergence(*modules), divergence(td, td)
    assert torch.equal(kl.isinf(), torch.tensor([any(q == 0 < p for p, q in zip(*masses, strict=True)), False]))
    known = ~expected.isnan()  # torch has none of two logits of -inf
    torch.testing.assert_close(kl[known], expected[known])
    for mass, got, right in zip(masses, gradients(kl, *leaves), gradients(expected, *leaves), strict=True):
        assert got.isfinite().all()
        # The derivative by a mass of 0 is infinite in truth, and nan in torch where it comes from a logit of -inf.
        there = right.isfinite() & torch.tensor([[m > 0 for m in mass], [True] * 3])
        torch.testing.assert_close(got[there], right[there], rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("masses", MASSES.values(), ids=MASSES)
@pytest.mark.parametrize("kind", ["probs", "logits"])
@pytest.mark.parametrize("name", CLASSES)
def test_entropies_and_densities_of_classes(name: str, kind: str, masses: list[float], chosen: Backend) -> None:
    value = leaf(masses, kind)
    mine = getattr(gd, name)(**{kind: value})
    theirs = getattr(td, name)(**{kind: value}, validate_args=False)
    (entropy,) = gradients(mine.entropy(), value)
    assert entropy.isfinite().all()
    for index in range(3):
        drawn = torch.tensor(index) if name == "Categorical" else torch.eye(3, dtype=F64)[index]
        (got,), (right,) = (gradients(d.log_prob(drawn), value) for d in (mine, theirs))
        finite = right.isfinite()
        assert got[finite].isfinite().all()
        torch.testing.assert_close(got[finite], right[finite])


SCALES: dict[str, Callable[[Tensor], Tensor]] = {
    "logvar": lambda logvar: logvar,
    "logstd": lambda logvar: logvar / 2,
    "std": lambda logvar: (logvar / 2).exp(),
    "var": lambda logvar: logvar.exp(),
    "softplus": lambda logvar: torch.where(logvar > 10, (logvar / 2).exp(), (logvar / 2).exp().expm1().log()),
}


@pytest.mark.parametrize("kinds", list(itertools.product(SCALES, repeat=2)), ids="-".join)
@pytest.mark.parametrize("levels", [(0.0, 0.0), (-30.0, 0.0), (0.0, -30.0), (30.0, 30.0), (-88.0, -88.0)], ids=str)
def test_divergences_of_gaussians(levels: tuple[float, float], kinds: tuple[str, str], chosen: Backend) -> None:
    means = ([[0.3, -0.2]], [[0.1, 0.4]])
    locs = [torch.tensor(mean, dtype=F64) * math.exp(level / 2) for mean, level in zip(means, levels, strict=True)]
    raws = [
        SCALES[kind](torch.tensor([[level, level + 1]], dtype=F64)) for level, kind in zip(levels, kinds, strict=True)
    ]
    leaves = [t.requires_grad_() for t in (*locs, *raws)]
    p, q = (gd.DiagonalGaussian(*of, scale_param=kind) for *of, kind in zip(locs, raws, kinds, strict=True))
    kl = td.kl_divergence(p, q)
    exact = sum(gaussian_divergence(*(t.flatten()[i].item() for t in (*locs, p.stddev, q.stddev))) for i in range(2))
    assert kl.item() == pytest.approx(float(exact), rel=1e-9)
    assert all(g.isfinite().all() for g in gradients(kl, *leaves))
    normal = td.Independent(gd.Normal(q.loc, q.stddev), 1)
    assert all(g.isfinite().all() for g in gradients(td.kl_divergence(p, normal), *leaves))
    assert all(g.isfinite().all() for g in gradients(td.kl_divergence(normal, p), *leaves))


def gaussian_divergence(p: float, q: float, sigma_p: float, sigma_q: float) -> mpmath.mpf:
    with mpmath.workdps(50):
        p, q, sigma_p, sigma_q = map(mpmath.mpf, (p, q, sigma_p, sigma_q))
        return mpmath.log(sigma_q / sigma_p) + (sigma_p**2 + (p - q) ** 2) / (2 * sigma_q**2) - mpmath.mpf(0.5)


FAMILIES = {
    "Normal": lambda module, loc, scale: module.Normal(loc, scale),
    "Laplace": lambda module, loc, scale: module.Laplace(loc, scale),
    "Independent": lambda module, loc, scale: td.Independent(module.Normal(loc, scale), 1),
}


@pytest.mark.parametrize("scales", [(1.0, 1.0), (1e-12, 1.0), (1.0, 1e-12), (1e12, 1.0)], ids=str)
@pytest.mark.parametrize("shift", [0.0, 0.5])
@pytest.mark.parametrize("modules", [(gd, gd), (gd, td), (td, gd)], ids=["ours", "torch's second", "torch's first"])
@pytest.mark.parametrize(
    "families", [*itertools.product(("Normal", "Laplace"), repeat=2), ("Independent",) * 2], ids="-".join
)
def test_divergences_of_scales(families: tuple, modules: tuple, shift: float, scales: tuple, chosen: Backend) -> None:
    leaves = [torch.full((2, 3), value, dtype=F64, requires_grad=True) for value in (0.0, scales[0], shift, scales[1])]

    def divergence(*of: object) -> Tensor:
        p, q = (FAMILIES[f](m, *leaves[i : i + 2]) for f, m, i in zip(families, of, (0, 2), strict=True))
        return td.kl_divergence(p, q)

    kl, expected = divergence(*modules), divergence(td, td)
    torch.testing.assert_close(kl, expected, rtol=1e-6, atol=1e-12)
    for got, right in zip(gradients(kl, *leaves), gradients(expected, *leaves), strict=True):
        torch.testing.assert_close(got, right, rtol=1e-6, atol=1e-9)
