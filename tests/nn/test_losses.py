"""Loss modules against torch's own."""

import math

import pytest
import torch
from torch.nn import functional as torch_functional

import genkern as gk
from genkern.nn import (
    BernoulliNLLLoss,
    DiscretizedGaussianNLLLoss,
    GANDiscriminatorLoss,
    GANGeneratorLoss,
    GaussianKLLoss,
    GaussianNLLLoss,
    LaplaceNLLLoss,
)

A = torch.rand(4, 3, 2, generator=torch.Generator().manual_seed(0))
B = torch.randn(4, 3, 2, generator=torch.Generator().manual_seed(1))
C = torch.randn(4, 3, 2, generator=torch.Generator().manual_seed(2))


def test_gaussian_nll_is_torchs():
    expected = torch_functional.gaussian_nll_loss(A, B, C.exp(), full=True, eps=0.0)
    torch.testing.assert_close(GaussianNLLLoss(reduction="mean")(A, B, C), expected)


def test_gaussian_kl_is_torchs():
    q = torch.distributions.Normal(B, (0.5 * C).exp())
    p = torch.distributions.Normal(A, torch.ones_like(A))
    expected = torch.distributions.kl_divergence(q, p).flatten(1).sum(1).mean()
    torch.testing.assert_close(GaussianKLLoss()(B, C, A, torch.zeros_like(A)), expected)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_bernoulli_nll_is_torchs(reduction):
    expected = torch_functional.binary_cross_entropy_with_logits(B, A, reduction=reduction)
    torch.testing.assert_close(BernoulliNLLLoss(reduction=reduction)(A, B), expected)


def test_bernoulli_event_and_batchmean_sum_over_a_datum():
    per_datum = torch_functional.binary_cross_entropy_with_logits(B, A, reduction="none").flatten(1).sum(1)
    torch.testing.assert_close(BernoulliNLLLoss(reduction="event")(A, B), per_datum)
    torch.testing.assert_close(BernoulliNLLLoss()(A, B), per_datum.mean())
    torch.testing.assert_close(BernoulliNLLLoss(reduction="event", event_ndim=3)(A, B), per_datum.sum())


def test_bernoulli_units():
    nats = BernoulliNLLLoss()(A, B)
    torch.testing.assert_close(BernoulliNLLLoss(units="bits")(A, B), nats / math.log(2))
    torch.testing.assert_close(BernoulliNLLLoss(units="bits_per_dim")(A, B), nats / (6 * math.log(2)))


def test_laplace_nll_is_torchs():
    expected = -torch.distributions.Laplace(B, C.exp()).log_prob(A).mean()
    torch.testing.assert_close(LaplaceNLLLoss(reduction="mean", scale_param="logstd")(A, B, C), expected)


def test_discretized_gaussian_nll_holds_its_options():
    options = {"bins": 16, "low": 0.0, "scale_param": "logstd"}
    expected = gk.discretized_gaussian_nll(A, B, C, reduction="batchmean", **options)
    torch.testing.assert_close(DiscretizedGaussianNLLLoss(**options)(A, B, C), expected, rtol=0, atol=0)


def test_label_smoothing_is_an_option():
    expected = BernoulliNLLLoss()(0.9 * A + 0.05, B)
    torch.testing.assert_close(BernoulliNLLLoss(label_smoothing=0.1)(A, B), expected)


def test_gan_losses_hold_their_options():
    logits = {"real": A, "fake": B}
    expected = gk.gan_discriminator_loss(**logits, kind="lsgan", label_smoothing=0.1, reduction="sum")
    assert torch.equal(GANDiscriminatorLoss("lsgan", label_smoothing=0.1, reduction="sum")(A, B), expected)
    assert torch.equal(GANGeneratorLoss("relativistic")(B, A), gk.gan_generator_loss(**logits, kind="relativistic"))


@pytest.mark.parametrize(
    "loss", [GaussianNLLLoss(), GaussianKLLoss(), BernoulliNLLLoss(), LaplaceNLLLoss(), GANDiscriminatorLoss()]
)
def test_loss_of_half_precision_is_float32_under_autocast_too(loss):
    with torch.autocast("cpu", torch.bfloat16):
        assert loss(A.bfloat16(), B.bfloat16()).dtype == torch.float32


def test_repr_tells_the_options():
    assert "reduction='batchmean', full=False" in repr(GaussianNLLLoss(full=False))


def test_bad_bernoulli_arguments_are_refused_by_name():
    with pytest.raises(ValueError, match="^logits: expected a shape that broadcasts with x"):
        BernoulliNLLLoss()(A, B[:2])
    with pytest.raises(ValueError, match="^reduction: expected one of"):
        BernoulliNLLLoss(reduction="average")(A, B)
    with pytest.raises(ValueError, match="^units: expected one of"):
        BernoulliNLLLoss(units="bans")(A, B)
    with pytest.raises(ValueError, match="^event_ndim: expected at most"):
        BernoulliNLLLoss(event_ndim=4)(A, B)
