"""Densities of mixtures: against closed forms, the definition in float64, scipy, and what a batch says of q(z)."""

import math
import platform

import pytest
import torch
import torch._dynamo.testing
from support.backends import Backend, oracle
from support.capture import genkern_calls
from support.inputs import normal
from support.tolerance import assert_as_accurate
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

import genkern as gk
from benchmarks.measure import peak_memory

Tensors = dict[str, Tensor]
SIZES = [(1, 1, 1), (5, 3, 2), (3, 100, 7), (2, 9000, 3), (70, 65, 16), (9, 33, 0)]
WEIGHTS = ("no", "shared", "own")
SCALES = {"by component and dimension": (-1, -1), "by component": (-1,), "by dimension": (1, -1), "one": ()}


def arguments(
    points: int, components: int, dims: int, dtype: torch.dtype = torch.float64, scale: str = "one", weights: str = "no"
) -> Tensors:
    sizes = tuple(n if n >= 0 else (components, dims)[i] for i, n in enumerate(SCALES[scale]))
    found = {"z": normal((points, dims), 0), "loc": normal((components, dims), 1), "scale": 0.5 * normal(sizes, 2)}
    if weights != "no":
        found["log_weights"] = normal((components,) if weights == "shared" else (points, components), 3)
    return {name: t.to(dtype) for name, t in found.items()}


def evaluate(tensors: Tensors, marginals: bool) -> Tensors:
    leaves = {name: t.detach().requires_grad_() for name, t in tensors.items()}
    outputs = gk.gaussian_mixture_log_prob(**leaves, marginals=marginals)
    outputs = outputs if isinstance(outputs, tuple) else (outputs,)
    cotangents = [normal(o.shape, 5 + i, torch.float32).to(o.dtype) for i, o in enumerate(outputs)]
    grads = torch.autograd.grad(outputs, list(leaves.values()), cotangents, materialize_grads=True, allow_unused=True)
    return {**{f"density {i}": o for i, o in enumerate(outputs)}, **dict(zip(leaves, grads, strict=True))}


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("sizes", SIZES, ids=str)
@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("weights", WEIGHTS)
def test_densities_and_gradients_are_as_accurate_as_plain_torch(
    sizes: tuple[int, int, int], dtype: torch.dtype, scale: str, weights: str, backend: Backend
) -> None:
    tensors = arguments(*sizes, dtype, scale, weights)
    marginals = (list(SCALES).index(scale) + WEIGHTS.index(weights)) % 2 == 0
    result = evaluate(tensors, marginals)
    with oracle():
        plain = evaluate(tensors, marginals)
        expected = evaluate({name: t.double() for name, t in tensors.items()}, marginals)
    for name, value in result.items():
        wide = torch.float64 if dtype == torch.float64 else torch.float32
        assert value.dtype == (wide if name.startswith("density") else dtype)
        # A gradient is a sum over points or components, whose weights are exponentials of numbers of order 10 and of
        # what each dimension adds, whose rounding is the relative error of the weights.
        terms = sizes[0] * sizes[1] // max(1, value.numel()) + 10 + 2 * sizes[2]
        assert_as_accurate(name, value, expected[name], plain[name], terms)


def test_one_component_is_a_gaussian(backend: Backend) -> None:
    z, loc, logvar = normal((6, 3), 0), normal((1, 3), 1), normal((1, 3), 2)
    joint, marginal = gk.gaussian_mixture_log_prob(z, loc, logvar, marginals=True)
    expected = gk.gaussian_log_prob(z, loc, logvar)
    torch.testing.assert_close(joint, expected, rtol=1e-14, atol=1e-14)  # float64, another order
    torch.testing.assert_close(marginal, expected, rtol=1e-14, atol=1e-14)


def test_it_agrees_with_torch_distributions(backend: Backend) -> None:
    t = arguments(20, 9, 4, scale="by component and dimension", weights="shared")
    weights = torch.distributions.Categorical(logits=t["log_weights"])
    parts = torch.distributions.Independent(torch.distributions.Normal(t["loc"], (0.5 * t["scale"]).exp()), 1)
    mixture = torch.distributions.MixtureSameFamily(weights, parts)
    t["log_weights"] = t["log_weights"].log_softmax(0)
    torch.testing.assert_close(gk.gaussian_mixture_log_prob(**t), mixture.log_prob(t["z"]), rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("marginals", [False, True])
@pytest.mark.parametrize("weights", WEIGHTS)
def test_derivatives_agree_with_finite_differences(weights: str, marginals: bool, backend: Backend) -> None:
    tensors = arguments(3, 4, 2, scale="by component", weights=weights)
    leaves = tuple(t.requires_grad_() for t in tensors.values())

    def run(*values: Tensor) -> Tensor | tuple[Tensor, ...]:
        return gk.gaussian_mixture_log_prob(**dict(zip(tensors, values, strict=True)), marginals=marginals)

    assert gradcheck(run, leaves)
    assert gradgradcheck(run, leaves)


def test_parameterisations_of_the_scale_mean_the_same(backend: Backend) -> None:
    t = arguments(5, 7, 3, scale="by component and dimension")
    expected = gk.gaussian_mixture_log_prob(**t)
    logvar = t.pop("scale")
    std = torch.exp(0.5 * logvar)
    for scale_param, scale in (("logstd", logvar / 2), ("std", std), ("var", std**2), ("softplus", std.expm1().log())):
        found = gk.gaussian_mixture_log_prob(**t, scale=scale, scale_param=scale_param)
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)  # the scale makes the round trip
    clamped = gk.gaussian_mixture_log_prob(**t, scale=logvar, clamp=(0.0, 0.0))
    torch.testing.assert_close(clamped, gk.gaussian_mixture_log_prob(**t, scale=0.0), rtol=1e-14, atol=1e-14)


@pytest.mark.parametrize("marginals", [False, True])
def test_points_far_from_every_component_keep_their_digits(marginals: bool, backend: Backend) -> None:
    t = arguments(4, 40, 3, torch.float32, "by component")
    t["z"] = t["z"] + torch.tensor([[0.0], [1e2], [1e4], [1e18]])
    result = evaluate(t, marginals)
    with oracle():
        expected = evaluate({name: v.double() for name, v in t.items()}, marginals)
    for name, value in result.items():
        assert value.isfinite().all(), name
        if name.startswith("density"):
            torch.testing.assert_close(value.double(), expected[name], rtol=1e-6, atol=1e-6)  # float32


def test_components_without_weight_count_for_nothing(backend: Backend) -> None:
    t = arguments(5, 40, 3, weights="shared")
    t["log_weights"][7:] = -math.inf
    joint, marginal = gk.gaussian_mixture_log_prob(**t, marginals=True)
    few = {"z": t["z"], "loc": t["loc"][:7], "scale": t["scale"], "log_weights": t["log_weights"][:7]}
    for value, right in zip((joint, marginal), gk.gaussian_mixture_log_prob(**few, marginals=True), strict=True):
        torch.testing.assert_close(value, right, rtol=1e-13, atol=1e-13)
    assert all(g.isfinite().all() for g in evaluate(t, True).values())


def test_no_points_have_no_densities_and_zero_gradients(backend: Backend) -> None:
    found = evaluate(arguments(0, 3, 2, weights="own"), True)
    assert found["density 0"].shape == found["density 1"].shape == (0,)
    assert (found["loc"] == 0).all() and found["z"].shape == (0, 2) and found["log_weights"].shape == (0, 3)


def test_rows_of_weights_may_overlap_or_repeat(backend: Backend) -> None:
    t = arguments(6, 50, 2)
    vector = normal((55,), 7)
    for rows in (vector.as_strided((6, 50), (1, 1)), vector[:50].expand(6, 50), vector[:6].unsqueeze(1).expand(6, 50)):
        tensors = {**t, "log_weights": rows}
        dense = {**t, "log_weights": rows.clone()}
        for name, value in evaluate(tensors, True).items():
            torch.testing.assert_close(value, evaluate(dense, True)[name], rtol=1e-13, atol=1e-13)


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="only x86 kernels flush")
def test_posteriors_below_the_normal_range_are_nothing_and_leave_the_thread_as_it_was(native: Backend) -> None:
    """There a processor may take a hundred cycles an operation."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    weights = torch.zeros(2).requires_grad_()
    far = torch.tensor([[0.0], [13.6]])  # its posterior is exp(-92.5), 7e-41
    gk.gaussian_mixture_log_prob(torch.zeros(1, 1), far, 1.0, log_weights=weights, scale_param="std").backward()
    assert weights.grad is not None and weights.grad.tolist() == [1.0, 0.0]
    assert (torch.full((64,), 1e-40) * 0.5 != 0).all()
    torch.set_num_threads(threads)


def test_the_number_of_threads_does_not_change_a_bit(backend: Backend) -> None:
    for sizes in ((300, 700, 5), (2, 20_000, 3)):
        t = arguments(*sizes, torch.float32, "by component", "shared")
        found = []
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            found.append(evaluate(t, True))
        for other in found[1:]:
            assert all(torch.equal(value, other[name]) for name, value in found[0].items())


def test_memory_grows_with_points_and_components_not_with_their_product(native: Backend) -> None:
    t = {name: v.requires_grad_() for name, v in arguments(3000, 3000, 16, torch.float32, "by component").items()}

    def step() -> None:
        gk.gaussian_mixture_log_prob(**t, marginals=True)[1].sum().backward()

    step()
    peak = peak_memory(step)
    if peak is None:
        pytest.skip("the system does not tell a process its peak memory")
    assert peak < 3000 * 3000 * 4  # one number a pair, without dimensions; the definition takes 16 of them many times


# ---- what torch does with it ----


def shared(points: int = 6, components: int = 5, dims: int = 3) -> Tensors:
    return arguments(points, components, dims, scale="by component", weights="shared")


@pytest.mark.parametrize("marginals", [False, True])
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16], ids=str)
def test_opcheck_passes(dtype: torch.dtype, marginals: bool, native: Backend) -> None:
    tensors = {name: t.to(dtype) for name, t in shared().items()}
    calls = genkern_calls(lambda: gk.gaussian_mixture_log_prob(**tensors, marginals=marginals))
    ((op, args, kwargs),) = calls
    asked = tuple(t.detach().requires_grad_() if isinstance(t, Tensor) else t for t in args)
    assert set(torch.library.opcheck(op, asked, kwargs).values()) == {"SUCCESS"}


def losses(tensors: Tensors) -> Tensor:
    joint, marginal = gk.gaussian_mixture_log_prob(**tensors, marginals=True)
    return (joint.sin() * marginal).sum()


@pytest.mark.parametrize("dynamic", [False, True])
def test_it_compiles_whole_and_once_for_other_sizes(dynamic: bool, chosen: Backend) -> None:
    torch._dynamo.reset()
    counter = torch._dynamo.testing.CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(losses, fullgraph=True, dynamic=dynamic or None, backend=counter)
    counts = []
    for points in (4, 6, 9, 17) if dynamic else (4, 4):
        tensors = {name: t.requires_grad_() for name, t in shared(points).items()}
        grads = torch.autograd.grad(compiled(tensors), list(tensors.values()))
        expected = torch.autograd.grad(losses(tensors), list(tensors.values()))
        torch.testing.assert_close(grads, expected, rtol=1e-11, atol=1e-12)
        counts.append(counter.frame_count)
    assert len(set(counts)) == 1


def test_transforms_take_the_definition(chosen: Backend) -> None:
    tensors = shared()
    grads = torch.func.grad(losses)(tensors)
    leaves = {name: t.requires_grad_() for name, t in shared().items()}
    expected = torch.autograd.grad(losses(leaves), list(leaves.values()))
    torch.testing.assert_close(tuple(grads.values()), expected, rtol=1e-11, atol=1e-12)
    mixtures = normal((4, 5, 3), 8)
    each = torch.func.vmap(lambda loc: gk.gaussian_mixture_log_prob(tensors["z"], loc, 0.0))(mixtures)
    loop = torch.stack([gk.gaussian_mixture_log_prob(tensors["z"], loc, 0.0) for loc in mixtures])
    torch.testing.assert_close(each, loop, rtol=1e-13, atol=1e-13)
    _, tangent = torch.func.jvp(
        lambda z: gk.gaussian_mixture_log_prob(z, mixtures[0], 0.0), (tensors["z"],), (tensors["z"],)
    )
    z = tensors["z"].detach().requires_grad_()
    gradient = torch.autograd.grad(gk.gaussian_mixture_log_prob(z, mixtures[0], 0.0).sum(), z)[0]
    torch.testing.assert_close(tangent, (gradient * z).sum(-1).detach(), rtol=1e-11, atol=1e-12)


def test_backward_runs_twice_and_leaves_its_inputs_alone(backend: Backend) -> None:
    tensors = {name: t.requires_grad_() for name, t in shared().items()}
    before = {name: t.detach().clone() for name, t in tensors.items()}
    loss = losses(tensors)
    first = torch.autograd.grad(loss, list(tensors.values()), retain_graph=True)
    second = torch.autograd.grad(loss, list(tensors.values()))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert all(torch.equal(t, before[name]) for name, t in tensors.items())
    with pytest.raises(RuntimeError, match="second time"):
        torch.autograd.grad(loss, list(tensors.values()))


def test_gradients_arrive_expanded_or_not_at_all(backend: Backend) -> None:
    tensors = {name: t.requires_grad_() for name, t in shared().items()}
    joint, marginal = gk.gaussian_mixture_log_prob(**tensors, marginals=True)
    leaves = list(tensors.values())
    for output in (joint, marginal):
        expanded = torch.autograd.grad(output.sum(), leaves, retain_graph=True)
        dense = torch.autograd.grad(output, leaves, torch.ones_like(output), retain_graph=True)
        assert all(torch.equal(a, b) for a, b in zip(expanded, dense, strict=True))
    both = torch.autograd.grad(joint.sum() + marginal.sum(), leaves, retain_graph=True)
    apart = [torch.autograd.grad(output.sum(), leaves, retain_graph=True) for output in (joint, marginal)]
    for whole, *parts in zip(both, *apart, strict=True):
        torch.testing.assert_close(whole, sum(parts), rtol=1e-12, atol=1e-13)


def test_losses_are_float32_under_autocast(backend: Backend) -> None:
    tensors = {name: t.bfloat16() for name, t in shared().items()}
    with torch.autocast("cpu", torch.bfloat16):
        assert gk.gaussian_mixture_log_prob(**tensors).dtype == torch.float32


# ---- what stands on it ----


def test_parzen_windows_of_the_digits_have_the_known_density(backend: Backend) -> None:
    datasets = pytest.importorskip("sklearn.datasets", reason="the digits come with scikit-learn")
    x = torch.from_numpy(datasets.load_digits().data) / 16
    assert gk.kde_log_prob(x[1500:], x[:1500], 0.1).mean().item() == pytest.approx(8.687776, abs=5e-7)


def brute_force(z: Tensor, loc: Tensor, logvar: Tensor, size: int, how: dict[str, str]) -> tuple[Tensor, ...]:
    """Chen et al. as they and their users write it, [B, B, D] numbers."""
    batch = z.shape[0]
    log_density = -0.5 * ((z.unsqueeze(1) - loc) ** 2 / logvar.exp() + logvar + math.log(2 * math.pi))
    if how["weighting"] == "mws":
        weights = torch.full((batch, batch), 1 / (size * batch), dtype=z.dtype)
    else:
        others = batch - 1
        stratified = (size - others) / (size * others)
        weights = torch.full((batch, batch), 1 / others, dtype=z.dtype)
        if how["mss_weights"] == "legacy":
            weights.view(-1)[:: others + 1] = 1 / size
            weights.view(-1)[1 :: others + 1] = stratified
            weights[others - 1, 0] = stratified
        else:
            weights.fill_diagonal_(1 / size)
            weights[torch.arange(batch), (torch.arange(batch) + 1) % batch] = stratified
    each = weights.log().unsqueeze(-1) + log_density
    joint = each.sum(-1) if how["joint_weight"] == "per_dim" else weights.log() + log_density.sum(-1)
    log_q, log_q_d = joint.logsumexp(1), each.logsumexp(1).sum(-1)
    log_q_x = log_density.diagonal().sum(0)
    log_p = -0.5 * (z**2 + math.log(2 * math.pi)).sum(-1)
    return log_q_x - log_q, log_q - log_q_d, log_q_d - log_p


@pytest.mark.parametrize("joint_weight", ["once", "per_dim"])
@pytest.mark.parametrize(("weighting", "mss_weights"), [("mws", "paper"), ("mss", "paper"), ("mss", "legacy")])
@pytest.mark.parametrize("batch", [2, 3, 17])
def test_total_correlation_is_the_formula_written_out(
    batch: int, weighting: str, mss_weights: str, joint_weight: str, backend: Backend
) -> None:
    z, loc, logvar = (normal((batch, 5), seed).requires_grad_() for seed in range(3))
    how = {"weighting": weighting, "mss_weights": mss_weights, "joint_weight": joint_weight}
    parts = gk.total_correlation(z, loc, logvar, dataset_size=1000, **how)
    expected = brute_force(z, loc, logvar, 1000, how)
    for value, right in zip(parts, expected, strict=True):
        torch.testing.assert_close(value, right, rtol=1e-12, atol=1e-12)
    grads = torch.autograd.grad(sum(p.sin().sum() for p in parts), (z, loc, logvar))
    for value, right in zip(
        grads, torch.autograd.grad(sum(p.sin().sum() for p in expected), (z, loc, logvar)), strict=True
    ):
        torch.testing.assert_close(value, right, rtol=1e-11, atol=1e-12)


def test_the_three_parts_add_up_to_the_log_ratio_of_every_datum(backend: Backend) -> None:
    z, loc, logvar = (normal((50, 4), seed) for seed in range(3))
    for weighting in ("mss", "mws"):
        parts = gk.total_correlation(z, loc, logvar, dataset_size=50, weighting=weighting)
        ratio = gk.gaussian_log_prob(z, loc, logvar) - gk.gaussian_log_prob(z, torch.zeros_like(z))
        torch.testing.assert_close(sum(parts), ratio, rtol=1e-12, atol=1e-12)


def test_a_datum_alone_has_its_own_density(backend: Backend) -> None:
    z, loc, logvar = (normal((1, 4), seed) for seed in range(3))
    mutual_information, total_correlation, _ = gk.total_correlation(z, loc, logvar, dataset_size=1)
    torch.testing.assert_close(mutual_information, torch.zeros(1, dtype=z.dtype), rtol=0, atol=1e-13)
    torch.testing.assert_close(total_correlation, torch.zeros(1, dtype=z.dtype), rtol=0, atol=1e-13)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"z": torch.zeros(3)}, r"z: expected shape \(B, D\), got \(3,\)"),
        ({"loc": torch.zeros(4, 3)}, r"loc: expected shape \(C, 2\) with C >= 1, got \(4, 3\)"),
        ({"loc": torch.zeros(0, 2), "scale": 0.0}, r"loc: expected shape \(C, 2\) with C >= 1, got \(0, 2\)"),
        ({"scale": torch.zeros(5)}, r"scale: expected a shape that broadcasts to \(4, 2\), got \(5,\)"),
        ({"log_weights": torch.zeros(3)}, r"log_weights: expected shape \(4,\) or \(3, 4\), got \(3,\)"),
    ],
)
def test_what_does_not_fit_is_named(change: Tensors, message: str, backend: Backend) -> None:
    good = {"z": torch.zeros(3, 2), "loc": torch.zeros(4, 2), "scale": torch.zeros(4)}
    with pytest.raises(ValueError, match=message):
        gk.gaussian_mixture_log_prob(**{**good, **change})


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("far", [1.0, 30.0, 300.0, 3000.0, 1e6])
def test_shares_of_components_add_up_to_one_however_far_a_point_is(
    far: float, dtype: torch.dtype, every_isa: Backend
) -> None:
    """Components at one place: whichever share each has, the gradient by z is that of one of them."""
    points, components, dims = 5, 37, 3
    loc = normal((1, dims), 1, dtype).expand(components, dims)
    log_weights = normal((components,), 3, dtype)
    z = (far * normal((points, dims), 0, dtype)).requires_grad_()
    for order in (torch.arange(components), torch.randperm(components), log_weights.argsort()):
        for marginals in (False, True):
            found = gk.gaussian_mixture_log_prob(z, loc, 0.0, log_weights=log_weights[order], marginals=marginals)
            for log_prob in found if isinstance(found, tuple) else (found,):
                (grad,) = torch.autograd.grad(log_prob.sum(), z, retain_graph=True)
                # The shares are `components` exponentials of numbers that all have one rounding, and their sum.
                bound = 4 * components * torch.finfo(dtype).eps
                torch.testing.assert_close(grad, loc[0] - z.detach(), rtol=bound, atol=bound)


@pytest.mark.parametrize("components", [1, 7, 31, 32, 33, 63, 64, 65, 128])
@pytest.mark.parametrize("weights", ["no", "shared", "own"])
def test_a_point_at_infinity_has_no_density_for_any_number_of_components(
    components: int, weights: str, every_isa: Backend
) -> None:
    tensors = arguments(4, components, 3, torch.float32, "by component and dimension", weights)
    tensors["z"][1, 0], tensors["z"][2, 2] = math.inf, -math.inf
    joint, marginal = gk.gaussian_mixture_log_prob(**tensors, marginals=True)
    for log_prob in (joint, marginal):
        assert log_prob.isneginf().tolist() == [False, True, True, False]
        assert log_prob[[0, 3]].isfinite().all()


@pytest.mark.parametrize("weights", ["no", "shared", "own"])
@pytest.mark.parametrize("marginals", [False, True])
def test_an_outlier_without_any_density_has_no_gradient_and_takes_none_from_others(
    marginals: bool, weights: str, every_isa: Backend
) -> None:
    tensors = arguments(4, 9, 3, torch.float32, "by component and dimension", weights)
    of_points = ("z", "log_weights") if weights == "own" else ("z",)
    others = {name: t[[0, 2, 3]] if name in of_points else t for name, t in tensors.items()}
    tensors["z"][1] = 1e25
    results = []
    for given in (tensors, others):
        leaves = {name: t.detach().requires_grad_() for name, t in given.items()}
        found = gk.gaussian_mixture_log_prob(**leaves, marginals=marginals)
        joint = torch.stack(found if isinstance(found, tuple) else (found,), 1)
        grads = torch.autograd.grad(joint.sum(), list(leaves.values()))
        results.append((joint, dict(zip(leaves, grads, strict=True))))
    (joint, grads), (of_others, grads_of_others) = results
    assert joint[1].isneginf().all()
    torch.testing.assert_close(joint[[0, 2, 3]], of_others)
    for name, grad in grads.items():
        if name in of_points:
            assert not grad[1].any()
            grad = grad[[0, 2, 3]]
        torch.testing.assert_close(grad, grads_of_others[name], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_a_component_without_width_counts_at_its_location_alone(dtype: torch.dtype, every_isa: Backend) -> None:
    largest = torch.finfo(dtype).max
    z = torch.tensor([[0.25, 1.0], [0.25, 1.5]], dtype=dtype).requires_grad_()
    loc = torch.tensor([[0.25, 1.0], [0.0, 0.0]], dtype=dtype)
    for logvar in (-1e4, -largest / 4):
        scale = torch.tensor([[logvar], [0.0]], dtype=dtype)
        log_prob = gk.gaussian_mixture_log_prob(z, loc, scale)
        (grad,) = torch.autograd.grad(log_prob.sum(), z)
        at_location = -logvar - math.log(2 * math.pi) - math.log(2)
        elsewhere = gk.gaussian_mixture_log_prob(z.detach()[1:], loc[1:], 0.0) - math.log(2)
        torch.testing.assert_close(log_prob, torch.cat((elsewhere.new_tensor([at_location]), elsewhere)))
        torch.testing.assert_close(grad, torch.stack((torch.zeros(2, dtype=dtype), -z.detach()[1])))


@pytest.mark.parametrize("marginals", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_a_component_at_the_other_end_of_the_range_takes_no_part(
    dtype: torch.dtype, marginals: bool, every_isa: Backend
) -> None:
    largest = torch.finfo(dtype).max
    z, loc = torch.tensor([[largest], [0.5]], dtype=dtype), torch.tensor([[-largest], [0.25]], dtype=dtype)
    for logvar in (-200.0, -80.0, 0.0):
        leaves = [t.clone().requires_grad_() for t in (z, loc, torch.tensor([[logvar], [0.0]], dtype=dtype))]
        log_prob = gk.gaussian_mixture_log_prob(*leaves, marginals=marginals)
        joint = sum(log_prob) if isinstance(log_prob, tuple) else log_prob
        alone = gk.gaussian_mixture_log_prob(z[1:], loc[1:], 0.0) - math.log(2)
        assert joint[0].isneginf()
        for value in log_prob if isinstance(log_prob, tuple) else (log_prob,):
            torch.testing.assert_close(value[1:].flatten(), alone)
        times = 2.0 if marginals else 1.0
        by_z, by_loc, by_scale = torch.autograd.grad(joint.sum(), leaves)
        torch.testing.assert_close(by_z, torch.tensor([[0.0], [-0.25 * times]], dtype=dtype))
        torch.testing.assert_close(by_loc, torch.tensor([[0.0], [0.25 * times]], dtype=dtype))
        torch.testing.assert_close(by_scale, torch.tensor([[0.0], [times * (0.25**2 - 1) / 2]], dtype=dtype))
