"""genkern.compat.pythae beside pythae itself: the same losses and gradients from the same seed and noise."""

from collections.abc import Iterator
from contextlib import nullcontext
from types import MethodType
from typing import Any

import pytest
import torch
from torch import Tensor

import genkern as gk
from genkern.compat import pythae as compat

pytest.importorskip("pythae")
import pythae.models as models

UPSTREAM = {name: getattr(models, name) for name in ("VAE", "BetaTCVAE", "IWAE", "INFOVAE_MMD")}
SIZE, LATENT, STEPS = (1, 6, 6), 4, 4
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "VAE": ("VAE", {}),
    "VAE of probabilities": ("VAE", {"reconstruction_loss": "bce"}),
    "BetaTCVAE, stratified": ("BetaTCVAE", {"alpha": 0.7, "beta": 3.0, "gamma": 1.3, "use_mss": True}),
    "BetaTCVAE, weighted": ("BetaTCVAE", {"beta": 3.0, "use_mss": False}),
    "IWAE": ("IWAE", {"number_samples": 3}),
    "IWAE of probabilities": ("IWAE", {"number_samples": 3, "reconstruction_loss": "bce"}),
    "INFOVAE_MMD, rbf": ("INFOVAE_MMD", {"kernel_choice": "rbf", "alpha": 0.3, "lbd": 2.0}),
    "INFOVAE_MMD, imq": ("INFOVAE_MMD", {"kernel_choice": "imq", "lbd": 2.0}),
}


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    yield
    compat.unpatch()


def build(name: str, **options: Any) -> Any:
    torch.manual_seed(0)
    config = getattr(models, f"{name}Config" if name != "INFOVAE_MMD" else "INFOVAE_MMD_Config")
    return getattr(models, name)(config(input_dim=SIZE, latent_dim=LATENT, **options)).double()


def upstream_sample(self: Any, mu: Tensor, std: Tensor) -> tuple[Tensor, Tensor]:
    """pythae's, with genkern's noise."""
    eps = gk.random.normal(gk.random.reserve(), std.shape, dtype=std.dtype)
    return mu + eps * std, eps


def train(model: Any) -> list[dict[str, Tensor]]:
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-2)
    generator = torch.Generator().manual_seed(1)
    found = []
    for _ in range(STEPS):
        x = torch.rand((5, *SIZE), generator=generator, dtype=torch.float64)
        torch.manual_seed(len(found))
        result = model({"data": x}, dataset_size=50)
        optimizer.zero_grad()
        result.loss.backward()
        optimizer.step()
        found.append({name: value.detach() for name, value in result.items()})
    return [*found, {name: p.detach() for name, p in model.named_parameters()}]


@pytest.mark.parametrize(("name", "options"), CASES.values(), ids=CASES)
def test_a_model_trains_as_with_pythaes_own(
    name: str, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(UPSTREAM[name], "_sample_gauss", upstream_sample)
    expected = train(build(name, **options))
    with compat.patch(legacy=True):
        model = build(name, **options)
        assert type(model) is not UPSTREAM[name] and isinstance(model, UPSTREAM[name])
        found = train(model)
    for mine, its in zip(found, expected, strict=True):
        assert mine.keys() == its.keys()
        for part, value in its.items():
            torch.testing.assert_close(mine[part], value, msg=part)


def changed(model: Any, attribute: str, value: Any) -> None:
    *path, last = attribute.split(".")
    for name in path:
        model = getattr(model, name)
    setattr(model, last, value)


def own_kernel(self: Any, z1: Tensor, z2: Tensor) -> Tensor:
    return 1 / (1 + (z1.unsqueeze(1) - z2.unsqueeze(0)).abs().sum(-1))


def own_density(self: Any, z: Tensor, mu: Tensor, log_var: Tensor) -> Tensor:
    return -(z - mu).abs() / (0.5 * log_var).exp()


ASSIGNED = [
    ("VAE", "model_config.reconstruction_loss", "bce"),
    ("BetaTCVAE", "alpha", 0.3),
    ("BetaTCVAE", "beta", 0.3),
    ("BetaTCVAE", "gamma", 0.3),
    ("BetaTCVAE", "use_mss", False),
    ("IWAE", "n_samples", 2),
    ("INFOVAE_MMD", "alpha", 0.3),
    ("INFOVAE_MMD", "lbd", 5.0),
    ("INFOVAE_MMD", "kernel_choice", "rbf"),
    ("INFOVAE_MMD", "kernel_choice", "another"),
    ("INFOVAE_MMD", "scales", [2.0]),
    ("INFOVAE_MMD", "scales", (0.5, 2)),
    ("INFOVAE_MMD", "scales", torch.linspace(0.1, 9, 40)),
    ("INFOVAE_MMD", "model_config.kernel_bandwidth", 0.3),
    ("INFOVAE_MMD", "model_config.latent_dim", 9),
]
METHODS = [
    ("BetaTCVAE", "_compute_log_gauss_density", own_density),
    ("BetaTCVAE", "_log_importance_weight_matrix", lambda self, batch, data: torch.full((batch, batch), -2.0)),
    ("INFOVAE_MMD", "imq_kernel", own_kernel),
]


@pytest.mark.parametrize(("name", "attribute", "value"), ASSIGNED)
def test_what_is_assigned_to_a_model_acts_as_in_pythae(
    name: str, attribute: str, value: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(UPSTREAM[name], "_sample_gauss", upstream_sample)
    found = []
    for patched in (False, True):
        with compat.patch(legacy=True) if patched else nullcontext():
            model = build(name, lbd=2.0) if name == "INFOVAE_MMD" else build(name)
            changed(model, attribute, value)
            found.append(train(model))
    for its, mine in zip(*found, strict=True):
        for part, expected in its.items():
            torch.testing.assert_close(mine[part], expected, msg=part)


@pytest.mark.parametrize(("name", "method", "own"), METHODS)
@pytest.mark.parametrize("of", ["a class", "an object"])
def test_a_method_of_ones_own_acts_as_in_pythae(
    name: str, method: str, own: Any, of: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(UPSTREAM[name], "_sample_gauss", upstream_sample)
    found = []
    for patched in (False, True):
        with compat.patch() if patched else nullcontext():
            model = build(name)
            if of == "a class":
                model.__class__ = type("Own", (type(model),), {method: own})
            else:
                setattr(model, method, MethodType(own, model))
            found.append(train(model))
    for its, mine in zip(*found, strict=True):
        for part, expected in its.items():
            torch.testing.assert_close(mine[part], expected, msg=part)


@pytest.mark.parametrize("data", [1, 2, 50])
@pytest.mark.parametrize(("name", "options"), CASES.values(), ids=CASES)
def test_a_last_batch_of_one_datum_trains(name: str, options: dict[str, Any], data: int) -> None:
    with compat.patch():
        model = build(name, **options)
        result = model({"data": torch.rand((1, *SIZE), dtype=torch.float64)}, dataset_size=data)
    result.loss.backward()
    assert all(value.isfinite().all() for value in result.values())
    assert all(p.grad.isfinite().all() for p in model.parameters())
    assert any(p.grad.abs().sum() > 0 for p in model.parameters())


@pytest.mark.parametrize("kernel", ["rbf", "imq"])
def test_the_discrepancy_of_one_datum_is_the_biased_one(kernel: str) -> None:
    with compat.patch():
        model = build("INFOVAE_MMD", kernel_choice=kernel)
    z, prior, mu = (torch.randn(1, LATENT, dtype=torch.float64) for _ in range(3))
    x = torch.rand(1, 36, dtype=torch.float64)
    *_, found = model.loss_function(x, x, z, prior, mu, mu)
    own = getattr(model, f"{kernel}_kernel")  # pythae's
    torch.testing.assert_close(found, (own(z, z) + own(prior, prior) - 2 * own(z, prior)).squeeze())


def test_an_unknown_reconstruction_is_refused() -> None:
    with compat.patch():
        model = build("VAE")
    model.model_config.reconstruction_loss = "l1"
    with pytest.raises(ValueError, match="reconstruction_loss: expected one of 'mse', 'bce', got 'l1'"):
        train(model)


def test_an_iwae_loses_its_bound_with_the_same_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(UPSTREAM["IWAE"], "_sample_gauss", upstream_sample)
    with compat.patch(legacy=True):
        legacy = train(build("IWAE", number_samples=3))
    with compat.patch():
        model = build("IWAE", number_samples=3)
        found = train(model)
        torch.manual_seed(0)
        x = torch.rand((5, *SIZE), dtype=torch.float64)
        z = torch.randn(5, 3, LATENT, dtype=torch.float64)
        mu = torch.randn(5, 1, LATENT, dtype=torch.float64).expand(5, 3, -1)
        reconstruction = torch.rand(5, 3, 36, dtype=torch.float64)
        loss, *_ = model.loss_function(reconstruction, x, mu, mu, z)
    for name, value in legacy[-1].items():
        torch.testing.assert_close(found[-1][name], value, msg=name)
    normal = torch.distributions.Normal
    log_w = normal(reconstruction, 1.0).log_prob(x.reshape(5, 1, -1)).sum(-1) + 18 * torch.tensor(2 * torch.pi).log()
    log_w = log_w + (normal(0.0, 1.0).log_prob(z) - normal(mu, torch.exp(0.5 * mu)).log_prob(z)).sum(-1)
    torch.testing.assert_close(loss, -(log_w.logsumexp(1) - torch.tensor(3.0).log()).mean(), rtol=1e-6, atol=1e-6)


def test_stratified_weights_are_the_papers_unless_legacy() -> None:
    with compat.patch():
        model = build("BetaTCVAE")
    x, z, mu, log_var = (torch.randn(5, n, dtype=torch.float64) for n in (36, LATENT, LATENT, LATENT))
    for legacy in (False, True):
        model.legacy = legacy
        weights = "legacy" if legacy else "paper"
        parts = gk.total_correlation(z, mu, log_var, dataset_size=50, mss_weights=weights)
        _, _, found = model.loss_function(x, x, mu, log_var, z, 50)
        torch.testing.assert_close(found, (parts[0] + model.beta * parts[1] + parts[2]).mean())


def test_names_are_bound_and_left() -> None:
    from pythae.models import vae

    with compat.patch():
        compat.patch()
        assert models.VAE is vae.VAE and issubclass(models.VAE, compat.VAEMixin)
        with pytest.raises(ValueError, match="legacy: expected False, which is in force, got True"):
            compat.patch(legacy=True)
    compat.unpatch()
    assert {name: getattr(models, name) for name in UPSTREAM} == UPSTREAM and vae.VAE is UPSTREAM["VAE"]


def test_noise_is_given_as_well() -> None:
    with compat.patch():
        model = build("VAE")
    mu, std = torch.randn(3, 2), torch.rand(3, 2)
    z, eps = model._sample_gauss(mu, std)
    torch.testing.assert_close(z, mu + std * eps)
