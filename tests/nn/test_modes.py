"""What draws without a graph: in evaluation mode, with the modes and the statistics of every part left alone."""

import itertools

import pytest
import torch
from torch import nn

import genkern as gk
from genkern.nn import GAN, VAE, VAEGAN, ConvDiscriminator, MLPDecoder, VampPrior

KEY = gk.random.key(5)
SHAPE = (1, 8, 8)


def normalised(inputs, outputs):
    return nn.Sequential(nn.Linear(inputs, 16), nn.BatchNorm1d(16), nn.Dropout(0.5), nn.Linear(16, outputs))


class Generator(nn.Module):
    latent_shape = (3,)

    def __init__(self):
        super().__init__()
        self.body = normalised(3, 64)

    def forward(self, z):
        return self.body(z).unflatten(1, SHAPE)


class Encoder(nn.Module):
    latent_shape = (3,)

    def __init__(self):
        super().__init__()
        self.body = normalised(64, 6)

    def forward(self, x):
        return self.body(x.flatten(1))


def gan(**options):
    return GAN(Generator(), ConvDiscriminator(SHAPE, width=4), **options)


def vae_gan(**options):
    return VAEGAN(Encoder(), Generator(), ConvDiscriminator(SHAPE, width=4), **options)


def vae(**options):
    return VAE(Encoder(), Generator(), **options)


X = torch.rand(4, *SHAPE, generator=torch.Generator().manual_seed(0))
# By name: a model, and a draw of `num` data from it.
DRAWS = {
    "GAN.sample": (lambda: gan(ema_decay=None), lambda m, num: m.sample(num, key=KEY)),
    "GAN.sample of the average": (gan, lambda m, num: m.sample(num, key=KEY)),
    "GAN.sample beside the average": (gan, lambda m, num: m.sample(num, key=KEY, averaged=False)),
    "VAEGAN.sample": (lambda: vae_gan(ema_decay=None), lambda m, num: m.sample(num, key=KEY)),
    "VAEGAN.reconstruct": (lambda: vae_gan(ema_decay=None), lambda m, num: m.reconstruct(X[:num])),
    "VAEGAN.reconstruct by the average": (vae_gan, lambda m, num: m.reconstruct(X[:num])),
    "VAE.sample": (vae, lambda m, num: m.sample(num, key=KEY)),
    "VAE.sample with noise": (vae, lambda m, num: m.sample(num, key=KEY, observation_noise=True)),
    "VAE.sample of a learned prior": (lambda: vae(objective=VampPrior(X)), lambda m, num: m.sample(num, key=KEY)),
    "VAE.reconstruct": (vae, lambda m, num: m.reconstruct(X[:num])),
    "VAE.log_marginal": (vae, lambda m, num: m.log_marginal(X[:num], 3, key=KEY)),
}
every_draw = pytest.mark.parametrize(("build", "draw"), DRAWS.values(), ids=DRAWS)


def trained(build):
    """A model in training mode whose statistics are not those that it began with."""
    torch.manual_seed(0)
    model = build()
    for part in model.modules():
        if isinstance(part, nn.BatchNorm1d):
            part.running_mean.normal_()
            part.running_var.uniform_(0.5, 2)
    return model


@every_draw
def test_a_draw_leaves_every_state_alone(build, draw):
    model = trained(build)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    draw(model, 4)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@every_draw
def test_a_draw_leaves_every_mode_alone(build, draw):
    model = trained(build)
    parts = list(model.modules())
    for pattern in ("all train", "one evaluates", "all evaluate"):
        model.train(pattern != "all evaluate")
        if pattern == "one evaluates":
            next(part for part in parts if isinstance(part, nn.BatchNorm1d)).eval()
        modes = [part.training for part in parts]
        draw(model, 2)
        assert [part.training for part in parts] == modes


@every_draw
def test_a_draw_is_that_of_evaluation_mode_whatever_the_mode(build, draw):
    model = trained(build)
    found = draw(model, 4)
    torch.testing.assert_close(found, draw(model.eval(), 4), rtol=0, atol=0)


@every_draw
def test_one_datum_may_be_drawn_and_is_the_first_of_many(build, draw):
    model = trained(build)
    torch.testing.assert_close(draw(model, 1), draw(model, 4)[:1])


def test_modes_come_back_when_a_draw_fails():
    model = vae()
    with pytest.raises(RuntimeError):
        model.reconstruct(torch.zeros(2, 3))
    assert all(part.training for part in model.modules())


def test_what_has_a_gradient_has_the_mode_of_the_model():
    model = trained(vae)
    before = model.decoder.body[1].running_mean.clone()
    model.elbo(X, key=KEY)
    assert not torch.equal(model.decoder.body[1].running_mean, before)


@pytest.mark.parametrize(
    "reparameterised",
    [
        nn.utils.weight_norm,
        nn.utils.spectral_norm,
        nn.utils.parametrizations.weight_norm,
        nn.utils.parametrizations.spectral_norm,
        nn.utils.parametrizations.orthogonal,
    ],
)
@pytest.mark.filterwarnings("ignore:.*weight_norm.* is deprecated")
@pytest.mark.parametrize("called", [False, True])
def test_weights_of_every_parameterisation_have_an_average(reparameterised, called):
    generator = Generator()
    generator.body[3] = reparameterised(nn.Linear(16, 64))
    if called:
        generator(torch.zeros(2, 3))
    model = GAN(generator, ConvDiscriminator(SHAPE, width=4), ema_decay=0.5)
    assert torch.equal(model.sample(2, key=KEY), model.sample(2, key=KEY, averaged=False))
    optimizer = torch.optim.SGD(generator.parameters(), 0.1)
    for step in range(2):
        optimizer.zero_grad()
        model.generator_step(4, key=gk.random.fold_in(KEY, step)).backward()
        optimizer.step()
        model.update_average()
    assert not torch.equal(model.sample(2, key=KEY), model.sample(2, key=KEY, averaged=False))
    for kept, moved in itertools.pairwise(zip(model.average.parameters(), generator.parameters(), strict=True)):
        assert kept[0].data_ptr() != kept[1].data_ptr() and moved[0].data_ptr() != moved[1].data_ptr()


def test_a_generator_that_cannot_be_copied_is_refused_by_name():
    class Open(nn.Module):
        latent_shape = (3,)

        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(3))
            self.handle = (line for line in ())

    with pytest.raises(
        TypeError, match="^generator: expected a Module that copy.deepcopy copies.* ema_decay=None, got"
    ):
        GAN(Open(), ConvDiscriminator(SHAPE, width=4))
    assert GAN(Open(), ConvDiscriminator(SHAPE, width=4), ema_decay=None).average is None


def test_a_weight_that_is_not_a_number_is_so_in_the_average_and_no_other_is():
    model = GAN(MLPDecoder(SHAPE, 3, hidden=(8,)), ConvDiscriminator(SHAPE, width=4), ema_decay=0.5)
    with torch.no_grad():
        model.generator.layers[0].weight[0, 0] = float("nan")
    model.update_average()
    parts = [p.isnan().sum().item() for p in model.average.parameters()]
    assert parts[0] == 1 and not any(parts[1:])
