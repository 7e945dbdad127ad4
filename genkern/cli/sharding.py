"""A model sharded among the processes by torch's `fully_shard` (FSDP2).

Lightning Fabric's strategy for it has checkpoints of its own format; ours have whole tensors, as those of one process.
"""

from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Any

from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh

from genkern import _dtensor
from genkern.nn import ResidualBlock

_CALLED = ("elbo", "loss", "sample")
"""The methods of a model that all processes call together."""


def shard(model: nn.Module, mesh: DeviceMesh) -> None:
    """Leave each process its shard of every parameter of a VAE; a layer or block is whole while it computes.

    Parameters without a dimension, of which there are few, stay whole.
    """
    from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method  # which not every torch has

    options: dict[str, Any] = {"mesh": mesh, "reshard_after_forward": True}
    for network in ("encoder", "decoder"):
        for block in _blocks(model.get_submodule(network)):
            fully_shard(block, **options)
    fully_shard(model, ignored_params={p for p in model.parameters() if p.ndim == 0}, **options)
    for method in _CALLED:
        register_fsdp_forward_method(model, method)


def part(tensor: Tensor, like: Tensor | None) -> Tensor:
    """The tensor, or this process's shard of it if `like`, of the same shape, is sharded."""
    if like is None or not _dtensor.given([like]) or tensor.shape != like.shape:
        return tensor
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(tensor, like.device_mesh, like.placements, src_data_rank=None)  # type: ignore[attr-defined]


def groups(parameters: Iterable[Tensor]) -> list[dict[str, list[Tensor]]]:
    """Parameters in their order, in groups for an optimiser: torch takes no group with both shards and whole ones."""
    return [{"params": list(alike)} for _, alike in groupby(parameters, lambda p: _dtensor.given([p]))]


def _blocks(module: nn.Module) -> Iterator[nn.Module]:
    """The outermost modules in a network that compute in one call: its layers, and a ladder's blocks."""
    for child in module.children():
        if isinstance(child, ResidualBlock) or (child._parameters and not child._modules):
            yield child
        else:
            yield from _blocks(child)
