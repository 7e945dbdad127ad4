"""What a device without kernels must be able to do: every operation with every option and source of noise, every random
function with a key of either device, and whatever else of the library makes noise or runs through an operation."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

import genkern as gk
import genkern.distributions as gd
import genkern.nn as gnn
from support import modules
from support.cases import CASES, KEY, Case, Options, Tensors, evaluate
from support.covering import keep_options
from support.inputs import normal
from support.noise import NOISE

SHAPE = (4, 6)
Call = Callable[[str], Tensors]  # of where its tensors lie


def calls(full: bool) -> Iterator[tuple[str, str, Call]]:
    """Group, what it is of the group, and the call.

    Unless `full`, each case meets each reduction and each unit, but not with each other, and options that have nothing
    to do with the noise are given it, which would be made of a key op by op.
    """
    losses = [{"case": case.name, **loss} for case in CASES for loss in case.losses]
    losses = losses if full else keep_options(losses)
    for case in CASES:
        of_case = [{n: v for n, v in loss.items() if n != "case"} for loss in losses if loss["case"] == case.name]
        for options in ({}, *case.variants, *case.rescaled, *of_case):
            for source, noise in (SOURCES if case.keyed else {"": lambda *_: {}}).items():
                crossed = source == "key" or not case.losses
                if source == "" or options.keys() <= SAMPLING or (crossed if full else source == "eps"):
                    yield case.name, f"{source} {options}", _operation(case, options, noise)
    for noise in (n for n in NOISE if n.ops):
        yield noise.name, "of a key there", _seeded(lambda place, noise=noise: noise.call(KEY.to(place), 7))
    for name, call in {**RANDOM, **FUNCTIONS, **DISTRIBUTIONS, **MODULES}.items():
        yield name.partition(" ")[0], name, call


SAMPLING = {"temperature", "sample_shape", "element_offset", "tau", "hard"}


def _generator() -> torch.Generator:
    return torch.Generator().manual_seed(3)


def _one_a_row(case: Case, options: Options, _: str) -> Options:
    rows = (*options.get("sample_shape", ()), *case.eps_shape(SHAPE))[0]
    return {"generator": [torch.Generator().manual_seed(i) for i in range(rows)]}


def _eps(case: Case, options: Options, place: str) -> Options:
    noise = case.noise(SHAPE, torch.float64, options.get("sample_shape", ()))
    return {"eps": noise["eps"].to(place)}


SOURCES: dict[str, Callable[[Case, Options, str], Options]] = {
    "key": lambda *_: {"key": KEY},
    "key there": lambda case, options, place: {"key": KEY.to(place)},
    "generator": lambda *_: {"generator": _generator()},
    "generators": _one_a_row,
    "eps": _eps,
    "default generator": lambda *_: {"generator": None},
}


def _operation(case: Case, options: Options, noise: Callable[[Case, Options, str], Options]) -> Call:
    def call(place: str) -> Tensors:
        tensors = case.inputs(SHAPE, torch.float64, options.get("scale_param", "logvar"))
        given = {**options, **noise(case, options, place)}
        torch.manual_seed(5)
        return evaluate(case, {name: t.to(place) for name, t in tensors.items()}, given)

    return call


def _seeded(function: Callable[[str], Tensor]) -> Call:
    def call(place: str) -> Tensors:
        torch.manual_seed(5)
        return {"noise": function(place)}

    return call


DTYPES = (torch.float64, torch.float32, torch.bfloat16)
RANDOM: dict[str, Call] = {
    f"random.{f.__name__} {where} {dtype}": lambda place, f=f, dtype=dtype, key=key: {
        "noise": f(key(place), (3, 5), dtype=dtype, element_offset=7, device=place)
    }
    for f in (gk.random.normal, gk.random.uniform)
    for dtype in DTYPES
    for where, key in (("of a key of the CPU", lambda place: KEY), ("of a key there", lambda place: KEY.to(place)))
}
RANDOM |= {
    "random.normal of no elements": lambda place: {"noise": gk.random.normal(KEY, (0, 3), device=place)},
    "random.reserve of a generator": lambda place: {"key": gk.random.reserve(_generator(), place).to(place)},
}


def _differentiated(function: Callable[..., Any], *arguments: Tensor, **options: Any) -> Call:
    """Results and gradients by the positional arguments."""

    def call(place: str) -> Tensors:
        leaves = [t.to(place).requires_grad_() for t in arguments]
        there = {name: t.to(place) if isinstance(t, Tensor) else t for name, t in options.items()}
        results = function(*leaves, **there)
        results = results if isinstance(results, tuple) else (results,)
        found = {f"result {i}": r for i, r in enumerate(results)}
        if any(r.requires_grad for r in results):
            total = sum((r * (i + 1)).sum() for i, r in enumerate(results))
            grads = torch.autograd.grad(total, leaves, allow_unused=True, materialize_grads=True)
            found |= {f"gradient {i}": g for i, g in enumerate(grads)}
        return found

    return call


def _logistics(source: Callable[[str], Options], **options: Any) -> Call:
    params = normal((2, 20 if options.get("rgb_coupling", True) else 18, 3), 1)

    def call(place: str) -> Tensors:
        torch.manual_seed(5)
        given = {**options, **source(place)}
        return {"sample": gk.discretized_logistic_mixture_sample(params.to(place), mixtures=2, **given)}

    return call


def _counts(source: Callable[[str], Options]) -> Call:
    mean, logits = normal((2, 3), 1), normal((2, 3), 2)

    def call(place: str) -> Tensors:
        torch.manual_seed(5)
        parameters = (10 * mean.exp().to(place), torch.tensor([0.5, 5.0, 50.0]).to(place), logits.to(place))
        return {
            "poisson": gk.poisson_sample(parameters[0], **source(place)),
            "negative binomial": gk.zero_inflated_negative_binomial_sample(*parameters, **source(place)),
        }

    return call


def _average(place: str) -> Tensors:
    averages, params = ([normal((3, 2), seed).to(place), normal((5,), seed).to(place)] for seed in (1, 2))
    gk.ema_update_(averages, params, 0.75)
    return {str(i): average for i, average in enumerate(averages)}


def _by_pieces(log_w: Tensor) -> Tensor:
    total = gk.LogMeanExp()
    for piece in log_w.split(2):
        total.update(piece)
    return total.compute()


POINTS = [normal((5, 3), seed) for seed in range(3)]
MIXTURE_NOISE: dict[str, Callable[[str], Options]] = {
    "key": lambda place: {"key": KEY},
    "key there": lambda place: {"key": KEY.to(place)},
    "generator": lambda place: {"generator": _generator()},
    "generators": lambda place: {"generator": [_generator(), _generator()]},
    "default generator": lambda place: {},
}
FUNCTIONS: dict[str, Call] = {
    **{
        f"discretized_logistic_mixture_sample {source} {options}": _logistics(noise, **options)
        for source, noise in MIXTURE_NOISE.items()
        for options in ({}, {"rgb_coupling": False}, {"min_log_scale": 0.5, "low": -0.5})
    },
    "discretized_logistic_mixture_sample eps": _logistics(
        lambda place: {"eps": gk.random.uniform(KEY, (2, 3, 4)).to(place)}
    ),
    **{f"zero_inflated_negative_binomial_sample {source}": _counts(noise) for source, noise in MIXTURE_NOISE.items()},
    "gaussian_mixture_log_prob": _differentiated(gk.gaussian_mixture_log_prob, *POINTS),
    "gaussian_mixture_log_prob marginals": _differentiated(
        gk.gaussian_mixture_log_prob, *POINTS, marginals=True, scale_offset=0.1, clamp=(-1.0, 1.0)
    ),
    "gaussian_mixture_log_prob weights": _differentiated(
        gk.gaussian_mixture_log_prob, *POINTS, log_weights=normal((5, 5), 4)
    ),
    "gaussian_mixture_log_prob constant": _differentiated(gk.gaussian_mixture_log_prob, *POINTS[:2], scale=0.5),
    "kde_log_prob": _differentiated(gk.kde_log_prob, *POINTS[:2], bandwidth=0.5),
    "kde_log_prob widths": _differentiated(gk.kde_log_prob, *POINTS[:2], torch.linspace(0.5, 1.0, 5).double()),
    **{
        f"total_correlation {options}": _differentiated(gk.total_correlation, *POINTS, dataset_size=20, **options)
        for options in ({}, {"weighting": "mws"}, {"mss_weights": "legacy"}, {"joint_weight": "per_dim"})
    },
    **{
        f"mmd {kernel} {estimator}": _differentiated(
            gk.mmd, *POINTS[:2], kernel=kernel, estimator=estimator, scales=(0.5, 2.0)
        )
        for kernel in ("rbf", "imq")
        for estimator in ("u", "v")
    },
    **{
        f"importance_weighted_bound {options}": _differentiated(gk.importance_weighted_bound, POINTS[0], **options)
        for options in (
            {"estimator": "iwae"},
            {"estimator": "vae"},
            {"estimator": "ciwae", "beta": 0.3},
            {"estimator": "miwae", "groups": 1},
            {"estimator": "renyi", "alpha": 0.5},
        )
    },
    "log_mean_exp": _differentiated(gk.log_mean_exp, POINTS[0]),
    "LogMeanExp": _differentiated(_by_pieces, POINTS[0]),
    "ema_update_": _average,
}


def _distribution(make: Callable[..., Any], *parameters: Tensor, value: Tensor | None = None) -> Call:
    def call(place: str) -> Tensors:
        d = make(*(p.to(place) for p in parameters))
        found = {"entropy": d.entropy()}
        if d.has_rsample:
            for source, given in (("key", {"key": KEY}), ("generator", {"generator": _generator()})):
                if make is not gd.Laplace:
                    found[source] = d.rsample((2,), **given)
        if value is not None:
            found["log_prob"] = d.log_prob(value.to(place))
        found["divergence"] = torch.distributions.kl_divergence(d, make(*(p.to(place).flip(0) for p in parameters)))
        return found

    return call


DISTRIBUTIONS: dict[str, Call] = {
    "Normal": _distribution(gd.Normal, POINTS[0], POINTS[1].exp(), value=POINTS[2]),
    "DiagonalGaussian": _distribution(gd.DiagonalGaussian, POINTS[0], POINTS[1], value=POINTS[2]),
    "Laplace": _distribution(gd.Laplace, POINTS[0], POINTS[1].exp(), value=POINTS[2]),
    "Categorical": _distribution(lambda logits: gd.Categorical(logits=logits), POINTS[0]),
    "OneHotCategorical": _distribution(lambda logits: gd.OneHotCategorical(logits=logits), POINTS[0]),
}


def _module(make: Callable[[], torch.nn.Module], use: Callable[[Any, Tensor, Tensor], Any]) -> Call:
    def call(place: str) -> Tensors:
        torch.manual_seed(0)
        module, images = make().double(), normal((2, *modules.IMAGE), 3).sigmoid()
        found: Tensors = {}
        for where, key in (("CPU", KEY), ("there", KEY.to(place))):
            results = use(module.to(place), images.to(place), key)
            found |= {f"{i} by a key of the {where}": r for i, r in enumerate(results)}
        return found

    return call


def _of_vae(vae: gnn.VAE, images: Tensor, key: Tensor) -> list[Tensor]:
    loss = vae.loss(images, key=key)
    grads = torch.autograd.grad(loss, list(vae.parameters()))
    return [loss, *grads, vae.sample(3, key=key), vae.log_marginal(images, num_samples=4, chunk_size=2, key=key)]


def _of_gan(gan: gnn.GAN, images: Tensor, key: Tensor) -> list[Tensor]:
    return [gan.discriminator_step(images, key=key).loss, gan.generator_step(images, key=key), gan.sample(3, key=key)]


MODULES: dict[str, Call] = {
    **{
        f"VAE {likelihood}": _module(
            lambda likelihood=likelihood: gnn.VAE(modules.encoder(), modules.decoder(), likelihood=likelihood), _of_vae
        )
        for likelihood in ("gaussian", "bernoulli")
    },
    "GAN": _module(modules.gan, _of_gan),
}
