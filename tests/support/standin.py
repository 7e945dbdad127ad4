"""A device without kernels of ours: torch's PrivateUse1, in Python. Its tensors lie on the CPU, out of the ops' sight.

Run as a program, since a process can have only one such device and keeps it: `python standin.py RESULTS` evaluates
every case there and writes what came of it.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map, tree_map_only

NAME = "standin"


# The numbers of each tensor of the device, by its storage, which has none itself: torch makes new tensors of an old
# storage where no op is called. A tensor that is held is never given up, so that no storage takes another's place.
_held: dict[int, tuple[Tensor, Tensor]] = {}


def hold(numbers: Tensor) -> Tensor:
    made = torch._C._acc.create_empty_tensor(tuple(numbers.shape), numbers.dtype)
    _held[made.untyped_storage()._cdata] = (numbers, made)
    return made


def on_cpu(value: Any) -> Any:
    if isinstance(value, Tensor) and value.device.type == NAME:
        return _held[value.untyped_storage()._cdata][0].view(value.dtype)
    return torch.device("cpu") if isinstance(value, torch.device) and value.type == NAME else value


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
    # By its name, since a number comes as one where the overload takes a tensor.
    # Not `view`: numbers may lie otherwise than torch believes.
    by_name = torch.ops.aten.reshape if op is torch.ops.aten.view.default else op.overloadpacket
    results = by_name(*tree_map(on_cpu, args), **tree_map(on_cpu, kwargs))
    changed = {id(on_cpu(a)): a for a in (*args, *kwargs.values()) if isinstance(a, Tensor)}
    return tree_map_only(Tensor, lambda t: changed[id(t)] if id(t) in changed else hold(t), results)


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
    )
    for op in ops:
        some.impl(op, functools.partial(run, op), "PrivateUse1")  # torch's own would resize an empty tensor
    return everything, some


def evaluate_cases() -> dict[str, Any]:
    import genkern as gk
    from support.capture import Recorder
    from support.cases import CASES, KEY, evaluate
    from support.noise import NOISE

    def results(place: str, source: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for case in CASES:
            options = source() if case.keyed else {}
            tensors = {name: t.to(place) for name, t in case.inputs((4, 6), torch.float64).items()}
            with Recorder() as recorder:
                values = evaluate(case, tensors, options)
            found[case.name] = {
                "devices": {v.device.type for v in values.values()},
                "ops": [op.name() for op, *_ in recorder.calls if not op.name().startswith("genkern::key_reserve")],
                "values": {name: v.detach().to("cpu") for name, v in values.items()},
            }
        for noise in (n for n in NOISE if n.ops):
            torch.manual_seed(5)
            with Recorder() as recorder:
                drawn = noise.call(KEY.to(place), 7)
            found[noise.name] = {
                "devices": {drawn.device.type},
                "ops": [op.name().removesuffix("_on") for op, *_ in recorder.calls],
                "values": {"noise": drawn.to("cpu")},
            }
        return found

    def seeded() -> dict[str, Any]:
        torch.manual_seed(5)
        return {"generator": None}

    found = {
        f"{what} on {place}": results(place, source)
        for place in ("cpu", NAME)
        for what, source in (("key", dict), ("draw", seeded))
    }
    loc = torch.zeros(3).to(NAME)
    try:
        with gk.use_backend("native"):
            gk.gaussian_entropy(loc)
        found["native"] = "accepted"
    except RuntimeError as error:
        found["native"] = str(error)
    return found


if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).parents[1])
    device = register()
    torch.save(evaluate_cases(), sys.argv[1])
