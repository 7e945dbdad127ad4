"""What only a GPU can show: streams, graphs, launches, memory, large indices; and that it draws the CPU's noise.

The matrix runs on a GPU besides, as backend "cuda" of the other files.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable, Iterator

import pytest
import torch
from support import matrix
from support.backends import NATIVE
from support.cases import CASES, KEY, Case, Options, Tensors, evaluate
from support.inputs import DTYPES, Shape, cotangent, normal
from support.tolerance import ulps_apart
from torch import Tensor

import genkern as gk

GPU = torch.device("cuda")


def missing() -> str | None:
    cuda = gk.info()["cuda"]
    if cuda["device_reason"]:
        return f"no CUDA device: {cuda['device_reason']}"
    return None if gk.has_native("cuda") else f"no CUDA kernels: {cuda['reason']}"


pytestmark = [pytest.mark.cuda, pytest.mark.skipif(missing() is not None, reason=missing() or "")]

every_case = pytest.mark.parametrize("case", CASES, ids=str)
sampling = pytest.mark.parametrize("case", [c for c in CASES if c.keyed], ids=str)
# A gradient that is a sum over what an argument was broadcast to is summed by torch, the optimal scale is made of
# torch's sums, and a log density is a loss negated by torch: each launches kernels, and needs memory, of its own.
OF_SEVERAL = ("gaussian_nll-by-channel", "gaussian_nll-one-scale", "gaussian_nll-optimal", "gaussian_log_prob")
FUSED = [c for c in CASES if c.name not in OF_SEVERAL and not c.name.endswith("-shared")]
every_fused = pytest.mark.parametrize("case", FUSED, ids=str)


@pytest.fixture(autouse=True)
def _native_kernels() -> Iterator[None]:
    with gk.use_backend("native"):
        yield


def on_gpu(case: Case, shape: Shape, dtype: torch.dtype = torch.float32) -> Tensors:
    return {name: t.to(GPU) for name, t in case.inputs(shape, dtype).items()}


def cotangents(case: Case, tensors: Tensors, options: Options) -> tuple[Tensor, ...]:
    return tuple(cotangent(o, 100 + i) for i, o in enumerate(case(tensors, **options)))


def reductions(case: Case) -> list[Options]:
    return [{"reduction": case.reductions[0]}, {"reduction": "mean"}] if case.reduces else [{}]


def sources(case: Case) -> list[Options]:
    """From where the noise may come: a key on either device, the default generator, nowhere."""
    return [{"key": KEY}, {"key": KEY.to(GPU)}, {"generator": None}] if case.keyed else [{}]


def assert_same_bits(results: Tensors, expected: Tensors, where: object = "") -> None:
    for name, value in expected.items():
        assert torch.equal(results[name], value), f"{name} {where}"


class TestNoise:
    @pytest.mark.parametrize("dtype", DTYPES, ids=str)
    @pytest.mark.parametrize("element_offset", [0, 3, 2**34 + 1])
    def test_uniforms_have_the_bits_of_the_cpus(self, dtype: torch.dtype, element_offset: int) -> None:
        options = {"dtype": dtype, "element_offset": element_offset}
        expected = gk.random.uniform(KEY, (100_003,), **options)
        for key in (KEY, KEY.to(GPU)):
            drawn = gk.random.uniform(key, (100_003,), device=GPU, **options)
            assert drawn.device.type == GPU.type
            assert torch.equal(drawn.cpu(), expected)

    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
    def test_normals_are_the_cpus_within_4_ulp(self, dtype: torch.dtype) -> None:
        drawn = gk.random.normal(KEY, (4_000_003,), dtype=dtype, element_offset=1, device=GPU).cpu()
        expected = gk.random.normal(KEY, (4_000_003,), dtype=dtype, element_offset=1)
        near_zero = 1e-6 if dtype == torch.float32 else 1e-15  # of sine or cosine (the definition of the stream)
        wrong = (ulps_apart(drawn, expected) > 4) & ((drawn - expected).abs() > near_zero)
        assert not wrong.any(), f"{int(wrong.sum())} beyond 4 ulp and {near_zero}, first at {int(wrong.int().argmax())}"

    def test_derived_keys_have_the_bits_of_the_cpus(self) -> None:
        for key in (KEY, gk.random.key(2**64 - 1, 2**64 - 2)):
            assert torch.equal(gk.random.split(key.to(GPU), 9).cpu(), gk.random.split(key, 9))
            assert torch.equal(gk.random.fold_in(key.to(GPU), 2**33).cpu(), gk.random.fold_in(key, 2**33))

    def test_a_key_on_the_gpu_draws_on_the_gpu_what_it_draws_on_the_cpu(self) -> None:
        for draw in (gk.random.normal, gk.random.uniform):
            drawn = draw(KEY.to(GPU), (5, 77))
            assert drawn.device.type == GPU.type
            assert torch.equal(drawn, draw(KEY, (5, 77), device=GPU))


@every_case
def test_results_and_gradients_are_those_of_the_cpu(case: Case) -> None:
    for shape in ((33, 65), (2, 10_007)):
        result = evaluate(case, on_gpu(case, shape, torch.float64), {})
        with NATIVE.use():
            expected = evaluate(case, case.inputs(shape, torch.float64), {})
        for name, value in expected.items():
            # float64 noise within 4 ulp or 1e-15, exp and log within a few ulp, sums of up to 10⁴ terms of order 1
            torch.testing.assert_close(result[name].cpu(), value, rtol=1e-11, atol=1e-11, msg=name)


@sampling
def test_a_key_may_lie_on_either_device(case: Case) -> None:
    for dtype in DTYPES:
        tensors = on_gpu(case, (33, 65), dtype)
        expected = evaluate(case, tensors, {"key": KEY})
        assert_same_bits(evaluate(case, tensors, {"key": KEY.to(GPU)}), expected, dtype)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_every_alignment_and_row_length_gives_the_same_bits(dtype: torch.dtype) -> None:
    """Vector access has a head and a tail at each end of a row."""
    for length in (*range(1, 36), 63, 64, 65, 127, 129, 257, 1000, 2049):
        loc, scale = (normal((3, length), i, dtype).to(GPU) for i in (0, 1))
        z, kl = gk.gaussian_rsample_kl(loc, scale, key=KEY)
        for offset in (1, 2, 3, 5, 7):
            moved = [torch.cat((t.new_zeros(offset), t.flatten()))[offset:].view(t.shape) for t in (loc, scale)]
            again = gk.gaussian_rsample_kl(*moved, key=KEY)
            assert torch.equal(again[0], z), (length, offset)
            torch.testing.assert_close(again[1], kl, rtol=1e-5, atol=1e-6)  # float32 sums in another order


ODD: dict[str, Callable[[Tensor], Tensor]] = {
    "every second element": lambda t: torch.stack((t, t), -1)[..., 0],
    "permuted": lambda t: t.permute(3, 1, 0, 2).contiguous().permute(2, 1, 3, 0),
    "narrowed in each dimension": lambda t: torch.nn.functional.pad(t, (1, 2) * 4)[tuple([slice(1, -2)] * 4)],
    "channels last": lambda t: t.contiguous(memory_format=torch.channels_last),
    "a chunk of channels": lambda t: torch.cat((t, t), 1).chunk(2, 1)[1],
}


@every_case
@pytest.mark.parametrize("layout", ODD)
def test_a_large_batch_of_an_odd_layout_gives_the_same(case: Case, layout: str) -> None:
    tensors = on_gpu(case, (130, 33, 31, 7), torch.float64)
    laid_out = {name: ODD[layout](t) if t.dim() == 4 else t for name, t in tensors.items()}
    expected = evaluate(case, tensors, {})
    for name, value in evaluate(case, laid_out, {}).items():
        # float64 sums of 10⁴ (a row) to 10⁶ (a shared scale) terms of order 1, in another order
        torch.testing.assert_close(value, expected[name], rtol=1e-10, atol=1e-9, msg=name)


@every_case
def test_twenty_runs_give_the_same_bits(case: Case) -> None:
    for shape in ((7, 3), (128, 10), (64, 257), (3, 100_003), (1, 4_000_000)):
        tensors = on_gpu(case, shape)
        for options in reductions(case):
            given = cotangents(case, tensors, options)
            first = evaluate(case, tensors, options, given)
            for run in range(1, 20):
                assert_same_bits(evaluate(case, tensors, options, given), first, (shape, options, run))


@every_case
def test_nothing_waits_for_the_gpu(case: Case) -> None:
    tensors = on_gpu(case, (64, 257))
    for options in [{**s, **r} for s in sources(case) for r in reductions(case)]:
        given = cotangents(case, tensors, options)
        evaluate(case, tensors, options, given)  # the first call loads the kernels and fills torch's cache of memory
        torch.cuda.synchronize()
        torch.cuda.set_sync_debug_mode("error")  # of torch's own
        try:
            torch.cuda._sleep(400_000_000)  # cycles: some 0.2 s
            busy = torch.cuda.Event()
            busy.record()
            result = evaluate(case, tensors, options, given)
            assert not busy.query(), f"the host waited for the GPU, with {options}"
        finally:
            torch.cuda.set_sync_debug_mode("default")
        assert all(value.isfinite().all() for value in result.values())


class TestManualSeed:
    def test_it_repeats_the_noise_of_calls_without_a_key(self) -> None:
        loc, scale = torch.zeros(2, 4, 5, device=GPU).unbind()
        for seed in (torch.manual_seed, torch.cuda.manual_seed):
            seed(11)
            first = [gk.gaussian_rsample(loc, scale), gk.gaussian_rsample_kl(loc, scale)[0]]
            seed(11)
            again = [gk.gaussian_rsample(loc, scale), gk.gaussian_rsample_kl(loc, scale)[0]]
            assert not torch.equal(*first)
            assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))

    def test_a_call_without_a_key_draws_what_a_reserved_key_stands_for(self) -> None:
        loc, scale = torch.zeros(2, 4, 5, device=GPU).unbind()
        torch.cuda.manual_seed(12)
        expected = gk.gaussian_rsample(loc, scale)
        torch.cuda.manual_seed(12)
        key = gk.random.reserve(device=GPU)
        assert key.device.type == GPU.type
        assert torch.equal(gk.gaussian_rsample(loc, scale, key=key), expected)
        assert torch.equal(gk.gaussian_rsample(loc, scale, key=key.cpu()), expected)

    def test_a_generator_of_the_gpu_is_drawn_from_as_the_default_one(self) -> None:
        loc, scale = torch.zeros(2, 4, 5, device=GPU).unbind()
        torch.cuda.manual_seed(13)
        expected = [gk.gaussian_rsample(loc, scale) for _ in range(3)]
        generator = torch.Generator(GPU).manual_seed(13)
        drawn = [gk.gaussian_rsample(loc, scale, generator=generator) for _ in range(3)]
        assert all(torch.equal(a, b) for a, b in zip(drawn, expected, strict=True))

    def test_a_generator_of_the_cpu_serves_tensors_of_the_gpu(self) -> None:
        loc, scale = torch.zeros(2, 4, 5, device=GPU).unbind()
        key = gk.random.reserve(torch.Generator().manual_seed(14))
        drawn = gk.gaussian_rsample(loc, scale, generator=torch.Generator().manual_seed(14))
        assert torch.equal(drawn, gk.gaussian_rsample(loc, scale, key=key))

    def test_its_noise_is_not_that_of_torch(self) -> None:
        loc, scale = torch.zeros(2, 1000, 1000, device=GPU).unbind()
        torch.cuda.manual_seed(15)
        drawn = gk.gaussian_rsample(loc, scale).flatten()
        torch.cuda.manual_seed(15)
        theirs = torch.randn(1_000_000, device=GPU)
        assert abs((drawn * theirs).mean().item()) < 5 / math.sqrt(1_000_000)  # five standard errors


class Captured:
    """A CUDA graph of `run`, whose results each replay leaves in the same tensors."""

    def __init__(self, run: Callable[[], Tensors], keep_graph: bool = False) -> None:
        beside = torch.cuda.Stream()
        beside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(beside):
            for _ in range(3):
                run()
        torch.cuda.current_stream().wait_stream(beside)
        self.graph = torch.cuda.CUDAGraph(keep_graph=keep_graph)
        with torch.cuda.graph(self.graph):
            self.results = run()

    def replay(self) -> Tensors:
        self.graph.replay()
        return {name: t.clone() for name, t in self.results.items()}


class TestGraphs:
    @sampling
    def test_each_replay_draws_what_the_next_eager_call_would(self, case: Case) -> None:
        """Fresh noise, a gradient of that noise, and a sequence that manual_seed repeats."""
        tensors, options = on_gpu(case, (33, 65)), {"generator": None}
        given = cotangents(case, tensors, options)
        graph = Captured(lambda: evaluate(case, tensors, options, given))
        torch.cuda.manual_seed(21)
        eager = [evaluate(case, tensors, options, given) for _ in range(3)]
        for _ in range(2):
            torch.cuda.manual_seed(21)
            for expected in eager:
                assert_same_bits(graph.replay(), expected)
        assert not any(torch.equal(eager[0]["sample 0"], later["sample 0"]) for later in eager[1:])

    def test_the_gradient_of_a_replay_is_that_of_its_own_noise(self) -> None:
        loc, scale = (normal((33, 65), i).to(GPU).requires_grad_() for i in (0, 1))

        def run() -> Tensors:
            z, _ = gk.gaussian_rsample_kl(loc, scale)
            by_loc, by_scale = torch.autograd.grad(z.sum(), (loc, scale))
            return {"z": z.detach(), "by_loc": by_loc, "by_scale": by_scale}

        graph = Captured(run)
        seen = []
        for _ in range(5):
            result = graph.replay()
            sigma = (0.5 * scale.detach()).exp()
            eps = (result["z"] - loc.detach()) / sigma
            # z = loc + sigma eps, and dz / dlogvar = sigma eps / 2; float64, where the difference loses a few digits
            torch.testing.assert_close(2 * result["by_scale"] / sigma, eps, rtol=1e-11, atol=1e-11)
            assert (result["by_loc"] == 1).all()
            assert abs(eps.mean().item()) < 5 / math.sqrt(eps.numel())
            seen.append(eps)
        assert all(not torch.equal(a, b) for i, a in enumerate(seen) for b in seen[:i])

    @matrix.covers("CUDA graphs")
    @every_case
    def test_a_captured_key_gives_the_same_bits_at_every_replay(self, case: Case) -> None:
        tensors = on_gpu(case, (33, 65))
        for options in sources(case)[:2]:
            given = cotangents(case, tensors, options)
            graph = Captured(lambda options=options, given=given: evaluate(case, tensors, options, given))
            expected = evaluate(case, tensors, options, given)
            for _ in range(3):
                assert_same_bits(graph.replay(), expected)

    def test_a_key_on_the_gpu_may_be_changed_between_replays(self) -> None:
        loc, scale = torch.zeros(2, 33, 65, device=GPU).unbind()
        key = KEY.to(GPU)
        graph = Captured(lambda: {"z": gk.gaussian_rsample(loc, scale, key=key)})
        for seed in (1, 2):
            key.copy_(gk.random.key(seed))
            assert torch.equal(graph.replay()["z"], gk.gaussian_rsample(loc, scale, key=gk.random.key(seed)))

    @pytest.mark.parametrize("shape", [(3, 100_003), (2000, 64)], ids=str)
    def test_total_reductions_replay_beside_eager_ones_on_another_stream(self, shape: Shape) -> None:
        """A total is finished by whichever block is last: replays and other streams must not mix their counts."""
        loc, scale = (normal(shape, i, torch.float32).to(GPU) for i in (0, 1))
        graph = Captured(lambda: {"kl": gk.gaussian_kl(loc, scale, reduction="sum")})
        expected = gk.gaussian_kl(loc, scale, reduction="sum")
        other_loc, other_scale = loc.flip(0).contiguous(), scale * 0.5
        other_expected = gk.gaussian_kl(other_loc, other_scale, reduction="sum")
        torch.cuda.synchronize()
        beside, replayed, eager = torch.cuda.Stream(), [], []
        for _ in range(200):
            replayed.append(graph.replay()["kl"])
            with torch.cuda.stream(beside):
                eager.append(gk.gaussian_kl(other_loc, other_scale, reduction="sum"))
        torch.cuda.synchronize()
        assert (torch.stack(replayed) == expected).all()
        assert (torch.stack(eager) == other_expected).all()


@pytest.mark.parametrize("reduction", ["event", "sum"])
def test_work_is_put_on_the_current_stream(reduction: str) -> None:
    loc, scale = (normal((64, 257), i, torch.float32).to(GPU).requires_grad_() for i in (0, 1))

    def run(loc: Tensor, scale: Tensor) -> list[Tensor]:
        z, kl = gk.gaussian_rsample_kl(loc, scale, key=KEY, reduction=reduction)
        return [z, kl, *torch.autograd.grad((z.square().sum(), kl.sum()), (loc, scale))]

    expected = run(loc, scale)
    late = [torch.zeros_like(t, requires_grad=True) for t in (loc, scale)]
    run(*late)
    torch.cuda.synchronize()
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream), torch.no_grad():
        torch.cuda._sleep(200_000_000)  # work on another stream would read the zeros
        for t, value in zip(late, (loc, scale), strict=True):
            t.copy_(value)
    with torch.cuda.stream(stream):
        result = run(*late)
    stream.synchronize()
    assert all(torch.equal(a, b) for a, b in zip(result, expected, strict=True))


def test_tensors_of_another_gpu_than_the_current_one_are_served_there() -> None:
    if torch.cuda.device_count() < 2:
        pytest.skip("a second GPU")
    for case in CASES:
        expected = evaluate(case, on_gpu(case, (33, 65)), {})
        there = {name: t.to("cuda:1") for name, t in case.inputs((33, 65), torch.float32).items()}
        result = evaluate(case, there, {})
        assert {t.device.index for t in result.values()} == {1}
        assert torch.cuda.current_device() == 0
        assert_same_bits({name: t.to("cuda:0") for name, t in result.items()}, expected, case)


def test_arguments_on_different_devices_are_refused_by_name() -> None:
    here, there = torch.zeros(3, 4), torch.zeros(3, 4, device=GPU)
    with pytest.raises((TypeError, ValueError), match="scale.*device|scale.*cpu"):
        gk.gaussian_rsample_kl(there, here, key=KEY)
    with pytest.raises((TypeError, ValueError), match="eps.*device|eps.*cpu"):
        gk.gaussian_rsample(there, there, eps=here)


def kernel_nodes(graph: torch.cuda.CUDAGraph) -> tuple[int, int]:
    """How many kernels a captured graph launches, and how many nodes of other kinds (copies, fills) it has."""
    runtime = ctypes.CDLL(f"libcudart.so.{torch.version.cuda.split('.')[0]}")  # the one that torch has loaded
    handle, count = ctypes.c_void_p(graph.raw_cuda_graph()), ctypes.c_size_t()
    assert runtime.cudaGraphGetNodes(handle, None, ctypes.byref(count)) == 0
    nodes = (ctypes.c_void_p * count.value)()
    assert runtime.cudaGraphGetNodes(handle, nodes, ctypes.byref(count)) == 0
    kinds = []
    for node in nodes:
        kind = ctypes.c_int(-1)
        assert runtime.cudaGraphNodeGetType(ctypes.c_void_p(node), ctypes.byref(kind)) == 0
        kinds.append(kind.value)
    kernels = kinds.count(0)  # cudaGraphNodeTypeKernel
    return kernels, len(kinds) - kernels


@every_fused
@pytest.mark.parametrize("shape", [(128, 10), (64, 257), (3, 100_003), (2, 6, 5, 7)], ids=str)
def test_forward_is_one_launch_and_so_is_backward(case: Case, shape: Shape) -> None:
    tensors = {name: t.requires_grad_() for name, t in on_gpu(case, shape).items()}
    for options in [{**s, **r} for s in sources(case) for r in reductions(case)]:
        given = cotangents(case, tensors, options)
        forward = Captured(lambda options=options: dict(enumerate(case(tensors, **options))), keep_graph=True)
        assert kernel_nodes(forward.graph) == (1, 0), options
        both = Captured(
            lambda options=options, given=given: dict(
                enumerate(torch.autograd.grad(case(tensors, **options), list(tensors.values()), given))
            ),
            keep_graph=True,
        )
        assert kernel_nodes(both.graph) == (2, 0), options


@every_fused
@pytest.mark.parametrize("shape", [(4096, 1024), (3, 1_000_003)], ids=str)
def test_memory_is_inputs_outputs_and_less_than_a_mebibyte(case: Case, shape: Shape) -> None:
    tensors = {name: t.requires_grad_() for name, t in on_gpu(case, shape).items()}
    for options in [{**s, **r} for s in sources(case) for r in reductions(case)]:
        given = cotangents(case, tensors, options)
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        outputs = case(tensors, **options)
        held = sum(t.untyped_storage().nbytes() for t in outputs)
        assert torch.cuda.max_memory_allocated() - before < held + 2**20, f"forward, {options}"
        torch.cuda.reset_peak_memory_stats()
        gradients = torch.autograd.grad(outputs, list(tensors.values()), given)
        held += sum(t.untyped_storage().nbytes() for t in gradients)
        assert torch.cuda.max_memory_allocated() - before < held + 2**20, f"backward, {options}"
        del outputs, gradients


class TestBeyond32BitIndices:
    """More than 2³¹ elements: the last rows, all of them behind that index, are what a small call gives for them."""

    ROWS, EVENT, LAST = 2**19 + 3, 4099, 100
    NUMEL = ROWS * EVENT

    @pytest.fixture(autouse=True)
    def _room(self) -> Iterator[None]:
        assert self.NUMEL - self.LAST * self.EVENT > 2**31
        torch.cuda.empty_cache()
        needed = 7 * 2 * self.NUMEL  # loc, scale, z; their gradients and the one that arrives
        free = torch.cuda.mem_get_info()[0]
        if free < needed + 2**30:
            pytest.skip(f"{needed / 2**30 + 1:.0f} GiB of free GPU memory, where {free / 2**30:.0f} are")
        yield
        torch.cuda.empty_cache()

    def draw(self, seed: int, dtype: torch.dtype) -> Tensor:
        generator = torch.Generator(GPU).manual_seed(seed)
        return torch.randn(self.ROWS, self.EVENT, dtype=dtype, device=GPU, generator=generator)

    @matrix.covers("more than 2**31 elements", of=["gaussian_kl", "gaussian_rsample_kl"])
    @pytest.mark.parametrize("reduction", ["event", "sum"])
    @pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
    @pytest.mark.parametrize("samples", [False, True], ids=["kl", "rsample_kl"])
    def test_forward_and_backward(self, reduction: str, dtype: torch.dtype, samples: bool) -> None:
        def call(loc: Tensor, scale: Tensor, element_offset: int, reduction: str) -> tuple[Tensor, ...]:
            if not samples:
                return (gk.gaussian_kl(loc, scale, reduction=reduction),)
            return gk.gaussian_rsample_kl(loc, scale, key=KEY, element_offset=element_offset, reduction=reduction)

        def differentiated(loc: Tensor, scale: Tensor, element_offset: int, dz: Tensor | None) -> list[Tensor]:
            leaves = [t.detach().requires_grad_() for t in (loc, scale)]
            outputs = call(*leaves, element_offset, reduction)
            given = [dz] if samples else []
            given.append(torch.full_like(outputs[-1], 0.5))
            return [*(o.detach() for o in outputs), *torch.autograd.grad(outputs, leaves, given)]

        loc, scale = self.draw(0, dtype), self.draw(1, dtype)
        dz = self.draw(2, dtype) if samples else None
        whole = differentiated(loc, scale, 0, dz)
        first = (self.ROWS - self.LAST) * self.EVENT
        last = slice(self.ROWS - self.LAST, None)
        part = differentiated(loc[last], scale[last], first, dz[last] if samples else None)
        if samples:
            assert torch.equal(whole[0][last], part[0])
        for gradient, expected in zip(whole[-2:], part[-2:], strict=True):
            # one rounding to the dtype
            torch.testing.assert_close(gradient[last], expected, rtol=2 * torch.finfo(dtype).eps, atol=1e-6)
        loss = whole[-3]
        rows = loss
        if reduction == "sum":
            del whole
            rows = call(loc, scale, 0, "event")[-1]
            # float32 arithmetic, each row rounded on its own
            torch.testing.assert_close(loss.double(), rows.double().sum(), rtol=1e-6, atol=0)
        expected = call(loc[last], scale[last], first, "event")[-1]
        torch.testing.assert_close(rows[last], expected, rtol=1e-5, atol=0)  # float32 sums of 4099 terms
        again = 0.5 * (loc[last].double().square() + scale[last].double().exp() - 1 - scale[last].double())
        torch.testing.assert_close(rows[last].double(), again.sum(1), rtol=1e-5, atol=0)


class TestCompiledWithGraphs:
    """torch.compile(mode="reduce-overhead"), which captures what it compiles."""

    def test_noise_is_fresh_and_manual_seed_repeats_it(self) -> None:
        torch._dynamo.reset()
        torch._dynamo.utils.counters.clear()
        compiled = torch.compile(
            lambda a, b: gk.gaussian_rsample_kl(a, b)[0], mode="reduce-overhead", fullgraph=True, dynamic=False
        )
        loc, scale = torch.zeros(2, 33, 65, device=GPU).unbind()

        def draw() -> Tensor:
            torch.compiler.cudagraph_mark_step_begin()
            return compiled(loc, scale).clone()

        for _ in range(4):  # warm-up, capture, replay
            draw()
        torch.cuda.manual_seed(31)
        first = [draw() for _ in range(3)]
        torch.cuda.manual_seed(31)
        assert all(torch.equal(draw(), z) for z in first)
        assert all(not torch.equal(a, b) for i, a in enumerate(first) for b in first[:i])
        assert torch._dynamo.utils.counters["inductor"]["cudagraph_skips"] == 0

    def test_gradients_are_those_of_the_noise_of_the_call(self) -> None:
        torch._dynamo.reset()
        compiled = torch.compile(
            lambda a, b: gk.gaussian_rsample_kl(a * 1, b * 1)[0], mode="reduce-overhead", fullgraph=True, dynamic=False
        )
        loc, scale = (normal((33, 65), i).to(GPU).requires_grad_() for i in (0, 1))
        seen = []
        for _ in range(6):
            torch.compiler.cudagraph_mark_step_begin()
            z = compiled(loc, scale)
            (by_scale,) = torch.autograd.grad(z.sum(), scale)
            sigma = (0.5 * scale.detach()).exp()
            eps = (z.detach() - loc.detach()) / sigma
            torch.testing.assert_close(2 * by_scale / sigma, eps, rtol=1e-11, atol=1e-11)  # float64
            seen.append(eps)
        assert all(not torch.equal(a, b) for i, a in enumerate(seen) for b in seen[:i])
