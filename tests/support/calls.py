"""Every public function as tests call it: arguments that fit, and what came of a call, a result or an error."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

import genkern as gk
from support import modules
from support.backends import NATIVE, REFERENCE
from support.cases import CASES, KEY

REQUIRED = ("loc", "scale", "x", "delta_loc", "delta_scale", "log_w")


def has_native(device_type: str) -> Tensor:
    return torch.tensor(gk.has_native(device_type))


def use_backend(name: str) -> Tensor:
    with gk.use_backend(name):
        return torch.tensor(gk.info()["mode"] == name)


def log_mean_exp_by_pieces(log_w: Tensor, dim: int = 0) -> Tensor:
    total = gk.LogMeanExp(dim)
    total.update(log_w)
    return total.compute()


def ema_update_(ema_params: Any, params: Any, decay: Any) -> Tensor | tuple[Tensor, ...]:
    """The averages that it leaves; those given stay as they are, for the next backend."""
    if isinstance(ema_params, list):
        ema_params = [t.clone() if isinstance(t, Tensor) else t for t in ema_params]
    gk.ema_update_(ema_params, params, decay)
    return tuple(ema_params)


FUNCTIONS: dict[str, Callable[..., Any]] = {name: getattr(gk, name) for name in gk.functional.__all__}
FUNCTIONS["LogMeanExp"] = log_mean_exp_by_pieces
FUNCTIONS["ema_update_"] = ema_update_
FUNCTIONS |= {f"random.{name}": getattr(gk.random, name) for name in gk.random.__all__}
FUNCTIONS |= {"has_native": has_native, "use_backend": use_backend}
FUNCTIONS |= {f"nn.{name}": call.function for name, call in modules.CALLS.items()}
GOOD = {f"nn.{name}": call.good for name, call in modules.CALLS.items()}
GOOD["random.key"] = {"seed": 1}
GOOD["random.split"] = {"key": KEY}
GOOD["random.fold_in"] = {"key": KEY, "data": 1}
GOOD["random.normal"] = GOOD["random.uniform"] = {"key": KEY, "shape": (2, 3)}
GOOD["gumbel_softmax"] = {"logits": torch.ones(2, 4)}
GOOD["discretized_logistic_mixture_nll"] = {"x": torch.ones(2, 3), "params": torch.ones(2, 10), "mixtures": 1}
GOOD["discretized_logistic_mixture_sample"] = {"params": torch.ones(2, 10), "mixtures": 1, "key": KEY}
for name, parameters in {
    "poisson_sample": ("rate",),
    "negative_binomial_sample": ("mean", "inverse_dispersion"),
    "zero_inflated_negative_binomial_sample": ("mean", "inverse_dispersion", "dropout_logits"),
}.items():
    GOOD[name] = {"key": KEY, **{parameter: torch.ones(2, 4) for parameter in parameters}}
GOOD["gaussian_mixture_log_prob"] = {"z": torch.ones(4, 2), "loc": torch.zeros(3, 2), "scale": torch.zeros(3, 2)}
GOOD["kde_log_prob"] = {"x": torch.ones(4, 2), "data": torch.zeros(3, 2), "bandwidth": 0.5}
GOOD["mmd"] = {"x": torch.ones(4, 2), "y": torch.zeros(3, 2)}
GOOD["total_correlation"] = {name: torch.ones(4, 2) for name in ("z", "loc", "scale")} | {"dataset_size": 10}
LOGITS = {"real": torch.ones(4, 2), "fake": torch.ones(4, 2)}
GOOD["gan_discriminator_loss"] = {**LOGITS, "kind": "lsgan"}
GOOD["gan_generator_loss"] = {**LOGITS, "kind": "relativistic"}
GOOD["interpolate"] = {**LOGITS, "key": KEY}
GOOD["gradient_norm_penalty"] = GOOD["zero_centered_penalty"] = {"grad": torch.ones(4, 2)}
GOOD["minibatch_stddev"] = {"x": torch.ones(4, 2, 3)}
GOOD["ema_update_"] = {"ema_params": [torch.zeros(2, 3)], "params": [torch.ones(2, 3)], "decay": 0.5}
for case in CASES:  # operations whose tensors bear names of their own
    tensors = {name: t.float() for name, t in case.draw((2, 4), "logvar").items()}
    if not tensors.keys() <= {*REQUIRED, "moments", "prior_loc", "prior_scale", "eps"}:
        GOOD.setdefault(case.op, tensors)


def fitting(name: str) -> dict[str, Any]:
    """Arguments that fit each other; with a key where one is taken."""
    parameters = inspect.signature(FUNCTIONS[name]).parameters
    found = dict(GOOD.get(name) or {p: torch.ones(2, 4) for p in parameters if p in (*REQUIRED, "moments")})
    if "delta_loc" in parameters:
        found |= {p: torch.ones(2, 4) for p in ("prior_loc", "prior_scale")}
    return {**found, "key": KEY} if "key" in parameters else found


def outcome(name: str, arguments: dict[str, Any]) -> Any:
    """The result, or the type and the named argument of the error."""
    torch.manual_seed(0)
    generators = arguments.get("generator")
    for generator in generators if isinstance(generators, list) else [generators]:
        if isinstance(generator, torch.Generator):
            generator.manual_seed(0)
    try:
        return FUNCTIONS[name](**arguments)
    except (TypeError, ValueError) as error:
        return type(error), named(name, str(error)), str(error)


def named(function: str, message: str) -> str | None:
    """The argument that a message starts with."""
    names = inspect.signature(FUNCTIONS[function]).parameters
    found = re.match(r"([a-z_]+)[,:\[]", message)
    return found.group(1) if found and found.group(1) in names else None


def is_error(result: Any) -> bool:
    return isinstance(result, tuple) and isinstance(result[0], type)


def assert_same(result: Any, expected: Any) -> None:
    if is_error(expected):
        assert is_error(result), f"accepted, where the definition says {expected[2]!r}"
        assert expected[1], f"names no argument: {expected[2]}"
        assert result[1], f"names no argument: {result[2]}"
        assert result[1] == expected[1], f"{result[2]!r} instead of {expected[2]!r}"
        return
    assert not is_error(result), f"refused, where the definition accepts: {result[2]}"
    results, right = (r if isinstance(r, tuple) else (r,) for r in (result, expected))
    for value, wanted in zip(results, right, strict=True):
        assert isinstance(value, Tensor)
        assert (value.shape, value.dtype, value.device) == (wanted.shape, wanted.dtype, wanted.device)
        if value.device.type == "cpu" and value.is_floating_point():
            # The backends agree to a few roundings, and to one of the dtype where they round to it differently.
            close = {"rtol": 1e-5, "atol": 1e-5} if value.dtype.itemsize > 2 else {"rtol": 8e-3, "atol": 8e-3}
            torch.testing.assert_close(value, wanted, **close, equal_nan=True)
        elif value.device.type == "cpu":
            assert torch.equal(value, wanted)


def compare(name: str, arguments: dict[str, Any], faults: int) -> None:
    """The compiled kernels give what the definition does: the same numbers, or an error that names the argument."""
    with REFERENCE.use():
        expected = outcome(name, arguments)
    # No compiled kernel serves the meta device.
    on_meta = any(isinstance(a, Tensor) and a.is_meta for a in arguments.values())
    with gk.use_backend("auto") if NATIVE.missing() or on_meta else NATIVE.use():
        result = outcome(name, arguments)
    if is_error(result) and is_error(expected) and result[1] and expected[1] and faults > 1:
        return  # of several faults each may name its own
    assert_same(result, expected)
