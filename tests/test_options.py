"""Options: what counts as a number, a flag or a string is one rule, for every public function and on every backend."""

from __future__ import annotations

import inspect
import re
from fractions import Fraction
from typing import Any

import hypothesis
import numpy
import pytest
import torch
from hypothesis import strategies as st
from support.backends import NATIVE, REFERENCE
from support.calls import FUNCTIONS, assert_same, compare, fitting, is_error, outcome
from support.cases import KEY
from torch import Tensor

import genkern as gk

# Beyond 64 bits, so that none is a size which memory might hold; the last two are beyond float64.
HUGE = [sign * n for n in (2**63, 2**64, 2**70, 2**1023, 2**1024, 10**5000) for sign in (1, -1)]
# Options by which a function takes another way with its numbers.
WAYS: dict[str, list[Any]] = {
    "scale": ["optimal"],
    "clamp_mode": ["straight_through", "softclip"],
    "free_bits_over": ["event", "batch"],
    "scale_param": ["logstd", "std", "var", "softplus"],
    "weighting": ["mws"],
    "reduction": ["none", "mean"],
    "estimator": ["ciwae", "renyi"],
    "rgb_coupling": [False],
}


def kinds(name: str) -> dict[str, set[str]]:
    """The words of each parameter's annotation."""
    parameters = inspect.signature(FUNCTIONS[name]).parameters.values()
    return {p.name: set(re.findall(r"\w+", str(p.annotation))) for p in parameters}


def forms(words: set[str], number: Any) -> list[Any]:
    """The number as an option of such an annotation may hold it."""
    if "Clamp" in words:
        return [(number, None), (None, number), (0, number)]
    return [(number,)] if "Sequence" in words else [number]


def numbers(name: str) -> list[str]:
    return [option for option, words in kinds(name).items() if words & {"int", "float", "Clamp"}]


# What is no number, no flag and no string, though a parser may read one from it, with the word for what it is not.
IMPOSTORS: dict[str, list[Any]] = {
    "float": [
        torch.tensor(0.5, requires_grad=True),
        torch.ones(()),
        torch.ones(1),
        "1",
        b"1",
        1j,
        [1.0],
        numpy.ones(()),
    ],
    "int": [
        torch.tensor(1),
        torch.ones(1, dtype=torch.int64),
        1.0,
        torch.tensor(0.5),
        "1",
        b"1",
        [1],
        numpy.ones((), int),
    ],
    "bool": [torch.tensor(True), torch.ones(1), 0.0, 1.0, "True", b"", [], {}, numpy.ones((), bool)],
    "str": [b"event", b"nats", bytearray(b"hard"), ["event"], 1, torch.ones(())],
    "Clamp": [(torch.tensor(-1.0), None), (None, torch.ones(1)), (b"0", 1.0), torch.ones(2), "ab", 10**5000, (1.0,)],
}
OPTIONS = [(name, option) for name in FUNCTIONS if "nn." not in name for option in kinds(name)]


def parametrised_by(*words: str, without: str = "Tensor") -> pytest.MarkDecorator:
    """Every option whose annotation has one of the words."""
    found = [(n, o) for n, o in OPTIONS if kinds(n)[o] & set(words) and without not in kinds(n)[o]]
    return pytest.mark.parametrize("name, option", found, ids=["-".join(pair) for pair in found])


def test_no_tensor_is_a_size() -> None:
    for shape in (torch.ones(0), torch.ones(2, dtype=torch.int64), {}, b"", numpy.ones(2, int)):
        for result in on_every_backend("gaussian_rsample", {**fitting("gaussian_rsample"), "sample_shape": shape}):
            assert result[:2] == (TypeError, "sample_shape")


def on_every_backend(name: str, arguments: dict[str, Any]) -> list[Any]:
    found = []
    for backend in (REFERENCE, *([] if NATIVE.missing() else [NATIVE])):
        with backend.use():
            found.append(outcome(name, arguments))
    return found


@pytest.mark.parametrize("name", [n for n in FUNCTIONS if "nn." not in n and numbers(n)])
def test_a_huge_int_is_a_number_or_named(name: str) -> None:
    @hypothesis.settings(max_examples=60, deadline=None, derandomize=True, database=None)
    @hypothesis.given(st.data())
    def check(data: st.DataObject) -> None:
        taken = kinds(name)
        option = data.draw(st.sampled_from(numbers(name)))
        value = data.draw(st.sampled_from([f for n in HUGE for f in forms(taken[option], n)]))
        ways = {way: data.draw(st.sampled_from(WAYS[way])) for way in WAYS if way in taken and data.draw(st.booleans())}
        compare(name, {**fitting(name), **ways, option: value}, faults=1 + len(ways))

    check()


@parametrised_by(*IMPOSTORS)
def test_what_only_looks_like_an_option_is_named(name: str, option: str) -> None:
    words = kinds(name)[option]
    (kind,) = words & IMPOSTORS.keys()
    for value in IMPOSTORS[kind] + ([] if "None" in words else [None]):
        value = [value] if "Sequence" in words else value
        for result in on_every_backend(name, {**fitting(name), option: value}):
            assert is_error(result), f"took {value!r}"
            assert result[1] == option, result[2]


@parametrised_by("int", "float", "bool")
def test_whatever_is_a_number_to_python_is_one_here(name: str, option: str) -> None:
    words = kinds(name)[option]
    if "bool" in words:
        likes = [(flag, [int(flag), numpy.bool_(flag), numpy.int64(flag)]) for flag in (True, False)]
    elif "float" in words:
        likes = [(n, [Fraction(n), numpy.float64(n), numpy.float32(n)]) for n in (0.5, 1.0)]
        likes += [(1.0, [1, numpy.int64(1)])]
    else:
        likes = [(n, [numpy.int64(n), numpy.uint8(n)]) for n in (4, 3, 2, 1, 0)]
    for number, values in likes:
        arguments = fitting(name)
        plain = on_every_backend(name, {**arguments, option: (number,) if "Sequence" in words else number})
        for value in values:
            value = (value,) if "Sequence" in words else value
            for result, expected in zip(on_every_backend(name, {**arguments, option: value}), plain, strict=True):
                assert_same(result, expected)


@pytest.mark.parametrize("dynamic", [True, False])
def test_the_numbers_of_a_compiler_are_numbers(dynamic: bool) -> None:
    loc, logvar = torch.linspace(-1, 1, 24).view(2, 3, 4).unbind()

    def run(loc: Tensor, offset: int, temperature: float, floor: int, keep: bool) -> list[Tensor]:
        z = gk.gaussian_rsample(loc, logvar, key=KEY, element_offset=offset * loc.shape[0], temperature=temperature)
        kl = gk.gaussian_kl(loc, logvar, free_bits=floor, event_ndim=loc.dim() - 1)
        return [
            z,
            kl,
            gk.gaussian_nll(loc, logvar, scale=temperature, full=keep and loc.shape[0] > 1, scale_param="std"),
        ]

    compiled = torch.compile(run, fullgraph=True, dynamic=dynamic, backend="aot_eager")
    for offset, temperature, floor, keep in ((4, 0.5, 0, True), (5, 0.75, 1, False), (7, 1.5, 2, True)):
        numbers = (offset, temperature, floor, keep)
        for found, expected in zip(compiled(loc, *numbers), run(loc, *numbers), strict=True):
            assert torch.equal(found, expected)
