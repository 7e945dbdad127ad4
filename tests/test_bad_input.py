"""Every public function, module and method, called with what it should not be, names the argument at fault.

A property test: arguments that fit are drawn, then some are replaced. Whatever comes of it must be the same on every
backend: a ValueError or TypeError that names an argument, or the result of the definition; never another exception.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from typing import Any

import hypothesis
import pytest
import torch
from hypothesis import strategies as st
from support import matrix, modules
from support.backends import NATIVE, REFERENCE
from support.cases import KEY
from torch import Tensor

import genkern as gk
import genkern.nn

SHAPES = [(), (1,), (4,), (2, 4), (1, 4), (3, 4), (2, 3), (0, 4), (2, 4, 3), (4, 1)]
DTYPES = [torch.float32, torch.float64, torch.bfloat16, torch.float16]
WRONG_DTYPES = [torch.int64, torch.bool, torch.complex64, torch.uint64, torch.uint8]
WRONG_TYPES: list[Any] = [
    None,
    1,
    1.5,
    True,
    "logvar",
    b"x",
    [1.0],
    (),
    {},
    object(),
    float("nan"),
    -1,
    10**30,
    torch.float32,
]
GOOD_TENSORS = st.builds(
    lambda shape, dtype: torch.ones(shape, dtype=dtype), st.sampled_from(SHAPES), st.sampled_from(DTYPES)
)
ANY_TENSORS = st.builds(
    lambda shape, dtype, device: torch.ones(shape, dtype=dtype, device=device),
    st.sampled_from(SHAPES),
    st.sampled_from(DTYPES + WRONG_DTYPES),
    st.sampled_from(["cpu", "cpu", "cpu", "meta"]),
)
KEYS = [KEY, KEY.view(torch.int64), gk.random.split(KEY, 1), KEY[:1]]

# What each argument may sensibly be given: right and wrong values.
VALUES: dict[str, list[Any]] = {
    "scale_param": ["logvar", "logstd", "std", "var", "softplus", "sigma", ""],
    "clamp_mode": ["hard", "straight_through", "softclip", "tanh", "soft"],
    "clamp": [
        None,
        (-1.0, 1.0),
        (None, 1.0),
        (-1, None),
        (1.0, -1.0),
        (0.0, 0.0),
        (-2.0, 1.0),
        (1.0,),
        ("a", "b"),
        3.0,
    ],
    "reduction": ["event", "none", "sum", "mean", "batchmean", "avg"],
    "units": ["nats", "bits", "bits_per_dim", "dits"],
    "event_ndim": [None, 0, 1, 2, 9, -1, 1.0, "1", True],
    "sample_shape": [(), (2,), [3], (0,), (2, 1), (-1,), (1.5,), 2, "2", None],
    "temperature": [1.0, 0, 0.5, -1.0, "hot", None, True],
    "element_offset": [0, 7, 2**40, -1, 1.5, None, True],
    "free_bits": [0.0, 0.5, 2, -0.1, float("nan"), "0", None, True],
    "free_bits_over": ["dim", "event", "batch", "row"],
    "grad_scale_q": [1.0, 0, 0.5, "1", None, True],
    "grad_scale_p": [1.0, 0, 0.5, "1", None, True],
    "scale_offset": [0.0, 0.5, 1, "0", None, True],
    "full": [True, False, 1, None, "yes"],
    "chunk_dim": [1, 0, -1, 5, -7, 1.0, None, "1", True],
    "latent_channels": [None, 1, 2, 3, 0, -1, 99, 1.5, True],
    "key": [KEY, *KEYS],
    "generator": [
        None,
        torch.Generator(),
        [torch.Generator()],
        [torch.Generator(), torch.Generator()],
        [],
        [1],
        "cpu",
        7,
    ],
    "mixtures": [1, 2, 0, -1, 2**62, 1.5, None, "1", True],
    "bins": [2, 256, 1, 0, -3, 2.5, None, "8", True],
    "low": [-1.0, 0, 1.0, 7, float("nan"), "0", None, True],
    "high": [1.0, 2, -1.0, -7, float("nan"), "0", None, True],
    "channel_dim": [1, 0, -1, -2, 5, -7, 1.0, None, "1", True],
    "rgb_coupling": [True, False, 1, None, "yes"],
    "min_log_scale": [-7.0, 0, 3.5, "0", None, True],
    "num": [0, 1, 3, -1, 1.5, None, "2", True],
    "data": [torch.ones(3, 2), torch.ones(3), torch.ones(0, 2), 0, 1, 2**40, -1, 1.5, None, "2", True],
    "shape": [(), (3,), [2, 2], (0,), (-1,), (1.5,), 3, "3", None],
    "dtype": [*DTYPES, torch.int64, torch.complex64, torch.bool, "float32", None, 3],
    "device": [None, "cpu", torch.device("cpu"), "nowhere", 3.5],
    "dim": [0, 1, -1, 5, -7, 1.0, None, "1", True],
    "estimator": ["iwae", "vae", "ciwae", "miwae", "renyi", "dreg", "elbo", "", "u", "v"],
    "groups": [None, 1, 2, 3, 0, -1, 1.5, "2"],
    "alpha": [None, 0.0, 0.5, 1, 2.5, float("inf"), float("nan"), "0"],
    "seed": [0, 1, -1, 2**64, 2**70, 1.5, None, "1", True],
    "offset": [0, 1, -1, 2**64, 1.5, None, "1", True],
    "device_type": ["cpu", "cuda", "xpu", "cuda:0", "", torch.device("cpu")],
    "name": ["auto", "reference", "Native", "cuda", ""],
    # of modules
    **{
        name: [1, 2, 4, 0, -1, 1.5, "2", None, True]
        for name in ("in_features", "latent_dim", "width", "out_channels", "channels", "num_samples", "chunk_size")
    },
    "bias": [True, False, 1, None, "yes"],
    "image_shape": [(1, 4, 4), [2, 5, 3], (1, 4), (0, 4, 4), (1, 4, 1.5), ("a", "b", "c"), "abc", 4],
    "event_shape": [(4,), [2, 3], (), (0,), (-1,), (1.5,), "4", 4],
    "hidden": [(), (3,), [2, 2], (0,), (-1,), (1.5,), "3", 3],
    "latent_shape": [(2,), [2], (-2,), (1.5,), "2", 2],
    "sigma": ["learned", "decoder", "optimal", "fixed", 0.5, 1, 0, -1.0, float("nan")],
    "init": [0.1, 1, 0, -1.0, "0.1", None],
    "frozen": [True, False, 1, None, "yes"],
    "likelihood": ["gaussian", "bernoulli", "gauss", genkern.nn.GaussianLikelihood(0.5), torch.nn.Identity()],
    "objective": [None, genkern.nn.ELBO(beta=2.0), "elbo"],
    "encoder": [torch.nn.Identity(), "mlp"],
    "decoder": ["mlp"],
    "beta": [1.0, 0, 0.5, 4, -1.0, float("nan"), "1", None],
    "capacity": [None, 0.0, 2, -1.0, float("nan"), "1"],
    "warmup": [0, 3, -1, 1.5, "1", None],
    "k": [1, 2, 4, 0, -1, 1.5, "2", None, True],
    "keys": [gk.random.split(KEY, 2), KEY, gk.random.split(KEY, 0), None],
    "gamma": [1.0, 0, -1.0, float("nan"), "1", None],
    "global_batch": [True, False, 1, None, "yes"],
    "mmd": [torch.dist, None, "rbf"],
    "lambda_": [1000.0, 1, 0.5, -1.0, float("nan"), "1", None],
    "components": [1, 3, 0, -1, 1.5, "2", None, True],
    "data_shape": [(4,), [2, 3], (), (0,), (-1,), (1.5,), "4", 4, None],
    "observation_noise": [True, False, 1, None, "yes"],
    # of sets of points
    "kernel": ["rbf", "imq", "linear", ""],
    "scales": [
        (1.0,),
        [1, 2.5],
        (2.0,) * 16,
        (1.0,) * 17,
        (),
        (0.0,),
        (-1.0,),
        (float("nan"),),
        ("1",),
        1.0,
        None,
        "1",
    ],
    # of data and of classes
    "cdf": ["exact", "tanh", "normal", ""],
    "label_smoothing": [0.0, 0.1, 1, -0.1, 1.5, float("nan"), "0", None],
    "unimix": [0.0, 0.1, 1, -0.1, 1.5, float("nan"), "0", None],
    "tau": [1.0, 0, 0.5, -1.0, float("nan"), "1", None],
    "hard": [True, False, 1, None, "yes"],
    # of mixtures
    "marginals": [True, False, 1, None, "yes"],
    "bandwidth": [1.0, 1, 0, -1.0, float("nan"), torch.ones(3), "1", None],
    "dataset_size": [4, 100, 3, 0, -1, 1.5, "4", None],
    "weighting": ["mss", "mws", "stratified", ""],
    "mss_weights": ["paper", "legacy", "new"],
    "joint_weight": ["once", "per_dim", "twice"],
    # of GANs
    "kind": ["minimax", "non_saturating", "hinge", "lsgan", "wgan", "relativistic", "vanilla", ""],
    "hinge_scale": [1.0, 1, 0.5, -1.0, "1", None],
    "center": [1.0, 0, -1.0, float("inf"), "1", None],
    "group_size": [None, 1, 2, 4, 0, -1, 1.5, "2", True],
    "num_channels": [1, 2, 4, 3, 0, -1, 1.5, "2", None],
    "decay": [0.5, 0, 1, 1.5, -0.1, float("nan"), "0.5", None],
    "loss": ["minimax", "hinge", "relativistic", "vanilla", ""],
    "penalty": [None, "r1", "r2", "gp", "dragan", "r3", ""],
    "penalty_weight": [None, 1.0, 0, -1.0, float("nan"), "1"],
    "penalty_interval": [1, 3, 0, -1, 1.5, "1", None, True],
    "penalized": [None, True, False, 1, "yes"],
    "ema_decay": [None, 0.5, 0, 1, 1.5, float("nan"), "0.5"],
    "discriminator": [torch.nn.Identity(), "conv"],
    "step": ["discriminator", "generator", "encoder", "both", ""],
    "augment": [None, torch.neg, "flip"],
    "averaged": [True, False, 1, None, "yes"],
    "minibatch_stddev": [True, False, 1, None, "yes"],
    "gan": [torch.nn.Identity(), None],
    "generator_optimizer": [torch.optim.SGD([torch.ones(1)], 0.1), None],
    "discriminator_optimizer": [torch.optim.SGD([torch.ones(1)], 0.1), None],
    "n_critic": [1, 5, 0, -1, 1.5, "1", None, True],
    "reduce_gradients": [None, list, "mean"],
    "scaler": [None, torch.amp.GradScaler("cpu"), "dynamic"],
    "state_dict": [{}, {"steps": 1}, None],
    "lr": [0.1, 0, 1, -1.0, float("nan"), "1", None],
    "betas": [(0.0, 0.9), [0.5, 1], (0.5,), (0.5, 1.5), ("a", "b"), 0.5, None],
    "interval": [1, 16, 0, -1, 1.5, "1", None, True],
    "ema_params": [[torch.ones(2, 3)], [torch.ones(2, 3), torch.ones(4)], [], [1], ["a"], [torch.ones(2).int()]],
}
REQUIRED = ("loc", "scale", "x", "delta_loc", "delta_scale", "log_w")
TENSORS = (*REQUIRED, "prior_loc", "prior_scale", "moments", "eps", "latent")
TENSORS += ("h", "z", "params", "logits", "reconstruction", "kl", "encoder_input", "divergence")  # of modules
TENSORS += ("mutual_information", "total_correlation", "dimension_wise_kl")
TENSORS += ("log_weights", "p", "q", "logits_q", "logits_p", "y", "real", "fake", "grad", "features")


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
GOOD["bernoulli_nll"] = {"x": torch.ones(2, 4), "logits": torch.ones(2, 4)}
GOOD["discrete_entropy"] = {"p": torch.full((2, 4), 0.25)}
GOOD["discrete_kl"] = {"p": torch.full((2, 4), 0.25), "q": torch.full((2, 4), 0.25)}
GOOD["categorical_entropy"] = GOOD["gumbel_softmax"] = {"logits": torch.ones(2, 4)}
GOOD["categorical_kl"] = {"logits_q": torch.ones(2, 4)}
GOOD["discretized_logistic_mixture_nll"] = {"x": torch.ones(2, 3), "params": torch.ones(2, 10), "mixtures": 1}
GOOD["discretized_logistic_mixture_sample"] = {"params": torch.ones(2, 10), "mixtures": 1, "key": KEY}
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


def good_arguments(name: str, draw: st.DrawFn) -> dict[str, Any]:
    """Tensors that fit each other, and a key."""
    if name in GOOD:
        return dict(GOOD[name])
    shape, dtype = draw(st.sampled_from([(2, 4), (4,), (2, 4, 3)])), draw(st.sampled_from(DTYPES))
    signature = inspect.signature(FUNCTIONS[name])
    arguments: dict[str, Any] = {}
    for parameter in signature.parameters.values():
        needed = parameter.default is inspect.Parameter.empty
        if parameter.name in REQUIRED or (
            parameter.name in ("prior_loc", "prior_scale") and (needed or draw(st.booleans()))
        ):
            arguments[parameter.name] = torch.ones(shape, dtype=dtype)
        elif parameter.name == "params":
            arguments |= {"params": torch.ones((2, 10, 3), dtype=dtype)}
            arguments |= {"x": torch.ones((2, 3, 3), dtype=dtype)} if "x" in signature.parameters else {}
        elif parameter.name == "moments":
            arguments[parameter.name] = torch.ones((2, 4, 3), dtype=dtype)
        elif parameter.name == "key":
            arguments[parameter.name] = KEY
        elif parameter.name == "shape":
            arguments[parameter.name] = (2, 3)
        elif needed:
            arguments[parameter.name] = 1
    return arguments


@st.composite
def calls(draw: st.DrawFn, name: str) -> tuple[dict[str, Any], int]:
    """Arguments, and how many faults they may have: a tensor can be wrong in dtype and in shape."""
    arguments = good_arguments(name, draw)
    names = list(inspect.signature(FUNCTIONS[name]).parameters)
    faults = 0
    for changed in draw(st.lists(st.sampled_from(names), min_size=1, max_size=3, unique=True)) if names else ():
        usual = st.one_of(GOOD_TENSORS, ANY_TENSORS) if changed in TENSORS else st.sampled_from(VALUES[changed])
        if changed == "scale" and "x" in names:
            usual = st.one_of(usual, st.sampled_from(["optimal", "best", 0.5, 2]))
        odd = st.one_of(st.sampled_from(WRONG_TYPES), ANY_TENSORS)
        arguments[changed] = draw(st.one_of(usual, usual, odd))
        faults += 2 if isinstance(arguments[changed], Tensor) else 1
    if arguments.keys() & {"eps", "generator"} and draw(st.booleans()):
        arguments.pop("key", None)
    return arguments, faults


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


def read(value: Any) -> Any:
    """What torch's dispatcher makes of a value where it wants a number, a string or sizes."""
    if isinstance(value, Tensor) and value.numel() <= 1 and not value.is_meta:
        number = value.item() if value.numel() else ()
        number = number.real if isinstance(number, complex) else number
        return int(number) if isinstance(number, float) and number.is_integer() else number
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, bool):
        return int(value)
    return () if isinstance(value, Tensor | dict) and len(value) == 0 else value


def as_read(arguments: dict[str, Any]) -> dict[str, Any]:
    converted = {name: value if name in (*TENSORS, "key") else read(value) for name, value in arguments.items()}
    return {name: bool(v) if name == "full" and isinstance(v, int | float) else v for name, v in converted.items()}


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
    with REFERENCE.use():
        expected = outcome(name, arguments)
    # No compiled kernel serves the meta device.
    on_meta = any(isinstance(a, Tensor) and a.is_meta for a in arguments.values())
    with gk.use_backend("auto") if NATIVE.missing() or on_meta else NATIVE.use():
        result = outcome(name, arguments)
    if is_error(result) and is_error(expected) and result[1] and expected[1] and faults > 1:
        return  # of several faults each may name its own
    if is_error(result) != is_error(expected) or is_error(result):
        with REFERENCE.use():
            converted = outcome(name, as_read(arguments))
        if is_error(result) == is_error(converted) and (not is_error(result) or result[:2] == converted[:2]):
            expected = converted
    assert_same(result, expected)


OPERATIONS = {row.op for row in matrix.ROWS.values()}


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=matrix.covers("bad input") if n in OPERATIONS else ()) for n in FUNCTIONS]
)
def test_whatever_is_passed_the_answer_is_right_or_names_the_argument(name: str) -> None:
    @hypothesis.settings(
        max_examples=25 if name in GOOD else 60,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=[hypothesis.HealthCheck.too_slow],
    )
    @hypothesis.given(calls(name))
    def check(call: tuple[dict[str, Any], int]) -> None:
        compare(name, *call)

    check()


@pytest.mark.parametrize("name", [n for n in FUNCTIONS if "random" not in n])
@pytest.mark.parametrize("mode", ["reference", "auto"])
def test_each_argument_of_the_wrong_type_is_named(name: str, mode: str) -> None:
    parameters = inspect.signature(FUNCTIONS[name]).parameters
    fitting = GOOD.get(name) or {p: torch.ones(2, 4) for p in parameters if p in (*REQUIRED, "moments")}
    if "delta_loc" in parameters:
        fitting |= {p: torch.ones(2, 4) for p in ("prior_loc", "prior_scale")}
    for parameter in parameters:
        arguments = {**fitting, "key": KEY} if "key" in parameters else dict(fitting)
        if parameter in ("eps", "generator"):
            arguments.pop("key", None)  # a GAN's generator needs none
        arguments[parameter] = object()
        with gk.use_backend(mode):
            result = outcome(name, arguments)
        assert is_error(result), parameter
        assert result[:2] == (TypeError, parameter), result[2]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_an_unknown_or_missing_argument_is_refused(name: str) -> None:
    with pytest.raises(TypeError):
        FUNCTIONS[name](*range(1, 30))
    with pytest.raises(TypeError, match="bogus"):
        FUNCTIONS[name](**GOOD.get(name, {}), bogus=1)


def test_no_public_function_is_left_out() -> None:
    public = {name for name in gk.__all__ if callable(getattr(gk, name))} - {"info"}  # which takes no argument
    public |= {f"random.{name}" for name in gk.random.__all__} | {f"nn.{name}" for name in modules.public_calls()}
    assert public == FUNCTIONS.keys()
    for name in FUNCTIONS:
        unknown = set(inspect.signature(FUNCTIONS[name]).parameters) - VALUES.keys()
        assert unknown <= set(TENSORS), f"{name}: {unknown}"
