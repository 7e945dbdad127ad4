"""Losses as modules: the functions of `genkern.functional` with their options held.

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
    """Negative log-likelihood under a Gaussian as a module: `genkern.gaussian_nll` with its options fixed.

    See Also
    --------
    genkern.gaussian_nll : the function, with all options
    GaussianLikelihood : for a VAE

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
    """KL divergence of Gaussians as a module: `genkern.gaussian_kl` with its options fixed.

    See Also
    --------
    genkern.gaussian_kl : the function, with all options
    GaussianHead : a sample and its divergence

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
    """Negative log-likelihood under a Laplace distribution as a module: `genkern.laplace_nll` with its options fixed.

    See Also
    --------
    genkern.laplace_nll : the function, with all options
    LaplaceLikelihood : for a VAE

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
    """Negative log-probability of grey levels as a module: `genkern.discretized_gaussian_nll` with its options fixed.

    See Also
    --------
    genkern.discretized_gaussian_nll : the function, with all options
    DiscretizedGaussianLikelihood : for a VAE

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
    """Binary cross-entropy from logits as a module: `genkern.bernoulli_nll` with its options fixed.

    See Also
    --------
    genkern.bernoulli_nll : the function, with all options
    BernoulliLikelihood : for a VAE

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
    """The loss of a discriminator as a module: `genkern.gan_discriminator_loss` with its options fixed.

    The ``options`` are ``label_smoothing`` and ``hinge_scale``.

    See Also
    --------
    genkern.gan_discriminator_loss : the function, with all options
    GANGeneratorLoss : the other side

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
    """The loss of a generator as a module: `genkern.gan_generator_loss` with its options fixed.

    Only ``"relativistic"`` reads `real`.

    See Also
    --------
    genkern.gan_generator_loss : the function, with all options
    GANDiscriminatorLoss : the other side

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
