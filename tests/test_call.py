"""The call that bypasses torch.ops gives what torch.ops gives, and leaves to it what only torch.ops can do."""

from typing import ClassVar

import pytest
import torch
from support.backends import Backend
from support.cases import CASES, KEY, Case, evaluate
from torch import Tensor
from torch.overrides import TorchFunctionMode

import genkern as gk

every_case = pytest.mark.parametrize("case", CASES, ids=str)


class Watch(TorchFunctionMode):
    """Records what is called; where one is active, everything takes torch.ops."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_function__(self, function, types, args=(), kwargs=None):
        self.names.append(str(function))
        return function(*args, **(kwargs or {}))


@every_case
def test_results_and_gradients_are_those_of_torch_ops(case: Case, native: Backend) -> None:
    tensors = case.inputs((4, 6), torch.float32)
    for source in ({}, {"generator": None}) if case.keyed else ({},):
        torch.manual_seed(3)
        direct = evaluate(case, tensors, source)
        torch.manual_seed(3)
        with Watch() as watch:
            through = evaluate(case, tensors, source)
        assert any(name.startswith("genkern.") for name in watch.names)
        for name, value in through.items():
            assert torch.equal(direct[name], value), name


def test_a_subclass_of_tensor_sees_the_op(native: Backend) -> None:
    class Logged(Tensor):
        names: ClassVar[list[str]] = []

        @classmethod
        def __torch_function__(cls, function, types, args=(), kwargs=None):
            cls.names.append(str(function))
            return super().__torch_function__(function, types, args, kwargs)

    loc = torch.zeros(2, 3).as_subclass(Logged)
    assert isinstance(gk.gaussian_kl(loc, torch.zeros(2, 3)), Logged)
    assert "genkern.gaussian_kl.default" in Logged.names


def test_numbers_are_converted_as_torch_converts_them(native: Backend) -> None:
    loc, logvar = torch.nn.Parameter(torch.ones(2, 3)), torch.zeros(2, 3)
    assert torch.equal(gk.gaussian_kl(loc, logvar, free_bits=1), gk.gaussian_kl(loc, logvar, free_bits=1.0))
    z, _ = gk.gaussian_rsample_kl(loc, logvar, sample_shape=torch.Size([2]), key=KEY)
    assert torch.equal(z, gk.gaussian_rsample_kl(loc, logvar, sample_shape=[2], key=KEY)[0])
    with pytest.raises(ValueError, match="event_ndim: expected at most 2, the number of dimensions, got 3"):
        gk.gaussian_kl(loc, logvar, event_ndim=3)
    with pytest.raises((TypeError, ValueError), match="element_offset"):
        gk.gaussian_rsample(loc, logvar, element_offset=2**64, key=KEY)
    with pytest.raises((TypeError, ValueError), match="temperature"):
        gk.gaussian_rsample(loc, logvar, temperature=10**400, key=KEY)


def test_a_generator_of_ones_own_serves_where_there_is_no_noise(native: Backend) -> None:
    loc, logvar = torch.zeros(2, 3), torch.zeros(2, 3)
    first = gk.gaussian_rsample(loc, logvar, generator=torch.Generator().manual_seed(7))
    key = gk.random.reserve(torch.Generator().manual_seed(7))
    assert torch.equal(first, gk.gaussian_rsample(loc, logvar, key=key))
    eps = torch.ones(2, 3)
    assert torch.equal(gk.gaussian_rsample(loc, logvar, eps=eps), eps)
