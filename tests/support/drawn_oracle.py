"""Drawn calls against the definition in float64: values, gradients, where there are infinities and NaNs, dtypes.

The bound is the rule of tests/support/tolerance.py with two changes that numbers from 1e-45 to 1e38 in one tensor ask
for. What plain torch is off is not the largest error of the tensor, which would hide all of the others, but that of the
element, in units of what a rounding of the arguments changes in it. And as one error may be 0 by luck, it is the worst
of several calls whose arguments are a rounding apart.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

import genkern as gk
from genkern._checks import compute_dtype
from support.backends import oracle
from support.cases import Options, Tensors
from support.drawn import Draw, Seeds
from support.drawn_operations import DEFINITIONS, DRAWS, IN_DOUBLE, TERMS, function_of
from support.tolerance import ULPS

NEIGHBOURS = 3
MORE_NEIGHBOURS = 24  # before a call is said to be at fault
COTANGENTS = (("usual", 8), ("ones", 2), ("expanded", 2), ("zero", 1), ("huge", 1), ("tiny", 1), ("undefined", 1))


@dataclass
class Call:
    """Call `index` of an operation, with the gradients that are asked for and those that arrive."""

    operation: str
    index: int
    draw: Draw = field(init=False)
    wanted: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        self.draw = Draw(self.operation, self.index)
        DRAWS[self.operation](self.draw)
        names = tuple(self.draw.tensors)
        everything = self.draw.chance(0.7)
        self.wanted = tuple(name for name in names if everything or self.draw.chance(0.5))
        self._cotangents = [self.draw.weighted(COTANGENTS) for _ in range(4)]
        self._seed = self.draw.random.getrandbits(60)

    def __str__(self) -> str:
        return f"{self.operation}-{self.index}"

    @property
    def tensors(self) -> Tensors:
        return self.draw.tensors

    @property
    def options(self) -> Options:
        return self.draw.options

    @cached_property
    def function(self) -> Callable[..., Any]:
        return function_of(self.operation)

    def cotangents(self, outputs: tuple[Tensor, ...]) -> list[Tensor | None]:
        """The gradients that arrive for outputs like these; None where an output is not used."""
        generator = torch.Generator().manual_seed(self._seed)
        found: list[Tensor | None] = []
        for output, kind in zip(outputs, self._cotangents * len(outputs), strict=False):
            normal = torch.randn(output.shape, generator=generator, dtype=torch.float64)
            if kind in ("huge", "tiny"):
                normal = normal * (1e30 if kind == "huge" and output.dtype != torch.float16 else 1e-6)
            if kind in ("ones", "zero"):
                normal = torch.full_like(normal, float(kind == "ones"))
            if kind == "expanded":
                normal = torch.tensor(0.75, dtype=torch.float64).expand(output.shape)
            # The only output is used.
            found.append(None if kind == "undefined" and len(outputs) > 1 else normal.to(output.dtype))
        return found if any(c is not None for c in found) else [torch.ones_like(o) for o in outputs]


def called(call: Call, tensors: Tensors, options: Options) -> tuple[Tensor, ...]:
    """The outputs, by the backend in force."""
    return _outputs(call.function, tensors, options)


def by_definition(call: Call, tensors: Tensors, options: Options) -> tuple[Tensor, ...]:
    with oracle():
        return _outputs(DEFINITIONS.get(call.operation, call.function), tensors, options)


def _outputs(function: Callable[..., Any], tensors: Tensors, options: Options) -> tuple[Tensor, ...]:
    arguments: dict[str, Any] = {n: v.generators() if isinstance(v, Seeds) else v for n, v in options.items()}
    for name, t in tensors.items():
        of_list = re.fullmatch(r"(\w+)\[\d+\]", name)
        if of_list:
            arguments.setdefault(of_list[1], []).append(t)
        else:
            arguments[name] = t
    if function is function_of("ema_update_"):
        arguments = {"ema_params": [], "params": [], **arguments}
    result = function(**arguments)
    return result if isinstance(result, tuple) else (result,)


def evaluate(
    call: Call,
    run: Callable[[Call, Tensors, Options], tuple[Tensor, ...]],
    tensors: Tensors,
    options: Options,
    cotangents: list[Tensor | None] | None = None,
) -> tuple[Tensors, list[Tensor | None]]:
    """Outputs and gradients by name, and the cotangents."""
    leaves = {name: t.detach().requires_grad_(name in call.wanted) for name, t in tensors.items()}
    outputs = run(call, leaves, options)
    if cotangents is None:
        cotangents = call.cotangents(outputs)
    results = {f"output {i}": o.detach() for i, o in enumerate(outputs)}
    used = [(o, c.to(o.dtype)) for o, c in zip(outputs, cotangents, strict=True) if c is not None and o.requires_grad]
    wanted = [leaves[name] for name in call.wanted]
    if used and wanted:
        roots, arriving = zip(*used, strict=True)
        grads = torch.autograd.grad(roots, wanted, arriving, allow_unused=True, materialize_grads=True)
    else:
        grads = tuple(torch.zeros_like(leaf) for leaf in wanted)
    results |= {f"gradient of {name}": g for name, g in zip(call.wanted, grads, strict=True)}
    return results, cotangents


def faults(call: Call) -> list[str]:
    """What is wrong with a call by the backend in force, one sentence each."""
    before = {name: t.clone() for name, t in call.tensors.items()}
    result, cotangents = evaluate(call, called, call.tensors, call.options)
    found = [
        f"{name} is changed by the call"
        for name, t in call.tensors.items()
        if not torch.equal(t.nan_to_num(7.0), before[name].nan_to_num(7.0))
    ]
    if call.operation.startswith("random."):
        return found + _noise_faults(call, result)
    if not (suspects := _compare(call, result, cotangents, NEIGHBOURS)):
        return found
    return found + [text for text in _compare(call, result, cotangents, MORE_NEIGHBOURS) if text] if suspects else found


def _noise_faults(call: Call, result: Tensors) -> list[str]:
    """Integers are equal, and normals within a few roundings of the definition's."""
    (expected,) = by_definition(call, call.tensors, call.options)
    value = result["output 0"]
    if (value.shape, value.dtype) != (expected.shape, expected.dtype):
        return [f"output 0: {value.dtype} {tuple(value.shape)} instead of {expected.dtype} {tuple(expected.shape)}"]
    if call.operation != "random.normal":
        return [] if torch.equal(value, expected) else ["output 0: not the numbers of the definition"]
    close = ULPS[value.dtype] * torch.finfo(value.dtype).eps * expected.double().abs().clamp_min(1)
    return [] if bool(((value.double() - expected.double()).abs() <= close).all()) else ["output 0: not close"]


def _compare(call: Call, result: Tensors, cotangents: list[Tensor | None], neighbours: int) -> list[str]:
    options = _with_noise(call)
    eps = options.pop("eps", None)
    tensors = call.tensors if eps is None else {**call.tensors, "eps": eps}
    # Arithmetic is in float32 but for float64, whatever the storage.
    tensors = {n: t.to(compute_dtype(t)) for n, t in tensors.items()}
    given = [None if c is None else c.to(compute_dtype(c)) for c in cotangents]
    generator = torch.Generator().manual_seed(1)

    def beside(t: Tensor | None, dtype: torch.dtype | None = None) -> Tensor | None:
        return None if t is None else _beside(t, generator, dtype)

    def both(arguments: Tensors, arriving: list[Tensor | None]) -> tuple[Tensors, Tensors]:
        """By plain torch in the type of arithmetic, and in float64."""
        plain = evaluate(call, by_definition, arguments, options, arriving)[0]
        wide = {n: t.double() for n, t in arguments.items()}
        arriving = [None if c is None else c.double() for c in arriving]
        return plain, evaluate(call, by_definition, wide, options, arriving)[0]

    pairs = [both(tensors, given)]
    pairs += [both({n: beside(t) for n, t in tensors.items()}, [beside(c) for c in given]) for _ in range(neighbours)]
    # In float64 plain torch is the oracle. What it is off is read from float32, whose roundings are 2^29 times as large,
    # and from what a rounding of the arguments changes.
    narrow, close = [], []
    if any(t.dtype == torch.float64 for t in tensors.values()):
        for _ in range(neighbours):
            of_float = {n: beside(t.float()) for n, t in tensors.items()}
            narrow.append(both(of_float, [None if c is None else beside(c.float()) for c in given]))
            wide = {n: beside(t, torch.float64) for n, t in tensors.items()}
            arriving = [beside(c, torch.float64) for c in given]
            close.append(evaluate(call, by_definition, wide, options, arriving)[0])
    found = []
    wide = {n: t.detach().double() for n, t in tensors.items()}
    terms = TERMS.get(call.operation, lambda arguments, options: [0.0] * len(result))(wide, options)
    # A gradient is what arrives times a derivative, whose terms may be about 1 and cancel.
    arriving_size = max((float(c.double().square().mean().sqrt()) for c in given if c is not None and c.numel()), default=0.0)
    for name, value in result.items():
        of = name.removeprefix("gradient of ")
        found.append(
            _fault(
                name,
                value,
                [t[name] for _, t in pairs],
                [p[name] for p, _ in pairs],
                [c[name] for c in close],
                [(p[name], t[name]) for p, t in narrow],
                call.tensors[of].dtype if of != name else None,
                all(bool(t.isfinite().all()) for t in (*call.tensors.values(), *(c for c in cotangents if c is not None))),
                arriving_size if of != name else terms[int(of.removeprefix("output "))],
                call.operation in IN_DOUBLE,
            )
        )
    return [text for text in found if text]


def _with_noise(call: Call) -> Options:
    """The options with the noise that a key or generators stand for."""
    noise, options = call.draw.noise, dict(call.options)
    if noise is None or "eps" in call.tensors:
        return options
    key, seeds = options.pop("key", None), options.pop("generator", None)
    dtypes = [compute_dtype(call.tensors[name]) for name in noise.arguments]
    dtype = torch.float64 if torch.float64 in dtypes else torch.float32
    if seeds is not None and seeds.listed:
        if len(noise.arguments) < 4:
            dtype = dtypes[0]
        rows = [noise.law(gk.random.reserve(g), noise.shape[1:], dtype=dtype) for g in seeds.generators()]
        return {**options, "eps": torch.stack(rows) if rows else torch.empty(noise.shape, dtype=dtype)}
    if key is None:
        key = gk.random.reserve(seeds.generators())
    return {**options, "eps": noise.law(key, noise.shape, dtype=dtype, element_offset=noise.offset)}


def _beside(t: Tensor, generator: torch.Generator, dtype: torch.dtype | None = None) -> Tensor:
    """Finite numbers a rounding or two away."""
    t = t if dtype is None else t.to(dtype)
    info = torch.finfo(t.dtype)
    by = 1 + 2 * info.eps * (2 * torch.rand(t.shape, generator=generator, dtype=torch.float64) - 1)
    moved = (t.double() * by).to(t.dtype)
    return torch.where(t.isfinite(), moved.clamp(info.min, info.max), t)


def _fault(
    name: str,
    value: Tensor,
    truths: list[Tensor],
    plains: list[Tensor],
    close: list[Tensor],
    narrow: list[tuple[Tensor, Tensor]],
    dtype: torch.dtype | None,
    finite_arguments: bool,
    terms: Tensor | float,
    in_double: bool,
) -> str | None:
    truth = truths[0]
    if value.shape != truth.shape:
        return f"{name}: shape {tuple(value.shape)} instead of {tuple(truth.shape)}"
    if dtype is not None and value.dtype != dtype:
        return f"{name}: dtype {value.dtype} instead of {dtype}"
    if not value.numel():
        return None
    truths_, plains_ = (torch.stack([t.detach().double().flatten() for t in ts]) for ts in (truths, plains))
    got, truth = value.double().flatten(), truths_[0]
    kinds = torch.cat([kind(t.to(value.dtype)) for t in (truths_, plains_)])
    of_value, of_truth = kind(got), kinds[: len(truths)]
    same = (of_value == kinds).any(0)
    of_gradient = name.startswith("gradient")
    if of_gradient or (value.dtype == torch.float64 and finite_arguments):
        # Beyond numbers the two may differ, but a number stays one, and no infinity has the other sign.
        beyond = (kinds == 2).any(0) | ((kinds != 0).any(0) & (of_value == 0))
        beyond |= (kinds != 0).any(0) & (of_value == 2)
        same |= beyond
    if not same.all():
        worst = int((~same).double().argmax())
        return f"{name}: {_kinds(of_value[worst])} instead of {_shown(worst, got, truths_, plains_)}"

    eps, tiny = torch.finfo(value.dtype).eps, torch.finfo(value.dtype).smallest_normal
    errors = (plains_ - truths_).abs().nan_to_num(0.0, 0.0, 0.0)
    changes = (truths_ - truth).abs().nan_to_num(0.0, 0.0, 0.0).amax(0)
    unit = changes + eps * truth.abs()
    relative = (errors / unit)[:, unit > 0]
    worst_usual = relative[relative.isfinite()].max() if relative.isfinite().any() else 0.0
    bound = 2 * torch.maximum(errors.amax(0), worst_usual * unit) + ULPS[value.dtype] * (eps * truth.abs() + tiny)
    # What the oracle is off itself where terms of the usual size, or of that which is said, cancel.
    terms = torch.as_tensor(terms, dtype=torch.float64).nan_to_num(0.0, 0.0, 0.0)
    usual = truth[of_truth[0] == 0].square().mean().sqrt().nan_to_num(0.0, 0.0)
    bound = bound + ULPS[torch.float64] * torch.finfo(torch.float64).eps * torch.maximum(usual, terms)
    if not of_gradient and not in_double:
        bound = bound + ULPS[value.dtype] * eps * terms
    if close:
        moved = torch.stack([c.detach().double().flatten() for c in close])
        bound = bound + 2 * (moved - truth).abs().nan_to_num(0.0, 0.0, 0.0).amax(0)
        off = torch.stack([(p.double() - t).abs().flatten() for p, t in narrow]).nan_to_num(0.0, 0.0, 0.0).amax(0)
        bound = bound + 2 * off * torch.finfo(torch.float64).eps / torch.finfo(torch.float32).eps
    ordinary = (of_value == 0) & (of_truth == 0).all(0)
    excess = torch.where(ordinary, (got - truth).abs() / bound, 0.0)
    if excess.max() > 1:
        worst = int(excess.argmax())
        return (
            f"{name}: {int((excess > 1).sum())} of {excess.numel()} beyond the bound, the worst "
            f"{excess.max().item():.1f} times: {_shown(worst, got, truths_, plains_)}"
        )
    return None


def _shown(place: int, got: Tensor, truths: Tensor, plains: Tensor) -> str:
    return (
        f"{truths[0, place].item()!r} at {place}, got {got[place].item()!r}, plain torch {plains[0, place].item()!r}"
    )


def kind(x: Tensor) -> Tensor:
    """0 for numbers, 1 and -1 for infinities, 2 for nan."""
    return torch.where(x.isnan(), 2, torch.where(x.isinf(), x.sign(), 0))


def _kinds(value: Tensor) -> str:
    return {0: "a number", 1: "inf", -1: "-inf", 2: "nan"}[int(value)]


def as_code(call: Call) -> str:
    """The call as a line of Python, layouts apart."""

    def text(value: Any) -> str:
        if isinstance(value, Seeds):
            made = [f"torch.Generator().manual_seed({seed})" for seed in value.seeds]
            return f"[{', '.join(made)}]" if value.listed else made[0]
        if isinstance(value, Tensor):
            dtype = str(value.dtype)
            grad = ", requires_grad=True" if any(value is call.tensors[name] for name in call.wanted) else ""
            return f"torch.tensor({value.tolist()}, dtype={dtype}{grad})".replace("nan", "torch.nan").replace(
                "inf", "torch.inf"
            )
        return repr(value)

    arguments = ", ".join(f"{name}={text(value)}" for name, value in {**call.tensors, **call.options}.items())
    return f"gk.{call.operation}({arguments})"
