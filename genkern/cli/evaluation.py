"""Held-out figures of a trained VAE, and the baselines that say whether they are any good."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from genkern import random
from genkern.cli.data import Images
from genkern.cli.errors import missing_extra
from genkern.cli.trainer import STREAMS, Trainer
from genkern.cli.units import GREY_LEVEL_BITS, bits_per_dim
from genkern.nn import BernoulliNLLLoss, GaussianNLLLoss

__all__ = ["evaluate"]

_ELBO_DRAWS = 20
_IMPORTANCE_SAMPLES = 500
_FINEST_GREY_LEVEL = 1 / 256


def evaluate(trainer: Trainer) -> dict[str, Any]:
    """Held-out ELBO, log-likelihood and baselines: a pure function of the trainer's state."""
    images, vae = trainer.images, trainer.average
    elbo_key, marginal_key = random.split(random.key(trainer.settings.seed), STREAMS + 2)[STREAMS:]
    draws = [vae.elbo(images.held_out, key=key) for key in random.split(elbo_key, _ELBO_DRAWS)]
    elbo, reconstruction, kl = (torch.stack(parts).double().mean().item() for parts in zip(*draws, strict=True))
    marginal = vae.log_marginal(images.held_out, _IMPORTANCE_SAMPLES, chunk_size=10, key=marginal_key)
    log_likelihood = marginal.double().mean().item()
    dims = images.held_out[0].numel()
    density = trainer.settings.likelihood == "gaussian"
    return {
        "images": len(images.held_out),
        "elbo_nats": elbo,
        "reconstruction_nats": reconstruction,
        "kl_nats": kl,
        "elbo_bits_per_dim": bits_per_dim(elbo, dims),
        "log_likelihood_nats": log_likelihood,
        "log_likelihood_bits_per_dim": bits_per_dim(log_likelihood, dims),
        "log_likelihood_bits_per_dim_256_levels": bits_per_dim(log_likelihood, dims) + GREY_LEVEL_BITS
        if density
        else None,
        "importance_samples": _IMPORTANCE_SAMPLES,
        "measure": (
            "density over pixels in [0, 1]; + 8 bits/dim for pixels counted in 256 grey levels"
            if density
            else "Bernoulli cross-entropy of grey levels in [0, 1]: not a density, not comparable with Gaussian figures"
        ),
        "baselines_nats": _gaussian_baselines(images, trainer.settings.latent_dim)
        if density
        else _bernoulli_baseline(images),
    }


def _gaussian_baselines(images: Images, components: int) -> dict[str, float]:
    """Held-out log-likelihood of a Gaussian for every pixel, and of probabilistic PCA with as many latents."""
    train, held_out = _training_rows(images), images.held_out.flatten(1).double()
    std = train.std(dim=0).clamp(min=_half_a_grey_level(images.train))
    loss = GaussianNLLLoss(scale_param="std")
    return {
        "gaussian_per_pixel": -loss(held_out, train.mean(dim=0).expand_as(held_out), std.expand_as(held_out)).item(),
        f"ppca_{components}": _ppca_log_likelihood(train, held_out, components),
    }


def _half_a_grey_level(images: Tensor) -> float:
    """The smallest σ that says anything about data in steps: a pixel that never changes would be fitted without end."""
    steps = images.unique().diff()
    return 0.5 * max(steps.min().item() if len(steps) else 0.0, _FINEST_GREY_LEVEL)


def _bernoulli_baseline(images: Images) -> dict[str, float]:
    held_out = images.held_out.flatten(1).double()
    mean = _training_rows(images).mean(dim=0).clamp(1e-3, 1 - 1e-3)
    return {"bernoulli_per_pixel": -BernoulliNLLLoss()(held_out, mean.logit().expand_as(held_out)).item()}


def _training_rows(images: Images) -> Tensor:
    """The training images as the model saw them, mirrored ones included."""
    rows = images.train.double()
    return (torch.cat([rows, rows.flip(-1)]) if images.augment else rows).flatten(1)


def _ppca_log_likelihood(train: Tensor, held_out: Tensor, components: int) -> float:
    """Tipping & Bishop 1999, equation 4, by scikit-learn's fit and the eigenvalues: no D × D matrix is formed."""
    try:
        from sklearn.decomposition import PCA
    except ImportError as error:
        raise missing_extra("the PPCA baseline", error) from error
    dims = train.shape[1]
    count = min(components, dims - 1, len(train) - 1)
    fit = PCA(count, svd_solver="full").fit(train.numpy())
    variances, noise = torch.as_tensor(fit.explained_variance_), float(fit.noise_variance_)
    centred = held_out - torch.as_tensor(fit.mean_)
    scores = centred @ torch.as_tensor(fit.components_).T
    residual = centred.square().sum(dim=1) - scores.square().sum(dim=1)
    log_determinant = variances.log().sum() + (dims - count) * math.log(noise)
    distance = (scores.square() / variances).sum(dim=1) + residual / noise
    return float(-0.5 * (dims * math.log(2 * math.pi) + log_determinant + distance).mean())
