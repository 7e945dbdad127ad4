"""The matrix of genkern.random: every function × what torch does with an op, shapes, layouts, extremes, callers."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
import torch._dynamo.testing
from support import matrix
from support.backends import Backend, oracle
from support.capture import genkern_calls
from support.noise import NOISE, Noise
from torch import Tensor

import genkern as gk

KEY = gk.random.key(1234, 56)
OPS = [noise for noise in NOISE if noise.ops]
KEYED = [noise for noise in NOISE if noise.takes_key]
SHAPED = [gk.random.normal, gk.random.uniform]

every_noise = pytest.mark.parametrize("noise", OPS, ids=str)
every_keyed = pytest.mark.parametrize("noise", KEYED, ids=str)


def seeded(noise: Noise, key: Tensor, n: int) -> Tensor:
    torch.manual_seed(n)
    return noise.call(key, n)


def assert_same_noise(value: Tensor, right: Tensor) -> None:
    """Integers and uniforms bit for bit; normals to 4 ulp, or 1e-6 near a zero of sine or cosine (docs/random.md)."""
    assert (value.shape, value.dtype) == (right.shape, right.dtype)
    if value.is_floating_point():
        torch.testing.assert_close(value, right, rtol=4 * 2.0**-23, atol=1e-6)
    else:
        assert torch.equal(value, right)


@matrix.covers("every instruction set")
@every_noise
def test_every_instruction_set_gives_what_the_definition_says(noise: Noise, every_isa: Backend) -> None:
    for n in (0, 1, 7, 300):
        result = seeded(noise, KEY, n)
        with oracle():
            assert_same_noise(result, seeded(noise, KEY, n))


@matrix.covers("shapes", "empty batches", of=["random.normal", "random.uniform"])
@matrix.covers(
    "0-dim", of=["random.normal", "random.uniform"], except_={"random.split": "has a row for each of its keys"}
)
def test_noise_has_any_shape_and_the_same_elements_in_all(every_isa: Backend) -> None:
    for draw in (gk.random.normal, gk.random.uniform):
        whole = draw(KEY, (120,))
        for shape in ((), (0,), (1,), (7,), (5, 24), (2, 3, 4, 5), (3, 0, 2)):
            drawn = draw(KEY, shape)
            assert drawn.shape == shape
            assert torch.equal(drawn.flatten(), whole[: drawn.numel()])


@matrix.covers("shapes", "empty batches", of=["random.split"])
def test_split_gives_as_many_keys_as_asked(every_isa: Backend) -> None:
    whole = gk.random.split(KEY, 1000)
    for num in (0, 1, 2, 7, 999):
        assert torch.equal(gk.random.split(KEY, num), whole[:num])


@matrix.covers("layouts", "inputs unchanged")
@every_keyed
def test_a_key_is_read_where_it_lies_and_left_as_it_is(noise: Noise, backend: Backend) -> None:
    expected = noise.call(KEY, 9)
    memory = torch.tensor([0, 1234, 0, 56, 0], dtype=torch.uint64)
    before = memory.clone()
    for key in (memory[1::2], memory[1:4:2].clone(), torch.stack((KEY.view(torch.int64),) * 2, 1)[:, 1]):
        assert torch.equal(noise.call(key.view(torch.uint64), 9), expected)
    assert torch.equal(memory, before)
    zeros = torch.zeros((), dtype=torch.uint64).expand(2)
    assert torch.equal(noise.call(zeros, 9), noise.call(gk.random.key(0), 9))


@matrix.covers("extreme values")
@every_keyed
def test_the_largest_keys_and_numbers_are_right(noise: Noise, every_isa: Backend) -> None:
    largest = 2**64 - 1
    for key in (gk.random.key(0), gk.random.key(largest, largest), gk.random.key(0, largest), gk.random.key(2**63)):
        result = noise.call(key, 40)  # the counter wraps
        with oracle():
            assert_same_noise(result, noise.call(key, 40))
    far = 2**63 - 1
    calls: dict[str, Callable[[], Tensor]] = {
        "random.fold_in": lambda: gk.random.fold_in(KEY, far),
        "random.normal": lambda: gk.random.normal(KEY, (9,), element_offset=far - 9),
        "random.uniform": lambda: gk.random.uniform(KEY, (9,), element_offset=far - 9, dtype=torch.float64),
    }
    if noise.name in calls:
        result = calls[noise.name]()
        with oracle():
            assert_same_noise(result, calls[noise.name]())


@matrix.covers("the same bits in every run and for every number of threads")
@every_noise
def test_runs_and_thread_counts_give_the_same_bits(noise: Noise, every_isa: Backend) -> None:
    seen = []
    for threads in (1, 2, 2):
        torch.set_num_threads(threads)
        seen.append(seeded(noise, KEY, 20_001))
    assert torch.equal(seen[0], seen[1])
    assert torch.equal(seen[1], seen[2])


@matrix.covers("opcheck")
@every_noise
def test_opcheck_passes(noise: Noise, native: Backend) -> None:
    ((op, args, kwargs),) = genkern_calls(lambda: noise.call(KEY, 3))
    assert op._schema.name.removeprefix("genkern::") in noise.ops
    if noise.takes_key:
        assert set(torch.library.opcheck(op, args, kwargs).values()) == {"SUCCESS"}
    else:
        # Two runs of a random op differ, which is all that the tests of autograd and of compiled graphs would find.
        results = torch.library.opcheck(op, args, kwargs, test_utils=("test_schema", "test_faketensor"))
        assert set(results.values()) == {"SUCCESS"}


@matrix.covers("meta tensors")
@every_noise
def test_meta_and_fake_tensors_give_shapes_and_dtypes(noise: Noise, chosen: Backend) -> None:
    real = noise.call(KEY, 5)
    meta = noise.call(KEY.to("meta"), 5)
    with torch._subclasses.FakeTensorMode() as mode:
        fake = noise.call(mode.from_tensor(KEY), 5)
    assert (meta.device.type, fake.device.type) == ("meta", real.device.type)
    for other in (meta, fake):
        assert (other.shape, other.dtype, other.stride()) == (real.shape, real.dtype, real.stride())


def compiled(noise: Noise, **options: object) -> tuple[Callable[[Tensor, int], Tensor], Callable[[], int]]:
    """The compiled call, and how often it was compiled."""
    torch._dynamo.reset()
    counter = torch._dynamo.testing.CompileCounterWithBackend("aot_eager")
    return torch.compile(noise.call, fullgraph=True, backend=counter, **options), lambda: counter.frame_count


@matrix.covers("torch.compile, static")
@every_noise
def test_compiles_whole_without_a_graph_break(noise: Noise, chosen: Backend) -> None:
    call, _ = compiled(noise)
    torch.manual_seed(3)
    first, second = call(KEY, 5), call(KEY, 5)
    torch.manual_seed(3)
    assert_same_noise(first, noise.call(KEY, 5))
    assert torch.equal(first, second) == noise.takes_key


@matrix.covers("no recompilation for keys that are drawn", of=["random.reserve"])
def test_other_seeds_do_not_compile_anew(chosen: Backend) -> None:
    torch._dynamo.reset()
    counter = torch._dynamo.testing.CompileCounterWithBackend("aot_eager")
    reserve = torch.compile(lambda: gk.random.reserve(), fullgraph=True, backend=counter)
    for seed in range(4):
        torch.manual_seed(seed)
        key = reserve()
        torch.manual_seed(seed)
        assert torch.equal(key, gk.random.reserve())
    assert counter.frame_count == 1


@matrix.covers("torch.compile, dynamic", "no recompilation for other sizes", "no recompilation for other keys")
@every_keyed
def test_other_sizes_and_keys_do_not_compile_anew(noise: Noise, chosen: Backend) -> None:
    call, compilations = compiled(noise, dynamic=True)
    call(KEY, 5)
    before = compilations()
    for n, key in zip((4, 7, 33), gk.random.split(KEY, 3), strict=True):
        assert_same_noise(call(key, n), noise.call(key, n))
    assert compilations() == before


@matrix.covers("torch.export")
@every_noise
def test_an_exported_program_gives_the_same(noise: Noise, chosen: Backend) -> None:
    class Program(torch.nn.Module):
        def forward(self, key: Tensor) -> Tensor:
            return noise.call(key, 5)

    exported = torch.export.export(Program(), (KEY,)).module()
    other = gk.random.split(KEY, 1)[0]
    torch.manual_seed(3)
    result = exported(other)
    torch.manual_seed(3)
    assert_same_noise(result, noise.call(other, 5))


@matrix.covers("vmap")
@every_keyed
def test_vmap_is_a_loop_over_keys(noise: Noise, chosen: Backend) -> None:
    keys = gk.random.split(KEY, 3)
    rows = torch.func.vmap(lambda key: noise.call(key, 5))(keys)
    assert_same_noise(rows, torch.stack([noise.call(key, 5) for key in keys]))


@matrix.covers("autocast")
@every_noise
def test_autocast_leaves_noise_as_it_is(noise: Noise, backend: Backend) -> None:
    expected = seeded(noise, KEY, 5)
    with torch.autocast(backend.device, torch.bfloat16):
        result = seeded(noise, KEY, 5)
    assert result.dtype == expected.dtype
    assert torch.equal(result, expected)


@matrix.covers("several threads")
@every_keyed
def test_threads_that_draw_at_once_do_not_disturb_each_other(noise: Noise, backend: Backend) -> None:
    keys = gk.random.split(KEY, 16)
    expected = [noise.call(key, 30_000) for key in keys]
    with ThreadPoolExecutor(4) as pool:
        for value, right in zip(pool.map(lambda key: noise.call(key, 30_000), keys), expected, strict=True):
            assert torch.equal(value, right)


@matrix.covers("several threads", of=["random.reserve"])
def test_threads_that_reserve_at_once_share_the_keys_of_one_generator(backend: Backend) -> None:
    torch.manual_seed(3)
    expected = {tuple(gk.random.reserve().tolist()) for _ in range(64)}
    assert len(expected) == 64
    torch.manual_seed(3)
    with ThreadPoolExecutor(4) as pool:
        keys = list(pool.map(lambda _: tuple(gk.random.reserve().tolist()), range(64)))
    assert set(keys) == expected
