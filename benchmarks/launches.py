"""Kernels that one call launches: by genkern, in eager torch and by torch.compile.

python -m benchmarks.launches [--family gan]   prints a table

Of genkern and of eager torch, operations are counted as torch dispatches them below autograd, without views and empty
tensors: on a GPU each is a launch or more. Of torch.compile, the kernels that it generates.
"""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch._inductor import metrics
from torch._inductor.utils import fresh_cache
from torch.utils._python_dispatch import TorchDispatchMode

from benchmarks.cases import COMPILE, EAGER, GENKERN, OPERATIONS, OWN, Formula, Operation, step

CONTESTANTS = (GENKERN, EAGER, OWN, COMPILE)
_LAUNCH_NOTHING = ("detach", "empty", "new_empty", "empty_like", "empty_strided", "new_empty_strided", "key_reserve")


class _Dispatched(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func._schema.name.partition("::")[2]
        self.count += not func.is_view and name not in _LAUNCH_NOTHING
        return func(*args, **(kwargs or {}))


def counts(op: Operation, compiled: bool = True) -> dict[str, dict[str, int]]:
    """By contestant and mode."""
    inputs = op.make_inputs((8, 16) if op.name == "ema_update_" else (8, 16, 4, 4), torch.float32)
    formulas = {GENKERN: op.genkern, **{name: f for name, f in op.rivals.items() if name in CONTESTANTS}}
    found: dict[str, dict[str, int]] = {}
    for name, formula in formulas.items():
        found[name] = {mode: _dispatched(step(formula, inputs, mode)) for mode in op.modes}
    if compiled and op.compiled is not None:
        found[COMPILE] = {mode: _generated(op.rivals[op.compiled], inputs, mode) for mode in op.modes}
    return found


def _dispatched(call: Callable[[], object]) -> int:
    call()
    with _Dispatched() as mode:
        call()
    return mode.count


def _generated(formula: Formula, inputs: tuple, mode: str) -> int:
    """Forward of a training step, or both: what the compiler writes for it."""
    torch._dynamo.reset()
    metrics.reset()
    with _without_gradients(inputs, mode), fresh_cache():
        step(torch.compile(formula), inputs, mode)()
    return metrics.generated_kernel_count


@contextlib.contextmanager
def _without_gradients(inputs: tuple, mode: str) -> Iterator[None]:
    """Under "forward", so that the compiler writes no backward that it would be counted with."""
    leaves = [x for x in inputs if isinstance(x, torch.Tensor) and x.requires_grad and mode == "forward"]
    for leaf in leaves:
        leaf.requires_grad_(False)
    yield
    for leaf in leaves:
        leaf.requires_grad_()


def table(family: str) -> str:
    lines = ["| operation | pass | " + " | ".join(CONTESTANTS) + " |", "|---|---|" + "---:|" * len(CONTESTANTS)]
    for op in (op for op in OPERATIONS if op.family == family):
        found = counts(op)
        for mode in op.modes:
            shown = (str(found[name][mode]) if name in found else "" for name in CONTESTANTS)
            lines.append(f"| `{op.name}` | {mode.replace('_', ' + ')} | " + " | ".join(shown) + " |")
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.launches", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--family", default="gan", choices=sorted({op.family for op in OPERATIONS}))
    print(table(parser.parse_args(argv).family))


if __name__ == "__main__":
    main()
