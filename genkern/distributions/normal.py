"""The normal distribution."""

import torch
from torch import Tensor
from torch.types import _size

from genkern import functional
from genkern.distributions._values import VALIDATE, floating, normal_cdf, normal_icdf
from genkern.functional._noise import Generators

__all__ = ["Normal"]


class Normal(torch.distributions.Normal):
    """N(loc, scale²), element by element: ``torch.distributions.Normal`` by the fused operations.

    Parameters
    ----------
    loc, scale : Tensor or float
        Mean and standard deviation, of shapes that broadcast; together they give the batch shape.
    validate_args : bool, optional
        Whether arguments and values are checked, which waits for the device; default no.

    See Also
    --------
    genkern.distributions.DiagonalGaussian : sums over an event
    genkern.gaussian_kl : the divergence as a function

    Notes
    -----
    ``rsample`` and ``sample`` take a ``key``, a ``generator`` (or one for each row) or the noise ``eps`` itself;
    without, torch's default generator draws the key. Gradients reach loc, scale and the value of ``log_prob``, first
    order fused, second order by the definition. ``log_prob``, ``entropy`` and ``kl_divergence`` are float32 or wider.
    ``cdf`` and ``icdf`` keep their digits in the lower tail.
    Formulas: Kingma & Welling 2014, appendix B; `genkern.gaussian_rsample`, `genkern.gaussian_log_prob`,
    `genkern.gaussian_entropy`, `genkern.gaussian_kl`.

    Examples
    --------
    >>> import torch, genkern as gk
    >>> from genkern.distributions import Normal
    >>> q = Normal(torch.zeros(2, 3), torch.full((2, 3), 2.0))
    >>> z = q.rsample(key=gk.random.key(0))
    >>> z.shape, torch.distributions.kl_divergence(q, Normal(0.0, 1.0))[0, 0]
    (torch.Size([2, 3]), tensor(0.8069))
    """

    _validate_args = VALIDATE

    def rsample(
        self,
        sample_shape: _size = (),
        *,
        key: Tensor | None = None,
        generator: Generators | None = None,
        eps: Tensor | None = None,
    ) -> Tensor:
        """A sample ``[*sample_shape, *batch_shape]`` with gradients to loc and scale."""
        return functional.gaussian_rsample(
            self.loc,
            self.scale,
            sample_shape=tuple(sample_shape),
            key=key,
            generator=generator,
            eps=eps,
            scale_param="std",
        )

    def sample(
        self,
        sample_shape: _size = (),
        *,
        key: Tensor | None = None,
        generator: Generators | None = None,
        eps: Tensor | None = None,
    ) -> Tensor:
        """`rsample` without gradients."""
        with torch.no_grad():
            return self.rsample(sample_shape, key=key, generator=generator, eps=eps)

    def log_prob(self, value: Tensor) -> Tensor:
        """Log density at `value`, which broadcasts with the batch shape."""
        if self._validate_args:
            self._validate_sample(value)
        value = floating(value, self.loc)
        return functional.gaussian_log_prob(value, self.loc, self.scale, scale_param="std", reduction="none")

    def cdf(self, value: Tensor) -> Tensor:
        """P(X ≤ value) = ½ erfc((loc − value) / (scale √2))."""
        if self._validate_args:
            self._validate_sample(value)
        return normal_cdf(value, self.loc, self.scale)

    def icdf(self, value: Tensor) -> Tensor:
        """The value below which a share of `value` lies."""
        return normal_icdf(value, self.loc, self.scale)

    def entropy(self) -> Tensor:
        """½ (1 + log 2π) + log scale, in nats."""
        return functional.gaussian_entropy(self.scale, scale_param="std", reduction="none")
