"""The Laplace distribution."""

import torch
from torch import Tensor

from genkern import functional
from genkern.distributions._values import VALIDATE, floating

__all__ = ["Laplace"]


class Laplace(torch.distributions.Laplace):
    """Laplace(loc, scale), element by element: ``torch.distributions.Laplace`` with a fused density.

    Parameters
    ----------
    loc, scale : Tensor or float
        Mean and diversity b, of shapes that broadcast; the variance is 2 b².
    validate_args : bool, optional
        Whether arguments and values are checked, which waits for the device; default no.

    See Also
    --------
    genkern.laplace_nll : the density as a function
    genkern.distributions.Normal

    Notes
    -----
    ``log_prob`` is minus `genkern.laplace_nll`: float32 or wider, with gradients to value, loc and scale. All
    else is torch's.

    Examples
    --------
    >>> import torch
    >>> from genkern.distributions import Laplace
    >>> Laplace(torch.zeros(2), 1.0).log_prob(torch.tensor([0.0, -3.0]))
    tensor([-0.6931, -3.6931])
    """

    _validate_args = VALIDATE

    def log_prob(self, value: Tensor) -> Tensor:
        """Log density at `value`, which broadcasts with the batch shape."""
        if self._validate_args:
            self._validate_sample(value)
        value = floating(value, self.loc)
        return -functional.laplace_nll(value, self.loc, self.scale, scale_param="std", reduction="none")
