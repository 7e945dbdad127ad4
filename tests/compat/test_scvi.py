"""genkern.compat.scvi beside scvi-tools itself: the same log-densities, losses and models, from the same seed."""

from __future__ import annotations

import logging
import math
import pickle
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import sparse, stats
from torch import Tensor

from genkern import distributions
from genkern.compat import scvi as compat

pytest.importorskip("scvi")
import anndata
import scvi
from scvi.distributions import NegativeBinomial, Poisson, ZeroInflatedNegativeBinomial

pytestmark = [
    pytest.mark.late,
    pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning", "ignore::DeprecationWarning"),
]
CELLS, GENES, PROTEINS = 160, 60, 5


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    scvi.settings.verbosity = logging.ERROR
    yield
    compat.unpatch()


def counts(cells: int, genes: int, seed: int = 0) -> np.ndarray:
    """Four kinds of cells, gene means log-normal, three counts of four 0, as in real data."""
    random = np.random.default_rng(seed)
    means = np.exp(random.normal(-1.5, 1.5, genes)) * np.exp(random.normal(0, 0.3, (cells, 1)))
    means = means * np.exp(0.5 * random.normal(size=(4, genes)))[random.integers(4, size=cells)]
    return random.poisson(random.gamma(2.0, means / 2.0)).astype(np.float32)


@pytest.fixture
def cells() -> Any:
    found = anndata.AnnData(sparse.csr_matrix(counts(CELLS, GENES)))
    found.obs["kind"] = np.array(["a", "b"])[np.arange(CELLS) % 2]
    found.obsm["proteins"] = counts(CELLS, PROTEINS, seed=1) + 1
    return found


def parameters(dtype: torch.dtype) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {
        "mu": (1.5 * torch.randn(40, 30, generator=generator, dtype=torch.float64)).exp().to(dtype),
        "theta": torch.randn(30, generator=generator, dtype=torch.float64).exp().to(dtype),
        "zi_logits": torch.randn(40, 30, generator=generator, dtype=torch.float64).to(dtype),
    }


LAWS = {
    "NegativeBinomial": lambda mu, theta, zi_logits: NegativeBinomial(mu=mu, theta=theta),
    "ZeroInflatedNegativeBinomial": lambda mu, theta, zi_logits: ZeroInflatedNegativeBinomial(
        mu=mu, theta=theta, zi_logits=zi_logits
    ),
    "Poisson": lambda mu, theta, zi_logits: Poisson(mu),
}


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("law", LAWS.values(), ids=LAWS)
def test_log_densities_and_gradients_are_scvis(law: Any, legacy: bool) -> None:
    given = parameters(torch.float64)
    x = torch.poisson(given["mu"], generator=torch.Generator().manual_seed(1))

    def differentiated() -> list[Tensor]:
        leaves = {name: t.clone().requires_grad_() for name, t in given.items()}
        log_prob = law(**leaves).log_prob(x)
        gradients = torch.autograd.grad(log_prob.sum(), list(leaves.values()), allow_unused=True)
        return [log_prob.detach(), *(g for g in gradients if g is not None)]

    expected = differentiated()
    with compat.patch(legacy=legacy):
        found = differentiated()
    for value, wanted in zip(found, expected, strict=True):
        torch.testing.assert_close(value, wanted, rtol=3e-6, atol=1e-6)  # scvi's 1e-8 beside a mean or a dispersion


@pytest.mark.parametrize("draw", [lambda q: q.sample(), lambda q: q.sample((2,)), lambda q: q.rsample()])
def test_legacy_has_torchs_noise(draw: Any) -> None:
    def drawn() -> Tensor:
        torch.manual_seed(0)
        return draw(scvi.nn._base_components.Normal(torch.zeros(3), torch.full((3,), 2.0)))

    expected = drawn()
    with compat.patch(legacy=True):
        torch.testing.assert_close(drawn(), expected)
    with compat.patch():
        assert not torch.allclose(drawn(), expected)


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("x", [torch.tensor([1, 0]).byte(), torch.tensor([True, False]), 2])
def test_counts_of_every_type_are_taken(x: Any, legacy: bool) -> None:
    mu, theta = torch.tensor([3.0, 1.0]), torch.tensor([2.0, 2.0])
    laws = [Poisson(mu, validate_args=False)]
    laws += [NegativeBinomial(mu=mu, theta=theta)] if isinstance(x, Tensor) else []
    for law in laws:
        expected = law.log_prob(x)
        with compat.patch(legacy=legacy):
            torch.testing.assert_close(law.log_prob(x), expected, rtol=1e-5, atol=1e-5)


def test_a_patch_may_be_entered_again() -> None:
    applied = compat.patch()
    for _ in range(2):
        with applied:
            assert scvi.distributions._negative_binomial.log_nb_positive is compat.log_nb_positive
        assert scvi.distributions._negative_binomial.log_nb_positive is not compat.log_nb_positive


def test_legacy_has_scvis_floor_of_the_mean_and_the_default_has_none() -> None:
    law = NegativeBinomial(mu=torch.zeros(2, dtype=torch.float64), theta=torch.ones(2, dtype=torch.float64))
    x = torch.tensor([0.0, 3.0], dtype=torch.float64)
    theirs = law.log_prob(x)
    with compat.patch(legacy=True):
        torch.testing.assert_close(law.log_prob(x), theirs, rtol=1e-9, atol=2e-8)
    with compat.patch():
        assert law.log_prob(x).tolist() == [0.0, -math.inf]


@pytest.mark.parametrize("theta", [1e5, 1e6, 1e8])
def test_large_inverse_dispersions_are_right_where_scvis_formula_is_not(theta: float) -> None:
    """scverse/scvi-tools#2965."""
    x, mu = torch.tensor([0.0, 1.0, 3.0]), 0.5
    law = NegativeBinomial(mu=torch.full((3,), mu), theta=torch.tensor(theta))
    expected = torch.from_numpy(stats.nbinom(theta, theta / (theta + mu)).logpmf(x.numpy()))
    assert ((law.log_prob(x) / expected - 1).abs() > 0.01).any()
    with compat.patch():
        torch.testing.assert_close(law.log_prob(x).double(), expected, rtol=3e-6, atol=0.0)


def trained(kind: str, cells: Any, epochs: int = 1) -> tuple[np.ndarray, Any]:
    """The losses of each epoch."""
    scvi.settings.seed = 0
    data = cells.copy()
    options: dict[str, Any] = {"n_latent": 3, "n_hidden": 16}
    if kind == "TOTALVI":
        scvi.model.TOTALVI.setup_anndata(data, protein_expression_obsm_key="proteins")
        model = scvi.model.TOTALVI(data, n_latent=3, empirical_protein_background_prior=False)
    elif kind == "SCANVI":
        scvi.model.SCANVI.setup_anndata(data, labels_key="kind", unlabeled_category="unknown")
        model = scvi.model.SCANVI(data, **options)
    elif kind == "LinearSCVI":
        scvi.model.LinearSCVI.setup_anndata(data)
        model = scvi.model.LinearSCVI(data, **options)
    else:
        scvi.model.SCVI.setup_anndata(data)
        likelihood, _, more = kind.partition(", ")
        if more:
            options["dispersion"] = more
        model = scvi.model.SCVI(data, gene_likelihood=likelihood, **options)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.train(
            max_epochs=epochs, accelerator="cpu", train_size=0.9, batch_size=32, enable_progress_bar=False, logger=None
        )
    return model.history["elbo_train"].to_numpy(dtype=np.float64).ravel(), model


MODELS = ["zinb", "nb", "poisson", "nb, gene-cell", "LinearSCVI", "SCANVI", "TOTALVI"]


@pytest.mark.parametrize("kind", MODELS)
def test_a_model_trains_to_scvis_losses(kind: str, cells: Any) -> None:
    expected, _ = trained(kind, cells)
    with compat.patch(legacy=True):
        same, _ = trained(kind, cells)
    with compat.patch():
        exact, _ = trained(kind, cells)
    np.testing.assert_allclose(same, expected, rtol=2e-5)
    np.testing.assert_allclose(exact, expected, rtol=0.05)  # of another noise
    assert not np.array_equal(exact, expected)


def test_a_model_trained_with_a_patch_is_saved_and_loaded_without(cells: Any, tmp_path: Path) -> None:
    scvi.model.SCVI.setup_anndata(cells)
    with compat.patch():
        _, model = trained("nb", cells)
        model.save(str(tmp_path / "model"), save_anndata=True)
        patched = model.get_latent_representation()
    loaded = scvi.model.SCVI.load(str(tmp_path / "model"))
    np.testing.assert_allclose(loaded.get_latent_representation(), patched, rtol=1e-5, atol=1e-6)


PLACES = [
    (scvi.distributions._negative_binomial, "log_nb_positive"),
    (scvi.distributions._negative_binomial, "log_zinb_positive"),
    (scvi.nn._base_components, "Normal"),
]


@pytest.mark.parametrize("legacy", [False, True])
def test_everything_is_as_it_was_behind_a_patch(legacy: bool) -> None:
    before = [getattr(module, name) for module, name in PLACES]
    inherited = Poisson.log_prob
    with compat.patch(legacy=legacy), compat.patch(legacy=legacy):
        assert not any(getattr(m, name) is value for (m, name), value in zip(PLACES, before, strict=True))
        assert issubclass(scvi.nn._base_components.Normal, distributions.Normal)
        with pytest.raises(ValueError, match="^legacy: expected"):
            compat.patch(legacy=not legacy)
        held = pickle.dumps(NegativeBinomial(mu=torch.ones(2), theta=torch.ones(2)))
    assert [getattr(module, name) for module, name in PLACES] == before
    assert Poisson.log_prob is inherited and "log_prob" not in vars(Poisson)
    assert torch.distributions.Normal is not distributions.Normal
    assert pickle.loads(held).log_prob(torch.ones(2)).isfinite().all()


def test_the_posterior_and_its_divergence_are_fused(monkeypatch: pytest.MonkeyPatch) -> None:
    from genkern import functional

    seen = []
    for name in ("gaussian_kl", "gaussian_rsample"):
        kept = getattr(functional, name)
        monkeypatch.setattr(functional, name, lambda *a, n=name, f=kept, **k: (seen.append(n), f(*a, **k))[1])
    with compat.patch():
        encoder = scvi.nn.Encoder(4, 3, return_dist=True)
        posterior, z = encoder(torch.ones(5, 4))
        prior = torch.distributions.Normal(torch.zeros_like(z), torch.ones_like(z))
        divergence = torch.distributions.kl_divergence(posterior, prior)
    assert seen == ["gaussian_rsample", "gaussian_kl"] and divergence.shape == (5, 3)


def test_values_outside_of_the_support_are_told_as_before() -> None:
    law = NegativeBinomial(mu=torch.ones(2), theta=torch.ones(2), validate_args=True)
    with compat.patch(), pytest.warns(UserWarning, match="support"):
        law.log_prob(torch.tensor([0.5, 1.0]))
    with compat.patch(), pytest.raises(ValueError, match="support"):
        Poisson(torch.ones(2), validate_args=True).log_prob(torch.tensor([-1.0, 1.0]))
