"""Densities of mixtures, in plain torch: every pair of a point and a component is written out, [B, C, D] numbers."""

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from genkern import _checks
from genkern.reference.definition import Definition
from genkern.reference.options import Result
from genkern.reference.reduce import logsumexp


@Definition
def gaussian_mixture(
    z: Tensor, loc: Tensor, log_scale: Tensor, log_weights: Tensor | None, marginals: bool
) -> Iterator[Any]:
    """log sum_c w_c N(z_b; loc_c, scale_c), ``[B]``, and the same of each dimension by itself, ``[B, D]``.

    Without `marginals` the latter is ``[B, 0]``. Behind them are the totals of the shares of the components, which
    kernels keep for backward: 1 but for the rounding of the logarithms.
    """
    _checks.tensors(z=z, loc=loc, scale=log_scale, log_weights=log_weights, optional=("log_weights",))
    _checks.boolean("marginals", marginals)
    if z.dim() != 2:
        raise ValueError(f"z: expected shape (B, D), got {tuple(z.shape)}")
    if loc.dim() != 2 or loc.shape[0] == 0 or loc.shape[1] != z.shape[1]:
        raise ValueError(f"loc: expected shape (C, {z.shape[1]}) with C >= 1, got {tuple(loc.shape)}")
    points, components = z.shape[0], loc.shape[0]
    sizes = tuple(log_scale.shape)
    if len(sizes) != 2 or sizes[0] not in (1, components) or sizes[1] not in (1, loc.shape[1]):
        raise ValueError(f"scale: expected a shape that broadcasts to {tuple(loc.shape)}, got {sizes}")
    if log_weights is not None and tuple(log_weights.shape) not in ((components,), (points, components)):
        expected = f"({components},) or {(points, components)}"
        raise ValueError(f"log_weights: expected shape {expected}, got {tuple(log_weights.shape)}")
    dtype = _checks.compute_dtype(z, loc, log_scale, log_weights)
    of_points = Result((points,), dtype, z.device)
    of_dimensions = Result((points, z.shape[1] if marginals else 0), dtype, z.device)
    yield of_points, of_dimensions, of_points, of_dimensions
    z, loc, log_scale = z.to(dtype), loc.to(dtype), log_scale.to(dtype)
    weights = z.new_full((components,), -math.log(components)) if log_weights is None else log_weights.to(dtype)
    # For every sigma a point at the location has no distance from it, and one far away a distance that is a number,
    # whose product with a weight of 0 is 0.
    half, largest = 0.5 * z.unsqueeze(1) - 0.5 * loc, torch.finfo(dtype).max
    most = math.log(largest / 2) * (1 - torch.finfo(dtype).eps) - half.detach().abs().clamp(0.5, largest).log()
    u = 2 * (half * torch.exp(torch.minimum(-log_scale, most)))
    beyond = torch.where((z.unsqueeze(1) - loc).isinf(), torch.inf, 0.0)
    elements = -0.5 * u * u - beyond - (log_scale + 0.5 * math.log(2 * math.pi))
    joint = logsumexp(elements.sum(-1) + weights, 1)
    marginal = logsumexp(elements + weights.unsqueeze(-1), 1) if marginals else z.new_empty((z.shape[0], 0))
    yield joint, marginal, z.new_ones(joint.shape), z.new_ones(marginal.shape)
