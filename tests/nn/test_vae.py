"""genkern.nn.VAE: the bound, its draws, its parts, and the ways a module is stored and split."""

import copy
import math
import pickle

import pytest
import torch
from torch import nn
from torch.distributions import Normal, kl_divergence

import genkern as gk
from genkern.nn import (
    ELBO,
    VAE,
    BernoulliLikelihood,
    ConvDecoder,
    ConvEncoder,
    DiscretizedGaussianLikelihood,
    GaussianLikelihood,
    LaplaceLikelihood,
    MLPDecoder,
    MLPEncoder,
)

SHAPE = (1, 6, 5)
LATENT = 3
LIKELIHOODS = {
    "fixed": lambda: GaussianLikelihood(0.4),
    "learned": lambda: GaussianLikelihood("learned"),
    "per_channel": lambda: GaussianLikelihood("learned", channels=1),
    "decoder": lambda: GaussianLikelihood("decoder"),
    "optimal": lambda: GaussianLikelihood("optimal"),
    "bernoulli": BernoulliLikelihood,
    "laplace": LaplaceLikelihood,
    "discretized_gaussian": DiscretizedGaussianLikelihood,
}


def make_vae(likelihood="fixed", **options):
    torch.manual_seed(0)
    outputs = (2, *SHAPE[1:]) if likelihood == "decoder" else SHAPE
    return VAE(
        MLPEncoder(SHAPE, LATENT, hidden=(16,)),
        MLPDecoder(outputs, LATENT, hidden=(16,)),
        likelihood=LIKELIHOODS[likelihood](),
        **options,
    )


def images(num=4, dtype=torch.float32):
    return torch.rand(num, *SHAPE, generator=torch.Generator().manual_seed(1), dtype=dtype)


def test_elbo_is_the_formula_of_the_paper():
    vae, x, key = make_vae(), images(), gk.random.key(7)
    loc, logvar = vae.encode(x)
    q = Normal(loc, (0.5 * logvar).exp())
    z = loc + q.scale * gk.random.normal(key, loc.shape)
    reconstruction = Normal(vae.decode(z), 0.4).log_prob(x).flatten(1).sum(1)
    kl = kl_divergence(q, Normal(0.0, 1.0)).sum(1)
    terms = vae.elbo(x, key=key)
    torch.testing.assert_close(terms.reconstruction, reconstruction)
    torch.testing.assert_close(terms.kl, kl)
    torch.testing.assert_close(terms.elbo, reconstruction - kl)


@pytest.mark.parametrize("likelihood", sorted(LIKELIHOODS))
def test_loss_is_the_mean_negative_elbo_and_every_parameter_learns(likelihood):
    vae, x, key = make_vae(likelihood), images(), gk.random.key(7)
    loss = vae.loss(x, key=key)
    torch.testing.assert_close(loss, -vae.elbo(x, key=key).elbo.mean())
    loss.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() and p.grad.any() for p in vae.parameters())


@pytest.mark.parametrize("likelihood", sorted(LIKELIHOODS))
def test_gradient_steps_raise_the_elbo(likelihood):
    vae, x = make_vae(likelihood), images(32)
    optimizer = torch.optim.Adam(vae.parameters(), lr=1e-2)
    losses = []
    for step in range(60):
        optimizer.zero_grad()
        losses.append(vae.loss(x, key=gk.random.key(step)))
        losses[-1].backward()
        optimizer.step()
    assert losses[-1] < losses[0]


def test_calling_the_module_is_its_loss():
    vae, x, key = make_vae(), images(), gk.random.key(7)
    assert vae(x, key=key) == vae.loss(x, key=key)


def test_scale_options_reach_every_use_of_the_moments():
    torch.manual_seed(0)
    vae = VAE(MLPEncoder(SHAPE, 2), MLPDecoder(SHAPE, 2), scale_param="softplus", scale_offset=0.2)
    x, key = images(), gk.random.key(0)
    loc, raw = vae.encode(x)
    q = Normal(loc, nn.functional.softplus(raw) + 0.2)
    torch.testing.assert_close(vae.elbo(x, key=key).kl, kl_divergence(q, Normal(0.0, 1.0)).sum(1))
    # One importance sample is one draw of the bound with log q in place of its mean.
    (sample_key,) = gk.random.split(key, 1)
    z = loc + q.scale * gk.random.normal(sample_key, loc.shape)
    expected = vae.likelihood.log_prob(x, vae.decode(z)) + (Normal(0.0, 1.0).log_prob(z) - q.log_prob(z)).sum(1)
    torch.testing.assert_close(vae.log_marginal(x, 1, key=key), expected.detach())


def test_counts_may_be_integers():
    vae = VAE(MLPEncoder((5,), 2, hidden=(8,)), MLPDecoder((5,), 2, hidden=(8,)), likelihood="poisson")
    x, key = torch.randint(5, (8, 5)), gk.random.key(0)
    given = {"encoder_input": x.float().log1p()}
    assert vae.loss(x, key=key, **given) == vae.loss(x.float(), key=key, **given)
    keys = gk.random.split(key, 3)
    assert torch.equal(vae.log_weights(x, keys, **given), vae.log_weights(x.float(), keys, **given))
    with pytest.raises(TypeError, match="^x: expected a floating dtype"):
        vae.loss(x, key=key)


def test_encoder_input_is_what_the_encoder_sees_and_x_what_is_scored():
    vae, x, key = make_vae(), images(), gk.random.key(7)
    noisy = x + 0.1
    terms = vae.elbo(x, encoder_input=noisy, key=key)
    assert torch.equal(terms.kl, vae.elbo(noisy, key=key).kl)
    z = gk.gaussian_rsample(*vae.encode(noisy), key=key)
    torch.testing.assert_close(terms.reconstruction, vae.likelihood.log_prob(x, vae.decode(z)))


# Draws


@pytest.mark.parametrize("likelihood", ["fixed", "decoder", "bernoulli"])
def test_draws_are_pure_functions_of_the_key(likelihood):
    vae, x, key = make_vae(likelihood), images(), gk.random.key(3)
    other = gk.random.key(4)
    for draw in (
        lambda k: vae.elbo(x, key=k).elbo,
        lambda k: vae.loss(x, key=k),
        lambda k: vae.sample(5, key=k),
        lambda k: vae.sample(5, key=k, observation_noise=True),
        lambda k: vae.log_marginal(x, 4, key=k),
    ):
        assert torch.equal(draw(key), draw(key))
        assert not torch.equal(draw(key), draw(other))


def test_draws_follow_the_generator():
    vae, x = make_vae(), images()
    for draw in (
        lambda g: vae.elbo(x, generator=g).elbo,
        lambda g: vae.sample(5, generator=g),
        lambda g: vae.log_marginal(x, 4, generator=g),
    ):
        generator = torch.Generator().manual_seed(0)
        first, second = draw(generator), draw(generator)
        assert not torch.equal(first, second)
        assert torch.equal(first, draw(generator.manual_seed(0)))


def test_manual_seed_reproduces_draws_without_a_key():
    vae, x = make_vae(), images()
    torch.manual_seed(5)
    first = vae.loss(x)
    torch.manual_seed(5)
    assert torch.equal(first, vae.loss(x))


@pytest.mark.parametrize("likelihood", ["fixed", "bernoulli"])
def test_a_rank_draws_its_part_of_the_global_batch(likelihood):
    # float64: a matrix product over fewer rows may round differently in its last bits.
    vae, x, key = make_vae(likelihood).double(), images(6, torch.float64), gk.random.key(3)
    rank = {"key": key, "element_offset": 4 * LATENT}
    for whole, part in (
        (vae.elbo(x, key=key).elbo, vae.elbo(x[4:], **rank).elbo),
        (vae.log_marginal(x, 5, key=key), vae.log_marginal(x[4:], 5, **rank)),
        (vae.sample(6, key=key), vae.sample(2, **rank)),
        (vae.sample(6, key=key, observation_noise=True), vae.sample(2, **rank, observation_noise=True)),
    ):
        torch.testing.assert_close(whole[4:], part)


def test_temperature_scales_the_latent():
    vae, key = make_vae(), gk.random.key(3)
    cold = vae.sample(3, key=key, temperature=0.0)
    torch.testing.assert_close(cold, vae.decode(torch.zeros(3, LATENT)).detach())
    assert vae.sample(200, key=key, temperature=0.5).std(0).sum() < vae.sample(200, key=key).std(0).sum()


def test_samples_of_a_bernoulli_model_are_probabilities_and_its_draws_bits():
    vae, key = make_vae("bernoulli"), gk.random.key(3)
    probabilities, bits = vae.sample(50, key=key), vae.sample(50, key=key, observation_noise=True)
    assert ((probabilities > 0) & (probabilities < 1)).all()
    assert set(bits.unique().tolist()) == {0.0, 1.0}


def test_reconstruction_is_the_decoders_mean_at_the_posteriors():
    vae, x = make_vae("decoder"), images()
    mean, _ = vae.decode(vae.encode(x)[0]).chunk(2, 1)
    assert torch.equal(vae.reconstruct(x), mean)


def test_evaluation_keeps_no_graph():
    vae, x = make_vae(), images()
    assert not any(t.requires_grad for t in (vae.sample(2), vae.reconstruct(x), vae.log_marginal(x, 2)))


# Importance-weighted bound


def test_importance_weighted_bounds_are_ordered_and_close_in_on_the_integral():
    torch.manual_seed(0)
    vae = VAE(MLPEncoder((4,), 1, hidden=(8,)), MLPDecoder((4,), 1, hidden=(8,)), likelihood=GaussianLikelihood(0.5))
    vae, x = vae.double(), torch.rand(3, 4, dtype=torch.float64)
    # log p(x) by quadrature over the single latent; the integrand is smooth, so 4001 nodes are exact to 1e-9.
    z = torch.linspace(-10, 10, 4001, dtype=torch.float64)
    with torch.no_grad():
        log_joint = vae.likelihood.log_prob(x.repeat_interleave(len(z), 0), vae.decode(z.repeat(3)[:, None])).view(
            3, -1
        )
    log_joint += Normal(0.0, 1.0).log_prob(z)
    exact = log_joint.logsumexp(1) + math.log(20 / 4000)
    means, errors = {}, {}
    for num in (1, 5, 50):
        draws = torch.stack([vae.log_marginal(x, num, key=gk.random.key(run)) for run in range(400)])
        means[num], errors[num] = draws.mean(0), draws.std(0) / math.sqrt(len(draws))
    for fewer, more in ((1, 5), (5, 50)):
        assert (means[fewer] < means[more]).all()
    assert (means[50] < exact + 5 * errors[50]).all()
    many = vae.log_marginal(x, 20000, chunk_size=2000, key=gk.random.key(0))
    assert ((many - exact).abs() < 0.1 * (exact - means[1])).all()


@pytest.mark.parametrize("likelihood", ["fixed", "optimal", "bernoulli"])
@pytest.mark.parametrize("chunk_size", [1, 3, 7, 100])
def test_log_marginal_does_not_depend_on_the_chunk(likelihood, chunk_size):
    vae, x, key = make_vae(likelihood).double(), images(dtype=torch.float64), gk.random.key(3)
    vae.loss(x)
    expected = vae.log_marginal(x, 7, chunk_size=7, key=key)
    torch.testing.assert_close(vae.log_marginal(x, 7, chunk_size=chunk_size, key=key), expected)


def test_log_marginal_holds_one_chunk_at_a_time():
    rows = []

    class Watched(MLPDecoder):
        def forward(self, z):
            rows.append(len(z))
            return super().forward(z)

    vae = VAE(MLPEncoder(SHAPE, LATENT), Watched(SHAPE, LATENT))
    vae.log_marginal(images(4), 10, chunk_size=3)
    assert rows == [12, 12, 12, 4]


# The module as a thing that is stored, copied, compiled


@pytest.mark.parametrize("likelihood", sorted(LIKELIHOODS))
def test_copies_give_the_same_numbers(likelihood):
    vae, x, key = make_vae(likelihood, objective=ELBO(warmup=10)), images(), gk.random.key(3)
    for _ in range(3):
        vae.loss(x)
    fresh = make_vae(likelihood, objective=ELBO(warmup=10))
    with torch.no_grad():
        for parameter in fresh.parameters():
            parameter.zero_()
    fresh.load_state_dict(vae.state_dict())
    copies = [copy.deepcopy(vae), pickle.loads(pickle.dumps(vae)), fresh]
    expected = vae.loss(x, key=key)
    assert all(torch.equal(other.loss(x, key=key), expected) for other in copies)


def test_losses_are_float32_under_autocast():
    vae, x, key = make_vae(), images(), gk.random.key(3)
    with torch.autocast("cpu", torch.bfloat16):
        terms, loss = vae.elbo(x, key=key), vae.loss(x, key=key)
    assert {t.dtype for t in (*terms, loss)} == {torch.float32}
    # bfloat16 has 8 significant bits; the matrix products inside are what loses them.
    torch.testing.assert_close(terms.elbo, vae.elbo(x, key=key).elbo, rtol=0.05, atol=0.0)
    loss.backward()
    assert all(p.grad.dtype == torch.float32 for p in vae.parameters())


def test_a_double_model_computes_in_float64():
    vae, x = make_vae("learned").double(), images(dtype=torch.float64)
    assert vae.loss(x).dtype == vae.log_marginal(x, 3).dtype == vae.sample(2).dtype == torch.float64


def test_empty_batches_give_empty_results():
    vae, x = make_vae(), images(0)
    assert vae.elbo(x).elbo.shape == (0,)
    assert vae.sample(0).shape == (0, *SHAPE)
    assert vae.log_marginal(x, 3).shape == (0,)


def test_convolutional_latents_work():
    encoder = nn.Conv2d(1, 2 * 3, 3, padding=1)
    decoder = nn.Conv2d(3, 1, 3, padding=1)
    vae, x = VAE(encoder, decoder, latent_shape=(3, *SHAPE[1:])), images()
    assert vae.elbo(x).kl.shape == (4,)
    assert vae.log_marginal(x, 3).shape == (4,)
    assert vae.sample(2).shape == (2, *SHAPE)


def test_the_shipped_convolutional_pair_trains():
    torch.manual_seed(0)
    vae = VAE(ConvEncoder((3, 9, 7), 2, width=4), ConvDecoder((3, 9, 7), 2, width=4), likelihood="bernoulli")
    vae.loss(torch.rand(2, 3, 9, 7)).backward()
    assert all(p.grad is not None for p in vae.parameters())


@pytest.mark.parametrize("likelihood", sorted(LIKELIHOODS))
def test_compiled_loss_is_the_loss_without_a_graph_break(likelihood):
    torch.compiler.reset()
    vae, x, key = make_vae(likelihood, objective=ELBO(warmup=10)), images(), gk.random.key(3)
    eager = copy.deepcopy(vae)
    compiled = torch.compile(vae.loss, backend="aot_eager", fullgraph=True)
    for _ in range(3):
        torch.testing.assert_close(compiled(x, key=key), eager.loss(x, key=key))
    compiled(x, key=key).backward()
    assert all(p.grad is not None for p in vae.parameters())
    assert vae.objective.step.item() == 4


# Refusals


def test_refusals_name_the_argument():
    x = images()
    with pytest.raises(ValueError, match="^encoder: expected packed moments with an even size"):
        VAE(nn.Sequential(nn.Flatten(), nn.Linear(30, 5)), MLPDecoder(SHAPE, 2)).elbo(x)
    with pytest.raises(ValueError, match="^latent_shape: expected"):
        VAE(nn.Sequential(nn.Flatten(), nn.Linear(30, 4)), MLPDecoder(SHAPE, 2)).sample(1)
    with pytest.raises(ValueError, match="^key, generator: expected at most one"):
        make_vae().sample(1, key=gk.random.key(0), generator=torch.Generator())
    with pytest.raises(ValueError, match="^num: expected"):
        make_vae().sample(-1)
    with pytest.raises(ValueError, match="^num_samples: expected"):
        make_vae().log_marginal(x, 0)
    with pytest.raises(ValueError, match="^chunk_size: expected"):
        make_vae().log_marginal(x, 3, chunk_size=0)
    with pytest.raises(ValueError, match="^likelihood: expected one of"):
        VAE(MLPEncoder(SHAPE, 2), MLPDecoder(SHAPE, 2), likelihood="gauss")
