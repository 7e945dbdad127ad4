"""What drop-ins are compared with: projects that are no packages, and packages with genkern's noise."""

from __future__ import annotations

import importlib
import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor

import genkern as gk

LOG_2_PI = math.log(2 * math.pi)


class NormalOfNVAE:
    """Appendix A of Vahdat & Kautz 2020 and its code, as formulas."""

    def __init__(self, mu: Tensor, log_sigma: Tensor, temp: float = 1.0) -> None:
        self.mu = 5 * torch.tanh(mu / 5)
        self.sigma = (torch.exp(5 * torch.tanh(log_sigma / 5)) + 1e-2) * temp

    def sample(self) -> tuple[Tensor, Tensor]:
        """With genkern's noise."""
        eps = noise_of(None, tuple(self.mu.shape), self.mu.dtype)
        return self.sample_given_eps(eps), eps

    def sample_given_eps(self, eps: Tensor) -> Tensor:
        return self.mu + self.sigma * eps

    def log_p(self, x: Tensor) -> Tensor:
        return -0.5 * ((x - self.mu) / self.sigma) ** 2 - 0.5 * LOG_2_PI - self.sigma.log()

    def kl(self, p: NormalOfNVAE) -> Tensor:
        ratio = self.sigma / p.sigma
        return 0.5 * (((self.mu - p.mu) / p.sigma) ** 2 + ratio**2) - 0.5 - ratio.log()


def noise_of(generator: torch.Generator | None, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    return gk.random.normal(gk.random.reserve(generator), shape, dtype=dtype)


@contextmanager
def genkerns_noise_in_diffusers() -> Iterator[None]:
    def draw(shape: Any, generator: Any = None, device: Any = None, dtype: Any = None) -> Tensor:
        if isinstance(generator, list) and len(generator) == 1:
            generator = generator[0]  # as diffusers takes it
        if isinstance(generator, list):
            return torch.stack([noise_of(g, tuple(shape[1:]), dtype) for g in generator])
        return noise_of(generator, tuple(shape), dtype)

    with pytest.MonkeyPatch.context() as patch:
        for module in ("vae", "autoencoder_oobleck"):
            patch.setattr(importlib.import_module(f"diffusers.models.autoencoders.{module}"), "randn_tensor", draw)
        yield
