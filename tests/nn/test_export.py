"""What parts of a VAE are exported as: operators of torch alone, which ONNX knows, or some of the library."""

from collections.abc import Callable

import pytest
import torch
from support.backends import NATIVE
from torch import Tensor, nn

import genkern as gk
from genkern.nn import LIKELIHOODS, VAE, ConvDecoder, ConvEncoder, GaussianHead, MLPDecoder, MLPEncoder

IMAGE = (1, 8, 8)
OWN = {True} if NATIVE.missing() is None else {False}  # whether operators of the library stay in a graph


class Call(nn.Module):
    """A function of a module and its inputs as a module, which is what is exported."""

    def __init__(self, module: nn.Module, call: Callable[..., Tensor]) -> None:
        super().__init__()
        self.module, self.call = module, call

    def forward(self, *inputs: Tensor) -> Tensor:
        return self.call(self.module, *inputs)


def has_operators_of_the_library(module: nn.Module, *inputs: Tensor) -> bool:
    exported = torch.export.export(module, inputs)
    expected = module(*inputs)
    torch.testing.assert_close(exported.module()(*inputs), expected)
    graphs = [part.graph for part in exported.graph_module.modules() if isinstance(part, torch.fx.GraphModule)]
    targets = [node.target for graph in graphs for node in graph.nodes]
    namespaces = {target.namespace for target in targets if isinstance(target, torch._ops.OpOverload)}
    assert namespaces <= {"aten", "genkern"} and namespaces
    return "genkern" in namespaces


def vae(likelihood: str = "gaussian") -> VAE:
    channels = {"discretized_logistic": 30, "zero_inflated_negative_binomial": 2}.get(likelihood, 1)
    return VAE(MLPEncoder(IMAGE, 2), MLPDecoder((channels, 8, 8), 2), likelihood=likelihood).eval()


@pytest.mark.parametrize(
    ("module", "value"),
    [
        (ConvEncoder(IMAGE, 2, width=4), torch.rand(3, *IMAGE)),
        (ConvDecoder(IMAGE, 2, width=4), torch.rand(3, 2)),
        (MLPEncoder(IMAGE, 2), torch.rand(3, *IMAGE)),
        (MLPDecoder(IMAGE, 2), torch.rand(3, 2)),
    ],
    ids=lambda v: type(v).__name__,
)
def test_networks_are_of_torchs_operators(module: nn.Module, value: Tensor) -> None:
    assert not has_operators_of_the_library(module, value)


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_reconstructions_and_pictures_are_of_torchs_operators(likelihood: str) -> None:
    model = vae(likelihood)
    assert not has_operators_of_the_library(Call(model, lambda m, x: m.reconstruct(x)), torch.rand(3, *IMAGE))
    pictures = Call(model, lambda m, z: m.likelihood.mean(m.decode(z)))
    assert not has_operators_of_the_library(pictures, torch.rand(3, 2))


OPERATIONS = {
    "elbo": (Call(vae(), lambda m, x, key: m.elbo(x, key=key).elbo), (torch.rand(3, *IMAGE), gk.random.key(0))),
    "GaussianHead": (
        Call(GaussianHead(6, 2), lambda m, h, eps: m(h, eps=eps)[0]),
        (torch.rand(3, 6), torch.randn(3, 2)),
    ),
    "gaussian_kl": (Call(nn.Identity(), lambda _, loc: gk.gaussian_kl(loc, loc)), (torch.randn(3, 4),)),
}


@pytest.mark.parametrize(("module", "inputs"), OPERATIONS.values(), ids=OPERATIONS)
def test_operations_are_of_torchs_operators_under_the_reference(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
    with gk.use_backend("reference"):
        assert not has_operators_of_the_library(module, *inputs)
    assert has_operators_of_the_library(module, *inputs) in OWN
