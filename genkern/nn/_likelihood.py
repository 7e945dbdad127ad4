"""What every likelihood is, whatever its data are."""

from torch import Tensor, nn

from genkern import _checks


class Likelihood(nn.Module):
    """The base of likelihoods p(x | z), with the three methods that a `VAE` calls; `params` is what the decoder gives.

    See Also
    --------
    make_likelihood : one by name
    VAE : takes one

    Examples
    --------
    One of your own, of data on a circle:

    >>> import math, torch
    >>> from genkern.nn import Likelihood
    >>> class VonMises(Likelihood):
    ...     def log_prob(self, x, params, *, frozen=False):
    ...         return torch.distributions.VonMises(params, 1.0).log_prob(x).flatten(1).sum(1)
    ...     def mean(self, params):
    ...         return params
    >>> VonMises().log_prob(torch.zeros(2, 3), torch.zeros(2, 3)).shape
    torch.Size([2])
    """

    def log_prob(self, x: Tensor, params: Tensor, *, frozen: bool = False) -> Tensor:
        """log p(x | z) ``[B]`` in nats, float32 or wider; `frozen`: a density that no other datum influences."""
        raise NotImplementedError

    def mean(self, params: Tensor) -> Tensor:
        """E[x | z], with the shape of the data: the picture to show."""
        raise NotImplementedError

    def sample(self, params: Tensor, *, key: Tensor, element_offset: int = 0) -> Tensor:
        """One draw of x given z, with the shape of the data; a pure function of its arguments."""
        raise NotImplementedError


def check_data(x: Tensor, mean: Tensor, frozen: bool, *, counts: bool = False) -> None:
    """Not even broadcast: a batch scored against another shape would be a wrong number without a word."""
    (_checks.counts if counts else _checks.tensor)("x", x)
    _checks.boolean("frozen", frozen)
    _checks.same_device(params=mean, x=x)
    if x.shape != mean.shape:
        raise ValueError(f"x: expected shape {tuple(mean.shape)}, that of the mean in params, got {tuple(x.shape)}")
