"""Bounds of weights that are not numbers, and their bits for every number of threads."""

import math

import pytest
import torch
from test_bounds import bound, every_estimator

import genkern as gk


@pytest.mark.parametrize("others", [0.0, -math.inf, math.inf, math.nan])
@every_estimator
def test_a_weight_that_is_not_a_number_is_seen_in_value_and_gradient(name: str, others: float) -> None:
    log_w = torch.zeros(4, 2, dtype=torch.float64)
    log_w[0] = others
    log_w[1, 0] = math.nan
    log_w.requires_grad_()
    value = bound(name, log_w)
    assert value[0].isnan() and (value[1].isnan() == math.isnan(others))
    (gradient,) = torch.autograd.grad(value.sum(), log_w)
    # A mean has the same gradient whatever it is of.
    assert gradient[1, 0].isnan() or name == "vae"
    assert not gradient[:, 1].isnan().any() or math.isnan(others)


@pytest.mark.parametrize("pieces", [1, 3])
def test_a_weight_that_is_not_a_number_is_seen_in_the_total(pieces: int) -> None:
    total = gk.LogMeanExp()
    log_w = torch.zeros(6, 2)
    log_w[2, 1] = math.nan
    for piece in log_w.chunk(pieces):
        total.update(piece)
    assert total.compute()[0] == 0 and total.compute()[1].isnan()


@pytest.mark.parametrize("shape", [(100_004,), (1, 70_000), (40_000, 2), (4, 20_001)])
@every_estimator
def test_a_bound_has_the_same_bits_for_every_number_of_threads(name: str, shape: tuple[int, ...]) -> None:
    log_w = 5 * torch.randn(shape)
    dim = 0 if shape[0] % 2 == 0 else 1
    seen = []
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        leaf = log_w.clone().requires_grad_()
        value = bound(name, leaf, dim=dim)
        total = gk.LogMeanExp(dim)
        total.update(log_w)
        seen.append([value, total.compute(), *torch.autograd.grad(value.flatten()[0], leaf)])
    for other in seen[1:]:
        assert all(torch.equal(a, b) for a, b in zip(seen[0], other, strict=True))


@pytest.mark.parametrize("others", [0.0, math.nan])
def test_the_doubly_reparameterised_gradient_of_what_is_not_a_number_is_none(others: float) -> None:
    latent = torch.zeros(4, 2, 3, requires_grad=True)
    log_w = latent.sum(-1) + torch.tensor([[others, 0.0], [0.0, 0.0], [math.nan, 0.0], [0.0, 0.0]])
    value = gk.importance_weighted_bound(log_w, estimator="dreg", latent=latent)
    assert value[0].isnan() and value[1] == 0
    (gradient,) = torch.autograd.grad(value.sum(), latent)
    assert gradient[:, 0].isnan().all() and gradient[:, 1].isfinite().all()
