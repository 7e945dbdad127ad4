"""Where the tensors of the tests lie: on the device of the backend that is in force."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

import genkern as gk

TESTS = str(Path(__file__).parents[1])
FACTORIES = {
    getattr(torch, name)
    for name in (
        *("arange", "as_tensor", "empty", "eye", "full", "linspace", "logspace", "ones"),
        *("rand", "randint", "randn", "randperm", "tensor", "zeros"),
    )
}


class MadeOn(TorchFunctionMode):
    """Whatever a test makes without saying where is made on the CPU and moved to `device`.

    torch.set_default_device would give other random numbers on each device, refuse the CPU's generators, and hide that
    the library makes a tensor in the wrong place. So the numbers are the CPU's, and only calls from the tests' own
    files are meant, and keys, which they make by gk.random.key.
    """

    def __init__(self, device: str) -> None:
        super().__init__()
        self.device = device

    def __torch_function__(
        self, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        if func not in FACTORIES or kwargs.get("device") is not None or not _asked_by_a_test(sys._getframe(1).f_code):
            return func(*args, **kwargs)
        leaf = kwargs.pop("requires_grad", False)
        return func(*args, **kwargs).to(self.device).requires_grad_(leaf)


@contextmanager
def located_on(device: str, *modules: ModuleType) -> Iterator[None]:
    """Tensors that tests make lie on `device`, and so do those that `modules` hold, such as their KEY."""
    if device == "cpu":
        yield
        return
    with ExitStack() as stack:
        for module in modules:
            for name, value in list(vars(module).items()):
                if isinstance(value, Tensor):
                    stack.enter_context(mock.patch.object(module, name, value.to(device)))
        stack.enter_context(MadeOn(device))
        yield


def _asked_by_a_test(caller: Any) -> bool:
    return caller.co_filename.startswith(TESTS) or caller is gk.random.key.__code__
