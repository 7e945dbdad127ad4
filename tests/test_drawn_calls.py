"""Calls of every public operation as nobody would think them up, against the definition in float64.

Shapes from 0- to 6-dim that broadcast, memory layouts, dtypes, options, numbers from subnormal to infinite, noise from
keys, generators and tensors, gradients to some of the arguments: all drawn, from a seed that is the operation's name
and the number of the call. tests/support/drawn_operations.py says what an operation takes, drawn_oracle.py what is a
fault.

    pytest tests/test_drawn_calls.py --calls 20000         # as many, instead of a few hundred
    pytest tests/test_drawn_calls.py --call gaussian_kl-7  # the one that was reported, with its arguments as code
"""

from __future__ import annotations

import pytest
from support.backends import NATIVE, Backend
from support.drawn_call import Call, as_code
from support.drawn_operations import DRAWS
from support.drawn_oracle import faults

import genkern as gk

USUAL = 400
SHOWN = 5


def numbers(config: pytest.Config, operation: str, backend: Backend) -> range:
    """Which calls of an operation are made."""
    if one := config.option.call:
        name, _, index = one.rpartition("-")
        return range(int(index), int(index) + 1) if name == operation else range(0)
    return range(-(-(config.option.calls or USUAL) // len(DRAWS)))


@pytest.mark.parametrize("backend", [NATIVE], ids=str, indirect=True)
@pytest.mark.parametrize("operation", DRAWS)
def test_a_drawn_call_is_what_the_definition_says(
    operation: str, backend: Backend, request: pytest.FixtureRequest
) -> None:
    found = []
    for index in numbers(request.config, operation, backend):
        call = Call(operation, index)
        try:
            texts = faults(call)
        except Exception as error:  # whatever it is, the call is at fault
            texts = [f"{type(error).__name__}: {error}"]
        if texts:
            code = f"\n{as_code(call)}" if request.config.option.call else ""
            found.append("\n  ".join([f"--call {call}", *texts]) + code)
    assert not found, f"{len(found)} calls at fault\n" + "\n".join(found[:SHOWN])


def test_every_public_operation_is_drawn() -> None:
    assert {*gk.functional.__all__, *(f"random.{name}" for name in gk.random.__all__)} == DRAWS.keys()
