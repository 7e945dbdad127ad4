"""Every public function, module and method, called with what it should not be, names the argument at fault.

A property test: arguments that fit are drawn, then some are replaced. Whatever comes of it must be the same on every
backend: a ValueError or TypeError that names an argument, or the result of the definition; never another exception.
"""

from __future__ import annotations

import inspect
from typing import Any

import hypothesis
import pytest
import torch
from hypothesis import strategies as st
from support import matrix, modules
from support.calls import FUNCTIONS, GOOD, REQUIRED, compare, fitting, is_error, outcome
from support.cases import CASES, KEY
from support.values import VALUES, WRONG_DTYPES, WRONG_TYPES
from torch import Tensor

import genkern as gk
import genkern.nn

SHAPES = [(), (1,), (4,), (2, 4), (1, 4), (3, 4), (2, 3), (0, 4), (2, 4, 3), (4, 1)]
DTYPES = [torch.float32, torch.float64, torch.bfloat16, torch.float16]
GOOD_TENSORS = st.builds(
    lambda shape, dtype: torch.ones(shape, dtype=dtype), st.sampled_from(SHAPES), st.sampled_from(DTYPES)
)
ANY_TENSORS = st.builds(
    lambda shape, dtype, device: torch.ones(shape, dtype=dtype, device=device),
    st.sampled_from(SHAPES),
    st.sampled_from(DTYPES + WRONG_DTYPES),
    st.sampled_from(["cpu", "cpu", "cpu", "meta"]),
)
TENSORS = (*REQUIRED, "prior_loc", "prior_scale", "moments", "eps", "latent")
TENSORS += ("h", "z", "params", "logits", "reconstruction", "kl", "encoder_input", "divergence")  # of modules
TENSORS += ("mutual_information", "total_correlation", "dimension_wise_kl")
TENSORS += ("log_weights", "y", "grad", "features", "kl_levels")
TENSORS += tuple({name for case in CASES for name in case.draw((2, 4), "logvar")})


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


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("mode", ["reference", "auto"])
def test_each_argument_of_the_wrong_type_is_named(name: str, mode: str) -> None:
    for parameter in inspect.signature(FUNCTIONS[name]).parameters:
        arguments = fitting(name)
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
