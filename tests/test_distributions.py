"""genkern.distributions: torch's contract and torch's numbers, by the fused operations."""

import copy
import pickle
from collections.abc import Callable

import mpmath
import pytest
import torch
from support.backends import Backend
from torch import Tensor
from torch import distributions as td

import genkern as gk
from genkern import distributions as gd

F64 = torch.float64


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=F64)


def positive(*shape: int, seed: int = 0) -> Tensor:
    return normal(*shape, seed=seed).exp()


def masses(*shape: int, seed: int = 0) -> Tensor:
    return normal(*shape, seed=seed).softmax(-1)


# By name: how this library and torch make a distribution, one for every seed.
PAIRS: dict[str, tuple[Callable[[int], td.Distribution], Callable[[int], td.Distribution]]] = {
    "Normal": (
        lambda seed: gd.Normal(normal(3, 4, seed=seed), positive(3, 4, seed=seed + 1)),
        lambda seed: td.Normal(normal(3, 4, seed=seed), positive(3, 4, seed=seed + 1)),
    ),
    "Laplace": (
        lambda seed: gd.Laplace(normal(3, 4, seed=seed), positive(4, seed=seed + 1)),
        lambda seed: td.Laplace(normal(3, 4, seed=seed), positive(4, seed=seed + 1)),
    ),
    "Categorical of masses": (
        lambda seed: gd.Categorical(masses(3, 5, seed=seed)),
        lambda seed: td.Categorical(masses(3, 5, seed=seed)),
    ),
    "Categorical of logits": (
        lambda seed: gd.Categorical(logits=normal(3, 5, seed=seed)),
        lambda seed: td.Categorical(logits=normal(3, 5, seed=seed)),
    ),
    "OneHotCategorical": (
        lambda seed: gd.OneHotCategorical(logits=normal(3, 5, seed=seed)),
        lambda seed: td.OneHotCategorical(logits=normal(3, 5, seed=seed)),
    ),
    "OneHotCategoricalStraightThrough": (
        lambda seed: gd.OneHotCategoricalStraightThrough(masses(3, 5, seed=seed)),
        lambda seed: td.OneHotCategoricalStraightThrough(masses(3, 5, seed=seed)),
    ),
    "DiagonalGaussian": (
        lambda seed: gd.DiagonalGaussian(normal(3, 4, 2, seed=seed), 2 * normal(3, 4, 2, seed=seed + 1)),
        lambda seed: td.Independent(td.Normal(normal(3, 4, 2, seed=seed), positive(3, 4, 2, seed=seed + 1)), 2),
    ),
}
every_pair = pytest.mark.parametrize(("ours", "torchs"), PAIRS.values(), ids=PAIRS)


@every_pair
def test_every_property_is_that_of_torch(ours: Callable, torchs: Callable, chosen: Backend) -> None:
    mine, theirs = ours(0), torchs(0)
    for name in ("batch_shape", "event_shape", "has_rsample", "has_enumerate_support"):
        assert getattr(mine, name) == getattr(theirs, name), name
    for name in ("mean", "mode", "variance", "stddev"):
        torch.testing.assert_close(getattr(mine, name), getattr(theirs, name), equal_nan=True, msg=name)
    assert mine.support.event_dim == theirs.support.event_dim
    assert mine.support.check(theirs.sample()).all()


@every_pair
def test_densities_and_entropies_are_those_of_torch(ours: Callable, torchs: Callable, chosen: Backend) -> None:
    mine, theirs = ours(0), torchs(0)
    value = theirs.sample((2,))
    torch.testing.assert_close(mine.log_prob(value), theirs.log_prob(value))
    torch.testing.assert_close(mine.entropy(), theirs.entropy())


@every_pair
def test_expanding_repeats(ours: Callable, torchs: Callable) -> None:
    shape = (2, *torchs(0).batch_shape)
    mine, theirs = ours(0).expand(shape), torchs(0).expand(shape)
    assert type(mine) is type(ours(0))
    assert mine.batch_shape == shape and mine.sample((7,)).shape == theirs.sample((7,)).shape
    value = theirs.sample()
    torch.testing.assert_close(mine.log_prob(value), theirs.log_prob(value))
    torch.testing.assert_close(mine.entropy(), theirs.entropy())


@pytest.mark.parametrize("swapped", [False, True])
def test_a_normal_of_two_numbers_diverges_on_the_device_of_the_other(swapped: bool) -> None:
    there, numbers = gd.Normal(torch.zeros(2, 3, device="meta"), torch.ones(2, 3, device="meta")), gd.Normal(0.0, 1.0)
    divergence = td.kl_divergence(*((numbers, there) if swapped else (there, numbers)))
    assert divergence.shape == (2, 3) and divergence.is_meta


@every_pair
def test_copies_and_pickles(ours: Callable, torchs: Callable) -> None:
    for copied in (copy.deepcopy(ours(0)), pickle.loads(pickle.dumps(ours(0)))):
        torch.testing.assert_close(copied.entropy(), ours(0).entropy())


@every_pair
def test_nothing_is_checked_unless_it_is_asked_for(ours: Callable, torchs: Callable) -> None:
    mine = ours(0)
    assert not mine._validate_args
    classes = isinstance(mine, gd.Categorical)
    outside = torch.full_like(torchs(0).sample(), 0.5 if classes else float("nan"), dtype=F64)
    mine.log_prob(outside)
    asked = copy.copy(mine)
    asked._validate_args = True
    with pytest.raises(ValueError, match="support"):
        asked.log_prob(outside)


@pytest.mark.parametrize(
    "build",
    [
        lambda **options: gd.Normal(0.0, torch.tensor([-1.0]), **options),
        lambda **options: gd.Laplace(0.0, torch.tensor([-1.0]), **options),
        lambda **options: gd.Categorical(torch.tensor([-1.0, 2.0]), **options),
        lambda **options: gd.Categorical(logits=torch.tensor([float("nan"), 0.0]), **options),
        lambda **options: gd.OneHotCategorical(logits=torch.tensor([float("nan"), 0.0]), **options),
        lambda **options: gd.DiagonalGaussian(torch.zeros(2, 1), torch.full((2, 1), float("nan")), **options),
    ],
)
def test_arguments_are_checked_when_it_is_asked_for(build: Callable) -> None:
    build()
    with pytest.raises(ValueError, match="constraint"):
        build(validate_args=True)


@pytest.mark.parametrize("against", ["ours", "torch's second", "torch's first"])
@every_pair
def test_divergences_are_those_of_torch(ours: Callable, torchs: Callable, against: str, chosen: Backend) -> None:
    p = (torchs if against == "torch's first" else ours)(0)
    q = (torchs if against == "torch's second" else ours)(5)
    torch.testing.assert_close(td.kl_divergence(p, q), td.kl_divergence(torchs(0), torchs(5)))


def test_a_divergence_from_another_family_is_still_that_of_torch() -> None:
    p, q = gd.Normal(0.3, 0.5), gd.Laplace(torch.tensor(0.1), 2.0)
    torch.testing.assert_close(
        td.kl_divergence(p, q), td.kl_divergence(td.Normal(0.3, 0.5), td.Laplace(torch.tensor(0.1), 2.0))
    )
    torch.testing.assert_close(
        td.kl_divergence(p, td.Uniform(0.0, 1.0)), td.kl_divergence(td.Normal(0.3, 0.5), td.Uniform(0.0, 1.0))
    )


def test_mixed_parameters_of_classes_agree() -> None:
    p, q = masses(3, 5), normal(3, 5, seed=1)
    expected = td.kl_divergence(td.Categorical(p), td.Categorical(logits=q))
    torch.testing.assert_close(td.kl_divergence(gd.Categorical(p), gd.Categorical(logits=q)), expected)


def test_the_divergence_of_classes_without_mass() -> None:
    p, q = torch.tensor([0.5, 0.5, 0.0]), torch.tensor([1.0, 0.0, 0.0])
    for a, b in ((gd.Categorical(p), gd.Categorical(q)), (gd.Categorical(p), gd.Categorical(logits=q.log()))):
        assert td.kl_divergence(a, b) == float("inf")
        torch.testing.assert_close(td.kl_divergence(b, a), torch.tensor(2.0).log())


def test_the_divergence_of_nearly_equal_normals_keeps_its_digits() -> None:
    p, q = gd.Normal(0.0, torch.tensor(1.0 + 2.0**-20)), gd.Normal(0.0, 1.0)
    d = mpmath.mpf(2) * mpmath.log(1 + mpmath.mpf(2) ** -20)
    exact = float((mpmath.exp(d) - 1 - d) / 2)
    assert td.kl_divergence(p, q).item() == pytest.approx(exact, rel=1e-6)


def test_a_diagonal_gaussian_takes_any_parameter(chosen: Backend) -> None:
    std = positive(3, 4) + 1.5
    raws = {"logvar": 2 * std.log(), "logstd": std.log(), "std": std, "var": std**2, "softplus": std.expm1().log()}
    made = [gd.DiagonalGaussian(normal(3, 4), raw, scale_param=name) for name, raw in raws.items()]
    for q in made:
        torch.testing.assert_close(q.stddev, std)
        torch.testing.assert_close(q.entropy(), made[0].entropy())
        torch.testing.assert_close(td.kl_divergence(q, made[0]), torch.zeros(3, dtype=F64), atol=1e-12, rtol=0)


def test_events_span_what_is_said() -> None:
    loc = normal(2, 3, 4)
    for event_ndim, batch in ((0, (2, 3, 4)), (1, (2, 3)), (2, (2,)), (None, (2,)), (3, ())):
        q = gd.DiagonalGaussian(loc, loc, event_ndim=event_ndim)
        assert q.batch_shape == batch and q.entropy().shape == batch and q.log_prob(loc).shape == batch
    with pytest.raises(ValueError, match="event_ndim: expected a number from 0 to 3, got 4"):
        gd.DiagonalGaussian(loc, loc, event_ndim=4)


def test_a_sample_and_its_divergence_in_one_pass(chosen: Backend) -> None:
    q = gd.DiagonalGaussian(normal(3, 4), normal(3, 4, seed=1))
    p = gd.DiagonalGaussian(normal(3, 4, seed=2), positive(3, 4, seed=3), scale_param="std")
    key = gk.random.key(3)
    for prior in (None, p):
        z, kl = q.rsample_kl(prior, key=key)
        torch.testing.assert_close(z, q.rsample(key=key))
        against = gd.DiagonalGaussian(torch.zeros_like(z), torch.zeros_like(z)) if prior is None else prior
        torch.testing.assert_close(kl, td.kl_divergence(q, against))
    with pytest.raises(ValueError, match=r"event_shape: expected \(4,\), got \(2,\)"):
        q.rsample_kl(gd.DiagonalGaussian(normal(3, 2), normal(3, 2)))


@pytest.mark.parametrize("build", [gd.Normal, lambda loc, scale: gd.DiagonalGaussian(loc, scale, scale_param="std")])
def test_samples_are_those_of_the_operation(build: Callable, chosen: Backend) -> None:
    loc, scale = normal(3, 4).requires_grad_(), positive(3, 4).requires_grad_()
    q = build(loc, scale)
    key = gk.random.key(1)
    expected = gk.gaussian_rsample(loc, scale, key=key, sample_shape=(2,), scale_param="std")
    assert torch.equal(q.rsample((2,), key=key), expected) and torch.equal(q.sample((2,), key=key), expected)
    assert not q.sample(key=key).requires_grad and q.rsample().requires_grad
    generators = [torch.Generator().manual_seed(i) for i in range(3)]
    assert q.rsample(generator=generators).shape == (3, 4)
    assert torch.equal(q.rsample(eps=torch.ones(3, 4, dtype=F64)), loc + scale)
    torch.manual_seed(5)
    first = q.rsample()
    torch.manual_seed(5)
    assert torch.equal(first, q.rsample())


def test_tails_keep_their_digits() -> None:
    q = gd.Normal(torch.tensor(0.0), 1.0)
    for value in (-12.0, -5.0, -1.0, 0.0, 3.0):
        assert q.cdf(torch.tensor(value)).item() == pytest.approx(float(mpmath.ncdf(value)), rel=1e-5)
    wide = gd.Normal(torch.tensor(1.0, dtype=F64), 2.0)
    for value in (-30.0, -3.0, 0.5, 4.0):
        point = torch.tensor(value, dtype=F64)
        torch.testing.assert_close(wide.icdf(wide.cdf(point)), point)
    for q in (gd.Normal(normal(3, 4), positive(3, 4)), gd.DiagonalGaussian(normal(3, 4), positive(3, 4).log() * 2)):
        point = q.rsample(eps=normal(3, 4, seed=2))  # none so far above that its share rounds to 1
        torch.testing.assert_close(q.cdf(point), td.Normal(normal(3, 4), positive(3, 4)).cdf(point))
        torch.testing.assert_close(q.icdf(q.cdf(point)), point)
    half = gd.Normal(torch.zeros(2, dtype=torch.bfloat16), torch.ones(2, dtype=torch.bfloat16))
    assert half.icdf(half.cdf(half.loc)).dtype == torch.bfloat16


def test_losses_of_halves_are_wide() -> None:
    loc = torch.zeros(2, 3, dtype=torch.bfloat16)
    q = gd.Normal(loc, loc.exp())
    assert q.rsample().dtype == torch.bfloat16
    assert q.log_prob(loc).dtype == q.entropy().dtype == td.kl_divergence(q, q).dtype == torch.float32


def test_numbers_and_integers_are_values() -> None:
    q = gd.Normal(0.0, 1.0)
    for value in (1, 1.0, torch.tensor(1)):
        torch.testing.assert_close(q.log_prob(value), td.Normal(0.0, 1.0).log_prob(torch.tensor(1.0)))


@pytest.mark.parametrize("build", [gd.Categorical, gd.OneHotCategorical, gd.OneHotCategoricalStraightThrough])
def test_one_parameter_of_classes_is_given(build: Callable) -> None:
    with pytest.raises(ValueError, match="probs, logits: expected one of the two, got none"):
        build()
    with pytest.raises(ValueError, match="probs, logits: expected one of the two, got both"):
        build(masses(3), normal(3))
    with pytest.raises(ValueError, match="logits: expected at least 1 dimension"):
        build(logits=torch.tensor(1.0))


def test_logits_are_kept_as_they_came() -> None:
    logits = normal(2, 3) + 7
    q = gd.Categorical(logits=logits)
    q.entropy()
    td.kl_divergence(q, q)
    assert "logits" not in q.__dict__ and "probs" not in q.__dict__
    torch.testing.assert_close(q.logits, logits.log_softmax(-1))


def test_all_are_documented_and_run_compiled() -> None:
    def loss(x: Tensor) -> Tensor:
        q = gd.DiagonalGaussian(x, x)
        p = gd.Normal(x, x.exp())
        return q.log_prob(x).sum() + q.entropy().sum() + p.log_prob(x).sum() + p.entropy().sum()

    assert all(getattr(gd, name).__doc__ for name in gd.__all__)
    x = normal(3, 4)
    torch.testing.assert_close(torch.compile(loss, fullgraph=True, backend="aot_eager")(x), loss(x))


@every_pair
def test_nothing_is_read_back_from_the_device(ours: Callable, torchs: Callable) -> None:
    """A meta tensor has no data to read."""
    with torch.device("meta"):
        mine = {
            "Normal": lambda: gd.Normal(torch.zeros(3, 4), torch.ones(3, 4)),
            "Laplace": lambda: gd.Laplace(torch.zeros(3, 4), torch.ones(3, 4)),
            "Categorical": lambda: gd.Categorical(logits=torch.zeros(3, 5)),
            "OneHotCategorical": lambda: gd.OneHotCategorical(torch.ones(3, 5)),
            "OneHotCategoricalStraightThrough": lambda: gd.OneHotCategoricalStraightThrough(logits=torch.zeros(3, 5)),
            "DiagonalGaussian": lambda: gd.DiagonalGaussian(torch.zeros(3, 4, 2), torch.zeros(3, 4, 2)),
        }[type(ours(0)).__name__]()
    value = torchs(0).sample().to("meta")
    assert mine.log_prob(value).shape == mine.entropy().shape == mine.batch_shape
    if not isinstance(mine, gd.Laplace):
        assert td.kl_divergence(mine, mine.expand(mine.batch_shape)).shape == mine.batch_shape
    if isinstance(mine, gd.Normal | gd.DiagonalGaussian):
        assert mine.rsample((2,)).shape == (2, *value.shape)
