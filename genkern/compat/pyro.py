"""The distributions of `genkern.distributions` as pyro takes them: in ``pyro.sample``, plates, guides, reparams.

::

    from genkern.compat import pyro as fused
    z = pyro.sample("z", fused.Normal(loc, scale).to_event(1))

pyro asks more of a distribution than torch does (a call, ``expand_by``, ``mask``, ``to_event`` …), which its mixin
adds. Tested with pyro 1.9. This module imports pyro.
"""

from pyro.distributions.torch_distribution import TorchDistributionMixin

from genkern import distributions
from genkern.distributions import __all__ as __all__


class Normal(distributions.Normal, TorchDistributionMixin):
    """N(loc, scale²), element by element, for ``pyro.sample``: `genkern.distributions.Normal`.

    See Also
    --------
    genkern.distributions.Normal : the same without pyro

    Examples
    --------
    >>> import pyro, torch
    >>> from genkern.compat import pyro as fused
    >>> pyro.sample("z", fused.Normal(torch.zeros(3), 1.0)).shape
    torch.Size([3])
    """


class Laplace(distributions.Laplace, TorchDistributionMixin):
    """Laplace(loc, scale), element by element, for ``pyro.sample``: `genkern.distributions.Laplace`.

    See Also
    --------
    genkern.distributions.Laplace : the same without pyro

    Examples
    --------
    >>> import pyro, torch
    >>> from genkern.compat import pyro as fused
    >>> pyro.sample("z", fused.Laplace(torch.zeros(3), 1.0)).shape
    torch.Size([3])
    """


class Categorical(distributions.Categorical, TorchDistributionMixin):  # type: ignore[misc]
    """The index of one of K classes for ``pyro.sample``: `genkern.distributions.Categorical`.

    See Also
    --------
    genkern.distributions.Categorical : the same without pyro

    Examples
    --------
    >>> import pyro, torch
    >>> from genkern.compat import pyro as fused
    >>> pyro.sample("z", fused.Categorical(logits=torch.zeros(3, 8))).shape
    torch.Size([3])
    """


class OneHotCategorical(distributions.OneHotCategorical, TorchDistributionMixin):  # type: ignore[misc]
    """One of K classes as a one-hot vector for ``pyro.sample``: `genkern.distributions.OneHotCategorical`.

    See Also
    --------
    genkern.distributions.OneHotCategorical : the same without pyro

    Examples
    --------
    >>> import pyro, torch
    >>> from genkern.compat import pyro as fused
    >>> pyro.sample("z", fused.OneHotCategorical(logits=torch.zeros(3, 8))).sum(-1)
    tensor([1., 1., 1.])
    """


class OneHotCategoricalStraightThrough(distributions.OneHotCategoricalStraightThrough, TorchDistributionMixin):  # type: ignore[misc]
    """A one-hot vector with a gradient for ``pyro.sample``: `genkern.distributions.OneHotCategoricalStraightThrough`.

    See Also
    --------
    genkern.distributions.OneHotCategoricalStraightThrough : the same without pyro

    Examples
    --------
    >>> import pyro, torch
    >>> from genkern.compat import pyro as fused
    >>> pyro.sample("z", fused.OneHotCategoricalStraightThrough(logits=torch.zeros(3, 8))).sum(-1)
    tensor([1., 1., 1.])
    """


class DiagonalGaussian(distributions.DiagonalGaussian, TorchDistributionMixin):  # type: ignore[misc]
    """N(loc, diag σ²) of a datum, as after ``to_event``, for ``pyro.sample``: `genkern.distributions.DiagonalGaussian`.

    See Also
    --------
    genkern.distributions.DiagonalGaussian : the same without pyro

    Examples
    --------
    >>> import pyro, torch
    >>> from genkern.compat import pyro as fused
    >>> pyro.sample("z", fused.DiagonalGaussian(torch.zeros(5, 3), torch.zeros(5, 3))).shape
    torch.Size([5, 3])
    """
