"""The scale that a raw `scale` argument stands for: clamp, then parameterisation, then offset."""

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from genkern.reference.options import Sigma

LOG_PARAMS = ("logvar", "logstd")


def exponential(raw: Tensor, sigma: Sigma) -> tuple[Tensor, Sigma] | None:
    """The places where a scale is an exponential alone, whose logarithm needs no sigma, and its options there.

    That is far out in softplus, and where an offset is nothing beside what is beyond the range.
    """
    if sigma.scale_param == "softplus" and sigma.scale_offset == 0:
        return raw < (-40 if raw.dtype == torch.float64 else -20), Sigma("logstd")
    if sigma.scale_param in LOG_PARAMS and sigma.scale_offset != 0:
        largest = math.log(torch.finfo(raw.dtype).max) * (2 if sigma.scale_param == "logvar" else 1)
        return raw > largest, Sigma(sigma.scale_param)
    return None


def raw(like: Tensor, scale: Tensor | None, value: float, dtype: torch.dtype) -> Tensor:
    """A scale as it was given, a tensor or a number, in the type of arithmetic."""
    if scale is not None:
        return scale.to(dtype)
    return like.new_full((), constant(value, dtype), dtype=dtype)


def constant(value: float, dtype: torch.dtype) -> float:
    """A number as arithmetic of this dtype has it: infinite where that ends, and where torch would refuse to fill."""
    return math.copysign(math.inf, value) if abs(value) > torch.finfo(dtype).max else value


def squarable(dtype: torch.dtype) -> float:
    """A large number whose square is finite, and whose reciprocal has a square that is not 0."""
    return 1e150 if dtype == torch.float64 else 1e18


def clamp(raw: Tensor, sigma: Sigma) -> Tensor:
    lo, hi, mode = sigma.clamp_lo, sigma.clamp_hi, sigma.clamp_mode
    if lo is None and hi is None:
        return raw
    lo, hi = (None if bound is None else constant(bound, raw.dtype) for bound in (lo, hi))
    if mode == "hard":
        # Not torch.clamp, whose gradient at the bounds themselves is 1 before torch 2.14 and 0 from then on; here 1.
        low = raw if lo is None else torch.where(raw < lo, torch.full_like(raw, lo), raw)
        return low if hi is None else torch.where(low > hi, torch.full_like(low, hi), low)
    if mode == "straight_through":
        return _StraightThroughClamp.apply(raw, lo, hi)
    if mode == "softclip":
        assert lo is not None
        return lo + softplus(raw - lo)
    assert hi is not None
    return hi * tanh(raw / hi)


def std(raw: Tensor, sigma: Sigma) -> Tensor:
    """Standard deviation of an already clamped scale."""
    if sigma.scale_param == "logvar":
        value = torch.exp(0.5 * raw)
    elif sigma.scale_param == "logstd":
        value = torch.exp(raw)
    elif sigma.scale_param == "std":
        value = raw + 0.0  # -0 is 0, whose reciprocal is not negative
    elif sigma.scale_param == "var":
        value = torch.sqrt(raw + 0.0)
    else:
        value = softplus(raw)
    return value + sigma.scale_offset if sigma.scale_offset else value


def logvar(raw: Tensor, sigma: Sigma) -> Tensor:
    """Log variance of an already clamped scale, without a detour where the parameterisation is a logarithm."""
    if sigma.scale_offset == 0 and sigma.scale_param == "logvar":
        return raw
    if sigma.scale_offset == 0 and sigma.scale_param == "logstd":
        return 2 * raw
    if sigma.scale_offset == 0 and sigma.scale_param == "var":
        return torch.log(raw)
    if far := exponential(raw, sigma):
        there, alone = far
        return torch.where(there, logvar(raw, alone), 2 * torch.log(std(torch.where(there, 0.0, raw), sigma)))
    return 2 * torch.log(std(raw, sigma))


def softplus(x: Tensor) -> Tensor:
    # torch's softplus turns linear above `threshold`; at 40 that is exact in float64 too.
    return functional.softplus(x, threshold=40.0)


def tanh(x: Tensor) -> Tensor:
    """The hyperbolic tangent, whose slope keeps its digits where torch's, 1 - tanh^2, cancels."""
    e = torch.exp(-2 * x.abs())
    far = x.abs() > 0.5
    return torch.where(far, x.sign() * (1 - e) / (1 + e), torch.tanh(torch.where(far, 0.0, x)))


class _StraightThroughClamp(torch.autograd.Function):
    """Clamped value, identity gradient."""

    generate_vmap_rule = True

    @staticmethod
    def forward(raw: Tensor, lo: float | None, hi: float | None) -> Tensor:
        return raw.clamp(lo, hi)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        return grad, None, None

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor, *_: None) -> Tensor:
        return tangent.clone()


class _ScaleGradient(torch.autograd.Function):
    """The same value, `factor` times the gradient."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, factor: float) -> Tensor:
        return x.clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.factor = inputs[1]

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return grad * ctx.factor, None

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor, _: None) -> Tensor:
        return tangent * ctx.factor


def scale_gradient(x: Tensor, factor: float) -> Tensor:
    return x if factor == 1.0 else _ScaleGradient.apply(x, factor)


class _GradientAlone(_ScaleGradient):
    """Zero, with `factor` times the gradient."""

    @staticmethod
    def forward(x: Tensor, factor: float) -> Tensor:
        return torch.zeros_like(x)


def add_gradient(value: Tensor, x: Tensor, factor: float) -> Tensor:
    """`value` as it is; x receives `factor` times its gradient as if it had been added."""
    return value if factor == 0.0 else value + _GradientAlone.apply(x, factor)
