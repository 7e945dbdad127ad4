"""The distributions of :mod:`genkern.distributions` as pyro takes them: in ``pyro.sample``, plates, guides, reparams.

    from genkern.compat import pyro as fused
    z = pyro.sample("z", fused.Normal(loc, scale).to_event(1))

pyro asks more of a distribution than torch does (a call, ``expand_by``, ``mask``, ``to_event`` …), which its mixin
adds. Tested with pyro 1.9. This module imports pyro.
"""

from pyro.distributions.torch_distribution import TorchDistributionMixin

from genkern import distributions
from genkern.distributions import __all__ as __all__


class Normal(distributions.Normal, TorchDistributionMixin):
    """:class:`genkern.distributions.Normal` for pyro."""


class Laplace(distributions.Laplace, TorchDistributionMixin):
    """:class:`genkern.distributions.Laplace` for pyro."""


class Categorical(distributions.Categorical, TorchDistributionMixin):  # type: ignore[misc]
    """:class:`genkern.distributions.Categorical` for pyro."""


class OneHotCategorical(distributions.OneHotCategorical, TorchDistributionMixin):  # type: ignore[misc]
    """:class:`genkern.distributions.OneHotCategorical` for pyro."""


class OneHotCategoricalStraightThrough(distributions.OneHotCategoricalStraightThrough, TorchDistributionMixin):  # type: ignore[misc]
    """:class:`genkern.distributions.OneHotCategoricalStraightThrough` for pyro."""


class DiagonalGaussian(distributions.DiagonalGaussian, TorchDistributionMixin):  # type: ignore[misc]
    """:class:`genkern.distributions.DiagonalGaussian` for pyro: an event is a datum, as after ``to_event``."""
