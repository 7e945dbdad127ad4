"""A patched VDVAE beside itself: a checkpoint of it has the same bound and the same gradients."""

import io
from argparse import Namespace
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from support.published import vdvae, vdvae_helpers
from support.published.compared import assert_close, at_random, step
from torch import Tensor, nn

from genkern import functional
from genkern.compat import vdvae as compat

SIZE = 8
SETTINGS = Namespace(
    image_size=SIZE,
    image_channels=3,
    width=8,
    custom_width_str="1:12",
    bottleneck_multiple=0.5,
    zdim=3,
    enc_blocks="8x1,8d2,4x1,4d4,1x1",
    dec_blocks="1x1,4m1,4x1,8m4,8x1",
    no_bias_above=4,
    num_mixtures=3,
    dataset="cifar10",
)
FUNCTIONS = sorted({**compat._OF_BLOCKS, **compat._OF_THE_OUTPUT})


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    yield
    compat.unpatch()


@pytest.fixture(scope="module")
def checkpoint() -> bytes:
    """As VDVAE saves a model."""
    torch.manual_seed(0)
    file = io.BytesIO()
    torch.save(at_random(vdvae.VAE(SETTINGS)), file)
    return file.getvalue()


def loaded(checkpoint: bytes, dtype: torch.dtype = torch.float64, **settings: Any) -> vdvae.VAE:
    model = vdvae.VAE(Namespace(**{**vars(SETTINGS), **settings}))
    model.load_state_dict(torch.load(io.BytesIO(checkpoint)))
    return model.to(dtype)


def images(levels: int = 256, dtype: torch.dtype = torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(2)
    x = torch.randint(levels, (4, SIZE, SIZE, 3), generator=generator)
    x[0, 0, 0], x[0, 0, 1] = 0, levels - 1
    return (x / (levels - 1) * 2 - 1).to(dtype)


def bound(model: nn.Module, x: Tensor) -> dict[str, Tensor]:
    return step(model, lambda: model(0.7 * x, x).values(), lambda elbo, distortion, rate: elbo)


@pytest.mark.parametrize("dataset", ["cifar10", "ffhq_256"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_a_checkpoint_has_the_same_bound_and_gradients(checkpoint: bytes, dtype: torch.dtype, dataset: str) -> None:
    model, x = loaded(checkpoint, dtype, dataset=dataset), images(32 if dataset == "ffhq_256" else 256, dtype)
    expected = bound(model, x)
    with compat.patch(model):
        assert_close(bound(model, x), expected)
        assert_close(bound(loaded(checkpoint, dtype, dataset=dataset), x), expected)
    assert all(torch.equal(value, expected[name]) for name, value in bound(model, x).items())
    assert expected["2"] > 0.05  # the rate, to which every block adds


def test_small_masses_are_exact(checkpoint: bytes) -> None:
    """VDVAE takes the density at the middle of a bin below 1e-5, which is another number and has another gradient."""
    model, x = loaded(checkpoint), images()
    with torch.no_grad():
        of_colours = model.decoder.out_net.out_conv.bias[3:].view(3, 3, 3)
        of_colours[:, 1] = -4.0  # log-scales: bins of 0.4 scales, most of them far from the mean
    theirs = bound(model, x)["1"]
    with compat.patch(model):
        ours = bound(model, x)["1"]
    with torch.no_grad():
        torch.manual_seed(3)
        px_z, _ = model.decoder(model.encoder(0.7 * x))
        exact = functional.discretized_logistic_mixture_nll(x, model.decoder.out_net(px_z), mixtures=3, channel_dim=-1)
    torch.testing.assert_close(ours, exact.mean() / x[0].numel())
    assert 1e-5 < abs(theirs - ours) / ours < 0.05


def test_a_block_is_one_operation(checkpoint: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    for name in [name for name in functional.__all__ if name.startswith(("gaussian", "discretized"))]:
        kept = getattr(functional, name)
        monkeypatch.setattr(functional, name, lambda *a, n=name, f=kept, **k: (seen.append(n), f(*a, **k))[1])
    model = loaded(checkpoint)
    with compat.patch(model):
        model(images(), images())
    assert seen == ["gaussian_rsample_kl"] * len(model.decoder.dec_blocks) + ["discretized_logistic_mixture_nll"]


def test_latents_and_samples(checkpoint: bytes) -> None:
    model = loaded(checkpoint)
    with compat.patch(model):
        torch.manual_seed(3)
        latents = model.forward_get_latents(images())
        for t in (None, 0.5):
            torch.manual_seed(4)
            drawn = model.forward_uncond_samples(4, t)
            torch.manual_seed(4)
            assert np.array_equal(drawn, model.forward_uncond_samples(4, t))
            assert drawn.shape == (4, SIZE, SIZE, 3) and drawn.dtype == np.uint8 and drawn.std() > 1
        given = model.forward_samples_set_latents(4, [of_block["z"] for of_block in latents])
        assert given.shape == drawn.shape
    torch.manual_seed(3)
    for mine, its in zip(latents, model.forward_get_latents(images()), strict=True):
        torch.testing.assert_close(mine["z"], its["z"])
        torch.testing.assert_close(mine["kl"], its["kl"])


@pytest.mark.parametrize("t", [None, 0.5])
def test_a_draw_from_the_prior_is_the_same(checkpoint: bytes, t: float | None) -> None:
    model = loaded(checkpoint)

    def drawn() -> Tensor:
        torch.manual_seed(3)
        return model.decoder.forward_uncond(4, t)

    expected = drawn()
    with compat.patch(model):
        torch.testing.assert_close(drawn(), expected)


def test_a_state_is_the_same_with_a_patch_and_without(checkpoint: bytes) -> None:
    stored = torch.load(io.BytesIO(checkpoint))
    with compat.patch(loaded(checkpoint)):
        state = loaded(checkpoint, torch.float32).state_dict()
    assert list(state) == list(stored) and all(torch.equal(state[name], value) for name, value in stored.items())


def places() -> list[Any]:
    found = [getattr(vdvae_helpers, name) for name in FUNCTIONS]
    return [*found, vdvae.draw_gaussian_diag_samples, vdvae.gaussian_analytical_kl, vdvae.DecBlock.sample]


def test_everything_is_as_it_was_behind_a_patch(checkpoint: bytes) -> None:
    before, model, other = places(), loaded(checkpoint), loaded(checkpoint)
    with compat.patch(model):
        fused = places()
        assert not any(now is then for now, then in zip(fused, before, strict=True))
        with compat.patch(other):  # of the same code
            assert places() == fused
        assert places() == fused
    assert places() == before
    compat.patch(nn.ModuleList([model]))
    assert places() == fused
    compat.unpatch()
    compat.unpatch()
    assert places() == before


class OwnBlock(vdvae.DecBlock):
    def sample(self, x: Tensor, acts: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        z, x, kl = super().sample(x, acts)
        return z, x, 0.5 * kl


def test_a_subclass_keeps_its_own_method(checkpoint: bytes) -> None:
    model = loaded(checkpoint)
    for block in model.decoder.dec_blocks:
        block.__class__ = OwnBlock
    expected = bound(model, images())
    own = OwnBlock.sample
    with compat.patch(model):
        assert_close(bound(model, images()), expected)
        assert OwnBlock.sample is own


class OtherBlock(nn.Module):
    def sample(self, x: Tensor, acts: Tensor, mode: str) -> None: ...


def test_what_is_no_vdvae_is_refused(checkpoint: bytes) -> None:
    before, model = places(), loaded(checkpoint)
    for value, name in ((vdvae.VAE, "type"), (model.state_dict(), "OrderedDict"), (None, "None")):
        with pytest.raises(TypeError, match=f"^model: expected a torch.nn.Module, got {name}$"):
            compat.patch(value)  # type: ignore[arg-type]
    for module in (nn.Linear(2, 2), OtherBlock(), model.encoder):
        with pytest.raises(ValueError, match=r"^model: expected one with a part that defines sample\(x, acts\) in a "):
            compat.patch(module)
    with pytest.raises(ValueError, match=r"defines nll\(px_z, x\) .*, got ModuleList, which has none$"):
        compat.patch(model.decoder.dec_blocks)
    assert places() == before


def test_patches_that_share_what_they_replace_are_all_undone(checkpoint: bytes) -> None:
    class Output(vdvae_helpers.DmolNet):
        def nll(self, px_z: Tensor, x: Tensor) -> Tensor:
            return vdvae_helpers.discretized_mix_logistic_loss(x=x, l=self.forward(px_z))

    Output.__module__ = vdvae_helpers.__name__
    model, other, x = loaded(checkpoint), loaded(checkpoint), images()
    other.decoder.out_net.__class__ = Output
    before = {
        name: getattr(module, name) for module in (vdvae, vdvae_helpers) for name in FUNCTIONS if hasattr(module, name)
    }
    expected = bound(model, x)
    compat.patch(model)
    compat.patch(other)
    compat.unpatch()
    after = {
        name: getattr(module, name) for module in (vdvae, vdvae_helpers) for name in FUNCTIONS if hasattr(module, name)
    }
    assert after == before
    assert all(torch.equal(value, expected[name]) for name, value in bound(model, x).items())
