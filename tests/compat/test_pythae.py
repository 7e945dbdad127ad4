"""genkern.compat.pythae beside pythae itself: the same losses and gradients from the same seed and noise."""

from collections.abc import Iterator
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
