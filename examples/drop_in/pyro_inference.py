"""Inference in pyro with fused distributions: one import changes."""

import pyro
import torch
from pyro.distributions import constraints
from pyro.infer import SVI, TraceMeanField_ELBO

# from pyro.distributions import Normal
from genkern.compat.pyro import Normal

data = 1.5 + 0.5 * torch.randn(100)


def model() -> None:
    mean = pyro.sample("mean", Normal(torch.tensor(0.0), torch.tensor(1.0)))
    with pyro.plate("data", len(data)):
        pyro.sample("x", Normal(mean, torch.tensor(0.5)), obs=data)


def guide() -> None:
    loc = pyro.param("loc", torch.tensor(0.0))
    scale = pyro.param("scale", torch.tensor(0.1), constraint=constraints.positive)
    pyro.sample("mean", Normal(loc, scale))


svi = SVI(model, guide, pyro.optim.Adam({"lr": 0.05}), TraceMeanField_ELBO())
for _ in range(200):
    svi.step()
print(f"posterior mean {pyro.param('loc').item():.2f}, mean of the data {data.mean().item():.2f}")
