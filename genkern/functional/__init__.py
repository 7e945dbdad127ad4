"""The public operations, one module a family, and the options that many of them share.

**Noise.** At most one of `key`, `generator` and `eps` is given.

key : Tensor, optional
    The noise is a pure function of it (`genkern.random.key`).
generator : torch.Generator or list of them, optional
    Draws the key; of a list, generator i draws row i. Default: torch's default generator of the device.
eps : Tensor, optional
    The noise itself, of the shape of the sample.
element_offset : int
    Index of the first element in the noise stream: a rank that holds rows r, r + 1, ... of a global batch passes r
    times the event size and draws exactly its part.
sample_shape : sequence of int
    Shape of independent samples, in front.
temperature : float or Tensor
    Multiplies the standard deviation. A learned one is a tensor of shape (), which receives a gradient; eps is then in
    memory.

**Scales.**

scale_param : {"logvar", "logstd", "std", "var", "softplus"}
    The meaning of `scale`; the standard deviation of the last is softplus(scale).
scale_offset : float
    Added to the standard deviation.
clamp : (float or None, float or None), optional
    Bounds of the raw scale.
clamp_mode : {"hard", "straight_through", "softclip", "tanh"}
    Zero gradient outside; gradient passes; lo + softplus(x - lo); c tanh(x / c) for bounds (-c, c).

**Divergences.**

free_bits : float
    Floor of the divergence, in nats, or in bits where `units` are bits (Kingma et al. 2016).
free_bits_over : {"dim", "event", "batch"}
    The floor applies to each dimension, to each datum, or to the mean over the batch. Below it the gradient is 0, and
    the floor is shared out evenly among the values that a smaller reduction shows.
grad_scale_q, grad_scale_p : float
    Multiply the gradient into q and into p: KL balancing (Hafner et al. 2021) in one pass.

**Losses** are float32, or float64 where an argument is.

reduction : {"event", "none", "sum", "mean", "batchmean"}
    Sum over each datum (the default), none, over everything, mean over elements, mean over data of the sums.
units : {"nats", "bits", "bits_per_dim"}
    A bit is ln 2 nats; bits per dimension are bits divided by the number of elements of a datum.
event_ndim : int, optional
    How many trailing dimensions one datum spans; default all but the first.

Arithmetic is float32 (float64 where an argument is float64) whatever the storage type; samples have the arguments'
dtype. Gradients reach every floating tensor: first order fused, higher orders through the definition in
``genkern.reference``. An operation is one launch forward and one backward, which makes noise again and recomputes what
it needs: neither is stored.
"""

from typing import TYPE_CHECKING

from genkern.functional import (
    bounds,
    counts,
    discrete,
    gan,
    gaussian,
    hierarchical,
    likelihood,
    logistic_mixture,
    mixture,
)
from genkern.functional import mmd as _mmd  # the family, whose name is that of its operation
from genkern.functional.bounds import *  # noqa: F403
from genkern.functional.counts import *  # noqa: F403
from genkern.functional.discrete import *  # noqa: F403
from genkern.functional.gan import *  # noqa: F403
from genkern.functional.gaussian import *  # noqa: F403
from genkern.functional.hierarchical import *  # noqa: F403
from genkern.functional.likelihood import *  # noqa: F403
from genkern.functional.logistic_mixture import *  # noqa: F403
from genkern.functional.mixture import *  # noqa: F403
from genkern.functional.mmd import *  # noqa: F403

if not TYPE_CHECKING:  # type checkers read no computed __all__; to them, what is imported by * is public
    _families = (bounds, counts, discrete, gan, gaussian, hierarchical, likelihood, logistic_mixture, mixture, _mmd)
    __all__ = [name for family in _families for name in family.__all__]
