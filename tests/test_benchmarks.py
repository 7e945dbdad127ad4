"""The benchmarks compare equals. Nothing is timed here."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.util
import math
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import scipy.stats
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

sys.path.append(str(Path(__file__).parents[1]))  # for `from benchmarks import ...`

from benchmarks import launches, measure
from benchmarks.cases import (
    DTYPES,
    EAGER,
    GENKERN,
    LIGER,
    OPERATIONS,
    OTHER_DTYPES,
    Case,
    Formula,
    Operation,
    cases,
    dtype_name,
    step,
)
from benchmarks.rivals import EMA_DECAY

# Large enough for the statistics of noise, small enough to be quick.
_SHAPE = (64, 64)
# float32 sums of 64 terms that cancel in parts; no contestant is more exact than that.
_TOLERANCE = {"rtol": 2e-5, "atol": 2e-4}
# PixelCNN++ subtracts sigmoids that may be 1e-5 apart, of which a rounding is 0.6 %.
_TOLERANCES = {"discretized_logistic_mixture_nll": {"rtol": 1e-2, "atol": 5e-3}}

_CONTESTANTS = [
    pytest.param(op, formula, id=f"{op.name}-{name}")
    for op in OPERATIONS
    for name, formula in [(GENKERN, op.genkern), *op.rivals.items()]
]


@pytest.mark.parametrize(("op", "formula"), _CONTESTANTS)
@pytest.mark.parametrize("shape", [(2, 4), (1, 1), (3, 4, 2, 2)], ids=str)
def test_every_contestant_runs_in_every_mode(op: Operation, formula: Formula, shape: tuple[int, ...]) -> None:
    inputs = op.make_inputs(_shape_for(op, shape), torch.float32)
    for mode in op.modes:
        outputs = step(formula, inputs, mode)()
        assert all(isinstance(y, Tensor) and y.isfinite().all() for y in outputs)  # type: ignore[attr-defined]


@pytest.mark.parametrize("dtype", OTHER_DTYPES, ids=dtype_name)
@pytest.mark.parametrize("op", OPERATIONS, ids=lambda op: op.name)
def test_every_contestant_of_another_dtype_runs_on_finite_inputs(op: Operation, dtype: torch.dtype) -> None:
    """Formulas as people write them may overflow in 16 bits; genkern does not."""
    for mode in op.modes:
        case = Case(op, "small", op.shapes["small"][-1], dtype, mode)
        inputs = op.make_inputs(case.shape, dtype)
        own: Any = step(op.genkern, inputs, mode)()
        assert all(y.isfinite().all() and y.dtype in (dtype, torch.float32) for y in own)
        for formula in case.rivals.values():
            others: Any = step(formula, inputs, mode)()
            assert [y.shape for y in others] == [y.shape for y in own]


@pytest.fixture(autouse=True)
def _as_rivals_are() -> Iterator[None]:
    """Without validation, which other libraries that are imported in this process turn on for all."""
    distribution = torch.distributions.Distribution
    before = distribution._validate_args
    distribution.set_default_validate_args(False)
    yield
    distribution.set_default_validate_args(before)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=dtype_name)
@pytest.mark.parametrize(("op", "formula"), _CONTESTANTS)
def test_contestants_compute_the_same(
    op: Operation, formula: Formula, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Samples are noise of the right law; losses and gradients are those of the sample that was drawn."""
    inputs = op.make_inputs(_shape_for(op, _SHAPE), dtype)
    outputs = formula(*inputs)
    if op.name == "random_normal":
        _check_standard_normal(outputs[0])
        return
    if op.name == "random_uniform":
        _check_standard_normal((outputs[0] - 0.5) * math.sqrt(12))
        assert outputs[0].min() >= 0 and outputs[0].max() < 1
        return
    if op.name == "ema_update_":
        _check_averages(formula, *inputs)
        return
    if op.name == "gumbel_softmax":
        _check_relaxed_sample(outputs[0], *inputs)
        return
    expected = op.rivals[EAGER](*inputs)
    assert [y.shape for y in outputs] == [y.shape for y in expected]
    if "rsample" in op.name:
        loc, logvar = _sampled_from(inputs)
        eps = ((outputs[0] - loc) / torch.exp(0.5 * logvar)).detach()
        _check_standard_normal(eps)
        with monkeypatch.context() as drawn:
            drawn.setattr(torch, "randn_like", lambda _: eps)
            expected = op.rivals[EAGER](*inputs)
    if op.name == "interpolate":
        real, fake = (x.detach() for x in inputs)
        eps = ((outputs[0].detach() - fake) / (real - fake)).median(dim=1, keepdim=True).values
        assert scipy.stats.kstest(eps.flatten().numpy(), "uniform").pvalue > 1e-4
        with monkeypatch.context() as drawn:
            drawn.setattr(torch, "rand", lambda *_, **__: eps)
            expected = op.rivals[EAGER](*inputs)
    leaves = [x for x in inputs if x.requires_grad]
    grads = [torch.randn_like(y) for y in expected]
    pairs = [
        *zip(outputs, expected, strict=True),
        *zip(torch.autograd.grad(outputs, leaves, grads), torch.autograd.grad(expected, leaves, grads), strict=True),
    ]
    for got, want in pairs:
        torch.testing.assert_close(got, want, **_TOLERANCES.get(op.name, _TOLERANCE))


@pytest.mark.parametrize("name", ["discrete_kl", "categorical_kl"])
def test_liger_kernel_is_measured_on_a_gpu_that_has_it(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its module is torch's with other kernels, which stands in for it here."""
    op = next(op for op in OPERATIONS if op.name == name)
    case = Case(op, "small", (3, 4, 5), torch.float32, "forward_backward", "cuda")
    assert (LIGER in case.rivals) == (importlib.util.find_spec("liger_kernel") is not None)
    assert LIGER not in dataclasses.replace(case, device="cpu").rivals
    stand_in = types.SimpleNamespace(LigerKLDIVLoss=torch.nn.KLDivLoss)
    monkeypatch.setitem(sys.modules, "liger_kernel", types.ModuleType("liger_kernel"))
    monkeypatch.setitem(sys.modules, "liger_kernel.transformers", stand_in)
    assert op.liger is not None
    inputs = op.make_inputs(case.shape, case.dtype)
    torch.testing.assert_close(op.liger(*inputs), op.rivals[EAGER](*inputs), **_TOLERANCE)


def test_a_step_is_captured_once_it_has_run_and_then_replayed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stand-ins for what only a GPU has, which say in what order they are used."""
    said: list[str] = []

    @contextlib.contextmanager
    def within(what: object) -> Iterator[None]:
        said.append(f"into {what}")
        yield
        said.append(f"out of {what}")

    class Stream(str):
        def wait_stream(self, other: str) -> None:
            said.append(f"{self} waits for {other}")

    class Graph:
        def __str__(self) -> str:
            return "graph"

        def replay(self) -> None:
            said.append("replay")

    monkeypatch.setattr(torch.cuda, "Stream", lambda: Stream("side"))
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: Stream("current"))
    monkeypatch.setattr(torch.cuda, "stream", within)
    monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
    monkeypatch.setattr(torch.cuda, "graph", within)
    measure.graphed(lambda: said.append("step"))()
    warm = ["side waits for current", "into side", "step", "step", "step", "out of side", "current waits for side"]
    assert said == [*warm, "into graph", "step", "out of graph", "replay"]


def _shape_for(op: Operation, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Of pairs, points before dimensions; the mixture of logistics has 100 channels of parameters."""
    if op.of_pairs:
        return (shape[0], *shape[:2])
    return (shape[0], 100, *(shape[2:] or (2, 2))) if op.name.startswith("discretized_logistic") else shape


def _check_averages(formula: Formula, averages: tuple[Tensor, ...], values: tuple[Tensor, ...]) -> None:
    expected = [a + (1 - EMA_DECAY) * (v - a) for a, v in zip(averages, values, strict=True)]
    updated = formula(averages, values)
    assert all(a is b for a, b in zip(updated, averages, strict=True))
    torch.testing.assert_close(list(updated), expected, **_TOLERANCE)


def _check_relaxed_sample(y: Tensor, logits: Tensor) -> None:
    """Noise is recovered up to a constant a row; a difference of two Gumbel variables is logistic."""
    noise = (torch.log(y) - logits).detach().double()
    left, right = noise.chunk(2, dim=1)
    assert scipy.stats.kstest((left - right).flatten().numpy(), "logistic").pvalue > 1e-4
    grad = torch.randn_like(y)
    expected = y * (grad - (grad * y).sum(dim=-1, keepdim=True))
    torch.testing.assert_close(torch.autograd.grad(y, logits, grad)[0], expected.detach(), **_TOLERANCE)


def _sampled_from(inputs: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
    """The location and log variance of a head's sample: the arguments, their halves, or prior + residual."""
    if len(inputs) == 4:
        return inputs[0] + inputs[2], inputs[1] + inputs[3]
    loc, logvar = inputs if len(inputs) == 2 else inputs[0].chunk(2, dim=1)
    return loc, logvar


@pytest.mark.parametrize("op", [op for op in OPERATIONS if op.family == "gan"], ids=lambda op: op.name)
def test_an_operation_of_gans_is_one_launch_forward_and_one_backward(op: Operation) -> None:
    inputs = op.make_inputs((8, 16) if op.name == "ema_update_" else (8, 16, 4, 4), torch.float32)
    for mode in op.modes:
        fused, eager = (launches.dispatched(step(f, inputs, mode)) for f in (op.genkern, op.rivals[EAGER]))
        assert fused == 1 + (mode != "forward") < eager


def test_bytes_per_element_count_each_input_and_output_once() -> None:
    nll = next(op for op in OPERATIONS if op.name == "gaussian_nll")
    assert Case(nll, "large", (8, 8), torch.float32, "forward").bytes_per_element == 12
    assert Case(nll, "large", (8, 8), torch.bfloat16, "forward_backward").bytes_per_element == 16


@pytest.mark.parametrize("op", OPERATIONS, ids=lambda op: op.name)
def test_every_operation_is_measured_in_every_dtype(op: Operation) -> None:
    """Other dtypes on a small and the largest shape, compiled on the largest; a quick run is of float32."""
    found = [case for case in cases(op.family) if case.op is op]
    assert len(set(map(str, found))) == len(found)
    for mode in op.modes:
        shapes = {dtype: [case for case in found if (case.dtype, case.mode) == (dtype, mode)] for dtype in DTYPES}
        assert [case.shape for case in shapes[torch.float32]] == [s for sizes in op.shapes.values() for s in sizes]
        assert all(case.compiles(quick=False) for case in shapes[torch.float32])
        for dtype in OTHER_DTYPES:
            small, large = shapes[dtype]
            assert small.shape == op.shapes["small"][-1] != (2, 4) and large.shape == op.shapes["large"][-1]
            assert large.numel == max(case.numel for case in found)
            assert (small.compiles(quick=False), large.compiles(quick=False)) == (False, True)
            assert not small.quick and not large.quick


def test_exponentials_are_of_the_dtype_that_computes() -> None:
    """Of float64 they take twice the room; 16 bits are computed in float32."""
    seen: list[torch.dtype] = []

    class Seen(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            if "exp" in func._schema.name:
                seen.append(args[0].dtype)
            return func(*args, **(kwargs or {}))

    for dtype in DTYPES:
        exponentials = measure.exponentials(dtype)
        with Seen():
            exponentials()
    assert seen == [torch.float32, torch.float64, torch.float32, torch.float32]


def test_a_gpu_is_measured_on_large_shapes_of_two_dtypes() -> None:
    for family in {op.family for op in OPERATIONS}:
        found = cases(family, "cuda")
        assert {case.device for case in found} == {"cuda"}
        large = [case for case in found if case.size == "large"]
        assert {case.dtype for case in large} == {torch.float32, torch.bfloat16}
        assert min(case.numel for case in large) >= 2**25
        assert {case.op.name for case in found if case.quick} == {op.name for op in OPERATIONS if op.family == family}
    assert any(len(case.shape) == 4 and case.size == "large" for case in cases("gaussian", "cuda"))


def _check_standard_normal(eps: Tensor) -> None:
    """Mean and variance within five standard errors; and no two draws alike."""
    n = eps.numel()
    assert abs(eps.mean().item()) < 5 / n**0.5
    assert abs(eps.var().item() - 1) < 5 * (2 / n) ** 0.5
    assert eps.unique().numel() > 0.99 * n
