"""Kernels that one call launches, which is what takes the time where tensors are small.

Of genkern, eager torch and torch's own functions: operations as torch dispatches them below autograd, without views and
empty tensors; on a GPU each is a launch or more. Of torch.compile: the kernels that it generates, forward and backward.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch.utils._python_dispatch import TorchDispatchMode

from benchmarks.cases import DISTRIBUTIONS, EAGER, GENKERN, OWN

COUNTED = (GENKERN, EAGER, DISTRIBUTIONS, OWN)
_LAUNCH_NOTHING = ("detach", "empty", "new_empty", "empty_like", "empty_strided", "new_empty_strided", "key_reserve")


class _Dispatched(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func._schema.name.partition("::")[2]
        self.count += not func.is_view and name not in _LAUNCH_NOTHING
        return func(*args, **(kwargs or {}))


def dispatched(step: Callable[[], object]) -> int:
    """Of a call that is not the first."""
    step()
    with _Dispatched() as mode:
        step()
    return mode.count


def generated() -> int:
    """Kernels that torch.compile has generated in this process so far."""
    from torch._inductor import metrics

    return int(metrics.generated_kernel_count)
