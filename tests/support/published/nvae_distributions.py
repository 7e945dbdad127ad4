"""NVAE's distributions, as Vahdat & Kautz 2020 and their code have them."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

import genkern as gk
from support.originals import NormalOfNVAE as Normal

__all__ = ["DiscMixLogistic", "Normal", "NormalDecoder"]


class NormalDecoder:
    def __init__(self, param: Tensor, num_bits: int = 8) -> None:
        self.dist = Normal(*param.chunk(2, dim=1))

    def log_prob(self, samples: Tensor) -> Tensor:
        return self.dist.log_p(2 * samples - 1)

    def sample(self, t: float = 1.0) -> Tensor:
        return self.dist.sample()[0].clamp(-1, 1) / 2 + 0.5


class DiscMixLogistic:
    def __init__(self, param: Tensor, num_mix: int = 10, num_bits: int = 8) -> None:
        self.num_mix = num_mix
        self.max_val = 2.0**num_bits - 1
        self.logit_probs = param[:, :num_mix]
        self.means, log_scales, coefficients = param[:, num_mix:].unflatten(1, (3, 3, num_mix)).unbind(2)
        self.log_scales = log_scales.clamp(min=-7.0)
        self.coeffs = coefficients.tanh()

    def log_prob(self, samples: Tensor) -> Tensor:
        x = (2 * samples - 1).unsqueeze(2)
        red, green = x[:, 0], x[:, 1]
        by_red, blue_by_red, blue_by_green = self.coeffs.unbind(1)
        moves = torch.stack([0 * by_red, by_red * red, blue_by_red * red + blue_by_green * green], dim=1)
        centre = x - self.means - moves
        inverse = torch.exp(-self.log_scales)
        above, below = (centre + 1 / self.max_val) * inverse, (centre - 1 / self.max_val) * inverse
        mass = above.sigmoid() - below.sigmoid()
        middle = centre * inverse
        density = middle - self.log_scales - 2 * F.softplus(middle) - math.log(self.max_val / 2)
        inner = torch.where(mass > 1e-5, mass.clamp(min=1e-10).log(), density)
        log_mass = torch.where(x < -0.999, F.logsigmoid(above), torch.where(x > 0.99, -F.softplus(below), inner))
        return (log_mass.sum(1) + self.logit_probs.log_softmax(1)).logsumexp(1)

    def sample(self, t: float = 1.0) -> Tensor:
        size, _, height, width = self.logit_probs.shape
        shape = (size, self.num_mix + 3, height, width)
        noise = gk.random.uniform(gk.random.reserve(), shape, dtype=self.means.dtype)
        gumbel, uniform = noise.split([self.num_mix, 3], dim=1)
        index = (self.logit_probs / t - (-gumbel.log()).log()).argmax(1)[:, None, None].expand(-1, 3, 1, -1, -1)
        means, log_scales, coefficients = (
            values.gather(2, index).squeeze(2) for values in (self.means, self.log_scales, self.coeffs)
        )
        return self._coupled(means + t * log_scales.exp() * (uniform.log() - (-uniform).log1p()), coefficients)

    def mean(self) -> Tensor:
        weights = self.logit_probs.softmax(1).unsqueeze(1)
        return self._coupled((self.means * weights).sum(2), (self.coeffs * weights).sum(2))

    def _coupled(self, x: Tensor, coefficients: Tensor) -> Tensor:
        by_red, blue_by_red, blue_by_green = coefficients.unbind(1)
        red = x[:, 0].clamp(-1, 1)
        green = (x[:, 1] + by_red * red).clamp(-1, 1)
        blue = (x[:, 2] + blue_by_red * red + blue_by_green * green).clamp(-1, 1)
        return torch.stack([red, green, blue], dim=1) / 2 + 0.5
