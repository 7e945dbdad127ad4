"""A patched NVAE beside itself: a checkpoint of it has the same bound and the same gradients."""

import io
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from support.inputs import normal
from support.originals import NormalOfNVAE
from support.published import nvae, nvae_distributions
from support.published.compared import assert_close, at_random, step
from torch import Tensor, nn

from genkern import functional
from genkern.compat import nvae as compat

SIZE = 8
MODELS: dict[str, dict[str, Any]] = {
    "mixture": {"dataset": "cifar10"},
    "mixture of 5 bits": {"dataset": "cifar10", "num_x_bits": 5},
    "posteriors of their own": {"dataset": "cifar10", "res_dist": False},
    "flows": {"dataset": "cifar10", "num_nf": 2},
    "normal": {"dataset": "cifar10", "num_mixture_dec": 1},
    "Bernoulli": {"dataset": "mnist"},
}


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    yield
    compat.unpatch()


def checkpoint(name: str) -> bytes:
    """As NVAE saves a model."""
    torch.manual_seed(0)
    state, file = at_random(nvae.AutoEncoder(size=SIZE, **MODELS[name])), io.BytesIO()
    torch.save({"epoch": 3, "state_dict": state, "args": MODELS[name]}, file)
    return file.getvalue()


def loaded(stored: bytes, dtype: torch.dtype = torch.float64) -> nvae.AutoEncoder:
    found = torch.load(io.BytesIO(stored))
    model = nvae.AutoEncoder(size=SIZE, **found["args"])
    model.load_state_dict(found["state_dict"])
    return model.to(dtype)


def images(model: nvae.AutoEncoder, dtype: torch.dtype = torch.float64) -> Tensor:
    if model.dataset == "mnist":
        return (normal((4, 1, SIZE, SIZE), 2) > 0).to(dtype)
    generator, largest = torch.Generator().manual_seed(2), 2**model.num_bits - 1
    x = torch.randint(largest + 1, (4, 3, SIZE, SIZE), generator=generator)
    x[0, :, 0, :4] = torch.tensor([0, 1, largest - 1, largest])
    return (x / largest).to(dtype)


def bound(model: nvae.AutoEncoder, x: Tensor) -> dict[str, Tensor]:
    """The parts of a training step of NVAE: the reconstruction, log q, log p, and the divergences."""

    def values() -> list[Tensor]:
        logits, log_q, log_p, kl_all, kl_diag = model(x)
        reconstruction = nvae.reconstruction_loss(model.decoder_output(logits), x)
        return [reconstruction, log_q, log_p, torch.stack(kl_all, dim=1), torch.stack(kl_diag)]

    return step(model, values, lambda loss, log_q, log_p, kl, kl_diag: (loss + kl.sum(1) + 0.1 * log_q * log_p).mean())


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_a_checkpoint_has_the_same_bound_and_gradients(name: str, dtype: torch.dtype) -> None:
    stored = checkpoint(name)
    model = loaded(stored, dtype)
    x = images(model, dtype)
    expected = bound(model, x)
    with compat.patch(model):
        assert_close(bound(model, x), expected)
        assert_close(bound(loaded(stored, dtype), x), expected)
    assert all(torch.equal(value, expected[name]) for name, value in bound(model, x).items())
    assert (expected["3"].abs() > 0.1).all()  # every group has a divergence


def test_groups_and_the_mixture_are_fused(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = set()
    for name in [name for name in functional.__all__ if name.startswith(("gaussian", "discretized"))]:
        kept = getattr(functional, name)
        monkeypatch.setattr(functional, name, lambda *a, n=name, f=kept, **k: (seen.add(n), f(*a, **k))[1])
    model = loaded(checkpoint("mixture"))
    with compat.patch(model):
        bound(model, images(model))
    assert seen == {"gaussian_rsample", "gaussian_log_prob", "gaussian_kl", "discretized_logistic_mixture_nll"}


@pytest.mark.parametrize("bits", [8, 5, 1])
def test_the_mixture_is_nvaes_in_every_bin(bits: int) -> None:
    """Also in the last two of 256, which both reach to infinity there. No mass is below 1e-5."""
    largest = 2**bits - 1
    x = (torch.arange(3 * (largest + 1)) % (largest + 1) / largest).double().view(1, 3, 1, -1)
    values = []
    for kind in (nvae_distributions.DiscMixLogistic, compat._fused_mixture(nvae_distributions.DiscMixLogistic)):
        param = (0.3 * normal((2, 40, 1, largest + 1), 0)).requires_grad_()
        log_prob = kind(param, num_mix=4, num_bits=bits).log_prob(x.expand(2, -1, -1, -1))
        values.append([log_prob, *torch.autograd.grad(log_prob.sin().sum(), param)])
    for mine, its in zip(*values, strict=True):
        torch.testing.assert_close(mine, its)


def test_small_masses_are_exact() -> None:
    """NVAE takes the density at the middle of a bin below 1e-5, which is another number."""
    param = normal((1, 10, 8, 8), 0)
    param[:, 2::3] = -4.0  # log-scales: bins of 0.4 scales, most of them far from the mean
    x = torch.linspace(0.1, 0.9, 192, dtype=torch.float64).view(1, 3, 8, 8).mul(255).round() / 255
    theirs = nvae_distributions.DiscMixLogistic(param, num_mix=1).log_prob(x)
    ours = compat._fused_mixture(nvae_distributions.DiscMixLogistic)(param, num_mix=1).log_prob(x)
    exact = functional.discretized_logistic_mixture_nll(2 * x - 1, param, mixtures=1, reduction="none")
    torch.testing.assert_close(ours, -exact)
    assert 1e-3 < (theirs - ours).abs().max() < 0.1


def test_what_else_the_mixture_has_is_nvaes() -> None:
    fused, theirs = compat._fused_mixture(nvae_distributions.DiscMixLogistic), nvae_distributions.DiscMixLogistic
    param = normal((2, 40, 3, 3), 0)
    torch.testing.assert_close(fused(param, 4).mean(), theirs(param, 4).mean())
    for name, value in vars(theirs(param, 4)).items():
        torch.testing.assert_close(getattr(fused(param, 4), name), value)
    with pytest.raises(AttributeError, match="'DiscMixLogistic' object has no attribute 'median'"):
        fused(param, 4).median  # noqa: B018
    for t in (1.0, 0.7):
        torch.manual_seed(3)
        drawn = fused(param, 4).sample(t)
        torch.manual_seed(3)
        assert torch.equal(drawn, fused(param, 4).sample(t))
        assert drawn.shape == (2, 3, 3, 3) and drawn.min() >= 0 and drawn.max() <= 1 and drawn.std() > 0.1
    torch.manual_seed(3)
    assert torch.equal(drawn, theirs(param, 4).sample(0.7))  # the noise of another temperature is NVAE's own
    many = fused(normal((1, 40, 1, 1), 0).expand(20000, -1, -1, -1), 4).sample()
    expected = theirs(normal((1, 40, 1, 1), 0).expand(20000, -1, -1, -1), 4).sample()
    torch.testing.assert_close(many.mean(0), expected.mean(0), rtol=0, atol=0.02)
    torch.testing.assert_close(many.std(0), expected.std(0), rtol=0, atol=0.02)


@pytest.mark.parametrize("name", ["mixture", "normal"])
@pytest.mark.parametrize("t", [1.0, 0.6])
def test_samples_are_nvaes(name: str, t: float) -> None:
    model = loaded(checkpoint(name)).eval()

    def drawn() -> Tensor:
        torch.manual_seed(3)
        return model.sample(4, t)

    expected = drawn()
    with compat.patch(model):
        torch.testing.assert_close(drawn(), expected)
        image = model.decoder_output(expected).sample()
    assert image.shape == (4, 3, SIZE, SIZE) and image.min() >= 0 and image.max() <= 1


def test_a_state_is_the_same_with_a_patch_and_without() -> None:
    stored = checkpoint("mixture")
    expected = torch.load(io.BytesIO(stored))["state_dict"]
    with compat.patch(loaded(stored)):
        state = loaded(stored, torch.float32).state_dict()
    assert list(state) == list(expected) and all(torch.equal(state[name], value) for name, value in expected.items())


def places() -> list[Any]:
    return [nvae.Normal, nvae.DiscMixLogistic, nvae_distributions.Normal, nvae_distributions.DiscMixLogistic]


def test_everything_is_as_it_was_behind_a_patch() -> None:
    before, model, other = places(), loaded(checkpoint("mixture")), loaded(checkpoint("flows"))
    with compat.patch(model):
        fused = places()
        assert fused[:2] == fused[2:] and fused[0] is compat.Normal and issubclass(fused[1], before[1])
        with compat.patch(other):  # of the same code
            assert places() == fused
        assert places() == fused
    assert places() == before
    compat.patch(nn.ModuleList([model]))
    assert places() == fused
    compat.unpatch()
    compat.unpatch()
    assert places() == before == 2 * [NormalOfNVAE, before[1]]


class OtherDecoder(nn.Module):
    def decoder_output(self, logits: Tensor) -> None: ...


def test_what_is_no_nvae_is_refused() -> None:
    before, model = places(), loaded(checkpoint("mixture"))
    for value, name in ((nvae.AutoEncoder, "type"), (model.state_dict(), "OrderedDict"), (None, "None")):
        with pytest.raises(TypeError, match=f"^model: expected a torch.nn.Module, got {name}$"):
            compat.patch(value)  # type: ignore[arg-type]
    for module in (nn.Linear(2, 2), OtherDecoder(), model.dec_tower):
        with pytest.raises(ValueError, match=r"^model: expected one with a part that defines decoder_output\(logits\)"):
            compat.patch(module)
    with pytest.raises(ValueError, match="has Normal, DiscMixLogistic, got Linear, which has none$"):
        compat.patch(nn.Linear(2, 2))
    assert places() == before
