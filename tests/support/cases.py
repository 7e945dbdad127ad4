"""The registry: one `Case` an operation (or form of it), and it is in every test of the matrix."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

import genkern as gk
from genkern.reference.discrete import gumbel
from support.backends import oracle
from support.extended import logistic_mixture_gradients, negative_binomial_gradients
from support.inputs import REDUCTIONS, UNITS, Shape, cotangent, normal, numel, raw_scale

Tensors = dict[str, Tensor]
Options = dict[str, Any]

KEY = gk.random.key(1234, 56)


@dataclass(frozen=True)
class Case:
    """A public operation and how to call it.

    draw(shape, scale_param) gives its tensors in float64; `shape` is that of the elements it works on.
    `variants` are options under which its gradient is the derivative; `rescaled` those that change it on purpose.
    `plain(tensors, eps)` is the formula as people write it, elementwise, for the default options.
    """

    name: str
    draw: Callable[[Shape, str], Tensors]
    outputs: tuple[str, ...]  # "sample" or "loss"
    variants: tuple[Options, ...]
    plain: Callable[..., tuple[Tensor, ...]]
    rescaled: tuple[Options, ...] = ()
    options: Callable[[Tensors], Options] = lambda tensors: {}
    keyed: bool = False
    least_ndim: int = 0
    values: int = 1  # of x that an element of its loss stands for, which units a dimension count
    components: int = 1  # whose weights, exponentials of sums over those values, meet in a gradient
    coupled: int = 1  # elements of an argument over which the gradient of each is a sum
    reductions: tuple[str, ...] = REDUCTIONS
    units: tuple[str, ...] = UNITS  # none: it takes neither units nor event_ndim
    by_rows: bool = True  # a row of the results depends on the same row of the arguments alone
    result_shape: Callable[[Shape], Shape] = lambda shape: shape
    eps: Callable[..., Tensor] = gk.random.normal  # how its noise is made of a key
    eps_shape: Callable[[Shape], Shape] = lambda shape: shape
    extended: Callable[..., Tensors] | None = None  # its gradients where float64 is no oracle for float64

    def __str__(self) -> str:
        return self.name

    @property
    def op(self) -> str:
        return self.name.partition("-")[0]

    @property
    def reduces(self) -> bool:
        return "loss" in self.outputs

    @property
    def losses(self) -> tuple[Options, ...]:
        """Every way to reduce it."""
        if not self.reduces:
            return ()
        units: tuple[Options, ...] = tuple({"units": u} for u in self.units) or ({},)
        return tuple({"reduction": r, **u} for r in self.reductions for u in units)

    def inputs(self, shape: Shape, dtype: torch.dtype, scale_param: str = "logvar") -> Tensors:
        return {name: t.to(dtype) for name, t in self.draw(shape, scale_param).items()}

    def terms(self, name: str, shape: Shape) -> int:
        """How many elements one value of an argument serves: its gradient is a sum over them."""
        if self.name.endswith("-shared"):
            return max(1, numel(shape[1:2]))
        argument = self.draw(shape, "logvar")[name]
        summands = self.values * self.components * self.coupled
        return max(1, numel(shape) // max(1, argument.numel())) * summands

    def __call__(self, tensors: Tensors, **options: Any) -> tuple[Tensor, ...]:
        if self.keyed and not options.keys() & {"key", "generator", "eps"}:
            options["key"] = KEY
        result = getattr(gk, self.op)(**tensors, **{**self.options(tensors), **options})
        return result if isinstance(result, tuple) else (result,)

    def noise(self, shape: Shape, dtype: torch.dtype, sample_shape: Shape = (), element_offset: int = 0) -> Options:
        """What the oracle is given instead of the key: the noise that the key stands for."""
        if not self.keyed:
            return {}
        wide = torch.float64 if dtype == torch.float64 else torch.float32
        shape = (*sample_shape, *self.eps_shape(shape))
        return {"eps": self.eps(KEY, shape, dtype=wide, element_offset=element_offset)}


def evaluate(case: Case, tensors: Tensors, options: Options, cotangents: tuple[Tensor, ...] | None = None) -> Tensors:
    """Outputs and gradients by name, for cotangents drawn for the outputs unless they are given."""
    leaves = {name: t.detach().requires_grad_() for name, t in tensors.items()}
    outputs = case(leaves, **options)
    if cotangents is None:
        cotangents = tuple(cotangent(o, 100 + i) for i, o in enumerate(outputs))
    grads = torch.autograd.grad(outputs, list(leaves.values()), cotangents, allow_unused=True, materialize_grads=True)
    return {
        **{f"{kind} {i}": o for i, (kind, o) in enumerate(zip(case.outputs, outputs, strict=True))},
        **{f"gradient of {name}": g for name, g in zip(leaves, grads, strict=True)},
    }


def evaluate_oracle(case: Case, tensors: Tensors, options: Options, dtypes: list[torch.dtype]) -> Tensors:
    """The same in float64 by the definition, for the cotangents that outputs of `dtypes` receive."""
    wide = {name: t.double() for name, t in tensors.items()}
    options = {name: v.double() if name == "eps" else v for name, v in options.items()}
    with oracle():
        outputs = case(wide, **options)
        cotangents = tuple(
            cotangent(o.to(d), 100 + i).double() for i, (o, d) in enumerate(zip(outputs, dtypes, strict=True))
        )
        found = evaluate(case, wide, options, cotangents)
    if case.extended is not None and all(t.dtype == torch.float64 for t in tensors.values()):
        gradients = case.extended(tensors, *cotangents, **{**case.options(tensors), **options})
        found |= {f"gradient of {name}": value for name, value in gradients.items()}
    return found


def _parameters(shape: Shape, scale_param: str, seed: int = 0) -> Tensors:
    return {"loc": normal(shape, seed), "scale": raw_scale(shape, seed + 1, scale_param)}


def _with_prior(shape: Shape, scale_param: str) -> Tensors:
    prior = _parameters(shape, scale_param, seed=2)
    return {**_parameters(shape, scale_param), "prior_loc": prior["loc"], "prior_scale": prior["scale"]}


def _with_eps(draw: Callable[[Shape, str], Tensors]) -> Callable[[Shape, str], Tensors]:
    return lambda shape, scale_param: {**draw(shape, scale_param), "eps": normal(shape, 4)}


def _packed(shape: Shape, scale_param: str) -> Tensors:
    parameters = _parameters(shape, scale_param)
    return {"moments": torch.cat((parameters["loc"], parameters["scale"]), 1)}


def _packed_shared(shape: Shape, scale_param: str) -> Tensors:
    parameters = _parameters(shape, scale_param)
    return {"moments": torch.cat((parameters["loc"], parameters["scale"][:, :1]), 1)}


def _observed(shape: Shape, scale_param: str) -> Tensors:
    return {"x": normal(shape, 5), **_parameters(shape, scale_param)}


def _observed_by_channel(shape: Shape, scale_param: str) -> Tensors:
    tensors = _observed(shape, scale_param)
    by_channel = (shape[1], *(1,) * (len(shape) - 2)) if len(shape) > 1 else ()
    return {**tensors, "scale": raw_scale(by_channel, 1, scale_param)}


def _observed_only(shape: Shape, scale_param: str) -> Tensors:
    return {"x": normal(shape, 5), "loc": normal(shape, 0)}


def _pixels(shape: Shape, scale_param: str) -> Tensors:
    """Grey levels in [0, 1], a third of them black or white, and logits."""
    return {"x": (normal(shape, 5) * 0.6 + 0.5).clamp(0, 1), "logits": 3 * normal(shape, 6)}


def _levels(shape: Shape) -> Tensor:
    """Grey levels of 256 in [-1, 1], some black or white."""
    return (normal(shape, 5) * 64).round().mul(2 / 255).add(1 / 255).clamp(-1, 1)


def _discretized(shape: Shape, scale_param: str) -> Tensors:
    return {"x": _levels(shape), **_parameters(shape, scale_param)}


def _discretized_sharp(shape: Shape, _: str) -> Tensors:
    """Standard deviations about the width of a bin, means some bins away: every form of the mass occurs."""
    x = _levels(shape)
    return {"x": x, "loc": x + 0.01 * normal(shape, 0), "scale": 2 * normal(shape, 1) - 11}


def _residual(shape: Shape, scale_param: str) -> Tensors:
    prior, delta = _parameters(shape, scale_param), _parameters(shape, scale_param, seed=2)
    return {
        "prior_loc": prior["loc"],
        "prior_scale": prior["scale"],
        "delta_loc": delta["loc"],
        "delta_scale": delta["scale"],
    }


def _z(t: Tensors, eps: Tensor) -> Tensor:
    return t["loc"] + torch.exp(0.5 * t["scale"]) * eps


def _kl(t: Tensors) -> Tensor:
    if "prior_loc" not in t:
        return -0.5 * (1 + t["scale"] - t["loc"] ** 2 - t["scale"].exp())
    d = t["scale"] - t["prior_scale"]
    return -0.5 * (1 + d - d.exp() - (t["loc"] - t["prior_loc"]) ** 2 / t["prior_scale"].exp())


def _nll(t: Tensors) -> Tensor:
    if "scale" not in t:
        return 0.5 * ((t["x"] - t["loc"]) ** 2 + math.log(2 * math.pi))
    return 0.5 * ((t["x"] - t["loc"]) ** 2 / t["scale"].exp() + t["scale"] + math.log(2 * math.pi))


def _laplace(t: Tensors) -> Tensor:
    scale = t.get("scale", torch.zeros(()))
    return (t["x"] - t["loc"]).abs() / (0.5 * scale).exp() + 0.5 * scale + math.log(2)


def _bin_mass(t: Tensors) -> Tensor:
    """As the authors of guided-diffusion have it, but for the exact cdf."""
    sigma = (0.5 * t["scale"]).exp()
    cdf_plus = torch.special.ndtr((t["x"] - t["loc"] + 1 / 255) / sigma)
    cdf_min = torch.special.ndtr((t["x"] - t["loc"] - 1 / 255) / sigma)
    log_prob = (cdf_plus - cdf_min).clamp(min=1e-12).log()
    log_prob = torch.where(t["x"] > 0.999, (1 - cdf_min).clamp(min=1e-12).log(), log_prob)
    return -torch.where(t["x"] < -0.999, cdf_plus.clamp(min=1e-12).log(), log_prob)


def _optimal(t: Tensors) -> Tensor:
    square = (t["x"] - t["loc"]) ** 2
    return 0.5 * (square / square.mean() + square.mean().log() + math.log(2 * math.pi))


def _residual_formula(t: Tensors, eps: Tensor) -> tuple[Tensor, ...]:
    """As NVAE's authors have it: q made explicit, then two Gaussians of their own."""
    loc_p, sigma_p = t["prior_loc"], torch.exp(0.5 * t["prior_scale"])
    loc_q, sigma_q = loc_p + t["delta_loc"], torch.exp(0.5 * (t["prior_scale"] + t["delta_scale"]))
    z = loc_q + sigma_q * eps
    ratio = sigma_q / sigma_p
    kl = 0.5 * (((loc_q - loc_p) / sigma_p) ** 2 + ratio**2) - 0.5 - torch.log(ratio)
    log_q, log_p = (
        -0.5 * ((z - loc) / sigma) ** 2 - 0.5 * math.log(2 * math.pi) - torch.log(sigma)
        for loc, sigma in ((loc_q, sigma_q), (loc_p, sigma_p))
    )
    return z, kl, log_q, log_p


def _unpacked(t: Tensors, shape: Shape) -> Tensors:
    loc, scale = t["moments"][:, : shape[1]], t["moments"][:, shape[1] :]
    return {"loc": loc, "scale": scale.expand(shape)}


def _packed_formula(t: Tensors, eps: Tensor) -> tuple[Tensor, ...]:
    parameters = _unpacked(t, tuple(eps.shape))
    return _z(parameters, eps), _kl(parameters)


def _colours(shape: Shape, scale_param: str) -> Tensors:
    """A mixture of 2 over images of 8 levels a channel; the channels are dimension 1, or 0 of a single pixel."""
    return _image(shape, 3, 20)


def _channels(count: int) -> Callable[[Shape, str], Tensors]:
    return lambda shape, scale_param: _image(shape, count, 2 + 4 * count)


def _image(shape: Shape, channels: int, parameters: int) -> Tensors:
    split = min(1, len(shape))

    def sized(count: int) -> Shape:
        return (*shape[:split], count, *shape[split:])

    x = (normal(sized(channels), 5) * 2).round().clamp(-4, 3) / 3.5 + 1 / 7
    # Scales from about 1/4 to 4: the weights of components are exponentials of their masses' logarithms, whose rounding
    # they show as many times as these are large, in float64 that of the oracle, too.
    return {"x": x, "params": 0.5 * normal(sized(parameters), 0)}


def _mixture(**options: Any) -> Callable[[Tensors], Options]:
    def found(tensors: Tensors) -> Options:
        # The one dimension in which the two differ: under vmap another than in the batch.
        x, params = tensors["x"].shape, tensors["params"].shape
        channel = next(dim for dim in range(len(x)) if x[dim] != params[dim])
        return {"mixtures": 2, "bins": 8, "channel_dim": channel, **options}

    return found


def _mixture_formula(t: Tensors) -> tuple[Tensor, ...]:
    """As PixelCNN++ has it where no mass is small: a difference of sigmoids."""
    x = t["x"].movedim(min(1, t["x"].dim() - 1), 0)[:, None]
    params = t["params"].movedim(min(1, t["params"].dim() - 1), 0)
    colours = params.shape[0] == 20
    mean, log_scale, raw = (params[2:].unflatten(0, (len(x), -1, 2))[:, k] for k in (0, 1, -1))
    if colours:
        c = torch.tanh(raw)
        mean = torch.stack((mean[0], mean[1] + c[0] * x[0], mean[2] + c[1] * x[0] + c[2] * x[1]))
    inverse = torch.exp(-log_scale)
    a, b = (torch.sigmoid((x - mean + side / 7) * inverse) for side in (-1, 1))
    mass = torch.where(x < -0.999, b, torch.where(x > 0.999, 1 - a, b - a))
    return (-torch.logsumexp(torch.log_softmax(params[:2], 0) + torch.log(mass).sum(0), 0),)


def _few_counts(shape: Shape) -> Tensors:
    """Most of them 0, as of genes."""
    x = (4 * normal(shape, 5).abs() - 3).clamp(min=0).round()
    return {"x": x, "mean": normal(shape, 6).exp(), "inverse_dispersion": normal(shape, 7).exp()}


def _negative_binomial(t: Tensors) -> Tensor:
    x, mean, theta = t["x"], t["mean"], t["inverse_dispersion"]
    gammas = torch.lgamma(theta) + torch.lgamma(x + 1) - torch.lgamma(x + theta)
    return gammas - theta * torch.log(theta / (theta + mean)) - x * torch.log(mean / (theta + mean))


def _zero_inflated(t: Tensors) -> Tensor:
    rest, lost = _negative_binomial(t), torch.sigmoid(t["dropout_logits"])
    return -torch.where(t["x"] == 0, (lost + (1 - lost) * torch.exp(-rest)).log(), torch.log1p(-lost) - rest)


COUNT_PARAMS: tuple[Options, ...] = (
    {},
    {"mean_param": "log"},
    {"mean_param": "logits", "dispersion_param": "log"},
    {"mean_param": "log", "dispersion_param": "log"},
)

CLASSES = 6


def _of_classes(shape: Shape) -> Shape:
    return (*shape, CLASSES)


def _of_channels(shape: Shape) -> Shape:
    return (*shape[:1], CLASSES, *shape[1:])


def _logits(shape: Shape, seed: int = 6) -> Tensor:
    return 2 * normal(shape, seed)


def _masses(shape: Shape, dim: int, seed: int = 6) -> Tensor:
    """Normalised, some of them 0."""
    return torch.softmax(_logits(shape, seed).masked_fill(normal(shape, seed + 1) > 2, -math.inf), dim)


def _entropy(p: Tensor, dim: int) -> Tensor:
    return -torch.xlogy(p, p).sum(dim)


def _categorical_kl(t: Tensors, dim: int) -> Tensor:
    log_q = t["logits_q"].log_softmax(dim)
    log_p = t.get("logits_p", torch.zeros_like(log_q)).log_softmax(dim)
    return (log_q.exp() * (log_q - log_p)).sum(dim)


def _pair_of_masses(shape: Shape, dim: int) -> Tensors:
    return {"p": _masses(shape, dim), "q": torch.softmax(_logits(shape, 8), dim)}


def _pair_of_logits(shape: Shape) -> Tensors:
    return {"logits_q": _logits(shape), "logits_p": _logits(shape, 8)}


def gumbel_noise(key: Tensor, shape: Shape, dtype: torch.dtype = torch.float32, element_offset: int = 0) -> Tensor:
    return gumbel(gk.random.uniform(key, shape, dtype=dtype, element_offset=element_offset))


def _gan_logits(shape: Shape, _: str) -> Tensors:
    return {"real": 2 * normal(shape, 6), "fake": 2 * normal(shape, 7)}


def _elementwise_loss(t: Tensors) -> Tensor:
    return torch.log(1 + torch.exp(-t["real"])) + torch.log(1 + torch.exp(t["fake"]))


def _by_sample(t: Tensor) -> Tensor:
    return t.sum(tuple(range(1, t.dim()))) if t.dim() > 1 else t


def _between(t: Tensors, eps: Tensor) -> Tensor:
    eps = eps.view(*eps.shape, *(1,) * (t["real"].dim() - eps.dim()))
    return eps * t["real"] + (1 - eps) * t["fake"]


def _minibatch_stddev(t: Tensors) -> Tensor:
    """Group by group, as its members are found."""
    x = t["x"]
    groups = -(-x.shape[0] // 4)
    members = [x[g::groups] for g in range(groups)]
    values = [((m - m.mean(0)).square().mean(0) + 1e-8).sqrt().mean() for m in members]
    appended = torch.stack([values[n % groups] for n in range(x.shape[0])])
    return torch.cat((x, appended.view(-1, *(1,) * (x.dim() - 1)).expand(-1, 1, *x.shape[2:])), 1)


SCALES: tuple[Options, ...] = (
    {"scale_param": "logvar"},
    {"scale_param": "logstd"},
    {"scale_param": "std"},
    {"scale_param": "var"},
    {"scale_param": "softplus"},
    {"scale_param": "logvar", "scale_offset": 0.1},
    {"scale_param": "logstd", "scale_offset": 0.1},
    {"scale_param": "std", "scale_offset": 0.1},
    {"scale_param": "var", "scale_offset": 0.1},
    {"scale_param": "softplus", "scale_offset": 0.1},
    {"clamp": (-0.5, 0.6)},
    {"clamp": (None, 0.6)},
    {"clamp": (-0.5, None), "scale_param": "logstd"},
    {"clamp": (-0.5, None), "clamp_mode": "softclip"},
    {"clamp": (-1.5, 1.5), "clamp_mode": "tanh"},
    {"clamp": (0.5, 1.0), "scale_param": "std"},
)
STRAIGHT_THROUGH: Options = {"clamp": (-0.5, 0.6), "clamp_mode": "straight_through"}
TEMPERATURE: tuple[Options, ...] = ({"temperature": 0.7}, {"temperature": 0.0}, {"element_offset": 5})
SAMPLES: tuple[Options, ...] = ({"sample_shape": (3,)}, {"sample_shape": (2, 1, 2), "temperature": 1.3})
FREE_BITS: tuple[Options, ...] = (
    {"free_bits": 0.3},
    {"free_bits": 0.4, "units": "bits"},
    {"free_bits": 1.5, "free_bits_over": "event"},
    {"free_bits": 0.2, "free_bits_over": "batch"},
)
BALANCED: tuple[Options, ...] = (
    {"grad_scale_q": 0.2, "grad_scale_p": 0.8},
    {"grad_scale_q": 0.0, "grad_scale_p": 1.0, "scale_param": "softplus"},
)
UNIMIX: tuple[Options, ...] = ({"unimix": 0.01}, {"unimix": 1.0}, {"unimix": 0.1, "free_bits": 0.3})
BALANCED_CLASSES: tuple[Options, ...] = (
    {"grad_scale_q": 0.1, "grad_scale_p": 0.5, "unimix": 0.01, "free_bits": 0.2},
    {"grad_scale_q": 0.0, "grad_scale_p": 1.0},
)
RELAXED: tuple[Options, ...] = ({"tau": 0.5}, {"element_offset": 5}, {"tau": 3.0, "element_offset": 2})
HARD: tuple[Options, ...] = ({"hard": True}, {"hard": True, "tau": 0.3})
HEAD: Options = {"outputs": ("sample", "loss"), "rescaled": (STRAIGHT_THROUGH, *BALANCED)}
RESIDUAL_HEAD: Options = {**HEAD, "outputs": ("sample", "loss", "loss", "loss")}
GAN: Options = {"reductions": ("none", "mean", "sum"), "units": ()}
PENALTY: Options = {**GAN, "result_shape": lambda shape: shape[:1]}

CASES: tuple[Case, ...] = (
    Case(
        "gaussian_rsample",
        _parameters,
        ("sample",),
        (*SCALES, *TEMPERATURE, *SAMPLES),
        lambda t, eps: (_z(t, eps),),
        rescaled=(STRAIGHT_THROUGH,),
        keyed=True,
    ),
    Case(
        "gaussian_rsample-eps",
        _with_eps(_parameters),
        ("sample",),
        (*SCALES[::3], *TEMPERATURE[:2]),
        lambda t: (_z(t, t["eps"]),),
        rescaled=(STRAIGHT_THROUGH,),
    ),
    Case(
        "gaussian_kl",
        _parameters,
        ("loss",),
        (*SCALES, *FREE_BITS),
        lambda t: (_kl(t),),
        rescaled=(STRAIGHT_THROUGH, *BALANCED),
    ),
    Case(
        "gaussian_kl-prior",
        _with_prior,
        ("loss",),
        (*SCALES, *FREE_BITS),
        lambda t: (_kl(t),),
        rescaled=(STRAIGHT_THROUGH, *BALANCED),
    ),
    Case(
        "gaussian_rsample_kl",
        _parameters,
        variants=(*SCALES, *TEMPERATURE, *SAMPLES, *FREE_BITS),
        plain=lambda t, eps: (_z(t, eps), _kl(t)),
        keyed=True,
        **HEAD,
    ),
    Case(
        "gaussian_rsample_kl-prior-eps",
        _with_eps(_with_prior),
        variants=(*SCALES, *TEMPERATURE[:2], *FREE_BITS),
        plain=lambda t: (_z(t, t["eps"]), _kl(t)),
        **HEAD,
    ),
    Case(
        "gaussian_rsample_kl_packed",
        _packed,
        variants=(*SCALES[:4], *TEMPERATURE, *SAMPLES, *FREE_BITS),
        plain=_packed_formula,
        keyed=True,
        least_ndim=2,
        **HEAD,
    ),
    Case(
        "gaussian_rsample_kl_packed-shared",
        _packed_shared,
        variants=(*SCALES[1:5], *SAMPLES, *FREE_BITS),
        plain=_packed_formula,
        options=lambda tensors: {"latent_channels": tensors["moments"].shape[1] - 1},
        keyed=True,
        least_ndim=2,
        **HEAD,
    ),
    Case(
        "gaussian_residual_rsample_kl",
        _residual,
        variants=(*SCALES, *TEMPERATURE, *FREE_BITS),
        plain=_residual_formula,
        keyed=True,
        **RESIDUAL_HEAD,
    ),
    Case(
        "gaussian_residual_rsample_kl-eps",
        _with_eps(_residual),
        variants=(*SCALES, *TEMPERATURE[:2], *FREE_BITS),
        plain=lambda t: _residual_formula(t, t["eps"]),
        **RESIDUAL_HEAD,
    ),
    Case(
        "gaussian_nll",
        _observed,
        ("loss",),
        (*SCALES, {"full": False}),
        lambda t: (_nll(t),),
        rescaled=(STRAIGHT_THROUGH,),
    ),
    Case(
        "gaussian_nll-by-channel",
        _observed_by_channel,
        ("loss",),
        (*SCALES[::2], {"full": False}),
        lambda t: (_nll(t),),
        rescaled=(STRAIGHT_THROUGH,),
    ),
    Case(
        "gaussian_nll-one-scale",
        lambda shape, scale_param: {**_observed_only(shape, ""), "scale": raw_scale((), 1, scale_param)},
        ("loss",),
        (*SCALES[1::2], {"full": False}),
        lambda t: (_nll(t),),
        rescaled=(STRAIGHT_THROUGH,),
    ),
    Case(
        "gaussian_nll-constant",
        _observed_only,
        ("loss",),
        ({}, {"scale": 0.7, "scale_param": "std"}, {"scale": -3.0, "clamp": (-1.0, 1.0)}, {"full": False}),
        lambda t: (_nll(t),),
    ),
    Case(
        "gaussian_nll-optimal",
        _observed_only,
        ("loss",),
        ({}, {"full": False}, {"clamp": (-5.0, 5.0)}, {"clamp": (1.0, 2.0)}),
        lambda t: (_optimal(t),),
        options=lambda tensors: {"scale": "optimal"},
    ),
    Case("gaussian_log_prob", _observed, ("loss",), SCALES[:5], lambda t: (-_nll(t),), rescaled=(STRAIGHT_THROUGH,)),
    Case(
        "laplace_nll",
        _observed,
        ("loss",),
        (*SCALES, {"full": False}),
        lambda t: (_laplace(t),),
        rescaled=(STRAIGHT_THROUGH,),
    ),
    Case(
        "laplace_nll-one-scale",
        lambda shape, scale_param: {**_observed_only(shape, ""), "scale": raw_scale((), 1, scale_param)},
        ("loss",),
        SCALES[1::3],
        lambda t: (_laplace(t),),
        rescaled=(STRAIGHT_THROUGH,),
    ),
    Case(
        "laplace_nll-constant",
        _observed_only,
        ("loss",),
        ({}, {"scale": 0.7, "scale_param": "std"}),
        lambda t: (_laplace(t),),
    ),
    Case(
        "discretized_gaussian_nll",
        _discretized,
        ("loss",),
        (*SCALES, {"cdf": "tanh"}, {"bins": 4}, {"bins": 4, "cdf": "tanh"}, {"low": -3.0, "high": 2.0, "bins": 16}),
        lambda t: (_bin_mass(t),),
        rescaled=(STRAIGHT_THROUGH,),
    ),
    Case(
        "discretized_gaussian_nll-sharp",
        _discretized_sharp,
        ("loss",),
        ({}, {"cdf": "tanh"}, {"clamp": (-12.0, None)}, {"clamp": (-12.0, None), "cdf": "tanh"}),
        lambda t: (_bin_mass(t),),
    ),
    Case(
        "discretized_gaussian_nll-one-scale",
        lambda shape, scale_param: {**_discretized(shape, ""), "scale": raw_scale((), 1, scale_param)},
        ("loss",),
        (*SCALES[1::3], {"cdf": "tanh"}),
        lambda t: (_bin_mass(t),),
        rescaled=(STRAIGHT_THROUGH,),
    ),
    Case(
        "bernoulli_nll",
        _pixels,
        ("loss",),
        ({}, {"label_smoothing": 0.1}, {"label_smoothing": 1.0}),
        lambda t: (t["logits"].exp().log1p() - t["x"] * t["logits"],),
    ),
    Case(
        "bernoulli_nll-one-row",
        lambda shape, _: {**_pixels(shape, ""), "logits": normal(shape[1:], 6)},
        ("loss",),
        ({}, {"label_smoothing": 0.1}),
        lambda t: (t["logits"].exp().log1p() - t["x"] * t["logits"],),
    ),
    Case(
        "poisson_nll",
        lambda shape, _: {"x": (4 * normal(shape, 5).abs()).round(), "rate": normal(shape, 6).exp()},
        ("loss",),
        ({}, {"rate_param": "log"}, {"full": False}, {"rate_param": "log", "full": False}),
        lambda t: (t["rate"] - t["x"] * t["rate"].log() + torch.lgamma(t["x"] + 1),),
    ),
    Case(
        "negative_binomial_nll",
        lambda shape, _: _few_counts(shape),
        ("loss",),
        COUNT_PARAMS,
        lambda t: (_negative_binomial(t),),
        extended=negative_binomial_gradients,
    ),
    Case(
        "negative_binomial_nll-gene",
        lambda shape, _: {**_few_counts(shape), "inverse_dispersion": normal(shape[-1:], 7).exp()},
        ("loss",),
        ({}, {"dispersion_param": "log"}),
        lambda t: (_negative_binomial(t),),
        extended=negative_binomial_gradients,
    ),
    Case(
        "zero_inflated_negative_binomial_nll",
        lambda shape, _: {**_few_counts(shape), "dropout_logits": normal(shape, 8)},
        ("loss",),
        COUNT_PARAMS,
        lambda t: (_zero_inflated(t),),
        extended=negative_binomial_gradients,
    ),
    Case(
        "gaussian_entropy",
        lambda shape, scale_param: {"scale": raw_scale(shape, 1, scale_param)},
        ("loss",),
        SCALES,
        lambda t: (0.5 * (t["scale"] + math.log(2 * math.pi * math.e)),),
        rescaled=(STRAIGHT_THROUGH,),
    ),
    Case(
        "discretized_logistic_mixture_nll",
        _colours,
        ("loss",),
        ({}, {"bins": 16}, {"min_log_scale": 0.0}, {"low": -2.0, "high": 1.5}),
        _mixture_formula,
        options=_mixture(),
        extended=logistic_mixture_gradients,
        values=3,
        components=2,
    ),
    Case(
        "discretized_logistic_mixture_nll-grey",
        _channels(1),
        ("loss",),
        ({}, {"bins": 256}),
        _mixture_formula,
        options=_mixture(rgb_coupling=False),
        extended=logistic_mixture_gradients,
        components=2,
    ),
    Case(
        "discretized_logistic_mixture_nll-channels",
        _channels(2),
        ("loss",),
        ({}, {"min_log_scale": 0.0}),
        _mixture_formula,
        options=_mixture(rgb_coupling=False),
        extended=logistic_mixture_gradients,
        values=2,
        components=2,
    ),
    Case(
        "discrete_entropy",
        lambda shape, _: {"p": _masses(_of_classes(shape), -1)},
        ("loss",),
        ({},),
        lambda t: (_entropy(t["p"], -1),),
    ),
    Case(
        "discrete_kl",
        lambda shape, _: _pair_of_masses(_of_classes(shape), -1),
        ("loss",),
        ({},),
        lambda t: (torch.nn.functional.kl_div(t["q"].log(), t["p"], reduction="none").sum(-1),),
    ),
    Case(
        "discrete_kl-channels",
        lambda shape, _: _pair_of_masses(_of_channels(shape), 1),
        ("loss",),
        ({},),
        lambda t: (torch.nn.functional.kl_div(t["q"].log(), t["p"], reduction="none").sum(1),),
        options=lambda tensors: {"dim": 1},
        least_ndim=1,
    ),
    Case(
        "categorical_entropy",
        lambda shape, _: {"logits": _logits(_of_classes(shape))},
        ("loss",),
        ({},),
        lambda t: (_entropy(t["logits"].softmax(-1), -1),),
        coupled=CLASSES,
    ),
    Case(
        "categorical_entropy-channels",
        lambda shape, _: {"logits": _logits(_of_channels(shape))},
        ("loss",),
        ({},),
        lambda t: (_entropy(t["logits"].softmax(1), 1),),
        options=lambda tensors: {"dim": 1},
        least_ndim=1,
        coupled=CLASSES,
    ),
    Case(
        "categorical_kl",
        lambda shape, _: _pair_of_logits(_of_classes(shape)),
        ("loss",),
        (*UNIMIX, *FREE_BITS),
        lambda t: (_categorical_kl(t, -1),),
        rescaled=BALANCED_CLASSES,
        coupled=CLASSES,
    ),
    Case(
        "categorical_kl-channels",
        lambda shape, _: _pair_of_logits(_of_channels(shape)),
        ("loss",),
        (*UNIMIX, *FREE_BITS),
        lambda t: (_categorical_kl(t, 1),),
        rescaled=BALANCED_CLASSES,
        options=lambda tensors: {"dim": 1},
        least_ndim=1,
        coupled=CLASSES,
    ),
    Case(
        "categorical_kl-uniform",
        lambda shape, _: {"logits_q": _logits(_of_classes(shape))},
        ("loss",),
        (*UNIMIX, *FREE_BITS),
        lambda t: (_categorical_kl(t, -1),),
        rescaled=BALANCED_CLASSES,
        coupled=CLASSES,
    ),
    Case(
        "gumbel_softmax",
        lambda shape, _: {"logits": _logits(_of_classes(shape))},
        ("sample",),
        RELAXED,
        lambda t, eps: (torch.softmax(t["logits"] + eps, -1),),
        rescaled=HARD,
        keyed=True,
        eps=gumbel_noise,
        eps_shape=_of_classes,
        result_shape=_of_classes,
        coupled=CLASSES,
    ),
    Case(
        "gumbel_softmax-channels-eps",
        lambda shape, _: {
            "logits": _logits(_of_channels(shape)),
            "eps": torch.as_tensor(gumbel_noise(KEY, _of_channels(shape), torch.float64)),
        },
        ("sample",),
        RELAXED[:1],
        lambda t: (torch.softmax(t["logits"] + t["eps"], 1),),
        rescaled=HARD,
        options=lambda tensors: {"dim": 1},
        least_ndim=1,
        result_shape=_of_channels,
        coupled=CLASSES,
    ),
    Case(
        "gan_discriminator_loss",
        _gan_logits,
        ("loss",),
        (
            *({"kind": kind} for kind in ("minimax", "hinge", "lsgan", "wgan", "relativistic")),
            {"kind": "hinge", "hinge_scale": 0.3, "reduction": "none"},
            {"kind": "lsgan", "label_smoothing": 0.1, "reduction": "sum"},
            {"kind": "relativistic", "reduction": "none"},
            {"kind": "non_saturating", "label_smoothing": 0.1},
        ),
        lambda t: (_elementwise_loss(t),),
        options=lambda tensors: {"kind": "non_saturating"},
        **GAN,
    ),
    Case(
        "gan_generator_loss",
        lambda shape, scale_param: {"fake": 2 * normal(shape, 7)},
        ("loss",),
        tuple({"kind": k, "reduction": r} for k in ("minimax", "hinge", "lsgan", "wgan") for r in ("mean", "none")),
        lambda t: (torch.log(1 + torch.exp(-t["fake"])),),
        options=lambda tensors: {"kind": "non_saturating"},
        **GAN,
    ),
    Case(
        "gan_generator_loss-relativistic",
        _gan_logits,
        ("loss",),
        ({}, {"reduction": "none"}),
        lambda t: (torch.log(1 + torch.exp(t["real"] - t["fake"])),),
        options=lambda tensors: {"kind": "relativistic"},
        **GAN,
    ),
    Case(
        "interpolate",
        lambda shape, scale_param: {"real": normal(shape, 6), "fake": normal(shape, 7)},
        ("sample",),
        ({}, {"element_offset": 5}),
        lambda t, eps: (_between(t, eps),),
        keyed=True,
        eps=gk.random.uniform,
        eps_shape=lambda shape: shape[:1],
    ),
    Case(
        "interpolate-eps",
        lambda shape, scale_param: {
            "real": normal(shape, 6),
            "fake": normal(shape, 7),
            "eps": normal(shape[:1], 8).sigmoid(),
        },
        ("sample",),
        ({},),
        lambda t: (_between(t, t["eps"]),),
    ),
    Case(
        "zero_centered_penalty",
        lambda shape, scale_param: {"grad": normal(shape, 6)},
        ("loss",),
        ({}, {"reduction": "sum"}, {"reduction": "none"}),
        lambda t: (_by_sample(t["grad"] ** 2),),
        **PENALTY,
    ),
    Case(
        "gradient_norm_penalty",
        lambda shape, scale_param: {"grad": normal(shape, 6)},
        ("loss",),
        ({}, {"reduction": "sum", "center": 0.0}, {"reduction": "none", "center": 2.5}),
        lambda t: ((_by_sample(t["grad"] ** 2).sqrt() - 1) ** 2,),
        **PENALTY,
    ),
    Case(
        "minibatch_stddev",
        lambda shape, scale_param: {"x": normal(shape, 6)},
        ("sample",),
        ({}, {"group_size": None}, {"group_size": 2}, {"group_size": 1}),
        lambda t: (_minibatch_stddev(t),),
        least_ndim=2,
        by_rows=False,
        result_shape=lambda shape: (shape[0], shape[1] + 1, *shape[2:]),
    ),
)
