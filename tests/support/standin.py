"""A device without kernels of ours: torch's PrivateUse1, in Python. Its tensors lie on the CPU, out of the ops' sight.

Run as a program, since a process can have only one such device and keeps it: `python standin.py RESULTS` runs every
call of `support.elsewhere` there and on the CPU, and writes what came of it; `python standin.py RESULTS --full` all of
them.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map_only

NAME = "standin"


# The numbers of each tensor of the device, by its storage, which has none itself: torch makes new tensors of an old
# storage where no op is called. A tensor that is held is never given up, so that no storage takes another's place.
_held: dict[int, tuple[Tensor, Tensor]] = {}


def hold(numbers: Tensor) -> Tensor:
    made = torch._C._acc.create_empty_tensor(tuple(numbers.shape), numbers.dtype)
    _held[made.untyped_storage()._cdata] = (numbers, made)
    return made


def on_cpu(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [on_cpu(v) for v in value]
    if isinstance(value, Tensor) and value.device.type == NAME:
        return _held[value.untyped_storage()._cdata][0].view(value.dtype)
    return torch.device("cpu") if isinstance(value, torch.device) and value.type == NAME else value


@functools.cache
def _tensors_of(op: Any) -> list[int]:
    return [i for i, argument in enumerate(op._schema.arguments) if str(argument.type) == "Tensor"]


def run(op: Any, *args: Any, **kwargs: Any) -> Any:
    """Whatever op of torch it is, on the CPU; what it changes in place is returned as it came."""
    if op.namespace == "genkern":
        raise AssertionError(f"{op} has no kernel for this device")
    if op is torch.ops.aten._copy_from.default:
        on_cpu(args[1]).copy_(on_cpu(args[0]))
        return args[1]
    if op is torch.ops.aten.as_strided.default:
        # Of the strides and the offset that torch believes: those of a new tensor.
        numbers = on_cpu(args[0])
        plain = numbers.is_contiguous() and numbers.storage_offset() == 0
        return hold((numbers if plain else numbers.clone(memory_format=torch.contiguous_format)).as_strided(*args[1:]))
    # A number comes as one where the overload takes a tensor. To find another by the name takes long: of each overload
    # that does not fit, torch writes a message with all arguments in it.
    if any(isinstance(args[i], int | float) for i in _tensors_of(op) if i < len(args)):
        named = op.overloadpacket
        op = named.Scalar if op._overloadname == "Tensor" and "Scalar" in named.overloads() else named
    elif op is torch.ops.aten.view.default:
        op = torch.ops.aten.reshape.default  # numbers may lie otherwise than torch believes
    results = op(*map(on_cpu, args), **{name: on_cpu(a) for name, a in kwargs.items()})
    changed = {id(on_cpu(a)): a for a in (*args, *kwargs.values()) if isinstance(a, Tensor)}
    if isinstance(results, Tensor):
        return changed[id(results)] if id(results) in changed else hold(results)
    return tree_map_only(Tensor, lambda t: changed[id(t)] if id(t) in changed else hold(t), results)


def convolution_backward(grad: Tensor, x: Tensor, weight: Tensor, *options: Any) -> Any:
    return run(torch.ops.aten.convolution_backward.default, grad, x, weight, [grad.shape[1]], *options)


def register() -> tuple[torch.library.Library, ...]:
    """Make the device; it is there as long as what is returned."""
    torch.utils.backend_registration._setup_privateuseone_for_python_backend(NAME)
    everything, some = torch.library.Library("_", "IMPL"), torch.library.Library("aten", "IMPL")
    everything.fallback(run, "PrivateUse1")
    aten = torch.ops.aten
    ops = (
        aten.arange.default,
        aten.arange.start,
        aten.arange.start_step,
        aten.abs.default,
        aten.logsumexp.default,
        aten.logical_not.default,
        aten.eye.default,
        aten.eye.m,
    )
    for op in ops:
        some.impl(op, functools.partial(run, op), "PrivateUse1")  # torch's own would resize an empty tensor
    some.impl(aten.convolution_overrideable.default, functools.partial(run, aten.convolution.default), "PrivateUse1")
    some.impl(aten.convolution_backward_overrideable.default, convolution_backward, "PrivateUse1")
    return everything, some


def compiled(draw: Callable[..., Tensor], key: Tensor) -> Tensor:
    """Noise there, of a key of the CPU, by a graph that keeps the op whole."""
    graphs: list[str] = []

    def keep(graph: Any, inputs: Any) -> Any:
        graphs.append(graph.code)
        return graph

    noise = torch.compile(lambda key: draw(key, (3, 5), device=NAME), fullgraph=True, backend=keep)(key)
    assert f"genkern.random_{draw.__name__}" in graphs[0]
    assert noise.device.type == NAME
    return noise.to("cpu")


def evaluate_calls(full: bool) -> dict[str, Any]:
    import genkern as gk
    from support.capture import Recorder
    from support.elsewhere import calls

    found: dict[str, Any] = {place: {} for place in ("cpu", NAME)}
    for group, name, call in calls(full):
        for place, results in found.items():
            try:
                with Recorder() as recorder:
                    values = call(place)
            except Exception as error:  # the test's to report
                results.setdefault(group, {})[name] = f"{type(error).__name__}: {error}"
                continue
            results.setdefault(group, {})[name] = {
                "devices": {v.device.type for v in values.values()},
                "ops": [op.name().removesuffix("_on") for op, *_ in recorder.calls],
                "values": {name: v.detach().to("cpu") for name, v in values.items()},
            }
    found["compiled"] = {
        draw.__name__: compiled(draw, gk.random.key(3)) for draw in (gk.random.normal, gk.random.uniform)
    }
    for name, call in {
        "gaussian_entropy": lambda: gk.gaussian_entropy(torch.zeros(3).to(NAME)),
        "random_normal": lambda: gk.random.normal(gk.random.key(1), (3,), device=NAME),
    }.items():
        try:
            with gk.use_backend("native"):
                call()
            found[f"native {name}"] = "accepted"
        except RuntimeError as error:
            found[f"native {name}"] = str(error)
    return found


if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).parents[1])
    device = register()
    torch.save(evaluate_calls(full="--full" in sys.argv), sys.argv[1])
