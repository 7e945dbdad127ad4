"""VAEs under torch.func in training mode: gradients, gradients a datum, ensembles, and the buffers that move."""

import copy

import pytest
import torch
from torch.func import functional_call, grad, jvp, stack_module_state, vmap

import genkern as gk
from genkern.nn import (
    ELBO,
    IWAE,
    VAE,
    BetaTCVAE,
    GaussianLikelihood,
    InfoVAE,
    MLPDecoder,
    MLPEncoder,
    VampPrior,
)

KEY = gk.random.key(3)
X = torch.rand(5, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
OBJECTIVES = {
    "ELBO": lambda: ELBO(warmup=10),
    "IWAE": lambda: IWAE(3),
    "BetaTCVAE": lambda: BetaTCVAE(dataset_size=100),
    "InfoVAE": InfoVAE,
    "VampPrior": lambda: VampPrior(4, (6,), warmup=10),
}
every_objective = pytest.mark.parametrize("objective", OBJECTIVES.values(), ids=OBJECTIVES)
every_likelihood = pytest.mark.parametrize("likelihood", [lambda: "gaussian", lambda: GaussianLikelihood("optimal")])


def make(objective, likelihood, seed=0):
    torch.manual_seed(seed)
    networks = MLPEncoder((6,), 2, hidden=(8,)), MLPDecoder((6,), 2, hidden=(8,))
    vae = VAE(*networks, likelihood=likelihood(), objective=objective()).double()
    if hasattr(vae.objective, "step"):
        vae.objective.step.fill_(4)
    return vae


def weights(vae):
    return {name: p.detach() for name, p in vae.named_parameters()}


def state(vae):
    return {name: b.clone() for name, b in vae.named_buffers()}


def by_autograd(vae, x):
    """Gradients and buffers of a plain call, which moves on a copy."""
    vae = copy.deepcopy(vae)
    loss = vae.loss(x, key=KEY)
    gradients = torch.autograd.grad(loss, list(vae.parameters()), allow_unused=True, materialize_grads=True)
    return dict(zip(dict(vae.named_parameters()), gradients, strict=True)), state(vae)


@every_likelihood
@every_objective
def test_a_gradient_is_that_of_autograd_and_moves_the_buffers(objective, likelihood):
    vae = make(objective, likelihood)
    expected, moved = by_autograd(vae, X)
    found = grad(lambda p: functional_call(vae, p, (X,), {"key": KEY}))(weights(vae))
    torch.testing.assert_close(found, expected)
    assert not any(torch._C._functorch.is_functorch_wrapped_tensor(b) for b in vae.buffers())
    torch.testing.assert_close(state(vae), moved)
    vae.loss(X, key=KEY).backward()  # and goes on


@every_likelihood
@every_objective
def test_a_tangent_moves_the_buffers_as_well(objective, likelihood):
    vae = make(objective, likelihood)
    gradients, moved = by_autograd(vae, X)
    primals = weights(vae)
    tangents = {name: torch.ones_like(p) for name, p in primals.items()}
    _, slope = jvp(lambda p: functional_call(vae, p, (X,), {"key": KEY}), (primals,), (tangents,))
    torch.testing.assert_close(slope, sum(g.sum() for g in gradients.values()))
    torch.testing.assert_close(state(vae), moved)


@every_likelihood
@every_objective
def test_gradients_a_datum_count_as_one_call(objective, likelihood):
    vae = make(objective, likelihood)
    one_by_one = [by_autograd(vae, x[None])[0] for x in X]
    before = state(vae)
    found = vmap(grad(lambda p, x: functional_call(vae, p, (x[None],), {"key": KEY})), (None, 0))(weights(vae), X)
    for name, rows in found.items():
        torch.testing.assert_close(rows, torch.stack([gradients[name] for gradients in one_by_one]))
    after = state(vae)
    for name in ("objective.step", "likelihood.batches"):
        assert name not in before or after[name] == before[name] + 1
    if "likelihood.running_variance" in after:  # the mean of what each alone would have begun with
        vae.load_state_dict(before, strict=False)
        alone = [by_autograd(vae, x[None])[1]["likelihood.running_variance"] for x in X]
        torch.testing.assert_close(after["likelihood.running_variance"], torch.stack(alone).mean())


@every_likelihood
@every_objective
def test_an_ensemble_is_its_models_one_by_one(objective, likelihood):
    models = [make(objective, likelihood, seed) for seed in range(3)]
    expected = [by_autograd(model, X)[0] for model in models]
    parameters, buffers = stack_module_state(models)
    before = {name: b.clone() for name, b in buffers.items()}
    base = make(objective, likelihood)

    def loss(parameters, buffers):
        return functional_call(base, (parameters, buffers), (X,), {"key": KEY})

    found = vmap(grad(loss))(parameters, buffers)
    for name, rows in found.items():
        torch.testing.assert_close(rows, torch.stack([gradients[name] for gradients in expected]))
    assert all(torch.equal(buffers[name], before[name]) for name in before)
    assert all(torch.equal(b, c) for b, c in zip(base.buffers(), make(objective, likelihood).buffers(), strict=True))


def test_a_function_may_hand_the_moved_buffers_on():
    vae = make(OBJECTIVES["ELBO"], lambda: GaussianLikelihood("optimal"))
    _, moved = by_autograd(vae, X)

    def loss(parameters, buffers):
        held = {**parameters, **buffers}
        value = functional_call(vae, held, (X,), {"key": KEY})
        return value, {name: held[name] for name in buffers}

    stacked = {name: torch.stack([b, b]) for name, b in state(vae).items()}
    _, found = vmap(loss, (None, 0))(weights(vae), stacked)
    for name, value in moved.items():
        torch.testing.assert_close(found[name], torch.stack([value, value]))
