"""How a drawn call is made, what its definition is, and how large the terms are whose sum a result is."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

import genkern as gk
from genkern import _checks
from genkern.reference.options import Sigma
from genkern.reference.scale import clamp, logvar
from support.cases import Options, Tensors


def arguments_of(tensors: Tensors, options: Options) -> dict[str, Any]:
    """Those of a call; the tensors of a list are named by their places."""
    arguments: dict[str, Any] = {}
    for name, t in tensors.items():
        of, _, place = name.partition("[")
        if place:
            arguments.setdefault(of, []).append(t)
        else:
            arguments[name] = t
    return {**arguments, **options}


def function_of(operation: str) -> Callable[..., Any]:
    """The public function, or what makes one of a class and of what changes its arguments."""
    if operation in PLAIN:
        return PLAIN[operation]
    return getattr(gk.random if operation.startswith("random.") else gk, operation.removeprefix("random."))


def _accumulated(log_w: Tensor, first: int, dim: int = 0) -> Tensor:
    total, other = gk.LogMeanExp(dim), gk.LogMeanExp(dim)
    total.update(log_w.narrow(dim, 0, first))
    other.update(log_w.narrow(dim, first, log_w.shape[dim] - first))
    total.merge(other)
    return total.compute()


def _averaged(ema_params: list[Tensor], params: list[Tensor], decay: float) -> tuple[Tensor, ...]:
    """The averages that it leaves in places of the same layout."""
    averages = [torch.empty_like(t.detach()).copy_(t.detach()) for t in ema_params]
    gk.ema_update_(averages, params, decay)
    return tuple(averages)


PLAIN: dict[str, Callable[..., Any]] = {"LogMeanExp": _accumulated, "ema_update_": _averaged}


def _log_mean_exp(log_w: Tensor, dim: int = 0) -> Tensor:
    return _log_mean_power(log_w, 1.0, dim)


def _log_mean_power(log_w: Tensor, power: float, dim: int) -> Tensor:
    """log mean exp(power log_w) / power, the value accurate for equal weights; its gradient is the softmax.

    The gradient is 0 where the value is infinite.
    """
    if power == 0:
        return log_w.mean(dim)
    scaled = power * log_w.detach()
    largest = scaled.amax(dim, keepdim=True)
    gaps = scaled - torch.where(largest.isinf(), 0.0, largest)
    value = (largest.squeeze(dim) + torch.log1p(torch.expm1(gaps).mean(dim))) / power
    value = torch.where(largest.squeeze(dim).isinf(), largest.squeeze(dim) / power, value)
    shares = torch.softmax(gaps, dim)
    nothing = torch.where(shares == 0, 0.0, log_w - log_w.detach())  # with the gradient 1
    return torch.where(value.isinf(), value, value + (shares * nothing).sum(dim))


def _bound(
    log_w: Tensor, dim: int = 0, estimator: str = "iwae", latent: Tensor | None = None, **options: Any
) -> Tensor:
    if estimator == "miwae":
        return _log_mean_exp(log_w.unflatten(dim, (options["groups"], -1)), dim % log_w.dim() + 1).mean(dim)
    if estimator == "ciwae":
        beta = options["beta"]
        parts = [(1 - beta, _log_mean_exp(log_w, dim)), (beta, log_w.mean(dim))]
        return sum(share * part for share, part in parts if share)
    return _log_mean_power(log_w, {"vae": 0.0, "renyi": 1.0 - options.get("alpha", 0.0)}.get(estimator, 1.0), dim)


def _total_correlation(**arguments: Any) -> tuple[Tensor, ...]:
    log_q_x, log_q, marginal, log_p = _log_densities(**arguments)
    return log_q_x - log_q, log_q - marginal, marginal - log_p


def _log_densities(
    z: Tensor,
    loc: Tensor,
    scale: Tensor,
    *,
    dataset_size: int,
    weighting: str = "mss",
    mss_weights: str = "paper",
    joint_weight: str = "once",
    **scale_options: Any,
) -> tuple[Tensor, ...]:
    """log q(z|x), log q(z), sum_d log q(z_d) and log p(z) of Chen et al. 2018, with every matrix written out."""
    dtype = _checks.compute_dtype(z, loc, scale)
    z, loc, scale = z.to(dtype), loc.to(dtype), scale.to(dtype)
    lo, hi = scale_options.pop("clamp", None) or (None, None)
    sigma = Sigma(**scale_options, clamp_lo=lo, clamp_hi=hi)
    logvar_ = logvar(clamp(scale, sigma), sigma)

    def log_normal(x: Tensor, loc: Tensor | float, logvar: Tensor | float) -> Tensor:
        distance, variance = x - loc, torch.as_tensor(logvar, dtype=dtype).exp()
        none = (distance == 0) & (variance == 0)
        square = torch.where(none, 0.0, distance) ** 2 / torch.where(none, 1.0, variance)
        return -0.5 * (square + logvar + math.log(2 * math.pi))

    batch = z.shape[0]
    weights = z.new_full((batch, batch), -math.log(dataset_size * max(batch, 1)))
    if weighting == "mss" and batch > 1:
        others = batch - 1
        weights = z.new_full((batch, batch), -math.log(others))
        rest = math.log((dataset_size - others) / (dataset_size * others))
        rows = torch.arange(batch)
        if mss_weights == "paper":
            weights[rows, rows], weights[rows, (rows + 1) % batch] = -math.log(dataset_size), rest
        else:
            weights[:, 0], weights[:, 1], weights[batch - 2, 0] = -math.log(dataset_size), rest, rest
    pairs = log_normal(z[:, None], loc[None], logvar_[None])
    times = z.shape[1] if joint_weight == "per_dim" else 1
    log_q = torch.logsumexp(pairs.sum(2) + times * weights, 1)
    marginal = torch.logsumexp(pairs + weights[:, :, None], 1).sum(1)
    return log_normal(z, loc, logvar_).sum(1), log_q, marginal, log_normal(z, 0.0, 0.0).sum(1)


def densities_beyond(arguments: Tensors, options: Options) -> list[Tensor]:
    """Where a result is the difference of two densities of which one is no number in the type of arithmetic."""
    dtype = _checks.compute_dtype(*arguments.values())
    densities = _log_densities(**{name: t.detach().double() for name, t in arguments.items()}, **options)
    beyond = [~density.to(dtype).isfinite() for density in densities]
    return [a | b for a, b in itertools.pairwise(beyond)]


# Operations that are plain torch with each backend, or much of it: what their definition would be.
DEFINITIONS: dict[str, Callable[..., Any]] = {
    "log_mean_exp": _log_mean_exp,
    "LogMeanExp": lambda log_w, first, dim=0: _log_mean_exp(log_w, dim).detach(),
    "importance_weighted_bound": _bound,
    "total_correlation": _total_correlation,
}


def _terms_of_total_correlation(arguments: Tensors, options: Options) -> list[Tensor | float]:
    densities = _log_densities(**arguments, **options)
    # No less than the logarithms of the weights, the sum of which may be 0.
    least = math.log(options["dataset_size"])
    return [torch.maximum(a.abs(), b.abs()).clamp_min(least) for a, b in itertools.pairwise(densities)]


# What adds in float64 whatever comes.
IN_DOUBLE = ("LogMeanExp",)


def gradient_terms_of_total_correlation(arguments: Tensors, options: Options, arriving: list[Tensor | None]) -> Tensors:
    """How large the gradients of the four densities are, whose differences the gradients are.

    Weights are exponentials of log densities, whose rounding they show as many times as these are large.
    """
    leaves = {name: t.detach().requires_grad_() for name, t in arguments.items()}
    densities = _log_densities(**leaves, **options)
    sizes = [torch.zeros_like(densities[0]) if c is None else c.abs() for c in (None, *arriving, None)]
    found = {name: torch.zeros_like(t) for name, t in leaves.items()}
    for density, before, behind in zip(densities, sizes[:-1], sizes[1:], strict=True):
        grads = torch.autograd.grad(density, list(leaves.values()), before + behind, True, allow_unused=True)
        rounding = 1 + density.detach().abs().nan_to_num(0.0).max() if density.numel() else 1.0
        for name, grad in zip(leaves, grads, strict=True):
            found[name] += 0.0 if grad is None else grad.abs() * rounding
    return found


def _terms_of_gan(arguments: Tensors, options: Options) -> list[Tensor | float]:
    """Where logits of both signs are added as they are."""
    if options["kind"] not in ("wgan", "hinge") or options.get("reduction") == "none":
        return [0.0]
    sizes = [t.abs() for t in arguments.values()]
    return [sum(s.sum() if options.get("reduction") == "sum" else s.mean() for s in sizes)]


# How large the terms are whose difference each result is, where equal arguments leave nothing of them.
TERMS: dict[str, Callable[[Tensors, Options], list[Tensor | float]]] = {
    # Means of kernel values, which are at most 1 a scale.
    "mmd": lambda arguments, options: [float(len(options.get("scales", (1.0,))))],
    "gan_discriminator_loss": _terms_of_gan,
    "gan_generator_loss": _terms_of_gan,
    # The largest mass is nearly 1; its logarithm is that of a sum.
    "categorical_entropy": lambda arguments, options: [1.0],
    "LogMeanExp": lambda arguments, options: [math.log(max(2, *arguments["log_w"].shape))],  # the count's logarithm
    # average + (1 - decay) (value - average).
    "ema_update_": lambda arguments, options: [
        torch.maximum(arguments[f"ema_params[{i}]"].abs(), arguments[f"params[{i}]"].abs()).flatten()
        for i in range(len(arguments) // 2)
    ],
    "total_correlation": _terms_of_total_correlation,
}
