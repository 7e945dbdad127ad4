"""genkern.nn.GaussianHead."""

import pytest
import torch
from torch.distributions import Normal, kl_divergence

import genkern as gk
from genkern.nn import GaussianHead


def test_head_samples_and_measures_the_gaussian_its_moments_say():
    torch.manual_seed(0)
    head = GaussianHead(6, 3)
    h = torch.randn(5, 6)
    key = gk.random.key(1)
    z, kl = head(h, key=key)
    loc, logvar = head.moments(h).chunk(2, -1)
    torch.testing.assert_close(z, gk.gaussian_rsample(loc, logvar, key=key))
    q = Normal(loc, (0.5 * logvar).exp())
    torch.testing.assert_close(kl, kl_divergence(q, Normal(0.0, 1.0)).sum(1))


def test_scale_options_are_those_of_the_function():
    torch.manual_seed(0)
    head = GaussianHead(6, 3, scale_param="softplus", scale_offset=0.1)
    loc, raw = head.moments(h := torch.randn(5, 6)).chunk(2, -1)
    _, kl = head(h)
    q = Normal(loc, torch.nn.functional.softplus(raw) + 0.1)
    torch.testing.assert_close(kl, kl_divergence(q, Normal(0.0, 1.0)).sum(1))


def test_head_takes_a_sequence_of_features():
    z, kl = GaussianHead(6, 3)(torch.randn(2, 7, 6), reduction="none")
    assert z.shape == kl.shape == (2, 7, 3)


def test_gradients_reach_features_and_parameters():
    head = GaussianHead(6, 3)
    h = torch.randn(5, 6, requires_grad=True)
    z, kl = head(h)
    (z.square().sum() + kl.sum()).backward()
    assert all(t.grad is not None and t.grad.abs().sum() > 0 for t in (h, *head.parameters()))


def test_half_precision_gives_a_float32_divergence():
    z, kl = GaussianHead(6, 3, dtype=torch.bfloat16)(torch.randn(5, 6, dtype=torch.bfloat16))
    assert (z.dtype, kl.dtype) == (torch.bfloat16, torch.float32)


@pytest.mark.parametrize(("sizes", "name"), [((0, 3), "in_features"), ((6, 0), "latent_dim")])
def test_impossible_sizes_are_refused_by_name(sizes, name):
    with pytest.raises(ValueError, match=f"^{name}: expected"):
        GaussianHead(*sizes)
