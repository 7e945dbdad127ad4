"""genkern.compat.pyro inside pyro: inference, plates, reparameterisations, enumeration."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

pytest.importorskip("pyro")
import pyro
from pyro import distributions as dist
from pyro.distributions import constraints, transforms
from pyro.infer import SVI, Trace_ELBO, TraceEnum_ELBO, TraceMeanField_ELBO, config_enumerate
from pyro.infer.reparam import LocScaleReparam, TransformReparam

from genkern.compat import pyro as fused

DATA = 1.5 + 0.5 * torch.randn(64, generator=torch.Generator().manual_seed(0))


@pytest.fixture(autouse=True)
def _fresh() -> None:
    pyro.clear_param_store()
    pyro.set_rng_seed(0)


def conjugate(normal: Any) -> tuple[Callable, Callable]:
    """A normal mean with a normal prior, whose posterior is known."""

    def model() -> None:
        mean = pyro.sample("mean", normal(torch.tensor(0.0), torch.tensor(1.0)))
        with pyro.plate("data", len(DATA)):
            pyro.sample("x", normal(mean, torch.tensor(0.5)), obs=DATA)

    def guide() -> None:
        loc = pyro.param("loc", torch.tensor(0.0))
        scale = pyro.param("scale", torch.tensor(1.0), constraint=constraints.positive)
        pyro.sample("mean", normal(loc, scale))

    return model, guide


@pytest.mark.parametrize("loss", [Trace_ELBO, TraceMeanField_ELBO])
def test_inference_finds_the_posterior(loss: Any) -> None:
    svi = SVI(*conjugate(fused.Normal), pyro.optim.Adam({"lr": 0.05}), loss(num_particles=8, vectorize_particles=True))
    for _ in range(700):
        svi.step()
    precision = 1 + 4 * len(DATA)
    torch.testing.assert_close(pyro.param("loc"), 4 * DATA.sum() / precision, atol=0.05, rtol=0)
    assert pyro.param("scale").item() == pytest.approx(precision**-0.5, rel=0.4)


@pytest.mark.parametrize("name", fused.__all__)
def test_shapes_are_those_of_pyros_contract(name: str) -> None:
    made = {
        "Normal": lambda: fused.Normal(torch.zeros(3, 2), torch.ones(2)),
        "Laplace": lambda: fused.Laplace(torch.zeros(3, 2), torch.ones(2)),
        "Categorical": lambda: fused.Categorical(logits=torch.zeros(3, 2, 4)),
        "OneHotCategorical": lambda: fused.OneHotCategorical(logits=torch.zeros(3, 2, 4)),
        "OneHotCategoricalStraightThrough": lambda: fused.OneHotCategoricalStraightThrough(torch.full((3, 2, 4), 0.25)),
        "DiagonalGaussian": lambda: fused.DiagonalGaussian(torch.zeros(3, 2, 5), torch.zeros(3, 2, 5), event_ndim=1),
    }[name]()
    expanded = made.expand_by((7,))
    assert type(expanded) is type(made) and expanded.batch_shape == (7, 3, 2)
    event = made.to_event(1)
    assert event.batch_shape == (3,) and event.log_prob(event()).shape == (3,)
    masked = made.mask(torch.tensor(False))
    assert masked.log_prob(masked.sample()).abs().sum() == 0
    assert made.shape((7,)) == made((7,)).shape
    assert pyro.sample("x", made).shape == made.shape()


def test_enumeration_sums_classes_out() -> None:
    @config_enumerate
    def model() -> None:
        centres = torch.tensor([-1.0, 2.0])
        with pyro.plate("data", 4):
            k = pyro.sample("k", fused.Categorical(torch.tensor([0.25, 0.75])))
            pyro.sample("x", fused.Normal(centres[k], torch.tensor(1.0)), obs=DATA[:4])

    loss = TraceEnum_ELBO(max_plate_nesting=1).loss(model, lambda: None)
    mixture = torch.distributions.MixtureSameFamily(
        torch.distributions.Categorical(torch.tensor([0.25, 0.75])),
        torch.distributions.Normal(torch.tensor([-1.0, 2.0]), 1.0),
    )
    assert loss == pytest.approx(-mixture.log_prob(DATA[:4]).sum().item(), rel=1e-5)


@pytest.mark.parametrize("reparam", [LocScaleReparam(0.3), TransformReparam()])
def test_reparameterised_models_have_the_same_density(reparam: Any) -> None:
    def model(normal: Any) -> torch.Tensor:
        base = normal(torch.tensor([1.0, 2.0]), torch.tensor([0.5, 3.0]))
        if isinstance(reparam, TransformReparam):
            base = dist.TransformedDistribution(base, [transforms.ExpTransform()])
        return pyro.sample("x", base.to_event(1))

    def density(normal: Any) -> torch.Tensor:
        pyro.clear_param_store()
        trace = pyro.poutine.trace(pyro.poutine.reparam(lambda: model(normal), {"x": reparam})).get_trace()
        latent = next(name for name in trace.nodes if name.startswith("x_"))
        held = pyro.poutine.condition(
            pyro.poutine.reparam(lambda: model(normal), {"x": reparam}), {latent: torch.tensor([0.3, -0.7])}
        )
        found = pyro.poutine.trace(held).get_trace()
        return torch.cat([found.nodes["x"]["value"], found.log_prob_sum().reshape(1)])

    torch.testing.assert_close(density(fused.Normal), density(dist.Normal))
