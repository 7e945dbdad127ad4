"""Divergences for ``torch.distributions.kl_divergence``: among these distributions and between them and torch's own."""

from typing import Any

import torch
from torch import Tensor
from torch.distributions import Independent, register_kl

from genkern import functional
from genkern.distributions._values import has_masses
from genkern.distributions.categorical import Categorical, OneHotCategorical
from genkern.distributions.diagonal_gaussian import DiagonalGaussian
from genkern.distributions.normal import Normal

__all__: list[str] = []

_of_torch = torch.distributions


@register_kl(Normal, Normal)
@register_kl(Normal, _of_torch.Normal)
@register_kl(_of_torch.Normal, Normal)
def _normal(p: _of_torch.Normal, q: _of_torch.Normal) -> Tensor:
    device = q.loc.device if not p.loc.dim() else p.loc.device  # of the one that is not made of two numbers
    moments = [t if t.dim() else t.to(device) for t in (p.loc, p.scale, q.loc, q.scale)]
    return functional.gaussian_kl(*moments, scale_param="std", reduction="none")


@register_kl(DiagonalGaussian, DiagonalGaussian)
def _diagonal_gaussian(p: DiagonalGaussian, q: DiagonalGaussian) -> Tensor:
    *tensors, sigma = p.beside(q)
    return functional.gaussian_kl(*tensors, event_ndim=len(p.event_shape), **sigma)


@register_kl(DiagonalGaussian, Independent)
def _from_independent(p: DiagonalGaussian, q: Independent) -> Tensor:
    return _diagonal_gaussian(p, _diagonal(q))


@register_kl(Independent, DiagonalGaussian)
def _to_independent(p: Independent, q: DiagonalGaussian) -> Tensor:
    return _diagonal_gaussian(_diagonal(p), q)


def _diagonal(d: Independent) -> DiagonalGaussian:
    base = d.base_dist
    if not isinstance(base, _of_torch.Normal):
        raise NotImplementedError(f"expected an Independent of normals beside a DiagonalGaussian, got {d}")
    return DiagonalGaussian(base.loc, base.scale, scale_param="std", event_ndim=len(d.event_shape))


@register_kl(Categorical, Categorical)
@register_kl(Categorical, _of_torch.Categorical)
@register_kl(_of_torch.Categorical, Categorical)
def _categorical(p: _of_torch.Categorical, q: _of_torch.Categorical) -> Tensor:
    if has_masses(p) and has_masses(q):
        # A class that makes it infinite has a constant's gradient: its own, infinite, would leave none after a norm.
        lost = (q.probs == 0) & (p.probs != 0)
        masses = (torch.where(lost, d.probs.detach(), d.probs) for d in (p, q))
        return functional.discrete_kl(*masses, reduction="none")
    return functional.categorical_kl(_log_masses(p), _log_masses(q), reduction="none")


@register_kl(OneHotCategorical, OneHotCategorical)
@register_kl(OneHotCategorical, _of_torch.OneHotCategorical)
@register_kl(_of_torch.OneHotCategorical, OneHotCategorical)
def _one_hot(p: Any, q: Any) -> Tensor:
    return _categorical(p._categorical, q._categorical)


def _log_masses(d: _of_torch.Categorical) -> Tensor:
    """Up to a constant: logits as they came, or log p, which is −∞ and a constant where there is no mass."""
    if not has_masses(d):
        return d._param
    return torch.where(d.probs == 0, d.probs.detach(), d.probs).log()
