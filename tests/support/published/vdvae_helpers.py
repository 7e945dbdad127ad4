"""VDVAE's distributions and output, as Child 2021 and its code have them."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import genkern as gk
from support.originals import noise_of


def gaussian_analytical_kl(mu1: Tensor, mu2: Tensor, logsigma1: Tensor, logsigma2: Tensor) -> Tensor:
    squares = logsigma1.exp() ** 2 + (mu1 - mu2) ** 2
    return logsigma2 - logsigma1 - 0.5 + 0.5 * squares / logsigma2.exp() ** 2


def draw_gaussian_diag_samples(mu: Tensor, logsigma: Tensor) -> Tensor:
    return mu + logsigma.exp() * noise_of(None, tuple(mu.shape), mu.dtype)


def unpacked(params: Tensor, mixtures: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Logits ``[B, H, W, M]``; means, log-scales and coefficients ``[B, H, W, 3, M]``."""
    means, log_scales, coefficients = params[..., mixtures:].unflatten(-1, (3, 3, mixtures)).unbind(-2)
    return params[..., :mixtures], means, log_scales.clamp(min=-7.0), coefficients.tanh()


def discretized_mix_logistic_loss(x: Tensor, l: Tensor, low_bit: bool = False) -> Tensor:  # noqa: E741
    logits, means, log_scales, coefficients = unpacked(l, l.shape[-1] // 10)
    red, green, _ = x.unsqueeze(-1).unbind(-2)
    by_red, blue_by_red, blue_by_green = coefficients.unbind(-2)
    moves = torch.stack([0 * by_red, by_red * red, blue_by_red * red + blue_by_green * green], dim=-2)
    half = 1 / 31 if low_bit else 1 / 255
    value = x.unsqueeze(-1)
    centre = value - means - moves
    above, below = ((centre + end) / log_scales.exp() for end in (half, -half))
    mass = above.sigmoid() - below.sigmoid()
    middle = centre / log_scales.exp()
    density = middle - log_scales - 2 * F.softplus(middle) + math.log(2 * half)
    inner = torch.where(mass > 1e-5, mass.clamp(min=1e-12).log(), density)
    log_mass = torch.where(value < -0.999, F.logsigmoid(above), torch.where(value > 0.999, -F.softplus(below), inner))
    log_p = (log_mass.sum(-2) + logits.log_softmax(-1)).logsumexp(-1)
    return -log_p.sum((1, 2)) / math.prod(x.shape[1:])


def sample_from_discretized_mix_logistic(l: Tensor, nr_mix: int) -> Tensor:  # noqa: E741
    logits, means, log_scales, coefficients = unpacked(l, nr_mix)
    noise = gk.random.uniform(gk.random.reserve(), (*logits.shape[:-1], nr_mix + 3), dtype=l.dtype)
    gumbel, uniform = noise.split([nr_mix, 3], dim=-1)
    chosen = F.one_hot((logits - (-gumbel.log()).log()).argmax(-1), nr_mix).to(l.dtype).unsqueeze(-2)
    means, log_scales, coefficients = ((t * chosen).sum(-1) for t in (means, log_scales, coefficients))
    red, green, blue = (means + log_scales.exp() * (uniform.log() - (-uniform).log1p())).unbind(-1)
    by_red, blue_by_red, blue_by_green = coefficients.unbind(-1)
    red = red.clamp(-1, 1)
    green = (green + by_red * red).clamp(-1, 1)
    blue = (blue + blue_by_red * red + blue_by_green * green).clamp(-1, 1)
    return torch.stack([red, green, blue], dim=-1)


class HModule(nn.Module):
    def __init__(self, H: Any) -> None:
        super().__init__()
        self.H = H
        self.build()

    def build(self) -> None:
        raise NotImplementedError


class DmolNet(nn.Module):
    def __init__(self, H: Any) -> None:
        super().__init__()
        self.H = H
        self.out_conv = nn.Conv2d(H.width, 10 * H.num_mixtures, 1)

    def forward(self, px_z: Tensor) -> Tensor:
        return self.out_conv(px_z).permute(0, 2, 3, 1)

    def nll(self, px_z: Tensor, x: Tensor) -> Tensor:
        return discretized_mix_logistic_loss(x=x, l=self.forward(px_z), low_bit=self.H.dataset in ["ffhq_256"])

    def sample(self, px_z: Tensor) -> Any:
        images = sample_from_discretized_mix_logistic(self.forward(px_z), self.H.num_mixtures)
        return ((images + 1) * 127.5).detach().clamp(0, 255).cpu().byte().numpy()
