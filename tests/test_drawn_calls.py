"""Calls of every public operation as nobody would think them up, against the definition in float64.

Shapes from 0- to 6-dim that broadcast, memory layouts, dtypes, options, numbers from subnormal to infinite, noise from
keys, generators and tensors, gradients to some of the arguments; and calls one of whose arguments may be wrong. All is
drawn, from a seed that is the operation's name and the number of the call. tests/support/drawn_operations.py says what
an operation takes, drawn_oracle.py what is a fault, drawn_wrong.py what may be wrong about a call.

    pytest tests/test_drawn_calls.py --calls 20000           # as many with each backend, instead of a few hundred
    pytest tests/test_drawn_calls.py --call gaussian_kl-7    # the one that was reported, with its arguments as code
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import pytest
from support import drawn_oracle
from support.backends import BACKENDS, NATIVE, REFERENCE, Backend
from support.drawn_call import Call, as_code
from support.drawn_definitions import DEFINITIONS
from support.drawn_operations import DRAWS
from support.drawn_oracle import faults
from support.drawn_wrong import WrongCall, disagreement
from torch import Tensor

import genkern as gk

KERNELS = BACKENDS[1:]
# How many there are without --calls. Most of what can be wrong about a call is so for every backend, and emulated CUDA
# kernels are slow; where a number is asked for, it is that of each.
USUAL = {NATIVE: 400}
USUAL_OF_OTHERS = 80
SHOWN = 5


def numbers(config: pytest.Config, operation: str, backend: Backend) -> range:
    """Which calls of an operation are made."""
    if one := config.option.call:
        name, _, index = one.rpartition("-")
        return range(int(index), int(index) + 1) if name == operation else range(0)
    return range(-(-(config.option.calls or USUAL.get(backend, USUAL_OF_OTHERS)) // len(DRAWS)))


def assert_no_faults(found: Iterable[tuple[str, list[str]]]) -> None:
    texts = ["\n  ".join([f"--call {call}", *faults]) for call, faults in found if faults]
    assert not texts, f"{len(texts)} calls at fault\n" + "\n".join(texts[:SHOWN])


def faults_of(make: Callable[[], list[str]]) -> list[str]:
    """Also where an exception is what comes of a call that is right, or is none that names an argument."""
    try:
        return make()
    except Exception as error:
        return [f"{type(error).__name__}: {error}"]


every_operation = pytest.mark.parametrize("operation", DRAWS)
every_kernel = pytest.mark.parametrize("backend", KERNELS, ids=str, indirect=True)


@every_kernel
@every_operation
def test_a_drawn_call_is_what_the_definition_says(
    operation: str, backend: Backend, request: pytest.FixtureRequest
) -> None:
    calls = [Call(operation, index) for index in numbers(request.config, operation, backend)]
    if request.config.option.call and calls:
        print(as_code(calls[0]), "with gradients", calls[0].arriving)
    assert_no_faults((str(call), faults_of(lambda call=call: faults(call))) for call in calls)


@every_kernel
@every_operation
def test_every_backend_says_the_same_about_an_argument_that_may_be_wrong(
    operation: str, backend: Backend, request: pytest.FixtureRequest
) -> None:
    calls = [WrongCall(operation, index) for index in numbers(request.config, operation, backend)]
    assert_no_faults(
        (f"{call}, {call.as_text()}", faults_of(lambda call=call: disagreement(call, backend))) for call in calls
    )


@pytest.mark.parametrize(
    "wrong", [lambda o: o * (1 + 1e-3), lambda o: o.masked_fill(o != 0, math.nan)], ids=["off", "nan"]
)
@pytest.mark.parametrize("operation", ["gaussian_kl", "categorical_entropy", "mmd", "gaussian_mixture_log_prob"])
def test_results_that_are_wrong_are_found(
    operation: str, wrong: Callable[[Tensor], Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    right = drawn_oracle.by_backend
    monkeypatch.setattr(drawn_oracle, "by_backend", lambda *call: tuple(wrong(o) for o in right(*call)))
    with REFERENCE.use():
        found = [bool(faults(Call(operation, index))) for index in range(8)]
    assert any(found)


@pytest.mark.parametrize("operation", [operation for operation in DRAWS if operation not in DEFINITIONS])
def test_the_definition_has_no_faults_by_its_own_measure(operation: str) -> None:
    with REFERENCE.use():
        assert_no_faults((str(call), faults(call)) for call in (Call(operation, index) for index in range(2)))


def test_every_public_operation_is_drawn() -> None:
    assert {*gk.functional.__all__, *(f"random.{name}" for name in gk.random.__all__)} == DRAWS.keys()
