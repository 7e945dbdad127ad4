"""The attributes of the projects' distributions: what is assigned to one, deleted or written into it acts as there."""

import itertools
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any, NamedTuple

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.inputs import normal
from support.originals import NormalOfNVAE, genkerns_noise_in_diffusers
from torch import Tensor

from genkern.compat import diffusers as compat
from genkern.compat import nvae

pytest.importorskip("diffusers")
from diffusers.models.autoencoders import autoencoder_oobleck, vae


class Case(NamedTuple):
    """A class and its original, what both are made of, and what they do."""

    ours: Any
    theirs: Any
    shape: tuple[int, ...]
    attributes: tuple[str, ...]
    parts: int
    options: dict[str, Any] = {}  # noqa: RUF012

    def parameters(self, seed: int) -> tuple[Tensor, ...]:
        return tuple(0.7 * normal(self.shape, seed + i) for i in range(self.parts))

    @property
    def result_shape(self) -> tuple[int, ...]:
        return self.shape if self.parts == 2 else (self.shape[0], self.shape[1] // 2, *self.shape[2:])


PACKED = ("mean", "std", "var", "logvar", "parameters")
GAUSSIAN, OOBLECK = vae.DiagonalGaussianDistribution, autoencoder_oobleck.OobleckDiagonalGaussianDistribution
IMAGE, VIDEO, AUDIO = (2, 4, 3, 2), (2, 4, 2, 3, 2), (2, 4, 5)
CERTAIN = {"deterministic": True}
CASES = {
    "diffusers": Case(compat.DiagonalGaussianDistribution, GAUSSIAN, IMAGE, PACKED, 1),
    "diffusers, deterministic": Case(compat.DiagonalGaussianDistribution, GAUSSIAN, IMAGE, PACKED, 1, CERTAIN),
    "diffusers, legacy": Case(compat._Legacy, GAUSSIAN, VIDEO, PACKED, 1),
    "Oobleck": Case(compat._LegacyOobleck, OOBLECK, AUDIO, (*PACKED, "scale"), 1),
    "Oobleck, deterministic": Case(compat._LegacyOobleck, OOBLECK, AUDIO, (*PACKED, "scale"), 1, CERTAIN),
    "NVAE": Case(nvae.Normal, NormalOfNVAE, (2, 3), ("mu", "sigma"), 2),
    "NVAE, cooler": Case(nvae.Normal, NormalOfNVAE, (2, 3), ("mu", "sigma"), 2, {"temp": 0.7}),
}


def changed(change: Callable[[Any], Any]) -> Callable[[Any, str], None]:
    return lambda d, name: setattr(d, name, change(getattr(d, name)))


def _add(d: Any, name: str) -> None:
    setattr(d, name, getattr(d, name).add_(0.1))  # as d.name += 0.1 does


CHANGES: dict[str, Callable[[Any, str], None]] = {
    "read": getattr,
    "replaced": changed(lambda value: 0.5 * value + 0.2),
    "put to 0": changed(lambda value: value * 0),
    "replaced by a number": changed(lambda value: 0.3),
    "replaced by fewer": changed(lambda value: value[:, :1].abs()),
    "in another type": changed(lambda value: value.float()),
    "put where it was": changed(lambda value: value),
    "deleted": delattr,
}
WRITES: dict[str, Callable[[Any, str], None]] = {
    "multiplied": lambda d, name: getattr(d, name).mul_(0.3),
    "written into": lambda d, name: getattr(d, name)[:, 0].fill_(0.4),
    "added to": _add,
    "written into and replaced": lambda d, name: setattr(d, name, getattr(d, name).mul_(0.5) * 2),
}
DETERMINISTIC: dict[str, Callable[[Any], None]] = {
    "True": lambda d: setattr(d, "deterministic", True),
    "False": lambda d: setattr(d, "deterministic", False),
    "deleted": lambda d: delattr(d, "deterministic"),
}


def assert_alike(case: Case, *changes: Callable[[Any], Any], gradients: bool = True) -> None:
    """All that both do after the same changes, and the gradients to what they were made of."""
    x = normal(case.result_shape, 9)
    methods: dict[str, Callable[[Any, Any], Any]] = {
        "sample": lambda d, kind: d.sample(),
        "kl to another": lambda d, kind: d.kl(kind(*case.parameters(5))),
        "kl from another": lambda d, kind: kind(*case.parameters(5)).kl(d),
        "kl to a changed one": lambda d, kind: d.kl(_apply(kind(*case.parameters(5)), changes)),
    }
    if case.parts == 1:
        methods["kl"] = lambda d, kind: d.kl()
        methods["mode"] = lambda d, kind: d.mode()
    if hasattr(case.theirs, "nll"):
        methods["nll"] = lambda d, kind: d.nll(x)
        methods["nll by columns"] = lambda d, kind: d.nll(x, dims=1)
    if hasattr(case.theirs, "log_p"):
        methods["log_p"] = lambda d, kind: d.log_p(x)
        methods["sample of noise"] = lambda d, kind: d.sample_given_eps(x)
    for name, method in methods.items():
        found, expected = (_outcome(case, kind, method, changes, gradients) for kind in (case.ours, case.theirs))
        if expected in ("TypeError", "ZeroDivisionError"):
            continue  # numbers alone, of which torch's functions make nothing; ours may
        assert isinstance(found, str) == isinstance(expected, str), (name, found, expected)
        if not isinstance(expected, str):
            for mine, its in zip(found, expected, strict=True):
                torch.testing.assert_close(mine, its, equal_nan=True, check_dtype=False, rtol=2e-6, atol=2e-6, msg=name)


def _apply(distribution: Any, changes: tuple[Callable[[Any], Any], ...]) -> Any:
    for change in changes:
        change(distribution)
    return distribution


def _outcome(case: Case, kind: Any, method: Any, changes: Any, gradients: bool) -> list[Tensor] | str:
    """The numbers, or the error's type."""
    leaves = [p.requires_grad_(gradients) for p in case.parameters(0)]
    try:
        distribution = _apply(kind(*leaves, **case.options), changes)
        torch.manual_seed(3)
        result = method(distribution, kind)
    except (AttributeError, TypeError, RuntimeError, ZeroDivisionError) as error:
        return type(error).__name__
    values = [torch.as_tensor(value) for value in (result if isinstance(result, tuple) else (result,))]
    if not gradients or not values[0].requires_grad:
        return values
    return values + list(torch.autograd.grad(values[0].sin().sum(), leaves, materialize_grads=True))


@pytest.fixture(autouse=True)
def _same_noise() -> Any:
    with genkerns_noise_in_diffusers():
        yield


def kinds(changes: dict[str, Any], *without: str) -> list[Any]:
    """(case, attribute, change) for all cases and all their attributes."""
    return [
        pytest.param(case, attribute, change, id=f"{name}: {attribute} {what}")
        for name, case in CASES.items()
        for attribute in case.attributes
        for what, change in changes.items()
        if attribute not in without
    ]


@pytest.mark.parametrize(("case", "attribute", "change"), kinds(CHANGES))
def test_an_attribute_may_be_assigned_and_deleted(case: Case, attribute: str, change: Any) -> None:
    def reads(d: Any) -> None:
        for name in case.attributes:
            getattr(d, name)
        d.sample()

    assert_alike(case, lambda d: change(d, attribute))
    assert_alike(case, reads, lambda d: change(d, attribute), gradients=False)


@pytest.mark.parametrize(("case", "attribute", "change"), kinds(WRITES, "parameters", "scale"))
def test_an_attribute_may_be_written_into(case: Case, attribute: str, change: Any) -> None:
    for context in (nullcontext, torch.inference_mode):
        with context():
            assert_alike(case, lambda d: d.sample(), lambda d: change(d, attribute), gradients=False)


@pytest.mark.parametrize("what", DETERMINISTIC)
@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.parts == 1])
def test_certainty_may_be_assigned_and_deleted(name: str, what: str) -> None:
    assert_alike(CASES[name], DETERMINISTIC[what])
    for other in DETERMINISTIC.values():
        assert_alike(CASES[name], DETERMINISTIC[what], lambda d: getattr(d, "std", None), other)


@settings(deadline=None)
@given(st.data())
def test_any_series_of_changes_acts_as_there(data: st.DataObject) -> None:
    case = CASES[data.draw(st.sampled_from(sorted(CASES)))]
    all_changes = {**CHANGES, **WRITES}
    series = []
    for _ in range(data.draw(st.integers(0, 4))):
        attribute = data.draw(st.sampled_from(case.attributes))
        allowed = CHANGES if attribute in ("parameters", "scale") else all_changes
        change = allowed[data.draw(st.sampled_from(sorted(allowed)))]
        series.append(lambda d, change=change, attribute=attribute: change(d, attribute))
    if case.parts == 1 and data.draw(st.booleans()):
        series.append(DETERMINISTIC[data.draw(st.sampled_from(sorted(DETERMINISTIC)))])
    assert_alike(case, *series, gradients=False)


OURS = [case for name, case in CASES.items() if "legacy" not in name]


@pytest.mark.parametrize(
    ("case", "attribute"), [(c, a) for c in OURS for a in c.attributes], ids=lambda value: getattr(value, "ours", value)
)
def test_a_copy_of_an_attribute_in_its_place_changes_no_result(case: Case, attribute: str) -> None:
    """Without `legacy` the project's own formulas differ, so the fused ones are the measure."""
    kind = case.ours.__base__ if case.ours.__name__.startswith("_Legacy") else case.ours
    x, prior = normal(case.result_shape, 9), kind(*case.parameters(5))
    found = []
    for change in (lambda d: d, lambda d: setattr(d, attribute, getattr(d, attribute).clone())):
        d = kind(*case.parameters(0), **case.options)
        change(d)
        torch.manual_seed(3)
        sample = d.sample()
        found.append([*(sample if isinstance(sample, tuple) else [sample]), d.kl(prior), prior.kl(d)])
        found[-1] += [d.kl(), d.mode()] if case.parts == 1 else [d.log_p(x)]
        found[-1] += [d.nll(x), d.nll(x, dims=[1])] if hasattr(d, "nll") else []
    for expected, value in zip(*found, strict=True):
        torch.testing.assert_close(value, expected, equal_nan=True)


def test_losses_stay_wide_after_an_assignment() -> None:
    for kind, shape in (
        (compat.DiagonalGaussianDistribution, IMAGE),
        (compat.OobleckDiagonalGaussianDistribution, AUDIO),
    ):
        d = kind(normal(shape, 0).bfloat16())
        d.std, d.var = d.std * 0, d.var * 0.5
        assert d.sample().dtype == torch.bfloat16 and torch.equal(d.sample(), d.mean)
        assert d.kl().dtype == torch.float32


@pytest.mark.parametrize("name", CASES)
def test_what_was_read_is_used_only_where_it_was_changed(name: str) -> None:
    """Reading costs no digit: the fused operations see what the attributes were made of."""
    case = CASES[name]
    plain, read = (case.ours(*(p.float() for p in case.parameters(0)), **case.options) for _ in range(2))
    before = [getattr(read, attribute) for attribute in case.attributes]
    prior = case.ours(*(p.float() for p in case.parameters(1)))
    assert len(before) == len(case.attributes) and torch.equal(plain.kl(prior), read.kl(prior))
    samples = []
    for d in (plain, read):
        torch.manual_seed(3)
        samples.append(d.sample())
    for mine, its in zip(*(s if isinstance(s, tuple) else (s,) for s in samples), strict=True):
        assert torch.equal(mine, its)


def test_a_compiler_traces_what_was_not_changed() -> None:
    def step(moments: Tensor) -> tuple[Tensor, ...]:
        d = compat.DiagonalGaussianDistribution(moments)
        return d.sample(), d.kl(), d.std, d.mode()

    moments = normal(IMAGE, 0)
    compiled = torch.compile(step, fullgraph=True, backend="eager")
    for mine, its in itertools.islice(zip(compiled(moments), step(moments), strict=True), 1, None):
        torch.testing.assert_close(mine, its)
