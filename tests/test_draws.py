"""Calls without noise of their own draw a key as they run: that composes with torch as the operation itself does."""

from collections.abc import Callable

import pytest
import torch
import torch._dynamo.testing
from support import matrix
from support.backends import AUTO, Backend
from support.capture import genkern_calls
from support.cases import CASES, Case, Tensors
from support.inputs import cotangent, lay_out
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck
from torch.utils.checkpoint import checkpoint

import genkern as gk

drawing = pytest.mark.parametrize("case", [c for c in CASES if c.keyed], ids=str)


def draw(case: Case, tensors: Tensors, seed: int | None = None) -> tuple[Tensor, ...]:
    if seed is not None:
        torch.manual_seed(seed)
    return case(tensors, generator=None)


def leaves(case: Case, dtype: torch.dtype = torch.float64, shape: tuple[int, ...] = (4, 6)) -> Tensors:
    return {name: t.requires_grad_() for name, t in case.inputs(shape, dtype).items()}


def detached(tensors: Tensors) -> Tensors:
    return {name: t.detach() for name, t in tensors.items()}


def grads(outputs: tuple[Tensor, ...], tensors: Tensors) -> tuple[Tensor, ...]:
    return torch.autograd.grad(outputs, list(tensors.values()), [cotangent(o, 2) for o in outputs])


def assert_all_close(results: object, expected: object) -> None:
    # float64: the definition and the kernels sum in another order
    torch.testing.assert_close(results, expected, rtol=1e-12, atol=1e-13)


@matrix.covers("the overload draw")
@drawing
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
def test_opcheck_passes_for_the_draw(case: Case, native: Backend, dtype: torch.dtype) -> None:
    tensors = case.inputs((4, 6), dtype)
    ((op, args, kwargs),) = genkern_calls(lambda: draw(case, tensors))
    assert op._overloadname == "draw"
    asked = [t.detach().requires_grad_() if isinstance(t, Tensor) else t for t in args]
    assert set(torch.library.opcheck(op, tuple(asked), kwargs).values()) == {"SUCCESS"}


@matrix.covers("the overload draw")
@drawing
def test_derivatives_of_a_draw_agree_with_finite_differences(case: Case, backend: Backend) -> None:
    tensors = leaves(case, shape=(2, 2))

    def seeded(*values: Tensor) -> tuple[Tensor, ...]:
        return draw(case, dict(zip(tensors, values, strict=True)), seed=3)

    assert gradcheck(seeded, tuple(tensors.values()))
    assert gradgradcheck(seeded, tuple(tensors.values()))


@matrix.covers("the overload draw")
@drawing
@pytest.mark.parametrize("chosen", [AUTO], ids=str, indirect=True)
@pytest.mark.parametrize("dynamic", [False, True], ids=["static", "dynamic"])
def test_a_compiled_draw_is_fresh_and_what_the_same_seed_draws_uncompiled(
    case: Case, chosen: Backend, dynamic: bool
) -> None:
    torch._dynamo.reset()
    counter = torch._dynamo.testing.CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(lambda t: draw(case, t), fullgraph=True, dynamic=dynamic or None, backend=counter)
    compiled(leaves(case))
    compilations = counter.frame_count
    for rows in (4, 9, 17) if dynamic else (4,):
        tensors = leaves(case, shape=(rows, 6))
        torch.manual_seed(3)
        first, second = compiled(tensors), compiled(tensors)
        assert not torch.equal(first[0], second[0])
        expected = draw(case, tensors, seed=3)
        assert_all_close(first, expected)
        assert_all_close(grads(first, tensors), grads(expected, tensors))
    assert counter.frame_count == compilations


@matrix.covers("no recompilation for keys that are drawn")
@drawing
@pytest.mark.parametrize("chosen", [AUTO], ids=str, indirect=True)
def test_other_seeds_and_generators_do_not_compile_anew(case: Case, chosen: Backend) -> None:
    torch._dynamo.reset()
    counter = torch._dynamo.testing.CompileCounterWithBackend("aot_eager")
    # Torch takes no generator into a graph, of its own functions neither: the graph ends before the draw.
    compiled = torch.compile(lambda t, generator: case(t, generator=generator), backend=counter)
    tensors = case.inputs((4, 6), torch.float64)
    generators = [torch.Generator().manual_seed(seed) for seed in (1, 2, 3)]
    for sources in ([None] * 3, generators):
        compilations = []
        for seed, generator in enumerate(sources):
            source = torch.default_generator if generator is None else generator
            source.manual_seed(seed)
            result = compiled(tensors, generator)
            source.manual_seed(seed)
            assert_all_close(result, case(tensors, generator=generator))
            compilations.append(counter.frame_count)
        assert compilations == compilations[:1] * 3


@matrix.covers("the overload draw")
@drawing
def test_an_exported_draw_is_fresh_at_each_run_and_takes_other_batch_sizes(case: Case, chosen: Backend) -> None:
    class Head(torch.nn.Module):
        def forward(self, tensors: Tensors) -> tuple[Tensor, ...]:
            return draw(case, tensors)

    tensors = case.inputs((4, 6), torch.float64)
    exported = torch.export.export(
        Head(), (tensors,), dynamic_shapes=({name: {0: torch.export.Dim.DYNAMIC} for name in tensors},)
    )
    for rows in (4, 9):
        given = case.inputs((rows, 6), torch.float64)
        torch.manual_seed(3)
        first, second = (exported.module()(given) for _ in range(2))
        assert not torch.equal(first[0], second[0])
        assert_all_close(first, draw(case, given, seed=3))


@matrix.covers("the overload draw")
@drawing
def test_vmap_draws_as_its_randomness_says(case: Case, chosen: Backend) -> None:
    tensors = case.inputs((5, 3, 4), torch.float64)

    def mapped(randomness: str, f: Callable[[Tensors], object] = lambda t: draw(case, t)) -> tuple[Tensor, ...]:
        torch.manual_seed(3)
        return torch.func.vmap(f, randomness=randomness)(tensors)

    with pytest.raises(RuntimeError, match="randomness error mode"):
        mapped("error")
    rows = [{name: t[row] for name, t in tensors.items()} for row in range(5)]
    same = [draw(case, t, seed=3) for t in rows]
    different = [draw(case, t, seed=3 if i == 0 else None) for i, t in enumerate(rows)]
    assert_all_close(mapped("same"), tuple(map(torch.stack, zip(*same, strict=True))))
    assert_all_close(mapped("different"), tuple(map(torch.stack, zip(*different, strict=True))))
    assert not torch.equal(mapped("different")[0], mapped("same")[0])
    # a gradient for each row, whose noise is its own
    gradient = torch.func.grad(lambda t: sum((o * o).sum() for o in draw(case, t)))
    torch.manual_seed(3)
    expected = [gradient(t) for t in rows]
    assert_all_close(mapped("different", gradient), {n: torch.stack([e[n] for e in expected]) for n in tensors})


@matrix.covers("the overload draw")
@drawing
def test_transforms_of_a_draw_are_those_of_the_same_seed(case: Case, chosen: Backend) -> None:
    tensors = leaves(case)
    expected = draw(case, tensors, seed=3)
    tangents = {name: cotangent(t, i) for i, (name, t) in enumerate(tensors.items())}
    torch.manual_seed(3)
    values, directional = torch.func.jvp(lambda t: draw(case, t), (detached(tensors),), (tangents,))
    assert_all_close(values, tuple(o.detach() for o in expected))
    torch.manual_seed(3)
    values, pull_back = torch.func.vjp(lambda t: draw(case, t), detached(tensors))
    assert_all_close(values, tuple(o.detach() for o in expected))
    (pulled,) = pull_back(tuple(cotangent(o, 2) for o in expected))
    assert_all_close(tuple(pulled.values()), grads(expected, tensors))
    by_forward = sum((cotangent(o, 2) * d).sum() for o, d in zip(expected, directional, strict=True))
    assert_all_close(by_forward, sum((pulled[name] * t).sum() for name, t in tangents.items()))
    torch.manual_seed(3)
    jacobian = torch.func.jacrev(lambda t: draw(case, t)[0])(detached(tensors))
    pushed = sum(torch.tensordot(jacobian[name], t, t.dim()) for name, t in tangents.items())
    assert_all_close(pushed, directional[0])


@matrix.covers("the overload draw")
@drawing
def test_meta_and_fake_tensors_draw_nothing_and_have_the_shapes_of_real_ones(case: Case, chosen: Backend) -> None:
    for layout in ("contiguous", "channels_last"):
        tensors = {name: lay_out(t, layout) for name, t in case.inputs((2, 4, 3, 5), torch.float32).items()}
        real = draw(case, tensors, seed=3)
        meta = draw(case, {name: t.to("meta") for name, t in tensors.items()})
        with torch._subclasses.FakeTensorMode() as mode:
            fake = draw(case, {name: mode.from_tensor(t) for name, t in tensors.items()})
        if chosen.mode != "reference":  # whose strides follow another order of operations under a fake tensor
            assert [o.stride() for o in fake] == [o.stride() for o in real]
        for other in (meta, fake):
            assert [(o.shape, o.dtype) for o in other] == [(o.shape, o.dtype) for o in real]
        assert {o.device.type for o in meta} == {"meta"}
    after = draw(case, tensors)
    draw(case, tensors, seed=3)
    assert torch.equal(draw(case, tensors)[0], after[0])  # the generator is where the one real draw left it


@matrix.covers("the overload draw")
@drawing
def test_autocast_leaves_a_draw_as_it_is(case: Case, backend: Backend) -> None:
    for dtype in (torch.float32, torch.bfloat16):
        tensors = case.inputs((4, 6), dtype)
        expected = draw(case, tensors, seed=3)
        with torch.autocast(backend.device, torch.bfloat16):
            result = draw(case, tensors, seed=3)
        assert all(torch.equal(a, b) and a.dtype == b.dtype for a, b in zip(result, expected, strict=True))


@matrix.covers("the overload draw")
@drawing
def test_a_checkpoint_that_leaves_the_generator_alone_draws_anew(case: Case, backend: Backend) -> None:
    seen = []

    def head(*values: Tensor) -> Tensor:
        z = draw(case, dict(zip(tensors, values, strict=True)))[0]
        seen.append(z.detach().clone())
        return z * z

    tensors = leaves(case)
    for preserve in (True, False):
        seen.clear()
        checkpoint(head, *tensors.values(), use_reentrant=False, preserve_rng_state=preserve).sum().backward()
        assert torch.equal(*seen) == preserve


@matrix.covers("vmap", of=["random.reserve"])
def test_reserving_a_key_composes_as_a_draw_does(chosen: Backend) -> None:
    def reserved(randomness: str, generator: torch.Generator | None = None) -> Tensor:
        return torch.func.vmap(lambda _: gk.random.reserve(generator), randomness=randomness)(torch.zeros(3))

    with pytest.raises(RuntimeError, match="randomness error mode"):
        reserved("error")
    for generator in (None, torch.Generator()):
        source = torch.default_generator if generator is None else generator
        keys = []
        for _ in range(3):
            source.manual_seed(1)
            keys.append([gk.random.reserve(generator) for _ in range(3)])
        source.manual_seed(1)
        assert torch.equal(reserved("different", generator), torch.stack(keys[0]))
        source.manual_seed(1)
        assert torch.equal(reserved("same", generator), torch.stack([keys[1][0]] * 3))
    rows = torch.func.vmap(lambda key: gk.random.normal(key, (2,)))(torch.stack(keys[2]))
    torch.testing.assert_close(rows, torch.stack([gk.random.normal(key, (2,)) for key in keys[2]]), rtol=0, atol=1e-6)
