"""How an operation joins the library: one `Operation`, and it has everything torch asks of an op.

From a schema and a definition in plain torch come `torch.ops.genkern.<name>`, its fused backward `<name>_backward`, and
`<name>_vjp`, the same gradient as a differentiable composite (second derivatives); where it takes noise, also
`<name>.draw`, which draws a key of its own.
Without a binary the definition is the op (CompositeImplicitAutograd). With one, C++ adds the CPU and CUDA
kernels and the autograd kernel; the definition then serves the devices that have no kernel.
"""

import inspect
from collections.abc import Callable, Iterator, Sequence
from typing import Any, get_type_hints

import torch
from torch import Tensor
from torch.autograd import forward_ad

from genkern import _backend, _checks, _dtensor
from genkern.reference.definition import Definition
from genkern.reference.options import Result

_definitions = torch.library.Library("genkern", "FRAGMENT")
_TAGS = (torch.Tag.pt2_compliant_tag,)
# Arguments whose name in a schema is not the one that users know.
_PUBLIC_NAMES = {"clamp_lo": "clamp", "clamp_hi": "clamp", "scale_value": "scale", "latent": "latent_channels"}


# Looked up once: a call of a few numbers takes as long as a dozen such steps.
_transforms_active = torch._C._are_functorch_transforms_active
_is_traced = torch.compiler.is_dynamo_compiling


def _may_want_definition() -> bool:
    """Whether a call may have to take it: functorch transforms and dual numbers must see every step."""
    return _backend.mode != "auto" or _transforms_active() or forward_ad._current_level >= 0


def _groups(definition: Callable[..., Any], names: list[str]) -> Iterator[tuple[Any, list[int]]]:
    """For each parameter of a definition its class of options, if it has one, and its arguments in the schema.

    A parameter that the schema has no argument of is an object, whose fields are arguments.
    """
    hints = get_type_hints(definition)
    for name in inspect.signature(definition).parameters:
        if name in names:
            yield None, [names.index(name)]
        elif fields := getattr(hints[name], "_fields", ()):
            yield hints[name], [names.index(field) for field in fields if field in names]


class Op:
    """An op without gradients.

    Parameters
    ----------
    schema : its schema, without the namespace
    definition : what it is in plain torch
    random : whether it draws from a torch generator
    device_free : no argument says where it runs, so C++ has one implementation for all
    by_loops : its steps depend on values, so a mapped call (``torch.func.vmap``) is one call after the other

    The definition takes the arguments of the schema in its order, and options as objects (`genkern.reference.options`)
    where its annotations say so. A call gives all arguments of the schema.
    """

    def __init__(
        self,
        schema: str,
        definition: Definition[...],
        *,
        random: bool = False,
        device_free: bool = False,
        by_loops: bool = False,
    ) -> None:
        parsed = torch._C.parse_schema(schema)
        self.name = parsed.name
        self._arguments = parsed.arguments
        self._returns = parsed.returns
        self._names = [a.name for a in self._arguments]
        self._options = [a.name for a in self._arguments if a.kwarg_only]
        self._option_checks = [
            (_PUBLIC_NAMES.get(a.name, a.name), _checks.of_type(str(a.real_type))) for a in self._arguments
        ]
        self._reference = definition
        self._groups = list(_groups(definition, self._names))
        implementation = None if _backend.native and device_free else self._definition
        self.op = _define(parsed, implementation, self._reference_key(), self._fake, random=random)
        self._by_loops = by_loops
        if by_loops:
            torch.library.register_vmap(f"genkern::{self.name}", self._mapped, lib=_definitions)
        self._compiled_call = None

    def compile_call(self) -> "Op":
        """Have C++ make the calls whose arguments are just what the schema says."""
        if _backend.native is not None:
            self._compiled_call = _backend.native.make_call(self.name)
        return self

    def __call__(self, *args: Any) -> Any:
        by_definition = not self._by_loops and _may_want_definition() and self._wants_reference(args)
        if not by_definition and (results := self._compiled(args)) is not NotImplemented:
            return results
        checked = self._checked(args)
        return self.by_definition(checked) if by_definition else self._by_op(self.op, self._fake, checked)

    def _mapped(self, info: Any, in_dims: Sequence[Any], *args: Any) -> tuple[Tensor, int]:
        """The rule for ``torch.func.vmap``: one call for each index of the mapped dimension, stacked."""

        def of_call(value: Any, dim: Any, index: int) -> Any:
            if isinstance(dim, list | tuple):
                return [of_call(v, d, index) for v, d in zip(value, dim, strict=True)]
            return value if dim is None else value.select(dim, index)

        calls = [[of_call(v, d, i) for v, d in zip(args, in_dims, strict=True)] for i in range(info.batch_size)]
        return torch.stack([self.op(*call) for call in calls]), 0

    def _compiled(self, args: Sequence[Any]) -> Any:
        """What the compiled call gives; NotImplemented where torch.ops must look at an argument."""
        if self._compiled_call is None or _is_traced():
            return NotImplemented
        try:
            return self._compiled_call(*args)
        except RuntimeError:
            self._explain(*self._overload(self._checked(args))[1:])
            raise

    def _overload(self, args: Sequence[Any]) -> tuple[Any, Callable[..., Any], Sequence[Any]]:
        """The op that serves a call, its fake kernel, and its arguments."""
        return self.op, self._fake, args

    def by_definition(self, args: Sequence[Any]) -> Any:
        return self._reference(*self._grouped(args))

    def results(self, args: Sequence[Any]) -> tuple[Result, ...]:
        """What comes out, after a check of the arguments."""
        results = self._reference.results(*self._grouped(args))
        return (results,) if isinstance(results, Result) else results

    def _grouped(self, args: Sequence[Any]) -> list[Any]:
        """The arguments of the definition, from those of the schema."""
        return [
            args[places[0]] if kind is None else kind(**{self._names[i]: args[i] for i in places})
            for kind, places in self._groups
        ]

    def _filled(self, args: Sequence[Any], kwargs: dict[str, Any]) -> list[Any]:
        """All arguments of the schema; the dispatcher leaves out those that have their default."""
        return [*args, *(kwargs.get(a.name, a.default_value) for a in self._arguments[len(args) :])]

    def _definition(self, *args: Any, **kwargs: Any) -> Any:
        return self.by_definition(self._filled(args, kwargs))

    def _fake(self, *args: Any, **kwargs: Any) -> Any:
        outputs = tuple([result.empty() for result in self.results(self._filled(args, kwargs))])
        return _unpacked(outputs) if outputs else None

    def _checked(self, args: Sequence[Any]) -> tuple[Any, ...]:
        """The arguments with every option of its type in the schema, or an error that names the one which is not.

        The parser of torch.ops would convert in silence: None to False, bytes to a string, a tensor to a number.
        """
        checks = zip(self._option_checks, args, strict=True)
        return tuple([value if check is None else check(name, value) for (name, check), value in checks])

    def _by_op(self, op: Any, fake: Callable[..., Any], args: Sequence[Any]) -> Any:
        positional, options = self._split_options(args)
        try:
            return op(*positional, **options)
        except RuntimeError:
            self._explain(fake, args)
            raise

    def _explain(self, fake: Callable[..., Any], args: Sequence[Any]) -> None:
        """Raise the error that names the argument at fault in a call that was refused, if one is."""
        positional, options = self._split_options(args)
        try:
            fake(*positional, **options)
        except (TypeError, ValueError) as named:
            raise named from None

    def _split_options(self, args: Sequence[Any]) -> tuple[Sequence[Any], dict[str, Any]]:
        """The positional arguments and, by name, those that the schema has as keywords: the last ones."""
        positional = len(args) - len(self._options)
        return args[:positional], dict(zip(self._options, args[positional:], strict=True))

    def _wants_reference(self, args: Sequence[Any]) -> bool:
        if _backend.mode != "native":
            return True
        device = next((a.device.type for a in args if isinstance(a, Tensor)), "cpu")
        if why_not := _backend.why_not(device):
            raise RuntimeError(f"backend 'native' has no compiled kernel for {self.name} on {device}: {why_not}")
        if _transforms_active() or forward_ad._current_level >= 0:
            raise RuntimeError(
                f"backend 'native' has no compiled kernel for {self.name} under torch.func or dual numbers"
            )
        return False

    def _reference_key(self) -> str:
        return "CompositeExplicitAutograd"


class Operation(Op):
    """A differentiable op: every tensor among its arguments but the key receives a gradient.

    One that takes noise (``Tensor? key, Tensor? eps`` in its schema, with `reserve` given to draw a key) gets an
    overload `draw` that takes a ``Generator?`` in their place, draws the key as part of the launch, and returns it
    behind the results. A call has the generator behind key and eps, and draws where neither is given.

    `keeps_results`: the backward op is given the results, too, behind the arguments. `by_rows`: whether a row of
    the results depends on the same row of the arguments alone, so that rows may lie on different ranks. `noise_by_row`:
    whether a row has one number of noise, instead of one an element.
    """

    def __init__(
        self,
        schema: str,
        definition: Definition[...],
        *,
        reserve: Callable[..., Tensor] | None = None,
        keeps_results: bool = False,
        by_rows: bool = True,
        noise_by_row: bool = False,
    ) -> None:
        super().__init__(schema, definition)
        self.by_rows = by_rows
        self.noise_by_row = noise_by_row
        self._kept = len(self._returns) if keeps_results else 0
        tensors = [i for i, a in enumerate(self._arguments) if str(a.real_type) in ("Tensor", "Optional[Tensor]")]
        self._differentiable = [i for i in tensors if self._names[i] != "key"]
        self._key = self._names.index("key") if reserve else -1
        if reserve:
            self._reserve = reserve
            self._option_checks.insert(self._key + 2, ("generator", None))
            self._define_draw()
        if _backend.native is not None:
            self._define_gradients()
            _backend.native.register_autograd(self.name, self._differentiable)
        self.compile_call()

    def __call__(self, *args: Any) -> Any:
        by_definition = _may_want_definition() and self._wants_reference(args)
        if not by_definition and (results := self._compiled(args)) is not NotImplemented:
            return results
        args = self._checked(args)
        if _dtensor.given(args):
            return _dtensor.call(self, args)
        if by_definition:
            return self.by_definition(self._with_noise(args))
        results = self._by_op(*self._overload(args))
        if not self._draws(args):
            return results
        return results[:-1] if len(results) > 2 else results[0]

    def split(self, args: Sequence[Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """The arguments of a call by name, and its options; with a key where one would be drawn."""
        positional, options = self._split_options(self._with_noise(args))
        return dict(zip(self._names, positional, strict=False)), options

    def join(self, positional: Sequence[Any], options: dict[str, Any]) -> Sequence[Any]:
        """The other way round."""
        args = [*positional, *(options[name] for name in self._options)]
        return args if self._key < 0 else [*args[: self._key + 2], None, *args[self._key + 2 :]]

    def _overload(self, args: Sequence[Any]) -> tuple[Any, Callable[..., Any], Sequence[Any]]:
        if not self._draws(args):
            return self.op, self._fake, self._with_noise(args)
        return self.draw, self._fake_draw, (*args[: self._key], *args[self._key + 2 :])

    def _draws(self, args: Sequence[Any]) -> bool:
        return self._key >= 0 and args[self._key] is None and args[self._key + 1] is None

    def _with_noise(self, args: Sequence[Any]) -> Sequence[Any]:
        """The arguments of the schema: without a generator, with the key that it draws where there is no noise."""
        if self._key < 0:
            return args
        key, eps, generator = args[self._key : self._key + 3]
        if self._draws(args):
            key = self._fresh_key(args, generator)
        return (*args[: self._key], key, eps, *args[self._key + 3 :])

    def _fresh_key(self, args: Sequence[Any], generator: torch.Generator | None) -> Tensor:
        _checks.tensor(self._arguments[0].name, args[0])
        return self._reserve(generator, args[0].device)

    def _define_draw(self) -> None:
        """`<name>.draw`: by the kernels; elsewhere, and without a binary, a key is reserved for the definition."""
        k, made = self._key, torch._C.parse_schema("_(Generator? generator) -> Tensor")
        arguments = [*self._arguments[:k], *made.arguments, *self._arguments[k + 2 :]]
        schema = torch._C.FunctionSchema(self.name, "draw", arguments, [*self._returns, *made.returns], False, False)
        self.draw = _define(schema, self._draw_reference, self._reference_key(), self._fake_draw, random=True)

    def _with_key(self, args: Sequence[Any], kwargs: dict[str, Any], key: Tensor) -> Sequence[Any]:
        """All arguments of the op, from those of its overload."""
        return self._filled((*args[: self._key], key, None, *args[self._key + 1 :]), kwargs)

    def _draw_reference(self, *args: Any, **kwargs: Any) -> Any:
        key = self._fresh_key(args, args[self._key])
        return (*_as_tuple(self.by_definition(self._with_key(args, kwargs, key))), key)

    def _fake_draw(self, *args: Any, **kwargs: Any) -> Any:
        generator = args[self._key]
        _checks.tensor(self._arguments[0].name, args[0])
        device = generator.device if isinstance(generator, torch.Generator) else args[0].device
        key = torch.empty((2,), dtype=torch.uint64, device=device)
        return (*_as_tuple(self._fake(*self._with_key(args, kwargs, key))), key)

    def _reference_key(self) -> str:
        # Without kernels there is nothing to keep whole: the definition is differentiated and traced through.
        return "CompositeExplicitAutograd" if _backend.native else "CompositeImplicitAutograd"

    def _define_gradients(self) -> None:
        made = torch._C.parse_schema("_(Tensor? grad, Tensor result, int output_mask) -> Tensor").arguments
        arguments = [_argument(made[0], f"grad_{i}") for i in range(len(self._returns))]
        arguments += [_argument(a, a.name) for a in self._arguments]
        arguments += [_argument(made[1], f"result_{i}") for i in range(self._kept)]
        arguments.append(made[2])
        for suffix, implementation, key, fake in (
            ("backward", self._backward, "CompositeExplicitAutograd", self._fake_backward),
            ("vjp", self._vjp, "CompositeImplicitAutograd", None),
        ):
            gradients = [_TENSOR] * len(self._differentiable)
            schema = torch._C.FunctionSchema(f"{self.name}_{suffix}", "", arguments, gradients, False, False)
            _define(schema, implementation, key, fake)

    def _split(self, args: tuple[Any, ...]) -> tuple[list[Tensor | None], list[Any], list[bool]]:
        """The gradients, the arguments, and which gradients of them are asked for (bit i: the i-th differentiable)."""
        outputs = len(self._returns)
        wanted = [bool(args[-1] >> bit & 1) for bit in range(len(self._differentiable))]
        return list(args[:outputs]), list(args[outputs : outputs + len(self._arguments)]), wanted

    def _vjp(self, *args: Any) -> Any:
        """The gradient through the definition, itself differentiable."""
        return self._gradient(args, create_graph=torch.is_grad_enabled())

    def _backward(self, *args: Any) -> Any:
        """The gradient on a device without a kernel. Dispatch is below autograd here: let it in again."""
        include, exclude = torch._C._dispatch_tls_local_include_set(), torch._C._dispatch_tls_local_exclude_set()
        for key in _AUTOGRAD_KEYS:
            exclude = exclude.remove(key)
        with torch._C._ForceDispatchKeyGuard(include, exclude):
            return self._gradient(args, create_graph=False)

    def _gradient(self, args: tuple[Any, ...], *, create_graph: bool) -> Any:
        grads, inputs, mask = self._split(args)
        with torch.enable_grad():
            # Aliases, so that one tensor given for two arguments receives two gradients.
            wanted = []
            for index, needed in zip(self._differentiable, mask, strict=True):
                if needed:
                    value = inputs[index]
                    value = value.view_as(value) if create_graph else value.detach()
                    inputs[index] = value if value.requires_grad else value.requires_grad_()
                    wanted.append(inputs[index])
            outputs = _as_tuple(self.by_definition(inputs))
            pairs = [(o, g) for o, g in zip(outputs, grads, strict=True) if g is not None]
            pairs = [(o, g) for o, g in pairs if o.requires_grad]
            found = iter(
                torch.autograd.grad(
                    [o for o, _ in pairs],
                    wanted,
                    [g for _, g in pairs],
                    create_graph=create_graph,
                    allow_unused=True,
                    materialize_grads=True,
                )
            )
        return _unpacked(tuple(next(found) if needed else None for needed in mask))

    def _fake_backward(self, *args: Any) -> Any:
        _, inputs, mask = self._split(args)
        return _unpacked(
            tuple(
                torch.empty_like(inputs[index]) if needed else None
                for index, needed in zip(self._differentiable, mask, strict=True)
            )
        )


def _define(
    schema: Any,
    definition: Callable[..., Any] | None,
    key: str,
    fake: Callable[..., Any] | None,
    *,
    random: bool = False,
) -> Any:
    """The op of a parsed schema, with its definition under a dispatch key; a composite that is traced has no fake."""
    _definitions.define(str(schema), tags=(*_TAGS, torch.Tag.nondeterministic_seeded) if random else _TAGS)
    name = f"{schema.name}.{schema.overload_name}".rstrip(".")
    if definition:
        _definitions.impl(name, definition, key)
    if fake and key == "CompositeExplicitAutograd":
        torch.library.register_fake(f"genkern::{name}", fake, lib=_definitions)
    return getattr(getattr(torch.ops.genkern, schema.name), schema.overload_name or "default")


def _argument(like: Any, name: str) -> Any:
    """An argument of the same type, positional and without a default."""
    return torch._C.Argument(name, like.real_type, like.N, None, False, like.alias_info)


def _as_tuple(results: Any) -> tuple[Any, ...]:
    return results if isinstance(results, tuple) else (results,)


def _unpacked(results: tuple[Any, ...]) -> Any:
    return results if len(results) > 1 else results[0]


_TENSOR = torch._C.parse_schema("_() -> Tensor").returns[0]
_AUTOGRAD_KEYS = [
    getattr(torch._C.DispatchKey, name)
    for name in torch._C.DispatchKey.__members__
    if name.startswith("Autograd") and not name.startswith(("AutogradFunctionality", "Autocast"))
]
