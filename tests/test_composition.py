"""What torch does with an operation besides calling it: compile, transform, checkpoint, autocast, trace shapes."""

import itertools
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext

import pytest
import torch
import torch._dynamo.compiled_autograd
import torch._dynamo.testing
from support import matrix
from support.backends import AUTO, REFERENCE, Backend, oracle
from support.capture import genkern_calls
from support.cases import CASES, KEY, Case, Tensors
from support.covering import Covered
from support.inputs import Shape, cotangent, lay_out
from torch import Tensor
from torch.utils.checkpoint import checkpoint

import genkern as gk

every_case = pytest.mark.parametrize("case", CASES, ids=str)
sampling = pytest.mark.parametrize("case", [c for c in CASES if c.keyed], ids=str)


SAMPLER = "gaussian_rsample_kl"
DRAWS = {f"{case.op}.draw" for case in CASES if case.keyed}


def leaves(case: Case, dtype: torch.dtype = torch.float32, shape: tuple[int, ...] = (4, 6)) -> Tensors:
    return {name: t.requires_grad_() for name, t in case.inputs(shape, dtype).items()}


def detached(tensors: Tensors) -> Tensors:
    return {name: t.detach() for name, t in tensors.items()}


def grads(outputs: tuple[Tensor, ...], tensors: Tensors) -> tuple[Tensor, ...]:
    return torch.autograd.grad(
        outputs, list(tensors.values()), [cotangent(o, 2) for o in outputs], allow_unused=True, materialize_grads=True
    )


@matrix.covers("opcheck")
@every_case
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
def test_opcheck_passes(case: Case, native: Backend, dtype: torch.dtype) -> None:
    for options in (case.variants[0], case.variants[-1]):
        tensors = case.inputs((4, 6), dtype, options.get("scale_param", "logvar"))
        calls = genkern_calls(lambda tensors=tensors, options=options: case(tensors, **options))
        assert len(calls) == 1
        op, args, kwargs = calls[0]
        asked = [t.detach().requires_grad_() if _floating(t) else t for t in args]
        results = torch.library.opcheck(op, tuple(asked), kwargs)
        assert set(results.values()) == {"SUCCESS"}, results


def test_only_reserving_a_key_and_drawing_one_are_tagged_random() -> None:
    tagged = set()
    for name in torch._C._dispatch_get_all_op_names():
        if name.startswith("genkern::"):
            base, _, overload = name.removeprefix("genkern::").partition(".")
            op = getattr(getattr(torch.ops.genkern, base), overload or "default")
            if torch.Tag.nondeterministic_seeded in op.tags:
                tagged.add(name.removeprefix("genkern::"))
    assert tagged == {"key_reserve", "key_reserve_on", "key_reserve_cuda"} | DRAWS


STATIC, DYNAMIC = matrix.covers("torch.compile, static"), matrix.covers("torch.compile, dynamic")


@every_case
@pytest.mark.parametrize(
    ("chosen", "dynamic"),
    [
        pytest.param(AUTO, False, id="auto-static", marks=STATIC),
        pytest.param(AUTO, True, id="auto-dynamic", marks=DYNAMIC),
        pytest.param(REFERENCE, True, id="reference-dynamic", marks=DYNAMIC),
        pytest.param(REFERENCE, False, id="reference-static", marks=[STATIC, pytest.mark.full]),  # less to trace
    ],
    indirect=["chosen"],
)
def test_compiles_whole_without_a_graph_break(
    case: Case, chosen: Backend, dynamic: bool, request: pytest.FixtureRequest
) -> None:
    torch._dynamo.reset()
    defined = chosen == REFERENCE
    # The thousand steps of Philox, under symbolic shapes, take most of a definition's compilation: once is enough.
    noise_given = defined and dynamic and case.name != SAMPLER and not request.config.option.full
    compiled = torch.compile(
        lambda tensors, noise: case(tensors, **noise), fullgraph=True, dynamic=dynamic or None, backend="aot_eager"
    )
    shapes = [(9, 5), (4, 6), (11, 7)] if dynamic else [(4, 6)]  # sizes that are equal at first would share a symbol
    for shape in shapes:
        tensors = leaves(case, shape=shape)
        noise = case.noise(shape, torch.float32) if noise_given else {}
        expected = case(tensors, **noise)
        # Numbers in a definition are constants in the end: with this, from the beginning, not after a second start.
        with torch._dynamo.config.patch(specialize_float=True) if defined else nullcontext():
            result = compiled(tensors, noise)
        for value, right in zip(result, expected, strict=True):
            torch.testing.assert_close(value, right, rtol=2e-6, atol=2e-6)  # decomposed, float32 rounds elsewhere
        for value, right in zip(grads(result, tensors), grads(expected, tensors), strict=True):
            torch.testing.assert_close(value, right, rtol=1e-5, atol=2e-6)


@matrix.covers("no recompilation for other sizes")
@every_case
def test_dynamic_shapes_do_not_compile_anew(case: Case, native: Backend) -> None:
    torch._dynamo.reset()
    counter = torch._dynamo.testing.CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(lambda tensors: case(tensors), fullgraph=True, dynamic=True, backend=counter)
    compiled(case.inputs((9, 6), torch.float32))  # not as many rows as colours: sizes that are equal share a symbol
    first = counter.frame_count
    for rows in (4, 5, 17, 128):
        compiled(case.inputs((rows, 6), torch.float32))
    assert counter.frame_count == first


@matrix.covers("no recompilation for other keys")
@sampling
@pytest.mark.parametrize("chosen", [AUTO], ids=str, indirect=True)
def test_another_key_does_not_compile_anew(case: Case, chosen: Backend) -> None:
    torch._dynamo.reset()
    counter = torch._dynamo.testing.CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(lambda t, key: case(t, key=key), fullgraph=True, backend=counter)
    tensors = case.inputs((3, 6), torch.float64)
    compiled(tensors, gk.random.key(0))
    first = counter.frame_count
    for key in gk.random.split(KEY, 3):
        for value, right in zip(compiled(tensors, key), case(tensors, key=key), strict=True):
            torch.testing.assert_close(value, right, rtol=1e-12, atol=1e-13)
    assert counter.frame_count == first


@matrix.covers("torch.export")
@every_case
def test_an_exported_program_takes_other_batch_sizes(case: Case, chosen: Backend) -> None:
    class Program(torch.nn.Module):
        def forward(self, tensors: Tensors) -> tuple[Tensor, ...]:
            return case(tensors)

    def given(rows: int) -> Tensors:
        return case.inputs((rows, 6), torch.float64)

    shapes = {name: {0: torch.export.Dim.DYNAMIC} if t.shape[:1] == (4,) else {} for name, t in given(4).items()}
    exported = torch.export.export(Program(), (given(4),), dynamic_shapes=(shapes,))
    for rows in (4, 9):
        for value, right in zip(exported.module()(given(rows)), case(given(rows)), strict=True):
            torch.testing.assert_close(value, right, rtol=1e-12, atol=1e-13)


@pytest.mark.late
@pytest.mark.parametrize("name", ["gaussian_rsample_kl", "gaussian_nll"])
def test_inductor_compiles_it_inside_a_model(name: str, native: Backend) -> None:
    torch._dynamo.reset()
    (case,) = (c for c in CASES if c.name == name)

    def model(tensors: Tensors) -> tuple[Tensor, ...]:
        doubled = {name: t * 2 for name, t in tensors.items()}
        return tuple(o + 1 for o in case(doubled))

    tensors = leaves(case)
    expected = model(tensors)
    result = torch.compile(model, fullgraph=True)(tensors)
    for value, right in zip(result, expected, strict=True):
        torch.testing.assert_close(value, right, rtol=2e-6, atol=2e-6)
    for value, right in zip(grads(result, tensors), grads(expected, tensors), strict=True):
        torch.testing.assert_close(value, right, rtol=1e-5, atol=2e-6)


def test_a_compiled_region_draws_fresh_noise_and_manual_seed_reproduces_it(chosen: Backend) -> None:
    torch._dynamo.reset()
    compiled = torch.compile(lambda a, b: gk.gaussian_rsample(a, b), fullgraph=True, backend="aot_eager")
    loc, scale = torch.zeros(3, 4), torch.zeros(3, 4)
    torch.manual_seed(3)
    first, second = compiled(loc, scale), compiled(loc, scale)
    assert not torch.equal(first, second)
    torch.manual_seed(3)
    assert torch.equal(compiled(loc, scale), first)
    torch.manual_seed(3)
    assert torch.equal(gk.gaussian_rsample(loc, scale), first)


def test_changing_the_backend_compiles_anew(native: Backend) -> None:
    torch._dynamo.reset()
    counter = torch._dynamo.testing.CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(lambda s: gk.gaussian_entropy(s), fullgraph=True, backend=counter)
    scale = torch.randn(3, 4)
    result = compiled(scale)
    first = counter.frame_count
    with oracle():
        torch.testing.assert_close(compiled(scale), result)
    assert counter.frame_count > first
    second = counter.frame_count
    compiled(scale)
    assert counter.frame_count == second


@matrix.covers("meta tensors")
@every_case
def test_meta_tensors_give_shapes_and_dtypes(case: Case, chosen: Backend, covered: Covered) -> None:
    every_options = (*case.variants, *({"reduction": r} for r in ("none", "sum") if case.reduces))
    crossed = itertools.product(
        (torch.float64, torch.float32, torch.bfloat16), ("contiguous", "channels_last"), every_options
    )
    for how in covered([{"dtype": dtype, "layout": layout, **options} for dtype, layout, options in crossed]):
        options = {name: value for name, value in how.items() if name not in ("dtype", "layout")}
        tensors = case.inputs((2, 4, 3, 5), how["dtype"], options.get("scale_param", "logvar"))
        given = {name: lay_out(t, how["layout"]) for name, t in tensors.items()}
        real = case(given, **options)
        meta = case({name: t.to("meta") for name, t in given.items()}, **options)
        for a, b in zip(real, meta, strict=True):
            assert b.device.type == "meta"
            assert (a.shape, a.dtype) == (b.shape, b.dtype), options


@every_case
def test_fake_tensors_have_the_strides_of_real_ones(case: Case, native: Backend) -> None:
    for layout in (torch.contiguous_format, torch.channels_last):
        for options in ({}, {"reduction": "none"}) if case.reduces else ({},):
            tensors = case.inputs((2, 4, 3, 5), torch.float32)
            tensors = {n: t.contiguous(memory_format=layout) if t.dim() == 4 else t for n, t in tensors.items()}
            real = case(tensors, **options)
            with torch._subclasses.FakeTensorMode(allow_non_fake_inputs=True) as mode:
                fake = case({name: mode.from_tensor(t) for name, t in tensors.items()}, **options)
            assert [o.stride() for o in fake] == [o.stride() for o in real]


@matrix.covers("torch.func.grad")
@every_case
def test_func_grad_is_the_gradient(case: Case, chosen: Backend) -> None:
    tensors = leaves(case, torch.float64)
    expected = torch.autograd.grad(
        sum(o.sum() for o in case(tensors)), list(tensors.values()), allow_unused=True, materialize_grads=True
    )
    result = torch.func.grad(lambda t: sum(o.sum() for o in case(t)))(detached(tensors))
    for value, right in zip(result.values(), expected, strict=True):
        torch.testing.assert_close(value, right, rtol=1e-12, atol=1e-13)


def several_calls(case: Case, shape: Shape) -> tuple[Tensors, dict[str, int | None]]:
    """Inputs of `shape[0]` calls and the dimension of the calls in each: None in those that all calls share."""
    tensors = case.inputs(shape, torch.float64)
    axes = {name: 0 if t.dim() >= len(shape) and t.shape[0] == shape[0] else None for name, t in tensors.items()}
    if "eps" in axes and axes["eps"] is None:  # one number a row
        tensors["eps"] = tensors["eps"][: shape[1]]
    return tensors, axes


@matrix.covers("vmap")
@every_case
def test_vmap_is_a_loop_over_rows(case: Case, chosen: Backend) -> None:
    tensors, axes = several_calls(case, (5, 3, 4))
    result = torch.func.vmap(lambda t: case(t), in_dims=(axes,))(tensors)
    for row in range(5):
        expected = case({name: t if axes[name] is None else t[row] for name, t in tensors.items()})
        for value, right in zip(result, expected, strict=True):
            torch.testing.assert_close(value[row], right, rtol=1e-12, atol=1e-13)


@matrix.covers("per-sample gradients")
@every_case
def test_per_sample_gradients_come_from_vmap_of_grad(case: Case, chosen: Backend) -> None:
    tensors, axes = several_calls(case, (3, 2, 4))
    gradient = torch.func.grad(lambda t: sum(o.sum() for o in case(t)))
    result = torch.func.vmap(gradient, in_dims=(axes,))(tensors)
    for row in range(3):
        expected = gradient({name: t if axes[name] is None else t[row] for name, t in tensors.items()})
        for name, right in expected.items():
            torch.testing.assert_close(result[name][row], right, rtol=1e-12, atol=1e-13)


@matrix.covers("jvp")
@every_case
def test_jvp_agrees_with_the_gradient(case: Case, chosen: Backend) -> None:
    tensors = leaves(case, torch.float64)
    tangents = {name: cotangent(t, i) for i, (name, t) in enumerate(tensors.items())}
    values, directional = torch.func.jvp(lambda t: case(t), (detached(tensors),), (tangents,))
    outputs = case(tensors)
    for value, right in zip(values, outputs, strict=True):
        torch.testing.assert_close(value, right.detach(), rtol=1e-12, atol=1e-13)
    by_forward = sum((cotangent(o, 2) * d).sum() for o, d in zip(outputs, directional, strict=True))
    pairs = zip(grads(outputs, tensors), tangents.values(), strict=True)
    torch.testing.assert_close(by_forward, sum((g * t).sum() for g, t in pairs), rtol=1e-11, atol=1e-12)


@every_case
def test_the_native_backend_names_what_it_does_not_serve(case: Case, native: Backend) -> None:
    kernel = case.op.replace("log_prob", "nll")  # minus which it is
    tensors = case.inputs((3, 2), torch.float32)
    with pytest.raises(RuntimeError, match=f"'native' has no compiled kernel for {kernel}.* meta"):
        case({name: t.to("meta") for name, t in tensors.items()})
    with pytest.raises(RuntimeError, match=f"'native' has no compiled kernel for {kernel} under torch.func"):
        torch.func.grad(lambda t: case(t)[-1].sum())(tensors)


@every_case
def test_hessians_agree_with_autograd(case: Case, chosen: Backend) -> None:
    tensors = case.inputs((2, 2), torch.float64)
    name = next(iter(tensors))

    def total(value: Tensor) -> Tensor:
        return sum((o * o).sum() for o in case({**tensors, name: value}))

    by_func = torch.func.hessian(total)(tensors[name])
    by_autograd = torch.autograd.functional.hessian(total, tensors[name])
    torch.testing.assert_close(by_func, by_autograd, rtol=1e-11, atol=1e-11)


@sampling
@pytest.mark.parametrize(
    "given",
    [
        pytest.param("key", marks=matrix.covers("checkpointing, key given")),
        pytest.param("nothing", marks=matrix.covers("checkpointing, key drawn")),
    ],
)
@pytest.mark.parametrize("use_reentrant", [False, True])
def test_checkpointing_draws_the_same_sample_again(
    case: Case, backend: Backend, given: str, use_reentrant: bool
) -> None:
    source = {"key": KEY} if given == "key" else {"generator": None}
    samples = []

    def head(*values: Tensor) -> tuple[Tensor, ...]:
        outputs = case(dict(zip(tensors, values, strict=True)), **source)
        samples.append(outputs[0].detach().clone())
        return tuple(o * o for o in outputs)

    tensors = leaves(case)
    torch.manual_seed(4)
    direct = grads(head(*tensors.values()), tensors)
    torch.manual_seed(4)
    outputs = checkpoint(head, *tensors.values(), use_reentrant=use_reentrant)
    sum((o * cotangent(o, 2)).sum() for o in outputs).backward()
    assert len(samples) == 3
    assert torch.equal(samples[0], samples[1])
    assert torch.equal(samples[1], samples[2])
    for t, right in zip(tensors.values(), direct, strict=True):
        torch.testing.assert_close(t.grad, right, rtol=1e-6, atol=1e-6)


@matrix.covers("autocast")
@every_case
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
def test_autocast_leaves_arguments_and_losses_as_they_are(case: Case, backend: Backend, dtype: torch.dtype) -> None:
    tensors = leaves(case, dtype)
    expected = case(tensors)
    with torch.autocast(backend.device, torch.bfloat16):
        result = case(tensors)
    for kind, value, right in zip(case.outputs, result, expected, strict=True):
        assert value.dtype == (torch.float32 if kind == "loss" else dtype)
        assert torch.equal(value, right)
    for value, right in zip(grads(result, tensors), grads(expected, tensors), strict=True):
        assert torch.equal(value, right)


# Few and many rows, and elements that are data; all but the small ones are shared by threads, and cut where torch would
# cut a sum of 32768 elements.
SHARED = [(2, 16_501), (3, 40), (600, 64), (12_001, 3), (33_001,)]
SHARED_BY_CASE = [(case, shape) for case in CASES for shape in SHARED if len(shape) >= case.least_ndim]


@matrix.covers("the same bits in every run and for every number of threads")
@pytest.mark.parametrize(
    ("case", "shape"), SHARED_BY_CASE, ids=[f"{c}-{'x'.join(map(str, s))}" for c, s in SHARED_BY_CASE]
)
def test_runs_and_thread_counts_give_the_same_bits(case: Case, shape: Shape, every_isa: Backend) -> None:
    seen = []
    for threads in (1, 2, 2):
        torch.set_num_threads(threads)
        tensors = leaves(case, shape=shape)
        outputs = case(tensors, **({"reduction": case.reductions[-1]} if case.reduces and shape[1:] == (40,) else {}))
        seen.append([*outputs, *grads(outputs, tensors)])
    depends = every_isa.mode == "reference"  # plain torch's own sums depend on the number of threads
    for one, other in [(1, 2)] if depends else [(0, 1), (1, 2)]:
        assert all(torch.equal(a, b) for a, b in zip(seen[one], seen[other], strict=True))


@matrix.covers("deterministic algorithms")
@every_case
def test_deterministic_algorithms_are_accepted(case: Case, backend: Backend) -> None:
    tensors = leaves(case)
    expected = grads(case(tensors), tensors)
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    try:
        result = grads(case(tensors), tensors)
    finally:
        torch.use_deterministic_algorithms(before)
    assert all(torch.equal(a, b) for a, b in zip(result, expected, strict=True))


@every_case
def test_no_grad_and_inference_mode_give_the_same_values(case: Case, backend: Backend) -> None:
    tensors = leaves(case)
    expected = case(tensors)
    for context in (torch.no_grad(), torch.inference_mode()):
        with context:
            result = case(tensors)
        for value, right in zip(result, expected, strict=True):
            assert not value.requires_grad
            assert torch.equal(value, right)


def test_calls_from_several_threads_do_not_disturb_each_other(backend: Backend) -> None:
    loc, scale = torch.randn(2, 64, 100).unbind()
    keys = gk.random.split(KEY, 32)
    expected = [gk.gaussian_rsample_kl(loc, scale, key=k) for k in keys]
    with ThreadPoolExecutor(4) as pool:
        result = list(pool.map(lambda k: gk.gaussian_rsample_kl(loc, scale, key=k), keys))
    for (z, kl), (right_z, right_kl) in zip(result, expected, strict=True):
        assert torch.equal(z, right_z)
        torch.testing.assert_close(kl, right_kl, rtol=1e-6, atol=0)  # the reference's sums depend on threads


def _floating(value: object) -> bool:
    return isinstance(value, Tensor) and value.is_floating_point()


@every_case
def test_compiled_autograd_takes_the_gradient(case: Case, native: Backend) -> None:
    tensors = leaves(case, torch.float64)
    expected = grads(case(tensors), tensors)
    torch._dynamo.reset()
    outputs = case(tensors)
    with torch._dynamo.compiled_autograd._enable(torch.compile(backend="aot_eager", dynamic=True)):
        torch.autograd.backward(outputs, [cotangent(o, 2) for o in outputs])
    for tensor, right in zip(tensors.values(), expected, strict=True):
        torch.testing.assert_close(tensor.grad, right, rtol=1e-12, atol=1e-13)
