"""torch's own losses by the fused operations: their names, arguments and reductions."""

from __future__ import annotations

from torch import Tensor

from genkern import functional

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
        Means and values, of one shape.
    var : Tensor or float
        Variances: of that shape, of that shape with a last dimension of 1 or without it, or one for all. As in torch
        the gradient passes where var is below `eps`.
    full : bool
        Whether ½ log 2π is added.
    eps : float
        Floor of the variance.
    reduction : {"mean", "sum", "none"}
        Over all elements.

    Returns
    -------
    Tensor
        float32 or wider. torch refuses negative variances, which it has to read back from the device to do; here they
        are below the floor.

    Raises
    ------
    TypeError, ValueError
        Naming the argument, what was expected and what came.

    Examples
    --------
    >>> import torch
    >>> from genkern.compat.torch import gaussian_nll_loss
    >>> gaussian_nll_loss(torch.zeros(2, 3), torch.ones(2, 3), torch.ones(2, 1))
    tensor(0.5000)
    """
    if reduction not in ("mean", "sum", "none"):
        raise ValueError(f"reduction: expected one of 'mean', 'sum', 'none', got {reduction!r}")
    if eps <= 0:
        raise ValueError(f"eps: expected a positive number, got {eps}")
    if isinstance(var, Tensor) and var.shape != input.shape:
        if var.shape == input.shape[:-1]:
            var = var.unsqueeze(-1)
        elif var.dim() and var.shape != (*input.shape[:-1], 1):
            raise ValueError(f"var: expected the shape of input {tuple(input.shape)}, got {tuple(var.shape)}")
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
