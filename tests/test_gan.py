"""The GAN family beyond the matrix: against formulas of its own, independent code, and whole training steps."""

import math
from collections.abc import Callable, Iterator
from contextlib import nullcontext

import pytest
import torch
import torch.nn.functional as F
from support import matrix
from support.backends import Backend, oracle
from support.cases import CASES, KEY, Case
from support.inputs import normal
from support.tolerance import assert_as_accurate
from torch import Tensor, nn
from torch.autograd import gradcheck, gradgradcheck
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.tensor import Replicate, Shard, distribute_tensor

import genkern as gk

DTYPES = [torch.float64, torch.float32, torch.bfloat16, torch.float16]
every_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=str)
LOSSES = ["gan_discriminator_loss", "gan_generator_loss", "gan_generator_loss-relativistic"]
PENALTIES = ["zero_centered_penalty", "gradient_norm_penalty"]
BY_NAME: dict[str, Case] = {case.name: case for case in CASES}


def bce(logits: Tensor, label: float) -> Tensor:
    return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, label), reduction="none")


# The losses as other code has them: of the labels, not of the sign of a softplus.
DISCRIMINATOR: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]] = {
    "minimax": (lambda x: bce(x, 1.0), lambda x: bce(x, 0.0)),
    "non_saturating": (lambda x: bce(x, 1.0), lambda x: bce(x, 0.0)),
    "hinge": (lambda x: F.relu(1 - x), lambda x: F.relu(1 + x)),
    "lsgan": (lambda x: 0.5 * (x - 1) ** 2, lambda x: 0.5 * x**2),
    "wgan": (lambda x: -x, lambda x: x),
}
GENERATOR: dict[str, Callable[[Tensor], Tensor]] = {
    "minimax": lambda x: -bce(x, 0.0),
    "non_saturating": lambda x: bce(x, 1.0),
    "hinge": lambda x: -x,
    "lsgan": lambda x: 0.5 * (x - 1) ** 2,
    "wgan": lambda x: -x,
}
SIZES = [((4,), (4,)), ((3, 1), (700, 1)), ((2, 1, 30, 31), (5,)), ((70_001,), (3,)), ((9,), (40_000, 2))]


def with_gradients(loss: Tensor, *leaves: Tensor) -> list[Tensor]:
    return [loss.detach(), *torch.autograd.grad(loss, leaves)]


@every_dtype
@pytest.mark.parametrize("kind", DISCRIMINATOR)
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_there_may_be_more_logits_of_one_kind_than_of_the_other(
    kind: str, reduction: str, dtype: torch.dtype, backend: Backend
) -> None:
    for real_size, fake_size in SIZES:
        leaves = [2 * normal(s, i) for i, s in enumerate((real_size, fake_size))]
        leaves = [t.to(dtype).requires_grad_() for t in leaves]
        loss = gk.gan_discriminator_loss(real=leaves[0], fake=leaves[1], kind=kind, reduction=reduction)
        result = with_gradients(loss, *leaves)
        assert loss.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)

        def formula(work: torch.dtype, given: list[Tensor] = leaves) -> list[Tensor]:
            values = [t.detach().to(work).requires_grad_() for t in given]
            terms = [f(v) for f, v in zip(DISCRIMINATOR[kind], values, strict=True)]
            reduced = [t.mean() if reduction == "mean" else t.sum() for t in terms]
            return with_gradients(reduced[0] + reduced[1], *values)

        expected, plain = formula(torch.float64), formula(loss.dtype)
        for what, value, right, usual in zip(("loss", "real", "fake"), result, expected, plain, strict=True):
            usual = usual.to(value.dtype)
            # The loss adds terms of both signs, whose mean may be a fraction of their size.
            terms = 1 if what != "loss" else 4 if reduction == "mean" else max(t.numel() for t in leaves)
            assert_as_accurate(f"{what} {real_size} {fake_size}", value, right, usual, terms)


@pytest.mark.parametrize("kind", GENERATOR)
def test_the_generator_loss_is_the_formula(kind: str, backend: Backend) -> None:
    fake = (3 * normal((5, 1, 4, 4), 1)).requires_grad_()
    for reduction, reduce in (("mean", Tensor.mean), ("sum", Tensor.sum), ("none", lambda t: t)):
        loss = gk.gan_generator_loss(fake=fake, kind=kind, reduction=reduction)
        expected = reduce(GENERATOR[kind](fake))
        torch.testing.assert_close(loss, expected, rtol=1e-13, atol=1e-13)  # float64, another order
        for found, right in zip(with_gradients(loss.sum(), fake), with_gradients(expected.sum(), fake), strict=True):
            torch.testing.assert_close(found, right, rtol=1e-13, atol=1e-14)


def test_real_logits_count_in_relativistic_pairs_alone(backend: Backend) -> None:
    real, fake = normal((6, 1), 0).requires_grad_(), normal((6, 1), 1)
    alone = gk.gan_generator_loss(fake=fake, kind="hinge")
    assert torch.equal(gk.gan_generator_loss(fake=fake, kind="hinge", real=real), alone)
    generator = gk.gan_generator_loss(fake=fake, real=real, kind="relativistic")
    discriminator = gk.gan_discriminator_loss(fake=real, real=fake, kind="relativistic")
    torch.testing.assert_close(generator, discriminator, rtol=1e-15, atol=0)  # the same game with the parts exchanged


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.5, 1.0])
def test_label_smoothing_is_the_cross_entropy_with_a_soft_label(smoothing: float, backend: Backend) -> None:
    real, fake = 3 * normal((40,), 0), 3 * normal((40,), 1)
    for kind in ("minimax", "non_saturating"):
        loss = gk.gan_discriminator_loss(real=real, fake=fake, kind=kind, label_smoothing=smoothing)
        expected = bce(real, 1 - smoothing).mean() + bce(fake, 0.0).mean()
        torch.testing.assert_close(loss, expected, rtol=1e-14, atol=1e-14)
    loss = gk.gan_discriminator_loss(real=real, fake=fake, kind="lsgan", label_smoothing=smoothing)
    expected = 0.5 * ((real - (1 - smoothing)) ** 2).mean() + 0.5 * (fake**2).mean()
    torch.testing.assert_close(loss, expected, rtol=1e-14, atol=1e-14)


@pytest.mark.parametrize("smoothing", [0.0, 0.25])
def test_logits_may_be_as_large_as_numbers_are(smoothing: float, every_isa: Backend) -> None:
    x = torch.tensor([1e4, -1e4, 3e38, -3e38, math.inf, -math.inf, 0.0], requires_grad=True)
    options = {"kind": "non_saturating", "label_smoothing": smoothing, "reduction": "none"}
    fake = torch.full_like(x, -1e5)  # of which the loss is 0
    loss = gk.gan_discriminator_loss(real=x, fake=fake, **options)
    s = smoothing
    expected = [1e4 * s, 1e4 * (1 - s), 3e38 * s, 3e38 * (1 - s), math.inf if s else 0.0, math.inf, math.log(2)]
    torch.testing.assert_close(loss, torch.tensor(expected), rtol=1e-6, atol=0)
    (gradient,) = torch.autograd.grad(loss.sum(), x)
    slopes = torch.tensor([s, s - 1, s, s - 1, s, s - 1, s - 0.5])
    torch.testing.assert_close(gradient, slopes, rtol=1e-6, atol=1e-12)


def test_small_losses_keep_their_digits(every_isa: Backend) -> None:
    """log(sigmoid(x) + eps) would be -eps or 0 from x = 17 on."""
    x = torch.linspace(10, 80, 15)
    loss = gk.gan_generator_loss(fake=x, kind="non_saturating", reduction="none")
    torch.testing.assert_close(loss.double(), torch.log1p(torch.exp(-x.double())), rtol=3e-7, atol=0)


@matrix.covers("reductions and units", of=[*LOSSES, *PENALTIES])
@pytest.mark.parametrize("name", [*LOSSES, *PENALTIES])
def test_reductions_are_sums_and_means_of_the_values(name: str, backend: Backend) -> None:
    case = BY_NAME[name]
    for shape in ((5,), (3, 4), (3, 4, 5, 2)):
        tensors = case.inputs(shape, torch.float64)
        (values,) = case(tensors, reduction="none")
        assert values.shape == (shape[:1] if name in PENALTIES else shape)
        for reduction, expected in (("sum", values.sum()), ("mean", values.mean())):
            torch.testing.assert_close(case(tensors, reduction=reduction)[0], expected, rtol=1e-13, atol=1e-13)


@matrix.covers("empty batches", of=[*LOSSES, *PENALTIES])
@pytest.mark.parametrize("name", [*LOSSES, *PENALTIES])
def test_nothing_sums_to_0_and_its_mean_is_nan(name: str, backend: Backend) -> None:
    case = BY_NAME[name]
    for shape in ((0,), (0, 8), (0, 3, 2, 2)):
        tensors = {n: t.requires_grad_() for n, t in case.inputs(shape, torch.float32).items()}
        assert case(tensors, reduction="none")[0].shape == case.result_shape(shape)
        assert case(tensors, reduction="sum")[0] == 0
        loss = case(tensors, reduction="mean")[0]
        assert loss.isnan()
        grads = torch.autograd.grad(loss, list(tensors.values()))
        assert all(g.shape == shape for g in grads)


def test_samples_without_elements_have_the_norm_0(backend: Backend) -> None:
    grad = torch.zeros(4, 3, 0)
    assert torch.equal(gk.zero_centered_penalty(grad, reduction="none"), torch.zeros(4))
    assert gk.gradient_norm_penalty(grad, center=2.0) == 4


def test_a_mean_over_no_real_logits_is_nan_and_the_fake_ones_have_their_gradient(backend: Backend) -> None:
    fake = torch.ones(4, requires_grad=True)
    loss = gk.gan_discriminator_loss(real=torch.ones(0), fake=fake, kind="wgan")
    assert loss.isnan()
    assert torch.equal(torch.autograd.grad(loss, fake)[0], torch.full((4,), 0.25))
    assert gk.gan_discriminator_loss(real=torch.ones(0), fake=fake, kind="wgan", reduction="sum") == 4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "wgan", "label_smoothing": 0.1}, "label_smoothing: expected 0 for kind 'wgan', which has no labels"),
        ({"kind": "lsgan", "hinge_scale": 2.0}, "hinge_scale: expected 1 for kind 'lsgan', got 2"),
        ({"kind": "relativistic"}, r"fake: expected shape \(3,\) as real for kind 'relativistic', got \(4,\)"),
        ({"kind": "hinge", "reduction": "none"}, r"fake: expected shape \(3,\) as real for reduction 'none'"),
        ({"kind": "vanilla"}, "kind: expected one of 'minimax', 'non_saturating', .*got 'vanilla'"),
        ({"kind": "hinge", "reduction": "batchmean"}, "reduction: expected one of 'none', 'mean', 'sum'"),
    ],
)
def test_options_that_would_do_nothing_and_logits_that_do_not_pair_are_refused(
    options: dict[str, object], message: str, backend: Backend
) -> None:
    with pytest.raises(ValueError, match=message):
        gk.gan_discriminator_loss(real=torch.zeros(3), fake=torch.zeros(4), **options)


# Interpolation


@every_dtype
def test_each_sample_has_one_uniform_number_of_the_key(dtype: torch.dtype, every_isa: Backend) -> None:
    wide = torch.float64 if dtype == torch.float64 else torch.float32
    for shape in ((5, 700), (2000, 3), (3, 4, 5, 7), (6,)):
        ones, zeros = torch.ones(shape, dtype=dtype), torch.zeros(shape, dtype=dtype)
        points = gk.interpolate(ones, zeros, key=KEY, element_offset=3)
        eps = gk.random.uniform(KEY, shape[:1], dtype=wide, element_offset=3)
        assert torch.equal(points, eps.to(dtype).view(-1, *(1,) * (len(shape) - 1)).expand(shape))


def test_a_part_of_the_batch_is_interpolated_as_in_the_whole(backend: Backend) -> None:
    real, fake = normal((9, 4, 3), 0), normal((9, 4, 3), 1)
    whole = gk.interpolate(real, fake, key=KEY)
    assert torch.equal(gk.interpolate(real[5:], fake[5:], key=KEY, element_offset=5), whole[5:])


def test_the_ends_are_met_exactly(every_isa: Backend) -> None:
    real, fake = torch.randn(4, 100), torch.randn(4, 100)
    assert torch.equal(gk.interpolate(real, fake, eps=torch.ones(4)), real)
    assert torch.equal(gk.interpolate(real, fake, eps=torch.zeros(4)), fake)


def test_each_sample_may_have_its_own_generator(backend: Backend) -> None:
    real, fake = torch.ones(3, 2), torch.zeros(3, 2)
    points = gk.interpolate(real, fake, generator=[torch.Generator().manual_seed(s) for s in (1, 2, 3)])
    alone = gk.interpolate(real[:1], fake[:1], generator=[torch.Generator().manual_seed(2)])
    assert torch.equal(points[1], alone[0])
    with pytest.raises(ValueError, match=r"generator: expected one per row of the sample \(3,\), got 1"):
        gk.interpolate(real, fake, generator=[torch.Generator()])


@pytest.mark.parametrize("shape", [(), (3,), (3, 2), (2, 2, 3)], ids=str)
def test_derivatives_by_eps_agree_with_finite_differences(shape: tuple[int, ...], backend: Backend) -> None:
    leaves = tuple(t.requires_grad_() for t in (normal(shape, 0), normal(shape, 1), normal(shape[:1], 2)))

    def run(real: Tensor, fake: Tensor, eps: Tensor) -> Tensor:
        return gk.interpolate(real, fake, eps=eps)

    assert gradcheck(run, leaves)
    assert gradgradcheck(run, leaves)


@every_dtype
def test_the_gradient_by_eps_is_as_accurate_as_plain_torch(dtype: torch.dtype, every_isa: Backend) -> None:
    for shape in ((4, 700), (50, 3), (2, 3, 200, 50)):
        values = [normal(shape, 0), normal(shape, 1), normal(shape[:1], 2).abs(), normal(shape, 3)]
        values = [v.to(dtype) for v in values]

        def gradient(work: torch.dtype, values: list[Tensor] = values) -> Tensor:
            real, fake, eps, cotangent = (v.to(work) for v in values)
            eps.requires_grad_()
            return torch.autograd.grad(gk.interpolate(real, fake, eps=eps), eps, cotangent)[0]

        result = gradient(dtype)
        with oracle():
            assert_as_accurate("eps", result, gradient(torch.float64), gradient(dtype), math.prod(shape[1:]))


# Penalties


def test_penalties_of_known_gradients(every_isa: Backend) -> None:
    grad = torch.zeros(3, 1000)
    grad[0, 7], grad[1] = 3.0, 0.1
    squares, norms = torch.tensor([9.0, 10.0, 0.0]), torch.tensor([3.0, math.sqrt(10), 0.0])
    torch.testing.assert_close(gk.zero_centered_penalty(grad, reduction="none"), squares)
    for center in (0.0, 1.0, 2.0):
        penalty = gk.gradient_norm_penalty(grad, center=center, reduction="none")
        torch.testing.assert_close(penalty, (norms - center) ** 2)


@pytest.mark.parametrize("center", [0.0, 1.0])
def test_a_norm_of_0_has_a_gradient_of_0(center: float, every_isa: Backend) -> None:
    grad = torch.zeros(3, 5)
    grad[1] = 1.0
    grad.requires_grad_()
    (first,) = torch.autograd.grad(gk.gradient_norm_penalty(grad, center=center), grad, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), grad)
    assert torch.equal(first[::2], torch.zeros(2, 5))
    assert torch.equal(second[::2], torch.zeros(2, 5))
    assert first[1].isfinite().all() and (first[1] != 0).all()


class Discriminator(nn.Module):
    """Small, smooth, with or without the statistic of the batch."""

    def __init__(self, stddev: bool) -> None:
        super().__init__()
        self.stddev = stddev
        self.first, self.second = nn.Conv2d(3, 8, 3, 2, 1), nn.Conv2d(8, 8, 3, 2, 1)
        self.last = nn.Linear(8 * 4 + 4 * stddev, 1)

    def forward(self, x: Tensor) -> Tensor:
        h = F.softplus(self.second(F.softplus(self.first(x))))
        if self.stddev:
            h = gk.minibatch_stddev(h)
        return self.last(h.flatten(1))


class PlainDiscriminator(Discriminator):
    def forward(self, x: Tensor) -> Tensor:
        h = F.softplus(self.second(F.softplus(self.first(x))))
        return self.last((stylegan_stddev(h, 4, 1) if self.stddev else h).flatten(1))


def stylegan_stddev(x: Tensor, group_size: int, num_channels: int) -> Tensor:
    """The layer of StyleGAN2 for a batch that the group divides, written down after the paper's description."""
    group = min(group_size, x.shape[0])
    split = x.unflatten(0, (group, x.shape[0] // group)).unflatten(2, (num_channels, x.shape[1] // num_channels))
    std = (split.var(0, correction=0) + 1e-8).sqrt()
    statistic = std.mean(tuple(range(2, std.dim())))
    appended = torch.cat([statistic] * group).view(x.shape[0], num_channels, *(1,) * (x.dim() - 2))
    return torch.cat((x, appended.expand(-1, -1, *x.shape[2:])), 1)


def r1_step(d: nn.Module, real: Tensor, fake: Tensor, fused: bool) -> Tensor:
    real = real.detach().requires_grad_()
    on_real, on_fake = d(real), d(fake)
    (grad,) = torch.autograd.grad(on_real.sum(), real, create_graph=True)
    if fused:
        loss = gk.gan_discriminator_loss(real=on_real, fake=on_fake, kind="non_saturating")
        return loss + 5.0 * gk.zero_centered_penalty(grad)
    loss = bce(on_real, 1.0).mean() + bce(on_fake, 0.0).mean()
    return loss.float() + 5.0 * grad.float().square().sum((1, 2, 3)).mean()


def gp_step(d: nn.Module, real: Tensor, fake: Tensor, fused: bool) -> Tensor:
    if fused:
        between = gk.interpolate(real, fake, key=KEY).requires_grad_()
    else:
        eps = gk.random.uniform(KEY, (real.shape[0],), dtype=real.dtype).view(-1, 1, 1, 1)
        between = (eps * real + (1 - eps) * fake).requires_grad_()
    (grad,) = torch.autograd.grad(d(between).sum(), between, create_graph=True)
    if fused:
        loss = gk.gan_discriminator_loss(real=d(real), fake=d(fake), kind="wgan")
        return loss + 10.0 * gk.gradient_norm_penalty(grad)
    norm = grad.flatten(1).float().norm(2, dim=1)
    return (d(fake).mean() - d(real).mean()).float() + 10.0 * ((norm - 1) ** 2).mean()


@pytest.mark.parametrize("autocast", [False, True], ids=["float32", "autocast"])
@pytest.mark.parametrize("stddev", [False, True], ids=["plain", "minibatch_stddev"])
@pytest.mark.parametrize("step", [r1_step, gp_step])
def test_a_whole_regularised_step_is_that_of_plain_torch(
    step: Callable[[nn.Module, Tensor, Tensor, bool], Tensor], stddev: bool, autocast: bool, backend: Backend
) -> None:
    torch.manual_seed(0)
    fused, plain = Discriminator(stddev), PlainDiscriminator(stddev)
    plain.load_state_dict(fused.state_dict())
    real, fake = torch.randn(2, 8, 3, 8, 8).unbind()

    def run(d: nn.Module, low: bool) -> list[Tensor]:
        d.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=low):
            loss = step(d, real, fake, d is fused)
        loss.backward()
        return [loss.detach(), *(p.grad.clone() for p in d.parameters())]

    found, expected = run(fused, autocast), run(plain, False)
    assert found[0].dtype == torch.float32
    # Under autocast each layer rounds to bfloat16: the fused step is off from that in float32 as the plain one is.
    rounding = 2.0**-6 if autocast else 2.0**-19
    for value, right, usual in zip(found, expected, run(plain, autocast), strict=True):
        allowed = 2 * (usual - right).abs().max() + rounding * right.abs().max()
        assert (value - right).abs().max() <= allowed


# Statistics of the batch


def by_groups(x: Tensor, group_size: int | None, features: int) -> Tensor:
    """Group by group, its members found one by one."""
    size = x.shape[0]
    groups = 1 if group_size is None else -(-size // group_size)
    members = [[n for n in range(size) if n % groups == g] for g in range(groups)]
    statistics = []
    for group in members:
        std = (torch.stack([x[n] for n in group]).var(0, correction=0) + 1e-8).sqrt()
        statistics.append(torch.stack([part.mean() for part in std.chunk(features, 0)]))
    appended = torch.stack([statistics[n % groups] for n in range(size)]).view(size, features, *(1,) * (x.dim() - 2))
    return torch.cat((x, appended.expand(size, features, *x.shape[2:])), 1)


@every_dtype
@pytest.mark.parametrize("group_size", [None, 1, 2, 3, 4, 5, 16])
@pytest.mark.parametrize("size", [1, 2, 7, 8, 9])
def test_groups_of_any_batch_are_as_even_as_they_can_be(
    size: int, group_size: int | None, dtype: torch.dtype, backend: Backend
) -> None:
    shapes = [(6,), (4, 3, 3), (6, 50), (2, 300)]
    for shape, features in zip(shapes, (3, 1, 2, 1), strict=True):
        x = normal((size, *shape), 0).to(dtype).requires_grad_()
        cotangent = normal((size, shape[0] + features, *shape[1:]), 1).to(dtype)
        result = gk.minibatch_stddev(x, group_size, features)
        got = [result, torch.autograd.grad(result, x, cotangent)[0]]

        def formula(work: torch.dtype, x: Tensor = x, cotangent: Tensor = cotangent, f: int = features) -> list[Tensor]:
            leaf = x.detach().to(work).requires_grad_()
            value = by_groups(leaf, group_size, f)
            return [value, torch.autograd.grad(value, leaf, cotangent.to(work))[0]]

        wide = torch.float64 if dtype == torch.float64 else torch.float32
        for what, value, right, usual in zip("yx", got, formula(torch.float64), formula(wide), strict=True):
            assert value.dtype == dtype
            assert_as_accurate(f"{what} {shape}", value, right, usual.to(dtype), terms=4)


def test_a_batch_that_the_group_divides_has_stylegans_statistic(backend: Backend) -> None:
    for size, group_size, features in ((8, 4, 1), (12, 4, 2), (6, 3, 3), (2, 4, 1)):
        x = normal((size, 6, 4, 4), 3)
        expected = stylegan_stddev(x, group_size, features)
        torch.testing.assert_close(gk.minibatch_stddev(x, group_size, features), expected, rtol=1e-14, atol=1e-14)


@pytest.mark.parametrize(("size", "group_size", "features"), [(4, 2, 2), (5, 3, 1), (3, None, 1), (3, 2, 2)])
def test_derivatives_of_the_statistic_agree_with_finite_differences(
    size: int, group_size: int | None, features: int, backend: Backend
) -> None:
    x = normal((size, 2, 2), 3).requires_grad_()

    def run(x: Tensor) -> Tensor:
        return gk.minibatch_stddev(x, group_size, features)

    assert gradcheck(run, (x,))
    assert gradgradcheck(run, (x,))


def test_equal_samples_differ_by_the_root_of_eps(every_isa: Backend) -> None:
    x = torch.full((4, 2, 3), 7.0, requires_grad=True)
    y = gk.minibatch_stddev(x)
    torch.testing.assert_close(y[:, 2], torch.full((4, 3), 1e-4))
    assert torch.autograd.grad(y[:, 2].sum(), x)[0].abs().max() < 1e-3


def test_batches_without_such_channels_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match="num_channels: expected a divisor of the 4 channels of x, got 3"):
        gk.minibatch_stddev(torch.zeros(2, 4), num_channels=3)
    with pytest.raises(ValueError, match=r"x: expected shape \(N, C, ...\), got \(4,\)"):
        gk.minibatch_stddev(torch.zeros(4))


def test_the_op_gives_norms_whose_gradient_adds_to_that_of_the_penalty(every_isa: Backend) -> None:
    """The public function gives the penalty alone."""
    grad = normal((5, 7), 0).requires_grad_()
    penalty, norms = torch.ops.genkern.gradient_norm_penalty(grad, center=0.3, reduction="sum")
    plain = grad.square().sum(1).sqrt()
    expected = ((plain - 0.3) ** 2).sum(), plain
    torch.testing.assert_close((penalty, norms), expected, rtol=1e-14, atol=0)
    weights = [torch.tensor(0.7, dtype=torch.float64), normal((5,), 1)]
    (found,) = torch.autograd.grad([penalty, norms], grad, weights)
    torch.testing.assert_close(found, *torch.autograd.grad(expected, grad, weights), rtol=1e-13, atol=1e-15)


# Averages of parameters

EMA_SHAPES = [(), (1,), (3, 5), (8, 4, 3, 3), (0, 4), (40_001,), (257, 129)]


def parameters(dtype: torch.dtype, seed: int) -> list[Tensor]:
    return [normal(shape, seed + i).to(dtype) for i, shape in enumerate(EMA_SHAPES)]


@pytest.mark.parametrize("decay", [0.0, 0.5, 0.999, 1.0])
@pytest.mark.parametrize("value_dtype", DTYPES, ids=str)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_averages_move_by_1_minus_decay(
    dtype: torch.dtype, value_dtype: torch.dtype, decay: float, every_isa: Backend
) -> None:
    averages, values = parameters(dtype, 0), parameters(value_dtype, 20)
    before = [a.clone() for a in averages]
    gk.ema_update_(averages, values, decay)
    wide = torch.float64 if torch.float64 in (dtype, value_dtype) else torch.float32
    for average, old, value in zip(averages, before, values, strict=True):
        expected = old.double() + (1 - decay) * (value.double() - old.double())
        plain = (old.to(wide) * decay + value.to(wide) * (1 - decay)).to(dtype)
        assert_as_accurate(str(tuple(old.shape)), average, expected, plain)


def test_all_decay_keeps_and_no_decay_copies(every_isa: Backend) -> None:
    averages, values = parameters(torch.float32, 0), parameters(torch.float32, 20)
    before = [a.clone() for a in averages]
    gk.ema_update_(averages, values, 1.0)
    assert all(torch.equal(a, b) for a, b in zip(averages, before, strict=True))
    for _ in range(3):
        gk.ema_update_(averages, averages, 0.9)
    assert all(torch.equal(a, b) for a, b in zip(averages, before, strict=True)), "equal numbers drift"


def test_averages_and_values_may_lie_in_any_layout(backend: Backend) -> None:
    makers: list[Callable[[Tensor], Tensor]] = [
        lambda t: t.contiguous(),
        lambda t: t.contiguous(memory_format=torch.channels_last),
        lambda t: torch.cat((t, t), 1).chunk(2, 1)[1],
        lambda t: t.mT.contiguous().mT,
        lambda t: torch.cat((t.new_zeros(1), t.flatten()))[1:].view(t.shape),
    ]
    base, other = normal((4, 6, 5, 3), 0, torch.float32), normal((4, 6, 5, 3), 1, torch.float32)
    averages, values = [m(base.clone()) for m in makers for _ in makers], [m(other) for _ in makers for m in makers]
    gk.ema_update_(averages, values, 0.75)
    for average in averages:
        torch.testing.assert_close(average, 0.75 * base + 0.25 * other)


def test_more_tensors_than_fit_one_launch_and_a_mix_of_dtypes(backend: Backend) -> None:
    dtypes = [torch.float32, torch.bfloat16, torch.float64]
    averages = [torch.full((1 + i % 5,), float(i % 7), dtype=dtypes[i % 3]) for i in range(2101)]
    expected = [a.double() * 0.5 + 0.5 * (i % 3) for i, a in enumerate(averages)]
    gk.ema_update_(averages, [torch.full(a.shape, float(i % 3)) for i, a in enumerate(averages)], 0.5)
    assert all(torch.equal(a.double(), e) for a, e in zip(averages, expected, strict=True))


def test_modules_are_averaged_without_a_trace_in_autograd(backend: Backend) -> None:
    model, ema = Discriminator(False), Discriminator(False)
    before = [p.detach().clone() for p in ema.parameters()]
    versions = [p._version for p in ema.parameters()]
    gk.ema_update_(ema.parameters(), model.parameters(), 0.9)
    for average, old, value in zip(ema.parameters(), before, model.parameters(), strict=True):
        torch.testing.assert_close(average, torch.lerp(old, value, 0.1))
        assert average.requires_grad and average.is_leaf and average.grad_fn is None
    assert all(p._version > v for p, v in zip(ema.parameters(), versions, strict=True)), "the change goes unseen"


def test_a_change_between_forward_and_backward_is_noticed(native: Backend) -> None:
    average = torch.ones(3)
    w = torch.ones(3, requires_grad=True)
    loss = (w * average).sum()
    gk.ema_update_([average], [torch.zeros(3)], 0.5)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


@pytest.mark.parametrize(
    ("ema_params", "params", "decay", "error", "message"),
    [
        ([torch.zeros(2)], [], 0.5, ValueError, "params: expected 1 Tensors, as many as ema_params, got 0"),
        (
            [torch.zeros(2), torch.zeros(3)],
            [torch.zeros(2), torch.zeros(4)],
            0.5,
            ValueError,
            r"params\[1\]: expected shape \(3,\) as ema_params\[1\], got \(4,\)",
        ),
        (
            [torch.zeros(2), torch.zeros(2).int()],
            [torch.zeros(2)] * 2,
            0.5,
            TypeError,
            r"ema_params\[1\]: expected a f",
        ),
        ([torch.zeros(2)], ["x"], 0.5, TypeError, r"params\[0\]: expected a Tensor, got str"),
        (torch.zeros(2), [torch.zeros(2)], 0.5, TypeError, "ema_params: expected a list of Tensors, got Tensor"),
        ([torch.zeros(2)], [torch.zeros(2)], 1.5, ValueError, "decay: expected a number from 0 to 1, got 1.5"),
        (
            [torch.zeros(2)] * 2,
            [torch.zeros(2), torch.zeros(2, device="meta")],
            0.5,
            ValueError,
            r"params\[1\]: expected device cpu as ema_params\[0\], got meta",
        ),
    ],
)
def test_errors_name_the_list_and_the_index(
    ema_params: list[Tensor], params: list[Tensor], decay: float, error: type, message: str, backend: Backend
) -> None:
    with pytest.raises(error, match=message):
        gk.ema_update_(ema_params, params, decay)


def test_nothing_is_averaged_of_no_tensors(backend: Backend) -> None:
    assert gk.ema_update_([], [], 0.5) is None


def test_the_op_is_one_that_torch_can_compile(native: Backend) -> None:
    averages, values = parameters(torch.float32, 0), parameters(torch.bfloat16, 20)
    results = torch.library.opcheck(torch.ops.genkern.ema_update_.default, (averages, values, 0.9))
    assert set(results.values()) == {"SUCCESS"}, results
    expected = [a.clone() for a in averages]
    gk.ema_update_(expected, values, 0.9)
    compiled = torch.compile(lambda a, v: gk.ema_update_(a, v, 0.9), fullgraph=True, backend="aot_eager")
    compiled(averages, values)
    assert all(torch.equal(a, e) for a, e in zip(averages, expected, strict=True))


def test_the_number_of_threads_does_not_change_an_average(every_isa: Backend) -> None:
    found = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        averages = parameters(torch.float32, 0)
        gk.ema_update_(averages, parameters(torch.float32, 20), 0.99)
        found.append(averages)
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


@pytest.fixture
def one_rank() -> Iterator[DeviceMesh]:
    torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
    try:
        yield init_device_mesh("cpu", (1,))
    finally:
        torch.distributed.destroy_process_group()


def test_dtensors_of_one_placement_are_averaged_where_they_are(one_rank: DeviceMesh) -> None:
    average, value = (distribute_tensor(normal((4, 3), s), one_rank, [Shard(0)]) for s in (0, 1))
    expected = torch.lerp(average.full_tensor(), value.full_tensor(), 0.1)
    gk.ema_update_([average], [value], 0.9)
    torch.testing.assert_close(average.full_tensor(), expected, rtol=1e-15, atol=1e-15)
    replicated = distribute_tensor(normal((4, 3), 1), one_rank, [Replicate()])
    with pytest.raises(ValueError, match=r"params\[0\]: expected placements \(Shard\(dim=0\),\) as ema_params\[0\]"):
        gk.ema_update_([average], [replicated], 0.9)


def test_the_eps_of_dtensors_is_sharded_as_their_samples(one_rank: DeviceMesh) -> None:
    real, fake, eps = normal((4, 3), 0), normal((4, 3), 1), normal((4,), 2)
    parts = [distribute_tensor(t, one_rank, [Shard(0)]) for t in (real, fake, eps)]
    points = gk.interpolate(parts[0], parts[1], eps=parts[2])
    assert points.placements == (Shard(0),)
    assert torch.equal(points.full_tensor(), gk.interpolate(real, fake, eps=eps))


@pytest.mark.parametrize("apart", [1e-3, 1e-5, 1e-7, 0.0])
@pytest.mark.parametrize("group_size", [2, 4, 5, None])
def test_a_group_of_nearly_equal_members_keeps_its_digits(
    apart: float, group_size: int | None, every_isa: Backend
) -> None:
    x = (100 * normal((1, 6, 3), 8) + apart * normal((8, 6, 3), 9)).float()
    for num_channels in (1, 2):
        cotangent = normal((8, 6 + num_channels, 3), 10, torch.float32)
        found = []
        for value in (x, x.double()):
            leaf = value.requires_grad_()
            with oracle() if value.dtype == torch.float64 else nullcontext():
                y = gk.minibatch_stddev(leaf, group_size, num_channels)
                found.append((y[:, 6:].detach(), torch.autograd.grad(y, leaf, cotangent.to(y.dtype))[0]))
        for value, exact in zip(*found, strict=True):
            # Deviations are differences of numbers as they came, exact or rounded once; sums of up to 8 of them.
            torch.testing.assert_close(value.double(), exact, rtol=4e-6, atol=4e-6 * exact.abs().max().item())
