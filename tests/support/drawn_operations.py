"""What each public operation takes: a function of a `Draw` for each, which puts arguments that fit into it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch

import genkern as gk
from genkern import _checks
from genkern.functional.bounds import ESTIMATORS
from genkern.reference.counts import DISPERSION_PARAMS, MEAN_PARAMS, RATE_PARAMS
from genkern.reference.gan import KINDS, WITH_LABELS
from genkern.reference.gan import REDUCTIONS as GAN_REDUCTIONS
from genkern.reference.likelihood import CDFS
from genkern.reference.mmd import ESTIMATORS as MMD_ESTIMATORS
from genkern.reference.mmd import KERNELS
from support.cases import CASES, Case, gumbel_noise
from support.drawn import Draw, Noise, Seeds
from support.drawn_arguments import (
    OFFSETS,
    common_shape,
    put_bins,
    put_classes,
    put_key,
    put_kl_options,
    put_likelihood,
    put_loc_and_scale,
    put_location,
    put_log_weights,
    put_logistic_mixture,
    put_masses,
    put_noise,
    put_reduction,
    put_sample,
    put_scale,
    put_scale_options,
)


def gaussian_rsample(d: Draw) -> None:
    shape = put_loc_and_scale(d)
    put_sample(d, shape)


def gaussian_kl(d: Draw) -> None:
    shape = d.shape()
    law = put_scale_options(d)
    put_location(d, "loc", shape)
    put_scale(d, "scale", shape, law)
    if d.chance(0.7):
        put_location(d, "prior_loc", shape)
    if d.chance(0.7):
        put_scale(d, "prior_scale", shape, law)
    put_kl_options(d)
    put_reduction(d, common_shape(d))


def gaussian_rsample_kl(d: Draw) -> None:
    law = put_scale_options(d)
    shape = put_loc_and_scale(d, law)
    if d.chance(0.7):
        d.tensor("prior_loc", d.part(shape), twin="loc")
    if d.chance(0.7):
        d.tensor("prior_scale", d.part(shape), law, twin="scale")
    put_kl_options(d)
    put_reduction(d, shape)
    put_sample(d, shape)


def gaussian_rsample_kl_packed(d: Draw) -> None:
    law = put_scale_options(d)
    shape = d.shape(least=1)
    dim = d.random.randrange(len(shape))
    latent = d.one((1, 2, 3, 4))
    shared = latent > 1 and d.chance(0.4)
    channels = latent + 1 if shared else 2 * latent
    shape = (*shape[:dim], channels, *shape[dim + 1 :])
    # loc and scale lie in one tensor: where a scale must be positive, all of it is.
    d.tensor("moments", shape, law)
    if dim != 1 or d.chance(0.3):
        d.options["chunk_dim"] = dim if d.chance(0.5) else dim - len(shape)
    if (shared and channels % 2 == 0) or d.chance(0.3):
        d.options["latent_channels"] = latent
    elif channels % 2:
        latent = channels - 1
    of_sample = (*shape[:dim], latent, *shape[dim + 1 :])
    put_kl_options(d)
    put_reduction(d, of_sample)
    put_sample(d, of_sample, of=("moments",))


def gaussian_residual_rsample_kl(d: Draw) -> None:
    law = put_scale_options(d)
    shape = d.shape()
    for name in ("prior_loc", "delta_loc"):
        d.tensor(name, d.part(shape))
    for name in ("prior_scale", "delta_scale"):
        d.tensor(name, d.part(shape), law)
    put_kl_options(d)
    names = ("prior_loc", "prior_scale", "delta_loc", "delta_scale")
    shape = common_shape(d)
    put_reduction(d, shape)
    put_noise(d, shape, names)


def gaussian_nll(d: Draw) -> None:
    put_likelihood(d, "optimal")


def gaussian_log_prob(d: Draw) -> None:
    put_likelihood(d, "optimal")


def laplace_nll(d: Draw) -> None:
    put_likelihood(d)


def gaussian_entropy(d: Draw) -> None:
    law = put_scale_options(d)
    d.tensor("scale", d.shape(), law)
    put_reduction(d, common_shape(d))


def discretized_gaussian_nll(d: Draw) -> None:
    law = put_scale_options(d)
    shape = d.shape()
    d.tensor("x", d.part(shape), d.one(("level", "level", "real")), twin="loc")
    put_location(d, "loc", shape)
    if law == "real" and d.chance(0.3):  # about as wide as a bin
        d.tensors["scale"] = d.laid_out(d.tensor("scale", d.part(shape), law, twin="scale") * 2 - 11)
    elif d.chance(0.15):
        d.options["scale"] = d.one((1.0, 0.5, 2, 0.01))
    else:
        put_scale(d, "scale", shape, law)
    put_bins(d)
    d.option("cdf", CDFS)
    put_reduction(d, common_shape(d))


def bernoulli_nll(d: Draw) -> None:
    shape = d.shape()
    d.tensor("x", d.part(shape), "unit")
    d.tensor("logits", d.part(shape), "logit")
    d.option("label_smoothing", (0.0, 0.1, 1, 0.5), 0.3)
    put_reduction(d, common_shape(d))


def discretized_logistic_mixture_nll(d: Draw) -> None:
    pixels, channels, dim = put_logistic_mixture(d)
    of_x = d.part(pixels) if d.chance(0.3) else pixels
    of_x = (1,) * (len(pixels) - len(of_x)) + of_x
    x = d.tensor("x", (*of_x, channels), d.one(("level", "level", "real")))
    d.tensors["x"] = x.movedim(-1, dim)
    of_params = d.tensors["params"].movedim(dim, -1).shape[:-1]
    d.option("bins", (2, 16, 256, 255), 0.4)
    put_reduction(d, torch.broadcast_shapes(of_x, of_params))


def discretized_logistic_mixture_sample(d: Draw) -> None:
    pixels, channels, dim = put_logistic_mixture(d)
    pixels = tuple(d.tensors["params"].movedim(dim, -1).shape[:-1])
    offset = channels * d.one((0, 0, 1, 7))
    if offset:
        d.options["element_offset"] = offset
    shape = (*pixels, 1 + channels)
    d.noisy(Noise(gk.random.uniform, shape, ("params",), offset // channels * (1 + channels)), "uniform")


def put_counts(d: Draw, *names: str) -> None:
    shape = d.shape()
    for name in names:
        d.tensor(name, d.part(shape), "real" if name == "dropout_logits" else "positive")
    d.option("sample_shape", ((2,), (0, 3), ()), 0.2)
    d.option("element_offset", OFFSETS, 0.2)
    if d.chance(0.5):
        put_key(d)
    else:
        d.options["generator"] = Seeds((d.random.getrandbits(60),), False)


def poisson_sample(d: Draw) -> None:
    put_counts(d, "rate")
    d.option("rate_param", RATE_PARAMS)


def negative_binomial_sample(d: Draw) -> None:
    put_counts(d, "mean", "inverse_dispersion")
    d.option("mean_param", MEAN_PARAMS)
    d.option("dispersion_param", DISPERSION_PARAMS)


def zero_inflated_negative_binomial_sample(d: Draw) -> None:
    put_counts(d, "mean", "inverse_dispersion", "dropout_logits")
    d.option("mean_param", MEAN_PARAMS)
    d.option("dispersion_param", DISPERSION_PARAMS)


def gaussian_mixture_log_prob(d: Draw) -> None:
    law = put_scale_options(d)
    points, components, dims = d.shape(least=1, most=1)[0], max(1, d.shape(1, 1)[0] % 40), d.one((0, 1, 2, 3, 5, 17))
    d.tensor("z", (points, dims), twin="loc")
    d.tensor("loc", (components, dims), twin="loc")
    shapes = [(components, dims), (components,), (components, 1), (1, dims), ()]
    if d.chance(0.15):
        d.options["scale"] = d.one((1.0, 0.5, 2, 0.01))
    else:
        d.tensor("scale", d.one(shapes), law)
    if d.chance(0.5):
        d.tensor("log_weights", d.one([(components,), (points, components)]))
    d.option("marginals", (True, False))


def kde_log_prob(d: Draw) -> None:
    points, data, dims = d.shape(1, 1)[0], max(1, d.shape(1, 1)[0] % 40), d.one((0, 1, 2, 3, 5, 17))
    d.tensor("x", (points, dims), twin="x")
    d.tensor("data", (data, dims), twin="x")
    if d.chance(0.5):
        d.options["bandwidth"] = d.one((1.0, 0.1, 2, 1e-3, 30.0))
    else:
        d.tensor("bandwidth", d.one(((), (data,))), "positive")


def total_correlation(d: Draw) -> None:
    law = put_scale_options(d)
    shape = (d.shape(1, 1)[0] % 40, d.one((0, 1, 2, 3, 5, 17)))
    d.tensor("z", shape, twin="loc")
    d.tensor("loc", shape, twin="loc")
    d.tensor("scale", shape, law)
    d.options["dataset_size"] = max(1, shape[0]) + d.one((0, 1, 10, 50_000, 10**12))
    d.option("weighting", ("mss", "mws"))
    d.option("mss_weights", ("paper", "legacy"))
    d.option("joint_weight", ("once", "per_dim"))


def mmd(d: Draw) -> None:
    estimator = d.option("estimator", MMD_ESTIMATORS) or "u"
    least = 2 if estimator == "u" else 1
    dims = d.one((0, 1, 2, 3, 5, 17))
    for name in ("x", "y"):
        d.tensor(name, (max(least, d.shape(1, 1)[0] % 40), dims), twin="x")
    d.option("kernel", KERNELS)
    d.option("scales", ((1.0,), (0.5, 1, 20.0), [1e-3], (1e4, 1e-4), (2.0,) * 16))


def discrete_entropy(d: Draw) -> None:
    put_masses(d, "p")


def discrete_kl(d: Draw) -> None:
    put_masses(d, "p", "q")


def categorical_entropy(d: Draw) -> None:
    shape, _ = put_classes(d, "logit", "logits")
    put_reduction(d, shape)


def categorical_kl(d: Draw) -> None:
    shape, _ = put_classes(d, "logit", "logits_q", *(["logits_p"] if d.chance(0.7) else []))
    d.option("unimix", (0.0, 0.01, 0.5, 1), 0.3)
    put_kl_options(d)
    put_reduction(d, shape)


def gumbel_softmax(d: Draw) -> None:
    put_classes(d, "logit", "logits")
    d.option("tau", (1.0, 0.5, 3, 0, 0.0, 1e-3, 1e-40, 100.0))
    d.option("hard", (True, False))
    offset = d.option("element_offset", OFFSETS, 0.2) or 0
    d.noisy(Noise(gumbel_noise, tuple(d.tensors["logits"].shape), ("logits",), offset), "gumbel")


def log_mean_exp(d: Draw) -> None:
    put_log_weights(d)


def importance_weighted_bound(d: Draw) -> None:
    dim = put_log_weights(d)
    shape = d.tensors["log_w"].shape
    estimator = d.option("estimator", ESTIMATORS, 0.8)
    if estimator == "ciwae":
        d.options["beta"] = d.one((0.0, 0.3, 1, 0.999))
    if estimator == "miwae":
        d.options["groups"] = d.one([n for n in range(1, shape[dim] + 1) if shape[dim] % n == 0])
    if estimator == "renyi":
        d.options["alpha"] = d.one((0.0, 0.5, 1, 2.5, -1.0, 1 + 1e-9))
    if estimator == "dreg":
        d.tensor("latent", (*shape, d.one((1, 3))))


def accumulated(d: Draw) -> None:
    dim = put_log_weights(d)
    d.options["first"] = d.random.randint(0, d.tensors["log_w"].shape[dim])


def gan_discriminator_loss(d: Draw) -> None:
    kind = d.options["kind"] = d.one(KINDS)
    reduction = d.option("reduction", GAN_REDUCTIONS) or "mean"
    shape = d.shape()
    paired = kind == "relativistic" or reduction == "none"
    d.tensor("real", shape, "logit", twin="logits")
    d.tensor("fake", shape if paired or d.chance(0.5) else d.shape(), "logit", twin="logits")
    if kind in WITH_LABELS:
        d.option("label_smoothing", (0.0, 0.1, 1, 0.5), 0.4)
    if kind == "hinge":
        d.option("hinge_scale", (1.0, 0.3, 2, 0, -1.0), 0.4)


def gan_generator_loss(d: Draw) -> None:
    kind = d.options["kind"] = d.one(KINDS)
    d.option("reduction", GAN_REDUCTIONS)
    shape = d.shape()
    d.tensor("fake", shape, "logit", twin="logits")
    if kind == "relativistic" or d.chance(0.2):
        d.tensor("real", shape, "logit", twin="logits")


def interpolate(d: Draw) -> None:
    shape = d.shape(least=1) if d.chance(0.97) else ()
    for name in ("real", "fake"):
        d.tensor(name, shape, twin="points")
    offset = d.option("element_offset", OFFSETS, 0.2) or 0
    d.noisy(Noise(gk.random.uniform, shape[:1], ("real", "fake"), offset), "uniform")


def gradient_norm_penalty(d: Draw) -> None:
    zero_centered_penalty(d)
    d.option("center", (1.0, 0, 2.5, -1))


def zero_centered_penalty(d: Draw) -> None:
    d.tensor("grad", d.shape())
    d.option("reduction", GAN_REDUCTIONS, 0.7)


def minibatch_stddev(d: Draw) -> None:
    shape = d.shape(least=2)
    d.tensor("x", shape)
    d.option("group_size", (None, 1, 2, 3, 4, 5, 100))
    divisors = [n for n in range(1, min(shape[1], 12) + 1) if shape[1] % n == 0]
    d.option("num_channels", divisors or [1, 2], 0.4)


def ema_update_(d: Draw) -> None:
    for i in range(d.one((1, 1, 2, 3, 7))):
        shape = d.shape()
        for name in ("ema_params", "params"):
            d.tensor(f"{name}[{i}]", shape, twin=f"ema {i}")
    d.options["decay"] = d.one((0.5, 0, 1, 0.999, 0.01, 0.0))


def random_key(d: Draw) -> None:
    d.options["seed"] = d.one((0, 1, -1, 2**64 - 1, 2**70, 12345))
    d.option("offset", (0, 1, -1, 2**64 - 1))


def random_split(d: Draw) -> None:
    put_key(d)
    d.option("num", (0, 1, 2, 3, 100))


def by_case(case: Case, d: Draw) -> None:
    """An operation on elements, as its case in the matrix has it."""
    shape = d.shape()
    for name, t in case.draw((64,), "logvar").items():
        d.tensor(name, d.part(shape), "positive" if bool((t >= 0).all()) else "real")
    d.options |= d.one(case.variants)
    put_reduction(d, common_shape(d))


def random_fold_in(d: Draw) -> None:
    put_key(d)
    d.options["data"] = d.one((0, 1, 2, 1000, 2**40, 2**63 - 1))


def random_reserve(d: Draw) -> None:
    d.options["generator"] = Seeds((d.random.getrandbits(60),), False)


def random_normal(d: Draw) -> None:
    random_uniform(d)


def random_uniform(d: Draw) -> None:
    put_key(d)
    shape = d.shape()
    d.options["shape"] = shape if d.chance(0.8) else list(shape)
    d.option("dtype", _checks.FLOATING, 0.7)
    d.option("element_offset", OFFSETS)


DRAWS: dict[str, Callable[[Draw], None]] = {
    draw.__name__: draw
    for draw in (
        bernoulli_nll,
        categorical_entropy,
        categorical_kl,
        discrete_entropy,
        discrete_kl,
        discretized_gaussian_nll,
        discretized_logistic_mixture_nll,
        discretized_logistic_mixture_sample,
        ema_update_,
        gan_discriminator_loss,
        gan_generator_loss,
        gaussian_entropy,
        gaussian_kl,
        gaussian_log_prob,
        gaussian_mixture_log_prob,
        gaussian_nll,
        gaussian_residual_rsample_kl,
        gaussian_rsample,
        gaussian_rsample_kl,
        gaussian_rsample_kl_packed,
        gradient_norm_penalty,
        gumbel_softmax,
        importance_weighted_bound,
        interpolate,
        kde_log_prob,
        laplace_nll,
        log_mean_exp,
        minibatch_stddev,
        mmd,
        negative_binomial_sample,
        poisson_sample,
        total_correlation,
        zero_centered_penalty,
        zero_inflated_negative_binomial_sample,
    )
}
DRAWS["LogMeanExp"] = accumulated
for case in CASES:
    DRAWS.setdefault(case.op, partial(by_case, case))
DRAWS |= {
    f"random.{draw.__name__.removeprefix('random_')}": draw
    for draw in (random_fold_in, random_key, random_normal, random_reserve, random_split, random_uniform)
}
