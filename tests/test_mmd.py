"""The maximum mean discrepancy: closed forms, the definition in float64, and what a statistic must be."""

import math

import pytest
import torch
import torch._dynamo.testing
from numpy.polynomial.hermite_e import hermegauss
from support.backends import Backend, oracle
from support.capture import genkern_calls
from support.inputs import normal
from support.tolerance import assert_as_accurate
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

import genkern as gk
from benchmarks.measure import peak_memory

SIZES = [(2, 2, 1), (5, 3, 2), (70, 65, 16), (2, 300, 3), (129, 64, 33), (9, 33, 0)]
KERNELS = ("rbf", "imq")
SCALES = (1.0, 4.0, 30.0)


def points(x: int, y: int, dims: int, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    return normal((x, dims), 0, dtype), (1.3 * normal((y, dims), 1) + 0.2).to(dtype)


def plain(x: Tensor, y: Tensor, kernel: str, scales: tuple[float, ...], estimator: str) -> Tensor:
    """As people write it, by matrices of kernel values."""

    def values(a: Tensor, b: Tensor) -> Tensor:
        squared = torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist").square()
        return sum((squared / -s).exp() if kernel == "rbf" else s / (s + squared) for s in scales)

    def within(a: Tensor) -> Tensor:
        found, n = values(a, a), len(a)
        if estimator == "v":
            return found.mean()
        return (found.sum() - found.diagonal().sum()) / (n * (n - 1))

    return within(x) + within(y) - 2 * values(x, y).mean()


def evaluate(x: Tensor, y: Tensor, kernel: str = "rbf", scales: tuple = SCALES, estimator: str = "u") -> list[Tensor]:
    leaves = [t.detach().requires_grad_() for t in (x, y)]
    value = gk.mmd(*leaves, kernel=kernel, scales=scales, estimator=estimator)
    return [value, *torch.autograd.grad(value, leaves, torch.full_like(value, 0.7))]


@pytest.mark.parametrize("estimator", ["u", "v"])
@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_value_and_gradients_are_as_accurate_as_plain_torch(
    sizes: tuple[int, int, int], dtype: torch.dtype, kernel: str, estimator: str, backend: Backend
) -> None:
    x, y = points(*sizes, dtype)
    result = evaluate(x, y, kernel, SCALES, estimator)
    with oracle():
        same = evaluate(x, y, kernel, SCALES, estimator)
        expected = evaluate(x.double(), y.double(), kernel, SCALES, estimator)
    wide = torch.float64 if dtype == torch.float64 else torch.float32
    assert [t.dtype for t in result] == [wide, dtype, dtype]
    # The value is a difference of means of up to one for each scale.
    unit = torch.finfo(wide).eps * len(SCALES)
    assert abs(result[0].double() - expected[0]) <= 2 * abs(same[0].double() - expected[0]) + 4 * unit
    for name, value, right, usual in zip("xy", result[1:], expected[1:], same[1:], strict=True):
        assert_as_accurate(name, value, right, usual, 8 + sizes[2])


@pytest.mark.parametrize("estimator", ["u", "v"])
@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("sizes", SIZES[:-1], ids=str)
def test_it_is_the_formula_written_out(
    sizes: tuple[int, int, int], kernel: str, estimator: str, backend: Backend
) -> None:
    x, y = points(*sizes)
    found = gk.mmd(x, y, kernel=kernel, scales=SCALES, estimator=estimator)
    torch.testing.assert_close(found, plain(x, y, kernel, SCALES, estimator), rtol=1e-12, atol=1e-12)


def test_shifted_gaussians_are_as_far_apart_as_the_closed_form_says(backend: Backend) -> None:
    # A difference of two draws of N(0, I) is N(0, 2) in each of D dimensions, and E exp(-u² / s) of u from N(m, 2) is
    # (1 + 4/s)^(-1/2) exp(-m² / (s + 4)); dimensions multiply.
    dims, shift, scale = 64, 0.5, 128.0
    same = (1 + 4 / scale) ** (-dims / 2)
    expected = 2 * same * (1 - math.exp(-dims * shift**2 / (scale + 4)))
    nodes, weights = hermegauss(40)
    across = (weights * [math.exp(-((shift + math.sqrt(2) * u) ** 2) / scale) for u in nodes]).sum() / weights.sum()
    within = (weights * [math.exp(-2 * u**2 / scale) for u in nodes]).sum() / weights.sum()
    assert 2 * within**dims - 2 * across**dims == pytest.approx(expected, rel=1e-12)
    assert expected == pytest.approx(0.0852853, abs=5e-8)

    draws = normal((40, 2, 200, dims), 3)
    found = torch.stack([gk.mmd(x + shift, y, scales=(scale,), estimator="u") for x, y in draws])
    error = (found.std() / math.sqrt(len(found))).item()
    assert error < 0.002
    assert found.mean().item() == pytest.approx(expected, abs=3 * error)


def test_the_unbiased_statistic_of_equal_laws_is_zero_on_average_and_the_other_is_not(backend: Backend) -> None:
    draws = normal((60, 2, 50, 5), 4)
    u, v = (torch.stack([gk.mmd(x, y, scales=(5.0,), estimator=e) for x, y in draws]) for e in "uv")
    error = (u.std() / math.sqrt(len(u))).item()
    assert u.min() < 0 < u.max()
    assert abs(u.mean().item()) < 3 * error < v.mean().item()
    assert (v > 0).all()


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_set_is_at_distance_zero_from_itself_in_any_order(kernel: str, backend: Backend) -> None:
    x, y = points(90, 41, 7)
    options = {"kernel": kernel, "scales": SCALES}
    assert abs(gk.mmd(x, x, estimator="v", **options)) < 1e-14
    assert abs(gk.mmd(x, x.flip(0), estimator="v", **options)) < 1e-14
    for estimator in "uv":
        found = gk.mmd(x, y, estimator=estimator, **options)
        for other in (
            gk.mmd(y, x, estimator=estimator, **options),
            gk.mmd(x.flip(0), y.roll(5, 0), estimator=estimator, **options),
        ):
            torch.testing.assert_close(other, found, rtol=1e-13, atol=1e-15)


def test_scales_add_up(backend: Backend) -> None:
    x, y = points(20, 30, 4)
    for kernel in KERNELS:
        each = sum(gk.mmd(x, y, kernel=kernel, scales=(s,)) for s in SCALES)
        torch.testing.assert_close(gk.mmd(x, y, kernel=kernel, scales=SCALES), each, rtol=1e-13, atol=1e-14)
        many = tuple(range(1, 17))
        torch.testing.assert_close(
            gk.mmd(x, y, kernel=kernel, scales=many), plain(x, y, kernel, many, "u"), rtol=1e-12, atol=1e-12
        )


@pytest.mark.parametrize("estimator", ["u", "v"])
@pytest.mark.parametrize("kernel", KERNELS)
def test_derivatives_agree_with_finite_differences(kernel: str, estimator: str, backend: Backend) -> None:
    leaves = tuple(t.requires_grad_() for t in points(4, 3, 2))

    def run(x: Tensor, y: Tensor) -> Tensor:
        return gk.mmd(x, y, kernel=kernel, scales=SCALES, estimator=estimator)

    assert gradcheck(run, leaves)
    assert gradgradcheck(run, leaves)


@pytest.mark.parametrize("kernel", KERNELS)
def test_points_far_from_the_origin_keep_their_digits(kernel: str, backend: Backend) -> None:
    x, y = (t + 4096.0 for t in points(30, 40, 6, torch.float32))  # of which the differences are exact
    found = evaluate(x, y, kernel)
    near = evaluate(x.double() - 4096, y.double() - 4096, kernel)
    for value, right in zip(found, near, strict=True):
        torch.testing.assert_close(value.double(), right, rtol=1e-5, atol=1e-6)  # float32


def test_points_beyond_every_scale_count_for_nothing(backend: Backend) -> None:
    x, y = points(6, 5, 3, torch.float32)
    x = torch.cat([x, torch.tensor([[1e25, 0, 0], [0, -math.inf, 0]])])
    n = len(x)
    whole, few = (gk.mmd(t, y, scales=SCALES, estimator="v").item() for t in (x, x[:-2]))
    options = {"scales": SCALES, "estimator": "v"}
    near, both = x[:-2], len(SCALES) / n**2
    own = (plain(near.double(), near.double() + 1e9, "rbf", SCALES, "v") / 2).item()  # the mean within `near`
    own_y = (plain(y.double(), y.double() + 1e9, "rbf", SCALES, "v") / 2).item()
    cross = (own + own_y - few) / 2
    expected = own * (n - 2) ** 2 / n**2 + 2 * both + own_y - 2 * cross * (n - 2) / n
    assert whole == pytest.approx(expected, abs=1e-6)
    assert gk.mmd(x, y * math.nan, **options).isnan()


def test_the_number_of_threads_does_not_change_a_bit(backend: Backend) -> None:
    x, y = points(700, 333, 5, torch.float32)
    found = []
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        found.append(evaluate(x, y))
    for other in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(found[0], other, strict=True))


def test_layouts_of_the_points_do_not_matter(backend: Backend) -> None:
    x, y = points(20, 17, 6)
    expected = evaluate(x, y)
    wide = torch.empty(20, 12, dtype=x.dtype)
    wide[:, ::2] = x
    for value, right in zip(evaluate(wide[:, ::2], y.T.contiguous().T), expected, strict=True):
        torch.testing.assert_close(value, right, rtol=1e-13, atol=1e-15)  # plain torch sums in another order
    expanded = x[:1].expand(20, 6)
    for value, right in zip(evaluate(expanded, y), evaluate(expanded.clone(), y), strict=True):
        torch.testing.assert_close(value, right, rtol=1e-13, atol=1e-15)


def test_memory_grows_with_the_points_not_with_their_pairs(native: Backend) -> None:
    x, y = (t.requires_grad_() for t in points(3000, 3000, 16, torch.float32))

    def step() -> None:
        gk.mmd(x, y, scales=SCALES).backward()

    step()
    peak = peak_memory(step)
    if peak is None:
        pytest.skip("the system does not tell a process its peak memory")
    assert peak < 3000 * 3000 * 4  # one matrix of kernel values; the formula written out takes many


# ---- what torch does with it ----


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16], ids=str)
def test_opcheck_passes(dtype: torch.dtype, native: Backend) -> None:
    x, y = points(6, 5, 3, dtype)
    calls = genkern_calls(lambda: gk.mmd(x, y, scales=SCALES))
    ((op, args, kwargs),) = calls
    asked = tuple(t.detach().requires_grad_() if isinstance(t, Tensor) else t for t in args)
    assert set(torch.library.opcheck(op, asked, kwargs).values()) == {"SUCCESS"}


def loss(x: Tensor, y: Tensor) -> Tensor:
    return gk.mmd(x, y, kernel="imq", scales=(2.0, 5.0)).sin()


@pytest.mark.parametrize("dynamic", [False, True])
def test_it_compiles_whole_and_once_for_other_sizes(dynamic: bool, chosen: Backend) -> None:
    torch._dynamo.reset()
    counter = torch._dynamo.testing.CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(loss, fullgraph=True, dynamic=dynamic or None, backend=counter)
    counts = []
    for size in (4, 6, 9, 17) if dynamic else (4, 4):
        leaves = [t.requires_grad_() for t in points(size, 5, 3)]
        grads = torch.autograd.grad(compiled(*leaves), leaves)
        torch.testing.assert_close(grads, torch.autograd.grad(loss(*leaves), leaves), rtol=1e-11, atol=1e-12)
        counts.append(counter.frame_count)
    assert len(set(counts)) == 1


def test_transforms_take_the_definition(chosen: Backend) -> None:
    x, y = points(6, 5, 3)
    leaves = [t.clone().requires_grad_() for t in (x, y)]
    expected = torch.autograd.grad(loss(*leaves), leaves)
    torch.testing.assert_close(torch.func.grad(loss, argnums=(0, 1))(x, y), expected, rtol=1e-11, atol=1e-12)
    sets = normal((4, 5, 3), 8)
    each = torch.func.vmap(lambda s: loss(x, s))(sets)
    torch.testing.assert_close(each, torch.stack([loss(x, s) for s in sets]), rtol=1e-13, atol=1e-14)
    _, tangent = torch.func.jvp(lambda s: loss(s, y), (x,), (y[:1].expand_as(x),))
    torch.testing.assert_close(tangent, (expected[0] * y[:1]).sum(), rtol=1e-11, atol=1e-12)


def test_backward_runs_twice_and_leaves_its_inputs_alone(backend: Backend) -> None:
    leaves = [t.requires_grad_() for t in points(6, 5, 3)]
    before = [t.detach().clone() for t in leaves]
    value = loss(*leaves)
    first = torch.autograd.grad(value, leaves, retain_graph=True)
    assert all(torch.equal(a, b) for a, b in zip(first, torch.autograd.grad(value, leaves), strict=True))
    assert all(torch.equal(a, b) for a, b in zip(leaves, before, strict=True))
    only = torch.autograd.grad(loss(leaves[0].detach(), leaves[1]), leaves[1])
    assert torch.equal(only[0], first[1])


def test_losses_are_float32_under_autocast(backend: Backend) -> None:
    x, y = points(6, 5, 3, torch.bfloat16)
    with torch.autocast("cpu", torch.bfloat16):
        assert gk.mmd(x, y).dtype == torch.float32


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": torch.zeros(3)}, r"x: expected shape \(B, D\) with B >= 2 for estimator 'u', got \(3,\)"),
        ({"x": torch.zeros(1, 2)}, r"x: expected shape \(B, D\) with B >= 2 for estimator 'u', got \(1, 2\)"),
        ({"y": torch.zeros(1, 2)}, r"y: expected shape \(C, 2\) with C >= 2 for estimator 'u', got \(1, 2\)"),
        ({"y": torch.zeros(4, 3)}, r"y: expected shape \(C, 2\) with C >= 2 for estimator 'u', got \(4, 3\)"),
        (
            {"x": torch.zeros(0, 2), "estimator": "v"},
            r"x: expected shape \(B, D\) with B >= 1 for estimator 'v', got \(0, 2\)",
        ),
        ({"kernel": "linear"}, "kernel: expected one of 'rbf', 'imq', got 'linear'"),
        ({"estimator": "w"}, "estimator: expected one of 'u', 'v', got 'w'"),
        ({"scales": ()}, "scales: expected 1 to 16 numbers, got 0"),
        ({"scales": [1.0] * 17}, "scales: expected 1 to 16 numbers, got 17"),
        ({"scales": (1.0, 0.0)}, "scales: expected finite numbers > 0, got 0.0"),
        ({"scales": (math.inf,)}, "scales: expected finite numbers > 0, got inf"),
    ],
)
def test_what_does_not_fit_is_named(change: dict, message: str, backend: Backend) -> None:
    good = {"x": torch.zeros(3, 2), "y": torch.zeros(4, 2)}
    with pytest.raises(ValueError, match=message):
        gk.mmd(**{**good, **change})


@pytest.mark.parametrize("scales", [1.0, None, "12", (1.0, "2")])
def test_scales_of_the_wrong_type_are_named(scales: object, backend: Backend) -> None:
    with pytest.raises(TypeError, match="scales: expected a "):
        gk.mmd(torch.zeros(3, 2), torch.zeros(4, 2), scales=scales)
