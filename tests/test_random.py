"""The noise: bit for bit where it is integers, to a few ulp where it is not."""

import math

import pytest
import torch
from support import matrix
from support.backends import EVERY_ISA, OTHER_ISAS, REFERENCE, Backend, oracle
from support.tolerance import ulps_apart
from torch import Tensor

import genkern as gk
from genkern import _backend
from genkern.reference import random as reference

KEY = gk.random.key(42)
DRAWS = (gk.random.normal, gk.random.uniform)

# (key, counter low, counter high, words): Random123's kat_vectors for philox4x32-10, and seed 42.
KNOWN_ANSWERS = [
    (0, 0, 0, (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    (2**64 - 1, 2**64 - 1, 2**64 - 1, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        0x299F31D0A4093822,
        0x85A308D3243F6A88,
        0x0370734413198A2E,
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
    (42, 0, 0, (0x9CEAF053, 0x77F5493B, 0x12BF50AD, 0x5742B3D7)),
]


def signed(bits: int) -> Tensor:
    return torch.tensor(bits - (1 << 64) if bits >= 1 << 63 else bits, dtype=torch.int64)


def words_of(key: Tensor) -> tuple[int, ...]:
    seed, offset = key.tolist()
    return seed & 0xFFFFFFFF, seed >> 32, offset & 0xFFFFFFFF, offset >> 32


@pytest.mark.parametrize(("seed", "low", "high", "words"), KNOWN_ANSWERS)
def test_philox_gives_the_published_answers_in_the_definition(
    seed: int, low: int, high: int, words: tuple[int, ...]
) -> None:
    assert tuple(int(w) for w in reference.philox4x32(signed(seed), signed(low), signed(high))) == words


@pytest.mark.parametrize(("seed", "low", "high", "words"), KNOWN_ANSWERS)
def test_philox_gives_the_published_answers_in_the_binary(
    seed: int, low: int, high: int, words: tuple[int, ...], native: Backend
) -> None:
    assert tuple(_backend.native.philox(seed, low, high)) == words


@matrix.covers("accuracy against float64", of=["random.split"])
@pytest.mark.parametrize(("seed", "low", "high", "words"), [k for k in KNOWN_ANSWERS if k[2] == 0])
def test_split_gives_the_published_answers(
    seed: int, low: int, high: int, words: tuple[int, ...], backend: Backend
) -> None:
    assert words_of(gk.random.split(gk.random.key(seed, low), 1)[0]) == words


def test_normals_are_the_printed_ones(every_isa: Backend) -> None:
    printed = torch.tensor([-0.97018981, 0.19401887, -1.23562121, 1.92392659, -0.07318153])
    # 2e-6: torch, whose stream was printed, rounds 2 pi u before the sine
    assert (gk.random.normal(KEY, (5,)) - printed).abs().max() < 2e-6
    wide = torch.tensor([0.88649751, 0.43935607, -0.15660962, -0.01371868], dtype=torch.float64)
    assert (gk.random.normal(KEY, (4,), dtype=torch.float64) - wide).abs().max() < 1e-8  # printed to 8 digits


def test_uniforms_are_the_printed_ones(every_isa: Backend) -> None:
    assert (gk.random.uniform(KEY, (2,)) * 2**24).tolist() == [15396947.0, 16075067.0]


def test_uniforms_are_the_low_bits_of_the_words(every_isa: Backend) -> None:
    key = gk.random.key(7, 2**64 - 3)  # the counter wraps
    words = [w for i in range(8) for w in words_of(gk.random.split(key, 8)[i])]
    narrow = gk.random.uniform(key, (32,))
    assert narrow.tolist() == [(w & 0xFFFFFF) * 2.0**-24 for w in words]
    wide = gk.random.uniform(key, (16,), dtype=torch.float64)
    pairs = [(words[2 * i] << 32 | words[2 * i + 1]) & (2**53 - 1) for i in range(16)]
    assert wide.tolist() == [p * 2.0**-53 for p in pairs]


@pytest.mark.parametrize("seed", [0, 1, 2**63, 2**64 - 1])
def test_normals_are_the_box_muller_transform_of_the_words(every_isa: Backend, seed: int) -> None:
    key = gk.random.key(seed, 5)
    words = gk.random.split(key, 64).view(torch.int64).flatten()
    x = torch.stack((words & 0xFFFFFFFF, (words >> 32) & 0xFFFFFFFF), -1).view(-1, 2)
    u = x.to(torch.float32) * 2.0**-32 + 2.0**-33
    radius, angle = (-2 * u[:, 0].double().log()).sqrt(), 2 * math.pi * u[:, 1].double()
    expected = torch.stack((radius * angle.cos(), radius * angle.sin()), -1).flatten()
    drawn = gk.random.normal(key, (256,))
    error = (drawn.double() - expected).abs()
    # 4 ulp, or 1e-6 near a zero of sine or cosine (RNG definition)
    assert (error <= torch.maximum(4 * expected.abs() * 2.0**-23, torch.tensor(1e-6))).all()


def test_the_stream_is_that_of_torch(every_isa: Backend) -> None:
    stateless = pytest.importorskip("torch.func._random", reason="this torch has no torch.func._random")
    try:
        key = stateless.key(42, device=every_isa.device)
        expected = stateless.normal(key, (4099,))
        uniforms = stateless.uniform(key, (4099,))
    except (NotImplementedError, RuntimeError):
        pytest.skip(f"torch {torch.__version__} has no {every_isa.device} kernel for torch.func._random")
    assert (gk.random.normal(KEY, (4099,)) - expected).abs().max() < 2e-6
    assert torch.equal(gk.random.uniform(KEY, (4099,)), uniforms)


@matrix.covers("accuracy against float64", of=["random.normal"])
@pytest.mark.parametrize("isa", OTHER_ISAS, ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
def test_backends_agree_on_a_million_normals(isa: Backend, dtype: torch.dtype) -> None:
    if missing := isa.missing():
        pytest.skip(missing)
    with isa.use():
        drawn = gk.random.normal(gk.random.key(3), (1_200_003,), dtype=dtype, element_offset=1)
    with REFERENCE.use():
        expected = reference.random_normal(gk.random.key(3), (1_200_003,), dtype, 1)
    near_zero = 1e-6 if dtype == torch.float32 else 1e-15
    wrong = (ulps_apart(drawn, expected) > 4) & ((drawn - expected).abs() > near_zero)
    assert not wrong.any(), f"{int(wrong.sum())} beyond 4 ulp and {near_zero}"


@matrix.covers("accuracy against float64", of=["random.uniform"])
@pytest.mark.parametrize("isa", OTHER_ISAS, ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
def test_backends_agree_bit_for_bit_on_uniforms(isa: Backend, dtype: torch.dtype) -> None:
    if missing := isa.missing():
        pytest.skip(missing)
    with isa.use():
        drawn = gk.random.uniform(gk.random.key(3), (300_001,), dtype=dtype, element_offset=3)
    assert torch.equal(drawn, reference.random_uniform(gk.random.key(3), (300_001,), dtype, 3))


@matrix.covers("dtypes", of=["random.normal", "random.uniform"])
@pytest.mark.parametrize("draw", DRAWS, ids=["normal", "uniform"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=["bfloat16", "float16"])
def test_half_precision_noise_is_the_float32_noise_rounded_once(
    every_isa: Backend, draw: object, dtype: torch.dtype
) -> None:
    assert torch.equal(draw(KEY, (100_001,), dtype=dtype), draw(KEY, (100_001,)).to(dtype))


@pytest.mark.parametrize("draw", DRAWS, ids=["normal", "uniform"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=["f64", "f32", "bf16"])
def test_an_element_does_not_depend_on_what_is_drawn_with_it(
    every_isa: Backend, draw: object, dtype: torch.dtype
) -> None:
    whole = draw(KEY, (5003,), dtype=dtype)
    for first, n in [(0, 1), (1, 1), (2, 3), (3, 5), (5, 511), (511, 514), (1023, 2), (1, 5002), (4096, 907), (7, 0)]:
        assert torch.equal(draw(KEY, (n,), dtype=dtype, element_offset=first), whole[first : first + n])
    assert torch.equal(draw(KEY, (7, 143), dtype=dtype), whole[:1001].view(7, 143))


def test_element_offsets_beyond_32_bits_advance_the_counter(every_isa: Backend) -> None:
    far = 2**40 + 6
    for dtype, per_counter in ((torch.float32, 4), (torch.float64, 2)):
        moved = gk.random.key(9, 100 + 2**40 // per_counter)
        for draw in DRAWS:
            there = draw(gk.random.key(9, 100), (64,), dtype=dtype, element_offset=far)
            assert torch.equal(there, draw(moved, (64,), dtype=dtype, element_offset=6))


def test_the_offset_of_a_key_wraps(every_isa: Backend) -> None:
    last = gk.random.key(11, 2**64 - 1)
    first = gk.random.key(11, 0)
    for draw in DRAWS:
        assert torch.equal(draw(last, (68,))[4:], draw(first, (64,)))


@matrix.covers("accuracy against float64", of=["random.key"])
def test_a_key_is_its_seed_and_offset_modulo_two_to_the_64() -> None:
    assert gk.random.key(-1, 2**64 + 3).tolist() == [2**64 - 1, 3]
    assert gk.random.key(5).dtype == torch.uint64


@matrix.covers("accuracy against float64", of=["random.fold_in"])
def test_fold_in_is_one_key_of_a_split(backend: Backend) -> None:
    keys = gk.random.split(KEY, 9)
    assert keys.shape == (9, 2)
    assert torch.equal(keys[:4], gk.random.split(KEY, 4))
    for data in range(9):
        assert torch.equal(gk.random.fold_in(KEY, data), keys[data])
    assert gk.random.split(KEY, 0).shape == (0, 2)
    big = gk.random.fold_in(KEY, 2**40)
    with oracle():
        assert torch.equal(big, reference.key_fold_in(KEY, 2**40))


def test_keys_of_a_view_are_read_with_their_stride(backend: Backend) -> None:
    strided = torch.stack((KEY.view(torch.int64), torch.zeros(2, dtype=torch.int64)), 1)[:, 0].view(torch.uint64)
    assert not strided.is_contiguous()
    assert torch.equal(gk.random.normal(strided, (9,)), gk.random.normal(KEY, (9,)))
    assert torch.equal(gk.random.split(strided, 3), gk.random.split(KEY, 3))


def test_reserve_is_reproduced_by_manual_seed(backend: Backend) -> None:
    torch.manual_seed(5)
    first = [gk.random.reserve() for _ in range(3)]
    torch.manual_seed(5)
    again = [gk.random.reserve() for _ in range(3)]
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert len({tuple(k.tolist()) for k in first}) == 3
    generator = torch.Generator().manual_seed(5)
    assert torch.equal(gk.random.reserve(generator), first[0])


@matrix.covers("accuracy against float64", of=["random.reserve"])
def test_reserve_is_the_same_folded_draw_on_every_backend(backend: Backend) -> None:
    draw = torch.empty((), dtype=torch.int64, device="cpu")
    draw.random_(-(2**63), None, generator=torch.Generator().manual_seed(8))
    low, high = torch.tensor([0, 0x65726E0067656E6B], device="cpu")
    words = tuple(int(w) for w in reference.philox4x32(draw, low, high))
    assert words_of(gk.random.reserve(torch.Generator().manual_seed(8))) == words
    assert torch.equal(
        gk.random.reserve(torch.Generator().manual_seed(8)), reference.fold(draw, torch.zeros_like(draw))
    )


def test_reserve_advances_the_generator_by_one_draw(backend: Backend) -> None:
    used, counted = torch.Generator().manual_seed(8), torch.Generator().manual_seed(8)
    gk.random.reserve(used)
    torch.empty((), dtype=torch.int64, device="cpu").random_(-(2**63), None, generator=counted)
    assert torch.equal(used.get_state(), counted.get_state())


def test_noise_does_not_depend_on_the_number_of_threads(every_isa: Backend) -> None:
    for draw in DRAWS:
        one, two = [], []
        for threads, kept in ((1, one), (2, two)):
            torch.set_num_threads(threads)
            kept.append(draw(KEY, (3, 70_001)))
        assert torch.equal(one[0], two[0])


def test_every_instruction_set_of_this_machine_is_tested() -> None:
    if _backend.native is None:
        assert all(isa.missing() for isa in OTHER_ISAS)
    else:
        assert set(_backend.native.isas()) <= {b.isa for b in EVERY_ISA if b.isa}
