"""Losses as modules: the functions of :mod:`genkern.functional` with their options held."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from genkern import functional

__all__ = [
    "BernoulliNLLLoss",
    "DiscretizedGaussianNLLLoss",
    "GANDiscriminatorLoss",
    "GANGeneratorLoss",
    "GaussianKLLoss",
    "GaussianNLLLoss",
    "LaplaceNLLLoss",
]


class _FunctionalLoss(nn.Module):
    """Holds keyword options; a misspelt one is refused by the function that takes them."""

    def __init__(self, *, reduction: str = "batchmean", **options: Any) -> None:
        super().__init__()
        self.options = {"reduction": reduction, **options}

    def extra_repr(self) -> str:
        return ", ".join(f"{name}={value!r}" for name, value in self.options.items())


class GaussianNLLLoss(_FunctionalLoss):
    """Negative log-likelihood of data under a diagonal Gaussian.

    Parameters
    ----------
    reduction : str
        ``"batchmean"`` by default: summed over a datum, averaged over the batch.
    **options
        Any option of :func:`genkern.gaussian_nll`: ``full``, ``scale_param``, ``scale_offset``, ``clamp``,
        ``clamp_mode``, ``units``, ``event_ndim``.

    Notes
    -----
    ``forward(x, loc, scale=0.0)``: shapes, gradients and errors as :func:`genkern.gaussian_nll`; the result is in nats
    unless ``units`` says otherwise, in float32 or wider.

    Examples
    --------
    >>> import torch
    >>> from genkern.nn import GaussianNLLLoss
    >>> loss = GaussianNLLLoss()(torch.zeros(4, 3), torch.zeros(4, 3))
    >>> round(loss.item(), 4)  # 3 · ½ log 2π
    2.7568
    """

    def forward(self, x: Tensor, loc: Tensor, scale: Tensor | float | str = 0.0) -> Tensor:
        return functional.gaussian_nll(x, loc, scale, **self.options)


class GaussianKLLoss(_FunctionalLoss):
    """KL divergence of a diagonal Gaussian from N(0, I) or from another diagonal Gaussian.

    Parameters
    ----------
    reduction : str
        ``"batchmean"`` by default: summed over a datum, averaged over the batch.
    **options
        Any option of :func:`genkern.gaussian_kl`: ``scale_param``, ``free_bits``, ``grad_scale_q``, …

    Notes
    -----
    ``forward(loc, scale, prior_loc=None, prior_scale=None)``: shapes, gradients and errors as
    :func:`genkern.gaussian_kl`; in nats unless ``units`` says otherwise, in float32 or wider.

    Examples
    --------
    >>> import torch
    >>> from genkern.nn import GaussianKLLoss
    >>> GaussianKLLoss()(torch.ones(4, 3), torch.zeros(4, 3)).item()
    1.5
    """

    def forward(
        self, loc: Tensor, scale: Tensor, prior_loc: Tensor | None = None, prior_scale: Tensor | None = None
    ) -> Tensor:
        return functional.gaussian_kl(loc, scale, prior_loc, prior_scale, **self.options)


class LaplaceNLLLoss(_FunctionalLoss):
    """Negative log-likelihood of data under independent Laplace distributions.

    Parameters
    ----------
    reduction : str
        ``"batchmean"`` by default: summed over a datum, averaged over the batch.
    **options
        Any option of :func:`genkern.laplace_nll`: ``full``, ``scale_param``, ``scale_offset``, ``clamp``, …

    Notes
    -----
    ``forward(x, loc, scale=0.0)``: shapes, gradients and errors as :func:`genkern.laplace_nll`; in nats unless
    ``units`` says otherwise, in float32 or wider.

    Examples
    --------
    >>> import torch
    >>> from genkern.nn import LaplaceNLLLoss
    >>> LaplaceNLLLoss(full=False)(torch.ones(4, 3), torch.zeros(4, 3)).item()
    3.0
    """

    def forward(self, x: Tensor, loc: Tensor, scale: Tensor | float = 0.0) -> Tensor:
        return functional.laplace_nll(x, loc, scale, **self.options)


class DiscretizedGaussianNLLLoss(_FunctionalLoss):
    """Negative log-probability of grey levels under rounded Gaussians.

    Parameters
    ----------
    reduction : str
        ``"batchmean"`` by default: summed over a datum, averaged over the batch.
    **options
        Any option of :func:`genkern.discretized_gaussian_nll`: ``bins``, ``low``, ``high``, ``cdf``, ``scale_param``, …

    Notes
    -----
    ``forward(x, loc, scale)``: shapes, gradients and errors as :func:`genkern.discretized_gaussian_nll`; in nats unless
    ``units`` says otherwise, in float32 or wider.

    Examples
    --------
    >>> import torch
    >>> from genkern.nn import DiscretizedGaussianNLLLoss
    >>> loss = DiscretizedGaussianNLLLoss(bins=2, units="bits", scale_param="std")
    >>> loss(torch.ones(4, 3), torch.zeros(4, 3), 1.0).item()  # black or white, either as likely
    3.0
    """

    def forward(self, x: Tensor, loc: Tensor, scale: Tensor | float) -> Tensor:
        return functional.discretized_gaussian_nll(x, loc, scale, **self.options)


class BernoulliNLLLoss(_FunctionalLoss):
    """Negative log-likelihood of data in [0, 1] under independent Bernoulli variables given by their logits.

    Parameters
    ----------
    reduction : str
        ``"batchmean"`` by default: summed over a datum, averaged over the batch.
    **options
        Any option of :func:`genkern.bernoulli_nll`: ``label_smoothing``, ``units``, ``event_ndim``.

    Notes
    -----
    ``forward(x, logits)``: shapes, gradients and errors as :func:`genkern.bernoulli_nll`; in nats unless ``units`` says
    otherwise, in float32 or wider.

    Examples
    --------
    >>> import torch
    >>> from genkern.nn import BernoulliNLLLoss
    >>> round(BernoulliNLLLoss(units="bits")(torch.ones(4, 3), torch.zeros(4, 3)).item(), 4)
    3.0
    """

    def forward(self, x: Tensor, logits: Tensor) -> Tensor:
        return functional.bernoulli_nll(x, logits, **self.options)


class GANDiscriminatorLoss(_FunctionalLoss):
    """What a discriminator minimises, from its logits.

    Parameters
    ----------
    kind : str
        As in :func:`genkern.gan_discriminator_loss`.
    reduction : str
        ``"mean"`` by default, over the real and over the fake logits apart.
    **options
        ``label_smoothing``, ``hinge_scale``.

    Notes
    -----
    ``forward(real, fake)``: shapes, gradients and errors as :func:`genkern.gan_discriminator_loss`; float32 or wider.

    Examples
    --------
    >>> import torch
    >>> from genkern.nn import GANDiscriminatorLoss
    >>> GANDiscriminatorLoss("hinge")(torch.zeros(4), torch.zeros(8)).item()
    2.0
    """

    def __init__(self, kind: str = "non_saturating", *, reduction: str = "mean", **options: Any) -> None:
        super().__init__(kind=kind, reduction=reduction, **options)

    def forward(self, real: Tensor, fake: Tensor) -> Tensor:
        return functional.gan_discriminator_loss(real=real, fake=fake, **self.options)


class GANGeneratorLoss(_FunctionalLoss):
    """What a generator minimises, from the discriminator's logits.

    Parameters
    ----------
    kind : str
        As in :func:`genkern.gan_generator_loss`.
    reduction : str
        ``"mean"`` by default.

    Notes
    -----
    ``forward(fake, real=None)``: shapes, gradients and errors as :func:`genkern.gan_generator_loss`; only
    ``"relativistic"`` reads `real`; float32 or wider.

    Examples
    --------
    >>> import torch
    >>> from genkern.nn import GANGeneratorLoss
    >>> GANGeneratorLoss("lsgan")(torch.zeros(4)).item()
    0.5
    """

    def __init__(self, kind: str = "non_saturating", *, reduction: str = "mean") -> None:
        super().__init__(kind=kind, reduction=reduction)

    def forward(self, fake: Tensor, real: Tensor | None = None) -> Tensor:
        return functional.gan_generator_loss(fake=fake, real=real, **self.options)
