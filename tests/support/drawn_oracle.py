"""Drawn calls against the definition in float64: values, gradients, where there are infinities and NaNs, dtypes.

The bound is the rule of tests/support/tolerance.py, twice what plain torch is off and a few ulp, with two changes that
numbers from 1e-45 to 1e38 in one tensor ask for. What plain torch is off is not the largest error of the tensor, which
would hide all of the others, but that of the element, in units of what a rounding of the arguments changes in it. And
as one error may be 0 by luck, it is the worst of several calls whose arguments are a rounding apart.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from genkern._checks import compute_dtype
from genkern.reference.options import Loss
from genkern.reference.reduce import reduce
from support.cases import Options, Tensors
from support.drawn_call import Call, Cotangents, by_backend, by_definition, by_reference, evaluate
from support.drawn_definitions import IN_DOUBLE, TERMS, densities_beyond, gradient_terms_of_total_correlation
from support.tolerance import ULPS

NEIGHBOURS = 3
MORE_NEIGHBOURS = 24  # before a call is said to be at fault
EMPTY = torch.empty(())
EPS, EPS64 = torch.finfo(torch.float32).eps, torch.finfo(torch.float64).eps


def faults(call: Call) -> list[str]:
    """What is wrong with a call by the backend in force, one sentence each."""
    before = {name: t.clone() for name, t in call.tensors.items()}
    result, cotangents = evaluate(call, by_backend, call.tensors, call.options)
    changed = [n for n, t in call.tensors.items() if not torch.equal(t.nan_to_num(7.0), before[n].nan_to_num(7.0))]
    found = [f"{name} is changed by the call" for name in changed]
    if call.operation.startswith("random."):
        return found + _faults_of_noise(call, result)
    found += _faults_of_kind(call, result)
    if found or not Comparison(call, result, cotangents, NEIGHBOURS).faults():
        return found
    return Comparison(call, result, cotangents, MORE_NEIGHBOURS).faults()


def _faults_of_noise(call: Call, result: Tensors) -> list[str]:
    """Integers are equal, and normals within a few roundings of the definition's."""
    (expected,) = by_definition(call, call.tensors, call.options)
    value = result["output 0"]
    if (value.shape, value.dtype) != (expected.shape, expected.dtype):
        return [f"output 0: {value.dtype} {tuple(value.shape)} instead of {expected.dtype} {tuple(expected.shape)}"]
    if call.operation != "random.normal":
        return [] if torch.equal(value, expected) else ["output 0: not the numbers of the definition"]
    close = ULPS[value.dtype] * torch.finfo(value.dtype).eps * expected.double().abs().clamp_min(1)
    return [] if bool(((value.double() - expected.double()).abs() <= close).all()) else ["output 0: not close"]


def _faults_of_kind(call: Call, result: Tensors) -> list[str]:
    """Shapes and dtypes of outputs and gradients."""
    expected = {f"output {i}": o for i, o in enumerate(by_reference(call, *call.given()))}
    expected |= {f"gradient of {name}": call.tensors[name] for name in call.wanted}
    return [
        f"{name}: {value.dtype} {tuple(value.shape)} instead of {wanted.dtype} {tuple(wanted.shape)}"
        for (name, value), wanted in zip(result.items(), expected.values(), strict=True)
        if (value.shape, value.dtype) != (wanted.shape, wanted.dtype)
    ]


@dataclass
class Comparison:
    """A result beside the same by plain torch and in float64, and beside those of calls a rounding or two away."""

    call: Call
    result: Tensors
    cotangents: Cotangents
    neighbours: int
    truths: list[Tensors] = field(default_factory=list)  # in float64, of the arguments and of their neighbours
    plains: list[Tensors] = field(default_factory=list)  # of the same, in the type of arithmetic
    # In float64 plain torch is the oracle. What it is off is read from what a rounding of the arguments changes, and
    # from float32, whose roundings are 2^29 times as large.
    moved: list[Tensors] = field(default_factory=list)
    narrow: list[tuple[Tensors, Tensors]] = field(default_factory=list)

    def __post_init__(self) -> None:
        tensors, self.options = self.call.given()
        self.tensors = {n: t.to(compute_dtype(t)) for n, t in tensors.items()}
        self.arriving = [None if c is None else c.to(compute_dtype(c)) for c in self.cotangents]
        self.generator = torch.Generator().manual_seed(1)
        for i in range(self.neighbours + 1):
            plain, truth = self._both(*((self.tensors, self.arriving) if i == 0 else self._neighbour()))
            self.plains.append(plain)
            self.truths.append(truth)
        if any(t.dtype == torch.float64 for t in self.tensors.values()):
            for _ in range(self.neighbours):
                self.moved.append(self._evaluate(*self._neighbour(torch.float64)))
                self.narrow.append(self._both(*self._neighbour(torch.float32)))

    def faults(self) -> list[str]:
        terms = self._terms()
        found = [self._class_fault(n) or self._value_fault(n, terms[n]) for n in self.result]
        return [text for text in found if text]

    def _evaluate(self, tensors: Tensors, arriving: Cotangents) -> Tensors:
        return evaluate(self.call, by_definition, tensors, self.options, arriving)[0]

    def _both(self, tensors: Tensors, arriving: Cotangents) -> tuple[Tensors, Tensors]:
        wide = {n: t.double() for n, t in tensors.items()}
        arriving_wide = [None if c is None else c.double() for c in arriving]
        return self._evaluate(tensors, arriving), self._evaluate(wide, arriving_wide)

    def _neighbour(self, dtype: torch.dtype | None = None) -> tuple[Tensors, Cotangents]:
        """Arguments whose finite numbers are a rounding or two away, in their own dtype or in this one."""

        def beside(t: Tensor) -> Tensor:
            t = t.to(dtype or t.dtype)
            info = torch.finfo(t.dtype)
            by = 1 + 2 * info.eps * (2 * torch.rand(t.shape, generator=self.generator, dtype=torch.float64) - 1)
            return torch.where(t.isfinite(), (t.double() * by).to(t.dtype).clamp(info.min, info.max), t)

        return {n: beside(t) for n, t in self.tensors.items()}, [
            None if c is None else beside(c) for c in self.arriving
        ]

    def _stacked(self, evaluations: list[Tensors], name: str) -> Tensor:
        return torch.stack([e[name].detach().double().flatten() for e in evaluations])

    def _class_fault(self, name: str) -> str | None:
        """Numbers, infinities and NaNs stand where the definition has them, in float64 or in the arguments' dtype."""
        value = self.result[name]
        if not value.numel():
            return None
        both = torch.cat([self._stacked(self.truths, name), self._stacked(self.plains, name)])
        kinds, got = kind(both.to(value.dtype)), kind(value.flatten())
        same = (got == kinds).any(0)
        arguments = [*self.call.tensors.values(), *(c for c in self.cotangents if c is not None)]
        if name.startswith("gradient") or (
            value.dtype == torch.float64 and all(bool(t.isfinite().all()) for t in arguments)
        ):
            # Beyond numbers the two may differ: 0 * inf and sums of overflows on one way, a limit on the other. But a
            # number stays one, and no infinity has the other sign.
            same |= (kinds == 2).any(0) | ((kinds != 0).any(0) & ((got == 0) | (got == 2)))
        same |= self._of_no_number(name)
        if same.all():
            return None
        return f"{name}: {self._shown(name, int((~same).double().argmax()))}"

    def _of_no_number(self, name: str) -> Tensor:
        """Where a value is no number that the argument takes part in: gradients are promised where it is one.

        Or where a result is the difference or the sum, before its unit, of what is beyond the range.
        """
        argument = name.removeprefix("gradient of ")
        if argument == name:
            if self.call.operation == "total_correlation":
                return densities_beyond(self.tensors, self.options)[int(name[-1])]
            return self._sum_overflows(name)
        if not self.call.elementwise or argument == "eps" or "event_ndim" not in self.call.parameters:
            return torch.zeros((), dtype=torch.bool)
        wide = {n: t.detach().double() for n, t in self.tensors.items()}
        values = by_definition(self.call, wide, {**self.options, "reduction": "none", "units": "nats"})
        dtype = compute_dtype(*self.tensors.values())
        beyond = [~v.detach().to(dtype).isfinite() for v in values[_first_loss(self.call) :]]
        whole = torch.broadcast_shapes(*(b.shape for b in beyond))
        count = sum(b.double().expand(whole) for b in beyond)
        return count.sum_to_size(wide[argument].shape).flatten() > 0

    def _value_fault(self, name: str, terms: Tensor) -> str | None:
        value = self.result[name]
        if not value.numel():
            return None
        truths, plains = self._stacked(self.truths, name), self._stacked(self.plains, name)
        got, truth = value.double().flatten(), truths[0]
        info = torch.finfo(value.dtype)
        errors, changes = _finite((plains - truths).abs()), _finite((truths - truth).abs()).amax(0)
        unit = changes + info.eps * truth.abs()
        relative = (errors / unit)[:, unit > 0]
        worst = relative[relative.isfinite()].max() if relative.isfinite().any() else 0.0
        bound = 2 * torch.maximum(errors.amax(0), worst * unit)
        bound += ULPS[value.dtype] * (info.eps * truth.abs() + info.smallest_normal)
        # What the oracle is off itself: its gradients' terms are about what arrives, or the usual size of the result.
        arriving = [c for c in self.arriving if c is not None] if name.startswith("gradient") else []
        usual = max(_usual(t) for t in (truth, *arriving))
        own = terms.clamp_min(usual)
        bound += ULPS[torch.float64] * EPS64 * own.nan_to_num(0.0, 0.0)
        bound += ULPS[compute_dtype(value)] * self._eps(name, value) * terms
        if self.moved:
            # The oracle and the result, each as if its arguments had been rounded twice.
            bound += 4 * _finite((self._stacked(self.moved, name) - truth).abs()).amax(0)
            of_float = [(p[name].double() - t[name]).abs().flatten() for p, t in self.narrow]
            bound += 2 * _finite(torch.stack(of_float)).amax(0) * EPS64 / EPS
        # Where plain torch overflows on its way, there is nothing to measure by.
        ordinary = got.isfinite() & truths.to(value.dtype).isfinite().all(0) & plains.isfinite().any(0)
        ordinary &= ~self._of_no_number(name)
        excess = torch.where(ordinary, (got - truth).abs() / bound, 0.0)
        if not (excess > 1).any():
            return None
        return (
            f"{name}: {int((excess > 1).sum())} of {excess.numel()} beyond the bound, the worst "
            f"{excess.max().item():.3g} times: {self._shown(name, int(excess.argmax()))}"
        )

    def _eps(self, name: str, value: Tensor) -> float:
        """The type of arithmetic, which that of eps does not change."""
        noise = self.call.draw.noise
        if noise is not None and name == "gradient of eps":
            value = next(
                (t for n, t in self.tensors.items() if n in noise.arguments and t.dtype == torch.float64), EMPTY
            )
        return EPS64 if self.call.operation in IN_DOUBLE or value.dtype == torch.float64 else EPS

    def _terms(self) -> dict[str, Tensor]:
        """How large the terms are whose sum each element of a result is: 0 where that is not known, or nothing."""
        wide = {n: t.detach().double() for n, t in self.tensors.items()}
        found = {name: torch.zeros(value.numel(), dtype=torch.float64) for name, value in self.result.items()}
        sums = _summed(self.call, wide, self.options)
        if self.call.operation in TERMS:
            sums |= {
                f"output {i}": torch.as_tensor(t) for i, t in enumerate(TERMS[self.call.operation](wide, self.options))
            }
        sums |= self._gradients_apart(wide)
        if self.call.operation == "gumbel_softmax":
            sums |= self._gradients_of_relaxed(wide)
        if self.call.operation == "total_correlation":
            arriving = [None if c is None else c.double() for c in self.arriving]
            apart = gradient_terms_of_total_correlation(wide, self.options, arriving)
            sums |= {f"gradient of {n}": t for n, t in apart.items()}
        return found | {
            name: t.double().flatten().nan_to_num(0.0, torch.inf) for name, t in sums.items() if name in found
        }

    def _sum_overflows(self, name: str) -> Tensor:
        wide = {n: t.detach().double() for n, t in self.tensors.items()}
        how = {"mean": "sum", "batchmean": "sum"}.get(reduction := self.options.get("reduction", "event"), reduction)
        sums = _summed(self.call, wide, {**self.options, "reduction": how, "units": "nats"})
        largest = torch.finfo(compute_dtype(*self.tensors.values())).max
        return sums[name].flatten() > largest if name in sums else torch.zeros((), dtype=torch.bool)

    def _gradients_of_relaxed(self, wide: Tensors) -> dict[str, Tensor]:
        """y (g - the mean of g) / tau has two terms of the size of y g / tau, of the relaxed sample y."""
        (y,) = by_definition(self.call, wide, {**self.options, "hard": False})
        tau = float(self.options.get("tau", 1.0))
        dim = self.options.get("dim", -1)
        (arriving,) = self.arriving
        largest = arriving.double().abs().amax(dim, keepdim=True) / tau if arriving is not None and tau else 0.0 * y
        return {f"gradient of {name}": y.detach() * largest for name in ("logits", "eps")}

    def _gradients_apart(self, wide: Tensors) -> dict[str, Tensor]:
        """What elementwise operations add up to the gradient of an argument that is broadcast."""
        if not self.call.elementwise:
            return {}
        shape = torch.broadcast_shapes(*(t.shape for n, t in wide.items() if n != "eps"))
        names = [n for n in self.call.wanted if n != "eps" and wide[n].shape != shape]
        if not names:
            return {}
        everywhere = {n: t if n == "eps" else t.expand(shape).contiguous() for n, t in wide.items()}
        grads = self._evaluate(everywhere, [None if c is None else c.double() for c in self.arriving])
        return {f"gradient of {n}": grads[f"gradient of {n}"].abs().sum_to_size(wide[n].shape) for n in names}

    def _shown(self, name: str, place: int) -> str:
        got, truth, plain = (e[name].flatten()[place].item() for e in (self.result, self.truths[0], self.plains[0]))
        return f"{got!r} at {place} instead of {truth!r}, plain torch {plain!r}"


def _summed(call: Call, wide: Tensors, options: Options) -> dict[str, Tensor]:
    """The same reduction of the elements' magnitudes, for losses."""
    if "event_ndim" not in call.parameters or options.get("reduction") == "none":
        return {}
    elements = by_definition(call, wide, {**options, "reduction": "none", "units": "nats"})
    how = Loss(options.get("reduction", "event"), options.get("units", "nats"), options.get("event_ndim"))
    return {f"output {i}": reduce(e.detach().abs(), how) for i, e in enumerate(elements) if i >= _first_loss(call)}


def _first_loss(call: Call) -> int:
    """Behind the sample, if there is one."""
    return int("eps" in call.parameters)


def _usual(x: Tensor) -> float:
    """The root mean square of the finite numbers, which may be too large to be squared."""
    finite = x.double()[x.isfinite()].abs()
    largest = finite.max().item() if finite.numel() else 0.0
    return largest * (finite / largest).square().mean().sqrt().item() if largest else 0.0


def _finite(x: Tensor) -> Tensor:
    """Infinities and NaNs count for nothing."""
    return x.nan_to_num(0.0, 0.0, 0.0)


def kind(x: Tensor) -> Tensor:
    """0 for numbers, 1 and -1 for infinities, 2 for nan."""
    return torch.where(x.isnan(), 2, torch.where(x.isinf(), x.sign(), 0))
