"""Models with conditions: who is given them, what they are worth, and what does not fit."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Normal
from torch.nn import functional as F

import genkern as gk
from genkern.nn import (
    GAN,
    IWAE,
    VAE,
    VAEGAN,
    AdversarialSteps,
    BetaTCVAE,
    ClassPrior,
    ConditionalBatchNorm2d,
    ConvDecoder,
    ConvDiscriminator,
    ConvEncoder,
    ConvGenerator,
    GaussianLikelihood,
    InfoVAE,
    MLPDecoder,
    MLPEncoder,
    VampPrior,
)

KEY = gk.random.key(3, 1)
IMAGE = (1, 8, 8)
LABELS = torch.tensor([2, 0, 2, 1])


class Pair(NamedTuple):
    labels: Tensor
    images: Tensor


class Listening(nn.Module):
    """A linear map that keeps what it was told."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, outputs)
        self.told: list[Any] = []

    def forward(self, x: Tensor, condition: Any) -> Tensor:
        self.told.append(condition)
        return self.linear(x)


class Wrapper(nn.Module):
    """As DistributedDataParallel calls what it wraps."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, *values: Any, **options: Any) -> Any:
        return self.module(*values, **options)


TREES: dict[str, Callable[[], Any]] = {
    "labels": lambda: LABELS,
    "vectors": lambda: torch.rand(4, 3),
    "images": lambda: torch.rand(4, 1, 5, 5),
    "tuple": lambda: (LABELS, torch.rand(4, 3)),
    "list": lambda: [torch.rand(4, 3)],
    "mapping": lambda: {"class": LABELS, "more": [torch.rand(4, 2)]},
    "named": lambda: Pair(LABELS, torch.rand(4, 1, 5, 5)),
}


@pytest.mark.parametrize("tree", TREES.values(), ids=TREES)
def test_a_tree_reaches_the_modules_that_take_one(tree: Callable[[], Any]) -> None:
    condition, x = tree(), torch.rand(4, 6)
    encoder, decoder = Listening(6, 4), Listening(2, 6)
    vae = VAE(encoder, Wrapper(decoder), latent_shape=(2,))
    vae.loss(x, condition=condition, key=KEY)
    vae.elbo(x, condition=condition, key=KEY)
    vae.reconstruct(x, condition=condition)
    assert all(told is condition for told in encoder.told + decoder.told)
    assert (len(encoder.told), len(decoder.told)) == (3, 3)
    vae.sample(4, condition=condition)
    assert decoder.told.pop() is condition
    decoder.told.clear()
    vae.log_weights(x, gk.random.split(KEY, 3), condition=condition)
    (repeated,) = decoder.told
    assert type(repeated) is type(condition)
    for whole, part in zip(leaves(repeated), leaves(condition), strict=True):
        assert torch.equal(whole, torch.cat([part] * 3))


def leaves(tree: Any) -> list[Tensor]:
    if isinstance(tree, Tensor):
        return [tree]
    return [leaf for part in (tree.values() if isinstance(tree, dict) else tree) for leaf in leaves(part)]


def test_modules_that_take_none_are_called_as_before() -> None:
    x, plain = torch.rand(4, 6), nn.Linear(6, 4)
    decoder = Listening(2, 6)
    vae = VAE(plain, decoder, latent_shape=(2,))
    found = vae.elbo(x, condition=LABELS, key=KEY)
    z, kl = gk.gaussian_rsample_kl_packed(plain(x), key=KEY)
    torch.testing.assert_close(found.kl, kl, rtol=0, atol=0)
    torch.testing.assert_close(found.reconstruction, vae.likelihood.log_prob(x, decoder(z, LABELS)), rtol=0, atol=0)
    networks = MLPEncoder((6,), 2), MLPDecoder((6,), 2, num_classes=3)  # whose encoder was made without classes
    VAE(*networks).loss(x, condition=LABELS).backward()


def test_a_compiled_module_takes_what_it_took() -> None:
    decoder = MLPDecoder((6,), 2, num_classes=3)
    vae = VAE(MLPEncoder((6,), 2, num_classes=3), decoder)
    x = torch.rand(4, 6)
    expected = vae.loss(x, condition=LABELS, key=KEY)
    compiled = VAE(vae.encoder, torch.compile(decoder, backend="eager"))
    torch.testing.assert_close(compiled.loss(x, condition=LABELS, key=KEY), expected, rtol=0, atol=0)


def test_a_module_that_takes_the_place_of_another_is_asked_anew() -> None:
    x = torch.rand(4, 6)
    vae = VAE(nn.Linear(6, 4), nn.Linear(2, 6), latent_shape=(2,))
    vae.loss(x)
    vae.decoder = decoder = Listening(2, 6)
    vae.loss(x, condition=LABELS)
    assert decoder.told[0] is LABELS
    vae.prior = ClassPrior(3, 2)
    with pytest.raises(ValueError, match="condition: expected one, which the decoder needs"):
        vae.loss(x)
    vae.decoder, vae.prior = nn.Linear(2, 6), None
    vae.loss(x)
    with pytest.raises(ValueError, match="condition: expected None"):
        vae.loss(x, condition=LABELS)


class Keywords(nn.Module):
    """As wrappers of other libraries: under a name of its own."""

    def __init__(self, wrapped: nn.Module) -> None:
        super().__init__()
        self.own_name = wrapped

    def forward(self, *values: Any, **options: Any) -> Any:
        return self.own_name(*values, **options)


class TellsItself(nn.Module):
    """It gives its part the condition, and takes none."""

    takes_condition = True  # of another meaning: its forward has no such parameter

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, z: Tensor) -> Tensor:
        return self.module(z, LABELS)


def test_wrappers_take_what_they_wrap_takes() -> None:
    x, encoder = torch.rand(4, 6), nn.Linear(6, 4)
    decoder = Listening(2, 6)
    VAE(Keywords(encoder), Keywords(Wrapper(decoder))).loss(x, condition=LABELS)
    assert decoder.told[-1] is LABELS
    VAE(encoder, TellsItself(decoder)).loss(x)
    traced = torch.jit.trace(encoder, x)
    VAE(traced, decoder).loss(x, condition=LABELS)


class Exact(nn.Module):
    """The exact posterior of z ~ N(m_y, s_y²), x ~ N(z, 0.5²)."""

    def __init__(self, prior: nn.Module) -> None:
        super().__init__()
        self.prior = prior

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        loc, logvar = self.prior(condition).chunk(2, 1)
        variance = 1 / (1 / logvar.exp() + 1 / 0.25)
        return torch.cat([variance * (loc / logvar.exp() + x / 0.25), variance.log()], 1)


def exact() -> tuple[VAE, Tensor, Tensor]:
    """A model whose log p(x | y) is known, data, and that log-probability."""
    prior = ClassPrior(3, 2).double()
    with torch.no_grad():
        prior.moments.weight.copy_(torch.linspace(-1, 1, 12).view(3, 4))
    x = torch.randn(4, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    loc, logvar = prior(LABELS).chunk(2, 1)
    log_p = Normal(loc, (logvar.exp() + 0.25).sqrt()).log_prob(x).sum(1)
    vae = VAE(Exact(prior), nn.Identity(), likelihood=GaussianLikelihood(0.5), latent_shape=(2,), prior=prior)
    return vae, x, log_p


def test_a_conditional_prior_has_the_evidence_of_its_class() -> None:
    """With the exact posterior every importance weight is the evidence, and the bound is it on average."""
    vae, x, log_p = exact()
    weights = vae.log_weights(x, gk.random.split(KEY, 6), condition=LABELS)
    torch.testing.assert_close(weights, log_p.expand(6, 4), rtol=1e-12, atol=1e-12)
    found = vae.log_marginal(x, 7, condition=LABELS, chunk_size=3, key=KEY)
    torch.testing.assert_close(found, log_p, rtol=1e-12, atol=1e-12)
    bounds = torch.stack([vae.elbo(x, condition=LABELS, key=key).elbo for key in gk.random.split(KEY, 4000)])
    error = bounds.std(0) / math.sqrt(4000)
    assert ((bounds.mean(0) - log_p).abs() < 5 * error).all()


def test_the_divergence_from_a_conditional_prior_is_the_fused_one() -> None:
    vae, x, _ = exact()
    loc, logvar = vae.encode(x, condition=LABELS)
    prior_loc, prior_logvar = vae.prior(LABELS).chunk(2, 1)
    terms = vae.elbo(x, condition=LABELS, key=KEY)
    z, kl = gk.gaussian_rsample_kl(loc, logvar, prior_loc, prior_logvar, key=KEY)
    torch.testing.assert_close(terms.kl, kl, rtol=1e-14, atol=0)
    torch.testing.assert_close(terms.reconstruction, Normal(z, 0.5).log_prob(x).sum(1), rtol=1e-12, atol=0)
    terms.elbo.sum().backward()
    assert vae.prior.moments.weight.grad.abs().min() > 0


def test_an_empty_batch_has_empty_bounds() -> None:
    vae, x, _ = exact()
    nothing = LABELS[:0]
    assert vae.log_weights(x[:0], gk.random.split(KEY, 3), condition=nothing).shape == (3, 0)
    assert vae.log_marginal(x[:0], 3, condition=nothing).shape == (0,)
    assert vae.sample(0, condition=nothing).shape == (0, 2)


def test_samples_are_those_of_the_class() -> None:
    vae, _, _ = exact()
    labels = torch.arange(3).repeat_interleave(20_000)
    z = vae.sample(60_000, condition=labels, key=KEY).view(3, -1, 2)
    loc, logvar = vae.prior(torch.arange(3)).chunk(2, 1)
    std = (0.5 * logvar).exp()
    assert ((z.mean(1) - loc).abs() < 5 * std / math.sqrt(20_000)).all()
    assert ((z.std(1) / std - 1).abs() < 5 / math.sqrt(40_000)).all()
    assert torch.equal(vae.sample(60_000, condition=labels, key=KEY, temperature=0.0).view(3, -1, 2)[:, 0], loc)
    part = vae.sample(59_000, condition=labels[1000:], key=KEY, element_offset=2000)
    torch.testing.assert_close(part, z.view(-1, 2)[1000:], rtol=1e-14, atol=1e-14)


def test_vectors_are_weighted_classes() -> None:
    x, one_hot = torch.rand(4, *IMAGE), F.one_hot(LABELS, 3).float()
    for encoder, decoder in ((MLPEncoder, MLPDecoder), (ConvEncoder, ConvDecoder)):
        vae = VAE(encoder(IMAGE, 2, num_classes=3), decoder(IMAGE, 2, num_classes=3), prior=ClassPrior(3, 2))
        values = [vae.elbo(x, condition=condition, key=KEY).elbo for condition in (LABELS, one_hot)]
        torch.testing.assert_close(*values)
        assert not torch.isclose(values[0], vae.elbo(x, condition=one_hot.roll(1, 1), key=KEY).elbo).any()


def test_objectives_train_a_conditional_model() -> None:
    networks = MLPEncoder(IMAGE, 2, num_classes=3), MLPDecoder(IMAGE, 2, num_classes=3)
    x = torch.rand(4, *IMAGE)
    for objective in (IWAE(3, "dreg"), BetaTCVAE(dataset_size=10), InfoVAE()):
        vae = VAE(*networks, objective=objective)
        vae.zero_grad()
        vae.loss(x, condition=LABELS, key=KEY).backward()
        gradients = [p.grad for p in networks[0].parameters()] + [p.grad for p in networks[1].parameters()]
        assert all(gradient.abs().sum() > 0 for gradient in gradients)
    vae = VAE(*networks, objective=IWAE(5), prior=ClassPrior(3, 2))
    expected = -vae.log_marginal(x, 5, condition=LABELS, key=KEY).mean()
    torch.testing.assert_close(vae.loss(x, condition=LABELS, key=KEY), expected)
    pseudo_inputs = VAE(MLPEncoder(IMAGE, 2), networks[1], objective=VampPrior(4, IMAGE))
    pseudo_inputs.loss(x, condition=LABELS).backward()


# GANs


def gan(conditional: str = "projection", norm: str = "pixel", **options: Any) -> GAN:
    torch.manual_seed(0)
    generator = ConvGenerator(IMAGE, 4, width=4, num_classes=3, norm=norm)
    discriminator = ConvDiscriminator(IMAGE, width=4, num_classes=3, conditional=conditional, minibatch_stddev=False)
    for part in generator.modules():
        if type(part).__name__ == "ClassTable":
            nn.init.normal_(part.weight, std=0.5)
    return GAN(generator, discriminator, **options).double()


def real() -> Tensor:
    return torch.rand(4, *IMAGE, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def test_a_projection_discriminator_adds_the_product_of_class_and_features() -> None:
    discriminator, x = gan().discriminator, real()
    features = discriminator.head[:2](discriminator.convolutions(x))
    unconditional = discriminator.head[2:](features).flatten()
    product = (discriminator.classes.weight[LABELS] * features.sum((2, 3))).sum(1)
    torch.testing.assert_close(discriminator(x, LABELS), unconditional + product, rtol=1e-12, atol=1e-12)
    assert product.abs().min() > 1e-3


@pytest.mark.parametrize("weight", [1.0, 0.25])
def test_an_auxiliary_classifier_adds_its_cross_entropy_to_both_losses(weight: float) -> None:
    model, x = gan("auxiliary", loss="hinge", class_weight=weight), real()
    z = model._latents(4, model._noise(KEY, None, 0)[0][0], 0)
    fake = model.generator(z, LABELS)
    (on_real, names_real), (on_fake, names_fake) = model.discriminator(x), model.discriminator(fake)
    classes_real, classes_fake = F.cross_entropy(names_real, LABELS), F.cross_entropy(names_fake, LABELS)
    expected = F.relu(1 - on_real).mean() + F.relu(1 + on_fake).mean() + weight * (classes_real + classes_fake)
    terms = model.discriminator_step(x, condition=LABELS, key=KEY)
    torch.testing.assert_close(terms.loss, expected, rtol=1e-12, atol=0)
    torch.testing.assert_close(terms.real_logits, on_real, rtol=1e-12, atol=1e-12)
    found = model.generator_step(4, condition=LABELS, key=KEY)
    torch.testing.assert_close(found, -on_fake.mean() + weight * classes_fake, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("conditional", ["projection", "auxiliary"])
@pytest.mark.parametrize("penalty", ["r1", "r2", "gp", "dragan"])
def test_penalties_are_those_of_the_logits_under_the_condition(penalty: str, conditional: str) -> None:
    model, x = gan(conditional, penalty=penalty), real()
    keys, first = model._noise(KEY, None, 0)
    with torch.no_grad():
        fake = model.generator(model._latents(4, keys[0], 0), LABELS)
    other = {"r1": x, "r2": fake, "gp": fake}.get(penalty)
    if other is None:
        noise = gk.random.uniform(keys[2], x.shape, dtype=x.dtype)
        other = x + 0.5 * x.std() * noise
    points = other if penalty in ("r1", "r2") else gk.interpolate(x, other, key=keys[1], element_offset=first)
    points.requires_grad_()
    said = model.discriminator(points, LABELS) if conditional == "projection" else model.discriminator(points)[0]
    (slope,) = torch.autograd.grad(said.sum(), points, create_graph=True)
    squares = slope.flatten(1).square().sum(1)
    expected = 5 * squares.mean() if penalty in ("r1", "r2") else 10 * (squares.sqrt() - 1).square().mean()
    terms = model.discriminator_step(x, condition=LABELS, key=KEY)
    torch.testing.assert_close(terms.penalty, expected.detach(), rtol=1e-10, atol=0)
    parameters = list(model.discriminator.parameters())
    found = torch.autograd.grad(terms.loss, parameters, materialize_grads=True)
    without = gan(conditional)
    unpenalized = without.discriminator_step(x, condition=LABELS, key=KEY).loss
    of_loss = torch.autograd.grad(unpenalized, list(without.discriminator.parameters()), materialize_grads=True)
    of_penalty = torch.autograd.grad(expected, parameters, materialize_grads=True)
    for got, one, two in zip(found, of_loss, of_penalty, strict=True):
        torch.testing.assert_close(got, one + two, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("training", [True, False])
def test_batch_normalisation_has_a_gain_and_a_bias_for_each_class(training: bool) -> None:
    norm = ConditionalBatchNorm2d(3, 3).train(training)
    nn.init.normal_(norm.modulation.classes.weight)
    norm.norm.running_mean.normal_()
    x = torch.randn(4, 3, 5, 5)
    mean, var = norm.norm.running_mean.clone(), norm.norm.running_var.clone()
    expected = F.batch_norm(x, mean, var, training=training)
    gain, bias = norm.modulation.classes.weight[LABELS][..., None, None].chunk(2, 1)
    torch.testing.assert_close(norm(x, LABELS), expected * (1 + gain) + bias)
    plain, other = ConditionalBatchNorm2d(3), nn.BatchNorm2d(3)
    torch.testing.assert_close(plain(x), other(x))


@pytest.mark.parametrize("norm", ["pixel", "batch"])
def test_a_generator_draws_what_it_is_told(norm: str) -> None:
    model = gan(norm=norm)
    for labels in (LABELS, LABELS.roll(1)):
        drawn = model.sample(4, condition=labels, key=KEY)
        z = model._latents(4, model._noise(KEY, None, 0)[0][0], 0)
        with torch.no_grad():
            torch.testing.assert_close(drawn, model.average(z, labels), rtol=0, atol=0)
    others = model.sample(4, condition=(LABELS + 1) % 3, key=KEY)
    assert ((others - model.sample(4, condition=LABELS, key=KEY)).abs().flatten(1).amax(1) > 1e-3).all()


def test_steps_of_a_conditional_gan_go_on_as_each_by_itself() -> None:
    model, twin, x = gan(loss="relativistic", penalty="r1"), gan(loss="relativistic", penalty="r1"), real()
    sgd = [torch.optim.SGD(part.parameters(), lr=0.1) for part in (model.generator, model.discriminator)]
    terms = AdversarialSteps(model, *sgd)(x, condition=LABELS, key=KEY)
    keys = gk.random.split(KEY)
    found = twin.discriminator_step(x, condition=LABELS, key=keys[0])
    assert found.loss.item() == terms.discriminator.loss.item()
    found.loss.backward()
    torch.optim.SGD(twin.discriminator.parameters(), lr=0.1).step()
    assert twin.generator_step(x, condition=LABELS, key=keys[1]).item() == terms.generator.item()


def test_a_generator_without_classes_may_have_an_auxiliary_classifier() -> None:
    model = GAN(ConvGenerator(IMAGE, 4, width=4), gan("auxiliary").discriminator.float())
    x = real().float()
    for labels in (LABELS, LABELS.int()):
        model.discriminator_step(x, condition=labels, key=KEY).loss.backward()
        model.generator_step(4, condition=labels, key=KEY).backward()
    assert model.sample(2).shape == (2, *IMAGE)


# What does not fit


def conditional_vae(**options: Any) -> VAE:
    return VAE(MLPEncoder((6,), 2, num_classes=3), MLPDecoder((6,), 2, num_classes=3), **options)


BAD: dict[str, tuple[Any, str]] = {
    "missing": (None, "condition: expected one, which the .* needs, got None"),
    "few": (LABELS[:3], r"condition: expected 4 rows, as many as data, got shape \(3,\)"),
    "scalar": (torch.tensor(1), r"condition: expected 4 rows, as many as data, got shape \(\)"),
    "text": ("cat", "condition: expected a Tensor or a tree of them, got str"),
    "numbers": ([1, 2, 0, 1], "condition: expected a Tensor or a tree of them, got int"),
    "empty": ((), "condition: expected one or more tensors, got an empty tuple"),
    "a tree": ((LABELS,), "condition: expected labels .*, got tuple"),
    "labels beyond": (LABELS + 1, "condition: expected labels from 0 to 2, got 1 to 3"),
    "negative labels": (LABELS - 1, "condition: expected labels from 0 to 2, got -1 to 1"),
    "a matrix of labels": (LABELS[:, None], r"condition: expected labels .*, got shape \(4, 1\)"),
    "vectors of another size": (torch.rand(4, 2), r"condition: expected labels .*, got shape \((12|4), 2\)"),
    "small integers": (LABELS.short(), r"condition: expected labels .*, got torch.int16"),
    "booleans": (LABELS > 0, r"condition: expected labels .*, got torch.bool"),
}


@pytest.mark.parametrize(("condition", "message"), BAD.values(), ids=BAD)
def test_a_condition_that_does_not_fit_is_refused(condition: Any, message: str) -> None:
    vae, x, keys = conditional_vae(prior=ClassPrior(3, 2)), torch.rand(4, 6), gk.random.split(KEY, 3)
    model = gan()
    calls: list[Callable[[], Any]] = [
        lambda: vae.loss(x, condition=condition),
        lambda: vae.elbo(x, condition=condition),
        lambda: vae.sample(4, condition=condition),
        lambda: vae.reconstruct(x, condition=condition),
        lambda: vae.log_marginal(x, 3, condition=condition),
        lambda: vae.log_weights(x, keys, condition=condition),
        lambda: model.discriminator_step(real(), condition=condition),
        lambda: model.generator_step(real(), condition=condition),
        lambda: model.generator_step(4, condition=condition),
        lambda: model.sample(4, condition=condition),
    ]
    for call in calls:
        with pytest.raises((TypeError, ValueError), match=message):
            call()


def test_models_and_parts_that_do_not_fit_are_refused() -> None:
    x = torch.rand(4, 6)
    plain = MLPEncoder((6,), 2), MLPDecoder((6,), 2)
    generator, encoder = ConvGenerator(IMAGE, 4, num_classes=3), ConvEncoder(IMAGE, 4)
    auxiliary = gan("auxiliary")
    pairs = VAE(*plain, prior=ClassPrior(3, 5))
    refused: dict[str, Callable[[], Any]] = {
        "condition: expected None, as no module has a parameter of that name (none counts where takes_condition": (
            lambda: VAE(*plain).loss(x, condition=LABELS)
        ),
        "condition: expected one, which the prior needs": lambda: VAE(*plain, prior=ClassPrior(3, 2)).loss(x),
        "prior: expected packed moments of latents of shape": lambda: pairs.loss(x, condition=LABELS),
        "prior: expected a Module": lambda: VAE(*plain, prior="gaussian"),
        "prior: expected None with VampPrior": lambda: VAE(
            *plain, prior=ClassPrior(3, 2), objective=VampPrior(4, (6,))
        ),
        "prior: expected None with InfoVAE": lambda: VAE(*plain, prior=ClassPrior(3, 2), objective=InfoVAE()),
        "objective: expected one with N": lambda: conditional_vae(objective=VampPrior(4, (6,))),
        "num_classes: expected": lambda: MLPEncoder((6,), 2, num_classes=0),
        "latent_dim: expected": lambda: ClassPrior(3, ()),
        "norm: expected": lambda: ConvGenerator(IMAGE, 4, norm="layer"),
        "conditional: expected": lambda: ConvDiscriminator(IMAGE, num_classes=3, conditional="both"),
        "class_weight: expected": lambda: gan(class_weight=-1.0),
        "momentum: expected": lambda: ConditionalBatchNorm2d(4, momentum=5.0),
        "discriminator: expected logits": lambda: VAEGAN(
            ConvEncoder(IMAGE, 4), ConvGenerator(IMAGE, 4), gan("auxiliary").discriminator.float()
        ).generator_step(real().float()),
        "condition: expected 4 rows": lambda: ConvDiscriminator(IMAGE, num_classes=3)(real().float(), LABELS[:1]),
        "condition: expected device cpu": lambda: generator(torch.rand(4, 4), LABELS.to("meta")),
        "condition: expected dtype torch.float32": lambda: generator(torch.rand(4, 4), torch.rand(4, 3).double()),
        "condition: expected labels from 0 to 2, got -100": lambda: GAN(
            ConvGenerator(IMAGE, 4), gan("auxiliary").discriminator.float()
        ).discriminator_step(real().float(), condition=LABELS - 100),
        "x: expected": lambda: conditional_vae().elbo([1, 2, 3], condition=LABELS),
        "generator: expected a Module that needs no": lambda: VAEGAN(encoder, generator, ConvDiscriminator(IMAGE)),
        "condition: expected labels (B,), which an auxiliary": lambda: auxiliary.discriminator_step(
            real(), condition=F.one_hot(LABELS, 3).double()
        ),
        "condition: expected labels or vectors, as num_classes": lambda: generator(torch.rand(2, 4)),
        "condition: expected None without num_classes": lambda: encoder(torch.rand(4, *IMAGE), LABELS),
    }
    for message, call in refused.items():
        with pytest.raises((TypeError, ValueError)) as error:
            call()
        assert str(error.value).startswith(message), str(error.value)
