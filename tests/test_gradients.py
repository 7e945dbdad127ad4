"""Derivatives: against finite differences, between the backends, and however autograd hands over what it has."""

import copy
import itertools
import sys
from collections.abc import Callable

import pytest
import torch
from support import matrix
from support.backends import BACKENDS, REFERENCE, Backend, oracle
from support.capture import Recorder
from support.cases import CASES, Case, Options, Tensors, evaluate
from support.inputs import LAYOUTS, Shape, cotangent, normal
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

import genkern as gk
from benchmarks.measure import peak_memory
from genkern._library import Operation

every_case = pytest.mark.parametrize("case", CASES, ids=str)
of_definition = pytest.mark.parametrize("backend", [REFERENCE], ids=str, indirect=True)
of_kernels = pytest.mark.parametrize("backend", [b for b in BACKENDS if b != REFERENCE], ids=str, indirect=True)


def small(case: Case, options: Options, dtype: torch.dtype = torch.float64, shape: Shape = (3, 2)) -> Tensors:
    tensors = case.inputs(shape, dtype, options.get("scale_param", "logvar"))
    if "eps" in tensors and "sample_shape" in options:
        tensors["eps"] = tensors["eps"].expand(*options["sample_shape"], *shape).clone()
    # At a mass of 0 there is no difference to the other side.
    return {name: t.masked_fill(t == 0, 0.01).requires_grad_() for name, t in tensors.items()}


def function_of(case: Case, tensors: Tensors, options: Options) -> Callable[..., tuple[Tensor, ...]]:
    return lambda *values: case(dict(zip(tensors, values, strict=True)), **options)


def text(options: Options) -> str:
    return "-".join(f"{name}={value}" for name, value in options.items()) or "default"


@matrix.covers("gradcheck")
@every_case
def test_first_derivatives_agree_with_finite_differences(case: Case, backend: Backend) -> None:
    for options in case.variants:
        tensors = small(case, options)
        assert gradcheck(function_of(case, tensors, options), tuple(tensors.values())), text(options)


@matrix.covers("gradgradcheck")
@every_case
@of_definition
def test_second_derivatives_agree_with_finite_differences(case: Case, backend: Backend) -> None:
    for options in case.variants:
        tensors = small(case, options, shape=(2, 2))
        assert gradgradcheck(function_of(case, tensors, options), tuple(tensors.values())), text(options)


@every_case
def test_gradients_of_every_variant_are_those_of_the_definition(case: Case, every_isa: Backend) -> None:
    for options in (*case.variants, *case.rescaled):
        tensors = case.inputs((3, 37), torch.float64, options.get("scale_param", "logvar"))
        result = evaluate(case, tensors, options)
        with oracle():
            expected = evaluate(case, tensors, options)
        for name, value in result.items():
            # Two float64 implementations of sums of up to 111 terms of order 1.
            torch.testing.assert_close(value, expected[name], rtol=1e-12, atol=1e-13, msg=f"{name}: {text(options)}")


@every_case
@of_kernels
def test_second_derivatives_of_every_variant_are_those_of_the_definition(case: Case, backend: Backend) -> None:
    def second(options: Options) -> list[Tensor]:
        tensors = small(case, options, shape=(3, 5))
        outputs = case(tensors, **options)
        first = torch.autograd.grad(
            outputs,
            list(tensors.values()),
            [cotangent(o, 9) for o in outputs],
            create_graph=True,
            materialize_grads=True,
        )
        total = sum((g * cotangent(g, 10)).sum() for g in first) + sum(0 * t.sum() for t in tensors.values())
        return list(torch.autograd.grad(total, list(tensors.values()), allow_unused=True, materialize_grads=True))

    for options in (*case.variants, *case.rescaled):
        result = second(options)
        with oracle():
            expected = second(options)
        for value, right in zip(result, expected, strict=True):
            torch.testing.assert_close(value, right, rtol=1e-12, atol=1e-13, msg=text(options))


@every_case
def test_a_gradient_is_computed_for_each_argument_alone(case: Case, backend: Backend) -> None:
    everything = evaluate(case, case.inputs((4, 3), torch.float64), {})
    for name in case.inputs((4, 3), torch.float64):
        tensors = case.inputs((4, 3), torch.float64)
        tensors[name].requires_grad_()
        outputs = case(tensors)
        assert all(o.requires_grad for o in outputs if o.grad_fn is not None)
        alone = torch.autograd.grad(
            [o for o in outputs if o.requires_grad],
            tensors[name],
            [cotangent(o, 100 + i) for i, o in enumerate(outputs) if o.requires_grad],
            materialize_grads=True,
        )[0]
        torch.testing.assert_close(alone, everything[f"gradient of {name}"], rtol=1e-14, atol=1e-15)


def _grads(case: Case, tensors: Tensors, cotangents: list[Tensor | None]) -> list[Tensor]:
    outputs = case(tensors)
    used = [o for o, g in zip(outputs, cotangents, strict=True) if g is not None]
    given = [g for g in cotangents if g is not None]
    return list(torch.autograd.grad(used, list(tensors.values()), given, allow_unused=True, materialize_grads=True))


@every_case
@pytest.mark.parametrize(
    "arriving",
    [
        pytest.param("expanded", marks=matrix.covers("gradients that arrive expanded")),
        *(
            pytest.param(layout, marks=matrix.covers("gradients that arrive non-contiguous"))
            for layout in ("transposed", "strided", "channels_last")
        ),
    ],
)
def test_gradients_may_arrive_in_any_layout(case: Case, backend: Backend, arriving: str) -> None:
    shape = (4, 6, 5, 3)
    tensors = small(case, {}, torch.float32, shape)
    outputs = case(tensors, **({"reduction": "none"} if case.reduces else {}))
    layouts: dict[str, Callable[[Tensor], Tensor]] = {
        "expanded": lambda t: t.flatten()[:1].view([1] * t.dim()).expand(t.shape),
        "transposed": lambda t: t.mT.contiguous().mT,
        "strided": lambda t: torch.stack((t, t), -1)[..., 0],
        "channels_last": LAYOUTS["channels_last"],
    }
    # A loss by sample has one dimension, which lies dense or apart.
    given = [
        layouts[arriving if o.dim() == 4 or arriving == "expanded" else "strided"](cotangent(o, 3)) for o in outputs
    ]
    leaves = list(tensors.values())
    result = torch.autograd.grad(outputs, leaves, given, retain_graph=True, materialize_grads=True)
    expected = torch.autograd.grad(outputs, leaves, [g.contiguous() for g in given], materialize_grads=True)
    for name, value, right in zip(tensors, result, expected, strict=True):
        # The order of sums, of terms of order 1, and fused rounding.
        torch.testing.assert_close(value, right, rtol=1e-6, atol=1e-6 * case.terms(name, shape))


@every_case
def test_a_gradient_of_a_row_loss_may_arrive_expanded_or_strided(case: Case, backend: Backend) -> None:
    tensors = small(case, {}, torch.float32, (4, 6))
    outputs = case(tensors)
    leaves = list(tensors.values())
    ones = torch.autograd.grad([o.sum() for o in outputs], leaves, retain_graph=True, materialize_grads=True)
    strided = [torch.ones(*o.shape, 2)[..., 0] for o in outputs]
    for value, right in zip(torch.autograd.grad(outputs, leaves, strided, materialize_grads=True), ones, strict=True):
        torch.testing.assert_close(value, right, rtol=1e-6, atol=1e-6)


@every_case
def test_an_output_that_is_not_used_has_no_share_in_the_gradient(case: Case, backend: Backend) -> None:
    tensors = small(case, {})
    cotangents = [cotangent(o, 5) for o in case(tensors)]
    for used in range(len(cotangents)):
        only = _grads(case, tensors, [g if i == used else None for i, g in enumerate(cotangents)])
        zeros = _grads(case, tensors, [g if i == used else torch.zeros_like(g) for i, g in enumerate(cotangents)])
        for value, right in zip(only, zeros, strict=True):
            torch.testing.assert_close(value, right, rtol=1e-14, atol=1e-15)


class _Undefined(torch.autograd.Function):
    """Passes its argument on, and no gradient back."""

    @staticmethod
    def forward(ctx: object, value: Tensor) -> Tensor:
        return value.clone()

    @staticmethod
    def backward(ctx: object, gradient: Tensor) -> None:
        return None


@matrix.covers("gradients that arrive undefined")
@every_case
def test_an_undefined_gradient_counts_as_zero(case: Case, backend: Backend) -> None:
    tensors = small(case, {})
    cotangents = [cotangent(o, 5) for o in case(tensors)]
    leaves = list(tensors.values())
    for undefined in range(len(cotangents)):
        outputs = [_Undefined.apply(o) if i == undefined else o for i, o in enumerate(case(tensors))]
        result = torch.autograd.grad(outputs, leaves, cotangents, allow_unused=True, materialize_grads=True)
        zeros = [torch.zeros_like(g) if i == undefined else g for i, g in enumerate(cotangents)]
        for value, right in zip(result, _grads(case, tensors, zeros), strict=True):
            torch.testing.assert_close(value, right, rtol=1e-14, atol=1e-15)


@matrix.covers("gradients that arrive 0-dim", except_={"minibatch_stddev": "has no 0-dim result"})
@pytest.mark.parametrize("case", [c for c in CASES if c.name != "minibatch_stddev"], ids=str)
def test_a_scalar_loss_takes_a_zero_dim_gradient(case: Case, backend: Backend) -> None:
    tensors = small(case, {}, torch.float32)
    for reduction in {"sum", "mean", "batchmean"}.intersection(case.reductions) if case.reduces else ():
        loss = case(tensors, reduction=reduction)[-1]
        rows = case(tensors, reduction="none")[-1]
        by_hand = {"sum": rows.sum(), "mean": rows.mean(), "batchmean": rows.sum() / 3}[reduction]
        leaves = list(tensors.values())
        got = torch.autograd.grad(loss * 3, leaves, allow_unused=True, materialize_grads=True)
        expected = torch.autograd.grad(by_hand * 3, leaves, allow_unused=True, materialize_grads=True)
        for value, right in zip(got, expected, strict=True):
            torch.testing.assert_close(value, right, rtol=2e-6, atol=2e-6)  # float32 sums in another order
    if not case.reduces and "loc" in tensors:  # a sample of classes has a dimension for them
        outputs = case({name: t[0, 0] if t.dim() else t for name, t in tensors.items()})
        assert outputs[0].dim() == 0
        name = next(iter(tensors))
        gradient = torch.autograd.grad(outputs[0], tensors[name])[0][0, 0]
        with oracle():
            expected = torch.autograd.grad(case({n: t[0, 0] for n, t in tensors.items()})[0], tensors[name])[0][0, 0]
        torch.testing.assert_close(gradient, expected, rtol=2e-7, atol=0)  # one rounding


@matrix.covers("backward twice", "inputs unchanged")
@every_case
def test_backward_runs_twice_with_the_same_result_and_leaves_its_inputs(case: Case, backend: Backend) -> None:
    tensors = small(case, {}, torch.float32, (5, 7))
    before = {name: t.detach().clone() for name, t in tensors.items()}
    outputs = case(tensors)
    values = copy.deepcopy([o.detach() for o in outputs])
    cotangents = [cotangent(o, 5) for o in outputs]
    leaves = list(tensors.values())
    first = torch.autograd.grad(outputs, leaves, cotangents, retain_graph=True)
    second = torch.autograd.grad(outputs, leaves, cotangents)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert all(torch.equal(a, b.detach()) for a, b in zip(values, outputs, strict=True))
    assert all(torch.equal(before[name], t) for name, t in tensors.items())
    assert all(torch.equal(g, cotangent(o, 5)) for g, o in zip(cotangents, outputs, strict=True))


@every_case
def test_gradients_have_the_dtype_and_shape_of_their_argument(case: Case, backend: Backend) -> None:
    for dtype in (torch.float64, torch.float32, torch.bfloat16, torch.float16):
        tensors = case.inputs((4, 6), dtype)
        result = evaluate(case, tensors, {})
        for name, t in tensors.items():
            gradient = result[f"gradient of {name}"]
            assert (gradient.dtype, gradient.shape) == (t.dtype, t.shape)


@pytest.mark.parametrize(
    "case", [c for c in CASES if len({t.shape for t in c.inputs((4, 4), torch.float64).values()}) == 1], ids=str
)
def test_one_tensor_may_be_given_for_every_argument(case: Case, backend: Backend) -> None:
    names = list(case.inputs((4, 4), torch.float64))
    if len(names) == 1:
        names = names * 2
    value = case.inputs((4, 4), torch.float64)[names[0]].requires_grad_()
    shared = case(dict.fromkeys(names, value))
    total = sum(o.sum() for o in shared)
    copies = {name: value.detach().clone().requires_grad_() for name in names}
    separate = sum(o.sum() for o in case(copies))
    got = torch.autograd.grad(total, value, allow_unused=True, materialize_grads=True)[0]
    parts = torch.autograd.grad(separate, list(copies.values()), allow_unused=True, materialize_grads=True)
    # x = loc, where the optimal scale is 0: -inf, with gradient 0
    torch.testing.assert_close(got, sum(parts), rtol=1e-13, atol=1e-14, equal_nan=True)


@every_case
def test_an_input_changed_in_place_before_backward_is_refused(case: Case, native: Backend) -> None:
    tensors = {name: t * 1 for name, t in small(case, {}).items()}
    outputs = case(tensors)
    needed = [t for t in tensors.values() if t.requires_grad]
    for t in needed:
        t.detach().add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        sum((o * o).sum() for o in outputs).backward()


@every_case
def test_a_device_without_kernels_takes_its_gradient_from_the_definition(case: Case, native: Backend) -> None:
    tensors = small(case, {}, torch.float64)
    outputs = [o for o in case(tensors) if o.requires_grad]
    with Recorder() as recorder:
        torch.autograd.grad([o.sum() for o in outputs], list(tensors.values()), allow_unused=True)
    backwards = [(op, args) for op, args, _ in recorder.calls if op._schema.name.endswith("_backward")]
    assert backwards
    families = (module for name, module in sys.modules.items() if name.startswith("genkern.functional."))
    operations = {o.name: o for family in families for o in vars(family).values() if isinstance(o, Operation)}
    for op, args in backwards:
        definition = operations[op._schema.name.removeprefix("genkern::").removesuffix("_backward")]._backward
        expected = op(*args)
        with torch._C._AutoDispatchBelowAutograd():  # as a kernel of the dispatcher runs
            result = definition(*args)
        for got, value in zip(*((r if isinstance(r, tuple) else (r,)) for r in (result, expected)), strict=True):
            assert (got is None) == (value is None)
            if got is not None:
                # float64: the same formula, summed in another order
                assert (got - value).abs().max() <= 1e-13 * max(1.0, float(value.abs().max()))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
@pytest.mark.parametrize("shape", [(40, 50, 60), (3, 100_003), (100_003, 3), (5, 7000, 4), (2, 2, 70_001)], ids=str)
def test_the_gradient_of_a_broadcast_argument_is_one_sum_for_every_number_of_threads(
    shape: tuple[int, ...], dtype: torch.dtype, native: Backend
) -> None:
    """Every subset of the dimensions, broadcast in front, behind and between."""
    x = normal(shape, 1, torch.float32)
    weights = normal(shape, 2, torch.float32)
    for kept in itertools.product([True, False], repeat=len(shape)):
        sizes = tuple(size if keep else 1 for size, keep in zip(shape, kept, strict=True))
        loc = normal(sizes, 3, dtype).requires_grad_()
        seen = []
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            elements = gk.gaussian_nll(x, loc, reduction="none")
            seen.append(torch.autograd.grad(elements, loc, weights.to(elements.dtype))[0])
        assert torch.equal(seen[0], seen[1])
        assert torch.equal(seen[0], seen[2])
        terms = weights.double() * (loc.detach().double() - x.double())
        exact = terms.sum_to_size(sizes)
        # Terms are rounded three times; within 512 of them sums are in float32.
        bound = torch.finfo(dtype).eps * exact.abs() + 2e-6 * (terms.square().sum_to_size(sizes).sqrt() + 1e-3)
        assert ((seen[0].double() - exact).abs() <= bound).all(), sizes


GENES = (256, 6003)


@pytest.mark.parametrize("options", [{}, {"event_ndim": 0}, {"event_ndim": 2}, {"reduction": "sum"}], ids=text)
@pytest.mark.parametrize("theta", [(), (6003,), (256, 1), (1, 6003)], ids=str)
def test_dispersions_of_genes_or_of_cells_have_one_gradient_for_every_number_of_threads(
    theta: Shape, options: Options, native: Backend
) -> None:
    """Parts of the cells have sums of their own, also where the mean is one for all cells besides."""
    x, mean = normal(GENES, 1, torch.float32).abs().floor(), normal(GENES, 2, torch.float32).exp()
    inverse_dispersion = normal(theta, 3, torch.float32).exp()

    def gradients(*values: Tensor) -> tuple[Tensor, ...]:
        leaves = [value.clone().requires_grad_() for value in values]
        return torch.autograd.grad(gk.negative_binomial_nll(x, *leaves, **options).sum(), leaves)

    for of_mean in (mean, mean[0]):
        seen = []
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            seen.append(gradients(of_mean, inverse_dispersion))
        for other in seen[1:]:
            assert all(torch.equal(a, b) for a, b in zip(seen[0], other, strict=True))
        of_elements = gradients(of_mean.expand(GENES), inverse_dispersion.expand(GENES))
        for terms, got in zip(of_elements, seen[0], strict=True):
            exact, spread = (t.double().sum_to_size(got.shape) for t in (terms, terms.square()))
            # Within 512 terms sums are in float32.
            assert ((got - exact).abs() <= 6e-8 * exact.abs() + 2e-6 * spread.sqrt()).all()


BROADCAST: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "negative_binomial_nll": lambda x, value: gk.negative_binomial_nll(x, x + 1, value.exp()),
    "bernoulli_nll": lambda x, value: gk.bernoulli_nll(x.clamp(max=1), value),
    "gaussian_nll": lambda x, value: gk.gaussian_nll(x, value, value),
    "gaussian_kl": lambda x, value: gk.gaussian_kl(value, value, x, x),
}


@pytest.mark.parametrize("sizes", [(), (4000,), (512, 1)], ids=str)
@pytest.mark.parametrize("op", BROADCAST)
def test_the_gradient_of_a_broadcast_argument_takes_no_tensor_of_all_elements(
    op: str, sizes: Shape, native: Backend
) -> None:
    x = normal((512, 4000), 1, torch.float32).abs().floor()
    value = normal(sizes, 2, torch.float32).requires_grad_()
    loss = BROADCAST[op](x, value)
    peak = peak_memory(lambda: torch.autograd.grad(loss.sum(), value, retain_graph=True))
    if peak is None:
        pytest.skip("the system does not tell a process its peak memory")
    assert peak < x.nbytes / 2
