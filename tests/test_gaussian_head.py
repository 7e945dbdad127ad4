"""The head of a variational autoencoder: free bits, balancing, packing, noise by rows and by ranks."""

import itertools
import math

import pytest
import torch
from support.backends import EVERY_ISA, Backend
from support.cases import KEY
from support.inputs import DTYPES, LAYOUTS, fits, lay_out, normal
from torch import Tensor

import genkern as gk

SHAPE = (4, 3, 2)


def parameters(shape: tuple[int, ...] = SHAPE, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    return normal(shape, 0, dtype).requires_grad_(), normal(shape, 1, dtype).requires_grad_()


class TestFreeBits:
    def test_over_dim_each_dimension_has_the_floor(self, backend: Backend) -> None:
        loc, scale = parameters()
        elements = gk.gaussian_kl(loc, scale, reduction="none")
        floored = gk.gaussian_kl(loc, scale, free_bits=0.5, reduction="none")
        assert 0 < int((elements < 0.5).sum()) < elements.numel()
        torch.testing.assert_close(floored, elements.clamp(min=0.5), rtol=1e-14, atol=0)
        got = torch.autograd.grad(floored.sum(), (loc, scale))
        expected = torch.autograd.grad(elements.clamp(min=0.5).sum(), (loc, scale))
        torch.testing.assert_close(got, expected, rtol=1e-13, atol=1e-15)

    @pytest.mark.parametrize("reduction", ["event", "sum", "batchmean", "mean", "none"])
    def test_over_event_each_datum_has_the_floor(self, backend: Backend, reduction: str) -> None:
        loc, scale = parameters()
        rows = gk.gaussian_kl(loc, scale)
        floor = rows.detach().median().item() + 0.01
        floored = rows.clamp(min=floor)
        expected = {
            "event": floored,
            "sum": floored.sum(),
            "batchmean": floored.mean(),
            "mean": floored.sum() / 24,
            "none": torch.where(
                (rows >= floor).view(4, 1, 1), gk.gaussian_kl(loc, scale, reduction="none"), torch.tensor(floor / 6)
            ),
        }[reduction]
        loss = gk.gaussian_kl(loc, scale, free_bits=floor, free_bits_over="event", reduction=reduction)
        torch.testing.assert_close(loss, expected, rtol=1e-7, atol=0)  # a floor is a Python float in a float32 tensor
        got = torch.autograd.grad(loss.sum(), (loc, scale))
        by_hand = torch.autograd.grad(expected.sum(), (loc, scale))
        torch.testing.assert_close(got, by_hand, rtol=1e-12, atol=1e-14)

    def test_over_batch_the_mean_has_the_floor(self, backend: Backend) -> None:
        loc, scale = parameters()
        mean = gk.gaussian_kl(loc, scale, reduction="batchmean")
        above, below = mean.item() - 0.1, mean.item() + 0.1
        options = {"free_bits_over": "batch", "reduction": "batchmean"}
        kept = gk.gaussian_kl(loc, scale, free_bits=above, **options)
        torch.testing.assert_close(kept, mean, rtol=1e-14, atol=0)  # four rows, added by torch
        floored = gk.gaussian_kl(loc, scale, free_bits=below, **options)
        assert floored.item() == pytest.approx(below, rel=1e-14)
        assert all(
            (g == 0).all()
            for g in torch.autograd.grad(floored, (loc, scale), materialize_grads=True, allow_unused=True)
        )

    @pytest.mark.parametrize("over", ["dim", "event", "batch"])
    def test_the_floor_is_in_the_unit_of_the_result(self, backend: Backend, over: str) -> None:
        loc, scale = parameters()
        for reduction in ("sum", "batchmean", "event", "none", "mean"):
            options = {"free_bits_over": over, "reduction": reduction}
            nats = gk.gaussian_kl(loc, scale, free_bits=2 * math.log(2), **options)
            bits = gk.gaussian_kl(loc, scale, free_bits=2.0, units="bits", **options)
            torch.testing.assert_close(bits * math.log(2), nats, rtol=1e-13, atol=1e-14)

    @pytest.mark.parametrize("over", ["dim", "event", "batch"])
    def test_the_head_has_the_same_floor_as_the_divergence(self, backend: Backend, over: str) -> None:
        loc, scale = parameters()
        options = {"free_bits": 0.9, "free_bits_over": over, "reduction": "sum"}
        _, kl = gk.gaussian_rsample_kl(loc, scale, key=KEY, sample_shape=(2,), **options)
        torch.testing.assert_close(kl, gk.gaussian_kl(loc, scale, **options), rtol=1e-14, atol=0)


def test_gradient_scales_balance_q_and_p_and_leave_the_value(every_isa: Backend) -> None:
    """KL balancing (Hafner et al. 2021): 0.2 KL(q ‖ sg p) + 0.8 KL(sg q ‖ p), in one pass."""
    values = [normal((4, 5), i).requires_grad_() for i in range(4)]
    loc, scale, prior_loc, prior_scale = values
    stopped = [v.detach() for v in values]
    one = gk.gaussian_kl(*values, grad_scale_q=0.2, grad_scale_p=0.8, reduction="sum")
    to_q = gk.gaussian_kl(loc, scale, *stopped[2:], reduction="sum")
    to_p = gk.gaussian_kl(*stopped[:2], prior_loc, prior_scale, reduction="sum")
    assert one == gk.gaussian_kl(*values, reduction="sum")
    expected = torch.autograd.grad(0.2 * to_q + 0.8 * to_p, values)
    torch.testing.assert_close(torch.autograd.grad(one, values), expected, rtol=1e-13, atol=1e-14)


def test_gradient_scales_leave_the_sample_alone(backend: Backend) -> None:
    loc, scale = parameters()
    z, _ = gk.gaussian_rsample_kl(loc, scale, key=KEY, grad_scale_q=0.0)
    alone = gk.gaussian_rsample(loc, scale, key=KEY)
    assert torch.equal(z, alone)
    got, expected = (torch.autograd.grad(s.square().sum(), (loc, scale)) for s in (z, alone))
    torch.testing.assert_close(got, expected, rtol=1e-14, atol=0)


def test_one_pass_gives_what_two_calls_give(every_isa: Backend) -> None:
    for dtype in (torch.float64, torch.float32, torch.bfloat16):
        loc, scale = parameters((9, 33), dtype)
        prior = (normal((9, 33), 2, dtype), normal((9, 33), 3, dtype))
        for more in ((), prior, (prior[0], None), (None, prior[1])):
            z, kl = gk.gaussian_rsample_kl(loc, scale, *more, key=KEY)
            assert torch.equal(z, gk.gaussian_rsample(loc, scale, key=KEY))
            torch.testing.assert_close(kl, gk.gaussian_kl(loc, scale, *more), rtol=1e-6, atol=0)


# The baseline has no fused multiply-add, the reference none that is sure.
FUSED = [b for b in EVERY_ISA if b.isa != "baseline" and b.mode == "native"]


@pytest.mark.parametrize("pair", list(itertools.pairwise(FUSED)), ids=lambda pair: "-".join(map(str, pair)))
@pytest.mark.parametrize("scale_param", ["logvar", "softplus"])
def test_every_backend_draws_the_same_bits(pair: tuple[Backend, Backend], scale_param: str) -> None:
    if missing := pair[0].missing() or pair[1].missing():
        pytest.skip(missing)
    options = {"sample_shape": (2,), "element_offset": 3, "scale_param": scale_param}
    samples = []
    for backend in pair:
        with backend.use():
            values = [[t.to(backend.device) for t in parameters((33, 129), d)] for d in DTYPES]
            samples.append([gk.gaussian_rsample(*v, key=KEY, **options).cpu() for v in values])
    for one, other in zip(*samples, strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("chunk_dim", [0, 1, 2, -1])
@pytest.mark.parametrize("shared", [False, True], ids=["2C", "C+1"])
@pytest.mark.parametrize("layout", [name for name in LAYOUTS if fits(name, (4, 6, 8, 2)) and name != "expanded"])
def test_packed_and_unpacked_give_the_same(backend: Backend, chunk_dim: int, shared: bool, layout: str) -> None:
    latent = 3
    shape = [4, 5, 6, 2]
    shape[chunk_dim] = latent + 1 if shared else 2 * latent
    moments = lay_out(normal(shape, 0, torch.float32), layout).requires_grad_()
    loc, scale = moments.split((latent, shape[chunk_dim] - latent), chunk_dim)
    options = {"key": KEY, "sample_shape": (2,), "temperature": 0.9}
    packed = gk.gaussian_rsample_kl_packed(moments, chunk_dim, latent_channels=latent, **options)
    unpacked = gk.gaussian_rsample_kl(loc, scale, **options)
    gradients = []
    for z, kl in (packed, unpacked):
        gradients.append(torch.autograd.grad(z.square().sum() + kl.exp().clamp(max=9).sum(), moments)[0])
    torch.testing.assert_close(packed, unpacked, rtol=2e-7, atol=2e-7)  # float32, rounded once more at a tile's edge
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-5, atol=1e-5)  # a shared scale sums over channels


def test_an_even_number_of_channels_is_halved_and_an_odd_one_shares_its_last(backend: Backend) -> None:
    for channels, latent in ((8, 4), (7, 6), (2, 1), (3, 2)):
        moments = normal((2, channels, 3), 0)
        assert gk.gaussian_rsample_kl_packed(moments)[0].shape == (2, latent, 3)
        by_name = gk.gaussian_rsample_kl_packed(moments, latent_channels=latent, key=KEY)
        torch.testing.assert_close(gk.gaussian_rsample_kl_packed(moments, key=KEY), by_name, rtol=0, atol=0)
    assert gk.gaussian_rsample_kl_packed(normal((2, 4, 3), 0), latent_channels=3)[0].shape == (2, 3, 3)


def test_a_key_stands_for_the_noise_of_random_normal(every_isa: Backend) -> None:
    for dtype in (torch.float64, torch.float32, torch.bfloat16, torch.float16):
        for shape in ((1, 1), (7, 3), (64, 257), (2, 4, 5, 3)):
            for sample_shape, offset in (((), 0), ((3,), 5), ((2, 2), 1)):
                loc, scale = normal(shape, 0, dtype), normal(shape, 1, dtype)
                wide = torch.float64 if dtype == torch.float64 else torch.float32
                eps = gk.random.normal(KEY, (*sample_shape, *shape), dtype=wide, element_offset=offset)
                by_key = gk.gaussian_rsample(loc, scale, key=KEY, sample_shape=sample_shape, element_offset=offset)
                assert torch.equal(by_key, gk.gaussian_rsample(loc, scale, eps=eps, sample_shape=sample_shape))


def test_noise_follows_the_logical_order_whatever_the_layout(every_isa: Backend) -> None:
    loc, scale = torch.zeros(3, 4, 5, 6), torch.zeros(3, 4, 5, 6)
    expected = gk.random.normal(KEY, (3, 4, 5, 6))
    for layout in LAYOUTS:
        for other in LAYOUTS:
            assert torch.equal(gk.gaussian_rsample(lay_out(loc, layout), lay_out(scale, other), key=KEY), expected)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("sample_shape", [(), (3,), (2, 2)], ids=str)
def test_ranks_that_share_a_batch_draw_its_sample_between_them(
    backend: Backend, layout: str, sample_shape: tuple[int, ...]
) -> None:
    shape = (6, 4, 5, 3)
    event = 4 * 5 * 3
    loc, scale = (lay_out(normal(shape, i, torch.float32), layout) for i in (0, 1))
    whole = gk.gaussian_rsample(loc, scale, key=KEY)
    parts = [
        gk.gaussian_rsample(loc[a:b], scale[a:b], key=KEY, element_offset=a * event)
        for a, b in ((0, 1), (1, 4), (4, 6))
    ]
    assert torch.equal(torch.cat(parts), whole)
    if sample_shape:  # samples lie in front of the batch: a rank takes one sample at a time, at its place
        many = gk.gaussian_rsample(loc, scale, key=KEY, sample_shape=sample_shape).flatten(0, len(sample_shape) - 1)
        for i, sample in enumerate(many):
            part = gk.gaussian_rsample(loc[1:4], scale[1:4], key=KEY, element_offset=(i * 6 + 1) * event)
            assert torch.equal(part, sample[1:4])


@pytest.mark.parametrize("sample_shape", [(), (3,), (2, 2)], ids=str)
def test_given_noise_and_arguments_of_unlike_layouts_agree_with_the_definition(
    every_isa: Backend, sample_shape: tuple[int, ...]
) -> None:
    def run() -> list[Tensor]:
        loc = torch.linspace(-1, 1, 120).view(2, 3, 4, 5).to(memory_format=torch.channels_last).requires_grad_()
        scale = torch.linspace(-2, 1, 120).view(2, 3, 5, 4).transpose(2, 3).requires_grad_()
        noise = gk.random.normal(KEY, (*sample_shape, 5, 4, 3, 2))
        eps = noise.permute(*range(len(sample_shape)), -1, -2, -3, -4).requires_grad_()
        z, kl = gk.gaussian_rsample_kl(loc, scale, sample_shape=sample_shape, eps=eps)
        loss = (z * torch.linspace(0, 3, z.numel()).view(z.shape).cos()).sum() + kl.sum()
        return [z, kl, *torch.autograd.grad(loss, [loc, scale, eps])]

    with gk.use_backend("reference"):
        expected = run()
    for result, value in zip(run(), expected, strict=True):
        # a few float32 roundings of terms up to 4 in sums of at most 4 samples
        assert (result - value).abs().max() <= 16 * 2.0**-23 * max(1.0, float(value.detach().abs().max()))


def test_a_list_of_generators_draws_each_row_from_its_own(backend: Backend) -> None:
    loc, scale = torch.randn(2, 4, 5).unbind()

    def generators(*seeds: int) -> list[torch.Generator]:
        return [torch.Generator().manual_seed(s) for s in seeds]

    whole = gk.gaussian_rsample(loc, scale, generator=generators(1, 2, 3, 4))
    others = gk.gaussian_rsample(loc, scale, generator=generators(9, 2, 8, 7))
    assert torch.equal(whole[1], others[1])
    assert not torch.equal(whole[0], others[0])
    for row, seed in enumerate((1, 2, 3, 4)):
        alone = gk.gaussian_rsample(loc[row : row + 1], scale[row : row + 1], generator=generators(seed))
        assert torch.equal(alone[0], whole[row])
        key = gk.random.reserve(torch.Generator().manual_seed(seed))
        assert torch.equal(gk.gaussian_rsample(loc[row], scale[row], key=key), whole[row])


def test_a_generator_is_a_reserved_key(backend: Backend) -> None:
    loc, scale = torch.randn(2, 4, 5).unbind()
    key = gk.random.reserve(torch.Generator().manual_seed(3))
    given = gk.gaussian_rsample_kl(loc, scale, generator=torch.Generator().manual_seed(3))
    assert torch.equal(given[0], gk.gaussian_rsample_kl(loc, scale, key=key)[0])


def test_the_default_generator_gives_fresh_noise_that_manual_seed_repeats(backend: Backend) -> None:
    loc, scale = torch.zeros(2, 4, 5).unbind()
    torch.manual_seed(1)
    first, second = gk.gaussian_rsample(loc, scale), gk.gaussian_rsample_kl(loc, scale)[0]
    assert not torch.equal(first, second)
    torch.manual_seed(1)
    assert torch.equal(gk.gaussian_rsample(loc, scale), first)
    assert torch.equal(gk.gaussian_rsample_kl(loc, scale)[0], second)


def test_temperature_zero_is_the_mean(backend: Backend) -> None:
    loc, scale = parameters()
    assert torch.equal(gk.gaussian_rsample(loc, scale, key=KEY, temperature=0.0), loc)


def test_no_samples_is_an_empty_sample_without_gradient(backend: Backend) -> None:
    loc, scale = parameters()
    z, kl = gk.gaussian_rsample_kl(loc, scale, key=KEY, sample_shape=(0,))
    assert z.shape == (0, *SHAPE)
    got = torch.autograd.grad(z.sum() + kl.sum(), (loc, scale))
    expected = torch.autograd.grad(gk.gaussian_kl(loc, scale).sum(), (loc, scale))
    torch.testing.assert_close(got, expected, rtol=1e-14, atol=0)


def test_arguments_broadcast_and_their_gradients_are_summed(backend: Backend) -> None:
    full = (3, 4, 5)
    shapes = [(3, 4, 5), (5,), (4, 1), (), (3, 1, 5), (1, 4, 5)]
    for a in shapes:
        for b in shapes:
            loc, scale = normal(a, 0).requires_grad_(), normal(b, 1).requires_grad_()
            prior = normal(full, 2).requires_grad_()
            loss = gk.gaussian_kl(loc, scale, prior, reduction="sum")
            wide = gk.gaussian_kl(loc.expand(full), scale.expand(full), prior, reduction="sum")
            torch.testing.assert_close(loss, wide, rtol=1e-13, atol=0)
            got, expected = (torch.autograd.grad(value, (loc, scale, prior)) for value in (loss, wide))
            torch.testing.assert_close(got, expected, rtol=1e-12, atol=1e-13)
