"""Distributions with the contract of ``torch.distributions``, computed by the fused operations.

Each is a subclass of torch's distribution of that name, so ``isinstance``, ``Independent``, ``kl_divergence`` with any
other distribution and libraries built on them go on working; `DiagonalGaussian` is new. Two things differ from
torch: arguments are validated only where ``validate_args=True`` says so, because a check reads the data back to the
host; and densities, entropies and divergences are float32 or wider whatever the storage type.
"""

from genkern.distributions import divergences as _divergences  # noqa: F401  (registers them)
from genkern.distributions.categorical import Categorical, OneHotCategorical, OneHotCategoricalStraightThrough
from genkern.distributions.diagonal_gaussian import DiagonalGaussian
from genkern.distributions.laplace import Laplace
from genkern.distributions.normal import Normal

__all__ = [
    "Categorical",
    "DiagonalGaussian",
    "Laplace",
    "Normal",
    "OneHotCategorical",
    "OneHotCategoricalStraightThrough",
]
