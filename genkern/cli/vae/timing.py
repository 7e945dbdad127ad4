"""The training step against plain torch: the same networks, with the formulas as people write them by hand."""

import copy
import math
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as torch_functional

from genkern import nn

_WARM_STEPS = 3
_STEPS_A_ROUND = 5
_MOST_ROUNDS = 40
_BUDGET_S = 6.0


def compare_step_times(vae: nn.VAE, x: Tensor) -> dict[str, Any]:
    """Median milliseconds of a training step (noise, forward, backward, Adam) with genkern and with plain torch.

    Rounds of a few steps of each alternate, and so does which goes first: whatever else the machine does meets both.
    """
    steps = {"genkern": _stepper(vae, nn.VAE.loss, x), "plain_torch": _stepper(vae, plain_loss, x)}
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
                if x.device.type != "cpu":
                    torch.accelerator.synchronize(x.device)
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


def plain_loss(vae: nn.VAE, x: Tensor) -> Tensor:
    """The negative nn.ELBO of `vae` in eager torch, knowing nothing of genkern's operations."""
    loc, logvar = vae.encoder(x).chunk(2, dim=1)
    z = loc + torch.exp(0.5 * logvar) * torch.randn_like(loc)
    kl = -0.5 * torch.sum(1 + logvar - loc.pow(2) - logvar.exp(), dim=1)
    out = vae.decoder(z)
    assert isinstance(vae.objective, nn.ELBO)
    return (_plain_distortion(vae, x, out).flatten(1).sum(dim=1) + vae.objective.beta * kl).mean()


def _plain_distortion(vae: nn.VAE, x: Tensor, out: Tensor) -> Tensor:
    likelihood: Any = vae.likelihood
    if isinstance(likelihood, nn.BernoulliLikelihood):
        return torch_functional.binary_cross_entropy_with_logits(out, x, reduction="none")
    if isinstance(likelihood, nn.DiscretizedLogisticMixtureLikelihood):
        return _plain_logistic_nll(x, out, likelihood.mixtures)
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
        log_sigma = out.new_tensor(math.log(float(likelihood.sigma)))
    if isinstance(likelihood, nn.LaplaceLikelihood):
        return (x - out).abs() / log_sigma.exp() + log_sigma + math.log(2)
    if isinstance(likelihood, nn.DiscretizedGaussianLikelihood):
        return _plain_bin_nll(x, out, log_sigma, likelihood)
    return 0.5 * ((x - out) / log_sigma.exp()).pow(2) + log_sigma + half_log_two_pi


def _plain_bin_nll(x: Tensor, loc: Tensor, log_sigma: Tensor, bins: nn.DiscretizedGaussianLikelihood) -> Tensor:
    half = 0.5 * (bins.high - bins.low) / (bins.bins - 1)
    plus, minus = (torch.special.ndtr((x - loc + side * half) / log_sigma.exp()) for side in (1, -1))
    plus = torch.where(x > bins.high - 0.1 * half, 1.0, plus)
    minus = torch.where(x < bins.low + 0.1 * half, 0.0, minus)
    return -(plus - minus).clamp(min=1e-12).log()


def _plain_logistic_nll(x: Tensor, out: Tensor, mixtures: int) -> Tensor:
    """PixelCNN++'s own formula for images in 256 levels, its approximation of small masses included."""
    softplus = torch_functional.softplus
    x = (2 * x - 1).unsqueeze(2)  # [B, C, 1, H, W]
    coupled = out.shape[1] == 10 * mixtures
    logits, rest = out[:, :mixtures], out[:, mixtures:].unflatten(1, (x.shape[1], -1, mixtures))
    means, log_scales = rest[:, :, 0], rest[:, :, 1].clamp(min=-7.0)
    if coupled:
        by, red, green = torch.tanh(rest[:, :, 2]), x[:, 0], x[:, 1]
        blue_mean = means[:, 2] + by[:, 1] * red + by[:, 2] * green
        means = torch.stack([means[:, 0], means[:, 1] + by[:, 0] * red, blue_mean], dim=1)
    inverse = torch.exp(-log_scales)
    plus, middle, minus = (inverse * (x - means + side / 255) for side in (1, 0, -1))
    mass = torch.sigmoid(plus) - torch.sigmoid(minus)
    density = middle - log_scales - 2 * softplus(middle) - math.log(127.5)
    inner = torch.where(mass > 1e-5, mass.clamp(min=1e-12).log(), density)
    log_mass = torch.where(x < -0.999, plus - softplus(plus), torch.where(x > 0.999, -softplus(minus), inner))
    return -torch.logsumexp(torch.log_softmax(logits, dim=1) + log_mass.sum(dim=1), dim=1)


def _stepper(vae: nn.VAE, loss: Callable[[nn.VAE, Tensor], Tensor], x: Tensor) -> Callable[[], None]:
    """One training step on a copy of the model, so that the two sides do not touch each other's parameters."""
    model = copy.deepcopy(vae).train().requires_grad_(True)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4, fused=True)

    def step() -> None:
        optimizer.zero_grad()
        loss(model, x).backward()
        optimizer.step()

    return step
