"""A drawn call: its arguments, and what it gives by a backend and by the definition, gradients included."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

import genkern as gk
from genkern._checks import compute_dtype
from support.backends import oracle
from support.cases import Options, Tensors
from support.drawn import Draw, Seeds
from support.drawn_definitions import DEFINITIONS, arguments_of, function_of
from support.drawn_operations import DRAWS

Cotangents = list[Tensor | None]
Run = Callable[["Call", Tensors, Options], tuple[Tensor, ...]]

# The gradients that arrive.
ARRIVING = (("usual", 8), ("ones", 2), ("expanded", 2), ("zero", 1), ("huge", 1), ("tiny", 1), ("undefined", 1))


class Call:
    """Call `index` of an operation; `wanted` are the arguments whose gradients are asked for."""

    def __init__(self, operation: str, index: int) -> None:
        self.operation, self.index = operation, index
        self.draw = Draw(operation, index)
        DRAWS[operation](self.draw)
        everything = self.draw.chance(0.7)
        self.wanted = tuple(name for name in self.draw.tensors if everything or self.draw.chance(0.5))
        self.arriving = [self.draw.weighted(ARRIVING) for _ in range(4)]  # no operation has more outputs
        self._seed = self.draw.random.getrandbits(60)

    def __str__(self) -> str:
        return f"{self.operation}-{self.index}"

    @property
    def tensors(self) -> Tensors:
        return self.draw.tensors

    @property
    def options(self) -> Options:
        return self.draw.options

    @property
    def parameters(self) -> set[str]:
        return set(inspect.signature(function_of(self.operation)).parameters)

    @property
    def elementwise(self) -> bool:
        """Whether an element of a result is made of the elements of the arguments in its place."""
        return "moments" not in self.parameters and (
            {"scale_param", "event_ndim"} <= self.parameters or self.operation in ("gaussian_rsample", "bernoulli_nll")
        )

    def cotangents(self, outputs: tuple[Tensor, ...]) -> Cotangents:
        """The gradients that arrive for outputs like these; None where one of several is not used."""
        generator = torch.Generator().manual_seed(self._seed)
        found: Cotangents = []
        for output, kind in zip(outputs, self.arriving * len(outputs), strict=False):
            numbers = torch.randn(output.shape, generator=generator, dtype=torch.float64)
            if kind in ("huge", "tiny"):
                # Not where gradients of several operations are added, of which it would leave the rounding alone.
                huge = kind == "huge" and output.dtype != torch.float16 and self.operation != "total_correlation"
                numbers = numbers * (1e30 if huge else 1e-6)
            elif kind in ("ones", "zero"):
                numbers = torch.full_like(numbers, float(kind == "ones"))
            elif kind == "expanded":
                numbers = torch.tensor(0.75, dtype=torch.float64).expand(output.shape)
            found.append(None if kind == "undefined" and len(outputs) > 1 else numbers.to(output.dtype))
        return found if any(c is not None for c in found) else [torch.ones_like(o) for o in outputs]

    def given(self) -> tuple[Tensors, Options]:
        """What the definition is given: the noise that a key or generators stand for is one of the tensors."""
        noise, options = self.draw.noise, dict(self.options)
        if noise is None or "eps" in self.tensors:
            return self.tensors, options
        key, seeds = options.pop("key", None), options.pop("generator", None)
        dtype = compute_dtype(*(self.tensors[name] for name in noise.arguments))
        if seeds is not None and seeds.listed:
            rows = [noise.law(gk.random.reserve(g), noise.shape[1:], dtype=dtype) for g in seeds.generators()]
            eps = torch.stack(rows) if rows else torch.empty(noise.shape, dtype=dtype)
        else:
            key = gk.random.reserve(seeds.generators()) if key is None else key
            eps = noise.law(key, noise.shape, dtype=dtype, element_offset=noise.offset)
        return {**self.tensors, "eps": eps}, options


def by_backend(call: Call, tensors: Tensors, options: Options) -> tuple[Tensor, ...]:
    """The outputs, by the backend in force."""
    return _outputs(function_of(call.operation), tensors, options)


def by_reference(call: Call, tensors: Tensors, options: Options) -> tuple[Tensor, ...]:
    """By the definitions of the library."""
    with oracle():
        return by_backend(call, tensors, options)


def by_definition(call: Call, tensors: Tensors, options: Options) -> tuple[Tensor, ...]:
    """By the definitions of the library, or by those that stand in for what is plain torch there."""
    with oracle():
        return _outputs(DEFINITIONS.get(call.operation, function_of(call.operation)), tensors, options)


def _outputs(function: Callable[..., Any], tensors: Tensors, options: Options) -> tuple[Tensor, ...]:
    arguments = arguments_of(tensors, options)
    result = function(**{n: v.generators() if isinstance(v, Seeds) else v for n, v in arguments.items()})
    return result if isinstance(result, tuple) else (result,)


def evaluate(
    call: Call, run: Run, tensors: Tensors, options: Options, cotangents: Cotangents | None = None
) -> tuple[Tensors, Cotangents]:
    """Outputs and gradients by name, and the cotangents: those given, or those of the call for its outputs."""
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


def as_code(call: Call) -> str:
    """The call as a line of Python, memory layouts apart."""

    def text(value: Any) -> str:
        if isinstance(value, Seeds):
            made = [f"torch.Generator().manual_seed({seed})" for seed in value.seeds]
            return f"[{', '.join(made)}]" if value.listed else made[0]
        if isinstance(value, Tensor):
            numbers = str(value.tolist()).replace("nan", "torch.nan").replace("inf", "torch.inf")
            grad = ", requires_grad=True" if any(value is call.tensors[name] for name in call.wanted) else ""
            return f"torch.tensor({numbers}, dtype={value.dtype}{grad})"
        if isinstance(value, list):
            return f"[{', '.join(map(text, value))}]"
        return repr(value)

    arguments = arguments_of(call.tensors, call.options).items()
    return f"gk.{call.operation}({', '.join(f'{name}={text(value)}' for name, value in arguments)})"
