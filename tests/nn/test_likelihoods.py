"""Likelihoods against torch.distributions, what each σ means, and where each θ comes from."""

import math

import pytest
import torch
from torch.distributions import Bernoulli, Laplace, NegativeBinomial, Normal, Poisson

import genkern as gk
from genkern.nn import (
    LIKELIHOODS,
    BernoulliLikelihood,
    DiscretizedGaussianLikelihood,
    DiscretizedLogisticMixtureLikelihood,
    GaussianLikelihood,
    LaplaceLikelihood,
    Likelihood,
    NegativeBinomialLikelihood,
    PoissonLikelihood,
    make_likelihood,
)

CHANNELS = {"discretized_logistic": 30, "zero_inflated_negative_binomial": 2}  # of the parameters of one; else 1
OF_ONE_PARAMETER = sorted(LIKELIHOODS.keys() - CHANNELS.keys())
X = torch.rand(4, 2, 5, 3, generator=torch.Generator().manual_seed(0))
LOC = torch.randn(4, 2, 5, 3, generator=torch.Generator().manual_seed(1))


def _normal(scale):
    return Normal(LOC, torch.as_tensor(scale)).log_prob(X).flatten(1).sum(1)


def test_fixed_sigma():
    torch.testing.assert_close(GaussianLikelihood(0.3).log_prob(X, LOC), _normal(0.3))


def test_learned_sigma_starts_where_told_and_has_a_gradient():
    likelihood = GaussianLikelihood("learned", init=0.5)
    log_prob = likelihood.log_prob(X, LOC)
    torch.testing.assert_close(log_prob, _normal(0.5))
    log_prob.sum().backward()
    assert likelihood.log_sigma.shape == ()
    # d/d log σ of Σ −(e²/2σ² + log σ)
    expected = ((X - LOC).square() / 0.25 - 1).sum()
    torch.testing.assert_close(likelihood.log_sigma.grad, expected)


def test_learned_sigma_per_channel():
    likelihood = GaussianLikelihood("learned", channels=2)
    with torch.no_grad():
        likelihood.log_sigma.copy_(torch.tensor([0.2, 0.7]).log())
    scale = torch.tensor([0.2, 0.7]).view(2, 1, 1).expand(4, 2, 5, 3)
    torch.testing.assert_close(likelihood.log_prob(X, LOC), _normal(scale))


def test_sigma_from_the_decoder():
    logvar = torch.randn(LOC.shape, generator=torch.Generator().manual_seed(2))
    likelihood = GaussianLikelihood("decoder")
    torch.testing.assert_close(likelihood.log_prob(X, torch.cat([LOC, logvar], 1)), _normal((0.5 * logvar).exp()))
    assert likelihood.mean(torch.cat([LOC, logvar], 1)).shape == X.shape


def test_sigma_from_the_decoder_needs_an_even_channel_number():
    with pytest.raises(ValueError, match="^params: expected an even size"):
        GaussianLikelihood("decoder").log_prob(X[:, :1], LOC[:, :1])


def test_optimal_sigma_is_the_batch_rms_error_in_training():
    sigma = (X - LOC).square().mean().sqrt()
    torch.testing.assert_close(GaussianLikelihood("optimal").log_prob(X, LOC), _normal(sigma))


def test_optimal_sigma_in_evaluation_is_that_of_training():
    likelihood = GaussianLikelihood("optimal")
    likelihood.log_prob(X, LOC)
    sigma = (X - LOC).square().mean().sqrt()
    likelihood.eval()
    half = likelihood.log_prob(X[:1], LOC[:1])
    torch.testing.assert_close(half, _normal(sigma)[:1])
    assert likelihood.batches.item() == 1


def test_frozen_density_of_a_datum_does_not_depend_on_its_neighbours():
    likelihood = GaussianLikelihood("optimal")
    likelihood.log_prob(X, LOC)
    torch.testing.assert_close(
        likelihood.log_prob(X, LOC, frozen=True)[2:], likelihood.log_prob(X[2:], LOC[2:], frozen=True)
    )


def test_optimal_sigma_keeps_a_plain_mean_over_the_first_batches():
    likelihood = GaussianLikelihood("optimal")
    for part in (X - LOC).split(2):
        likelihood.log_prob(part, torch.zeros_like(part))
    torch.testing.assert_close(likelihood.running_variance, (X - LOC).square().mean())


def test_bernoulli_is_torchs():
    x = (X > 0.5).float()
    expected = Bernoulli(logits=LOC).log_prob(x).flatten(1).sum(1)
    torch.testing.assert_close(BernoulliLikelihood().log_prob(x, LOC), expected)


@pytest.mark.parametrize("sigma", [0.3, "learned", "decoder"])
def test_laplace_is_torchs(sigma):
    logvar = torch.randn(LOC.shape, generator=torch.Generator().manual_seed(2))
    likelihood = LaplaceLikelihood(sigma, init=0.3)
    params = torch.cat([LOC, logvar], 1) if sigma == "decoder" else LOC
    b = (0.5 * logvar).exp() if sigma == "decoder" else torch.tensor(0.3)
    torch.testing.assert_close(likelihood.log_prob(X, params), Laplace(LOC, b).log_prob(X).flatten(1).sum(1))
    assert torch.equal(likelihood.mean(params), LOC)


@pytest.mark.parametrize("sigma", [0.02, "learned", "decoder"])
def test_the_discretized_gaussian_is_the_mass_of_the_grey_level(sigma):
    x, loc = (X * 255).round() / 255, X + 0.02 * LOC
    logvar = torch.full_like(LOC, 2 * math.log(0.02))
    likelihood = DiscretizedGaussianLikelihood(sigma, init=0.02)
    params = torch.cat([loc, logvar], 1) if sigma == "decoder" else loc
    expected = -gk.discretized_gaussian_nll(x, loc, logvar, low=0.0)
    torch.testing.assert_close(likelihood.log_prob(x, params), expected)
    assert likelihood.mean(params).min() >= 0 and likelihood.mean(params).max() <= 1


def test_a_learned_scale_of_every_kind_has_a_gradient():
    for likelihood in (LaplaceLikelihood(), DiscretizedGaussianLikelihood(channels=2)):
        likelihood.log_prob(X, X + 0.01 * LOC).sum().backward()
        assert likelihood.log_sigma.grad.abs().min() > 0


def test_draws_of_the_discretized_gaussian_are_grey_levels_as_likely_as_it_says():
    likelihood = DiscretizedGaussianLikelihood(0.2, bins=5)
    loc = torch.full((1, 100_000), 0.1)
    drawn = likelihood.sample(loc, key=gk.random.key(3))
    levels = torch.linspace(0, 1, 5)
    assert set(drawn.unique().tolist()) <= set(levels.tolist())
    mass = likelihood.log_prob(levels[:, None], torch.full((5, 1), 0.1)).exp()
    share = torch.stack([(drawn == level).float().mean() for level in levels])
    # Five standard errors of 10^5 draws.
    assert ((share - mass).abs() <= 5 * (mass * (1 - mass) / 1e5).sqrt() + 1e-6).all()


@pytest.mark.parametrize("logit", [1e4, -1e4, 3e38])
def test_bernoulli_is_finite_for_extreme_logits(logit):
    log_prob = BernoulliLikelihood().log_prob(torch.full((1, 1), float(logit > 0)), torch.full((1, 1), logit))
    assert log_prob.item() == 0.0


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", OF_ONE_PARAMETER)
def test_log_prob_of_half_precision_is_float32(name, dtype):
    log_prob = make_likelihood(name).log_prob(X.to(dtype), LOC.to(dtype))
    assert log_prob.dtype == torch.float32
    torch.testing.assert_close(log_prob, make_likelihood(name).log_prob(X, LOC), rtol=0.05, atol=0.0)


@pytest.mark.parametrize(
    "likelihood",
    [
        GaussianLikelihood(0.3),
        GaussianLikelihood("optimal"),
        BernoulliLikelihood(),
        LaplaceLikelihood(0.3),
        DiscretizedGaussianLikelihood(0.3),
        PoissonLikelihood(),
        NegativeBinomialLikelihood(),
    ],
)
def test_a_draw_is_a_pure_function_of_the_key_and_splits_over_ranks(likelihood):
    key = gk.random.key(5)
    whole = likelihood.sample(LOC, key=key)
    part = likelihood.sample(LOC[2:], key=key, element_offset=2 * LOC[0].numel())
    assert whole.shape == LOC.shape
    torch.testing.assert_close(part, whole[2:])


def test_draws_have_the_likelihoods_mean_and_spread():
    loc = torch.full((200, 1000), 0.25)
    key = gk.random.key(0)
    gaussian = GaussianLikelihood(0.5).sample(loc, key=key)
    # Five standard errors of 2·10⁵ draws.
    assert abs(gaussian.mean() - 0.25) < 5 * 0.5 / math.sqrt(loc.numel())
    assert abs(gaussian.std() - 0.5) < 5 * 0.5 / math.sqrt(2 * loc.numel())
    laplace = LaplaceLikelihood(0.5).sample(loc, key=key)
    # The variance is 2 b², and that of the squared deviation 20 b⁴.
    assert abs(laplace.mean() - 0.25) < 5 * 0.5 * math.sqrt(2 / loc.numel())
    assert abs(laplace.var() - 0.5) < 5 * 0.25 * math.sqrt(20 / loc.numel())
    bernoulli = BernoulliLikelihood().sample(loc, key=key)
    assert abs(bernoulli.mean() - loc[0, 0].sigmoid()) < 5 * 0.5 / math.sqrt(loc.numel())


COUNTS = torch.randint(6, (4, 3), generator=torch.Generator().manual_seed(2))
OUTPUT = torch.randn(4, 9, generator=torch.Generator().manual_seed(3), dtype=torch.float64)


@pytest.mark.parametrize("dtype", [torch.float32, torch.int16, torch.int32, torch.int64])
def test_poisson(dtype):
    likelihood, params = PoissonLikelihood(), OUTPUT[:, :3]
    expected = Poisson(params.exp()).log_prob(COUNTS.double()).sum(1)
    torch.testing.assert_close(likelihood.log_prob(COUNTS.to(dtype), params), expected)
    assert torch.equal(likelihood.mean(params), params.exp())


DISPERSIONS = {  # what the decoder gives, and where log μ, log θ and the logits are in it; θ of its own is 2.5
    "one": (NegativeBinomialLikelihood(init=2.5), 3, None),
    "a gene": (NegativeBinomialLikelihood(genes=3, init=2.5), 3, None),
    "a cell": (NegativeBinomialLikelihood(dispersion="cell"), 4, slice(3, 4)),
    "decoder": (NegativeBinomialLikelihood(dispersion="decoder"), 6, slice(3, 6)),
}


@pytest.mark.parametrize("zero_inflated", [False, True])
@pytest.mark.parametrize("dispersion", DISPERSIONS)
def test_negative_binomial_takes_what_the_decoder_gives(dispersion, zero_inflated):
    likelihood, size, place = DISPERSIONS[dispersion]
    likelihood = NegativeBinomialLikelihood(
        zero_inflated, likelihood.dispersion, genes=likelihood.genes, init=2.5 if likelihood.dispersion == "gene" else 1
    )
    params = OUTPUT[:, : size + 3 * zero_inflated]
    theta = params[:, place].exp() if place else torch.tensor(2.5, dtype=torch.float64)
    mean = params[:, :3].exp()
    expected = NegativeBinomial(theta, logits=(mean / theta).log(), validate_args=False).log_prob(COUNTS)
    if zero_inflated:
        lost = params[:, size:].sigmoid()
        expected = torch.where(COUNTS == 0, (lost + (1 - lost) * expected.exp()).log(), (1 - lost).log() + expected)
        mean = mean * (1 - lost)
    torch.testing.assert_close(likelihood.log_prob(COUNTS, params), expected.sum(1), rtol=1e-6, atol=0.0)
    torch.testing.assert_close(likelihood.mean(params), mean)


@pytest.mark.parametrize("zero_inflated", [False, True])
@pytest.mark.parametrize("dispersion", ["gene", "cell", "decoder"])
def test_draws_of_counts_have_the_likelihoods_mean_and_spread(dispersion, zero_inflated):
    rows, theta, lost = 20_000, 2.0, 0.25 * zero_inflated
    parts = [torch.tensor([1.0, 3.0, 8.0]).log()]
    if dispersion != "gene":
        parts.append(torch.full((3 if dispersion == "decoder" else 1,), math.log(theta)))
    if zero_inflated:
        parts.append(torch.full((3,), math.log(lost / (1 - lost))))
    params = torch.cat(parts).expand(rows, -1)
    init = {"init": theta} if dispersion == "gene" else {}
    x = NegativeBinomialLikelihood(zero_inflated, dispersion, **init).sample(params, key=gk.random.key(1)).double()
    mean = parts[0].exp().double()
    variance = (1 - lost) * (mean + mean.square() / theta + lost * mean.square())
    fourth = (x - x.mean(0)).pow(4).mean(0)
    # Five standard errors.
    assert ((x.mean(0) - (1 - lost) * mean).abs() < 5 * (variance / rows).sqrt()).all()
    assert ((x.var(0) - variance).abs() < 5 * ((fourth - variance.square()) / rows).sqrt()).all()


@pytest.mark.parametrize("name", ["poisson", "negative_binomial"])
def test_counts_of_half_precision_are_not_rounded(name):
    likelihood, params = make_likelihood(name), torch.full((2, 3), 11.2, dtype=torch.float16)  # a mean of 73130
    x = likelihood.sample(params, key=gk.random.key(0))
    assert x.dtype == torch.float32 and x.isfinite().all() and torch.equal(x, x.round())
    assert likelihood.log_prob(x, params).isfinite().all()


def test_a_learned_dispersion_finds_that_of_the_data():
    mean, theta = torch.full((400, 3), 5.0).log(), torch.tensor([0.5, 2.0, 8.0])
    x = gk.negative_binomial_sample(mean, theta, mean_param="log", key=gk.random.key(0))
    likelihood = NegativeBinomialLikelihood(genes=3)
    optimizer = torch.optim.Adam(likelihood.parameters(), lr=0.1)
    for _ in range(200):
        optimizer.zero_grad()
        (-likelihood.log_prob(x, mean).mean()).backward()
        optimizer.step()
    found = likelihood.log_theta.detach().exp()
    assert ((found / theta).log().abs() < math.log(1.5)).all(), found


def test_a_new_likelihood_is_one_entry(monkeypatch):
    class Cauchy(Likelihood):
        pass

    monkeypatch.setitem(LIKELIHOODS, "cauchy", Cauchy)
    assert isinstance(make_likelihood("cauchy"), Cauchy)


def test_bad_options_are_refused_by_name():
    with pytest.raises(ValueError, match="^sigma: expected one of"):
        GaussianLikelihood("learnt")
    with pytest.raises(ValueError, match="^sigma: expected a positive number"):
        GaussianLikelihood(0.0)
    with pytest.raises(ValueError, match="^init: expected a positive number"):
        GaussianLikelihood(init=-1.0)
    with pytest.raises(ValueError, match="^channels: expected None"):
        GaussianLikelihood("optimal", channels=3)
    with pytest.raises(ValueError, match="^sigma: expected one of 'learned', 'decoder'"):
        LaplaceLikelihood("optimal")
    with pytest.raises(ValueError, match="^bins: expected an int >= 2"):
        DiscretizedGaussianLikelihood(bins=1)
    with pytest.raises(ValueError, match="^dispersion: expected one of 'gene', 'cell', 'decoder'"):
        NegativeBinomialLikelihood(dispersion="genes")
    with pytest.raises(ValueError, match="^genes: expected None unless dispersion is 'gene', got 3"):
        NegativeBinomialLikelihood(dispersion="cell", genes=3)
    with pytest.raises(ValueError, match="^params: expected 6 values, 2 for each of 3 genes, along dimension 1, got"):
        NegativeBinomialLikelihood(True, genes=3).mean(torch.zeros(2, 3))
    with pytest.raises(ValueError, match="^params: expected 1 [+] 2 values for each gene along dimension 1, got"):
        NegativeBinomialLikelihood(True, "cell").mean(torch.zeros(2, 4))
    with pytest.raises(TypeError, match="^x: expected a floating dtype, int16, int32 or int64, got torch.bool"):
        PoissonLikelihood().log_prob(torch.ones(2, 3, dtype=torch.bool), torch.zeros(2, 3))
    with pytest.raises(ValueError, match="^likelihood: expected one of"):
        make_likelihood("gausian")
    with pytest.raises(TypeError, match="^likelihood: expected a name or a Likelihood, got int"):
        make_likelihood(3)


BAD = (math.nan, math.inf, -math.inf, 1e30)  # the square of the last overflows


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("place", ["x", "params"])
def test_a_batch_without_a_finite_error_is_not_remembered(place, bad):
    likelihood, without = GaussianLikelihood("optimal"), GaussianLikelihood("optimal")
    for batch in range(4):
        x, loc = X + batch, LOC.clone()
        if batch not in (0, 2):
            without.log_prob(x, loc)
        else:
            (x if place == "x" else loc)[1, 0, 2, 1] = bad
        assert likelihood.log_prob(x, loc).isfinite().all() == (batch not in (0, 2))
    assert torch.equal(likelihood.running_variance, without.running_variance)
    assert likelihood.batches.item() == without.batches.item() == 2
    assert likelihood.eval().log_prob(X, LOC).isfinite().all()


def test_errors_that_a_half_holds_not_do_not_stay_in_one():
    likelihood = GaussianLikelihood("optimal").half()
    before = likelihood.running_variance.clone()
    likelihood.log_prob(torch.full((2, 3), 300.0).half(), torch.full((2, 3), -300.0).half())
    assert torch.equal(likelihood.running_variance, before)


@pytest.mark.parametrize("shape", [(1, 70_001), (40_000, 3)])
def test_the_running_variance_has_the_same_bits_for_every_number_of_threads(shape):
    x = torch.randn(shape)
    seen = []
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        likelihood = GaussianLikelihood("optimal")
        likelihood.log_prob(x, torch.zeros_like(x))
        seen.append(likelihood.running_variance)
    assert torch.equal(seen[0], seen[1]) and torch.equal(seen[0], seen[2])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", sorted(name for name in LIKELIHOODS if "binomial" not in name))  # by rejection
def test_draws_at_the_ends_of_the_noise_are_finite_and_of_the_datas_range(name, dtype, monkeypatch):
    likelihood = make_likelihood(name)
    params = torch.zeros(1, 30 if name == "discretized_logistic" else 2, 1, 1, dtype=dtype)
    drawn = []
    for u in (0.0, 2.0**-24, 0.5, 1 - 2.0**-24):
        monkeypatch.setattr(gk.random, "uniform", lambda key, shape, u=u, **_: torch.full(tuple(shape), u))
        drawn.append(likelihood.sample(params, key=gk.random.key(0)).double())
    assert all(d.isfinite().all() for d in drawn)
    if name == "laplace":
        lowest, low, middle, high = drawn
        assert torch.equal(lowest, low) and torch.equal(low, -high) and (middle == 0).all()
    if name == "poisson":
        assert [d.unique().tolist() for d in drawn] == [[0.0], [0.0], [1.0], [10.0]]  # of rate 1
    if name == "bernoulli":
        assert [d.unique().tolist() for d in drawn] == [[1.0], [1.0], [0.0], [0.0]]  # u < 1/2


@pytest.mark.parametrize("logit", [-math.inf, -1e4, 1e4, math.inf])
def test_a_bernoulli_variable_without_doubt_is_drawn_so(logit, monkeypatch):
    for u in (0.0, 1 - 2.0**-24):
        monkeypatch.setattr(gk.random, "uniform", lambda key, shape, u=u, **_: torch.full(tuple(shape), u))
        drawn = BernoulliLikelihood().sample(torch.full((1, 2), logit), key=gk.random.key(0))
        assert (drawn == float(logit > 0)).all()


@pytest.mark.parametrize("name", sorted(LIKELIHOODS))
def test_a_parameter_that_is_not_a_number_is_seen_in_the_draw(name):
    params = torch.full((1, 30, 2, 2), math.nan)
    assert make_likelihood(name).sample(params, key=gk.random.key(0)).isnan().all()
    assert make_likelihood(name).mean(params).isnan().all()


LIKELIHOODS_OF_PARAMETERS = {
    **{name: (lambda name=name: make_likelihood(name), 3) for name in OF_ONE_PARAMETER},
    "gaussian, fixed": (lambda: GaussianLikelihood(0.3), 3),
    "gaussian, optimal": (lambda: GaussianLikelihood("optimal"), 3),
    "gaussian, a channel": (lambda: GaussianLikelihood(channels=3), 3),
    "gaussian, decoder": (lambda: GaussianLikelihood("decoder"), 6),
    "laplace, decoder": (lambda: LaplaceLikelihood("decoder"), 6),
    "discretized_gaussian, decoder": (lambda: DiscretizedGaussianLikelihood("decoder"), 6),
    "discretized_logistic, coupled": (lambda: DiscretizedLogisticMixtureLikelihood(2), 20),
    "discretized_logistic, uncoupled": (lambda: DiscretizedLogisticMixtureLikelihood(2, rgb_coupling=False), 14),
    "negative_binomial, a gene": (lambda: NegativeBinomialLikelihood(genes=3), 3),
    "negative_binomial, cell": (lambda: NegativeBinomialLikelihood(dispersion="cell"), 4),
    "negative_binomial, decoder": (lambda: NegativeBinomialLikelihood(dispersion="decoder"), 6),
    "zero-inflated": (lambda: make_likelihood("zero_inflated_negative_binomial"), 6),
    "zero-inflated, cell": (lambda: NegativeBinomialLikelihood(True, "cell"), 7),
    "zero-inflated, decoder": (lambda: NegativeBinomialLikelihood(True, "decoder"), 9),
}


@pytest.mark.parametrize(
    "shape", [(1, 3, 5, 4), (4, 3, 1, 4), (4, 3, 5, 1), (4, 1, 5, 4), (3, 5, 4), (1, 4, 3, 5, 4), ()]
)
@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize(("build", "channels"), LIKELIHOODS_OF_PARAMETERS.values(), ids=LIKELIHOODS_OF_PARAMETERS)
def test_data_of_another_shape_are_refused_even_where_they_would_broadcast(build, channels, frozen, shape):
    likelihood = build()
    params = torch.rand(4, channels, 5, 4)
    assert likelihood.log_prob(torch.rand(4, 3, 5, 4), params, frozen=frozen).shape == (4,)
    with pytest.raises(ValueError, match=r"^x: expected shape \(4, 3, 5, 4\), that of the mean in params, got"):
        likelihood.log_prob(torch.rand(shape), params, frozen=frozen)
    x, params = torch.rand(4, 3, 5, 4), params[:1]
    with pytest.raises(ValueError, match=r"^x: expected shape \(1, 3, 5, 4\)"):
        likelihood.log_prob(x, params, frozen=frozen)
