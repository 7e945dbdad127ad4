"""The figures of ``genkern evaluate`` for a trained VAE, in memory that depends on neither samples nor images."""

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from genkern import functional, random
from genkern.cli.data import Pixels
from genkern.cli.units import bits_per_dim
from genkern.cli.vae.evaluation import ELBO_DRAWS, Track, held_out_bounds, measure
from genkern.cli.vae.trainer import VAETrainer
from genkern.nn import VAE

_ACTIVE = 0.01  # Burda et al. 2016: variance over the data of a posterior mean
_ROWS = 1000
_MOST_COMPONENTS = 10_000
_MOST_SAMPLES = 10_000
_MOST_FITTED = 500
_BANDWIDTHS = torch.logspace(-2, 0, 11, dtype=torch.float64).tolist()


@torch.no_grad()
def examine(trainer: VAETrainer, num_samples: int, track: Track) -> dict[str, Any]:
    """Bounds on held-out images, the latents of training images, and a density by the samples: a pure function."""
    vae = trainer.average
    # The bounds are those of the run's own metrics, at any K.
    bounds = held_out_bounds(trainer, num_samples, track)
    bounds["measure"] = measure(trainer.settings.likelihood, trainer.settings.binarize)
    figures = {"held_out": bounds, "parzen": _parzen(trainer, track)}
    if isinstance(vae, VAE):  # of a hierarchy q(z | x) has no moments: each level's depend on the draw above
        figures["latent"] = _latents(vae, trainer.images.train, trainer.key("aggregate_posterior"), track)
    return figures


def _latents(vae: VAE, x: Pixels, key: Tensor, track: Track) -> dict[str, Any]:
    """KL = mutual information + total correlation + dimension-wise KL, q(z) being exact for these images."""
    x = x.some(np.arange(min(len(x), _MOST_COMPONENTS)))
    moments = [vae.encode(part, condition=x.labels(slice(first, first + len(part)))) for first, part in x.parts(256)]
    loc, scale = (torch.cat(parts).flatten(1) for parts in zip(*moments, strict=True))
    options, prior = vae.scale_options, vae.objective.prior(vae)
    sums = torch.zeros(3, dtype=torch.float64)
    draws = max(1, min(ELBO_DRAWS, _MOST_COMPONENTS // len(x)))
    work = [(draw_key, first) for draw_key in random.split(key, draws) for first in range(0, len(loc), _ROWS)]
    for draw_key, first in track(work, "latents"):
        own = slice(first, first + _ROWS)
        z = functional.gaussian_rsample(
            loc[own], scale[own], key=draw_key, element_offset=first * loc.shape[1], **options
        )
        log_q_x = functional.gaussian_log_prob(z, loc[own], scale[own], **options)
        log_q, log_q_d = functional.gaussian_mixture_log_prob(z, loc, scale, marginals=True, **options)
        log_p = prior.log_prob(z)
        terms = log_q_x - log_q, log_q - log_q_d, log_q_d - log_p
        sums += torch.stack(terms).cpu().double().sum(dim=1)
    information, correlation, dimension_wise = (sums / (len(x) * draws)).tolist()
    variances = loc.cpu().double().var(dim=0)
    return {
        "images": len(x),
        "draws": draws,
        "kl_nats": information + correlation + dimension_wise,
        "mutual_information_nats": information,
        "mutual_information_limit_nats": math.log(len(x)),
        "total_correlation_nats": correlation,
        "dimension_wise_kl_nats": dimension_wise,
        "units": loc.shape[1],
        "active_units": int((variances > _ACTIVE).sum()),
        "posterior_mean_variances": variances.tolist(),
    }


def _parzen(trainer: VAETrainer, track: Track) -> dict[str, Any]:
    """Held-out log-likelihood of Gaussians about the model's samples, as wide as suits the training images best."""
    images, dims = trainer.images, trainer.images.train.dims
    num = max(256, min(_MOST_SAMPLES, 2**24 // dims))
    centres = trainer.samples(num, "parzen", track=lambda parts: track(parts, "samples")).flatten(1)
    # A few hundred images tell widths apart; the work stays that of some 2^29 differences for each.
    fitted = images.train[: max(16, min(_MOST_FITTED, 2**29 // (num * dims)))].flatten(1)
    scores = {
        bandwidth: functional.kde_log_prob(fitted, centres, bandwidth).cpu().double().mean().item()
        for bandwidth in track(_BANDWIDTHS, "Parzen window")
    }
    bandwidth = max(scores, key=lambda width: scores[width])
    held_out = images.held_out[: max(16, 2**32 // (num * dims))].flatten(1)
    log_prob = functional.kde_log_prob(held_out, centres, bandwidth).cpu().double().mean().item()
    return {
        "samples": num,
        "bandwidth": bandwidth,
        "images": len(held_out),
        "log_likelihood_nats": log_prob,
        "log_likelihood_bits_per_dim": bits_per_dim(log_prob, dims),
    }
