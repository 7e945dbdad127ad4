"""The hierarchical VAE beside its equations in plain torch, a published model in its place, and a closed form."""

import math
from argparse import Namespace
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
import torch
from support.published import vdvae
from support.published.compared import at_random
from support.published.vdvae_helpers import discretized_mix_logistic_loss
from torch import Tensor, distributed, nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.tensor import Shard, distribute_tensor
from torch.distributions import Normal, kl_divergence
from torch.utils._python_dispatch import TorchDispatchMode

import genkern as gk
from genkern.nn import (
    DiscretizedLogisticMixtureLikelihood,
    GaussianLikelihood,
    HierarchicalELBO,
    HierarchicalVAE,
    LadderDecoder,
    LadderEncoder,
    LadderLevel,
    clip_or_skip,
)

KEY = gk.random.key(3, 1)
IMAGE = (3, 9, 7)
LEVELS = (2, 1, 0, 2)
MIXTURES = 2
LABELS = torch.tensor([2, 0, 2, 1])
every_posterior = pytest.mark.parametrize("posterior", ["residual", "absolute"])


def made(posterior: str = "residual", dtype: torch.dtype = torch.float64, **options: Any) -> HierarchicalVAE:
    """A model with no weight of 0, for which a part could be left out unseen."""
    torch.manual_seed(0)
    likelihood = DiscretizedLogisticMixtureLikelihood(MIXTURES)
    channels = likelihood.param_channels(3)
    vae = HierarchicalVAE(
        LadderEncoder(IMAGE, LEVELS, width=8, num_classes=3),
        LadderDecoder(IMAGE, LEVELS, width=8, latent_channels=3, out_channels=channels, num_classes=3),
        likelihood=likelihood,
        posterior=posterior,
        **options,
    )
    at_random(vae)
    with torch.no_grad():
        vae.decoder.head.weight *= 0.05  # bins of more than 1e-5, below which the published formula is another
    return vae.to(dtype)


def images(num: int = 4, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randint(256, (num, *IMAGE), generator=torch.Generator().manual_seed(2)).to(dtype) / 255


def plain(vae: HierarchicalVAE, x: Tensor, key: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Log-likelihood ``[B]``, KL ``[B, L]`` and log p(z) − log q(z) ``[B]``, by torch.distributions."""
    keys = gk.random.split(key, len(vae.sizes) + 1)
    features = vae.encoder(x, LABELS)
    h, divergences, ratio = vae.decoder.start(len(x), LABELS), [], 0.0
    for level, level_key in zip(vae.decoder.levels, keys, strict=False):
        h = level.enter(h)
        loc, logstd = level.posterior(h, features[level.group])
        prior_loc, prior_logstd, h = level.prior(h)
        if vae.posterior == "residual":
            loc, logstd = prior_loc + loc, prior_logstd + logstd
        q, p = Normal(loc, logstd.exp()), Normal(prior_loc, prior_logstd.exp())
        z = loc + logstd.exp() * gk.random.normal(level_key, loc.shape, dtype=loc.dtype)
        divergences.append(kl_divergence(q, p).flatten(1).sum(1))
        ratio = ratio + (p.log_prob(z) - q.log_prob(z)).flatten(1).sum(1)
        h = level.merge(h, z)
    params = vae.decoder.finish(h).movedim(1, -1)
    nll = discretized_mix_logistic_loss(2 * x.movedim(1, -1) - 1, params) * x[0].numel()
    return -nll, torch.stack(divergences, 1), ratio


def gradients(vae: nn.Module, loss: Tensor) -> list[Tensor]:
    return list(torch.autograd.grad(loss, list(vae.parameters()), materialize_grads=True))


@every_posterior
@pytest.mark.parametrize("checkpoint", [False, True])
def test_the_bound_and_its_gradients_are_those_of_the_equations(posterior: str, checkpoint: bool) -> None:
    vae, x = made(posterior, checkpoint=checkpoint), images()
    terms = vae.elbo(x, condition=LABELS, key=KEY)
    reconstruction, kl, _ = plain(vae, x, KEY)
    torch.testing.assert_close(terms.reconstruction, reconstruction, rtol=1e-10, atol=0)
    torch.testing.assert_close(terms.kl_levels, kl, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(terms.elbo, reconstruction - kl.sum(1), rtol=1e-10, atol=0)
    assert kl.mean(0).min() > 0.01  # every level adds to it
    got, right = gradients(vae, vae.loss(x, condition=LABELS, key=KEY)), gradients(vae, -terms.elbo.mean())
    torch.testing.assert_close(got, right, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(got, gradients(vae, -(reconstruction - kl.sum(1)).mean()), rtol=1e-8, atol=1e-9)


@every_posterior
def test_importance_weights_are_those_of_the_equations(posterior: str) -> None:
    vae, x = made(posterior), images()
    keys = gk.random.split(KEY, 5)
    expected = torch.stack([sum(plain(vae, x, key)[::2]) for key in keys])
    torch.testing.assert_close(vae.log_weights(x, keys, condition=LABELS), expected, rtol=1e-10, atol=0)
    bound = expected.logsumexp(0) - math.log(5)
    for chunk_size in (1, 3, 5):
        found = vae.log_marginal(x, 5, condition=LABELS, chunk_size=chunk_size, key=KEY)
        torch.testing.assert_close(found, bound, rtol=1e-10, atol=0)


class Published(nn.Module):
    """A block of VDVAE as a level."""

    def __init__(self, block: vdvae.DecBlock, bias: nn.Parameter | None, group: int) -> None:
        super().__init__()
        self.block, self.bias, self.group = block, bias, group
        self.latent_shape = (block.zdim, block.base, block.base)

    def enter(self, h: Tensor) -> Tensor:
        if self.block.mixin is None:
            return h
        xs = {self.block.mixin: h} | ({} if self.bias is None else {self.block.base: self.bias})
        return self.block._input(xs, h)

    def prior(self, h: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        loc, scale, more = self.block._of_prior(h)
        return loc, scale, h + more

    def posterior(self, h: Tensor, features: Tensor) -> tuple[Tensor, ...]:
        return self.block.enc(torch.cat([h, features], dim=1)).chunk(2, dim=1)

    def merge(self, h: Tensor, z: Tensor) -> Tensor:
        return self.block.resnet(h + self.block.z_proj(z))


class PublishedDecoder(nn.Module):
    def __init__(self, decoder: vdvae.Decoder) -> None:
        super().__init__()
        self.inner, self.groups = decoder, [1, 4, 8]
        biases = {bias.shape[2]: bias for bias in decoder.bias_xs}
        self.levels = nn.ModuleList(
            Published(block, biases.get(block.base), self.groups.index(block.base)) for block in decoder.dec_blocks
        )

    def start(self, num: int) -> Tensor:
        return self.inner.bias_xs[0].repeat(num, 1, 1, 1)

    def finish(self, h: Tensor) -> Tensor:
        return self.inner.out_net(h * self.inner.gain + self.inner.bias).movedim(-1, 1)


class PublishedEncoder(nn.Module):
    def __init__(self, encoder: vdvae.Encoder) -> None:
        super().__init__()
        self.inner = encoder

    def forward(self, x: Tensor) -> list[Tensor]:
        activations = self.inner(2 * x.movedim(1, -1) - 1)
        return [activations[size] for size in (1, 4, 8)]


def test_a_published_model_has_the_same_bound_and_gradients_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Namespace(
        image_size=8,
        image_channels=3,
        width=8,
        custom_width_str="",
        bottleneck_multiple=0.5,
        zdim=3,
        enc_blocks="8x1,8d2,4x1,4d4,1x1",
        dec_blocks="1x1,4m1,4x1,8m4,8x1",
        no_bias_above=4,
        num_mixtures=MIXTURES,
        dataset="cifar10",
    )
    torch.manual_seed(0)
    model = vdvae.VAE(settings)
    at_random(model)
    model.double()
    vae = HierarchicalVAE(
        PublishedEncoder(model.encoder),
        PublishedDecoder(model.decoder),
        likelihood=DiscretizedLogisticMixtureLikelihood(MIXTURES),
        posterior="absolute",
    )
    x = torch.randint(256, (4, 3, 8, 8), generator=torch.Generator().manual_seed(2)).double() / 255
    keys = iter(gk.random.split(KEY, 6))

    def drawn(mu: Tensor, logsigma: Tensor) -> Tensor:
        return mu + logsigma.exp() * gk.random.normal(next(keys), mu.shape, dtype=mu.dtype)

    monkeypatch.setattr(vdvae, "draw_gaussian_diag_samples", drawn)
    channels_last = 2 * x.movedim(1, -1) - 1
    expected = model(channels_last, channels_last)
    terms = vae.elbo(x, key=KEY)
    dims = x[0].numel()
    torch.testing.assert_close(-terms.elbo.mean() / dims, expected["elbo"], rtol=1e-10, atol=0)
    torch.testing.assert_close(terms.kl.mean() / dims, expected["rate"], rtol=1e-10, atol=0)
    got, right = gradients(model, -terms.elbo.mean() / dims), gradients(model, expected["elbo"])
    torch.testing.assert_close(got, right, rtol=1e-8, atol=1e-11)
    assert next(keys, None) is not None
    assert next(keys, None) is None  # all but the last key, that of the data, were used


class Linear(nn.Module):
    """A level of one number, z ~ N(weight h, spread²); q is nearer to the data, and a little wider than it need be."""

    group, latent_shape = 0, (1,)

    def __init__(self, weight: float, spread: float, gain: float, factor: float) -> None:
        super().__init__()
        self.weight, self.log_spread, self.gain, self.log_factor = weight, math.log(spread), gain, math.log(factor)

    def enter(self, h: Tensor) -> Tensor:
        return h

    def prior(self, h: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return self.weight * h, torch.full_like(h, self.log_spread), h

    def posterior(self, h: Tensor, features: Tensor) -> tuple[Tensor, Tensor]:
        return self.gain * (features / 1.5 - self.weight * h), torch.full_like(h, self.log_factor)

    def merge(self, h: Tensor, z: Tensor) -> Tensor:
        return z


class Chain(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.levels = nn.ModuleList([Linear(0.0, 1.0, 0.83, 0.7), Linear(0.8, 0.5, 0.78, 0.6)])

    def start(self, num: int) -> Tensor:
        return torch.zeros(num, 1, dtype=torch.float64)

    def finish(self, h: Tensor) -> Tensor:
        return 1.5 * h


class Same(nn.Module):
    def forward(self, x: Tensor) -> tuple[Tensor]:
        return (x,)


def chain() -> HierarchicalVAE:
    """x = 1.5 z₂ + N(0, 0.4²), z₂ = 0.8 z₁ + N(0, 0.5²), z₁ ~ N(0, 1): own levels, of vectors."""
    return HierarchicalVAE(Same(), Chain(), likelihood=GaussianLikelihood(0.4))


def test_the_importance_weighted_bound_reaches_a_closed_form() -> None:
    vae, x = chain(), torch.linspace(-2, 2, 5, dtype=torch.float64).view(5, 1)
    exact = Normal(0.0, math.sqrt(1.5**2 * (0.8**2 + 0.5**2) + 0.4**2)).log_prob(x).flatten()
    found = vae.log_marginal(x, 4000, chunk_size=4000, key=KEY)
    torch.testing.assert_close(found, exact, rtol=0, atol=0.03)  # five times 0.38 / sqrt(4000), of the weights' spread
    bounds = torch.stack([vae.elbo(x, key=key).elbo for key in gk.random.split(KEY, 500)]).mean(0)
    assert (bounds < exact).all()


def test_samples_have_the_distribution_of_the_model() -> None:
    vae = chain()
    x = vae.sample(40_000, key=KEY, observation_noise=True)
    spread = math.sqrt(1.5**2 * (0.8**2 + 0.5**2) + 0.4**2)
    assert abs(x.mean().item()) < 5 * spread / 200
    assert abs(x.std().item() / spread - 1) < 5 / math.sqrt(2 * 40_000)
    cold = vae.sample(40_000, key=KEY, temperature=(0.0, 1.0))
    assert abs(cold.std().item() / (1.5 * 0.5) - 1) < 5 / math.sqrt(2 * 40_000)
    assert vae.sample(3, key=KEY, temperature=0.0).count_nonzero() == 0


@every_posterior
def test_levels_above_come_from_the_posterior_and_those_below_from_the_prior(posterior: str) -> None:
    vae, x = made(posterior), images()
    other = x.flip(0)
    options = {"condition": LABELS, "key": KEY}
    drawn = [vae.sample(4, x=x, from_level=level, **options) for level in range(6)]
    assert torch.equal(drawn[0], vae.sample(4, **options))
    assert not any(torch.equal(a, b) for a, b in pairwise(drawn))
    assert not torch.equal(drawn[1], vae.sample(4, x=other, from_level=1, **options))
    cold = vae.sample(4, x=x, from_level=5, temperature=0.0, **options)
    assert torch.equal(cold, drawn[5])  # a temperature is the prior's


def test_a_rank_draws_its_part_of_the_noise_and_levels_have_keys_of_their_own() -> None:
    vae, x = made(), images()
    size = vae.latent_shape[0]
    whole, part = (vae.elbo(x[r:], condition=LABELS[r:], key=KEY, element_offset=r * size) for r in (0, 1))
    torch.testing.assert_close(part.kl_levels, whole.kl_levels[1:], rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(part.elbo, whole.elbo[1:], rtol=1e-12, atol=0)
    options = {"key": KEY, "observation_noise": True}
    whole, part = (vae.sample(4 - r, condition=LABELS[r:], element_offset=r * size, **options) for r in (0, 1))
    torch.testing.assert_close(part, whole[1:], rtol=0, atol=1e-12)
    seen: list[Tensor] = []
    for level in vae.decoder.levels:
        level.merge = lambda h, z, merge=level.merge: (seen.append(z), merge(h, z))[1]
    with torch.no_grad():
        for level in vae.decoder.levels:
            level.of_prior.layers[-1].weight.zero_()
            level.of_prior.layers[-1].bias.zero_()
    vae.sample(4, condition=LABELS, key=KEY)  # z is the noise
    assert seen[0].shape == seen[1].shape
    assert not torch.isclose(seen[0], seen[1]).any()


class Counted(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.calls: list[str] = []

    def __torch_dispatch__(self, function: Any, types: Any, arguments: Any = (), options: Any = None) -> Any:
        if function.namespace == "genkern" and "key" not in function.__name__:
            self.calls.append(function.__name__)
        return function(*arguments, **(options or {}))


@every_posterior
def test_a_level_is_one_operation_forward_and_one_backward(posterior: str) -> None:
    vae, x = made(posterior), images()
    with Counted() as forward:
        loss = vae.loss(x, condition=LABELS, key=KEY)
    with Counted() as backward:
        loss.backward()
    levels = len(vae.sizes)
    assert len(forward.calls) == levels + 1, forward.calls  # and the likelihood
    assert len(backward.calls) == levels + 1, backward.calls


def kept(vae: HierarchicalVAE) -> int:
    """Bytes that the backward pass holds."""
    held: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        held[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        vae.loss(images(), condition=LABELS, key=KEY)
    return sum(held.values())


def test_activations_that_are_computed_again_are_not_kept() -> None:
    assert kept(made(checkpoint=True)) < 0.5 * kept(made())


def test_a_level_of_bfloat16_has_losses_in_float32() -> None:
    vae, x = made(dtype=torch.float32), images(dtype=torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        terms = vae.elbo(x, condition=LABELS, key=KEY)
    assert {term.dtype for term in terms} == {torch.float32}
    expected = vae.elbo(x, condition=LABELS, key=KEY)
    torch.testing.assert_close(terms.elbo, expected.elbo, rtol=0.03, atol=0)  # of 8 bits


def test_the_weights_of_the_divergence() -> None:
    reconstruction, kl = torch.tensor([-3.0, -5.0]), torch.tensor([[0.5, 4.0, 1.0], [1.5, 2.0, 0.0]])

    def value(*of_levels: Any, **options: Any) -> float:
        return HierarchicalELBO(**options)(reconstruction, kl, *of_levels).item()

    assert value() == 4 + 4.5
    assert value(beta=2.0) == 4 + 9
    assert value(free_bits=1.25) == 4 + 1.25 + 3 + 1.25
    assert value((0, 1, 1), free_bits=2.0, free_bits_over="group") == 4 + 2 + 3.5


def balanced(kl: Tensor, alpha: Tensor) -> Tensor:
    """The coefficients of NVAE's code: it divides by alpha, which is in proportion to the size."""
    coefficients = (kl.abs().mean(0) + 0.01) / alpha
    return coefficients / coefficients.mean()


@pytest.mark.parametrize("free_bits", [0.0, 2.0])
def test_a_balanced_divergence_is_that_of_nvae_while_the_warmup_lasts(free_bits: float) -> None:
    reconstruction, sizes = torch.tensor([-3.0, -5.0]), (1, 4, 16)
    kl = torch.tensor([[0.5, 4.0, 1.0], [1.5, 2.0, 0.0]], requires_grad=True)
    objective = HierarchicalELBO(warmup=4, balance=True, free_bits=free_bits)
    coefficients = balanced(kl.detach(), torch.tensor(sizes) / 4)
    freed = kl.mean(0).clamp(min=free_bits)
    for step in range(6):
        expected = 4 + min(step / 4, 1) * (freed * (coefficients if step < 4 else 1)).sum()
        found = objective(reconstruction, kl, None, sizes)
        torch.testing.assert_close(found, expected)
        got, right = (torch.autograd.grad(value, kl, retain_graph=True)[0] for value in (found, expected))
        torch.testing.assert_close(got, right)
    assert objective.step == 6
    objective.eval()(reconstruction, kl, None, sizes)
    assert objective.step == 6


def test_the_encoder_runs_once_for_all_importance_samples() -> None:
    vae, runs = made(), []
    vae.encoder.register_forward_hook(lambda *_: runs.append(1))
    vae.log_marginal(images(), 6, condition=LABELS, chunk_size=2)
    assert len(runs) == 1


def test_reconstructions_are_of_the_means() -> None:
    """Of each datum by itself: no noise is drawn."""
    vae, x = made("absolute"), images()
    whole = vae.reconstruct(x, condition=LABELS)
    torch.testing.assert_close(vae.reconstruct(x[1:], condition=LABELS[1:]), whole[1:], rtol=0, atol=1e-12)
    for level in vae.decoder.levels:
        level.posterior = lambda h, f, own=level.posterior: (own(h, f)[0], torch.full_like(own(h, f)[1], -50.0))
    narrow = vae.sample(4, x=x, from_level=5, condition=LABELS, key=KEY)
    torch.testing.assert_close(whole, narrow, rtol=0, atol=1e-10)


def test_reconstructions_of_a_residual_posterior_are_those_of_its_absolute_form() -> None:
    vae, other, x = made("residual"), made("absolute"), images()
    for level in other.decoder.levels:
        level.posterior = lambda h, f, own=level: tuple(map(torch.add, own.prior(h), type(own).posterior(own, h, f)))
    found, expected = (each.reconstruct(x, condition=LABELS) for each in (vae, other))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


def test_another_decoder_has_its_own_levels() -> None:
    vae, other = made(), LadderDecoder(IMAGE, (3, 1), width=8, latent_channels=2)
    vae.encoder = LadderEncoder(IMAGE, (3, 1), width=8)
    vae.decoder, vae.likelihood = other, DiscretizedLogisticMixtureLikelihood()
    vae.float()
    assert vae.latent_shape == (sum(vae.sizes),) == (3 * 2 * 5 * 4 + 2 * 9 * 7,)
    terms = vae.elbo(images(dtype=torch.float32))  # none of the modules takes a condition
    assert terms.kl_levels.shape == (4, 4)


def test_what_is_computed_again_is_not_of_other_weights() -> None:
    vae, x = made(checkpoint=True), images()
    weights = {name: (1.5 * p).detach().requires_grad_() for name, p in vae.named_parameters()}
    loss = torch.func.functional_call(vae, weights, (x,), {"condition": LABELS, "key": KEY})
    with pytest.raises(RuntimeError, match="checkpoint: expected the parameters of the forward pass"):
        loss.backward()


@pytest.fixture
def weight() -> Iterator[Tensor]:
    weight = torch.ones(4, requires_grad=True)
    weight.grad = torch.full((4,), 50.0)
    yield weight


def test_updates_are_clipped_or_left_out(weight: Tensor) -> None:
    assert clip_or_skip([weight], clip=200.0, skip=150.0)
    torch.testing.assert_close(weight.grad, torch.full((4,), 50.0))
    assert not clip_or_skip([weight], clip=1.0, skip=99.0)
    torch.testing.assert_close(weight.grad, torch.full((4,), 50.0))
    assert clip_or_skip([weight], clip=10.0)
    torch.testing.assert_close(weight.grad, torch.full((4,), 5.0))
    weight.grad[1] = math.nan
    assert not clip_or_skip([weight])
    assert clip_or_skip([torch.ones(2, requires_grad=True)], clip=1.0)  # no gradient
    half = torch.ones(700, requires_grad=True, dtype=torch.float16)
    half.grad = torch.full_like(half, 10_000.0)
    assert clip_or_skip(half, clip=2.0, skip=1e6)  # whose norm is no half
    torch.testing.assert_close(half.grad.float().norm(), torch.tensor(2.0), rtol=1e-3, atol=0)


@pytest.fixture
def mesh() -> Iterator[DeviceMesh]:
    """A mesh of one process."""
    distributed.init_process_group("gloo", rank=0, world_size=1, store=distributed.HashStore())
    yield init_device_mesh("cpu", (1,))
    distributed.destroy_process_group()


def test_shards_and_whole_parameters_have_one_norm(weight: Tensor, mesh: DeviceMesh) -> None:
    shard = distribute_tensor(torch.ones(9), mesh, [Shard(0)]).requires_grad_()
    shard.grad = distribute_tensor(torch.full((9,), -100.0), mesh, [Shard(0)])
    norm = math.hypot(100.0, 300.0)
    assert not clip_or_skip([weight, shard], skip=norm - 1)
    assert clip_or_skip([weight, shard], clip=norm / 10, skip=norm + 1)
    torch.testing.assert_close(weight.grad, torch.full((4,), 5.0))
    torch.testing.assert_close(shard.grad.full_tensor(), torch.full((9,), -10.0))


class Flat(Chain):
    def __init__(self) -> None:
        super().__init__()
        self.levels = nn.ModuleList([nn.Linear(1, 1)])


def test_what_does_not_fit_is_refused() -> None:
    encoder, decoder = LadderEncoder(IMAGE, LEVELS, width=8), LadderDecoder(IMAGE, LEVELS, width=8)
    vae, x = made(), images()
    few = LadderEncoder(IMAGE, (1, 1), width=8, num_classes=3).double()
    refused: dict[str, Any] = {
        "decoder: expected a Module with levels": lambda: HierarchicalVAE(encoder, nn.Identity()),
        "encoder: expected a Module": lambda: HierarchicalVAE("encoder", decoder),
        "posterior: expected": lambda: HierarchicalVAE(encoder, decoder, posterior="relative"),
        "objective: expected a HierarchicalELBO": lambda: HierarchicalVAE(encoder, decoder, objective=nn.Identity()),
        "temperature: expected one number or 5": lambda: vae.sample(2, condition=LABELS[:2], temperature=[1.0, 2.0]),
        "element_offset: expected a multiple of": lambda: vae.elbo(x, condition=LABELS, element_offset=5),
        "from_level: expected 0 to 5": lambda: vae.sample(4, condition=LABELS, from_level=6, x=x),
        "x: expected data": lambda: vae.sample(4, condition=LABELS, from_level=2),
        "x: expected num = 3": lambda: vae.sample(3, condition=LABELS[:3], from_level=2, x=x),
        "condition: expected one, which the encoder": lambda: vae.loss(x),
        "condition: expected 4 rows": lambda: vae.loss(x, condition=LABELS[:3]),
        "condition: expected None": lambda: HierarchicalVAE(encoder, decoder).loss(x, condition=LABELS),
        "keys: expected shape (K, 2)": lambda: vae.log_weights(x, KEY, condition=LABELS),
        "x: expected shape (B, ...)": lambda: vae.elbo(torch.tensor(1.0), condition=LABELS),
        "x: expected num = 4 data": lambda: vae.sample(4, condition=LABELS, from_level=1, x=torch.tensor(1.0)),
        "levels: expected one or more at the coarsest": lambda: LadderEncoder(IMAGE, (0, 1)),
        "decoder: expected levels as Level describes": lambda: HierarchicalVAE(encoder, Flat()),
        "balance: expected False with free bits over": lambda: HierarchicalELBO(
            warmup=2, balance=True, free_bits=1.0, free_bits_over="group"
        ),
        "levels: expected at most": lambda: LadderEncoder(IMAGE, (1,) * 6),
        "levels: expected one or more": lambda: LadderDecoder(IMAGE, (0, 0)),
        "residual: expected False": lambda: gk.nn.ResidualBlock(2, 3, 1, (4, 4), residual=True),
        "latent_channels: expected": lambda: LadderLevel((4, 4), 0, width=4, latent_channels=0),
        "balance: expected False": lambda: HierarchicalELBO(balance=True),
        "free_bits_over: expected": lambda: HierarchicalELBO(free_bits_over="dim"),
        "sizes: expected one of each of 2": lambda: HierarchicalELBO(warmup=2, balance=True)(
            torch.ones(2), torch.ones(2, 2)
        ),
        "kl_levels: expected shape": lambda: HierarchicalELBO()(torch.ones(2), torch.ones(2)),
        "clip: expected": lambda: clip_or_skip([], clip=-1.0),
        "encoder: expected features of 4 groups, got 2": lambda: HierarchicalVAE(few, vae.decoder).loss(
            x, condition=LABELS
        ),
    }
    for message, call in refused.items():
        with pytest.raises((TypeError, ValueError)) as error:
            call()
        assert str(error.value).startswith(message), str(error.value)
