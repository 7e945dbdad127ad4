"""genkern.nn.GAN: steps that are the papers' formulas, and a training that is the same however it is run."""

import copy
import io
import itertools

import pytest
import torch
from support import gan_ranks
from support.once import found_by_ranks
from torch import nn
from torch.func import functional_call
from torch.nn.functional import softplus

import genkern as gk
from genkern.nn import (
    GAN,
    AdversarialSteps,
    ConvDiscriminator,
    ConvGenerator,
    MLPDecoder,
    average_gradients,
    lazy_adam,
)
from genkern.nn._modes import frozen

SHAPE = (2, 3)
LATENT = 3
ROWS = 6
KEY = gk.random.key(7)
LOSSES = {
    "minimax": (lambda r, f: softplus(-r).mean() + softplus(f).mean(), lambda r, f: -softplus(f).mean()),
    "non_saturating": (lambda r, f: softplus(-r).mean() + softplus(f).mean(), lambda r, f: softplus(-f).mean()),
    "hinge": (lambda r, f: (1 - r).relu().mean() + (1 + f).relu().mean(), lambda r, f: -f.mean()),
    "lsgan": (lambda r, f: ((r - 1) ** 2).mean() / 2 + (f**2).mean() / 2, lambda r, f: ((f - 1) ** 2).mean() / 2),
    "wgan": (lambda r, f: f.mean() - r.mean(), lambda r, f: -f.mean()),
    "relativistic": (lambda r, f: softplus(f - r).mean(), lambda r, f: softplus(r - f).mean()),
}
PENALTIES = {None: 0.0, "r1": 5.0, "r2": 5.0, "gp": 10.0, "dragan": 10.0}
TOLERANCE = {
    torch.float64: {"rtol": 1e-10, "atol": 1e-12},
    torch.float32: {"rtol": 1e-4, "atol": 1e-5},  # of sums of some tens of terms near 1, in another order
}
every_loss = pytest.mark.parametrize("loss", LOSSES)
every_penalty = pytest.mark.parametrize("penalty", PENALTIES)
every_dtype = pytest.mark.parametrize("dtype", TOLERANCE, ids=str)


def critic():
    return nn.Sequential(nn.Flatten(), nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 1))


def make(dtype=torch.float64, **options):
    torch.manual_seed(0)
    return GAN(MLPDecoder(SHAPE, LATENT, hidden=(8,)), critic(), **options).to(dtype)


def data(seed=1, dtype=torch.float64, rows=ROWS):
    return torch.rand(rows, *SHAPE, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def fakes(gan, dtype=torch.float64, rows=ROWS):
    return gan.generator(gk.random.normal(gk.random.split(KEY)[0], (rows, LATENT), dtype=dtype))


def plain_penalty(penalty, discriminator, real, fake):
    """By torch alone, of the noise that the key gives."""
    if penalty is None:
        return torch.zeros(())
    _, eps_key, noise_key, _ = gk.random.split(KEY, 4)
    eps = gk.random.uniform(eps_key, (ROWS, 1, 1), dtype=real.dtype)
    noise = gk.random.uniform(noise_key, real.shape, dtype=real.dtype)
    around = real + real.std() / 2 * noise
    points = {
        "r1": real,
        "r2": fake,
        "gp": eps * real + (1 - eps) * fake,
        "dragan": eps * real + (1 - eps) * around,
    }[penalty]
    points = points.detach().requires_grad_()
    (slope,) = torch.autograd.grad(discriminator(points).sum(), points, create_graph=True)
    norm = slope.flatten(1).norm(dim=1)
    return (norm**2 if penalty in ("r1", "r2") else (norm - 1) ** 2).mean()


def gradients(module):
    return [p.grad for p in module.parameters()]


def steps_of(gan, **options):
    adam = {"lr": 1e-2, "betas": (0.0, 0.99)}
    return AdversarialSteps(
        gan,
        torch.optim.Adam(gan.generator.parameters(), **adam),
        torch.optim.Adam(gan.discriminator.parameters(), **adam),
        **options,
    )


# The formulas


@every_dtype
@every_penalty
@every_loss
def test_a_discriminator_step_is_that_of_plain_torch(loss, penalty, dtype):
    gan, x = make(dtype, loss=loss, penalty=penalty), data(dtype=dtype)
    twin = copy.deepcopy(gan)
    terms = gan.discriminator_step(x, key=KEY)
    terms.loss.backward()
    fake = fakes(twin, dtype).detach()
    real_logits, fake_logits = twin.discriminator(x), twin.discriminator(fake)
    expected = PENALTIES[penalty] * plain_penalty(penalty, twin.discriminator, x, fake)
    (LOSSES[loss][0](real_logits, fake_logits) + expected).backward()
    close = TOLERANCE[dtype]
    torch.testing.assert_close(terms.penalty, expected.to(dtype).detach(), **close)
    torch.testing.assert_close(terms.loss - terms.penalty, LOSSES[loss][0](real_logits, fake_logits), **close)
    torch.testing.assert_close(terms.real_logits, real_logits.detach(), **close)
    torch.testing.assert_close(terms.fake_logits, fake_logits.detach(), **close)
    torch.testing.assert_close(gradients(gan.discriminator), gradients(twin.discriminator), **close)
    assert gradients(gan.generator) == [None] * 4
    assert not any(t.requires_grad for t in terms[1:])


@every_dtype
@every_loss
def test_a_generator_step_is_that_of_plain_torch(loss, dtype):
    gan, x = make(dtype, loss=loss), data(dtype=dtype)
    twin = copy.deepcopy(gan)
    value = gan.generator_step(x, key=KEY)
    value.backward()
    expected = LOSSES[loss][1](twin.discriminator(x), twin.discriminator(fakes(twin, dtype)))
    expected.backward()
    torch.testing.assert_close(value, expected, **TOLERANCE[dtype])
    torch.testing.assert_close(gradients(gan.generator), gradients(twin.generator), **TOLERANCE[dtype])
    assert gradients(gan.discriminator) == [None] * 4
    if loss != "relativistic":
        assert torch.equal(gan.generator_step(ROWS, key=KEY), value)


@pytest.mark.parametrize("penalty", ["r1", "gp"])
def test_a_step_under_autocast_is_that_of_plain_torch_under_autocast(penalty):
    gan, x = make(torch.float32, penalty=penalty), data(dtype=torch.float32)
    twin = copy.deepcopy(gan)
    with torch.autocast("cpu", torch.bfloat16):
        terms = gan.discriminator_step(x, key=KEY)
        assert gan.generator_step(x, key=KEY).dtype == torch.float32
        fake = fakes(twin, torch.float32).detach().to(torch.float32)
        logits = [twin.discriminator(v).float() for v in (x, fake)]
        loss = LOSSES["non_saturating"][0](*logits)
        expected = loss + PENALTIES[penalty] * plain_penalty(penalty, twin.discriminator, x, fake)
    assert terms.loss.dtype == terms.penalty.dtype == torch.float32
    assert terms.real_logits.dtype == torch.bfloat16
    torch.testing.assert_close(terms.loss, expected, rtol=1e-2, atol=1e-2)  # bfloat16 has 8 bits
    terms.loss.backward()
    expected.backward()
    torch.testing.assert_close(gradients(gan.discriminator), gradients(twin.discriminator), rtol=2e-2, atol=2e-2)


def test_options_reach_the_losses():
    x = data()
    for loss, options in (("lsgan", {"label_smoothing": 0.1}), ("hinge", {"hinge_scale": 0.5})):
        gan = make(loss=loss, **options)
        logits = {"real": gan.discriminator(x), "fake": gan.discriminator(fakes(gan))}
        expected = gk.gan_discriminator_loss(**logits, kind=loss, **options)
        torch.testing.assert_close(gan.discriminator_step(x, key=KEY).loss, expected)
    by_default, lighter = (
        make(penalty="r1", **options).discriminator_step(x, key=KEY).penalty
        for options in ({}, {"penalty_weight": 0.25})
    )
    torch.testing.assert_close(lighter, by_default / 20)  # the default weight is 5


@pytest.mark.parametrize("penalty", ["r1", "gp"])
def test_derivatives_of_a_penalty_of_minibatch_stddev_are_those_of_differences(penalty):
    torch.manual_seed(0)
    gan = GAN(ConvGenerator((1, 4, 4), 2, width=2), ConvDiscriminator((1, 4, 4), width=2), penalty=penalty).double()
    x = torch.rand(4, 1, 4, 4, dtype=torch.float64)
    parameters = dict(gan.named_parameters())
    names = [name for name in parameters if name.startswith("discriminator")]

    def loss(*values):
        options = {"step": "discriminator", "key": KEY}
        return functional_call(gan, {**parameters, **dict(zip(names, values, strict=True))}, (x,), options).loss

    assert torch.autograd.gradcheck(loss, [parameters[name] for name in names])
    assert torch.autograd.gradgradcheck(gan.discriminator, x.requires_grad_())


@pytest.mark.parametrize("penalty", ["r1", "r2", "gp", "dragan"])
def test_augmentation_is_seen_and_the_slope_is_by_data_before_it(penalty):
    gan, x = make(penalty=penalty), data()
    found = gan.discriminator_step(x, key=KEY, augment=lambda v: 2 * v.flip(2))
    twin = copy.deepcopy(gan)
    twin.discriminator = nn.Sequential(Doubled(), twin.discriminator)
    torch.testing.assert_close(found, twin.discriminator_step(x, key=KEY))
    torch.testing.assert_close(
        gan.generator_step(x, key=KEY, augment=lambda v: 2 * v.flip(2)), twin.generator_step(x, key=KEY)
    )


class Doubled(nn.Module):
    def forward(self, x):
        return 2 * x.flip(2)


# Training


def test_a_lazy_penalty_counts_as_much_as_one_of_every_step():
    every, lazy, x = make(penalty="r1"), make(penalty="r1", penalty_interval=3), data()
    expected = every.discriminator_step(x, key=KEY)
    terms = [lazy.discriminator_step(x, key=KEY) for _ in range(7)]
    assert [t.penalty.item() > 0 for t in terms] == [True, False, False, True, False, False, True]
    torch.testing.assert_close(torch.stack([t.loss for t in terms[:3]]).mean(), expected.loss)
    assert lazy.discriminator_step(x, key=KEY, penalized=True).penalty == terms[0].penalty
    assert lazy.discriminator_step(x, key=KEY).penalty == 0  # the eighth: what is said is not counted
    assert make().discriminator_step(x, key=KEY, penalized=True).penalty == 0


def test_the_generator_takes_every_nth_step():
    gan = make()
    step = steps_of(gan, n_critic=3)
    for i in range(1, 7):
        before = copy.deepcopy(gan.state_dict())
        terms = step(data(i))
        changed = {n.split(".")[0] for n, value in gan.state_dict().items() if not torch.equal(value, before[n])}
        assert changed - {"_extra_state"} == {"discriminator"} | ({"generator", "average"} if i % 3 == 0 else set())
        assert (terms.generator is None) == (i % 3 != 0)


def test_a_dirac_gan_converges_with_r1_and_circles_without():
    """Mescheder et al. 2018, lemmas 2.3 and 4.1: data at 0, a generator that is one number, a linear discriminator."""
    distances = {}
    for penalty in (None, "r1"):
        options = {"loss": "minimax", "penalty": penalty, "penalty_weight": penalty and 0.5, "ema_decay": None}
        gan = GAN(Dirac(), nn.Linear(1, 1, bias=False), **options)
        nn.init.constant_(gan.discriminator.weight, 1.0)
        rates = [torch.optim.SGD(part.parameters(), lr=0.2) for part in (gan.generator, gan.discriminator)]
        step = AdversarialSteps(gan, *rates)
        for _ in range(200):
            step(torch.zeros(1, 1))
        distances[penalty] = torch.hypot(gan.generator.place, gan.discriminator.weight).item()
    assert distances["r1"] < 1e-3 < 1 < distances[None]


class Dirac(nn.Module):
    latent_shape = (1,)

    def __init__(self):
        super().__init__()
        self.place = nn.Parameter(torch.ones(()))

    def forward(self, z):
        return self.place.expand_as(z)


def test_the_average_is_exponential_and_has_the_generators_buffers():
    torch.manual_seed(0)
    generator = nn.Sequential(nn.Linear(LATENT, 6), nn.BatchNorm1d(6), nn.Unflatten(1, SHAPE))
    gan = GAN(generator, critic(), latent_shape=(LATENT,), ema_decay=0.4)
    expected = [p.detach().clone() for p in generator.parameters()]
    step = steps_of(gan)
    for i, decay in enumerate([0.1, 2 / 11, 0.25, 4 / 13, 5 / 14, 0.4, 0.4]):
        step(data(i, torch.float32))
        expected = [decay * e + (1 - decay) * p.detach() for e, p in zip(expected, generator.parameters(), strict=True)]
    torch.testing.assert_close(list(gan.average.parameters()), expected, check_stride=False)
    assert all(torch.equal(a, b) for a, b in zip(gan.average.buffers(), generator.buffers(), strict=True))
    assert not any(p.requires_grad for p in gan.average.parameters())
    assert gan.train().average.training is False
    z = gk.random.normal(gk.random.split(KEY)[0], (4, LATENT))
    assert torch.equal(gan.sample(4, key=KEY), gan.average(z))
    assert torch.equal(gan.eval().sample(4, key=KEY, averaged=False), generator(z))
    assert make(ema_decay=None).average is None


def test_a_resumed_run_has_the_bits_of_one_that_was_not_stopped():
    def run(gan, step, begin, end):
        for i in range(begin, end):
            step(data(i), key=gk.random.fold_in(KEY, i))

    options = {"penalty": "r1", "penalty_interval": 4}
    whole = make(**options)
    run(whole, steps_of(whole, n_critic=2), 0, 9)
    first = make(**options)
    step = steps_of(first, n_critic=2)
    run(first, step, 0, 5)
    file = io.BytesIO()
    torch.save({"gan": first.state_dict(), "steps": step.state_dict()}, file)
    file.seek(0)
    stored = torch.load(file, weights_only=True)
    gan = GAN(MLPDecoder(SHAPE, LATENT, hidden=(8,)), critic(), **options).double()
    step = steps_of(gan, n_critic=2)
    gan.load_state_dict(stored["gan"])
    step.load_state_dict(stored["steps"])
    run(gan, step, 5, 9)
    assert gan.state_dict().keys() == whole.state_dict().keys()
    for name, value in whole.state_dict().items():
        assert torch.equal(gan.state_dict()[name], value), name


@every_penalty
def test_parts_of_a_batch_draw_what_the_whole_does(penalty):
    gan, x = make(penalty=penalty, loss="relativistic"), data()
    if penalty == "dragan":
        x = torch.cat([x[:3], x[:3]])  # each part with one spread, that of the whole but for n - 1
    whole = gan.discriminator_step(x, key=KEY)
    assert torch.equal(whole.loss, gan.discriminator_step(x, key=KEY).loss)
    assert not torch.equal(whole.loss, gan.discriminator_step(x, key=gk.random.key(8)).loss)
    parts = [gan.discriminator_step(x[i : i + 3], key=KEY, element_offset=i * LATENT) for i in (0, 3)]
    torch.testing.assert_close(torch.cat([p.fake_logits for p in parts]), whole.fake_logits)
    if penalty != "dragan":
        torch.testing.assert_close((parts[0].loss + parts[1].loss) / 2, whole.loss)
    losses = [gan.generator_step(x[i : i + 3], key=KEY, element_offset=i * LATENT) for i in (0, 3)]
    torch.testing.assert_close(sum(losses) / 2, gan.generator_step(x, key=KEY))
    samples = torch.cat([gan.sample(3, key=KEY, element_offset=i * LATENT) for i in (0, 3)])
    torch.testing.assert_close(samples, gan.sample(6, key=KEY))


def test_a_generator_or_torchs_seed_reproduces_a_step():
    gan, x = make(), data()
    seeds = []
    for _ in range(2):
        torch.manual_seed(5)
        seeds.append((gan.discriminator_step(x).loss, gan.sample(2), steps_of(copy.deepcopy(gan))(x).generator))
    for first, second in zip(*seeds, strict=True):
        assert torch.equal(first, second)
    drawn = [gan.sample(2, generator=torch.Generator().manual_seed(seed)) for seed in (3, 3, 4)]
    assert torch.equal(drawn[0], drawn[1]) and not torch.equal(drawn[0], drawn[2])
    torch.testing.assert_close(gan.sample(1, temperature=0.0), gan.generator(torch.zeros(1, LATENT).double()).detach())


@pytest.mark.parametrize("penalty", [None, "gp"])
def test_a_compiled_step_trains_as_an_uncompiled_one(penalty):
    torch._dynamo.reset()
    gan, x = make(penalty=penalty), data()
    twin = copy.deepcopy(gan)
    compiled = torch.compile(gan, backend="aot_eager", fullgraph=penalty is None)
    steps = [steps_of(compiled), steps_of(twin)]
    for i in range(3):
        found, expected = (step(x, key=gk.random.fold_in(KEY, i)) for step in steps)
        torch.testing.assert_close(found, expected)
    torch.testing.assert_close(gan.state_dict(), twin.state_dict())


# Several processes


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    return found_by_ranks("gan", gan_ranks.train_on_rank, gan_ranks.RANKS, tmp_path_factory)


@pytest.mark.parametrize(("name", "how"), list(itertools.product(gan_ranks.GANS, gan_ranks.HOWS)))
def test_two_processes_train_as_one_does(ranks, name, how):
    expected = gan_ranks.train(name)
    samples = torch.cat([found[name, how].pop("samples") for found in ranks])
    torch.testing.assert_close(samples, expected.pop("samples"), rtol=1e-9, atol=1e-9)
    for found in ranks:
        # float64; the optimiser divides by the size of gradients, whose sums differ in their last bits
        torch.testing.assert_close(found[name, how], expected, rtol=1e-9, atol=1e-9)


# Helpers, refusals


def test_frozen_parameters_come_back_whatever_happens():
    module = nn.Linear(2, 2)
    parameters = list(module.parameters())
    with pytest.raises(RuntimeError), frozen(module):
        assert not module.weight.requires_grad and torch.equal(module.weight, parameters[0])
        module(torch.zeros(3))
    assert all(a is b for a, b in zip(parameters, module.parameters(), strict=True))


def test_lazy_adam_has_k_plus_one_steps_go_as_far_as_k():
    options = lazy_adam(0.002, (0.0, 0.99), 16)
    assert options["lr"] * 17 == pytest.approx(0.002 * 16)
    assert options["betas"][0] == 0 and options["betas"][1] ** 17 == pytest.approx(0.99**16)


def test_averaging_the_gradients_of_one_process_changes_nothing():
    weight = torch.ones(2, requires_grad=True)
    weight.sum().backward()
    average_gradients([weight, torch.ones(3)])
    assert torch.equal(weight.grad, torch.ones(2))


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (lambda: make(loss="vanilla"), ValueError, "^loss: expected one of 'minimax'"),
        (lambda: make(penalty="r3"), ValueError, "^penalty: expected one of 'r1'"),
        (lambda: make(penalty_weight=-1.0), ValueError, "^penalty_weight: expected a number >= 0"),
        (lambda: make(penalty_interval=0), ValueError, "^penalty_interval: expected an int >= 1"),
        (lambda: make(loss="wgan", label_smoothing=0.1), ValueError, "^label_smoothing: expected 0 for kind 'wgan'"),
        (lambda: make(hinge_scale=2.0), ValueError, "^hinge_scale: expected 1 for kind"),
        (lambda: make(ema_decay=1.5), ValueError, "^ema_decay: expected a number from 0 to 1"),
        (lambda: GAN(nn.Identity(), critic()), ValueError, "^latent_shape: expected the shape of one latent"),
        (lambda: GAN("g", critic()), TypeError, "^generator: expected a Module, got str"),
        (lambda: GAN(nn.Identity(), None), TypeError, "^discriminator: expected a Module, got None"),
        (lambda: make()(data(), step="both"), ValueError, "^step: expected one of 'discriminator', 'generator'"),
        (lambda: make().discriminator_step([1.0]), TypeError, "^real: expected a Tensor, got list"),
        (lambda: make().discriminator_step(data(), augment=3), TypeError, "^augment: expected a function"),
        (lambda: make().generator_step(0), ValueError, "^real: expected an int >= 1, got 0"),
        (lambda: make(loss="relativistic").generator_step(3), ValueError, "^real: expected a Tensor for loss"),
        (lambda: make().sample(-1), ValueError, "^num: expected an int >= 0"),
        (
            lambda: make().sample(1, key=KEY, generator=torch.Generator()),
            ValueError,
            "^key, generator: expected at most one",
        ),
        (lambda: AdversarialSteps(critic(), None, None), TypeError, "^gan: expected a GAN, got Sequential"),
        (lambda: AdversarialSteps(make(), None, None), TypeError, "^generator_optimizer: expected an Optimizer"),
        (lambda: steps_of(make(), n_critic=0), ValueError, "^n_critic: expected an int >= 1"),
        (lambda: steps_of(make(), reduce_gradients=1), TypeError, "^reduce_gradients: expected a function"),
        (lambda: steps_of(make()).load_state_dict({"steps": 1}), ValueError, "^state_dict: expected steps, gen"),
        (lambda: average_gradients(torch.ones(2)), TypeError, "^params: expected a list of Tensors"),
        (lambda: lazy_adam(1e-3, (0.0,), 4), ValueError, "^betas: expected two numbers, got 1"),
    ],
)
def test_refusals_name_the_argument(call, error, match):
    with pytest.raises(error, match=match):
        call()
