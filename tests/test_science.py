"""A linear VAE against probabilistic PCA, whose optimum is known in closed form.

Tipping & Bishop 1999 for the optimum, Lucas et al. 2019 for the linear VAE reaching it: there the bound is tight.
"""

import math
from dataclasses import dataclass

import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.distributions import MultivariateNormal

import genkern as gk
from genkern.nn import IWAE, VAE, GaussianLikelihood, MLPDecoder

pytestmark = pytest.mark.late

X = torch.tensor(load_digits().data, dtype=torch.float64) / 16
DIMS = X.shape[1]

# (latents, σ², log p per datum in nats)
PUBLISHED = [(2, 0.05411698, 0.005707), (5, 0.03619681, 8.907637)]


@dataclass
class PPCA:
    """The maximum-likelihood fit with q latents, from the eigenvalues of the covariance."""

    mean: Tensor
    weight: Tensor
    values: Tensor
    variance: float
    log_likelihood: float

    def log_prob(self, x: Tensor) -> Tensor:
        covariance = self.weight @ self.weight.T + self.variance * torch.eye(DIMS, dtype=x.dtype)
        return MultivariateNormal(self.mean, covariance).log_prob(x)


def fit_ppca(q: int) -> PPCA:
    values, vectors = torch.linalg.eigh(torch.cov(X.T, correction=0))
    values, vectors = values.flip(0), vectors.flip(1)
    variance = values[q:].mean().item()
    weight = vectors[:, :q] * (values[:q] - variance).sqrt()
    log_determinant = values[:q].log().sum().item() + (DIMS - q) * math.log(variance)
    log_likelihood = -0.5 * (DIMS * math.log(2 * math.pi) + log_determinant + DIMS)
    return PPCA(X.mean(0), weight, values[:q], variance, log_likelihood)


class LinearEncoder(nn.Module):
    """As Lucas et al. have it: a linear mean, and one variance a latent that does not look at x."""

    def __init__(self, q: int) -> None:
        super().__init__()
        self.loc = nn.Linear(DIMS, q)
        self.logvar = nn.Parameter(torch.zeros(q))

    def forward(self, x: Tensor) -> Tensor:
        loc = self.loc(x)
        return torch.cat([loc, self.logvar.expand_as(loc)], dim=1)


def linear_vae(q: int) -> VAE:
    torch.manual_seed(0)
    return VAE(LinearEncoder(q), MLPDecoder((DIMS,), q, hidden=()), likelihood=GaussianLikelihood(init=0.3)).double()


@torch.no_grad()
def put_at_optimum(vae: VAE, ppca: PPCA, posterior_variance_factor: float = 1.0) -> VAE:
    """The posterior of PPCA is N(Λ⁻¹Wᵀ(x − μ), σ²Λ⁻¹), with Λ the leading eigenvalues."""
    encoder, decoder = vae.encoder, vae.decoder.layers[0]
    to_latent = ppca.weight.T / ppca.values[:, None]
    encoder.loc.weight.copy_(to_latent)
    encoder.loc.bias.copy_(-to_latent @ ppca.mean)
    encoder.logvar.copy_((posterior_variance_factor * ppca.variance / ppca.values).log())
    decoder.weight.copy_(ppca.weight)
    decoder.bias.copy_(ppca.mean)
    vae.likelihood.log_sigma.fill_(0.5 * math.log(ppca.variance))
    return vae


@torch.no_grad()
def exact_elbo(vae: VAE) -> float:
    """The bound's expectation over z, which a linear decoder has in closed form; no sampling, no genkern."""
    loc, logvar = vae.encode(X)
    decoder = vae.decoder.layers[0]
    spread = logvar.exp() @ decoder.weight.square().sum(0)
    error = (X - decoder(loc)).square().sum(1) + spread
    log_sigma = vae.likelihood.log_sigma
    reconstruction = -0.5 * error / (2 * log_sigma).exp() - DIMS * (log_sigma + 0.5 * math.log(2 * math.pi))
    kl = 0.5 * (loc.square() + logvar.exp() - logvar - 1).sum(1)
    return (reconstruction - kl).mean().item()


def train(vae: VAE, steps: int) -> None:
    """Full batches, fresh noise at every step, a learning rate that falls to nothing."""
    optimizer = torch.optim.Adam(vae.parameters(), lr=1e-2, betas=(0.9, 0.99))
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for step in range(steps):
        optimizer.zero_grad()
        vae.loss(X, key=gk.random.key(step)).backward()
        optimizer.step()
        schedule.step()


@pytest.mark.parametrize(("q", "variance", "log_likelihood"), PUBLISHED)
def test_closed_form_is_the_published_one(q, variance, log_likelihood):
    ppca = fit_ppca(q)
    # The figures are given to eight and six decimals.
    assert ppca.variance == pytest.approx(variance, abs=6e-9)
    assert ppca.log_likelihood == pytest.approx(log_likelihood, abs=6e-7)
    assert ppca.log_prob(X).mean().item() == pytest.approx(log_likelihood, abs=6e-7)


@pytest.mark.parametrize(("q", "variance", "log_likelihood"), PUBLISHED)
def test_linear_vae_trained_from_scratch_reaches_the_closed_form(q, variance, log_likelihood):
    vae = linear_vae(q)
    train(vae, 1500)
    reached = exact_elbo(vae)
    # The bound cannot exceed the best log-likelihood of the family; 6e-7 is the rounding of the published figure.
    assert reached <= log_likelihood + 6e-7
    # What is left below it is the noise in the last gradients of 1500 stochastic steps, 0.006 and 0.024 nats of the 80
    # that training gains; twice the larger is allowed. A wrong σ² by 5 %, or one latent lost, costs more.
    assert reached == pytest.approx(log_likelihood, abs=0.05)
    assert vae.likelihood.log_sigma.mul(2).exp().item() == pytest.approx(variance, rel=1e-2)


@pytest.mark.parametrize("q", [2, 5])
def test_bound_at_the_optimum_is_the_log_likelihood(q):
    ppca = fit_ppca(q)
    vae = put_at_optimum(linear_vae(q), ppca)
    assert exact_elbo(vae) == pytest.approx(ppca.log_likelihood, abs=1e-10)


@pytest.mark.parametrize(("q", "variance", "log_likelihood"), PUBLISHED)
def test_sampled_elbo_at_the_optimum_is_the_log_likelihood(q, variance, log_likelihood):
    vae = put_at_optimum(linear_vae(q), fit_ppca(q))
    draws = torch.cat([vae.elbo(X, key=gk.random.key(run)).elbo.detach() for run in range(20)])
    means = draws.view(20, -1).mean(1)
    assert abs(means.mean().item() - log_likelihood) < 5 * means.std().item() / math.sqrt(len(means))


@pytest.mark.parametrize("q", [2, 5])
@pytest.mark.parametrize("num_samples", [1, 7])
def test_with_the_exact_posterior_every_importance_weight_is_the_evidence(q, num_samples):
    ppca = fit_ppca(q)
    vae = put_at_optimum(linear_vae(q), ppca)
    for run in range(3):
        estimate = vae.log_marginal(X, num_samples, chunk_size=3, key=gk.random.key(run))
        # Exact in real arithmetic for every datum and draw: the rounding of sums of 64 terms is all there is.
        torch.testing.assert_close(estimate, ppca.log_prob(X), rtol=0.0, atol=1e-9)


@pytest.mark.parametrize("factor", [0.7, 1.3])
def test_with_a_wrong_posterior_more_samples_close_in_from_below(factor):
    ppca = fit_ppca(2)
    vae = put_at_optimum(linear_vae(2), ppca, posterior_variance_factor=factor)
    bounds = [vae.log_marginal(X, num, chunk_size=10, key=gk.random.key(num)).mean().item() for num in (1, 5, 50)]
    elbo = exact_elbo(vae)
    assert elbo < ppca.log_likelihood
    assert bounds[0] < bounds[1] < bounds[2]
    gaps = [ppca.log_likelihood - bound for bound in bounds]
    # The gap falls as 1/K (Burda et al. 2016; Nowozin 2018); a third of the 50-fold leaves room for the draws' noise.
    assert abs(gaps[2]) < gaps[0] / 15


def test_log_weights_are_constant_at_the_exact_posterior_and_every_bound_is_the_evidence():
    ppca = fit_ppca(5)
    vae = put_at_optimum(linear_vae(5), ppca)
    log_w = vae.log_weights(X, gk.random.split(gk.random.key(0), 6))
    exact = ppca.log_prob(X)
    # The rounding of sums of 64 terms of size 100, as above.
    torch.testing.assert_close(log_w, exact.expand_as(log_w), rtol=0.0, atol=1e-9)
    for options in (
        {"estimator": "vae"},
        {"estimator": "iwae"},
        {"estimator": "ciwae", "beta": 0.5},
        {"estimator": "miwae", "groups": 3},
        {"estimator": "renyi", "alpha": 2.0},
    ):
        bound = gk.importance_weighted_bound(log_w, **options)
        torch.testing.assert_close(bound, exact, rtol=0.0, atol=1e-9, msg=str(options))


@pytest.mark.parametrize(("estimator", "settles"), [("dreg", True), ("iwae", False)])
def test_at_the_exact_posterior_only_the_doubly_reparameterised_gradient_of_the_encoder_is_zero(estimator, settles):
    vae = put_at_optimum(linear_vae(2), fit_ppca(2))
    vae.objective = IWAE(4, estimator)
    vae.loss(X, key=gk.random.key(0)).backward()
    largest = max(p.grad.abs().max().item() for p in vae.encoder.parameters())
    # Each datum's is a sum of 64 terms of size 100 that cancel, in float64.
    assert (largest < 1e-10) if settles else (largest > 1e-3)


def test_tighter_bounds_of_a_wrong_posterior_are_losses_in_the_same_order():
    ppca = fit_ppca(2)
    vae = put_at_optimum(linear_vae(2), ppca, posterior_variance_factor=1.3)
    gaps, errors = [], []
    for k in (1, 5, 50):
        vae.objective = IWAE(k)
        losses = torch.tensor([vae.loss(X, key=gk.random.key(run)).item() for run in range(10)])
        gaps.append(losses.mean().item() + ppca.log_likelihood)
        errors.append(losses.std().item() / math.sqrt(len(losses)))
    for looser, tighter in ((0, 1), (1, 2)):
        assert gaps[looser] - gaps[tighter] > 5 * math.hypot(errors[looser], errors[tighter])
    assert gaps[2] > -5 * errors[2]


@pytest.mark.parametrize("q", [2, 5])
def test_parts_of_the_kl_add_up_for_every_datum(q):
    vae = put_at_optimum(linear_vae(q), fit_ppca(q))
    loc, logvar = vae.encode(X)
    z = gk.gaussian_rsample(loc, logvar, key=gk.random.key(0))
    parts = gk.total_correlation(z, loc, logvar, dataset_size=len(X))
    log_ratio = gk.gaussian_log_prob(z, loc, logvar) - gk.gaussian_log_prob(z, torch.zeros_like(z))
    # Three differences of log densities of size 10.
    torch.testing.assert_close(sum(parts), log_ratio, rtol=0.0, atol=1e-12)


def test_a_wider_sigma_is_worse():
    vae = put_at_optimum(linear_vae(2), fit_ppca(2))
    best = exact_elbo(vae)
    for shift in (-0.1, 0.1):
        with torch.no_grad():
            vae.likelihood.log_sigma.add_(shift)
        assert exact_elbo(vae) < best
        with torch.no_grad():
            vae.likelihood.log_sigma.sub_(shift)


def test_optimal_sigma_finds_the_same_variance():
    """σ-VAE (Rybkin et al. 2021): at the linear optimum the batch's mean squared error is PPCA's σ²."""
    ppca = fit_ppca(2)
    vae = put_at_optimum(linear_vae(2), ppca)
    optimal = GaussianLikelihood("optimal").double()
    with torch.no_grad():
        z = gk.gaussian_rsample(*vae.encode(X), key=gk.random.key(0))
        optimal.log_prob(X, vae.decode(z))
    # E‖x − Wz − μ‖² = D·σ² there; 1797·64 squares have a relative standard error below 1 %.
    assert optimal.running_variance.item() == pytest.approx(ppca.variance, rel=0.02)
