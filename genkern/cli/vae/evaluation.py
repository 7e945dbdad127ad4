"""Held-out figures of a trained VAE, and the baselines that say whether they are any good."""

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from genkern import functional, random
from genkern.cli.data import Images
from genkern.cli.quality import most_at_once, principal_components
from genkern.cli.units import GREY_LEVEL_BITS, bits_per_dim
from genkern.cli.vae.trainer import VAETrainer
from genkern.nn import BernoulliNLLLoss, DiscretizedGaussianNLLLoss, GaussianNLLLoss, HierarchicalVAE

Track = Callable[[list[Any], str], Iterable[Any]]
"""The items again, with a description of what is done with them: a progress bar."""

ELBO_DRAWS = 20
_DRAWS_A_CALL = 64
_IMPORTANCE_SAMPLES = 500
_FINEST_GREY_LEVEL = 1 / 256
_MOST_BOUNDED = 500
_FEWEST_WEIGHTED, _DECODED = 32, 2**28
"""Images whose importance weights are drawn: so many at least, and so many that all decoded numbers are no more."""


def _untracked(items: list[Any], description: str) -> list[Any]:
    return items


@torch.no_grad()
def evaluate(trainer: VAETrainer) -> dict[str, Any]:
    """Held-out ELBO, log-likelihood and baselines: a pure function of the trainer's state."""
    images = trainer.images
    likelihood = trainer.settings.likelihood
    bounds = held_out_bounds(trainer, _IMPORTANCE_SAMPLES)
    return {
        **bounds,
        "log_likelihood_bits_per_dim_256_levels": _of_grey_levels(bounds["log_likelihood_bits_per_dim"], likelihood),
        "measure": measure(likelihood, trainer.settings.binarize),
        "baselines_nats": _baselines(images.on(torch.device("cpu")), trainer.settings.latent_dim, likelihood),
    }


def held_out_bounds(trainer: VAETrainer, num_samples: int, track: Track = _untracked) -> dict[str, Any]:
    """ELBO and importance-weighted bound, in memory that does not depend on their number or on that of images.

    Of many held-out images some that are evenly spread are taken, as every one is decoded hundreds of times.
    """
    vae, held_out = trainer.average, trainer.images.held_out
    dims, size = held_out.dims, math.prod(vae.latent_shape or ())
    layers = len(vae.sizes) if isinstance(vae, HierarchicalVAE) else 1  # each of them as much work as a decoder
    x = held_out.sample(_MOST_BOUNDED)
    weighted = held_out.sample(min(len(x), max(_FEWEST_WEIGHTED, _DECODED // (dims * num_samples * layers))))
    rows = max(_DRAWS_A_CALL, min(4096, 2**21 // dims))  # to a call of the decoder
    draws = random.split(trainer.key("elbo"), ELBO_DRAWS)
    found = []
    for first, part in track(list(x.parts(rows)), "ELBO"):
        told: dict[str, Any] = {"condition": x.labels(slice(first, first + len(part))), "element_offset": first * size}
        each = (vae.elbo(part, key=key, **told) for key in draws)
        found.append(torch.stack([torch.cat(list(map(_rows, terms))) for terms in each]).mean(dim=0))
    terms = torch.cat(found, dim=1)

    chunks = random.split(trainer.key("log_likelihood"), num_samples).split(_DRAWS_A_CALL)
    parts = list(weighted.parts(max(1, rows // min(num_samples, _DRAWS_A_CALL))))
    work = [(part, chunk) for part in parts for chunk in chunks]
    log_likelihoods, total = [], functional.LogMeanExp()
    for (first, part), chunk in track(work, f"{num_samples} importance samples"):
        told = {"condition": weighted.labels(slice(first, first + len(part))), "element_offset": first * size}
        total.update(vae.log_weights(part, chunk, **told).cpu())
        if total.count == num_samples:
            log_likelihoods.append(total.compute().double())
            total = functional.LogMeanExp()
    figures = _means(terms, torch.cat(log_likelihoods))
    of_classes = {}
    labels, labels_weighted = x.labels(), weighted.labels()
    if labels is not None and labels_weighted is not None:
        for place, name in enumerate(trainer.images.classes):
            which = [(given == place).cpu() for given in (labels, labels_weighted)]
            of_classes[name] = _means(terms[:, which[0]], torch.cat(log_likelihoods)[which[1]])
    return {
        **figures,
        "elbo_bits_per_dim": bits_per_dim(figures["elbo_nats"], dims),
        "importance_samples": num_samples,
        "log_likelihood_bits_per_dim": bits_per_dim(figures["log_likelihood_nats"], dims),
        **({"classes": of_classes} if of_classes else {}),
        **({"kl_levels_nats": terms[3:].mean(dim=1).tolist()} if len(terms) > 3 else {}),
    }


def _rows(term: Tensor) -> Tensor:
    """A figure of each image, or several, as rows."""
    return term.cpu().double().view(len(term), -1).T


def _means(terms: Tensor, log_likelihoods: Tensor) -> dict[str, Any]:
    """The bounds of some images; None where there is none of them."""
    elbo, reconstruction, kl = terms[:3].mean(dim=1).tolist() if terms.shape[1] else [None] * 3
    return {
        "images": terms.shape[1],
        "elbo_nats": elbo,
        "reconstruction_nats": reconstruction,
        "kl_nats": kl,
        "log_likelihood_images": len(log_likelihoods),
        "log_likelihood_nats": log_likelihoods.mean().item() if len(log_likelihoods) else None,
    }


_DENSITY = "density over pixels in [0, 1]; + 8 bits/dim for pixels counted in 256 grey levels"
_PROBABILITY = "probability of the bins of pixels in 256 grey levels"
_OF_BINARY = "probability of pixels in black and white"
_MEASURES = {
    "bernoulli": "Bernoulli cross-entropy of grey levels in [0, 1]: not a density, not comparable with other figures",
    "discretized_gaussian": _PROBABILITY,
    "discretized_logistic": _PROBABILITY,
}


def measure(likelihood: str, binarized: bool = False) -> str:
    return _OF_BINARY if binarized else _MEASURES.get(likelihood, _DENSITY)


def _of_grey_levels(bits: float, likelihood: str) -> float | None:
    """Bits a dimension of pixels as integers of 8 bits: what a density has and 8, what a probability has already."""
    if likelihood == "bernoulli":
        return None
    return bits if measure(likelihood) == _PROBABILITY else bits + GREY_LEVEL_BITS


def _baselines(images: Images, latent_dim: int, likelihood: str) -> dict[str, float]:
    """Held-out log-likelihood of one distribution for every pixel, of the model's kind.

    Beside a Gaussian stands probabilistic PCA with as many latents; for probabilities it is rounded as the model is.
    """
    train, held_out = (
        _training_rows(images),
        images.held_out.sample(most_at_once(images.held_out.dims))[:].flatten(1).double(),
    )
    mean = train.mean(dim=0)
    if likelihood == "bernoulli":
        logits = mean.clamp(1e-3, 1 - 1e-3).logit().expand_as(held_out)
        return {"bernoulli_per_pixel": -BernoulliNLLLoss()(held_out, logits).item()}
    grain = _half_a_grey_level(images.train.sample(most_at_once(images.train.dims))[:])
    std = train.std(dim=0).clamp(min=grain)
    if measure(likelihood) == _PROBABILITY:
        rounded = DiscretizedGaussianNLLLoss(scale_param="std", low=0.0, high=1.0)
        return {"discretized_gaussian_per_pixel": -rounded(held_out, mean, std).item()}
    return {
        "gaussian_per_pixel": -GaussianNLLLoss(scale_param="std")(held_out, mean, std).item(),
        f"ppca_{latent_dim}": _ppca_log_likelihood(train, held_out, latent_dim, grain**2),
    }


def _half_a_grey_level(images: Tensor) -> float:
    """The smallest σ that says anything about data in steps: a pixel that never changes would be fitted without end."""
    steps = images.unique().diff()
    return 0.5 * max(steps.min().item() if len(steps) else 0.0, _FINEST_GREY_LEVEL)


def _training_rows(images: Images) -> Tensor:
    """Training images as the model saw them, mirrored ones included; of many, some that are evenly spread."""
    rows = images.train.sample(most_at_once(images.train.dims))[:].double()
    return (torch.cat([rows, rows.flip(-1)]) if images.augment else rows).flatten(1)


def _ppca_log_likelihood(train: Tensor, held_out: Tensor, components: int, least: float) -> float:
    """Tipping & Bishop 1999, equation 4, by scikit-learn's fit and the eigenvalues: no D × D matrix is formed.

    No direction has less than the `least` variance, that of rounding.
    """
    dims = train.shape[1]
    fit = principal_components(train, min(components, dims - 1, len(train) - 1))
    count = fit.n_components_
    variances, noise = torch.as_tensor(fit.explained_variance_).clamp(min=least), max(float(fit.noise_variance_), least)
    centred = held_out - torch.as_tensor(fit.mean_)
    scores = centred @ torch.as_tensor(fit.components_).T
    residual = centred.square().sum(dim=1) - scores.square().sum(dim=1)
    log_determinant = variances.log().sum() + (dims - count) * math.log(noise)
    distance = (scores.square() / variances).sum(dim=1) + residual / noise
    return float(-0.5 * (dims * math.log(2 * math.pi) + log_determinant + distance).mean())
