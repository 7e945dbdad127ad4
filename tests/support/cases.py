"""The registry: one `Case` an operation (or form of it), and it is in every test of the matrix."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

import genkern as gk
from support.backends import oracle
from support.inputs import Shape, cotangent, normal, numel, raw_scale

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

    def __str__(self) -> str:
        return self.name

    @property
    def op(self) -> str:
        return self.name.partition("-")[0]

    @property
    def reduces(self) -> bool:
        return "loss" in self.outputs

    def inputs(self, shape: Shape, dtype: torch.dtype, scale_param: str = "logvar") -> Tensors:
        return {name: t.to(dtype) for name, t in self.draw(shape, scale_param).items()}

    def terms(self, name: str, shape: Shape) -> int:
        """How many elements one value of an argument serves: its gradient is a sum over them."""
        if self.name.endswith("-shared"):
            return max(1, numel(shape[1:2]))
        argument = self.draw(shape, "logvar")[name]
        return max(1, numel(shape) // max(1, argument.numel()))

    def __call__(self, tensors: Tensors, **options: Any) -> tuple[Tensor, ...]:
        if self.keyed and not options.keys() & {"key", "generator", "eps"}:
            options["key"] = KEY
        result = getattr(gk, self.op)(**tensors, **{**self.options(tensors), **options})
        return result if isinstance(result, tuple) else (result,)

    def noise(self, shape: Shape, dtype: torch.dtype, sample_shape: Shape = ()) -> Options:
        """What the oracle is given instead of the key: the noise that the key stands for."""
        if not self.keyed:
            return {}
        wide = torch.float64 if dtype == torch.float64 else torch.float32
        return {"eps": gk.random.normal(KEY, (*sample_shape, *shape), dtype=wide)}


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
        return evaluate(case, wide, options, cotangents)


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
HEAD: Options = {"outputs": ("sample", "loss"), "rescaled": (STRAIGHT_THROUGH, *BALANCED)}
RESIDUAL_HEAD: Options = {**HEAD, "outputs": ("sample", "loss", "loss", "loss")}

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
        "gaussian_entropy",
        lambda shape, scale_param: {"scale": raw_scale(shape, 1, scale_param)},
        ("loss",),
        SCALES,
        lambda t: (0.5 * (t["scale"] + math.log(2 * math.pi * math.e)),),
        rescaled=(STRAIGHT_THROUGH,),
    ),
)
