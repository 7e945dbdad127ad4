"""A prior that is learned: the posterior of data that never were."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from genkern import _checks
from genkern.nn.objectives.elbo import ELBO
from genkern.nn.objectives.objective import Model
from genkern.nn.priors import GaussianMixturePrior, Prior

__all__ = ["VampPrior"]


class VampPrior(ELBO):
    """The negative ELBO under p(z) = 1/C Σ q(z | u_c), with C learned pseudo-inputs u (Tomczak & Welling 2018).

    Parameters
    ----------
    components : int or Tensor
        C, or the pseudo-inputs to start from, ``[C, ...]``: data, as a rule.
    data_shape : sequence of int, optional
        Shape of one datum, where `components` is a number: pseudo-inputs then start as uniform noise in [0, 1), from
        torch's default generator.
    beta, capacity, warmup
        As `ELBO` has them.

    Attributes
    ----------
    pseudo_inputs : Parameter
        ``[C, ...]``, not confined to the data's range.

    See Also
    --------
    ELBO : the plain bound under N(0, I)
    ClassPrior : a prior that is learned for each class

    Notes
    -----
    ``VAE.sample``, ``elbo`` and ``log_marginal`` take the prior from here. The KL is that of the one z that is drawn,
    log q(z | x) − log p(z), so there are no free bits by dimension. The encoder sees the pseudo-inputs once a call;
    under DistributedDataParallel every rank has the same ones.

    Examples
    --------
    >>> import torch
    >>> from genkern.nn import MLPDecoder, MLPEncoder, VAE, VampPrior
    >>> vae = VAE(MLPEncoder((4,), 2), MLPDecoder((4,), 2), objective=VampPrior(10, (4,)))
    >>> vae.loss(torch.rand(3, 4)).backward()
    >>> vae.sample(5).shape
    torch.Size([5, 4])
    """

    own_prior = True

    def __init__(
        self,
        components: int | Tensor,
        data_shape: Sequence[int] | None = None,
        *,
        beta: float = 1.0,
        capacity: float | None = None,
        warmup: int = 0,
    ) -> None:
        super().__init__(beta, capacity=capacity, warmup=warmup)
        if isinstance(components, Tensor):
            _checks.tensor("components", components)
            if components.dim() < 2 or len(components) == 0:
                raise ValueError(f"components: expected shape (C, ...) with C >= 1, got {tuple(components.shape)}")
            if data_shape is not None:
                raise ValueError(f"data_shape: expected None beside a Tensor of components, got {data_shape}")
            start = components.detach().clone()
        else:
            count = _checks.positive("components", components)
            if data_shape is None:
                raise ValueError("data_shape: expected the shape of one datum, got None")
            sizes = _checks.sizes("data_shape", data_shape, minimum=1)
            if not sizes:
                raise ValueError("data_shape: expected one or more sizes, got ()")
            start = torch.rand(count, *sizes)
        self.pseudo_inputs = nn.Parameter(start)

    def prior(self, vae: Model) -> Prior:
        return GaussianMixturePrior(*vae.encode(self.pseudo_inputs), vae.scale_options)

    def extra_repr(self) -> str:
        return f"pseudo_inputs={tuple(self.pseudo_inputs.shape)}, {super().extra_repr()}"
