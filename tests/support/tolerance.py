"""The one tolerance rule: twice the error of plain torch in the same dtype, plus a few ulp."""

from __future__ import annotations

import torch
from torch import Tensor

# In float64 plain torch is the oracle, whose own rounding is not known: a few ulp for each of the two.
ULPS = {torch.float64: 16.0, torch.float32: 4.0, torch.bfloat16: 4.0, torch.float16: 4.0}


def error_bound(oracle: Tensor, plain: Tensor, dtype: torch.dtype, terms: int = 1) -> Tensor:
    """What each element of a result of `dtype` may be off from the float64 oracle.

    An ulp is that of the value, or of the tensor's root mean square where that is larger: terms of the usual size
    cancel where a value is near 0. `terms`: how many terms of mixed sign a value is the sum of.
    """
    finite = oracle[oracle.isfinite()]
    usual = finite.square().mean().sqrt() * terms if finite.numel() else torch.zeros((), dtype=oracle.dtype)
    unit = torch.finfo(dtype).eps * torch.maximum(oracle.abs(), usual) + torch.finfo(dtype).smallest_normal
    plain_error = (plain.double() - oracle).abs()
    plain_error = plain_error[plain_error.isfinite()]
    return 2 * (plain_error.max() if plain_error.numel() else 0.0) + ULPS[dtype] * unit


def assert_as_accurate(what: str, result: Tensor, oracle: Tensor, plain: Tensor, terms: int = 1) -> None:
    """`result` is within the rule; infinities and NaNs stand where the oracle, rounded to its dtype, has them."""
    assert result.shape == oracle.shape, f"{what}: shape {tuple(result.shape)} instead of {tuple(oracle.shape)}"
    result, oracle, plain = result.detach(), oracle.detach(), plain.detach()
    assert_same_class(what, result, oracle.to(result.dtype))
    error = (result.double() - oracle).abs()
    finite = oracle.isfinite() & oracle.to(result.dtype).isfinite()
    bound = error_bound(oracle, plain, result.dtype, terms)
    excess = torch.where(finite, error / bound, torch.zeros_like(error))
    if excess.numel() and excess.max() > 1:
        worst = int(excess.argmax())
        raise AssertionError(
            f"{what}: {int((excess > 1).sum())} of {excess.numel()} beyond the bound, the worst at {worst}: "
            f"{result.flatten()[worst].item()!r}, oracle {oracle.flatten()[worst].item()!r}, "
            f"plain torch {plain.flatten()[worst].item()!r}, {excess.max().item():.2f} times the bound"
        )


def assert_same_class(what: str, result: Tensor, expected: Tensor) -> None:
    """NaN, +inf, -inf and finite values stand in the same places."""
    result, expected = result.detach(), expected.detach()
    for name, kind in (("nan", torch.isnan), ("+inf", torch.isposinf), ("-inf", torch.isneginf)):
        differ = (kind(result) != kind(expected)).flatten()
        if differ.any():
            worst = int(differ.float().argmax())
            raise AssertionError(
                f"{what}: {name} differs in {int(differ.sum())} places, first at {worst}: "
                f"{result.flatten()[worst].item()!r} instead of {expected.flatten()[worst].item()!r}"
            )


def ulps_apart(a: Tensor, b: Tensor) -> Tensor:
    """How many representable values lie between a and b, of one dtype."""
    integer = {torch.float64: torch.int64, torch.float32: torch.int32}[a.dtype]
    lowest = torch.iinfo(integer).min

    def ordered(x: Tensor) -> Tensor:
        bits = x.contiguous().view(integer).to(torch.int64)
        return torch.where(bits < 0, lowest - bits, bits)

    return (ordered(a) - ordered(b)).abs()
