"""genkern.compat.diffusers beside diffusers itself."""

import importlib
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from support.originals import genkerns_noise_in_diffusers
from torch import Tensor

from genkern.compat import diffusers as compat

pytest.importorskip("diffusers")
from diffusers.models.autoencoders import autoencoder_oobleck, vae

UPSTREAM, UPSTREAM_OOBLECK = vae.DiagonalGaussianDistribution, autoencoder_oobleck.OobleckDiagonalGaussianDistribution
SHAPES = {"audio": (2, 8, 16), "image": (2, 8, 4, 6), "video": (2, 8, 3, 4, 6)}


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    yield
    compat.unpatch()


def moments(shape: tuple[int, ...], seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).requires_grad_()


@pytest.fixture
def same_noise() -> Iterator[None]:
    """diffusers draws genkern's noise."""
    with genkerns_noise_in_diffusers():
        yield


def assert_same(ours: Callable[[Tensor], Tensor], theirs: Callable[[Tensor], Tensor], shape: tuple[int, ...]) -> None:
    """Values and gradients."""
    a, b = moments(shape), moments(shape)
    found, expected = ours(a), theirs(b)
    torch.testing.assert_close(found, expected)
    for value in (found, expected):
        value.sin().sum().backward()
    torch.testing.assert_close(a.grad, b.grad)


def seeded(seed: int = 1) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.usefixtures("same_noise")
@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (compat.DiagonalGaussianDistribution, UPSTREAM),
        (compat.OobleckDiagonalGaussianDistribution, UPSTREAM_OOBLECK),
    ],
)
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_samples_are_upstreams_with_the_same_noise(ours: Any, theirs: Any, shape: tuple[int, ...]) -> None:
    for generator in (seeded, lambda: [seeded(5)], lambda: [seeded(5), seeded(6)]):
        assert_same(lambda p, g=generator: ours(p).sample(g()), lambda p, g=generator: theirs(p).sample(g()), shape)
    torch.manual_seed(3)
    first = ours(moments(shape)).sample()
    torch.manual_seed(3)
    assert torch.equal(first, ours(moments(shape)).sample())


def test_a_generator_may_be_of_another_device() -> None:
    """As a CPU's is beside parameters on a GPU; meta stands in for that."""
    for kind in (compat.DiagonalGaussianDistribution, compat.OobleckDiagonalGaussianDistribution):
        sample = kind(torch.empty(2, 8, 4, 4, device="meta")).sample(seeded())
        assert sample.device.type == "meta" and sample.shape == (2, 4, 4, 4)


def test_attributes_are_upstreams() -> None:
    parameters = 30 * moments((2, 8, 4, 4)).detach()
    for ours, theirs, names in (
        (compat.DiagonalGaussianDistribution, UPSTREAM, ("mean", "logvar", "std", "var", "deterministic")),
        (compat.OobleckDiagonalGaussianDistribution, UPSTREAM_OOBLECK, ("mean", "scale", "std", "var", "logvar")),
    ):
        for deterministic in (False, True):
            mine, its = ours(parameters, deterministic), theirs(parameters, deterministic)
            assert mine.parameters is parameters and torch.equal(mine.mode(), its.mode())
            for name in names:
                torch.testing.assert_close(getattr(mine, name), getattr(its, name), msg=name)
            torch.testing.assert_close(mine.kl().expand(1) if deterministic else torch.zeros(1), torch.zeros(1))
    certain = compat.DiagonalGaussianDistribution(parameters, deterministic=True)
    assert torch.equal(certain.sample(), certain.mean) and torch.equal(certain.nll(certain.mean), torch.zeros(1))


def test_divergences_of_images_are_upstreams() -> None:
    other = moments((2, 8, 4, 6), seed=1).detach()
    shape = SHAPES["image"]
    ours, theirs = compat.DiagonalGaussianDistribution, UPSTREAM
    assert_same(lambda p: ours(p).kl(), lambda p: theirs(p).kl(), shape)
    assert_same(lambda p: ours(p).kl(ours(other)), lambda p: theirs(p).kl(theirs(other)), shape)
    assert_same(lambda p: ours(p).kl(theirs(other)), lambda p: theirs(p).kl(theirs(other)), shape)


@pytest.mark.parametrize("dims", [[1, 2, 3], (-1, -2, -3), [1], (2, 3)])
def test_likelihoods_of_images_are_upstreams(dims: Any) -> None:
    x = moments((2, 4, 4, 6), seed=2).detach()
    ours, theirs = compat.DiagonalGaussianDistribution, UPSTREAM
    assert_same(lambda p: ours(p).nll(x, dims), lambda p: theirs(p).nll(x, dims), SHAPES["image"])
    assert_same(lambda p: ours(p).nll(x), lambda p: theirs(p).nll(x), SHAPES["image"])


def test_a_video_has_one_divergence_and_upstreams_reduction_on_request() -> None:
    shape = SHAPES["video"]
    parameters, x = moments(shape).detach(), moments((2, 4, 3, 4, 6), seed=2).detach()
    q = compat.DiagonalGaussianDistribution(parameters)
    upstream = UPSTREAM(parameters)
    assert q.kl().shape == q.nll(x).shape == (2,)
    torch.testing.assert_close(q.kl(), upstream.kl().sum(-1))
    torch.testing.assert_close(q.nll(x), upstream.nll(x).sum(-1))
    with compat.patch(legacy=True):
        legacy = vae.DiagonalGaussianDistribution(parameters)
        assert isinstance(legacy, compat.DiagonalGaussianDistribution)
        torch.testing.assert_close(legacy.kl(), upstream.kl())
        torch.testing.assert_close(legacy.nll(x), upstream.nll(x))


def test_oobleck_keeps_its_convention_and_its_sign_on_request() -> None:
    shape, other = SHAPES["audio"], moments(SHAPES["audio"], seed=1).detach()
    ours, theirs = compat.OobleckDiagonalGaussianDistribution, UPSTREAM_OOBLECK
    assert_same(lambda p: ours(p).kl(), lambda p: theirs(p).kl(), shape)
    parameters = moments(shape).detach()
    q, p = theirs(parameters), theirs(other)
    expected = ((q.mean - p.mean).square() / p.var + q.var / p.var - 1 - q.logvar + p.logvar).sum(1).mean()
    torch.testing.assert_close(ours(parameters).kl(ours(other)), expected)
    with compat.patch(legacy=True):
        assert_same(
            lambda x: autoencoder_oobleck.OobleckDiagonalGaussianDistribution(x).kl(ours(other)),
            lambda x: theirs(x).kl(theirs(other)),
            shape,
        )


def test_losses_of_halves_are_wide() -> None:
    q = compat.DiagonalGaussianDistribution(moments(SHAPES["image"]).detach().bfloat16())
    assert q.sample().dtype == torch.bfloat16 and q.kl().dtype == q.nll(q.mean).dtype == torch.float32


def binding_modules() -> set[str]:
    return {
        name
        for name, module in list(sys.modules.items())
        if name.startswith("diffusers") and vars(module).get("DiagonalGaussianDistribution") is UPSTREAM
    }


def test_every_module_that_imported_the_name_is_reached_and_left() -> None:
    importlib.import_module("diffusers.models.autoencoders.autoencoder_kl")
    importlib.import_module("diffusers.models.autoencoders.autoencoder_kl_wan")
    before = binding_modules()
    assert len(before) > 3
    compat.patch()
    compat.patch()  # changes nothing
    assert not binding_modules()
    for name in before:
        assert sys.modules[name].DiagonalGaussianDistribution is compat.DiagonalGaussianDistribution
    # What is imported meanwhile is reached both ways.
    sys.modules.pop("diffusers.models.autoencoders.consistency_decoder_vae", None)
    late = importlib.import_module("diffusers.models.autoencoders.consistency_decoder_vae")
    assert late.DiagonalGaussianDistribution is compat.DiagonalGaussianDistribution
    compat.unpatch()
    compat.unpatch()
    assert binding_modules() >= before and late.DiagonalGaussianDistribution is UPSTREAM


def test_a_block_leaves_what_was_in_force() -> None:
    with compat.patch():
        with compat.patch():
            pass
        assert vae.DiagonalGaussianDistribution is compat.DiagonalGaussianDistribution
        with pytest.raises(ValueError, match="legacy: expected False, which is in force, got True"):
            compat.patch(legacy=True)
    assert vae.DiagonalGaussianDistribution is UPSTREAM


@pytest.mark.usefixtures("same_noise")
def test_an_autoencoder_trains_as_with_upstreams_own() -> None:
    from diffusers import AutoencoderKL

    torch.manual_seed(0)
    model = AutoencoderKL(block_out_channels=(8,), norm_num_groups=4, latent_channels=4, sample_size=8).double()
    x = torch.randn(2, 3, 8, 8, dtype=torch.float64)

    def step() -> dict[str, Tensor]:
        model.zero_grad()
        posterior = model.encode(x).latent_dist
        reconstruction = model.decode(posterior.sample(seeded())).sample
        kl = posterior.kl()
        ((reconstruction - x).square().mean() + kl.mean()).backward()
        return {"kl": kl, "reconstruction": reconstruction, **{n: p.grad for n, p in model.named_parameters()}}

    expected = step()
    with compat.patch():
        assert isinstance(model.encode(x).latent_dist, compat.DiagonalGaussianDistribution)
        found = step()
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, msg=name)
