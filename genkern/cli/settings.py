"""What a training run is made of; together with the data and the step, it determines every number of the run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor

from genkern.cli.data import Images
from genkern.cli.errors import CommandError
from genkern.nn import (
    ELBO,
    VAE,
    BernoulliLikelihood,
    ConvDecoder,
    ConvEncoder,
    GaussianLikelihood,
    Likelihood,
    MLPDecoder,
    MLPEncoder,
)

__all__ = ["LIKELIHOODS", "MODELS", "Settings", "build_vae"]

MODELS = ("conv", "mlp", "hybrid")
"""Both halves convolutional, both perceptrons, or a convolutional encoder with a perceptron for a decoder."""
LIKELIHOODS = ("gaussian", "bernoulli")
SIGMAS = ("learned", "optimal", "decoder")


@dataclass(frozen=True)
class Settings:
    """Everything but the length of the run: a run of 200 steps is a run of 100 steps, continued."""

    data: str = "faces"
    size: int = 64
    likelihood: str = "gaussian"
    sigma: str = "learned"
    model: str = "hybrid"
    latent_dim: int = 16
    beta: float = 1.0
    warmup: int = 0
    batch_size: int = 64
    learning_rate: float = 1e-3
    interval: int = 100
    seed: int = 0

    def __post_init__(self) -> None:
        for name, allowed in (("likelihood", LIKELIHOODS), ("model", MODELS)):
            if getattr(self, name) not in allowed:
                raise CommandError(f"--{name}: expected one of {', '.join(allowed)}, got {getattr(self, name)!r}")
        for name in ("size", "latent_dim", "batch_size", "interval"):
            if getattr(self, name) < 1:
                raise CommandError(f"--{name.replace('_', '-')}: expected at least 1, got {getattr(self, name)}")
        for name in ("beta", "warmup", "learning_rate"):
            if not getattr(self, name) >= 0:
                raise CommandError(f"--{name.replace('_', '-')}: expected at least 0, got {getattr(self, name)}")
        _sigma(self.sigma)

    def changed(self, **values: Any) -> Settings:
        """With the given values in place, those that are None left out."""
        return replace(self, **{name: value for name, value in values.items() if value is not None})

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def require_same(self, stored: Mapping[str, Any], where: str) -> None:
        """Refuse to continue a run that was made with other settings."""
        for field in fields(self):
            mine, theirs = getattr(self, field.name), stored.get(field.name)
            if mine != theirs:
                raise CommandError(
                    f"{where}: a run with {field.name}={theirs!r} is there, this one has {mine!r}; "
                    "give another --out, or --resume never to replace it"
                )


def build_vae(settings: Settings, images: Images) -> VAE:
    """The model of a run, its parameters a function of the seed; torch's own generator is left as it was."""
    shape = images.shape
    channels = shape[0]
    sigma = _sigma(settings.sigma)
    per_pixel = settings.likelihood == "gaussian" and sigma == "decoder"
    outputs = 2 * channels if per_pixel else channels
    likelihood: Likelihood = BernoulliLikelihood() if settings.likelihood == "bernoulli" else GaussianLikelihood(sigma)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        encoder: torch.nn.Module
        if settings.model == "mlp":
            encoder = MLPEncoder(shape, settings.latent_dim, hidden=(512, 256))
        else:
            encoder = ConvEncoder(shape, settings.latent_dim, width=16)
        decoder: torch.nn.Module
        mean = images.train.mean(dim=0)
        if settings.model == "conv":
            decoder = ConvDecoder(shape, settings.latent_dim, width=16, out_channels=outputs)
            _start_at(decoder.head.bias, mean.mean(dim=(1, 2)), settings.likelihood)
        else:
            decoder = MLPDecoder((outputs, *shape[1:]), settings.latent_dim, hidden=(256, 512))
            _start_at(decoder.layers[-1].bias, mean, settings.likelihood)
    return VAE(encoder, decoder, likelihood=likelihood, objective=ELBO(settings.beta, warmup=settings.warmup))


@torch.no_grad()
def _start_at(bias: Any, mean: Tensor, likelihood: str) -> None:
    """A decoder that starts at the average image spends no steps on finding it; log-variances may follow the means."""
    start = mean.clamp(0.01, 0.99).logit() if likelihood == "bernoulli" else mean
    bias[: start.numel()] = start.flatten()


def _sigma(text: str) -> str | float:
    if text in SIGMAS:
        return text
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not value > 0:
        raise CommandError(f"--sigma: expected {', '.join(SIGMAS)} or a positive number, got {text!r}")
    return value
