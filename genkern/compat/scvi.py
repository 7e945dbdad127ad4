"""scvi-tools' likelihoods of counts, its Gaussian divergence and its reparameterisation by the fused operations.

::

    from genkern.compat import scvi as fused
    with fused.patch():  # or fused.patch() once, and fused.unpatch()
        model.train()

`NegativeBinomial`, `ZeroInflatedNegativeBinomial` and `Poisson` keep their classes; it is their ``log_prob`` that is
another, and with them all models have it that use them: SCVI, SCANVI, TOTALVI, LinearSCVI and others. Tested with
scvi-tools 1.4.2.

What differs in numbers: scvi adds 1e-8 to means and dispersions inside of logarithms, and takes differences of
log-gammas, of which float32 keeps nothing where an inverse dispersion is large; here both are exact. So a mean of 0
makes every count but 0 impossible, where scvi has a likelihood of about 1e-8 for each. The noise is genkern's.
Values are validated where ``validate_args`` asks for it; scvi validates those of the zero-inflated law always.
``legacy=True`` keeps scvi's validation, its 1e-8 of the means and torch's noise, and losses are scvi's but for
rounding. (The 1e-8 of dispersions, which changes no log-likelihood by more than 1e-8, is left out.)
"""

import importlib
import sys
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.types import _size

from genkern import distributions, functional
from genkern.compat._patching import Patch, Switch, original

__all__ = ["log_nb_positive", "log_zinb_positive", "patch", "unpatch"]

_DEFINED = "scvi.distributions._negative_binomial"
_EPS = 1e-8


def log_nb_positive(x: Tensor, mu: Tensor, theta: Tensor, *options: Any, **named: Any) -> Tensor:
    """log p(x) of each element under a negative binomial of mean `mu` and inverse dispersion `theta`.

    The options of scvi's function (`eps`, `log_fn`, `lgamma_fn`) have no use here.

    See Also
    --------
    genkern.negative_binomial_nll : with sums and units
    log_zinb_positive : where counts are lost

    Examples
    --------
    >>> import torch
    >>> from genkern.compat.scvi import log_nb_positive
    >>> log_nb_positive(torch.tensor([0.0, 1.0]), torch.tensor(1.0), torch.tensor(1.0))  # -log 2, -log 4
    tensor([-0.6931, -1.3863])
    """
    if not isinstance(x, Tensor):  # an array of jax
        return original(_DEFINED, "log_nb_positive")(x, mu, theta, *options, **named)
    return -functional.negative_binomial_nll(_counts(x, mu), mu, theta, reduction="none")


def log_zinb_positive(x: Tensor, mu: Tensor, theta: Tensor, pi: Tensor, *options: Any, **named: Any) -> Tensor:
    """log p(x) of each element under a negative binomial of whose counts the share sigmoid(`pi`) is lost to 0.

    See Also
    --------
    genkern.zero_inflated_negative_binomial_nll : with sums and units
    log_nb_positive : without losses

    Examples
    --------
    >>> import torch
    >>> from genkern.compat.scvi import log_zinb_positive
    >>> one = torch.tensor(1.0)
    >>> log_zinb_positive(torch.tensor([0.0, 1.0]), one, one, torch.tensor(0.0))  # log 3/4, -log 8
    tensor([-0.2877, -2.0794])
    """
    return -functional.zero_inflated_negative_binomial_nll(_counts(x, mu), mu, theta, pi, reduction="none")


def _counts(x: Any, like: Tensor) -> Tensor:
    """Numbers, bools and small integers, which scvi's laws take, in a type that the operations take."""
    if not isinstance(x, Tensor):
        return torch.as_tensor(x, dtype=like.dtype, device=like.device)
    return x.to(like.dtype) if x.dtype in (torch.bool, torch.uint8, torch.int8) else x


def _legacy_log_nb_positive(
    x: Tensor, mu: Tensor, theta: Tensor, eps: float = _EPS, *options: Any, **named: Any
) -> Tensor:
    if not isinstance(x, Tensor):
        return log_nb_positive(x, mu, theta, eps, *options, **named)
    return log_nb_positive(x, mu + eps, theta)


def _legacy_log_zinb_positive(
    x: Tensor, mu: Tensor, theta: Tensor, pi: Tensor, eps: float = _EPS, *options: Any, **named: Any
) -> Tensor:
    return log_zinb_positive(x, mu + eps, theta, pi)


def _poisson_log_prob(self: Any, value: Tensor) -> Tensor:
    if self._validate_args:
        self._validate_sample(value)
    return -functional.poisson_nll(_counts(value, self.rate), self.rate, reduction="none")


class _LegacyNormal(distributions.Normal):
    """With torch's noise."""

    def rsample(self, sample_shape: _size = (), **noise: Any) -> Tensor:
        if all(given is None for given in noise.values()):
            shape = self._extended_shape(torch.Size(sample_shape))
            noise = {"eps": torch.normal(self.loc.new_zeros(shape), self.loc.new_ones(shape))}
        return super().rsample(sample_shape, **noise)


def _unless_validated(log_prob: Callable[[Any, Tensor], Tensor]) -> Callable[[Any, Tensor], Tensor]:
    """The zero-inflated law's `log_prob`, validated where it is asked for: scvi's own validates always, and slowly."""

    def unless_validated(self: Any, value: Tensor) -> Tensor:
        if self._validate_args:
            return log_prob(self, value)
        return log_zinb_positive(value, self.mu, self.theta, self.zi_logits)

    return unless_validated


def _patch(legacy: bool) -> Patch:
    importlib.import_module("scvi.model")
    laws = importlib.import_module(_DEFINED)
    formulas = (_legacy_log_nb_positive, _legacy_log_zinb_positive) if legacy else (log_nb_positive, log_zinb_positive)
    attributes: dict[tuple[str, str], Any] = {(_DEFINED, "Poisson.log_prob"): _poisson_log_prob}
    if not legacy:
        zero_inflated = _unless_validated(laws.ZeroInflatedNegativeBinomial.log_prob)
        attributes[_DEFINED, "ZeroInflatedNegativeBinomial.log_prob"] = zero_inflated
    # torch's class, where scvi's modules name it; in functions of theirs that import it the divergence finds the other.
    normal = _LegacyNormal if legacy else distributions.Normal
    for name, module in list(sys.modules.items()):
        if name.startswith("scvi.") and vars(module).get("Normal") is torch.distributions.Normal:
            attributes[name, "Normal"] = normal
    names = ("log_nb_positive", "log_zinb_positive")
    return Patch({(_DEFINED, name): formula for name, formula in zip(names, formulas, strict=True)}, attributes)


_switch = Switch(_patch)
patch, unpatch = _switch.patch, _switch.unpatch
