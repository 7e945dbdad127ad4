"""A temperature that is learned: a tensor of shape () stands for a number, and receives its gradient."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, get_args

import pytest
import torch
from support.backends import BACKENDS, Backend
from support.calls import FUNCTIONS, fitting
from support.cases import CASES, KEY, Case
from torch import Tensor

import genkern as gk

LEARNED = ("temperature", "tau")
SAMPLERS = [c for c in CASES if c.keyed and inspect.signature(getattr(gk, c.op)).parameters.keys() & set(LEARNED)]
SHAPE = (3, 4)
Source = Callable[[Case, torch.dtype], dict[str, Any]]
SOURCES: dict[str, Source] = {
    "key": lambda case, dtype: {"key": KEY},
    "key at an offset": lambda case, dtype: {"key": KEY, "element_offset": 7},
    "generator": lambda case, dtype: {"generator": torch.Generator().manual_seed(3)},
    "generators": lambda case, dtype: {"generator": [torch.Generator().manual_seed(i) for i in range(SHAPE[0])]},
    "eps": lambda case, dtype: case.noise(SHAPE, dtype),
}

every_sampler = pytest.mark.parametrize("case", SAMPLERS, ids=str)
every_source = pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)
everywhere = pytest.mark.parametrize("backend", BACKENDS, ids=str)


def name_of(case: Case) -> str:
    (name,) = inspect.signature(getattr(gk, case.op)).parameters.keys() & set(LEARNED)
    return name


def sample(case: Case, value: Tensor | float, tensors: dict[str, Tensor], options: dict[str, Any]) -> Tensor:
    """What of the results depends on the temperature, weighed."""
    results = case(tensors, **{name_of(case): value}, **options)
    return sum((r * torch.arange(r.numel()).view(r.shape).add(1 + i).cos()).sum() for i, r in enumerate(results))


@everywhere
@every_sampler
@every_source
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_the_sample_is_that_of_the_number(case: Case, source: Source, dtype: torch.dtype, backend: Backend) -> None:
    tensors = case.inputs(SHAPE, dtype)
    with backend.use():
        expected = case(tensors, **{name_of(case): 0.75}, **source(case, dtype))
        found = case(tensors, **{name_of(case): torch.tensor(0.75)}, **source(case, dtype))
    for value, wanted in zip(found, expected, strict=True):
        assert value.dtype == wanted.dtype
        few = 16 * torch.finfo(torch.float32 if value.dtype == torch.bfloat16 else value.dtype).eps
        torch.testing.assert_close(value, wanted, rtol=max(few, torch.finfo(value.dtype).eps), atol=few)


@everywhere
@every_sampler
@every_source
@pytest.mark.parametrize("variant", [{}, {"hard": True}, {"free_bits": 1.5, "free_bits_over": "event"}], ids=str)
def test_its_gradient_is_the_derivative(case: Case, source: Source, variant: dict[str, Any], backend: Backend) -> None:
    if not variant.keys() <= inspect.signature(getattr(gk, case.op)).parameters.keys():
        variant = {}
    tensors = case.inputs(SHAPE, torch.float64)
    value = torch.tensor(0.8, dtype=torch.float64, requires_grad=True)
    with backend.use():
        grad = torch.autograd.grad(sample(case, value, tensors, {**source(case, torch.float64), **variant}), value)[0]
        smooth = {**variant, "hard": False} if "hard" in variant else variant  # whose gradient a hard sample has
        above, below = (
            sample(case, v, tensors, {**source(case, torch.float64), **smooth}) for v in (0.8 + 1e-5, 0.8 - 1e-5)
        )
    torch.testing.assert_close(grad, (above - below) / 2e-5, rtol=1e-7, atol=1e-8)


@everywhere
@every_sampler
def test_second_derivatives_are_right(case: Case, backend: Backend) -> None:
    tensors = {name: t.requires_grad_() for name, t in case.inputs((2, 2), torch.float64).items()}
    value = torch.tensor(0.8, dtype=torch.float64, requires_grad=True)

    def run(value: Tensor, *values: Tensor) -> Tensor:
        return sample(case, value, dict(zip(tensors, values, strict=True)), {"key": KEY})

    with backend.use():
        assert torch.autograd.gradcheck(run, (value, *tensors.values()))
        assert torch.autograd.gradgradcheck(run, (value, *tensors.values()))


@every_sampler
def test_it_is_learned_under_a_compiler_and_under_vmap(case: Case) -> None:
    tensors = case.inputs(SHAPE, torch.float64)
    value = torch.tensor(0.8, dtype=torch.float64, requires_grad=True)
    expected = torch.autograd.grad(sample(case, value, tensors, {"key": KEY}), value)
    compiled = torch.compile(lambda v: sample(case, v, tensors, {"key": KEY}), fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(torch.autograd.grad(compiled(value), value), expected)
    many = torch.tensor([0.5, 0.8], dtype=torch.float64)
    mapped = torch.func.vmap(torch.func.grad(lambda v: sample(case, v, tensors, {"key": KEY})))(many)
    torch.testing.assert_close(mapped[1], expected[0])


@everywhere
def test_a_class_without_mass_leaves_the_gradient_a_number(backend: Backend) -> None:
    logits = torch.tensor([[0.0, 1.0, -torch.inf], [-torch.inf, 2.0, 2.0]])
    tau = torch.tensor(0.5, requires_grad=True)
    with backend.use():
        y = gk.gumbel_softmax(logits, tau=tau, key=KEY)
    assert torch.equal(y == 0, logits.isinf())
    assert torch.autograd.grad(y[:, 1].sum(), tau)[0].isfinite()


@everywhere
@every_sampler
def test_what_is_no_such_tensor_is_named(case: Case, backend: Backend) -> None:
    name = name_of(case)
    wrong = (
        (torch.ones(1), ValueError, r"expected a number or a Tensor of shape \(\), got \(1,\)"),
        (torch.ones(SHAPE), ValueError, "expected a number or a Tensor of shape"),
        (torch.tensor(1), TypeError, "expected a floating dtype"),
        (torch.ones((), device="meta"), ValueError, "expected device cpu as the sample, got meta"),
    )
    with backend.use():
        for value, error, message in wrong:
            with pytest.raises(error, match=f"^{name}: {message}"):
                case(case.inputs(SHAPE, torch.float32), **{name: value})


def test_every_option_that_takes_a_tensor_is_tested_here_or_is_an_argument() -> None:
    """The others whose annotation has both are scales and widths, which their own tests differentiate."""
    found = {
        (name, p.name)
        for name in gk.functional.__all__
        for p in inspect.signature(FUNCTIONS[name], eval_str=True).parameters.values()
        if {Tensor, float} <= set(get_args(p.annotation))
    }
    assert {option for _, option in found} == {"scale", "bandwidth", *LEARNED}
    assert {name for name, option in found if option in LEARNED} == {c.op for c in SAMPLERS}
    assert all(fitting(name) for name, _ in found)
