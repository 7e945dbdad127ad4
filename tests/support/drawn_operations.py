"""What each public operation takes: a function of a `Draw` for each, which puts arguments that fit into it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

import genkern as gk
from genkern import _checks
from genkern.functional._free_bits import OVER
from genkern.functional.bounds import ESTIMATORS
from genkern.reference.gan import KINDS, WITH_LABELS
from genkern.reference.gan import REDUCTIONS as GAN_REDUCTIONS
from genkern.reference.likelihood import CDFS
from genkern.reference.mmd import ESTIMATORS as MMD_ESTIMATORS
from genkern.reference.mmd import KERNELS
from genkern.reference.scale import clamp, logvar
from support.cases import Options, Tensors, gumbel_noise
from support.drawn import Draw, Noise, Seeds
from support.inputs import REDUCTIONS, UNITS, Shape

OFFSETS = (0, 1, 3, 5, 2**33 + 1)


def gaussian_rsample(d: Draw) -> None:
    shape = _loc_and_scale(d)
    _sampled(d, shape)


def gaussian_kl(d: Draw) -> None:
    shape = d.shape()
    law = _scale_options(d)
    _location(d, "loc", shape)
    _scale(d, "scale", shape, law)
    if d.chance(0.7):
        _location(d, "prior_loc", shape)
    if d.chance(0.7):
        _scale(d, "prior_scale", shape, law)
    _kl_options(d)
    _reduced(d, _common(d))


def gaussian_rsample_kl(d: Draw) -> None:
    law = _scale_options(d)
    shape = _loc_and_scale(d, law)
    if d.chance(0.7):
        d.tensor("prior_loc", d.part(shape), twin="loc")
    if d.chance(0.7):
        d.tensor("prior_scale", d.part(shape), law, twin="scale")
    _kl_options(d)
    _reduced(d, shape)
    _sampled(d, shape)


def gaussian_rsample_kl_packed(d: Draw) -> None:
    law = _scale_options(d)
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
    _kl_options(d)
    _reduced(d, of_sample)
    _sampled(d, of_sample, of=("moments",))


def gaussian_residual_rsample_kl(d: Draw) -> None:
    law = _scale_options(d)
    shape = d.shape()
    for name in ("prior_loc", "delta_loc"):
        d.tensor(name, d.part(shape))
    for name in ("prior_scale", "delta_scale"):
        d.tensor(name, d.part(shape), law)
    _kl_options(d)
    names = ("prior_loc", "prior_scale", "delta_loc", "delta_scale")
    shape = _common(d)
    _reduced(d, shape)
    _noise(d, shape, names, by_all=True)


def gaussian_nll(d: Draw) -> None:
    _likelihood(d, "optimal")


def gaussian_log_prob(d: Draw) -> None:
    _likelihood(d, "optimal")


def laplace_nll(d: Draw) -> None:
    _likelihood(d)


def gaussian_entropy(d: Draw) -> None:
    law = _scale_options(d)
    d.tensor("scale", d.shape(), law)
    _reduced(d, _common(d))


def discretized_gaussian_nll(d: Draw) -> None:
    law = _scale_options(d)
    shape = d.shape()
    d.tensor("x", d.part(shape), d.one(("level", "level", "real")), twin="loc")
    _location(d, "loc", shape)
    if law == "real" and d.chance(0.3):  # about as wide as a bin
        d.tensors["scale"] = d.laid_out(d.tensor("scale", d.part(shape), law, twin="scale") * 2 - 11)
    elif d.chance(0.15):
        d.options["scale"] = d.one((1.0, 0.5, 2, 0.01))
    else:
        _scale(d, "scale", shape, law)
    _bins(d)
    d.option("cdf", CDFS)
    _reduced(d, _common(d))


def bernoulli_nll(d: Draw) -> None:
    shape = d.shape()
    d.tensor("x", d.part(shape), "unit")
    d.tensor("logits", d.part(shape), "logit")
    d.option("label_smoothing", (0.0, 0.1, 1, 0.5), 0.3)
    _reduced(d, _common(d))


def discretized_logistic_mixture_nll(d: Draw) -> None:
    pixels, channels, dim = _logistic_mixture(d)
    of_x = d.part(pixels) if d.chance(0.3) else pixels
    of_x = (1,) * (len(pixels) - len(of_x)) + of_x
    x = d.tensor("x", (*of_x, channels), d.one(("level", "level", "real")))
    d.tensors["x"] = x.movedim(-1, dim)
    of_params = d.tensors["params"].movedim(dim, -1).shape[:-1]
    d.option("bins", (2, 16, 256, 255), 0.4)
    _reduced(d, torch.broadcast_shapes(of_x, of_params))


def discretized_logistic_mixture_sample(d: Draw) -> None:
    pixels, channels, dim = _logistic_mixture(d)
    pixels = tuple(d.tensors["params"].movedim(dim, -1).shape[:-1])
    offset = channels * d.one((0, 0, 1, 7))
    if offset:
        d.options["element_offset"] = offset
    shape = (*pixels, 1 + channels)
    d.noisy(Noise(gk.random.uniform, shape, ("params",), offset // channels * (1 + channels)), "uniform")


def gaussian_mixture_log_prob(d: Draw) -> None:
    law = _scale_options(d)
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
    law = _scale_options(d)
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
    _masses(d, "p")


def discrete_kl(d: Draw) -> None:
    _masses(d, "p", "q")


def categorical_entropy(d: Draw) -> None:
    shape, _ = _classes(d, "logit", "logits")
    _reduced(d, shape)


def categorical_kl(d: Draw) -> None:
    shape, _ = _classes(d, "logit", "logits_q", *(["logits_p"] if d.chance(0.7) else []))
    d.option("unimix", (0.0, 0.01, 0.5, 1), 0.3)
    _kl_options(d)
    _reduced(d, shape)


def gumbel_softmax(d: Draw) -> None:
    _classes(d, "logit", "logits")
    d.option("tau", (1.0, 0.5, 3, 0, 0.0, 1e-3, 1e-40, 100.0))
    d.option("hard", (True, False))
    offset = d.option("element_offset", OFFSETS, 0.2) or 0
    d.noisy(Noise(gumbel_noise, tuple(d.tensors["logits"].shape), ("logits",), offset), "gumbel")


def log_mean_exp(d: Draw) -> None:
    _log_weights(d)


def importance_weighted_bound(d: Draw) -> None:
    dim = _log_weights(d)
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
    dim = _log_weights(d)
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
    _key(d)
    d.option("num", (0, 1, 2, 3, 100))


def random_fold_in(d: Draw) -> None:
    _key(d)
    d.options["data"] = d.one((0, 1, 2, 1000, 2**40, 2**63 - 1))


def random_reserve(d: Draw) -> None:
    d.options["generator"] = Seeds((d.random.getrandbits(60),), False)


def random_normal(d: Draw) -> None:
    random_uniform(d)


def random_uniform(d: Draw) -> None:
    _key(d)
    shape = d.shape()
    d.options["shape"] = shape if d.chance(0.8) else list(shape)
    d.option("dtype", _checks.FLOATING, 0.7)
    d.option("element_offset", OFFSETS)


# What several of them have.


def _location(d: Draw, name: str, shape: Shape) -> None:
    d.tensor(name, d.part(shape), twin="loc")


def _scale(d: Draw, name: str, shape: Shape, law: str) -> None:
    d.tensor(name, d.part(shape), law, twin="scale")


def _common(d: Draw) -> Shape:
    return tuple(torch.broadcast_shapes(*(t.shape for t in d.tensors.values())))


def _loc_and_scale(d: Draw, law: str | None = None) -> Shape:
    law = law or _scale_options(d)
    shape = d.shape()
    _location(d, "loc", shape)
    _scale(d, "scale", shape, law)
    return _common(d)


def _scale_options(d: Draw) -> str:
    """Options of the scale, and the law of its numbers."""
    scale_param = d.option("scale_param", _checks.SCALE_PARAMS) or "logvar"
    d.option("scale_offset", (0.0, 0.1, 1, 1e-3), 0.2)
    if d.chance(0.35):
        mode = d.option("clamp_mode", _checks.CLAMP_MODES, 0.6) or "hard"
        bounds: dict[str, tuple[Any, ...]] = {
            "softclip": ((-0.5, None), (2, None), (-30.0, None)),
            "tanh": ((-1.5, 1.5), (-10, 10), (-0.25, 0.25)),
        }
        one_sided = ((None, 0.6), (-0.5, None), (-30.0, 20.0), (0.5, 1), (0.5, 0.5), [-0.5, 0.6])
        d.options["clamp"] = d.one((None, (None, None), *bounds.get(mode, one_sided)))
    return "positive" if scale_param in ("std", "var") else "real"


def _kl_options(d: Draw) -> None:
    if d.chance(0.4):
        d.options["free_bits"] = d.one((0.0, 0.1, 0.5, 2, 1e-3, 30.0))
        d.option("free_bits_over", OVER, 0.7)
    for name in ("grad_scale_q", "grad_scale_p"):
        d.option(name, (0, 0.0, 0.2, 1.0, 2.5, -1), 0.2)


def _reduced(d: Draw, shape: Shape) -> None:
    d.option("reduction", REDUCTIONS, 0.7)
    d.option("units", UNITS, 0.4)
    d.option("event_ndim", (None, *range(len(shape) + 1)), 0.4)


def _sampled(d: Draw, shape: Shape, of: tuple[str, ...] = ("loc", "scale")) -> None:
    sample_shape = d.option("sample_shape", ((), (2,), [3], (0,), (2, 1), (1, 2, 2)), 0.3) or ()
    _noise(d, (*sample_shape, *shape), of)


def _noise(d: Draw, shape: Shape, of: tuple[str, ...], by_all: bool = False) -> None:
    d.option("temperature", (1.0, 0, 0.0, 0.7, 2, -1.0), 0.3)
    offset = d.option("element_offset", OFFSETS, 0.2) or 0
    d.noisy(Noise(gk.random.normal, shape, of, offset, by_all), "real")


def _likelihood(d: Draw, *names: str) -> None:
    law = _scale_options(d)
    shape = d.shape()
    d.tensor("x", d.part(shape), twin="loc")
    _location(d, "loc", shape)
    kind = d.weighted([("tensor", 6), ("absent", 1), ("number", 1), *((name, 1.5) for name in names)])
    if kind == "tensor":
        _scale(d, "scale", shape, law)
    elif kind != "absent":
        d.options["scale"] = d.one((1.0, 0.5, 2, 1e-3)) if kind == "number" else kind
    d.option("full", (True, False), 0.4)
    _reduced(d, _common(d))


def _bins(d: Draw) -> None:
    d.option("bins", (2, 4, 16, 256, 255, 65536), 0.4)
    if d.chance(0.2):
        d.options["low"], d.options["high"] = d.one(((-3.0, 2.0), (0, 1), (-1e-3, 1e-3), (0.0, 255)))


def _logistic_mixture(d: Draw) -> tuple[Shape, int, int]:
    """The shape of the pixels, the number of channels, and their dimension."""
    pixels = d.shape(most=5)
    mixtures = d.options["mixtures"] = d.one((1, 1, 2, 3, 5))
    coupled = d.option("rgb_coupling", (False,), 0.5) is None
    channels = 3 if coupled else d.one((1, 1, 2, 3, 4))
    count = 10 * mixtures if coupled else mixtures + 2 * mixtures * channels
    dim = d.random.randint(0, len(pixels))
    of_params = (*(size if d.chance(0.85) else 1 for size in pixels), count)
    d.tensors["params"] = d.tensor("params", of_params).movedim(-1, dim)
    if dim != 1 or d.chance(0.3):
        d.options["channel_dim"] = dim if d.chance(0.5) else dim - len(pixels) - 1
    if d.chance(0.2):
        d.options["low"], d.options["high"] = d.one(((-3.0, 2.0), (0, 1), (-1e-3, 1e-3)))
    d.option("min_log_scale", (-7.0, 0, -2.5, -100.0), 0.3)
    return pixels, channels, dim


def _classes(d: Draw, law: str, *names: str) -> tuple[Shape, int]:
    """Tensors with classes along a dimension: the shape of the rest, and that dimension."""
    rest, classes = d.shape(most=5), d.one((1, 2, 3, 4, 6, 9, 17, 40))
    dim = len(rest) if d.chance(0.5) else d.random.randint(0, len(rest))
    shapes = [tuple(size if d.chance(0.9) else 1 for size in rest) for _ in names]
    for name, shape in zip(names, shapes, strict=True):
        count = classes if name == names[0] or d.chance(0.95) else 1
        d.tensors[name] = d.tensor(name, (*shape, count), law, twin="classes").movedim(-1, dim)
    if dim != len(rest) or d.chance(0.3):
        d.options["dim"] = dim if d.chance(0.5) else dim - len(rest) - 1
    return tuple(torch.broadcast_shapes(*shapes)), dim


def _masses(d: Draw, *names: str) -> None:
    shape, _ = _classes(d, "mass", *names)
    _reduced(d, shape)


def _log_weights(d: Draw) -> int:
    shape = d.shape(least=1)
    dim = d.random.randrange(len(shape))
    shape = tuple(max(1, size) if i == dim else size for i, size in enumerate(shape))
    d.tensor("log_w", shape, "logit")
    if dim or d.chance(0.3):
        d.options["dim"] = dim if d.chance(0.5) else dim - len(shape)
    return dim


def _key(d: Draw) -> None:
    d.options["key"] = gk.random.key(d.random.getrandbits(64), d.one((0, 7, 2**64 - 1)))


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
        total_correlation,
        zero_centered_penalty,
    )
}
DRAWS["LogMeanExp"] = accumulated
DRAWS |= {
    f"random.{draw.__name__.removeprefix('random_')}": draw
    for draw in (random_fold_in, random_key, random_normal, random_reserve, random_split, random_uniform)
}


def arguments_of(tensors: Tensors, options: Options) -> dict[str, Any]:
    """Those of a call; the tensors of a list are named by their places."""
    arguments: dict[str, Any] = {}
    for name, t in tensors.items():
        of, _, place = name.partition("[")
        if place:
            arguments.setdefault(of, []).append(t)
        else:
            arguments[name] = t
    return {**arguments, **options}


def function_of(operation: str) -> Callable[..., Any]:
    """The public function, or what makes one of a class and of what changes its arguments."""
    if operation in PLAIN:
        return PLAIN[operation]
    return getattr(gk.random if operation.startswith("random.") else gk, operation.removeprefix("random."))


def _accumulated(log_w: Tensor, first: int, dim: int = 0) -> Tensor:
    total, other = gk.LogMeanExp(dim), gk.LogMeanExp(dim)
    total.update(log_w.narrow(dim, 0, first))
    other.update(log_w.narrow(dim, first, log_w.shape[dim] - first))
    total.merge(other)
    return total.compute()


def _averaged(ema_params: list[Tensor], params: list[Tensor], decay: float) -> tuple[Tensor, ...]:
    """The averages that it leaves in places of the same layout."""
    averages = [torch.empty_like(t.detach()).copy_(t.detach()) for t in ema_params]
    gk.ema_update_(averages, params, decay)
    return tuple(averages)


PLAIN: dict[str, Callable[..., Any]] = {"LogMeanExp": _accumulated, "ema_update_": _averaged}


def _log_mean_exp(log_w: Tensor, dim: int = 0) -> Tensor:
    return _log_mean_power(log_w, 1.0, dim)


def _log_mean_power(log_w: Tensor, power: float, dim: int) -> Tensor:
    """log mean exp(power log_w) / power, the value accurate for equal weights, the gradient that of logsumexp.

    The gradient is 0 where the value is infinite.
    """
    if power == 0:
        return log_w.mean(dim)
    scaled = power * log_w
    largest = scaled.detach().amax(dim, keepdim=True)
    gaps = scaled.detach() - torch.where(largest.isinf(), 0.0, largest)
    value = (largest.squeeze(dim) + torch.log1p(torch.expm1(gaps).mean(dim))) / power
    value = torch.where(largest.squeeze(dim).isinf(), largest.squeeze(dim) / power, value)
    if abs(power) < 1e-6:  # whose logarithm says no more than 1
        plain = log_w.mean(dim) + 0.5 * power * log_w.var(dim, correction=0)
        value = plain.detach()
    else:
        plain = torch.logsumexp(scaled, dim) / power
    return torch.where(value.isinf(), value, value + (plain - plain.detach()))


def _bound(
    log_w: Tensor, dim: int = 0, estimator: str = "iwae", latent: Tensor | None = None, **options: Any
) -> Tensor:
    if estimator == "miwae":
        return _log_mean_exp(log_w.unflatten(dim, (options["groups"], -1)), dim % log_w.dim() + 1).mean(dim)
    if estimator == "ciwae":
        beta = options["beta"]
        parts = [(1 - beta, _log_mean_exp(log_w, dim)), (beta, log_w.mean(dim))]
        return sum(share * part for share, part in parts if share)
    return _log_mean_power(log_w, {"vae": 0.0, "renyi": 1.0 - options.get("alpha", 0.0)}.get(estimator, 1.0), dim)


def _total_correlation(**arguments: Any) -> tuple[Tensor, ...]:
    log_q_x, log_q, marginal, log_p = _log_densities(**arguments)
    return log_q_x - log_q, log_q - marginal, marginal - log_p


def _log_densities(
    z: Tensor,
    loc: Tensor,
    scale: Tensor,
    *,
    dataset_size: int,
    weighting: str = "mss",
    mss_weights: str = "paper",
    joint_weight: str = "once",
    **scale_options: Any,
) -> tuple[Tensor, ...]:
    """log q(z|x), log q(z), sum_d log q(z_d) and log p(z) of Chen et al. 2018, with every matrix written out."""
    dtype = _checks.compute_dtype(z, loc, scale)
    z, loc, scale = z.to(dtype), loc.to(dtype), scale.to(dtype)
    lo, hi = scale_options.pop("clamp", None) or (None, None)
    raw = clamp(scale, lo, hi, scale_options.get("clamp_mode", "hard"))
    logvar_ = logvar(raw, scale_options.get("scale_param", "logvar"), scale_options.get("scale_offset", 0.0))

    def log_normal(x: Tensor, loc: Tensor | float, logvar: Tensor | float) -> Tensor:
        return -0.5 * ((x - loc) ** 2 / torch.as_tensor(logvar).exp() + logvar + math.log(2 * math.pi))

    batch = z.shape[0]
    weights = z.new_full((batch, batch), -math.log(dataset_size * max(batch, 1)))
    if weighting == "mss" and batch > 1:
        others = batch - 1
        weights = z.new_full((batch, batch), -math.log(others))
        rest = math.log((dataset_size - others) / (dataset_size * others))
        rows = torch.arange(batch)
        if mss_weights == "paper":
            weights[rows, rows], weights[rows, (rows + 1) % batch] = -math.log(dataset_size), rest
        else:
            weights[:, 0], weights[:, 1], weights[batch - 2, 0] = -math.log(dataset_size), rest, rest
    pairs = log_normal(z[:, None], loc[None], logvar_[None])
    times = z.shape[1] if joint_weight == "per_dim" else 1
    log_q = torch.logsumexp(pairs.sum(2) + times * weights, 1)
    marginal = torch.logsumexp(pairs + weights[:, :, None], 1).sum(1)
    return log_normal(z, loc, logvar_).sum(1), log_q, marginal, log_normal(z, 0.0, 0.0).sum(1)


# Operations that are plain torch with each backend, or much of it: what their definition would be.
DEFINITIONS: dict[str, Callable[..., Any]] = {
    "log_mean_exp": _log_mean_exp,
    "LogMeanExp": lambda log_w, first, dim=0: _log_mean_exp(log_w, dim).detach(),
    "importance_weighted_bound": _bound,
    "total_correlation": _total_correlation,
}


def _terms_of_total_correlation(arguments: Tensors, options: Options) -> list[Tensor | float]:
    densities = _log_densities(**arguments, **options)
    # No less than the logarithms of the weights, the sum of which may be 0.
    least = math.log(options["dataset_size"])
    return [torch.maximum(a.abs(), b.abs()).clamp_min(least) for a, b in itertools.pairwise(densities)]


# What adds in float64 whatever comes.
IN_DOUBLE = ("LogMeanExp",)


def gradient_terms_of_total_correlation(arguments: Tensors, options: Options, arriving: list[Tensor | None]) -> Tensors:
    """How large the gradients of the four densities are, whose differences the gradients are.

    Weights are exponentials of log densities, whose rounding they show as many times as these are large.
    """
    leaves = {name: t.detach().requires_grad_() for name, t in arguments.items()}
    densities = _log_densities(**leaves, **options)
    sizes = [torch.zeros_like(densities[0]) if c is None else c.abs() for c in (None, *arriving, None)]
    found = {name: torch.zeros_like(t) for name, t in leaves.items()}
    for density, before, behind in zip(densities, sizes[:-1], sizes[1:], strict=True):
        grads = torch.autograd.grad(density, list(leaves.values()), before + behind, True, allow_unused=True)
        rounding = 1 + density.detach().abs().nan_to_num(0.0).max() if density.numel() else 1.0
        for name, grad in zip(leaves, grads, strict=True):
            found[name] += 0.0 if grad is None else grad.abs() * rounding
    return found


def _terms_of_gan(arguments: Tensors, options: Options) -> list[Tensor | float]:
    """Where logits of both signs are added as they are."""
    if options["kind"] not in ("wgan", "hinge") or options.get("reduction") == "none":
        return [0.0]
    sizes = [t.abs() for t in arguments.values()]
    return [sum(s.sum() if options.get("reduction") == "sum" else s.mean() for s in sizes)]


# How large the terms are whose difference each result is, where equal arguments leave nothing of them.
TERMS: dict[str, Callable[[Tensors, Options], list[Tensor | float]]] = {
    # Means of kernel values, which are at most 1 a scale.
    "mmd": lambda arguments, options: [float(len(options.get("scales", (1.0,))))],
    "gan_discriminator_loss": _terms_of_gan,
    "gan_generator_loss": _terms_of_gan,
    # The largest mass is nearly 1; its logarithm is that of a sum.
    "categorical_entropy": lambda arguments, options: [1.0],
    "LogMeanExp": lambda arguments, options: [math.log(max(2, *arguments["log_w"].shape))],  # the count's logarithm
    # average + (1 - decay) (value - average).
    "ema_update_": lambda arguments, options: [
        torch.maximum(arguments[f"ema_params[{i}]"].abs(), arguments[f"params[{i}]"].abs()).flatten()
        for i in range(len(arguments) // 2)
    ],
    "total_correlation": _terms_of_total_correlation,
}
