"""Distributions over classes, as an index or as a one-hot vector."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.distributions.utils import lazy_property, probs_to_logits
from torch.types import _size

from genkern import functional
from genkern.distributions._values import VALIDATE, has_masses

__all__ = ["Categorical", "OneHotCategorical", "OneHotCategoricalStraightThrough"]


class Categorical(torch.distributions.Categorical):
    """The index of one of K classes: ``torch.distributions.Categorical`` with fused entropy and divergence.

    Parameters
    ----------
    probs : Tensor, optional
        ``[..., K]``, masses, normalised by their sum.
    logits : Tensor, optional
        ``[..., K]``, unnormalised log masses. One of the two is given.
    validate_args : bool, optional
        Whether arguments and values are checked, which waits for the device; default no.

    See Also
    --------
    genkern.categorical_kl : the divergence as a function
    genkern.distributions.OneHotCategorical : one-hot vectors

    Notes
    -----
    Lazy: logits are kept as they came and normalised where they are asked for; ``entropy`` and ``kl_divergence`` do
    without (`genkern.categorical_entropy`, `genkern.categorical_kl`; of masses
    `genkern.discrete_entropy`, `genkern.discrete_kl`). Both are float32 or wider; a class without mass is
    left out, of the gradients too, and so is of these a class that makes a divergence infinite. All else is torch's.

    Examples
    --------
    >>> import torch
    >>> from genkern.distributions import Categorical
    >>> Categorical(logits=torch.zeros(2, 8)).entropy()
    tensor([2.0794, 2.0794])
    """

    _validate_args = VALIDATE

    def __init__(
        self, probs: Tensor | None = None, logits: Tensor | None = None, validate_args: bool | None = None
    ) -> None:
        if probs is not None and logits is None:
            name, given = "probs", probs
        elif logits is not None and probs is None:
            name, given = "logits", logits
        else:
            raise ValueError(f"probs, logits: expected one of the two, got {'none' if logits is None else 'both'}")
        if given.dim() < 1:
            raise ValueError(f"{name}: expected at least 1 dimension, got a scalar")
        self._param = given
        if name == "probs":
            self.probs = self._param = given / given.sum(-1, keepdim=True)
        elif validate_args:
            self.logits = self._normalised()  # so that it is checked
        self._num_events = given.shape[-1]
        super(torch.distributions.Categorical, self).__init__(given.shape[:-1], validate_args=validate_args)

    def expand(self, batch_shape: _size, _instance: Any = None) -> Categorical:
        """The same distribution with a larger batch shape; nothing is copied."""
        new = self._get_checked_instance(Categorical, _instance)
        batch_shape = torch.Size(batch_shape)
        shape = (*batch_shape, self._num_events)
        for name in ("_param", "probs", "logits"):
            if name in self.__dict__:
                setattr(new, name, self.__dict__[name].expand(shape))
        if has_masses(self):
            new._param = new.probs
        new._num_events = self._num_events
        super(torch.distributions.Categorical, new).__init__(batch_shape, validate_args=False)
        new._validate_args = self._validate_args
        return new

    @lazy_property
    def logits(self) -> Tensor:
        """Normalised log masses."""
        return probs_to_logits(self.probs) if has_masses(self) else self._normalised()

    def entropy(self) -> Tensor:
        """−Σ p log p, in nats."""
        entropy = functional.discrete_entropy if has_masses(self) else functional.categorical_entropy
        return entropy(self._param, reduction="none")

    def _normalised(self) -> Tensor:
        return self._param.log_softmax(-1)


class OneHotCategorical(torch.distributions.OneHotCategorical):
    """One of K classes as a one-hot vector: ``torch.distributions.OneHotCategorical`` with fused entropy and KL.

    Parameters, notes and what is fused: those of `Categorical`.

    See Also
    --------
    genkern.distributions.Categorical : indices
    genkern.distributions.OneHotCategoricalStraightThrough : samples with a gradient

    Examples
    --------
    >>> import torch
    >>> from genkern.distributions import OneHotCategorical
    >>> q = OneHotCategorical(logits=torch.zeros(2, 8))
    >>> q.sample().sum(-1), q.entropy()
    (tensor([1., 1.]), tensor([2.0794, 2.0794]))
    """

    _validate_args = VALIDATE

    def __init__(
        self, probs: Tensor | None = None, logits: Tensor | None = None, validate_args: bool | None = None
    ) -> None:
        self._categorical = Categorical(probs, logits, validate_args=validate_args)
        super(torch.distributions.OneHotCategorical, self).__init__(
            self._categorical.batch_shape, self._categorical.param_shape[-1:], validate_args=validate_args
        )

    def expand(self, batch_shape: _size, _instance: Any = None) -> OneHotCategorical:
        """The same distribution with a larger batch shape; nothing is copied."""
        new = self._get_checked_instance(OneHotCategorical, _instance)
        batch_shape = torch.Size(batch_shape)
        new._categorical = self._categorical.expand(batch_shape)
        super(torch.distributions.OneHotCategorical, new).__init__(batch_shape, self.event_shape, validate_args=False)
        new._validate_args = self._validate_args
        return new


class OneHotCategoricalStraightThrough(OneHotCategorical, torch.distributions.OneHotCategoricalStraightThrough):
    """A one-hot vector whose ``rsample`` passes its gradient straight through to the probabilities.

    Source: Bengio et al. 2013. What Dreamer's latents are; a relaxed sample is `genkern.gumbel_softmax`.

    See Also
    --------
    genkern.distributions.OneHotCategorical : without a gradient
    genkern.gumbel_softmax : a relaxed sample

    Examples
    --------
    >>> import torch
    >>> from genkern.distributions import OneHotCategoricalStraightThrough
    >>> logits = torch.zeros(2, 8, requires_grad=True)
    >>> OneHotCategoricalStraightThrough(logits=logits).rsample()[..., 0].sum().backward()
    >>> logits.grad[0, 0]
    tensor(0.1094)
    """
