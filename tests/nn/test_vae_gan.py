"""genkern.nn.VAEGAN: the three losses of Larsen et al. 2016, and the parameters that each reaches."""

import copy
import math

import pytest
import torch
from support.gan_ranks import DIMS, KEY, LATENT, Critic
from torch.distributions import Normal, kl_divergence
from torch.nn.functional import softplus

import genkern as gk
from genkern.nn import VAEGAN, AdversarialSteps, MLPDecoder, MLPEncoder

GAMMA, SIGMA = 0.3, 0.5
ROWS = 6


def make(**options):
    torch.manual_seed(0)
    networks = MLPEncoder((DIMS,), LATENT, hidden=(8,)), MLPDecoder((DIMS,), LATENT, hidden=(8,)), Critic()
    return VAEGAN(*networks, **{"gamma": GAMMA, "sigma": SIGMA, **options}).double()


def data(seed=1):
    return torch.rand(ROWS, DIMS, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def of_the_paper(model, x, loss):
    """Each step's loss by plain torch, which reaches whatever it reaches."""
    loc, logvar = model.encoder(x).chunk(2, 1)
    q = Normal(loc, (0.5 * logvar).exp())
    prior_key, _, _, posterior_key = gk.random.split(KEY, 4)
    z = loc + q.scale * gk.random.normal(posterior_key, loc.shape, dtype=x.dtype)
    reconstruction = model.generator(z)
    made = model.generator(gk.random.normal(prior_key, loc.shape, dtype=x.dtype))
    seen, found = model.discriminator.features(x), model.discriminator.features(reconstruction)
    nll = (0.5 * ((seen - found) / SIGMA).square() + math.log(SIGMA)).sum(1).mean()
    real, *fakes = (model.discriminator(v) for v in (x, reconstruction, made))
    if loss == "relativistic":
        discriminator = sum(softplus(f - real).mean() for f in fakes)
        deceived = sum(softplus(real - f).mean() for f in fakes)
    else:
        discriminator = softplus(-real).mean() + sum(softplus(f).mean() for f in fakes)
        deceived = sum(softplus(-f).mean() for f in fakes)
    return {
        "encoder": kl_divergence(q, Normal(0.0, 1.0)).sum(1).mean() + nll,
        "decoder": GAMMA * nll + deceived,
        "discriminator": discriminator,
    }


REACHED = {"encoder": "encoder", "decoder": "generator", "discriminator": "discriminator"}


def value_of(result):
    return result if isinstance(result, torch.Tensor) else result.loss


@pytest.mark.parametrize("loss", ["non_saturating", "relativistic"])
@pytest.mark.parametrize("step", REACHED)
def test_a_step_is_the_papers_and_reaches_its_own_parameters(step, loss):
    model, x = make(loss=loss), data()
    found = value_of(model(x, step=step, key=KEY))
    expected = of_the_paper(model, x, loss)[step]
    torch.testing.assert_close(found, expected)
    part = getattr(model, REACHED[step])
    torch.testing.assert_close(
        *(torch.autograd.grad(v, list(part.parameters()), retain_graph=True) for v in (found, expected))
    )
    found.backward()
    reached = {name.split(".")[0] for name, p in model.named_parameters() if p.grad is not None}
    assert reached == {REACHED[step]}


def test_the_generators_step_is_that_of_encoder_and_decoder():
    model, x = make(), data()
    together, apart = model.generator_step(x, key=KEY), model.encoder_step(x, key=KEY) + model.decoder_step(x, key=KEY)
    torch.testing.assert_close(together, apart)
    made = [*model.encoder.parameters(), *model.generator.parameters()]
    torch.testing.assert_close(*(torch.autograd.grad(v, made) for v in (together, apart)))
    assert all(p.grad is None for p in model.discriminator.parameters())


@pytest.mark.parametrize("penalty", ["r1", "r2", "gp", "dragan"])
def test_penalties_are_of_data_made_of_the_prior(penalty):
    model, x = make(penalty=penalty), data()
    prior_key, eps_key, noise_key, _ = gk.random.split(KEY, 4)
    made = model.generator(gk.random.normal(prior_key, (ROWS, LATENT), dtype=x.dtype)).detach()
    eps = gk.random.uniform(eps_key, (ROWS, 1), dtype=x.dtype)
    around = x + x.std() / 2 * gk.random.uniform(noise_key, x.shape, dtype=x.dtype)
    points = {"r1": x, "r2": made, "gp": eps * x + (1 - eps) * made, "dragan": eps * x + (1 - eps) * around}[penalty]
    points.requires_grad_()
    (slope,) = torch.autograd.grad(model.discriminator(points).sum(), points)
    norm = slope.norm(dim=1)
    expected = 5 * (norm**2).mean() if penalty in ("r1", "r2") else 10 * ((norm - 1) ** 2).mean()
    torch.testing.assert_close(model.discriminator_step(x, key=KEY).penalty, expected)


def test_augmentation_is_of_what_is_classified_not_of_what_is_compared():
    model, x = make(), data()
    twin = copy.deepcopy(model)
    twin.discriminator.forward = None  # which no step takes
    plain = model.encoder_step(x, key=KEY)
    assert torch.equal(twin.encoder_step(x, key=KEY), plain)
    for step in ("decoder", "discriminator"):
        plain, augmented = (value_of(twin(x, step=step, key=KEY, augment=a)) for a in (None, torch.neg))
        assert not torch.equal(plain, augmented)
    twin.discriminator.features[0].weight.data.neg_()
    model.gamma = twin.gamma = 0.0
    torch.testing.assert_close(twin.decoder_step(x, key=KEY, augment=torch.neg), model.decoder_step(x, key=KEY))


def test_parts_of_a_batch_draw_what_the_whole_does():
    model, x = make(), data()
    for step in (*REACHED, "generator"):
        parts = [value_of(model(x[i : i + 3], step=step, key=KEY, element_offset=i * LATENT)) for i in (0, 3)]
        torch.testing.assert_close(sum(parts) / 2, value_of(model(x, step=step, key=KEY)))


def test_training_brings_reconstructions_near_and_goes_on_from_a_stored_state():
    def run(model, steps, begin, end):
        for i in range(begin, end):
            steps(data(i % 4), key=gk.random.fold_in(KEY, i))

    def steps_of(model):
        made = [*model.encoder.parameters(), *model.generator.parameters()]
        return AdversarialSteps(
            model, torch.optim.Adam(made, lr=1e-2), torch.optim.Adam(model.discriminator.parameters(), lr=1e-3)
        )

    model = make(penalty="r1", gamma=5.0)
    x = torch.cat([data(i) for i in range(4)])
    before = (model.reconstruct(x, averaged=False) - x).square().mean()
    steps = steps_of(model)
    run(model, steps, 0, 60)
    other = make(penalty="r1", gamma=5.0)
    others = steps_of(other)
    other.load_state_dict(model.state_dict())
    others.load_state_dict(copy.deepcopy(steps.state_dict()))
    for one, its in ((model, steps), (other, others)):
        run(one, its, 60, 70)
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), other.state_dict().values(), strict=True))
    assert (model.reconstruct(x, averaged=False) - x).square().mean() < 0.5 * before
    assert torch.equal(model.reconstruct(x), model.average(model.encoder(x).chunk(2, 1)[0]))


def test_losses_are_float32_under_autocast():
    model, x = make().float(), data().float()
    with torch.autocast("cpu", torch.bfloat16):
        for step in (*REACHED, "generator"):
            value = value_of(model(x, step=step, key=KEY))
            assert value.dtype == torch.float32
            value.backward()
    assert all(p.grad.isfinite().all() for n, p in model.named_parameters() if not n.startswith("average"))


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (lambda: make(gamma=-1.0), ValueError, "^gamma: expected a number >= 0"),
        (lambda: make(sigma=0.0), ValueError, "^sigma: expected a positive number, got 0.0"),
        (lambda: VAEGAN(None, MLPDecoder((2,), 2), Critic()), TypeError, "^encoder: expected a Module, got None"),
        (
            lambda: VAEGAN(Critic(), MLPDecoder((2,), 2), MLPDecoder((2,), 2)),
            TypeError,
            "^discriminator: expected a Module with features and classify, got no features",
        ),
        (lambda: make().generator_step(3), TypeError, "^real: expected a Tensor, got int"),
        (lambda: make()(data(), step="likelihood"), ValueError, "^step: expected one of 'discriminator', 'generator'"),
    ],
)
def test_refusals_name_the_argument(call, error, match):
    with pytest.raises(error, match=match):
        call()
