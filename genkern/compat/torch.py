"""torch's own losses by the fused operations: their names, arguments and reductions."""

import math

import torch
from torch import Tensor

from genkern import _checks, functional

__all__ = ["gaussian_nll_loss"]


def gaussian_nll_loss(
    input: Tensor,
    target: Tensor,
    var: Tensor | float,
    full: bool = False,
    eps: float = 1e-6,
    reduction: str = "mean",
) -> Tensor:
    """``torch.nn.functional.gaussian_nll_loss`` in one pass: ½ (log v + (input − target)² / v), v = max(var, eps).

    Parameters
    ----------
    input, target : Tensor
        Means and values, of shapes that broadcast; integers are taken as numbers.
    var : Tensor or float
        Variances: of the shape of `input`, of that shape without its last dimension, or of that shape with a 1 in
        place of one of its sizes; one number for all, or, which torch refuses beside more than one dimension, a 0-dim
        tensor. As in torch the gradient passes where var is below `eps`.
    full : bool
        Whether ½ log 2π is added.
    eps : float
        Floor of the variance; a number that is not positive is none.
    reduction : {"mean", "sum", "none"}
        Over all elements.

    Returns
    -------
    Tensor
        float32 or wider. torch refuses tensors with negative variances, which it has to read back from the device to
        do; here they are below the floor.

    See Also
    --------
    genkern.gaussian_nll : any parameterisation of the scale, sums by datum, units

    Examples
    --------
    >>> import torch
    >>> from genkern.compat.torch import gaussian_nll_loss
    >>> gaussian_nll_loss(torch.zeros(2, 3), torch.ones(2, 3), torch.ones(2, 1))
    tensor(0.5000)
    """
    _checks.choice("reduction", reduction, ("mean", "sum", "none"))
    _checks.number("eps", eps)
    if math.isnan(eps):
        raise ValueError("eps: expected a number, got nan")
    input, target = _floating("input", input), _floating("target", target)
    if isinstance(var, Tensor):
        _checks.tensor("var", var)
        var = _beside(input, var)
    else:
        _checks.number("var", var)
        if var < 0:
            raise ValueError(f"var: expected a number >= 0, got {var}")
    _checks.broadcast(input=input, target=target, var=var if isinstance(var, Tensor) else None)
    return functional.gaussian_nll(
        target,
        input,
        var,
        full=full,
        scale_param="var",
        clamp=(eps, None),
        clamp_mode="straight_through",
        reduction=reduction,
    )


def _beside(input: Tensor, var: Tensor) -> Tensor:
    """`var` in a shape that broadcasts to the input's, by torch's rule."""
    if var.shape == input.shape or (not var.dim() and input.dim()):
        return var
    if var.shape == input.shape[:-1]:
        return var.unsqueeze(-1)
    # A size of 1 in place of one that is not: the sizes that differ add up to 1.
    if var.dim() == input.dim() and sum(v for v, size in zip(var.shape, input.shape, strict=True) if v != size) == 1:
        return var
    raise ValueError(
        f"var: expected the shape of input {_checks.shape_text(input.shape)}, got {_checks.shape_text(var.shape)}"
    )


def _floating(name: str, value: Tensor) -> Tensor:
    integral = isinstance(value, Tensor) and not value.is_floating_point() and not value.is_complex()
    if integral and value.dtype != torch.bool:  # bools cannot be subtracted in torch
        return value.to(torch.get_default_dtype())
    _checks.tensor(name, value)
    return value
