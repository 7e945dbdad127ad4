"""VAE(objective=…) beyond the plain bound: what each is, term by term, and what all of them can do."""

import copy
import math
import pickle

import pytest
import torch
from support import batch_ranks
from support.batch_ranks import energy_distance
from support.once import found_by_ranks
from torch import nn
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal

import genkern as gk
from genkern.nn import (
    ELBO,
    IWAE,
    VAE,
    BetaTCVAE,
    GaussianLikelihood,
    InfoVAE,
    MLPDecoder,
    MLPEncoder,
    VampPrior,
)
from genkern.nn.priors import GaussianMixturePrior, StandardNormalPrior

SHAPE = (1, 3, 2)
LATENT = 3
KEY = gk.random.key(7)
OBJECTIVES = {
    "iwae": lambda: IWAE(6),
    "vae": lambda: IWAE(6, "vae"),
    "ciwae": lambda: IWAE(6, "ciwae", beta=0.5),
    "miwae": lambda: IWAE(6, "miwae", groups=2),
    "renyi": lambda: IWAE(6, "renyi", alpha=0.5),
    "dreg": lambda: IWAE(6, "dreg"),
    "tc-mss": lambda: BetaTCVAE(dataset_size=50),
    "tc-mws": lambda: BetaTCVAE(2.0, 3.0, 4.0, dataset_size=50, weighting="mws"),
    "tc-legacy": lambda: BetaTCVAE(dataset_size=50, mss_weights="legacy", joint_weight="per_dim"),
    "info": lambda: InfoVAE(),
    "info-other": lambda: InfoVAE(energy_distance, alpha=0.3, lambda_=5.0),
    "vamp": lambda: VampPrior(5, SHAPE),
    "vamp-weighted": lambda: VampPrior(images(), beta=2.0),
}
every_objective = pytest.mark.parametrize("name", OBJECTIVES)


def make_vae(objective, likelihood=None, **options):
    torch.manual_seed(0)
    networks = MLPEncoder(SHAPE, LATENT, hidden=(16,)), MLPDecoder(SHAPE, LATENT, hidden=(16,))
    return VAE(*networks, likelihood=likelihood or GaussianLikelihood(0.4), objective=objective, **options).double()


def images(num=8):
    return torch.rand(num, *SHAPE, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


# All of them


@every_objective
def test_every_parameter_learns_and_the_loss_falls(name):
    vae, x = make_vae(OBJECTIVES[name](), GaussianLikelihood("learned")), images(16)
    before = vae.eval().loss(x, key=KEY)
    before.backward()
    assert before.shape == () and before.dtype == torch.float64
    assert all(p.grad is not None and p.grad.isfinite().all() and p.grad.any() for p in vae.parameters() if p.numel())
    optimizer = torch.optim.Adam(vae.train().parameters(), lr=1e-2)
    for step in range(40):
        optimizer.zero_grad()
        vae.loss(x, key=gk.random.key(step)).backward()
        optimizer.step()
    assert vae.eval().loss(x, key=KEY) < before


@every_objective
def test_the_other_methods_work_under_it(name):
    vae, x = make_vae(OBJECTIVES[name]()), images()
    terms = vae.elbo(x, key=KEY)
    assert torch.equal(terms.elbo, terms.reconstruction - terms.kl)
    assert vae.sample(4, key=KEY).shape == (4, *SHAPE)
    few, many = (vae.log_marginal(x, num, key=KEY).mean() for num in (1, 500))
    assert few < many
    assert torch.equal(vae.log_marginal(x, 7, key=KEY), vae.log_marginal(x, 7, chunk_size=7, key=KEY))


@every_objective
def test_copies_give_the_same_loss(name):
    vae, x = make_vae(OBJECTIVES[name]()), images()
    for _ in range(2):
        vae.loss(x)
    fresh = make_vae(OBJECTIVES[name]())
    with torch.no_grad():
        for parameter in fresh.parameters():
            parameter.zero_()
    fresh.load_state_dict(vae.state_dict())
    expected = vae.eval().loss(x, key=KEY)
    for other in (copy.deepcopy(vae), pickle.loads(pickle.dumps(vae)), fresh.eval()):
        assert torch.equal(other.loss(x, key=KEY), expected)


@every_objective
def test_compiled_loss_is_the_loss_without_a_graph_break(name):
    torch.compiler.reset()
    vae, x = make_vae(OBJECTIVES[name]()), images()
    eager = copy.deepcopy(vae)
    compiled = torch.compile(vae.loss, backend="aot_eager", fullgraph=True)
    loss, expected = compiled(x, key=KEY), eager.loss(x, key=KEY)
    torch.testing.assert_close(loss, expected)
    loss.backward()
    expected.backward()
    for mine, other in zip(vae.parameters(), eager.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, other.grad)


@every_objective
def test_losses_are_float32_under_autocast_and_draw_from_generators(name):
    vae, x = make_vae(OBJECTIVES[name]()).float(), images().float()
    generator = torch.Generator().manual_seed(3)
    with torch.autocast("cpu", torch.bfloat16):
        loss = vae.loss(x, generator=generator)
    assert loss.dtype == torch.float32
    assert not torch.equal(vae.loss(x, generator=generator), vae.loss(x, generator=generator))
    with pytest.raises(ValueError, match="key, generator"):
        vae.loss(x, key=KEY, generator=generator)


@every_objective
def test_convolutional_latents_and_scale_options_work(name):
    torch.manual_seed(0)
    networks = nn.Conv2d(1, 2 * 2, 1), nn.Conv2d(2, 1, 1)
    options = {"latent_shape": (2, *SHAPE[1:]), "scale_param": "softplus", "scale_offset": 0.1}
    vae = VAE(*networks, objective=OBJECTIVES[name](), **options).double()
    vae.loss(images()).backward()
    assert all(p.grad.isfinite().all() for p in vae.parameters())
    assert vae.sample(2).shape == (2, *SHAPE)


@every_objective
def test_encoder_input_is_what_the_encoder_sees_and_x_what_is_scored(name):
    seen, scored = [], []
    vae, x = make_vae(OBJECTIVES[name]()), images()
    log_prob = vae.likelihood.log_prob
    vae.encoder.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    vae.likelihood.log_prob = lambda x, params, **options: scored.append(x) or log_prob(x, params, **options)
    noisy = x + 0.1
    vae.loss(x, encoder_input=noisy, key=KEY)
    assert torch.equal(seen[0], noisy)
    assert torch.equal(scored[0][: len(x)], x)


# IWAE


@pytest.mark.parametrize("name", ["iwae", "dreg"])
def test_importance_weighted_loss_is_the_log_marginal(name):
    vae, x = make_vae(OBJECTIVES[name]()), images()
    torch.testing.assert_close(vae.loss(x, key=KEY), -vae.log_marginal(x, 6, key=KEY).mean())


def test_log_weights_are_the_formula():
    vae, x = make_vae(None), images()
    keys = gk.random.split(KEY, 3)
    loc, logvar = vae.encode(x)
    q = Normal(loc, (0.5 * logvar).exp())
    expected = []
    for key in keys:
        z = loc + q.scale * gk.random.normal(key, loc.shape, dtype=torch.float64)
        log_p = Normal(vae.decode(z), 0.4).log_prob(x).flatten(1).sum(1) + Normal(0.0, 1.0).log_prob(z).sum(1)
        expected.append(log_p - q.log_prob(z).sum(1))
    torch.testing.assert_close(vae.log_weights(x, keys), torch.stack(expected))


def test_one_draw_has_the_elbos_expectation():
    x = images(2)
    one, elbo = make_vae(IWAE(1)), make_vae(ELBO())
    draws = torch.stack([one.loss(x, key=key) - elbo.loss(x, key=key) for key in gk.random.split(KEY, 1000)]).detach()
    assert abs(draws.mean()) < 5 * draws.std() / math.sqrt(len(draws))


def test_doubly_reparameterised_gradient_of_a_model_is_right_in_expectation_and_less_noisy():
    x = images(2)

    def gradients(estimator):
        vae = make_vae(IWAE(8, estimator))
        rows = []
        for key in gk.random.split(KEY, 300):
            vae.zero_grad()
            vae.loss(x, key=key).backward()
            rows.append([module.layers[-1].bias.grad.clone() for module in (vae.encoder, vae.decoder)])
        return [torch.stack(column) for column in zip(*rows, strict=True)]

    (encoder, decoder), (plain_encoder, plain_decoder) = gradients("dreg"), gradients("iwae")
    assert torch.equal(decoder, plain_decoder)
    difference = encoder - plain_encoder
    assert (difference.mean(0).abs() < 5 * difference.std(0) / math.sqrt(len(difference))).all()
    assert (encoder.var(0) < 0.7 * plain_encoder.var(0)).all()


def test_optimal_sigma_is_fitted_in_training():
    vae, x = make_vae(IWAE(4), GaussianLikelihood("optimal")), images()
    vae.loss(x, key=KEY)
    assert vae.likelihood.batches.item() == 1
    before = vae.likelihood.running_variance.clone()
    vae.log_marginal(x, 4, key=KEY)
    assert torch.equal(vae.likelihood.running_variance, before)


# The aggregate posterior


@pytest.mark.parametrize("options", [{}, {"weighting": "mws"}, {"mss_weights": "legacy"}])
def test_parts_of_the_kl_weighted_equally_are_the_elbo_by_the_draw(options):
    vae, x = make_vae(BetaTCVAE(1.0, 1.0, 1.0, dataset_size=100, **options)), images()
    loc, logvar = vae.encode(x)
    z = gk.gaussian_rsample(loc, logvar, key=KEY)
    log_ratio = gk.gaussian_log_prob(z, loc, logvar) - gk.gaussian_log_prob(z, torch.zeros_like(z))
    expected = log_ratio.mean() - vae.elbo(x, key=KEY).reconstruction.mean()
    torch.testing.assert_close(vae.loss(x, key=KEY), expected)


def test_total_correlation_objective_is_the_weighted_sum():
    vae, x = make_vae(BetaTCVAE(0.5, 3.0, 2.0, dataset_size=100)), images()
    loc, logvar = vae.encode(x)
    z = gk.gaussian_rsample(loc, logvar, key=KEY)
    mi, tc, dwkl = (part.mean() for part in gk.total_correlation(z, loc, logvar, dataset_size=100))
    expected = 0.5 * mi + 3 * tc + 2 * dwkl - vae.elbo(x, key=KEY).reconstruction.mean()
    torch.testing.assert_close(vae.loss(x, key=KEY), expected)


def test_info_vae_is_the_weighted_sum():
    vae, x = make_vae(InfoVAE(energy_distance, alpha=0.25, lambda_=4.0)), images()
    terms = vae.elbo(x, key=KEY)
    z = gk.gaussian_rsample(*vae.encode(x), key=KEY)
    drawn = gk.random.normal(gk.random.fold_in(KEY, 0), z.shape, dtype=torch.float64)
    expected = -terms.reconstruction.mean() + 0.75 * terms.kl.mean() + 3.25 * energy_distance(z, drawn)
    torch.testing.assert_close(vae.loss(x, key=KEY), expected)


def test_info_vae_compares_by_inverse_multiquadrics_of_seven_sizes():
    vae, x = make_vae(InfoVAE(alpha=0.25, lambda_=4.0)), images()
    terms = vae.elbo(x, key=KEY)
    z = gk.gaussian_rsample(*vae.encode(x), key=KEY)
    drawn = gk.random.normal(gk.random.fold_in(KEY, 0), z.shape, dtype=torch.float64)
    scales = [2 * LATENT * factor for factor in (0.1, 0.2, 0.5, 1, 2, 5, 10)]
    divergence = gk.mmd(z, drawn, kernel="imq", scales=scales, estimator="u")
    expected = -terms.reconstruction.mean() + 0.75 * terms.kl.mean() + 3.25 * divergence
    torch.testing.assert_close(vae.loss(x, key=KEY), expected)
    vae.loss(x[:1], key=KEY).backward()
    assert all(p.grad.isfinite().all() for p in vae.encoder.parameters())


def test_info_vae_draws_the_average_posterior_to_the_prior():
    """Without a likelihood and a KL term, the default discrepancy alone moves q(z) onto p(z)."""
    torch.manual_seed(0)
    loc = torch.nn.Parameter(torch.randn(256, 2) * 0.3 + 2.0)
    optimizer = torch.optim.Adam([loc], lr=0.1)
    discrepancy = InfoVAE().mmd
    fresh = gk.random.normal(KEY, (2000, 2))
    before = discrepancy(loc.detach(), fresh)
    for step in range(200):
        value = discrepancy(loc, gk.random.normal(gk.random.fold_in(KEY, step), (256, 2)))
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
    assert discrepancy(loc.detach(), fresh) < 0.03 * before
    assert loc.mean(0).abs().max() < 0.4 < 0.7 < loc.std(0).min()


def test_info_vae_without_a_divergence_is_the_elbo():
    x = images()
    loss = make_vae(InfoVAE(energy_distance, alpha=0.0, lambda_=1.0)).loss(x, key=KEY)
    torch.testing.assert_close(loss, make_vae(None).loss(x, key=KEY))


# VampPrior


def as_mixture(prior):
    components = Independent(Normal(prior.loc.flatten(1), (0.5 * prior.scale).exp().flatten(1)), 1)
    return MixtureSameFamily(Categorical(logits=torch.zeros(len(prior.loc))), components)


def test_elbo_under_a_vamp_prior_is_the_formula_of_the_paper():
    vae, x = make_vae(VampPrior(images(5) + 0.5)), images()
    loc, logvar = vae.encode(x)
    z = gk.gaussian_rsample(loc, logvar, key=KEY)
    log_p = as_mixture(GaussianMixturePrior(*vae.encode(vae.objective.pseudo_inputs), {})).log_prob(z)
    terms = vae.elbo(x, key=KEY)
    torch.testing.assert_close(terms.kl, gk.gaussian_log_prob(z, loc, logvar) - log_p)
    torch.testing.assert_close(vae.loss(x, key=KEY), -terms.elbo.mean())
    (sample_key,) = gk.random.split(KEY, 1)
    z = gk.gaussian_rsample(loc, logvar, key=sample_key)
    log_p = as_mixture(vae.objective.prior(vae)).log_prob(z)
    expected = vae.likelihood.log_prob(x, vae.decode(z)) + log_p - gk.gaussian_log_prob(z, loc, logvar)
    torch.testing.assert_close(vae.log_marginal(x, 1, key=KEY), expected.detach())


def test_a_component_that_is_standard_normal_is_the_standard_prior():
    z = torch.randn(6, 4, dtype=torch.float64)
    one = GaussianMixturePrior(torch.zeros(1, 4), torch.zeros(1, 4), {})
    torch.testing.assert_close(one.log_prob(z), StandardNormalPrior().log_prob(z))


def test_with_the_data_as_pseudo_inputs_the_kl_is_mutual_information():
    """Which is at most the log of their number, in expectation over the data; the data here are far apart."""
    x = 40 * torch.eye(6, dtype=torch.float64).view(6, *SHAPE)
    vae = make_vae(VampPrior(x))
    kl = torch.stack([vae.elbo(x, key=key).kl.detach() for key in gk.random.split(KEY, 20)])
    assert kl.max() <= math.log(6) + 1e-12
    assert kl.mean() > 0.5 * math.log(6)


def test_samples_follow_the_mixture():
    loc = torch.tensor([[-5.0, 0.0], [0.0, 3.0], [4.0, 1.0]], dtype=torch.float64)
    prior = GaussianMixturePrior(loc, torch.full_like(loc, -1.0), {})
    num = 30_000
    z = prior.sample((num, 2), loc, key=KEY)
    expected = as_mixture(prior)
    assert ((z.mean(0) - expected.mean).abs() < 5 * (expected.variance / num).sqrt()).all()
    torch.testing.assert_close(z.var(0), expected.variance, rtol=0.03, atol=0.0)
    # Entropy by the draws and by the components, which hardly overlap: 5 standard errors of a log density are 0.03.
    entropy = math.log(3) + 1 + math.log(2 * math.pi) - 1
    assert -expected.log_prob(z).mean().item() == pytest.approx(entropy, abs=0.03)
    assert torch.equal(prior.sample((10, 2), loc, key=KEY, element_offset=2 * 20), z[20:30])
    cold = prior.sample((50, 2), loc, key=KEY, temperature=0.0)
    assert (torch.cdist(cold, loc).amin(1) == 0).all()


# Two processes


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    return found_by_ranks("objectives", batch_ranks.train_on_rank, batch_ranks.RANKS, tmp_path_factory)


@pytest.mark.parametrize("name", batch_ranks.objectives(True))
def test_two_ranks_train_as_one_process_with_the_whole_batch(ranks, name):
    vae = batch_ranks.build(batch_ranks.objectives(False)[name])
    whole = batch_ranks.step(vae, vae, batch_ranks.data())
    for found in ranks:
        assert found[name].keys() == whole.keys()
        for part, value in found[name].items():
            torch.testing.assert_close(value, whole[part], msg=part)


@pytest.mark.parametrize("name", ["tc-mss", "info"])
def test_the_global_batch_of_one_process_is_its_own(name):
    x = batch_ranks.data()
    losses = [batch_ranks.build(batch_ranks.objectives(g)[name]).loss(x, key=KEY) for g in (False, True)]
    assert torch.equal(*losses)


# Refusals


@pytest.mark.parametrize(
    ("make", "error", "match"),
    [
        (lambda: IWAE(0), ValueError, "^k: expected an int >= 1, got 0"),
        (lambda: IWAE(4, "elbo"), ValueError, "^estimator: expected one of"),
        (lambda: IWAE(4, "miwae", groups=3), ValueError, "^groups: expected a divisor of the 4 draws"),
        (lambda: IWAE(4, "ciwae"), ValueError, "^beta: expected a value"),
        (lambda: BetaTCVAE(beta=-1.0, dataset_size=5), ValueError, "^beta: expected a number >= 0"),
        (lambda: BetaTCVAE(dataset_size=0), ValueError, "^dataset_size: expected an int >= 1"),
        (lambda: BetaTCVAE(dataset_size=9, weighting="mean"), ValueError, "^weighting: expected one of"),
        (lambda: BetaTCVAE(dataset_size=9, mss_weights="new"), ValueError, "^mss_weights: expected one of"),
        (lambda: BetaTCVAE(dataset_size=9, joint="once"), TypeError, "joint"),
        (lambda: InfoVAE(3.0), TypeError, "^mmd: expected a callable or None, got float"),
        (lambda: InfoVAE(energy_distance, alpha=2.0), ValueError, "^alpha: expected a number <= 1, got 2.0"),
        (lambda: InfoVAE(energy_distance, lambda_=0.5), ValueError, "^lambda_: expected a number >= 1 - alpha = 1"),
        (lambda: VampPrior(3), ValueError, "^data_shape: expected the shape of one datum"),
        (lambda: VampPrior(0, (3,)), ValueError, "^components: expected an int >= 1"),
        (lambda: VampPrior(torch.ones(3)), ValueError, r"^components: expected shape \(C, ...\)"),
        (lambda: VampPrior(torch.ones(3, 2), (2,)), ValueError, "^data_shape: expected None"),
        (lambda: VampPrior(3, (2,), beta=-1.0), ValueError, "^beta: expected"),
    ],
)
def test_refusals_name_the_argument(make, error, match):
    with pytest.raises(error, match=match):
        make()
