"""The mixture of discretized logistics: against 50 digits, against PixelCNN++'s own layout and formula, and samples."""

import itertools
import math
from collections.abc import Sequence

import mpmath
import pytest
import torch
from support.backends import Backend, oracle
from support.cases import KEY
from support.inputs import LAYOUTS, lay_out, normal
from torch import Tensor

import genkern as gk

M = 3
HALF = 1 / 255


def exact_log_mass(x: float, mean: float, log_scale: float) -> mpmath.mpf:
    """Of the bin of x among 256 from -1 to 1, by differences with digits to spare."""
    with mpmath.workdps(60):
        half, inverse = mpmath.mpf(1) / 255, mpmath.exp(-mpmath.mpf(log_scale))
        a, b = ((mpmath.mpf(x) - mpmath.mpf(mean) + side * half) * inverse for side in (-1, 1))
        # 1 / (1 + exp(-b)) - 1 / (1 + exp(-a)) over a common denominator: no digit is lost before expm1.
        if x < -0.999:
            return -mpmath.log1p(mpmath.exp(-b))
        if x > 0.999:
            return -mpmath.log1p(mpmath.exp(a))
        with mpmath.extradps(20):
            mass = mpmath.log(-mpmath.expm1(a - b)) - mpmath.log1p(mpmath.exp(-b)) - mpmath.log1p(mpmath.exp(a))
        return mass


def one_logistic(mean: Tensor, log_scale: Tensor) -> Tensor:
    """Parameters [n, 3] of a mixture of one, over one channel."""
    return torch.stack((torch.zeros_like(mean), mean, log_scale), 1)


GREY = {"mixtures": 1, "rgb_coupling": False, "reduction": "none"}
LEVELS = torch.arange(256, dtype=torch.float64) / 127.5 - 1


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("log_scale", [-12.0, -7.0, -4.0, -1.0, 0.0, 3.0, 8.0])
def test_every_bin_mass_is_exact_in_both_tails(backend: Backend, log_scale: float, dtype: torch.dtype) -> None:
    means = [0.0, 0.1, -1.0, 1.0, 30.0, -1e4, 1e4]
    x = LEVELS.to(dtype).repeat(len(means))
    mean = torch.tensor(means, dtype=dtype).repeat_interleave(256)
    log_scales = torch.full_like(x, log_scale)
    result = -gk.discretized_logistic_mixture_nll(
        x[:, None], one_logistic(mean, log_scales), min_log_scale=-20.0, **GREY
    )
    expected = [exact_log_mass(v, m, log_scale) for v, m in zip(x.tolist(), mean.tolist(), strict=True)]
    # What arguments that are off by a rounding lose: x - mean -+ half, times the inverse scale, which is off by
    # |log_scale| roundings; beside it a few roundings of the result.
    eps = torch.finfo(dtype).eps
    for i, right in enumerate(expected):
        distance = (abs(x[i].item() - mean[i].item()) + HALF) * math.exp(-log_scale)
        slope = min(1.0, abs(float(right)) * 2 + 1e-6 if distance < 30 else 1.0)
        bound = eps * (8 * abs(float(right)) + (2 + abs(log_scale)) * slope * distance + 2 * min(1.0, distance))
        assert abs(result[i].item() - float(right)) <= bound, (x[i].item(), mean[i].item(), float(right))


@pytest.mark.parametrize("mean", [-1.5, -0.3, 0.0, 0.77, 1.0])
@pytest.mark.parametrize("log_scale", [-7.0, -3.0, 0.0, 8.0])
def test_the_masses_of_all_bins_sum_to_one(backend: Backend, mean: float, log_scale: float) -> None:
    params = one_logistic(torch.full((256,), mean).double(), torch.full((256,), log_scale).double())
    nll = gk.discretized_logistic_mixture_nll(LEVELS[:, None], params, **GREY)
    assert torch.exp(-nll).sum().item() == pytest.approx(1.0, abs=1e-13)  # 256 roundings


def test_the_probabilities_of_all_pixels_sum_to_one(backend: Backend) -> None:
    """Over all 4^3 colours of 4 levels, with coupling."""
    levels = torch.linspace(-1, 1, 4, dtype=torch.float64)
    x = torch.cartesian_prod(levels, levels, levels)
    params = normal((10 * M,), 3).expand(64, -1)
    nll = gk.discretized_logistic_mixture_nll(x, params, mixtures=M, bins=4, reduction="none")
    assert torch.exp(-nll).sum().item() == pytest.approx(1.0, abs=1e-13)  # 64 roundings


def pixelcnn_pp(x: Tensor, params: Tensor) -> Tensor:
    """Transcribed from the paper's equations and the published order of channels: [B, H, W, 3], [B, H, W, 10 M]."""
    mixtures = params.shape[-1] // 10
    logits, rest = params[..., :mixtures], params[..., mixtures:].unflatten(-1, (3, 3 * mixtures))
    mean, log_scale, raw = rest.split(mixtures, -1)  # [B, H, W, 3, M]
    c, x = torch.tanh(raw), x[..., None]
    mean = torch.stack(
        (
            mean[..., 0, :],
            mean[..., 1, :] + c[..., 0, :] * x[..., 0, :],
            mean[..., 2, :] + c[..., 1, :] * x[..., 0, :] + c[..., 2, :] * x[..., 1, :],
        ),
        -2,
    )
    inverse = torch.exp(-log_scale.clamp(min=-7))
    above, below = torch.sigmoid((x - mean + HALF) * inverse), torch.sigmoid((x - mean - HALF) * inverse)
    mass = torch.where(x < -0.999, above, torch.where(x > 0.999, 1 - below, above - below))
    return -torch.logsumexp(torch.log_softmax(logits, -1) + torch.log(mass).sum(-2), -1)


def image(shape: Sequence[int], seed: int) -> Tensor:
    return LEVELS[torch.randint(256, tuple(shape), generator=torch.Generator().manual_seed(seed))]


def test_it_is_the_published_formula_in_the_published_order(backend: Backend) -> None:
    x, params = image((2, 5, 4, 3), 0), normal((2, 5, 4, 10 * M), 1)
    expected = pixelcnn_pp(x, params)
    result = gk.discretized_logistic_mixture_nll(x, params, mixtures=M, channel_dim=-1, reduction="none")
    torch.testing.assert_close(result, expected, rtol=1e-10, atol=0)  # the naive difference of sigmoids
    first = gk.discretized_logistic_mixture_nll(
        x.permute(0, 3, 1, 2).contiguous(), params.permute(0, 3, 1, 2).contiguous(), mixtures=M, reduction="none"
    )
    torch.testing.assert_close(first, result, rtol=1e-15, atol=1e-15)


def test_without_coupling_channels_share_the_component(backend: Backend) -> None:
    x, params = image((2, 2, 5), 0), normal((2, M + 2 * M * 2, 5), 1)
    result = gk.discretized_logistic_mixture_nll(x, params, mixtures=M, rgb_coupling=False, reduction="none")
    by_channel = params[:, M:].unflatten(1, (2, 2, M))
    mass = sum(
        -torch.stack(
            [
                gk.discretized_logistic_mixture_nll(
                    x[:, c : c + 1],
                    torch.stack((0 * x[:, c], by_channel[:, c, 0, m], by_channel[:, c, 1, m]), 1),
                    **GREY,
                )
                for m in range(M)
            ],
            1,
        )
        for c in range(2)
    )
    expected = -torch.logsumexp(torch.log_softmax(params[:, :M], 1) + mass, 1)
    torch.testing.assert_close(result, expected, rtol=1e-13, atol=0)


def test_log_scales_are_clamped_below(backend: Backend) -> None:
    x = torch.tensor([[0.3]], dtype=torch.float64)
    params = torch.tensor([[0.0, 0.31, -9.0]], dtype=torch.float64, requires_grad=True)
    loss = gk.discretized_logistic_mixture_nll(x, params, **GREY)
    loss.sum().backward()
    at_bound = gk.discretized_logistic_mixture_nll(x, torch.tensor([[0.0, 0.31, -7.0]], dtype=torch.float64), **GREY)
    assert torch.equal(loss, at_bound)
    assert params.grad[0, 2] == 0 and params.grad[0, 1] != 0


def test_bits_per_dim_counts_channels(backend: Backend) -> None:
    x, params = image((2, 3, 4, 4), 0), normal((2, 10 * M, 4, 4), 1)
    call = {"mixtures": M}
    nats = gk.discretized_logistic_mixture_nll(x, params, **call)
    per_dim = nats / math.log(2) / (3 * 4 * 4)
    bits = gk.discretized_logistic_mixture_nll(x, params, units="bits_per_dim", **call)
    mean = gk.discretized_logistic_mixture_nll(x, params, units="bits_per_dim", reduction="mean", **call)
    each = gk.discretized_logistic_mixture_nll(x, params, units="bits_per_dim", reduction="none", **call)
    torch.testing.assert_close(bits, per_dim, rtol=1e-14, atol=0)
    torch.testing.assert_close(mean, per_dim.mean(), rtol=1e-14, atol=0)
    torch.testing.assert_close(each.mean((1, 2)), per_dim, rtol=1e-14, atol=0)


def test_extreme_logits_choose_a_component(backend: Backend) -> None:
    x = torch.full((2, 1), 0.5)
    params = torch.tensor([[-math.inf, 0.0, 0.5, 0.5, 0.0, -1.0], [-3e4, 3e4, 0.5, 0.5, 0.0, -1.0]])
    alone = gk.discretized_logistic_mixture_nll(x, torch.tensor([[0.0, 0.5, -1.0]]).expand(2, -1), **GREY)
    result = gk.discretized_logistic_mixture_nll(x, params, **{**GREY, "mixtures": 2})
    torch.testing.assert_close(result, alone, rtol=1e-6, atol=0)


@pytest.mark.parametrize("ndim", [2, 3, 4])
def test_parameters_broadcast(backend: Backend, ndim: int) -> None:
    """As for several samples of the data's latent, or one set of parameters for all pixels."""
    shape = (2, 5, 3)[: ndim - 1]
    x = image((shape[0], 3, *shape[1:]), 0).requires_grad_()
    few = normal((1, 10 * M, *shape[1:]), 1).requires_grad_()
    many = few.expand(shape[0], *few.shape[1:])
    loss = gk.discretized_logistic_mixture_nll(x, few, mixtures=M)
    expected = gk.discretized_logistic_mixture_nll(x, many.contiguous(), mixtures=M)
    assert torch.equal(loss, expected)
    for value, right in zip(
        torch.autograd.grad(loss.sum(), (x, few)), torch.autograd.grad(expected.sum(), (x, few)), strict=True
    ):
        torch.testing.assert_close(value, right, rtol=1e-13, atol=1e-14)  # the order of a sum of up to 10 values


# --- samples ---


def test_a_sample_is_what_its_noise_says() -> None:
    params = normal((2, 10 * M, 4, 5), 1)
    eps = gk.random.uniform(KEY, (2, 4, 5, 4), dtype=torch.float64)
    x = gk.discretized_logistic_mixture_sample(params, mixtures=M, key=KEY)
    assert torch.equal(x, gk.discretized_logistic_mixture_sample(params, mixtures=M, eps=eps))
    weights = torch.softmax(params[:, :M], 1)
    of_colours = params[:, M:].unflatten(1, (3, 3, M))
    for b, i, j in [(0, 0, 0), (1, 3, 4), (1, 0, 2)]:
        u, value, colours, m = eps[b, i, j].tolist(), 0.0, [], 0
        while u[0] >= (value := value + weights[b, m, i, j].item()):
            m += 1
        mean, log_scale, raw = of_colours[b, :, :, m, i, j].unbind(1)
        c = torch.tanh(raw).tolist()
        for k in range(3):
            moved = (0.0, 0.0) if k == 0 else (c[0], 0.0) if k == 1 else (c[1], c[2])
            loc = mean[k].item() + sum(a * v for a, v in zip(moved, colours, strict=False))
            scale = math.exp(max(-7.0, log_scale[k].item()))
            colours.append(min(1.0, max(-1.0, loc + scale * math.log(u[k + 1] / (1 - u[k + 1])))))
        assert x[b, :, i, j].tolist() == pytest.approx(colours, rel=1e-13)


def test_samples_fall_into_bins_as_often_as_their_masses_say() -> None:
    levels = torch.linspace(-1, 1, 5, dtype=torch.float64)
    row = normal((10 * M,), 7)
    n = 200_000
    x = gk.discretized_logistic_mixture_sample(row.expand(n, -1), mixtures=M, channel_dim=1, key=KEY)
    red = ((x[:, 0] + 1) * 2).round().clamp(0, 4)
    counts = torch.stack([(red == k).sum() for k in range(5)]).double()
    grey = torch.cat((row[:M], row[M : 3 * M])).expand(5, -1)  # red by itself is a mixture without coupling
    nll = gk.discretized_logistic_mixture_nll(
        levels[:, None], grey, mixtures=M, bins=5, rgb_coupling=False, reduction="none"
    )
    expected = n * torch.exp(-nll)
    chi_squared = ((counts - expected) ** 2 / expected).sum().item()
    assert chi_squared < 18.5  # 4 degrees of freedom: p = 0.001


@pytest.mark.parametrize("layout", ["contiguous", "channels_last", "transposed", "offset"])
def test_a_sample_does_not_depend_on_the_layout(layout: str) -> None:
    params = normal((2, 10 * M, 4, 5), 1, torch.float32)
    expected = gk.discretized_logistic_mixture_sample(params, mixtures=M, key=KEY)
    assert layout in LAYOUTS
    assert torch.equal(gk.discretized_logistic_mixture_sample(lay_out(params, layout), mixtures=M, key=KEY), expected)
    last = gk.discretized_logistic_mixture_sample(params.movedim(1, -1), mixtures=M, channel_dim=-1, key=KEY)
    assert torch.equal(last.movedim(-1, 1), expected)


def test_a_part_of_a_batch_has_its_part_of_the_sample() -> None:
    params = normal((4, 10 * M, 3, 2), 1)
    whole = gk.discretized_logistic_mixture_sample(params, mixtures=M, key=KEY)
    part = gk.discretized_logistic_mixture_sample(params[2:], mixtures=M, key=KEY, element_offset=2 * 3 * 3 * 2)
    assert torch.equal(part, whole[2:])
    with pytest.raises(ValueError, match="element_offset: expected a multiple of 3"):
        gk.discretized_logistic_mixture_sample(params, mixtures=M, key=KEY, element_offset=1)


def test_samples_from_generators_repeat_and_rows_have_their_own() -> None:
    params = normal((2, 10 * M, 3), 1, torch.bfloat16).requires_grad_()
    call = {"mixtures": M}
    first = gk.discretized_logistic_mixture_sample(params, generator=torch.Generator().manual_seed(1), **call)
    again = gk.discretized_logistic_mixture_sample(params, generator=torch.Generator().manual_seed(1), **call)
    assert torch.equal(first, again) and first.dtype == torch.bfloat16 and not first.requires_grad
    generators = [torch.Generator().manual_seed(seed) for seed in (1, 2)]
    rows = gk.discretized_logistic_mixture_sample(params, generator=generators, **call)
    assert torch.equal(rows[:1], gk.discretized_logistic_mixture_sample(params[:1], generator=[
        torch.Generator().manual_seed(1)], **call))  # fmt: skip
    torch.manual_seed(0)
    drawn = gk.discretized_logistic_mixture_sample(params, **call)
    assert not torch.equal(drawn, gk.discretized_logistic_mixture_sample(params, **call))


def test_sampling_compiles_whole() -> None:
    params = normal((2, 10 * M, 3, 2), 1, torch.float32)

    def sample(params: Tensor, key: Tensor) -> Tensor:
        return gk.discretized_logistic_mixture_sample(params, mixtures=M, key=key)

    compiled = torch.compile(sample, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(params, KEY), sample(params, KEY))


def test_noise_of_nothing_gives_the_edges() -> None:
    params = normal((1, 10 * M), 1)
    edge = gk.discretized_logistic_mixture_sample(params, mixtures=M, eps=torch.zeros(1, 4, dtype=torch.float64))
    assert edge.tolist() == [[-1.0] * 3]


@pytest.mark.parametrize(
    ("x", "params", "options", "message"),
    [
        ((2, 3, 4), (2, 29, 4), {}, r"params: expected 10 \* 3 channels along dimension 1, got 29"),
        ((2, 1, 4), (2, 30, 4), {}, "x: expected 3 channels along dimension 1, for which params has parameters, got 1"),
        (
            (2, 1, 4),
            (2, 8, 4),
            {"rgb_coupling": False},
            r"params: expected M \+ 2 M C channels along dimension 1 for M = 3",
        ),
        ((2, 3), (2, 30, 1), {}, "x: expected 3 dimensions as params, got shape \\(2, 3\\)"),
        ((2, 3, 4), (2, 30, 5), {}, "params: expected a shape that broadcasts with x"),
        ((2, 3, 4), (2, 30, 4), {"channel_dim": 3}, "channel_dim: expected a dimension of params"),
        ((2, 3, 4), (2, 30, 4), {"bins": 1}, "bins: expected an int >= 2, got 1"),
        ((2, 3, 4), (2, 30, 4), {"mixtures": 0}, "mixtures: expected an int >= 1, got 0"),
        ((2, 3, 4), (2, 30, 4), {"low": 1.0}, "high: expected a number above low 1"),
        ((2, 3, 4), (2, 30, 4), {"event_ndim": 3}, "event_ndim: expected at most 2"),
    ],
)
def test_what_does_not_fit_is_named(
    backend: Backend, x: tuple[int, ...], params: tuple[int, ...], options: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        gk.discretized_logistic_mixture_nll(torch.zeros(x), torch.zeros(params), **{"mixtures": M, **options})


@pytest.mark.parametrize("far", [1.0, 100.0, 1e4])
@pytest.mark.parametrize("coupled", [False, True], ids=["channels", "colours"])
def test_the_order_of_components_does_not_matter(far: float, coupled: bool, every_isa: Backend) -> None:
    """Every order of three components of very different logits, means and masses: posteriors add up to 1 in each."""
    colours = 3 if coupled else 1
    x = (0.1 * normal((7, colours), 5, torch.float32)).requires_grad_()
    logits = torch.tensor([0.0, 0.3, 30.0]) * normal((7, 1), 6, torch.float32)
    of_colours = far * normal((7, colours, 3 if coupled else 2, M), 7, torch.float32)
    of_colours[:, :, 1] = -2.0  # log-scales
    of_colours[:, :, 0, 2] = of_colours[:, :, 0, 1]  # two components at one place
    seen = []
    for order in itertools.permutations(range(M)):
        index = torch.tensor(order)
        params = torch.cat((logits[:, index], of_colours[..., index].flatten(1)), 1).requires_grad_()
        options = {"mixtures": M, "rgb_coupling": coupled, "reduction": "none"}
        nll = gk.discretized_logistic_mixture_nll(x, params, **options)
        by_x, by_params = torch.autograd.grad(nll.sum(), (x, params))
        with oracle():
            wide = x.detach().double().requires_grad_(), params.detach().double()
            exact = torch.autograd.grad(gk.discretized_logistic_mixture_nll(*wide, **options).sum(), wide[0])[0]
        # The two components at one place share their posterior in some way; by x that is all one.
        torch.testing.assert_close(by_x.double(), exact, rtol=2e-5, atol=2e-5 * exact.abs().max().item())
        back = torch.empty_like(index)
        back[index] = torch.arange(M)
        seen.append((nll.detach(), by_params[:, :M][:, back], by_x))
    for nll, by_logits, by_x in seen[1:]:
        for value, first in zip((nll, by_logits, by_x), seen[0], strict=True):
            torch.testing.assert_close(value, first, rtol=1e-6, atol=1e-6 * first.abs().max().item())


@pytest.mark.parametrize("coupled", [False, True], ids=["channels", "colours"])
def test_a_pixel_without_any_mass_has_no_gradient(coupled: bool, every_isa: Backend) -> None:
    colours = 3 if coupled else 1
    x = (0.1 * normal((3, colours), 5, torch.float32)).requires_grad_()
    params = normal((3, M * (1 + colours * (3 if coupled else 2))), 6, torch.float32)
    params[1, M : 2 * M], params[1, 2 * M : 3 * M] = 3e38, -5.0  # more scales away than can be counted
    params.requires_grad_()
    nll = gk.discretized_logistic_mixture_nll(x, params, mixtures=M, rgb_coupling=coupled, reduction="none")
    assert nll.isposinf().tolist() == [False, True, False]
    for grad in torch.autograd.grad(nll.sum(), (x, params)):
        assert not grad[1].any()
        assert grad.isfinite().all() and grad[[0, 2]].abs().sum(1).all()
