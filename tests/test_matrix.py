"""Every operation × backend × dtype × shape × layout × reduction × unit, forward and backward, against float64."""

import math
from collections.abc import Iterable

import pytest
import torch
from support import matrix
from support.backends import EVERY_ISA, Backend, oracle
from support.cases import CASES, Case, Options, Tensors, evaluate, evaluate_oracle
from support.covering import Covered
from support.inputs import DTYPES, EXTREMES, LAYOUTS, SHAPES, Shape, fits, lay_out, numel
from support.tolerance import assert_as_accurate, assert_same_class
from torch import Tensor

every_case = pytest.mark.parametrize("case", CASES, ids=str)
LARGE = (2, 60013)
OF_CHANNELS = [case.name for case in CASES if case.least_ndim]
BY_EVENT = [case for case in CASES if case.reduces and case.units]  # the others: tests/test_gan.py


def text(value: object) -> str:
    return "x".join(map(str, value)) if isinstance(value, tuple) else str(value).removeprefix("torch.")


def some_loss(case: Case, *place: object) -> Options:
    """A reduction and a unit for this place in the matrix, so that all of them occur all over it."""
    return case.losses[sum(map(ord, repr(place))) % len(case.losses)] if case.reduces else {}


def check(case: Case, tensors: Tensors, shape: Shape, dtype: torch.dtype, options: Options) -> None:
    """Outputs and gradients are as accurate as plain torch's."""
    result = evaluate(case, tensors, options)
    options = {**options, **case.noise(shape, dtype)}
    with oracle():
        plain = evaluate(case, tensors, options)
    expected = evaluate_oracle(case, tensors, options, [result[n].dtype for n in result if not n.startswith("grad")])
    for name, value in result.items():
        wide = torch.float64 if dtype == torch.float64 else torch.float32
        assert value.dtype == (wide if name.startswith("loss") else dtype), name
        terms = case.terms(name.removeprefix("gradient of "), shape) if name.startswith("gradient") else 1
        assert_as_accurate(name, value, expected[name], plain[name], terms)


def every_case_of(shapes: Iterable[Shape], cases: Iterable[Case] = CASES) -> pytest.MarkDecorator:
    """Cases × shapes, but for operations that need a channel dimension behind the batch and shapes without one."""

    def fit(case: Case, shape: Shape) -> bool:
        return len(shape) >= case.least_ndim and not (case.op.endswith("_packed") and shape[1] == 0)

    pairs = [(case, shape) for shape in shapes for case in cases if fit(case, shape)]
    return pytest.mark.parametrize(("case", "shape"), pairs, ids=[f"{case}-{text(shape)}" for case, shape in pairs])


@matrix.covers("accuracy against float64", "shapes", "dtypes")
@pytest.mark.parametrize("dtype", DTYPES, ids=text)
@every_case_of(s for s in SHAPES if s != LARGE)
def test_results_and_gradients_are_as_accurate_as_plain_torch(
    case: Case, backend: Backend, dtype: torch.dtype, shape: Shape
) -> None:
    check(case, case.inputs(shape, dtype), shape, dtype, some_loss(case, dtype, shape))


@every_case
def test_long_rows_split_over_threads_are_as_accurate(case: Case, backend: Backend) -> None:
    dtype = DTYPES[CASES.index(case) % len(DTYPES)]
    check(case, case.inputs(LARGE, dtype), LARGE, dtype, some_loss(case, "large"))


@matrix.covers("every instruction set")
@pytest.mark.parametrize("backend", EVERY_ISA[1:], ids=str, indirect=True)
@every_case_of(s for s in SHAPES if s != LARGE)
def test_every_instruction_set_is_as_accurate_as_plain_torch(case: Case, backend: Backend, shape: Shape) -> None:
    dtype = DTYPES[sum(shape) % 2]
    check(case, case.inputs(shape, dtype), shape, dtype, some_loss(case, backend, shape))


@matrix.covers("layouts")
@every_case
@pytest.mark.parametrize(
    ("shape", "layout"),
    [(s, layout) for s in [(7, 3), (5, 130), (3, 4, 16, 16), (2, 4, 3, 5, 2)] for layout in LAYOUTS if fits(layout, s)],
    ids=text,
)
def test_every_memory_layout_gives_the_same_accuracy(case: Case, backend: Backend, layout: str, shape: Shape) -> None:
    dtype = DTYPES[sum(map(ord, layout)) % len(DTYPES)]
    tensors = {name: lay_out(t, layout) for name, t in case.inputs(shape, dtype).items()}
    check(case, tensors, shape, dtype, some_loss(case, layout, shape))


@every_case
def test_arguments_may_lie_in_different_layouts(case: Case, backend: Backend) -> None:
    shape = (3, 4, 6, 6)
    layouts = ["channels_last", "contiguous", "chunk", "transposed", "expanded"]
    tensors = {
        name: lay_out(t, layout)
        for (name, t), layout in zip(case.inputs(shape, torch.float32).items(), layouts, strict=False)
    }
    check(case, tensors, shape, torch.float32, some_loss(case, "layouts"))


@every_case
def test_the_memory_layout_does_not_change_a_sample_or_an_elementwise_loss(case: Case, backend: Backend) -> None:
    shape = (2, 4, 6, 6)
    tensors = case.inputs(shape, torch.float32)
    options = {"reduction": "none"} if case.reduces else {}
    expected = case(tensors, **options)
    for layout in LAYOUTS:
        if layout == "expanded":
            continue  # holds other values
        result = case({name: lay_out(t, layout) for name, t in tensors.items()}, **options)
        for value, wanted in zip(result, expected, strict=True):
            close = 2e-7 if value.dim() == len(shape) else 1e-6  # one rounding, or a sum in another order
            torch.testing.assert_close(value, wanted, rtol=close, atol=close)


@matrix.covers("reductions and units")
@pytest.mark.parametrize("case", BY_EVENT, ids=str)
@pytest.mark.parametrize("event_ndim", [None, 0, 1, 2, 4])
def test_reductions_are_sums_and_means_of_the_elements(case: Case, backend: Backend, event_ndim: int | None) -> None:
    for options in case.losses:
        check_reduction(case, event_ndim=event_ndim, **options)


def every_reduction(case: Case, ndim: int) -> list[Options]:
    """Every way to reduce the elements of a shape of so many dimensions."""
    if not case.units:
        return [*case.losses, {}]
    return [{**options, "event_ndim": n} for options in case.losses for n in range(ndim + 1)]


def check_reduction(case: Case, reduction: str, units: str, event_ndim: int | None) -> None:
    shape = (3, 4, 5, 2)
    tensors = case.inputs(shape, torch.float64)
    elements = case(tensors, reduction="none")[-1]
    loss = case(tensors, reduction=reduction, units=units, event_ndim=event_ndim)[-1]
    event = 3 if event_ndim is None else event_ndim
    event_numel = numel(shape[len(shape) - event :])
    rows = elements.reshape(*shape[: len(shape) - event], event_numel).sum(-1)
    expected = {
        "none": elements,
        "event": rows,
        "sum": elements.sum(),
        "mean": elements.mean(),
        "batchmean": rows.mean(),
    }[reduction]
    if units != "nats":
        expected = expected / math.log(2)
    if units == "bits_per_dim":
        expected = expected / case.values / (1 if reduction in ("none", "mean") else event_numel)
    assert loss.shape == expected.shape
    torch.testing.assert_close(loss, expected, rtol=1e-14, atol=1e-13)  # sums of up to 120 values of order 1


@matrix.covers("empty batches")
@every_case_of([(0, 8), (0,), (4, 3, 0), (0, 3, 2, 2)], [c for c in CASES if c in BY_EVENT or not c.reduces])
def test_empty_batches_give_empty_losses_zero_sums_and_nan_means(case: Case, backend: Backend, shape: Shape) -> None:
    tensors = case.inputs(shape, DTYPES[len(shape) % len(DTYPES)])
    if not case.reduces:
        assert case(tensors)[0].shape == case.result_shape(shape)
        return
    assert case(tensors, reduction="none")[-1].shape == shape
    event = case(tensors, reduction="event")[-1]
    assert event.shape == shape[:1]
    if case.name != "gaussian_nll-optimal":  # its scale is a mean over nothing
        assert case(tensors, reduction="sum")[-1] == 0
        assert (event == 0).all()
    assert case(tensors, reduction="mean")[-1].isnan()
    if 0 in shape[:1]:
        assert case(tensors, reduction="batchmean")[-1].isnan()


@matrix.covers("empty batches")
@every_case_of([(0, 8), (0,), (4, 3, 0), (4, 0, 3), (0, 3, 2, 2), (2, 3, 0, 5), (2, 3, 4, 0), (1, 0, 1)])
def test_an_empty_tensor_has_the_results_and_gradients_of_the_definition(
    case: Case, backend: Backend, shape: Shape, covered: Covered
) -> None:
    dtype = DTYPES[sum(shape) % len(DTYPES)]
    tensors = case.inputs(shape, dtype)
    for options in covered(every_reduction(case, len(shape))):
        result = evaluate(case, tensors, options)
        with oracle():
            expected = evaluate(case, tensors, {**options, **case.noise(shape, dtype)})
        for name, value in result.items():
            assert value.dtype == expected[name].dtype, name
            torch.testing.assert_close(value, expected[name], rtol=0, atol=0, equal_nan=True, msg=f"{name}: {options}")


@matrix.covers("0-dim", except_=dict.fromkeys(OF_CHANNELS, "has a dimension of channels"))
@every_case_of([()])
def test_scalars_are_data_without_an_event(case: Case, backend: Backend, shape: Shape) -> None:
    check(case, case.inputs(shape, torch.float32), shape, torch.float32, {})


@every_case
def test_the_usual_formula_is_no_more_accurate(case: Case, every_isa: Backend) -> None:
    shape = (64, 257)
    tensors = case.inputs(shape, torch.float32)
    result = case(tensors, **({"reduction": "none"} if case.reduces else {}))
    noise = case.noise(shape, torch.float32)
    usual = case.plain(tensors, **noise)
    wide = {name: v.double() for name, v in noise.items()}
    with oracle():
        expected = case(
            {name: t.double() for name, t in tensors.items()}, **wide, **({"reduction": "none"} if case.reduces else {})
        )
    for kind, value, right, written in zip(case.outputs, result, expected, usual, strict=True):
        assert_as_accurate(kind, value, right, written)


@matrix.covers("every option")
@every_case
def test_variants_are_as_accurate_as_plain_torch(case: Case, every_isa: Backend) -> None:
    for options in (*case.variants, *case.rescaled):
        scale_param = options.get("scale_param", "logvar")
        shape = (6, 21)
        tensors = case.inputs(shape, torch.float32, scale_param)
        result = evaluate(case, tensors, options)
        placed = {name: options[name] for name in ("sample_shape", "element_offset") if name in options}
        noise = case.noise(shape, torch.float32, **placed)
        given = {**options, **noise}
        with oracle():
            plain = evaluate(case, tensors, given)
        expected = evaluate_oracle(case, tensors, given, [result[n].dtype for n in result if not n.startswith("grad")])
        for name, value in result.items():
            terms = case.terms(name.removeprefix("gradient of "), shape) if name.startswith("gradient") else 1
            assert_as_accurate(f"{name} with {options}", value, expected[name], plain[name], terms)


@matrix.covers("extreme values")
@every_case
def test_extreme_values_are_infinite_or_nan_as_the_definition_says(case: Case, every_isa: Backend) -> None:
    shape = (32, 32)
    values = torch.tensor(EXTREMES)
    for turn in range(2):  # any two arguments take any two extremes somewhere
        tensors = {}
        for i, (name, t) in enumerate(case.inputs(shape, torch.float32).items()):
            numbers = torch.Generator().manual_seed(10 * turn + i)
            places = torch.randint(len(values), t.shape, generator=numbers).to(values.device)
            tensors[name] = values[places if t.dim() else 7 + 7 * turn]  # 200 and -inf
            if case.op == "interpolate" and name == "eps":
                tensors[name] = t  # a share of 1: beyond it products cancel that no float holds
        for output in range(len(case.outputs)):
            check_extremes(case, tensors, shape, output)


def check_extremes(case: Case, tensors: Tensors, shape: Shape, output: int) -> None:
    """Values and gradients of one output: several might add infinities of both signs."""
    options = {"reduction": "none"} if case.reduces else {}
    given = {**options, **case.noise(shape, torch.float32)}

    def results(tensors: Tensors, options: Options) -> Tensors:
        leaves = {name: t.detach().requires_grad_() for name, t in tensors.items()}
        value = case(leaves, **options)[output]
        ones = torch.ones_like(value)
        grads = torch.autograd.grad(value, list(leaves.values()), ones, allow_unused=True, materialize_grads=True)
        return {"output": value, **{f"gradient of {n}": g for n, g in zip(leaves, grads, strict=True)}}

    result = results(tensors, options)
    with oracle():
        plain = results(tensors, given)
        wide = {name: v.double() if name == "eps" else v for name, v in given.items()}
        exact = results({name: t.double() for name, t in tensors.items()}, wide)
    for name, value in result.items():
        value, wanted, rounded = value.detach(), plain[name].detach(), exact[name].detach().to(value.dtype)
        # Where plain torch overflows on the way to a number that is not too large, the number is right, too.
        wanted = torch.where(kind(rounded) == kind(value), rounded, wanted)
        if name.startswith("gradient"):
            # Beyond numbers the two may differ: 0 * inf and sums of overflows on one way, a limit on the other. So a
            # kernel's gradient is a number wherever the definition's is, and an infinity never has the other sign.
            opposite = kind(value) + kind(wanted) == 0
            wanted = torch.where(wanted.isfinite() | opposite, wanted, value)
        assert_same_class(name, value, wanted)


def kind(x: Tensor) -> Tensor:
    """0 for numbers, 1 and -1 for infinities, 2 for nan."""
    return torch.where(x.isnan(), 2, torch.where(x.isinf(), x.sign(), 0))
