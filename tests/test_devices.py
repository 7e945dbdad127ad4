"""The tests themselves: on a backend of another device, whatever they make lies there. Shown by the meta device."""

import sys

import pytest
import torch
from support import cases
from support.backends import BACKENDS, EVERY_ISA
from support.cases import CASES, KEY, Case
from support.devices import located_on
from support.inputs import cotangent, normal
from torch import Tensor

import genkern as gk
from genkern.reference import random as reference

THIS = sys.modules[__name__]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_inputs_of_every_case_lie_there(case: Case) -> None:
    with located_on("meta"):
        tensors = case.inputs((4, 6), torch.float32)
    assert {t.device.type for t in tensors.values()} == {"meta"}
    on_cpu = case.inputs((4, 6), torch.float32)
    assert {name: (t.shape, t.dtype) for name, t in tensors.items()} == {
        name: (t.shape, t.dtype) for name, t in on_cpu.items()
    }


def test_whatever_a_test_makes_lies_there_unless_it_says_where() -> None:
    with located_on("meta"):
        made = [
            torch.zeros(3),
            torch.randn(2, generator=torch.Generator().manual_seed(1)),
            torch.tensor([1.0]),
            torch.linspace(0, 1, 5),
            torch.full((2,), 1.5),
            normal((3,), 0),
            gk.random.key(3),
            torch.rand(4).view(2, 2).mT,
        ]
        elsewhere = torch.zeros(3, device="cpu")
    assert {t.device.type for t in made} == {"meta"}
    assert elsewhere.device.type == torch.zeros(3).device.type == "cpu"


def test_a_leaf_stays_a_leaf() -> None:
    with located_on("meta"):
        leaf, constant = torch.zeros(3, requires_grad=True), torch.zeros(3)
    assert leaf.is_leaf and leaf.requires_grad
    assert not constant.requires_grad


def test_the_numbers_are_those_of_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """A meta tensor has none, so they are read on the way there."""

    def draws() -> list[Tensor]:
        torch.manual_seed(7)
        return [torch.randn(5), torch.rand(5), torch.randn(5, generator=torch.Generator().manual_seed(3))]

    expected, moved = draws(), []
    monkeypatch.setattr(Tensor, "to", lambda self, device: moved.append(self) or self)
    with located_on("meta"):
        draws()
    assert all(torch.equal(a, b) for a, b in zip(moved, expected, strict=True))


def test_what_the_library_makes_is_left_where_it_is() -> None:
    with located_on("meta"):
        key = reference.reserve(torch.Generator().manual_seed(1))
        noise = gk.random.normal(key, (3,))
    assert key.device.type == noise.device.type == "cpu"


def test_the_constants_of_the_modules_lie_there_and_come_back() -> None:
    with located_on("meta", THIS, cases):
        assert KEY.device.type == cases.KEY.device.type == "meta"
    assert KEY.device.type == cases.KEY.device.type == "cpu"


def test_a_gradient_that_arrives_lies_where_its_output_does() -> None:
    assert cotangent(torch.zeros(3, device="meta"), 1).device.type == "meta"


def test_a_gpu_with_kernels_is_in_both_lists_of_backends() -> None:
    there = torch.cuda.is_available() and gk.has_native("cuda")
    for backends in (BACKENDS, EVERY_ISA):
        assert any(b.device == "cuda" for b in backends) == there
