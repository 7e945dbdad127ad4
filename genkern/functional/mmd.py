"""How far two sets of points are apart as samples, in memory for the points alone."""

from collections.abc import Sequence

from torch import Tensor

from genkern._library import Operation
from genkern.reference import mmd as reference
from genkern.reference.mmd import MOST_SCALES as MOST_SCALES

__all__ = ["mmd"]

_mmd = Operation(
    "mmd(Tensor x, Tensor y, str kernel, float[] scales, str estimator) -> Tensor", reference.mmd, by_rows=False
)


def mmd(x: Tensor, y: Tensor, *, kernel: str = "rbf", scales: Sequence[float] = (1.0,), estimator: str = "u") -> Tensor:
    """The squared maximum mean discrepancy of two samples: E k(x, x') + E k(y, y') - 2 E k(x, y).

    Time is that of (B + C)²·D terms, memory that of the points: no matrix of kernel values is made, forward or
    backward, whatever the number of scales.

    Parameters
    ----------
    x, y : Tensor
        Points, ``[B, D]`` and ``[C, D]``.
    kernel : {"rbf", "imq"}
        Radial basis functions, sum_s exp(-d / s), with the squared Euclidean distance d and the scales s; or inverse
        multiquadrics, sum_s s / (s + d).
    scales : sequence of float
        Squared bandwidths, 1 to 16 positive numbers. exp(-d / (2 σ²)) has s = 2 σ².
    estimator : {"u", "v"}
        "u": unbiased, without the pairs of a point and itself, which takes two points of each at least; it may be
        negative. "v": the means over all pairs, not negative, and 0 where the sets are equal, up to rounding.

    Returns
    -------
    Tensor
        0-dim, float32 or wider.

    See Also
    --------
    genkern.nn.InfoVAE : the objective that takes it
    kde_log_prob : a density instead of a comparison

    Notes
    -----
    Gretton et al. 2012, "A kernel two-sample test", lemma 6 (u) and equation 5 (v). Gradients to `x` and `y`; second
    order, through the definition, in O((B + C)²·D) memory. Distances are sums of squared differences, so points near
    each other and far from the origin keep their digits. Sums over pairs, in an order that depends on the shapes alone.

    Examples
    --------
    >>> import genkern as gk, torch
    >>> x, y = torch.tensor([[0.0], [1.0]]), torch.tensor([[0.0], [2.0]])
    >>> gk.mmd(x, y, kernel="imq", estimator="v")  # 3/4 + 3/5 - (1 + 1/5 + 1/2 + 1/2) / 2
    tensor(0.2500)
    """
    return _mmd(x, y, kernel, reference.check_scales(scales), estimator)
