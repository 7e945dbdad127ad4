"""Losses as modules: the functions of :mod:`genkern.functional` with their options held.

``forward`` takes the tensors of the function that a class names. Shapes, gradients and errors are that function's; the
result is float32 or wider, in nats unless the option ``units`` says otherwise.
"""

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
    def __init__(self, *, reduction: str = "batchmean", **options: Any) -> None:
        """Hold the options of the function.

        Parameters
        ----------
        reduction : str
            ``"batchmean"`` by default: summed over a datum, averaged over the batch.
        **options
            Any other option of the function, which refuses a misspelt one.
        """
        super().__init__()
        self.options = {"reduction": reduction, **options}

    def extra_repr(self) -> str:
        return ", ".join(f"{name}={value!r}" for name, value in self.options.items())


class GaussianNLLLoss(_FunctionalLoss):
    """:func:`genkern.gaussian_nll` as a module.

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
    """:func:`genkern.gaussian_kl` as a module.

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
    """:func:`genkern.laplace_nll` as a module.

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
    """:func:`genkern.discretized_gaussian_nll` as a module.

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
    """:func:`genkern.bernoulli_nll` as a module.

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
    """:func:`genkern.gan_discriminator_loss` as a module; ``options`` are ``label_smoothing`` and ``hinge_scale``.

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
    """:func:`genkern.gan_generator_loss` as a module; only ``"relativistic"`` reads `real`.

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
