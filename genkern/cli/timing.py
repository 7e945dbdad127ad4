"""The training step against plain torch: the same networks, with the formulas as people write them by hand."""

from __future__ import annotations

import copy
import math
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as torch_functional

from genkern.nn import VAE, GaussianLikelihood

__all__ = ["compare_step_times", "plain_loss"]

_WARM_STEPS = 3
_STEPS_A_ROUND = 5
_MOST_ROUNDS = 40
_BUDGET_S = 6.0


def compare_step_times(vae: VAE, x: Tensor) -> dict[str, Any]:
    """Median milliseconds of a training step (noise, forward, backward, Adam) with genkern and with plain torch.

    Rounds of a few steps of each alternate, and so does which goes first: whatever else the machine does meets both.
    """
    steps = {"genkern": _stepper(vae, VAE.loss, x), "plain_torch": _stepper(vae, plain_loss, x)}
    for step in steps.values():
        for _ in range(_WARM_STEPS):
            step()
    times: dict[str, list[float]] = {name: [] for name in steps}
    began, rounds = time.perf_counter(), 0
    while rounds < _MOST_ROUNDS and (rounds < 3 or time.perf_counter() - began < _BUDGET_S):
        for name in sorted(steps, reverse=rounds % 2 == 1):
            for _ in range(_STEPS_A_ROUND):
                start = time.perf_counter()
                steps[name]()
                times[name].append(1e3 * (time.perf_counter() - start))
        rounds += 1
    medians = {name: statistics.median(values) for name, values in times.items()}
    return {
        "genkern_ms": medians["genkern"],
        "plain_torch_ms": medians["plain_torch"],
        "plain_over_genkern": medians["plain_torch"] / medians["genkern"],
        "rounds": rounds,
        "steps_a_round": _STEPS_A_ROUND,
        "batch_size": len(x),
        "threads": torch.get_num_threads(),
    }


def plain_loss(vae: VAE, x: Tensor) -> Tensor:
    """The negative ELBO of `vae` in eager torch, knowing nothing of genkern's operations."""
    loc, logvar = vae.encoder(x).chunk(2, dim=1)
    z = loc + torch.exp(0.5 * logvar) * torch.randn_like(loc)
    kl = -0.5 * torch.sum(1 + logvar - loc.pow(2) - logvar.exp(), dim=1)
    out = vae.decoder(z)
    return (_plain_distortion(vae, x, out).flatten(1).sum(dim=1) + vae.objective.beta * kl).mean()


def _plain_distortion(vae: VAE, x: Tensor, out: Tensor) -> Tensor:
    likelihood = vae.likelihood
    if not isinstance(likelihood, GaussianLikelihood):
        return torch_functional.binary_cross_entropy_with_logits(out, x, reduction="none")
    log_sigma: Tensor
    half_log_two_pi = 0.5 * math.log(2 * math.pi)
    if likelihood.sigma == "learned":
        log_sigma = likelihood.log_sigma
    elif likelihood.sigma == "optimal":
        log_sigma = 0.5 * (x - out).pow(2).mean().log()
    elif likelihood.sigma == "decoder":
        out, logvar = out.chunk(2, dim=1)
        log_sigma = 0.5 * logvar
    else:
        log_sigma = torch.tensor(math.log(float(likelihood.sigma)))
    return 0.5 * ((x - out) / log_sigma.exp()).pow(2) + log_sigma + half_log_two_pi


def _stepper(vae: VAE, loss: Callable[[VAE, Tensor], Tensor], x: Tensor) -> Callable[[], None]:
    """One training step on a copy of the model, so that the two sides do not touch each other's parameters."""
    model = copy.deepcopy(vae).train().requires_grad_(True)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4, fused=True)

    def step() -> None:
        optimizer.zero_grad()
        loss(model, x).backward()
        optimizer.step()

    return step
